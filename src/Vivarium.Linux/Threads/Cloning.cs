using Vivarium.Linux.Signals;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Threads;

/// <summary>What clone and clone3 ask for.</summary>
public readonly record struct CloneRequest
{
    public CloneFlags Flags { get; init; }
    public int ExitSignal { get; init; }

    /// <summary>Initial sp of the child; 0 keeps the parent's.</summary>
    public ulong Stack { get; init; }
    public ulong ParentTid { get; init; }
    public ulong ChildTid { get; init; }
    public ulong Pidfd { get; init; }
    public ulong Tls { get; init; }
}

/// <summary>New threads and processes.</summary>
public static class Cloning
{
    public static long Clone(GuestThread parent, in CloneRequest request)
    {
        var flags = request.Flags;
        if ((flags & CloneFlags.Fs) != 0 && (flags & (CloneFlags.NewNamespace | CloneFlags.NewUser)) != 0) return -Errno.EINVAL;
        if ((flags & CloneFlags.Namespaces) != 0) return -Errno.EPERM;
        if ((flags & CloneFlags.Pidfd) != 0 && (!parent.Window.TryLoad32(request.Pidfd, out uint old) || !parent.Window.TryCompareExchange32(request.Pidfd, old, old, out _))) return -Errno.EFAULT;
        if ((flags & CloneFlags.Thread) != 0 && (flags & CloneFlags.Sighand) == 0) return -Errno.EINVAL;
        if ((flags & CloneFlags.Sighand) != 0 && (flags & CloneFlags.Vm) == 0) return -Errno.EINVAL;
        if ((flags & CloneFlags.Sighand) != 0 && (flags & CloneFlags.ClearSighand) != 0) return -Errno.EINVAL;
        if ((flags & CloneFlags.IntoCgroup) != 0) return -Errno.EOPNOTSUPP;
        if (!parent.Process.Realm.MayClone(parent.Process)) return -Errno.EAGAIN;
        return (flags & CloneFlags.Thread) != 0 ? NewThread(parent, request) : Forking.NewProcess(parent, request);
    }

    private static long NewThread(GuestThread parent, in CloneRequest request)
    {
        var process = parent.Process;
        var realm = process.Realm;
        int tid = realm.AllocateTid();
        var child = new GuestThread { Process = process, Hart = CopyHart(parent.Hart, process.Memory, request), Tid = tid, Name = parent.Name, Scheduling = parent.Scheduling.Inherited };
        child.InheritMask(parent);
        if ((request.Flags & CloneFlags.ParentSetTid) != 0) parent.Window.TryStore32(request.ParentTid, (uint)tid);
        if ((request.Flags & CloneFlags.ChildSetTid) != 0) parent.Window.TryStore32(request.ChildTid, (uint)tid);
        if ((request.Flags & CloneFlags.ChildClearTid) != 0) child.ClearChildTid = request.ChildTid;
        parent.TraceChild(child, Ptrace.Tracee.TraceClone);
        process.AddThread(child);
        realm.HostThreads.Start(child.Run);
        parent.TraceEvent(Ptrace.Tracee.TraceClone, Ptrace.Tracee.EventClone, (ulong)tid);
        return tid;
    }

    /// <summary>A hart with the caller's registers as the child of clone sees them: a0 = 0, sp and tp as asked for.</summary>
    internal static Hart CopyHart(Hart parent, Memory.AddressSpace memory, in CloneRequest request)
    {
        var child = new Hart(memory.Window) { Pc = parent.Pc };
        for (int i = 1; i < 32; i++) child[i] = parent[i];
        CopyFloats(ref parent.State, ref child.State);
        child[10] = 0;
        if (request.Stack != 0) child[2] = request.Stack;
        if ((request.Flags & CloneFlags.SetTls) != 0) child[4] = request.Tls;
        return child;
    }

    // SAFETY: both buffers have 32 entries.
    private static unsafe void CopyFloats(ref HartState from, ref HartState to)
    {
        for (int i = 0; i < 32; i++) to.F[i] = from.F[i];
        to.Fflags = from.Fflags;
        to.Frm = from.Frm;
    }
}
