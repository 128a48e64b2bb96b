using Vivarium.Linux.Signals;

namespace Vivarium.Linux.Time;

/// <summary>A process's itimers and POSIX timers.</summary>
/// <remarks>Thread-safe. Expiry runs on the realm's timer thread.</remarks>
internal sealed class ProcessTimers(GuestProcess process) : IDisposable
{
    public const int Real = 0, Virtual = 1, Profile = 2;

    private const int SIGEV_SIGNAL = 0, SIGEV_NONE = 1, SIGEV_THREAD = 2, SIGEV_THREAD_ID = 4;

    private readonly Lock _lock = new();
    private readonly GuestTimer?[] _interval = new GuestTimer?[3];
    private readonly Dictionary<int, GuestTimer> _posix = [];
    private GuestTimer? _cpuLimit;
    private int _nextId;

    /// <summary>The process's timers, made at first use.</summary>
    public static ProcessTimers Of(GuestProcess process)
    {
        lock (process.Sync) return (ProcessTimers)(process.Timers ??= new ProcessTimers(process));
    }

    /// <summary>RLIMIT_CPU: SIGXCPU at the soft limit and each second after it, SIGKILL at the hard one. Called when the limit changes or is inherited.</summary>
    public static void WatchCpuLimit(GuestProcess process)
    {
        if (process.Limits.Soft(ResourceLimits.Cpu) == ulong.MaxValue && process.Limits.Hard(ResourceLimits.Cpu) == ulong.MaxValue) return;
        Of(process).ArmCpuLimit();
    }

    private void ArmCpuLimit()
    {
        const ulong Longest = 1UL << 32;
        const long Second = 1_000_000_000;
        lock (_lock)
        {
            _cpuLimit ??= new GuestTimer(process, Clocks.ProcessCpu, timer =>
            {
                ulong used = (ulong)(process.CpuTime() / Second);
                bool over = used >= process.Limits.Hard(ResourceLimits.Cpu);
                if (over || used >= process.Limits.Soft(ResourceLimits.Cpu)) process.Queue(null, SigInfo.Kernel(over ? Signal.SIGKILL : Signal.SIGXCPU));
            });
            ulong first = Math.Min(process.Limits.Soft(ResourceLimits.Cpu), process.Limits.Hard(ResourceLimits.Cpu));
            if (first > Longest) _cpuLimit.Arm(0, 0);
            else _cpuLimit.Arm(Math.Max((long)first * Second, 1), Second);
        }
    }

    private GuestTimer Interval(int which)
    {
        if (_interval[which] is { } timer) return timer;
        int signal = which switch { Real => Signal.SIGALRM, Virtual => Signal.SIGVTALRM, _ => Signal.SIGPROF };
        return _interval[which] = new GuestTimer(process, which == Real ? Clocks.Monotonic : Clocks.ProcessCpu,
            _ => process.Queue(null, SigInfo.Kernel(signal)));
    }

    /// <summary>setitimer: nanoseconds until the first expiry (0 disarms) and between expiries; the old setting.</summary>
    public (long Value, long Interval) SetInterval(int which, long value, long interval)
    {
        lock (_lock)
        {
            var timer = Interval(which);
            var old = timer.Remaining();
            timer.Arm(value == 0 ? 0 : timer.Now() + value, interval);
            return old;
        }
    }

    public (long Value, long Interval) GetInterval(int which)
    {
        lock (_lock) return _interval[which]?.Remaining() ?? (0, 0);
    }

    /// <summary>timer_create: the id or a negative errno.</summary>
    public long Create(GuestThread creator, int clock, int notify, int signal, ulong? value, int tid)
    {
        GuestThread? target = null;
        switch (notify)
        {
            case SIGEV_THREAD_ID:
                if (!process.Realm.Threads.TryGetValue(tid, out target) || target.Process != process) return -Errno.EINVAL;
                break;
            case SIGEV_SIGNAL or SIGEV_NONE or SIGEV_THREAD: break; // a thread is the C library's business
            default: return -Errno.EINVAL;
        }
        if (notify != SIGEV_NONE && !Signal.IsValid(signal)) return -Errno.EINVAL;
        if (!Clocks.TryRead(creator, clock, out _)) return -Errno.EINVAL;
        lock (_lock)
        {
            int id = _nextId++;
            _posix[id] = new GuestTimer(process, clock, timer =>
            {
                if (notify == SIGEV_NONE) return;
                var info = SigInfo.Timer(signal, id, 0, value ?? (ulong)id);
                ulong pending = target?.Pending.Bits ?? process.Pending.Bits;
                if ((pending & Signal.Bit(signal)) != 0) timer.Overrun++;
                else
                {
                    timer.Overrun = 0;
                    process.Queue(target, info);
                }
            }, clock is Clocks.ThreadCpu ? creator : null);
            return id;
        }
    }

    public GuestTimer? Find(int id)
    {
        lock (_lock) return _posix.GetValueOrDefault(id);
    }

    public bool Delete(int id)
    {
        lock (_lock)
        {
            if (!_posix.Remove(id, out var timer)) return false;
            timer.Arm(0, 0);
            return true;
        }
    }

    /// <summary>execve keeps itimers and drops POSIX timers.</summary>
    public void DropPosix()
    {
        lock (_lock)
        {
            foreach (var timer in _posix.Values) timer.Arm(0, 0);
            _posix.Clear();
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _cpuLimit?.Arm(0, 0);
            foreach (var timer in _interval) timer?.Arm(0, 0);
            foreach (var timer in _posix.Values) timer.Arm(0, 0);
            _posix.Clear();
        }
    }
}
