using Vivarium.Linux.Signals;

namespace Vivarium.Linux;

// The tree of processes: ends, orphans, news for parents.
public sealed partial class Realm
{
    /// <summary>Guards parents, children and zombies. Taken before any process's own lock.</summary>
    internal Lock Tree { get; } = new();

    internal void ProcessEnded(GuestProcess process)
    {
        process.Files.CloseAll();
        process.Memory.Release();
        process.ReleaseVforkParent();
        bool reaped;
        GuestProcess? parent;
        lock (Tree)
        {
            var heir = Processes.Values.MinBy(candidate => candidate.Pid);
            foreach (var child in process.Children)
            {
                if (heir == process) child.Parent = null;
                else
                {
                    child.Parent = heir;
                    heir!.Children.Add(child);
                }
            }
            process.Children.Clear();
            parent = process.Parent;
            process.IsZombie = true;
            reaped = parent == null || parent.IgnoresChildren;
            if (reaped)
            {
                Processes.TryRemove(process.Pid, out _);
                parent?.Children.Remove(process);
            }
        }
        if (parent == null) return;
        int status = process.WaitStatus, signal = status & 0x7f;
        int code = signal == 0 ? SigInfo.CLD_EXITED : (status & 0x80) != 0 ? SigInfo.CLD_DUMPED : SigInfo.CLD_KILLED;
        if (process.ExitSignal != 0) NotifyParent(parent, process, code, signal == 0 ? status >> 8 & 0xff : signal, process.ExitSignal);
        parent.WakeWaiters();
    }

    /// <summary>A child stopped or continued.</summary>
    internal void ChildChanged(GuestProcess child, int code, int status)
    {
        GuestProcess? parent;
        lock (Tree)
        {
            parent = child.Parent;
            child.StateNews = code == SigInfo.CLD_STOPPED ? status << 8 | 0x7f : 0xffff;
        }
        if (parent == null) return;
        bool wanted;
        lock (parent.Sync) wanted = (parent.Actions[Signal.SIGCHLD].Flags & SignalAction.SA_NOCLDSTOP) == 0;
        if (wanted) NotifyParent(parent, child, code, status, Signal.SIGCHLD);
        parent.WakeWaiters();
    }

    private static void NotifyParent(GuestProcess parent, GuestProcess child, int code, int status, int signal)
    {
        long ticks = child.CpuTime() / 10_000_000;
        parent.Queue(null, SigInfo.Child(code, child.Pid, child.Credentials.Uid, status, ticks, 0) with { Signal = signal });
    }
}
