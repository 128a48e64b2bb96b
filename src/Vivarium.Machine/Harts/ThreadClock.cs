using Vivarium.Host;

namespace Vivarium.Machine.Harts;

/// <summary>CPU time of any thread of this process, by its own clock (clock_getcpuclockid(3)).</summary>
internal static unsafe class ThreadClock
{
    /// <summary>Nanoseconds of CPU time; 0 where the thread has ended.</summary>
    public static long Nanoseconds(int threadId)
    {
        const long clockGettime = 228;
        const long perThreadScheduler = 6;
        var time = stackalloc long[2];
        return HostSyscall.Invoke(clockGettime, (~(long)threadId << 3) | perThreadScheduler, (long)time) == 0 ? time[0] * 1_000_000_000 + time[1] : 0;
    }
}
