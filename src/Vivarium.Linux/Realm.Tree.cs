using Vivarium.Linux.Signals;

namespace Vivarium.Linux;

// The tree of processes: ends, orphans, news for parents.
public sealed partial class Realm
{
    /// <summary>Guards parents, children and zombies. Taken before any process's own lock.</summary>
    internal Lock Tree { get; } = new();

    internal void ProcessEnded(GuestProcess process)
    {
        if (process.Session == process.Pid) Terminals.LeaderEnded(process.Session);
        process.ReleaseFiles();
        Ipc.Ended(process);
        process.Fs.Space.Locks.ReleaseAll(process);
        process.Fs.Release();
        process.Memory.Release();
        process.ReleaseVforkParent();
        bool reaped;
        var zombiesMoved = new List<GuestProcess>();
        GuestProcess? parent;
        lock (Tree)
        {
            var heir = Heir(process);
            foreach (var child in process.Children)
            {
                if (child.ParentDeathSignal != 0) child.Queue(null, SigInfo.From(child.ParentDeathSignal, SigInfo.SI_USER, process.Pid, process.Credentials.Uid));
                child.Parent = heir;
                // Whoever inherits a child waits for it as for one of its own.
                child.ExitSignal = Signal.SIGCHLD;
                bool gone = child.IsZombie && (heir == null || heir.IgnoresChildren);
                if (gone) Processes.TryRemove(child.Pid, out _);
                else heir?.Children.Add(child);
                if (heir != null && child.IsZombie) zombiesMoved.Add(child);
            }
            process.Children.Clear();
            parent = process.Parent;
            process.IsZombie = true;
            reaped = parent == null || (process.ExitSignal == Signal.SIGCHLD && parent.IgnoresChildren);
            if (reaped)
            {
                Processes.TryRemove(process.Pid, out _);
                parent?.Children.Remove(process);
            }
        }
        foreach (var zombie in zombiesMoved) TellOfEnd(zombie.Parent, zombie);
        TellOfEnd(parent, process);
    }

    private static void TellOfEnd(GuestProcess? parent, GuestProcess process)
    {
        if (parent == null) return;
        int status = process.WaitStatus, signal = status & 0x7f;
        int code = signal == 0 ? SigInfo.CLD_EXITED : (status & 0x80) != 0 ? SigInfo.CLD_DUMPED : SigInfo.CLD_KILLED;
        if (process.ExitSignal != 0) NotifyParent(parent, process, code, signal == 0 ? status >> 8 & 0xff : signal, process.ExitSignal);
        parent.WakeWaiters();
    }

    /// <summary>Who gets the orphans of a process: the nearest living ancestor that asked for them, else the realm's first process.</summary>
    private GuestProcess? Heir(GuestProcess process)
    {
        for (var ancestor = process.Parent; ancestor != null; ancestor = ancestor.Parent)
        {
            if (!ancestor.IsZombie && (ancestor.IsSubreaper || ancestor.Parent == null)) return ancestor;
        }
        return null;
    }

    /// <summary>A child stopped or continued.</summary>
    internal void ChildChanged(GuestProcess child, int code, int status)
    {
        GuestProcess? parent;
        lock (Tree)
        {
            parent = child.Parent;
            // Two changes close together may come here in the other order: news are of the state that lasted.
            if (child.IsStopped == (code == SigInfo.CLD_STOPPED)) child.StateNews = code == SigInfo.CLD_STOPPED ? status << 8 | 0x7f : 0xffff;
        }
        if (parent == null) return;
        bool wanted;
        lock (parent.Sync) wanted = (parent.Actions[Signal.SIGCHLD].Flags & SignalAction.SA_NOCLDSTOP) == 0;
        if (wanted) NotifyParent(parent, child, code, status, Signal.SIGCHLD);
        parent.WakeWaiters();
    }

    /// <summary>A tracee stopped or ended: SIGCHLD for the tracer, and its waits look.</summary>
    internal void TraceeNews(GuestProcess tracer, GuestThread tracee, int code, int status)
    {
        bool wanted;
        lock (tracer.Sync) wanted = code == SigInfo.CLD_EXITED || (tracer.Actions[Signal.SIGCHLD].Flags & SignalAction.SA_NOCLDSTOP) == 0;
        if (wanted) tracer.Queue(null, SigInfo.Child(code, tracee.Tid, tracee.Process.Credentials.Uid, status, 0, 0));
        tracer.WakeWaiters();
    }

    private static void NotifyParent(GuestProcess parent, GuestProcess child, int code, int status, int signal)
    {
        var times = child.CpuTimes();
        parent.Queue(null, SigInfo.Child(code, child.Pid, child.Credentials.Uid, status, times.User / 10_000_000, times.System / 10_000_000) with { Signal = signal });
    }
}
