using Vivarium.Linux.Loader;
using Vivarium.Linux.Memory;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Threads;
using Vivarium.Linux.Time;

namespace Vivarium.Linux;

// What execve changes.
public sealed partial class GuestProcess
{
    /// <summary>execve happened since the fork: the parent may not move it to another group any more.</summary>
    internal bool HasExecuted { get; private set; }

    /// <summary>PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS.</summary>
    internal int ParentDeathSignal { get; set; }
    internal bool IsSubreaper { get; set; }
    internal bool NoNewPrivileges { get; set; }

    /// <summary>Replaces the image; the caller is the only thread left and goes on in the new program.</summary>
    internal void Become(GuestThread thread, AddressSpace memory, LoadedProgram program, IReadOnlyList<string> environment, string path)
    {
        // What a thread's end does in the old address space: vfork's parent still uses it.
        Futex.ReleaseRobustList(thread);
        if (thread.ClearChildTid != 0 && thread.Window.TryStore32(thread.ClearChildTid, 0)) Futex.Wake(thread.Window, thread.ClearChildTid, 1);
        var old = Memory;
        lock (Sync)
        {
            if (thread.Tid != Pid)
            {
                Realm.Threads.TryRemove(thread.Tid, out _);
                thread.Tid = Pid;
                Realm.Threads[Pid] = thread;
            }
            Actions = Actions.Clone();
            Actions.ResetHandlers();
            Memory = memory;
            memory.Limits = Limits;
        }
        thread.StartImage(memory, program);
        (Timers as ProcessTimers)?.DropPosix();
        UnshareFiles();
        Files.CloseOnExec();
        SetImage(program, environment, program.Arguments.Count > 0 && program.ExecutablePath != path ? path : null);
        thread.Name = Name;
        HasExecuted = true;
        old.Release();
        ReleaseVforkParent();
    }
}
