using Vivarium.Machine.Devices;

namespace Vivarium.Machine.Tests.Devices;

public class GoldfishRtcTests
{
    /// <summary>A clock that stands still until it is moved; it runs the due timer itself.</summary>
    private sealed class Clock : TimeProvider
    {
        private readonly List<Timer> _timers = [];

        public DateTimeOffset Now { get; private set; } = DateTimeOffset.UnixEpoch + TimeSpan.FromDays(20_000);

        public override DateTimeOffset GetUtcNow() => Now;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            var timer = new Timer(this, callback);
            _timers.Add(timer);
            return timer;
        }

        public void Advance(TimeSpan by)
        {
            Now += by;
            foreach (var timer in _timers.Where(t => t.Due <= Now).ToArray())
            {
                timer.Due = null;
                timer.Callback(null);
            }
        }

        private sealed class Timer(Clock clock, TimerCallback callback) : ITimer
        {
            public TimerCallback Callback => callback;

            public DateTimeOffset? Due { get; set; }

            public bool Change(TimeSpan dueTime, TimeSpan period)
            {
                Due = dueTime == Timeout.InfiniteTimeSpan ? null : clock.Now + dueTime;
                return true;
            }

            public void Dispose() => Due = null;

            public ValueTask DisposeAsync() => default;
        }
    }

    private readonly Clock _clock = new();
    private readonly Wire _wire = new();

    private ulong ClockNow => (ulong)(_clock.Now - DateTimeOffset.UnixEpoch).Ticks * 100;

    private static ulong Time(GoldfishRtc rtc) => rtc.Read(0, 4) | rtc.Read(4, 4) << 32;

    private static void SetAlarm(GoldfishRtc rtc, ulong at)
    {
        rtc.Write(0xc, 4, at >> 32);
        rtc.Write(8, 4, (uint)at);
    }

    [Fact]
    public void TimeIsTheHostsUntilItIsSet()
    {
        using var rtc = new GoldfishRtc(_wire, _clock);
        Assert.Equal(ClockNow, Time(rtc));
        rtc.Write(4, 4, 1);
        rtc.Write(0, 4, 500);
        Assert.Equal(0x1_0000_01f4ul, Time(rtc));
        _clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(0x1_0000_01f4ul + 1_000_000_000, Time(rtc));
    }

    [Fact]
    public void AnAlarmInterruptsOnce()
    {
        using var rtc = new GoldfishRtc(_wire, _clock);
        rtc.Write(0x10, 4, 1);
        SetAlarm(rtc, ClockNow + 5_000_000_000);
        Assert.Equal(1ul, rtc.Read(0x18, 4));
        _clock.Advance(TimeSpan.FromSeconds(4));
        Assert.False(_wire.Level);
        _clock.Advance(TimeSpan.FromSeconds(2));
        Assert.True(_wire.Level);
        Assert.Equal(0ul, rtc.Read(0x18, 4));
        rtc.Write(0x1c, 4, 1);
        Assert.False(_wire.Level);
    }

    [Fact]
    public void AClearedAlarmDoesNotCome()
    {
        using var rtc = new GoldfishRtc(_wire, _clock);
        rtc.Write(0x10, 4, 1);
        SetAlarm(rtc, ClockNow + 1000);
        rtc.Write(0x14, 4, 1);
        _clock.Advance(TimeSpan.FromDays(1));
        Assert.False(_wire.Level);
    }

    [Fact]
    public void StateSurvives()
    {
        using var rtc = new GoldfishRtc(_wire, _clock);
        rtc.Write(4, 4, 7);
        rtc.Write(0, 4, 0);
        rtc.Write(0x10, 4, 1);
        SetAlarm(rtc, Time(rtc) + 2_000_000_000);
        var wire = new Wire();
        using var copy = new GoldfishRtc(wire, _clock);
        Saved.Copy(rtc, copy);
        Assert.Equal(Time(rtc), Time(copy));
        _clock.Advance(TimeSpan.FromSeconds(3));
        Assert.True(wire.Level);
    }
}
