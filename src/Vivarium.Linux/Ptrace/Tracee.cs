using Vivarium.Linux.Signals;

namespace Vivarium.Linux.Ptrace;

/// <summary>What the tracer last asked a tracee for.</summary>
internal enum TraceMode { Continue, Syscall }

/// <summary>A thread's side of ptrace: who traces it, where it stands, how it goes on.</summary>
/// <remarks>Guarded by <see cref="Lock"/>, a leaf. While <see cref="Stopped"/> is set the thread waits, and its registers are the tracer's to read and write.</remarks>
internal sealed class Tracee(GuestThread by, bool seized)
{
    public const int EventFork = 1, EventVfork = 2, EventClone = 3, EventExec = 4, EventVforkDone = 5, EventExit = 6, EventStop = 128;

    // PTRACE_O_*.
    public const int SysGood = 1, TraceFork = 2, TraceVfork = 4, TraceClone = 8, TraceExec = 16, TraceVforkDone = 32, TraceExit = 64, ExitKill = 1 << 20,
        AllOptions = 0xff | ExitKill | 1 << 21;

    public readonly Lock Lock = new();

    /// <summary>The tracer is this thread: only it may make requests, and its end is the end of the tracing.</summary>
    public GuestThread By { get; } = by;

    /// <summary>Its process, any thread of which may wait for the tracee.</summary>
    public GuestProcess Tracer { get; } = by.Process;

    /// <summary>By PTRACE_SEIZE: no SIGSTOP at the start, and stops say what they are.</summary>
    public bool Seized { get; } = seized;

    public int Options;

    /// <summary>In a stop.</summary>
    public bool Stopped;

    /// <summary>PTRACE_LISTEN: waits for the end of a group stop; no requests are served.</summary>
    public bool Listening;

    /// <summary>What wait says of the stop, and whether it has.</summary>
    public int Status;
    public bool Reported;

    /// <summary>CPU time of the tracee's process and its children at the stop, for who waits.</summary>
    public Time.CpuTimes Cpu;

    /// <summary>PTRACE_GETSIGINFO; null where the stop has none.</summary>
    public SigInfo? Info;

    /// <summary>PTRACE_GETEVENTMSG.</summary>
    public ulong Message;

    /// <summary>PTRACE_GET_SYSCALL_INFO: none, entry or exit.</summary>
    public byte Syscall;

    /// <summary>Signal to go on with.</summary>
    public int Signal;

    public volatile TraceMode Mode;

    /// <summary>A stop was asked for (PTRACE_INTERRUPT, or the start of a new tracee).</summary>
    public volatile bool Interrupted;

    public bool Has(int option) => (Volatile.Read(ref Options) & option) != 0;

    public bool TracesSyscalls => Mode == TraceMode.Syscall;
}
