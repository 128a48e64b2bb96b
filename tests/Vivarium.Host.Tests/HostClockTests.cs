namespace Vivarium.Host.Tests;

/// <summary>The host's clocks by its vDSO.</summary>
public sealed class HostClockTests
{
    [Fact]
    public void AgreesWithTheKernel()
    {
        Assert.NotEqual(0UL, HostClock.EntryPoint);
        foreach (int clock in (ReadOnlySpan<int>)[1, 4, 7])
        {
            ulong last = ByCall(clock);
            for (int i = 0; i < 1000; i++)
            {
                ulong now = HostClock.Nanoseconds(clock);
                Assert.InRange(now, last, ulong.MaxValue);
                last = ByCall(clock);
                Assert.InRange(last, now, ulong.MaxValue);
            }
        }
    }

    [Fact]
    public void UnknownClocksAreRefused()
    {
        Assert.False(HostClock.TryRead(77, out _, out _));
        Assert.Equal(0UL, HostClock.Nanoseconds(77));
    }

    private static unsafe ulong ByCall(int clock)
    {
        long* time = stackalloc long[2];
        Assert.Equal(0, HostSyscall.Invoke(228 /* clock_gettime */, clock, (long)time));
        return (ulong)(time[0] * 1_000_000_000 + time[1]);
    }
}
