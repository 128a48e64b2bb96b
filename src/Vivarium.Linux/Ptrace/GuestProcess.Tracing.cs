using Vivarium.Linux.Ptrace;
using Vivarium.Linux.Signals;

namespace Vivarium.Linux;

// A process that traces others, and one with traced threads.
public sealed partial class GuestProcess
{
    private int _traced;

    /// <summary>Threads that this process traces. Guarded by the realm's tree lock, as the next.</summary>
    internal List<GuestThread> Tracees { get; } = [];

    /// <summary>Ends of tracees that are no children, which no wait has seen: id, user, wait status.</summary>
    internal List<(int Tid, uint Uid, int Status)> EndedTracees { get; } = [];

    /// <summary>Some thread of this process is traced.</summary>
    internal bool IsTraced => Volatile.Read(ref _traced) != 0;

    /// <summary>The signal of the present stop.</summary>
    internal int StopSignal { get; private set; } = Signal.SIGSTOP;

    /// <summary>Starts to trace a thread; false where it is traced already, or ends.</summary>
    internal bool AddTracee(GuestThread thread, Tracee tracee)
    {
        lock (Realm.Tree)
        {
            if (thread.Tracee != null || thread.IsEnding || IsExiting) return false;
            Tracees.Add(thread);
            Interlocked.Increment(ref thread.Process._traced);
            thread.Tracee = tracee;
            return true;
        }
    }

    /// <summary>Ends the tracing of a thread, which goes on with a signal or none. Call with the tree's lock held.</summary>
    internal void RemoveTracee(GuestThread thread, int signal)
    {
        if (thread.Tracee is not { } tracee || !Tracees.Remove(thread)) return;
        lock (tracee.Lock)
        {
            tracee.Signal = signal;
            tracee.Stopped = false;
        }
        thread.Tracee = null;
        Interlocked.Decrement(ref thread.Process._traced);
        thread.Nudge();
        thread.Unpark();
    }

    /// <summary>The thread that made this process by fork; 0 for none.</summary>
    internal int ForkedBy { get; set; }

    /// <summary>This process, or one thread of it, is gone: its tracees are on their own.</summary>
    internal void ReleaseTracees(GuestThread? of = null)
    {
        lock (Realm.Tree)
        {
            foreach (var thread in Tracees.ToArray())
            {
                if (of != null && thread.Tracee?.By != of) continue;
                bool kills = thread.Tracee is { } tracee && tracee.Has(Tracee.ExitKill);
                RemoveTracee(thread, 0);
                if (kills) thread.Process.Queue(null, SigInfo.Kernel(Signal.SIGKILL));
            }
            if (of == null) EndedTracees.Clear();
        }
    }

    /// <summary>A traced thread has ended. Its tracer learns it by wait: of a child's leader as of any child, of others by itself.</summary>
    internal void TracedThreadEnded(GuestThread thread, int status)
    {
        if (thread.Tracee is not { } tracee) return;
        var tracer = tracee.Tracer;
        bool tells;
        lock (Realm.Tree)
        {
            tells = tracer.Tracees.Contains(thread) && !tracer.HasEnded && !(thread.Tid == Pid && Parent == tracer);
            tracer.RemoveTracee(thread, 0);
            if (tells) tracer.EndedTracees.Add((thread.Tid, Credentials.Uid, status));
        }
        if (tells) Realm.TraceeNews(tracer, thread, SigInfo.CLD_EXITED, status >> 8 & 0xff);
    }
}
