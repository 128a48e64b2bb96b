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

    /// <summary>What else prctl sets.</summary>
    internal Syscalls.ProcessTraits Traits { get; set; } = new();

    private ulong _peakOfOthers;

    /// <summary>The most bytes in memory that waited-for children had.</summary>
    internal ulong ChildrenPeak { get; set; }

    /// <summary>The most bytes that the process has had in memory: as measured now, when it ended, and when it gave much back.</summary>
    internal ulong PeakMemory => HasEnded || Memory.IsShared ? _peakOfOthers : Math.Max(_peakOfOthers, Memory.MeasurePeak());

    private void KeepPeak() => _peakOfOthers = PeakMemory;

    /// <summary>Replaces the image; the caller is the only thread left and goes on in the new program.</summary>
    internal void Become(GuestThread thread, AddressSpace memory, LoadedProgram program, IReadOnlyList<string> environment, string path)
    {
        // What a thread's end does in the old address space: vfork's parent still uses it.
        Futex.ReleaseRobustList(thread);
        if (thread.ClearChildTid != 0 && thread.Window.TryStore32(thread.ClearChildTid, 0)) Futex.Wake(thread.Window, thread.ClearChildTid, 1);
        KeepPeak();
        var old = Memory;
        lock (Sync)
        {
            if (thread.Tid != Pid)
            {
                Realm.Threads.TryRemove(thread.Tid, out _);
                thread.Tid = Pid;
                _first = thread;
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
        Traits = Traits with { KeepCapabilities = false, Dumpable = true };
        Credentials = program.Credentials;
        HasExecuted = true;
        lock (Realm.Tree) ExitSignal = Signal.SIGCHLD;
        old.Release();
        ReleaseVforkParent();
    }
}
