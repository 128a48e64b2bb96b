namespace Vivarium.Linux;

/// <summary>What executes guest instructions.</summary>
public enum ExecutorKind
{
    /// <summary>The reference interpreter: slow, exact, simple.</summary>
    Interpreter,

    /// <summary>Tier 1: translation to x86-64.</summary>
    Translator,
}

/// <summary>A guest program to run and the world that it sees.</summary>
public sealed record RunOptions
{
    /// <summary>Path of the program as the guest sees it; a name without a slash is looked up in <see cref="SearchPath"/>.</summary>
    public required string Program { get; init; }

    /// <summary>The process ends after this run, by <see cref="Vivarium.Translation.Optimizing.CompileFarm.EndProcessIfCompiling"/>: threads that compile are not waited for.</summary>
    public bool EndsProcess { get; init; }

    /// <summary>Directories to look the program up in, separated by colons; null for no search.</summary>
    public string? SearchPath { get; init; }

    /// <summary>argv, argv[0] first.</summary>
    public required IReadOnlyList<string> Arguments { get; init; }

    /// <summary>Environment strings, each <c>NAME=VALUE</c>.</summary>
    public IReadOnlyList<string> Environment { get; init; } = [];

    /// <summary>Host directory that the guest sees as <c>/</c>; null shows the host's own tree.</summary>
    public string? Root { get; init; }

    /// <summary>Directory that takes all changes of the root, which itself stays as it is; null changes the root.</summary>
    public string? Upper { get; init; }

    /// <summary>The root cannot be changed.</summary>
    public bool ReadOnly { get; init; }

    /// <summary>Host files and directories shown to the guest.</summary>
    public IReadOnlyList<Vfs.Volume> Volumes { get; init; } = [];

    /// <summary>Guest directories that are memory.</summary>
    public IReadOnlyList<string> TemporaryDirectories { get; init; } = [];

    internal Vfs.TreeOptions Tree() => new()
    {
        Root = Root, Upper = Upper, ReadOnly = ReadOnly, Volumes = Volumes, TemporaryDirectories = TemporaryDirectories, WorkingDirectory = WorkingDirectory,
    };

    /// <summary>Guest path of the initial working directory; null is the host's (without a root) or <c>/</c>.</summary>
    public string? WorkingDirectory { get; init; }

    /// <summary>Where the log of syscalls goes; null for none.</summary>
    public TextWriter? Strace { get; init; }

    public ExecutorKind Executor { get; init; } = ExecutorKind.Translator;

    /// <summary>Bound of the translated code in bytes; null is the default.</summary>
    public ulong? CodeCacheSize { get; init; }

    /// <summary>How the translator works; null is the default, changed by environment variables.</summary>
    public Translation.TranslationOptions? Translation { get; init; }

    /// <summary>The optimising tier; null is tier 1 alone.</summary>
    public Translation.Optimizing.OptimizerOptions? Optimizer { get; init; }

    /// <summary>Directory of translations that outlive the process; null keeps none.</summary>
    public string? TranslationCache { get; init; }

    /// <summary>Do without <see cref="TranslationCache"/> where it cannot be used: nobody asked for it by name.</summary>
    public bool TranslationCacheIsOptional { get; init; }

    /// <summary>Print statistics of the run on stderr at the end.</summary>
    public bool Stats { get; init; }

    /// <summary>Print them as one line of JSON.</summary>
    public bool StatsAsJson { get; init; }

    /// <summary>User (<c>uid[:gid]</c> or a name of the guest's /etc/passwd) that the guest believes to be; null is the host's user.</summary>
    public string? User { get; init; }

    /// <summary>Bytes of memory that all guest processes may take together; null for no limit.</summary>
    public ulong? MemoryLimit { get; init; }

    /// <summary>Bytes of each guest process's address space, from that of Sv39 to <see cref="Memory.AddressSpace.LargestWindow"/>.</summary>
    public ulong AddressSpace { get; init; } = Memory.AddressSpace.WindowSize;

    /// <summary>Guest threads that there may be at a time, each process's first among them; null for no limit.</summary>
    public int? ProcessLimit { get; init; }

    /// <summary>The guest has no network: only sockets of AF_UNIX.</summary>
    public bool NoNetwork { get; init; }

    /// <summary>No reports of guests that die of signals.</summary>
    public bool Quiet { get; init; }

    /// <summary>Where one-line reports for people go; null is the process's stderr.</summary>
    public TextWriter? Errors { get; init; }
}
