using System.Collections.Concurrent;

namespace Vivarium.Linux;

/// <summary>A root file system with all its guest processes: owns whatever they share. Several live side by side in one host process.</summary>
/// <remarks>Thread-safe.</remarks>
public sealed partial class Realm : IDisposable
{
    private int _lastPid;

    public Realm(RunOptions options)
    {
        Options = options;
        Errors = options.Errors ?? Console.Error;
        Syscalls = SyscallTable.Default;
    }

    public RunOptions Options { get; }

    /// <summary>Where one-line reports for people go.</summary>
    public TextWriter Errors { get; }

    public SyscallTable Syscalls { get; }

    /// <summary>Living and zombie processes by pid.</summary>
    public ConcurrentDictionary<int, GuestProcess> Processes { get; } = new();

    /// <summary>All living threads by tid (a process's first thread has its pid).</summary>
    public ConcurrentDictionary<int, GuestThread> Threads { get; } = new();

    /// <summary>Next process or thread number.</summary>
    public int AllocateTid()
    {
        for (;;)
        {
            int tid = Interlocked.Increment(ref _lastPid) & 0x3fffff;
            if (tid != 0 && !Processes.ContainsKey(tid) && !Threads.ContainsKey(tid)) return tid;
        }
    }

    internal int RunInitial(RunOptions options) => throw new NotImplementedException();

    public void Dispose() { }
}
