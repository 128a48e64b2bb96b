using Vivarium.Host;

namespace Vivarium.Linux.Time;

/// <summary>CLOCK_* and how to read them.</summary>
public static class Clocks
{
    public const int Realtime = 0, Monotonic = 1, ProcessCpu = 2, ThreadCpu = 3, MonotonicRaw = 4, RealtimeCoarse = 5, MonotonicCoarse = 6, BootTime = 7,
        RealtimeAlarm = 8, BootTimeAlarm = 9, Tai = 11;

    /// <summary>A clock of the host; null where it has no such clock.</summary>
    public static Timespec? ReadHost(int clock) => HostClockGetTime(clock, out var time) ? time : null;

    /// <summary>A clock of the host in nanoseconds.</summary>
    public static long Now(int clock) => (long)HostClock.Nanoseconds(clock);

    private static bool HostClockGetTime(int clock, out Timespec time)
    {
        bool known = HostClock.TryRead(clock, out long seconds, out long nanoseconds);
        time = new Timespec(seconds, nanoseconds);
        return known;
    }

    /// <summary>The host's clock id for a host thread's CPU time.</summary>
    private static int ThreadCpuClock(int hostThread) => ~hostThread << 3 | 6;

    /// <summary>CPU time of a host thread of this process in nanoseconds.</summary>
    public static long HostThreadCpu(int hostThread) => HostClockGetTime(ThreadCpuClock(hostThread), out var time) ? time.ToNanoseconds() : 0;

    /// <summary>Reads a clock as a guest thread sees it; false for a clock that does not exist.</summary>
    public static bool TryRead(GuestThread thread, int clock, out Timespec time)
    {
        switch (clock)
        {
            case ProcessCpu:
                time = Timespec.FromNanoseconds(thread.Process.CpuTime());
                return true;
            case ThreadCpu:
                time = Timespec.FromNanoseconds(thread.CpuTime());
                return true;
            case >= 0 and <= Tai:
                return HostClockGetTime(clock, out time);
            case < 0:
            {
                // CPU clocks of a process (low bits 2 or less) or a thread (bit 2): ~id << 3 | kind.
                int id = ~(clock >> 3);
                time = default;
                if ((clock & 3) == 3) return false;
                if ((clock & 4) != 0)
                {
                    var target = id == 0 ? thread : thread.Process.Realm.Threads.GetValueOrDefault(id);
                    if (target == null || target.Process != thread.Process) return false;
                    time = Timespec.FromNanoseconds(target.CpuTime());
                    return true;
                }
                var process = id == 0 ? thread.Process : thread.Process.Realm.Processes.GetValueOrDefault(id);
                if (process == null) return false;
                time = Timespec.FromNanoseconds(process.CpuTime());
                return true;
            }
            default:
                time = default;
                return false;
        }
    }
}
