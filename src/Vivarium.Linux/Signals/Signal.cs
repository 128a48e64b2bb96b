namespace Vivarium.Linux.Signals;

/// <summary>What a signal does to a process that has no handler for it.</summary>
public enum DefaultAction : byte
{
    Terminate,
    Core,
    Ignore,
    Stop,
    Continue,
}

/// <summary>Signal numbers (the same on riscv64 and x86-64) and what is known of each.</summary>
public static class Signal
{
    public const int SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9, SIGUSR1 = 10,
        SIGSEGV = 11, SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15, SIGSTKFLT = 16, SIGCHLD = 17, SIGCONT = 18, SIGSTOP = 19,
        SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22, SIGURG = 23, SIGXCPU = 24, SIGXFSZ = 25, SIGVTALRM = 26, SIGPROF = 27, SIGWINCH = 28,
        SIGIO = 29, SIGPWR = 30, SIGSYS = 31, SIGRTMIN = 32, Count = 64;

    private static readonly string[] s_names =
    [
        "0", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2",
        "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU",
        "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
    ];

    /// <summary>Signals that cannot be blocked, ignored or handled.</summary>
    public const ulong Unblockable = 1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1);

    /// <summary>Faults of the thread itself, delivered before others.</summary>
    public const ulong Synchronous = 1UL << (SIGSEGV - 1) | 1UL << (SIGBUS - 1) | 1UL << (SIGILL - 1) | 1UL << (SIGTRAP - 1) | 1UL << (SIGFPE - 1) | 1UL << (SIGSYS - 1);

    public const ulong StopSignals = 1UL << (SIGSTOP - 1) | 1UL << (SIGTSTP - 1) | 1UL << (SIGTTIN - 1) | 1UL << (SIGTTOU - 1);

    /// <summary>The bit of a signal in a sigset.</summary>
    public static ulong Bit(int signal) => 1UL << (signal - 1);

    public static bool IsValid(int signal) => signal is > 0 and <= Count;

    public static string Name(int signal) =>
        (uint)signal < (uint)s_names.Length ? s_names[signal] : signal <= Count ? $"SIGRT_{signal - SIGRTMIN}" : $"{signal}";

    public static DefaultAction Default(int signal) => signal switch
    {
        SIGQUIT or SIGILL or SIGTRAP or SIGABRT or SIGBUS or SIGFPE or SIGSEGV or SIGXCPU or SIGXFSZ or SIGSYS => DefaultAction.Core,
        SIGCHLD or SIGURG or SIGWINCH => DefaultAction.Ignore,
        SIGCONT => DefaultAction.Continue,
        SIGSTOP or SIGTSTP or SIGTTIN or SIGTTOU => DefaultAction.Stop,
        _ => DefaultAction.Terminate,
    };
}
