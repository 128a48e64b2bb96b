namespace Vivarium.Linux.Time;

/// <summary>One armed or disarmed timer on some clock.</summary>
/// <remarks>Thread-safe. Clocks of CPU time are looked at when that much real time has gone by: they cannot be faster per thread.</remarks>
internal sealed class GuestTimer(GuestProcess process, int clock, Action<GuestTimer> expired, GuestThread? cpuThread = null)
{
    private readonly Lock _lock = new();
    private long _deadline, _interval;
    private long _queuedFor = long.MaxValue; // the earliest call-back that is under way

    /// <summary>Expiries that went into a signal that was already pending.</summary>
    public int Overrun { get; set; }

    private bool IsCpuClock => clock is Clocks.ProcessCpu or Clocks.ThreadCpu || clock < 0;

    /// <summary>The clock's time in nanoseconds.</summary>
    public long Now() =>
        clock == Clocks.ThreadCpu && cpuThread != null ? cpuThread.CpuTime() : IsCpuClock ? process.CpuTime() : Clocks.Now(clock);

    /// <summary>Expires first at <paramref name="deadline"/> (absolute; 0 disarms) and then each <paramref name="interval"/>.</summary>
    public void Arm(long deadline, long interval)
    {
        lock (_lock)
        {
            (_deadline, _interval) = (deadline, interval);
            Overrun = 0;
            if (deadline != 0) Schedule();
        }
    }

    /// <summary>Nanoseconds to the next expiry (0 when disarmed) and the interval.</summary>
    public (long Value, long Interval) Remaining()
    {
        lock (_lock) return _deadline == 0 ? (0, _interval) : (Math.Max(1, _deadline - Now()), _interval);
    }

    // A timer of a microsecond would otherwise send signals faster than handlers end; what it misses is overrun.
    private const long ShortestRepetition = 50_000;

    private void Schedule(long shortest = 0)
    {
        long wait = Math.Max(shortest, _deadline - Now());
        if (IsCpuClock) wait = Math.Max(wait / Math.Max(1, process.ThreadCount), 1_000_000);
        else if (clock == Clocks.Realtime) wait = Math.Min(wait, 1_000_000_000); // the clock may be set meanwhile
        long at = GuestThread.MonotonicNow() + wait;
        // A call-back that comes earlier looks again: a program that sets its alarm all the time leaves no trail of them.
        if (_queuedFor <= at) return;
        _queuedFor = at;
        process.Realm.Timers.At(at, () => Fire(at));
    }

    private void Fire(long queuedFor)
    {
        lock (_lock)
        {
            if (_queuedFor == queuedFor) _queuedFor = long.MaxValue;
            if (_deadline == 0) return;
            long now = Now();
            if (now < _deadline)
            {
                Schedule();
                return;
            }
            if (_interval == 0)
            {
                _deadline = 0;
            }
            else
            {
                long missed = (now - _deadline) / _interval;
                _deadline += (missed + 1) * _interval;
                Overrun += (int)Math.Min(missed, int.MaxValue / 2);
                Schedule(ShortestRepetition);
            }
        }
        expired(this);
    }
}
