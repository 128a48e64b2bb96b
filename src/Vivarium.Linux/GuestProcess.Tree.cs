using System.Runtime.CompilerServices;
using Vivarium.Linux.Loader;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Threads;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux;

// Family: parents, children, waiting.
public sealed partial class GuestProcess
{
    private readonly Lock _waitersLock = new();
    private readonly List<GuestThread> _waiters = [];
    private GuestThread? _vforkParent;

    /// <summary>Guarded by the realm's tree lock, as <see cref="IsZombie"/> and <see cref="StateNews"/>.</summary>
    internal List<GuestProcess> Children { get; } = [];

    internal bool IsZombie { get; set; }

    /// <summary>Wait status of a stop or continuation that no wait has seen; 0 for none.</summary>
    internal int StateNews { get; set; }

    /// <summary>CPU time of waited-for children in nanoseconds.</summary>
    internal Time.CpuTimes ChildrenCpu { get; set; }

    /// <summary>POSIX timers and itimers, if there are any.</summary>
    internal IDisposable? Timers { get; set; }

    /// <summary>Children leave no zombies: SIGCHLD is ignored or SA_NOCLDWAIT set.</summary>
    internal bool IgnoresChildren
    {
        get
        {
            lock (Sync)
            {
                var action = Actions[Signal.SIGCHLD];
                return action.Handler == SignalAction.Ignore || (action.Flags & SignalAction.SA_NOCLDWAIT) != 0;
            }
        }
    }

    /// <summary>The thread that vfork holds up until this process executes or ends.</summary>
    internal GuestThread? VforkParent { set => Volatile.Write(ref _vforkParent, value); get => Volatile.Read(ref _vforkParent); }

    internal void ReleaseVforkParent() => Interlocked.Exchange(ref _vforkParent, null)?.Unpark();

    internal void AddWaiter(GuestThread thread)
    {
        lock (_waitersLock) _waiters.Add(thread);
    }

    internal void RemoveWaiter(GuestThread thread)
    {
        lock (_waitersLock) _waiters.Remove(thread);
    }

    internal void WakeWaiters()
    {
        lock (_waitersLock)
        {
            foreach (var thread in _waiters) thread.Unpark();
        }
    }

    /// <summary>A child process as clone makes it, not yet in the tree and without threads.</summary>
    internal GuestProcess NewChild(int pid, Memory.AddressSpace memory, CloneFlags flags, int exitSignal)
    {
        SignalActions actions;
        lock (Sync) actions = (flags & CloneFlags.Sighand) != 0 ? Actions : Actions.Clone();
        if ((flags & CloneFlags.ClearSighand) != 0) actions.ResetHandlers();
        bool shareFiles = (flags & CloneFlags.Files) != 0;
        if (shareFiles) Interlocked.Increment(ref _filesUsers.Value);
        return new GuestProcess
        {
            Realm = Realm, Pid = pid, Memory = memory, ExitSignal = exitSignal,
            Parent = (flags & CloneFlags.Parent) != 0 ? Parent : this,
            ProcessGroup = ProcessGroup, Session = Session,
            Files = shareFiles ? Files : Files.Clone(), _filesUsers = shareFiles ? _filesUsers : new StrongBox<int>(1),
            Fs = (flags & CloneFlags.Fs) != 0 ? Fs.Share() : Fs.Clone(),
            Credentials = Credentials, Limits = Limits.Clone(), Actions = actions,
            ExecutablePath = ExecutablePath, Name = Name, Arguments = Arguments, Environment = Environment, AuxiliaryVector = AuxiliaryVector,
            NoNewPrivileges = NoNewPrivileges, Traits = Traits, Nice = Nice,
        };
    }

    // How many processes use the descriptor table (CLONE_FILES).
    private StrongBox<int> _filesUsers = new(1);

    /// <summary>execve: a descriptor table of one's own.</summary>
    internal void UnshareFiles()
    {
        FileTable shared;
        lock (Sync)
        {
            if (Volatile.Read(ref _filesUsers.Value) == 1) return;
            shared = Files;
            Files = shared.Clone();
            bool last = Interlocked.Decrement(ref _filesUsers.Value) == 0;
            _filesUsers = new StrongBox<int>(1);
            if (!last) return;
        }
        shared.CloseAll();
    }

    /// <summary>The end: closes all descriptors unless others use the table.</summary>
    internal void ReleaseFiles()
    {
        if (Interlocked.Decrement(ref _filesUsers.Value) == 0) Files.CloseAll();
    }

    /// <summary>Takes over names and auxiliary vector of a new program.</summary>
    internal void SetImage(LoadedProgram program, IReadOnlyList<string> environment, string? name = null)
    {
        ExecutablePath = program.ExecutablePath;
        Arguments = program.Arguments;
        Environment = environment;
        AuxiliaryVector = program.AuxiliaryVector;
        string last = name ?? program.ExecutablePath;
        last = last[(last.LastIndexOf('/') + 1)..];
        Name = last.Length > 15 ? last[..15] : last;
    }
}
