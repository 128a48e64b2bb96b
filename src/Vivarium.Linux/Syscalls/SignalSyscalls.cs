using Vivarium.Linux.Signals;

namespace Vivarium.Linux.Syscalls;

/// <summary>Signals: dispositions, masks, sending, waiting.</summary>
public static class SignalSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(129, "kill", "int signal", Kill),
        new(130, "tkill", "int signal", (thread, in args) => SendToThread(thread, 0, (int)args.A0, (int)args.A1)),
        new(131, "tgkill", "int int signal", (thread, in args) => (int)args.A0 <= 0 ? -Errno.EINVAL : SendToThread(thread, (int)args.A0, (int)args.A1, (int)args.A2)),
        new(132, "sigaltstack", "ptr ptr", SigAltStack),
        new(133, "rt_sigsuspend", "sigset size", SigSuspend),
        new(134, "rt_sigaction", "signal sigaction ptr size", SigAction),
        new(135, "rt_sigprocmask", "sighow sigset ptr size", SigProcMask),
        new(136, "rt_sigpending", "ptr size", SigPending),
        new(137, "rt_sigtimedwait", "sigset ptr timespec size", SigTimedWait),
        new(138, "rt_sigqueueinfo", "int signal ptr", SigQueueInfo),
        new(139, "rt_sigreturn", "", (thread, in _) => thread.ReturnFromSignal()),
        new(240, "rt_tgsigqueueinfo", "int int signal ptr", ThreadSigQueueInfo),
    ];

    private static long Kill(GuestThread thread, in SyscallArgs args)
    {
        int pid = (int)args.A0, signal = (int)args.A1;
        if (signal is < 0 or > Signal.Count) return -Errno.EINVAL;
        var self = thread.Process;
        var info = SigInfo.From(signal, SigInfo.SI_USER, self.Pid, self.Credentials.Uid);
        if (pid > 0)
        {
            return ByAnyId(self, pid) is { } target ? Send(self, target, info) : -Errno.ESRCH;
        }
        int group = pid == 0 ? self.ProcessGroup : -pid;
        long result = -Errno.ESRCH;
        foreach (var process in self.Realm.Processes.Values)
        {
            if (pid == -1 ? process == self || process.Parent == null : process.ProcessGroup != group) continue;
            long sent = Send(self, process, info);
            if (sent == 0 || result == -Errno.ESRCH) result = sent;
        }
        return result;
    }

    // The id of any thread stands for its process.
    private static GuestProcess? ByAnyId(GuestProcess self, int id) =>
        self.Realm.Processes.TryGetValue(id, out var process) ? process : self.Realm.Threads.GetValueOrDefault(id)?.Process;

    internal static long Send(GuestProcess from, GuestProcess to, in SigInfo info)
    {
        if (!MaySignal(from.Credentials, to.Credentials) && !(info.Signal == Signal.SIGCONT && from.Session == to.Session)) return -Errno.EPERM;
        if (info.Signal == 0) return 0;
        return from.Realm.SendToProcess(to, info) ? 0 : -Errno.EAGAIN;
    }

    private static bool MaySignal(Credentials from, Credentials to) =>
        from.EffectiveUid == 0 || from.EffectiveUid == to.Uid || from.EffectiveUid == to.SavedUid || from.Uid == to.Uid || from.Uid == to.SavedUid;

    private static long SendToThread(GuestThread thread, int tgid, int tid, int signal)
    {
        if (tid <= 0 || signal is < 0 or > Signal.Count) return -Errno.EINVAL;
        var self = thread.Process;
        if (!self.Realm.Threads.TryGetValue(tid, out var target) || (tgid != 0 && target.Process.Pid != tgid)) return -Errno.ESRCH;
        if (!MaySignal(self.Credentials, target.Process.Credentials)) return -Errno.EPERM;
        if (signal == 0) return 0;
        return self.Realm.SendToThread(target, SigInfo.From(signal, SigInfo.SI_TKILL, self.Pid, self.Credentials.Uid)) ? 0 : -Errno.EAGAIN;
    }

    private static long SigQueueInfo(GuestThread thread, in SyscallArgs args)
    {
        if (!thread.Window.TryRead(args.A2, out SigInfo info)) return -Errno.EFAULT;
        if (!Signal.IsValid((int)args.A1)) return args.A1 == 0 ? 0 : -Errno.EINVAL;
        if (ByAnyId(thread.Process, (int)args.A0) is not { } target) return -Errno.ESRCH;
        if ((info.Code >= 0 || info.Code == SigInfo.SI_TKILL) && target != thread.Process) return -Errno.EPERM;
        return Send(thread.Process, target, info with { Signal = (int)args.A1 });
    }

    private static long ThreadSigQueueInfo(GuestThread thread, in SyscallArgs args)
    {
        if (!thread.Window.TryRead(args.A3, out SigInfo info)) return -Errno.EFAULT;
        if (!Signal.IsValid((int)args.A2)) return args.A2 == 0 ? 0 : -Errno.EINVAL;
        if (!thread.Process.Realm.Threads.TryGetValue((int)args.A1, out var target) || target.Process.Pid != (int)args.A0) return -Errno.ESRCH;
        if ((info.Code >= 0 || info.Code == SigInfo.SI_TKILL) && target.Process != thread.Process) return -Errno.EPERM;
        return thread.Process.Realm.SendToThread(target, info with { Signal = (int)args.A2 }) ? 0 : -Errno.EAGAIN;
    }

    private static long SigAction(GuestThread thread, in SyscallArgs args)
    {
        int signal = (int)args.A0;
        if (args.A3 != 8 || !Signal.IsValid(signal)) return -Errno.EINVAL;
        var process = thread.Process;
        SignalAction wanted = default;
        if (args.A1 != 0)
        {
            if (!thread.Window.TryRead(args.A1, out wanted)) return -Errno.EFAULT;
            if ((Signal.Bit(signal) & Signal.Unblockable) != 0) return -Errno.EINVAL;
        }
        SignalAction old;
        lock (process.Sync)
        {
            old = process.Actions[signal];
            if (args.A1 != 0)
            {
                process.Actions[signal] = wanted with { Mask = wanted.Mask & ~Signal.Unblockable };
                if (process.Actions.Ignores(signal)) process.DiscardPending(Signal.Bit(signal));
            }
        }
        if (process.Actions.SeesFaults) process.Memory.Executor.RequirePreciseFaults();
        return args.A2 != 0 && !thread.Window.TryWrite(args.A2, old) ? -Errno.EFAULT : 0;
    }

    private static long SigProcMask(GuestThread thread, in SyscallArgs args)
    {
        if (args.A3 != 8) return -Errno.EINVAL;
        ulong old = thread.SignalMask;
        if (args.A1 != 0)
        {
            if (!thread.Window.TryLoad64(args.A1, out ulong set)) return -Errno.EFAULT;
            switch ((int)args.A0)
            {
                case 0: thread.SetSignalMask(old | set); break;
                case 1: thread.SetSignalMask(old & ~set); break;
                case 2: thread.SetSignalMask(set); break;
                default: return -Errno.EINVAL;
            }
        }
        return args.A2 != 0 && !thread.Window.TryStore64(args.A2, old) ? -Errno.EFAULT : 0;
    }

    private static long SigPending(GuestThread thread, in SyscallArgs args)
    {
        if (args.A1 > 8) return -Errno.EINVAL;
        ulong pending = (thread.Pending.Bits | thread.Process.Pending.Bits) & thread.SignalMask;
        return thread.Window.TryStore64(args.A0, pending) ? 0 : -Errno.EFAULT;
    }

    private static long SigSuspend(GuestThread thread, in SyscallArgs args)
    {
        if (args.A1 != 8) return -Errno.EINVAL;
        if (!thread.Window.TryLoad64(args.A0, out ulong mask)) return -Errno.EFAULT;
        thread.SetTemporaryMask(mask);
        thread.WaitForSignal(0, long.MaxValue);
        return -Errno.ERESTARTNOHAND;
    }

    private static long SigTimedWait(GuestThread thread, in SyscallArgs args)
    {
        if (args.A3 != 8) return -Errno.EINVAL;
        if (!thread.Window.TryLoad64(args.A0, out ulong set)) return -Errno.EFAULT;
        set &= ~Signal.Unblockable;
        long deadline = long.MaxValue;
        if (args.A2 != 0)
        {
            if (!thread.Window.TryRead(args.A2, out Timespec timeout)) return -Errno.EFAULT;
            if (!timeout.IsValid) return -Errno.EINVAL;
            deadline = thread.Deadline(timeout.ToNanoseconds());
        }
        for (;;)
        {
            if (thread.TakeSignal(set, out var info))
            {
                if (args.A1 != 0 && !WriteInfo(thread, args.A1, info)) return -Errno.EFAULT;
                return info.Signal;
            }
            if (thread.HasDeliverableSignal || thread.IsEnding) return -Errno.ERESTARTNOHAND;
            if (deadline != long.MaxValue && GuestThread.MonotonicNow() >= deadline) return -Errno.EAGAIN;
            thread.WaitForSignal(set, deadline);
        }
    }

    internal static bool WriteInfo(GuestThread thread, ulong address, in SigInfo info) =>
        thread.Window.TryWrite(address, info) && thread.Window.Clear(address + 48, SigInfo.Size - 48) == SigInfo.Size - 48;

    private static long SigAltStack(GuestThread thread, in SyscallArgs args)
    {
        var old = thread.AlternateStack;
        bool onStack = old.Contains(thread.Hart[2]);
        if (args.A0 != 0)
        {
            if (!thread.Window.TryRead(args.A0, out SignalStack wanted)) return -Errno.EFAULT;
            if (onStack) return -Errno.EPERM;
            int mode = wanted.Flags & ~SignalStack.SS_AUTODISARM;
            if (mode is not (0 or SignalStack.SS_DISABLE or SignalStack.SS_ONSTACK)) return -Errno.EINVAL;
            if (mode == SignalStack.SS_DISABLE) wanted = wanted with { Address = 0, Size = 0 };
            else if (wanted.Size < 2048) return -Errno.ENOMEM;
            thread.AlternateStack = wanted with { Flags = wanted.Flags & ~SignalStack.SS_ONSTACK, Padding = 0 };
        }
        if (args.A1 != 0)
        {
            old = old with { Flags = old.Flags | (onStack ? SignalStack.SS_ONSTACK : 0) };
            if (!thread.Window.TryWrite(args.A1, old)) return -Errno.EFAULT;
        }
        return 0;
    }
}
