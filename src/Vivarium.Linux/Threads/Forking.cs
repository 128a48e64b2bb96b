using Vivarium.Host;
using Vivarium.Linux.Memory;
using Vivarium.Linux.Signals;

namespace Vivarium.Linux.Threads;

/// <summary>New processes: fork and vfork.</summary>
internal static class Forking
{
    public static long NewProcess(GuestThread parent, in CloneRequest request)
    {
        var flags = request.Flags;
        if (request.ExitSignal != 0 && !Signal.IsValid(request.ExitSignal)) return -Errno.EINVAL;
        var process = parent.Process;
        var realm = process.Realm;
        AddressSpace memory;
        if ((flags & CloneFlags.Vm) != 0)
        {
            memory = process.Memory;
            memory.AddUser();
        }
        else
        {
            bool stands = false;
            try
            {
                var window = MemoryWindow.Reserve(process.Memory.Size);
                bool own = !process.Memory.IsShared;
                memory = process.Memory.Fork(window, realm.Executors.Create(), own && process.ThreadCount == 1, own ? () => stands = process.StandStill(parent) : null);
            }
            catch (OutOfMemoryException)
            {
                return -Errno.ENOMEM;
            }
            finally
            {
                if (stands) process.Resume();
            }
        }
        if (process.Actions.SeesFaults) memory.Executor.RequirePreciseFaults();
        int pid = realm.AllocateTid();
        var child = process.NewChild(pid, memory, flags, request.ExitSignal);
        var thread = new GuestThread { Process = child, Hart = Cloning.CopyHart(parent.Hart, memory, request), Tid = pid, Name = parent.Name, Scheduling = parent.Scheduling.Inherited };
        thread.InheritMask(parent);
        if (memory != process.Memory) memory.Limits = child.Limits;
        Time.ProcessTimers.WatchCpuLimit(child);
        if ((flags & (CloneFlags.Vm | CloneFlags.Vfork)) != CloneFlags.Vm) thread.AlternateStack = parent.AlternateStack;
        if ((flags & CloneFlags.ParentSetTid) != 0) parent.Window.TryStore32(request.ParentTid, (uint)pid);
        if ((flags & CloneFlags.ChildSetTid) != 0) thread.Window.TryStore32(request.ChildTid, (uint)pid);
        if ((flags & CloneFlags.ChildClearTid) != 0) thread.ClearChildTid = request.ChildTid;
        if ((flags & CloneFlags.Pidfd) != 0)
        {
            int fd = realm.PidFds.Create(parent, child, 0);
            if (fd >= 0) parent.Window.TryStore32(request.Pidfd, (uint)fd);
        }
        bool vfork = (flags & CloneFlags.Vfork) != 0;
        var (option, kind) = vfork ? (Ptrace.Tracee.TraceVfork, Ptrace.Tracee.EventVfork) : request.ExitSignal != Signal.SIGCHLD
            ? (Ptrace.Tracee.TraceClone, Ptrace.Tracee.EventClone) : (Ptrace.Tracee.TraceFork, Ptrace.Tracee.EventFork);
        parent.TraceChild(thread, option);
        child.ForkedBy = parent.Tid;
        if (vfork) child.VforkParent = parent;
        child.AddThread(thread);
        lock (realm.Tree)
        {
            realm.Processes[pid] = child;
            // CLONE_PARENT: the parent may have ended since, and its heir is ours then.
            if (child.Parent != process) child.Parent = process.Parent;
            child.Parent?.Children.Add(child);
        }
        realm.HostThreads.Start(thread.Run);
        parent.TraceEvent(option, kind, (ulong)pid);
        if (vfork)
        {
            WaitForVfork(parent, child);
            parent.TraceEvent(Ptrace.Tracee.TraceVforkDone, Ptrace.Tracee.EventVforkDone, (ulong)pid);
        }
        return pid;
    }

    /// <summary>vfork: the parent sleeps until the child executes a program or ends; only its own death ends the wait earlier.</summary>
    private static void WaitForVfork(GuestThread parent, GuestProcess child)
    {
        while (child.VforkParent != null && !parent.IsEnding)
        {
            parent.HostThread!.ClearKick();
            Interlocked.MemoryBarrier();
            if (child.VforkParent == null || parent.IsEnding) break;
            parent.Park();
        }
        parent.Hart.RequestExit();
    }
}
