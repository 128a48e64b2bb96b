using Vivarium.Host;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Threads;

namespace Vivarium.Linux;

// Threads of a process, its signals, its end.
public sealed partial class GuestProcess
{
    private readonly List<GuestThread> _threads = [];
    private GuestThread? _first;
    private readonly ManualResetEventSlim _ended = new();
    private volatile bool _exiting;
    private volatile bool _stopped;
    private Time.CpuTimes _endedThreadsCpu;

    /// <summary>Guards threads, pending signals, masks and dispositions. Lock order: the realm's tree lock, this, then nothing of ours.</summary>
    internal Lock Sync { get; } = new();

    /// <summary>Signals sent to the process as a whole.</summary>
    public PendingSignals Pending { get; } = new();

    public SignalActions Actions { get; internal set; } = new();

    /// <summary>As wait4 gives it: exit code in bits 15..8, or the signal in bits 6..0. Valid once <see cref="IsExiting"/>.</summary>
    public int WaitStatus { get; private set; }

    /// <summary>exit_group was called or a signal killed the process: its threads are ending.</summary>
    public bool IsExiting => _exiting;

    /// <summary>All threads are gone.</summary>
    public bool HasEnded => _ended.IsSet;

    /// <summary>Stopped by a signal, until SIGCONT.</summary>
    public bool IsStopped => _stopped;

    /// <summary>Signal that a parent gets when this process ends; 0 for none. SIGCHLD again for orphans and after execve. Guarded by the tree lock.</summary>
    public int ExitSignal { get; internal set; } = Signal.SIGCHLD;

    /// <summary>CLOCK_MONOTONIC nanoseconds of the start.</summary>
    public long StartTime { get; } = GuestThread.MonotonicNow();

    /// <summary>A signal was queued to the process or to one of its threads: what signalfd waits for. Called with <see cref="Sync"/> held.</summary>
    public event Action<int>? SignalQueued;

    /// <summary>A copy of the list of living threads.</summary>
    public GuestThread[] Threads()
    {
        lock (Sync) return _threads.ToArray();
    }

    public int ThreadCount
    {
        get { lock (Sync) return _threads.Count; }
    }

    internal void AddThread(GuestThread thread)
    {
        _first ??= thread;
        lock (Sync) _threads.Add(thread);
        Realm.Threads[thread.Tid] = thread;
        // Who comes after the beginning of the end ends too: its loop looks before it runs.
    }

    internal bool RemoveThread(GuestThread thread)
    {
        lock (Sync)
        {
            _threads.Remove(thread);
            foreach (var other in _threads) other.Unpark();
            return _threads.Count == 0;
        }
    }

    internal void AddCpuTimeOfEndedThread(GuestThread thread) => _endedThreadsCpu += thread.CpuTimes();

    /// <summary>CPU time of all threads in nanoseconds.</summary>
    public long CpuTime()
    {
        lock (Sync)
        {
            long total = _endedThreadsCpu.Total;
            foreach (var thread in _threads) total += thread.CpuTime();
            return total;
        }
    }

    /// <summary>The same, divided.</summary>
    public Time.CpuTimes CpuTimes()
    {
        lock (Sync)
        {
            var total = _endedThreadsCpu;
            foreach (var thread in _threads) total += thread.CpuTimes();
            return total;
        }
    }

    /// <summary>Ends the process with a wait status; the first caller's counts. Returns at once: threads end when they notice.</summary>
    public void BeginExit(int waitStatus)
    {
        lock (Sync)
        {
            if (_exiting) return;
            WaitStatus = waitStatus;
            _exiting = true;
            foreach (var thread in _threads) thread.Nudge();
        }
    }

    /// <summary>Ends all threads but the caller's and waits until they are gone (execve). False where the process is ending anyway.</summary>
    internal bool EndOtherThreads(GuestThread caller)
    {
        for (;;)
        {
            lock (Sync)
            {
                if (_exiting || caller.IsEnding) return false;
                if (_threads.Count == 1) return true;
                foreach (var thread in _threads)
                {
                    if (thread != caller) thread.Kill();
                }
            }
            caller.HostThread!.ClearKick();
            caller.Park(GuestThread.MonotonicNow() + 50_000_000);
        }
    }

    /// <summary>The last thread is gone: give everything back, tell the parent.</summary>
    internal void Finish()
    {
        if (!_exiting)
        {
            WaitStatus = LastThreadStatus;
            _exiting = true;
        }
        KeepPeak();
        if (_first is { } leader) TracedThreadEnded(leader, WaitStatus);
        ReleaseTracees();
        Timers?.Dispose();
        DropSenderTag();
        Realm.ProcessEnded(this);
        lock (Sync)
        {
            _ended.Set();
            foreach (int hostEvent in _endEvents) PidFds.Signal(hostEvent);
            _endEvents.Clear();
        }
    }

    /// <summary>Makes a host eventfd readable when the process has ended, and closes it then.</summary>
    internal void AddEndEvent(int hostEvent)
    {
        lock (Sync)
        {
            if (_ended.IsSet) PidFds.Signal(hostEvent);
            else _endEvents.Add(hostEvent);
        }
    }

    private readonly List<int> _endEvents = [];

    /// <summary>Priority as nice knows it: -20..19. Kept and inherited, not acted upon.</summary>
    internal int Nice { get; set; }

    /// <summary>The wait status where the last thread ends by exit and not exit_group.</summary>
    internal int LastThreadStatus { get; set; }

    internal void WaitUntilEnded() => _ended.Wait();

    /// <summary>Queues a signal to the process, or to one of its threads. False where the queue is full.</summary>
    internal bool Queue(GuestThread? target, in SigInfo info)
    {
        int signal = info.Signal;
        ulong bit = Signal.Bit(signal);
        lock (Sync)
        {
            if (_exiting || _threads.Count == 0) return true;
            if (signal == Signal.SIGKILL)
            {
                _stopped = false;
                BeginExit(Signal.SIGKILL);
                return true;
            }
            if (signal == Signal.SIGCONT)
            {
                _stopTaken = false;
                DiscardEverywhere(Signal.StopSignals);
                Continue();
            }
            else if ((bit & Signal.StopSignals) != 0)
            {
                DiscardEverywhere(Signal.Bit(Signal.SIGCONT));
            }
            if (!IsTraced && Actions.Ignores(signal) && ((target ?? _threads[0]).SignalMask & bit) == 0) return true;
            if (!(target?.Pending ?? Pending).Add(info)) return false;
            SignalQueued?.Invoke(signal);
            if (target != null)
            {
                if (target.Wants(bit)) target.Nudge();
                return true;
            }
            foreach (var thread in _threads)
            {
                if (!thread.Wants(bit)) continue;
                thread.Nudge();
                break;
            }
            return true;
        }
    }

    /// <summary>The sets that /proc/self/status shows; the first thread's where they are a thread's.</summary>
    public (ulong ThreadPending, ulong Pending, ulong Blocked, ulong Ignored, ulong Caught) SignalSets()
    {
        lock (Sync)
        {
            ulong ignored = 0, caught = 0;
            for (int signal = 1; signal <= Signal.Count; signal++)
            {
                ulong handler = Actions[signal].Handler;
                if (handler == SignalAction.Ignore) ignored |= Signal.Bit(signal);
                else if (handler != SignalAction.Default) caught |= Signal.Bit(signal);
            }
            var first = _threads.Count > 0 ? _threads[0] : null;
            return (first?.Pending.Bits ?? 0, Pending.Bits, first?.SignalMask ?? 0, ignored, caught);
        }
    }

    private void DiscardEverywhere(ulong set)
    {
        Pending.Discard(set);
        foreach (var thread in _threads) thread.Pending.Discard(set);
    }

    /// <summary>Drops what is pending of signals that are ignored now (sigaction to SIG_IGN).</summary>
    internal void DiscardPending(ulong set)
    {
        lock (Sync) DiscardEverywhere(set);
    }

    // A thread has taken a stop signal and is about to stop the process; a SIGCONT before it does so cancels that.
    private bool _stopTaken;

    /// <summary>Called with <see cref="Sync"/> held.</summary>
    internal void StopIsTaken() => _stopTaken = true;

    /// <summary>Default action of the stop signals. The realm's first process stops the host process, as its shell expects.</summary>
    internal void Stop(int signal)
    {
        if (Parent == null)
        {
            HostSyscall.Invoke(62 /* kill */, HostSyscall.Invoke(39 /* getpid */), Signal.SIGSTOP);
            return;
        }
        lock (Sync)
        {
            if (_exiting || !_stopTaken) return;
            _stopTaken = false;
            StopSignal = signal;
            _stopped = true;
            foreach (var thread in _threads) thread.Nudge();
        }
        // A parent that traces it hears of the stop as its tracer.
        if (IsTraced && Parent is { } parent && Threads().Any(thread => thread.Tid == Pid && thread.Tracee?.Tracer == parent)) return;
        Realm.ChildChanged(this, SigInfo.CLD_STOPPED, signal);
    }

    private void Continue()
    {
        if (!_stopped) return;
        _stopped = false;
        foreach (var thread in _threads) thread.Unpark();
        ThreadPool.QueueUserWorkItem(_ => Realm.ChildChanged(this, SigInfo.CLD_CONTINUED, Signal.SIGCONT));
    }
}
