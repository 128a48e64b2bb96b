using Vivarium.Host;
using Vivarium.Linux.Loader;
using Vivarium.Linux.Signals;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux;

// Signals as one thread sees them: its mask, its pending set, and delivery before it returns to guest code.
public sealed partial class GuestThread
{
    private ulong _mask;
    private ulong _maskToRestore;
    private bool _restoreMask;
    private ulong _waitedSignals;

    /// <summary>Blocked signals. Written by the thread itself under the process's lock.</summary>
    public ulong SignalMask => Volatile.Read(ref _mask);

    /// <summary>Signals sent to this thread alone. Guarded by the process's lock.</summary>
    public PendingSignals Pending { get; } = new();

    /// <summary>The alternate stack.</summary>
    public SignalStack AlternateStack { get; set; } = new(0, SignalStack.SS_DISABLE, 0, 0);

    /// <summary>What would be delivered now.</summary>
    private ulong Deliverable => (Pending.Bits | Process.Pending.Bits) & ~Volatile.Read(ref _mask);

    /// <summary>Whether a signal waits that the thread does not block: a wait has to end for it.</summary>
    public bool HasDeliverableSignal => Deliverable != 0;

    /// <summary>Whether this thread takes a signal sent to its process: it does not block it, or waits for it in sigtimedwait.</summary>
    internal bool Wants(ulong bit) => ((~SignalMask | Volatile.Read(ref _waitedSignals)) & bit) != 0;

    /// <summary>Makes this thread look at its signals and at its process's state soon. From any thread.</summary>
    internal void Nudge()
    {
        lock (Process.Sync)
        {
            if (_ended) return;
            Hart.RequestExit();
            Volatile.Read(ref _hostThread)?.Kick();
        }
    }

    internal void InheritMask(GuestThread parent) => _mask = parent._restoreMask ? parent._maskToRestore : parent._mask;

    /// <summary>Changes the mask (SIGKILL and SIGSTOP stay unblocked) and looks at what that lets through.</summary>
    public void SetSignalMask(ulong mask)
    {
        lock (Process.Sync) Volatile.Write(ref _mask, mask & ~Signal.Unblockable);
        if (Deliverable != 0) Hart.RequestExit();
    }

    /// <summary>For sigsuspend, ppoll, pselect and epoll_pwait: <paramref name="mask"/> for the time of the syscall; a handler that ends it runs
    /// with it, and afterwards the old one is back.</summary>
    public void SetTemporaryMask(ulong mask)
    {
        if (!_restoreMask)
        {
            _maskToRestore = _mask;
            _restoreMask = true;
        }
        SetSignalMask(mask);
    }

    /// <summary>Ends <see cref="SetTemporaryMask"/> where no signal has to be delivered under it. Called by the loop at the end of each syscall that
    /// was not interrupted.</summary>
    private void RestoreMask()
    {
        _restoreMask = false;
        SetSignalMask(_maskToRestore);
    }

    /// <summary>Waits until a signal is deliverable, one of <paramref name="accept"/> is pending, or the process ends. False at the deadline
    /// (CLOCK_MONOTONIC nanoseconds).</summary>
    internal bool WaitForSignal(ulong accept, long deadline)
    {
        Volatile.Write(ref _waitedSignals, accept);
        try
        {
            for (;;)
            {
                HostThread!.ClearKick();
                Interlocked.MemoryBarrier();
                if (Deliverable != 0 || ((Pending.Bits | Process.Pending.Bits) & accept) != 0 || Process.IsExiting || _killed) return true;
                if (Park(deadline) == -Errno.ETIMEDOUT) return false;
            }
        }
        finally
        {
            Volatile.Write(ref _waitedSignals, 0);
            // Kicks that came meanwhile may have been for more than this wait.
            Hart.RequestExit();
        }
    }

    /// <summary>Takes a pending signal of a set without delivering it (sigtimedwait, signalfd).</summary>
    public bool TakeSignal(ulong wanted, out SigInfo info)
    {
        lock (Process.Sync) return Pending.Take(wanted, out info) || Process.Pending.Take(wanted, out info);
    }

    /// <summary>A signal that this thread brings on itself and cannot escape: a fault. Blocked or ignored, it kills.</summary>
    internal void ForceSignal(in SigInfo info)
    {
        lock (Process.Sync)
        {
            ref var action = ref Process.Actions[info.Signal];
            ulong bit = Signal.Bit(info.Signal);
            if ((_mask & bit) != 0 || action.Handler == SignalAction.Ignore)
            {
                action = default;
                Volatile.Write(ref _mask, _mask & ~bit);
            }
            Pending.Add(info);
        }
        Hart.RequestExit();
    }

    /// <summary>SIGPIPE, SIGXFSZ and the like, sent by the kernel to the calling thread.</summary>
    public void RaiseSelf(int signal) => Process.Realm.SendToThread(this, SigInfo.From(signal, SigInfo.SI_USER, Process.Pid, Process.Credentials.Uid));

    /// <summary>
    /// Everything that waits for a thread on its way back to guest code. <paramref name="interrupted"/> is the restart code (positive) that
    /// its syscall ended with, or 0.
    /// </summary>
    private void HandleWork(int interrupted)
    {
        // Order: first forget the requests, then look at what they were for; who makes one publishes the reason first.
        Volatile.Write(ref Hart.State.ExitRequest, 0);
        HostThread!.ClearKick();
        Interlocked.MemoryBarrier();
        while (!IsEnding)
        {
            if (Process.MustStand(this)) Process.Stand(this);
            if (Tracee is { } tracee)
            {
                if (StopForTracer(tracee)) continue;
            }
            else if (Process.IsStopped)
            {
                WaitWhileStopped();
                continue;
            }
            SigInfo info;
            SignalAction action;
            ulong deliverable = Deliverable;
            if (deliverable == 0) break;
            lock (Process.Sync)
            {
                if (!Pending.Take(~_mask, out info) && !Process.Pending.Take(~_mask, out info)) break;
                // Before anybody can send the SIGCONT that undoes it. A tracer may make a stop signal of any other.
                if ((Signal.Bit(info.Signal) & Signal.StopSignals) != 0 || Tracee != null) Process.StopIsTaken();
            }
            if (Tracee is { } watched && info.Signal != Signal.SIGKILL && !PassTracer(watched, ref info)) continue;
            lock (Process.Sync)
            {
                ref var current = ref Process.Actions[info.Signal];
                action = current;
                if (action.Handler > SignalAction.Ignore && (action.Flags & SignalAction.SA_RESETHAND) != 0) current.Handler = SignalAction.Default;
            }
            Process.Realm.Trace?.SignalDelivered(this, info);
            if (action.Handler == SignalAction.Ignore) continue;
            if (action.Handler == SignalAction.Default)
            {
                TakeDefaultAction(info);
                continue;
            }
            if (interrupted != 0)
            {
                bool restart = interrupted == Errno.ERESTARTSYS && (action.Flags & SignalAction.SA_RESTART) != 0;
                if (restart) RestartSyscall();
                else Hart[10] = unchecked((ulong)-Errno.EINTR);
                _restartDeadline = 0;
                interrupted = 0;
            }
            PushFrame(info, action);
        }
        if (IsEnding) return;
        if (interrupted != 0) RestartSyscall();
        if (_restoreMask && interrupted == 0) RestoreMask();
    }

    /// <summary>A kick has been seen; the next look at the thread's state must find what it was for.</summary>
    internal void AcceptKick()
    {
        HostThread!.ClearKick();
        Hart.RequestExit();
        Interlocked.MemoryBarrier();
    }

    private void WaitWhileStopped()
    {
        while (Process.IsStopped && !IsEnding && Tracee == null)
        {
            HostThread!.ClearKick();
            Interlocked.MemoryBarrier();
            if (!Process.IsStopped || IsEnding || Tracee != null) break;
            Park();
        }
    }

    private void RestartSyscall()
    {
        Hart[10] = _syscallFirstArgument;
        Hart.Pc -= 4;
    }

    private void PushFrame(in SigInfo info, in SignalAction action)
    {
        _repeatsQuietly = false;
        ulong sp = Hart[2];
        bool onStack = AlternateStack.Contains(sp);
        if ((action.Flags & SignalAction.SA_ONSTACK) != 0 && !onStack && (AlternateStack.Flags & SignalStack.SS_DISABLE) == 0)
            sp = AlternateStack.Address + AlternateStack.Size;
        ulong frame = (sp - SignalFrame.Size) & ~15UL;
        bool overflow = onStack && !AlternateStack.Contains(frame);
        ulong mask = _restoreMask ? _maskToRestore : _mask;
        var stack = AlternateStack with { Flags = AlternateStack.Flags | (onStack ? SignalStack.SS_ONSTACK : 0) };
        if (overflow || !SignalFrame.TryWrite(Window, frame, Hart, info, mask, stack))
        {
            // No room for the frame: SIGSEGV, which kills where that is the signal itself.
            lock (Process.Sync)
            {
                if (info.Signal == Signal.SIGSEGV) Process.Actions[Signal.SIGSEGV] = default;
            }
            ForceSignal(SigInfo.Fault(Signal.SIGSEGV, SigInfo.SEGV_MAPERR, frame));
            return;
        }
        _restoreMask = false;
        if ((AlternateStack.Flags & SignalStack.SS_AUTODISARM) != 0) AlternateStack = new SignalStack(0, SignalStack.SS_DISABLE, 0, 0);
        Hart[1] = Vdso.SignalReturnIn(Process.Memory);
        Hart[2] = frame;
        Hart[10] = (ulong)info.Signal;
        Hart[11] = frame;
        Hart[12] = frame + SignalFrame.UContext;
        Hart.Pc = action.Handler & ~1UL;
        lock (Process.Sync)
        {
            ulong blocked = _mask | action.Mask | ((action.Flags & SignalAction.SA_NODEFER) == 0 ? Signal.Bit(info.Signal) : 0);
            Volatile.Write(ref _mask, blocked & ~Signal.Unblockable);
        }
    }

    /// <summary>rt_sigreturn: the register a0 of the restored context, which the loop writes back.</summary>
    internal long ReturnFromSignal()
    {
        if (!SignalFrame.TryRestore(Window, Hart[2], Hart, out ulong mask, out var stack))
        {
            ForceSignal(SigInfo.Fault(Signal.SIGSEGV, SigInfo.SEGV_MAPERR, Hart[2]));
            return 0;
        }
        if ((stack.Flags & SignalStack.SS_DISABLE) != 0 || stack.Size != 0)
            AlternateStack = stack with { Flags = stack.Flags & ~SignalStack.SS_ONSTACK };
        Hart.State.ReservationAddress = ulong.MaxValue;
        SetSignalMask(mask);
        return (long)Hart[10];
    }

    private void TakeDefaultAction(in SigInfo info)
    {
        switch (Signal.Default(info.Signal))
        {
            case DefaultAction.Ignore or DefaultAction.Continue:
                return;
            case DefaultAction.Stop:
                Process.Stop(info.Signal);
                return;
            case DefaultAction.Core:
                if (info.Signal != Signal.SIGQUIT) CrashReport.Write(this, info);
                Process.BeginExit(info.Signal);
                return;
            default:
                Process.BeginExit(info.Signal);
                return;
        }
    }

    /// <summary>Turns a trap of the executor into the signal that Linux sends for it.</summary>
    private void HandleFault(in ExecutionExit exit)
    {
        switch (exit.Cause)
        {
            case TrapCause.Breakpoint:
                ForceSignal(SigInfo.Fault(Signal.SIGTRAP, SigInfo.TRAP_BRKPT, Hart.Pc));
                return;
            case TrapCause.IllegalInstruction:
                ForceSignal(SigInfo.Fault(Signal.SIGILL, SigInfo.ILL_ILLOPC, Hart.Pc));
                return;
            case TrapCause.InstructionAddressMisaligned or TrapCause.LoadAddressMisaligned or TrapCause.StoreAddressMisaligned:
                ForceSignal(SigInfo.Fault(Signal.SIGBUS, SigInfo.BUS_ADRALN, exit.Value));
                return;
            default:
                if (exit.HostSignal == Signal.SIGBUS)
                {
                    ForceSignal(SigInfo.Fault(Signal.SIGBUS, SigInfo.BUS_ADRERR, exit.Value));
                    return;
                }
                int code = Process.Memory.Find(exit.Value) != null ? SigInfo.SEGV_ACCERR : SigInfo.SEGV_MAPERR;
                ForceSignal(SigInfo.Fault(Signal.SIGSEGV, code, exit.Value));
                return;
        }
    }
}
