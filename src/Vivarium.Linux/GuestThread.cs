using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux;

/// <summary>One guest thread (a Linux task): its hart, its host thread, its signal state.</summary>
public sealed partial class GuestThread
{
    /// <summary>The process this thread belongs to.</summary>
    public required GuestProcess Process { get; init; }

    /// <summary>The thread's registers.</summary>
    public required Hart Hart { get; init; }

    /// <summary>Thread id within the realm.</summary>
    public required int Tid { get; set; }

    /// <summary>The host thread that runs this guest thread; null until it has started.</summary>
    public HostThread? HostThread
    {
        get => Volatile.Read(ref _hostThread);
        internal set => Volatile.Write(ref _hostThread, value);
    }

    /// <summary>The address space's window: guest addresses are offsets in it.</summary>
    public MemoryWindow Window => Process.Memory.Window;

    /// <summary>
    /// A host syscall that may block. A signal for this thread ends it with -<see cref="Errno.ERESTARTSYS"/>: return that from the handler
    /// where Linux restarts the call (read, write, accept, wait, futex...), or -<see cref="Errno.ERESTARTNOHAND"/> where it does not (poll, epoll_wait,
    /// select, nanosleep). The loop turns both into EINTR or a restart; never return a bare EINTR, for a kick may be spurious.
    /// </summary>
    public long Block(long number, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0)
    {
        long result = HostThread!.BlockingSyscall(number, a0, a1, a2, a3, a4, a5);
        return result == -Errno.EINTR ? -Errno.ERESTARTSYS : result;
    }

    /// <summary>
    /// The absolute CLOCK_MONOTONIC time in nanoseconds at which a relative timeout of the current syscall ends. A restarted syscall gets
    /// the deadline of its first attempt, so timeouts do not grow with spurious kicks. <see cref="long.MaxValue"/> for none.
    /// </summary>
    public long Deadline(long timeoutNanoseconds)
    {
        if (timeoutNanoseconds < 0 || timeoutNanoseconds == long.MaxValue) return long.MaxValue;
        if (_restartDeadline != 0) return _restartDeadline;
        long now = MonotonicNow();
        return _restartDeadline = timeoutNanoseconds > long.MaxValue - 1 - now ? long.MaxValue - 1 : Math.Max(1, now + timeoutNanoseconds);
    }

    /// <summary>CLOCK_MONOTONIC in nanoseconds.</summary>
    public static long MonotonicNow() => (long)(System.Diagnostics.Stopwatch.GetTimestamp() * (1e9 / System.Diagnostics.Stopwatch.Frequency));

    /// <summary>CPU time in nanoseconds since this guest thread began (its host thread may have had others before).</summary>
    public long CpuTime()
    {
        var host = HostThread;
        return host == null ? 0 : Math.Max(0, Time.Clocks.HostThreadCpu(host.Id) - _cpuAtStart);
    }

    /// <summary>CPU time divided into the guest's own and the kernel's; another thread's to the clock tick.</summary>
    public Time.CpuTimes CpuTimes()
    {
        var host = HostThread;
        if (host == null) return default;
        long total = CpuTime();
        long system = (host == Vivarium.Host.HostThread.Current ? Time.CpuTimes.OfCurrentThread().System : Time.CpuTimes.SystemOf(host.Id)) - _systemAtStart;
        system = Math.Clamp(system, 0, total);
        return new Time.CpuTimes(total - system, system);
    }

    /// <summary>What sched_setscheduler and sched_setattr set.</summary>
    internal Syscalls.Scheduling Scheduling { get; set; } = Syscalls.Scheduling.Normal;

    /// <summary>When it last asked the host to run others instead, CLOCK_MONOTONIC nanoseconds.</summary>
    internal ulong LastYield { get; set; }

    /// <summary>How waiting for a futex by looking went lately.</summary>
    internal Threads.FutexPatience Patience { get; } = new();

    private HostThread? _hostThread;
    private long _systemAtStart;
    private long _cpuAtStart;
    private long _restartDeadline;
}
