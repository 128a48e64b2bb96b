using Vivarium.Linux.Ptrace;
using Vivarium.Linux.Signals;

namespace Vivarium.Linux;

// A thread that another process traces: its stops.
public sealed partial class GuestThread
{
    private const byte NoSyscall = 0, SyscallEntry = 1, SyscallExit = 2;

    private Tracee? _tracee;
    private bool _repeatsQuietly;
    private bool _ranOnInGroupStop;

    /// <summary>Set while somebody traces this thread. Changed with the realm's tree lock held.</summary>
    internal Tracee? Tracee
    {
        get => Volatile.Read(ref _tracee);
        set => Volatile.Write(ref _tracee, value);
    }

    /// <summary>Stops, tells the tracer, and waits until it lets the thread go on: the signal to go on with, 0 for none. The thread's registers are
    /// exact meanwhile.</summary>
    /// <param name="tracee">The thread's own.</param>
    /// <param name="stop">Signal in the low byte, event above.</param>
    /// <param name="info">PTRACE_GETSIGINFO; null in a group stop.</param>
    /// <param name="message">PTRACE_GETEVENTMSG.</param>
    /// <param name="syscall">Whether it stands at a system call's entry or exit.</param>
    /// <param name="dying">The thread is ending: only SIGKILL and the tracer's end cut the stop short.</param>
    internal int TraceStop(Tracee tracee, int stop, SigInfo? info, ulong message = 0, byte syscall = NoSyscall, bool dying = false)
    {
        Report(stop, info);
        for (;;)
        {
            HostThread!.ClearKick();
            Interlocked.MemoryBarrier();
            bool again;
            lock (tracee.Lock)
            {
                if (!tracee.Stopped) break;
                if (dying ? Process.IsExiting && Process.WaitStatus == Signal.SIGKILL : IsEnding || Tracee != tracee)
                {
                    tracee.Stopped = false;
                    tracee.Signal = 0;
                    break;
                }
                again = tracee.Listening && (!Process.IsStopped || tracee.Interrupted);
            }
            if (again)
            {
                // The group stop is over, or the tracer wants to know.
                tracee.Interrupted = false;
                int signal = Process.IsStopped ? Process.StopSignal : Signal.SIGTRAP;
                Report(signal | Tracee.EventStop << 8, SigInfo.From(signal, signal | Tracee.EventStop << 8, Process.Pid, Process.Credentials.Uid));
                continue;
            }
            Park();
        }
        // Kicks of this time may have been for more.
        Hart.RequestExit();
        lock (tracee.Lock) return tracee.Signal;

        void Report(int what, SigInfo? why)
        {
            // Here, where the thread's own time is known to the nanosecond: strace -c adds up what is between two stops.
            var cpu = Process.CpuTimes() + Process.ChildrenCpu;
            lock (tracee.Lock)
            {
                tracee.Cpu = cpu;
                (tracee.Stopped, tracee.Listening, tracee.Reported) = (true, false, false);
                (tracee.Status, tracee.Info, tracee.Message, tracee.Syscall, tracee.Signal) = (what << 8 | 0x7f, why, message, syscall, 0);
            }
            Process.Realm.TraceeNews(tracee.Tracer, this, SigInfo.CLD_TRAPPED, what & 0x7f);
        }
    }

    /// <summary>A PTRACE_EVENT stop, if the tracer asked for it.</summary>
    internal void TraceEvent(int option, int kind, ulong message)
    {
        if (Tracee is not { } tracee || !tracee.Has(option)) return;
        int stop = Signal.SIGTRAP | kind << 8;
        Inject(TraceStop(tracee, stop, SigInfo.From(Signal.SIGTRAP, stop, Process.Pid, Process.Credentials.Uid), message));
    }

    /// <summary>The thread's end, where the tracer wants to see it while its registers are still there.</summary>
    private void TraceEnd()
    {
        if (Tracee is not { } tracee || !tracee.Has(Ptrace.Tracee.TraceExit)) return;
        const int stop = Signal.SIGTRAP | Ptrace.Tracee.EventExit << 8;
        int status = Process.IsExiting ? Process.WaitStatus : ExitStatus;
        TraceStop(tracee, stop, SigInfo.From(Signal.SIGTRAP, stop, Process.Pid, Process.Credentials.Uid), (ulong)status, dying: true);
    }

    /// <summary>After execve: a stop for who asked for it, else SIGTRAP for a tracer of the old kind.</summary>
    internal void TraceExec(int oldTid)
    {
        if (Tracee is not { } tracee) return;
        if (tracee.Has(Ptrace.Tracee.TraceExec)) TraceEvent(Ptrace.Tracee.TraceExec, Ptrace.Tracee.EventExec, (ulong)oldTid);
        else if (!tracee.Seized) RaiseSelf(Signal.SIGTRAP);
    }

    /// <summary>A new thread or process of a traced thread: traced too where the tracer wants that. Before it starts.</summary>
    internal void TraceChild(GuestThread child, int option)
    {
        if (Tracee is not { } tracee || !tracee.Has(option)) return;
        var inherited = new Tracee(tracee.By, tracee.Seized) { Options = tracee.Options, Mode = TraceMode.Continue, Interrupted = tracee.Seized };
        if (!tracee.Tracer.AddTracee(child, inherited) || tracee.Seized) return;
        lock (child.Process.Sync) child.Pending.Add(SigInfo.From(Signal.SIGSTOP, SigInfo.SI_USER, 0, 0));
    }

    private void Inject(int signal)
    {
        if (signal != 0 && !IsEnding) Process.Realm.SendToThread(this, SigInfo.From(signal, SigInfo.SI_USER, Process.Pid, Process.Credentials.Uid));
    }

    /// <summary>Stops that are due on the way to guest code; true where there was one.</summary>
    private bool StopForTracer(Tracee tracee)
    {
        if (tracee.Interrupted)
        {
            tracee.Interrupted = false;
            int signal = Process.IsStopped ? Process.StopSignal : Signal.SIGTRAP, stop = signal | Ptrace.Tracee.EventStop << 8;
            _ranOnInGroupStop = Process.IsStopped;
            TraceStop(tracee, stop, SigInfo.From(signal, stop, Process.Pid, Process.Credentials.Uid));
            return true;
        }
        if (!Process.IsStopped)
        {
            _ranOnInGroupStop = false;
            return false;
        }
        if (_ranOnInGroupStop) return false;
        _ranOnInGroupStop = true;
        int why = Process.StopSignal;
        TraceStop(tracee, tracee.Seized ? why | Ptrace.Tracee.EventStop << 8 : why,
            tracee.Seized ? SigInfo.From(why, why | Ptrace.Tracee.EventStop << 8, Process.Pid, Process.Credentials.Uid) : null);
        return true;
    }

    /// <summary>Before a signal is delivered: the tracer may change or drop it. False where it is dropped.</summary>
    private bool PassTracer(Tracee tracee, ref SigInfo info)
    {
        int signal = TraceStop(tracee, info.Signal, info);
        if (signal == 0 || IsEnding) return false;
        lock (tracee.Lock)
        {
            info = signal == info.Signal && tracee.Info is { } changed ? changed
                : SigInfo.From(signal, SigInfo.SI_USER, tracee.Tracer.Pid, tracee.Tracer.Credentials.Uid);
        }
        if ((SignalMask & Signal.Bit(signal)) == 0) return true;
        lock (Process.Sync) Pending.Add(info);
        return false;
    }

    /// <summary>A system call of a traced thread, with stops at its entry and exit where the tracer wants them.</summary>
    private void HandleTracedSyscall(Tracee tracee)
    {
        var hart = Hart;
        ulong number = hart[17], first = hart[10];
        hart.Pc += 4;
        _syscallFirstArgument = first;
        bool stops = tracee.TracesSyscalls && !_repeatsQuietly;
        _repeatsQuietly = false;
        bool skipped = false;
        if (stops)
        {
            hart[10] = unchecked((ulong)-Errno.ENOSYS);
            SyscallStop(tracee, SyscallEntry);
            if (IsEnding) return;
            number = hart[17];
            skipped = (long)number == -1;
        }
        LastSyscall = (int)number;
        long result;
        if (skipped) result = (long)hart[10];
        else
        {
            var args = new SyscallArgs(first, hart[11], hart[12], hart[13], hart[14], hart[15]);
            var realm = Process.Realm;
            result = realm.Trace is { } trace ? trace.Call(this, number, args)
                : realm.Syscalls.Find(number) is { } handler ? handler(this, args) : realm.Unimplemented(number);
        }
        if (IsEnding) return;
        bool restarts = !skipped && result < -511 && result >= -Errno.ERESTARTNOHAND && number != 139;
        if (restarts && !HasDeliverableSignal && !Process.IsStopped && Tracee is { Interrupted: false })
        {
            // A kick for nothing: the tracer need not see it.
            _repeatsQuietly = stops;
            HandleWork((int)-result);
            return;
        }
        hart[10] = (ulong)result;
        if (Tracee is { TracesSyscalls: true } after) SyscallStop(after, SyscallExit);
        if (restarts)
        {
            HandleWork((int)-result);
            return;
        }
        _restartDeadline = 0;
        if (_restoreMask) RestoreMask();
    }

    private void SyscallStop(Tracee tracee, byte kind)
    {
        int stop = Signal.SIGTRAP | (tracee.Has(Ptrace.Tracee.SysGood) ? 0x80 : 0);
        Inject(TraceStop(tracee, stop, SigInfo.From(Signal.SIGTRAP, stop, Process.Pid, Process.Credentials.Uid), 0, kind));
    }

    /// <summary>First argument of the system call that the thread stands at.</summary>
    internal ulong SyscallFirstArgument => _syscallFirstArgument;
}
