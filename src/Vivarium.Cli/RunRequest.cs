using Vivarium.Linux;
using Vivarium.Translation.Optimizing;

namespace Vivarium.Cli;

/// <summary>A parsed <c>viv run</c> command line.</summary>
internal sealed class RunRequest
{
    /// <summary>Host directory that becomes the guest's root.</summary>
    public string? Root { get; set; }

    /// <summary>Changes of <see cref="Root"/> last for this run.</summary>
    public bool Overlay { get; set; }

    /// <summary>Where changes are kept.</summary>
    public string? Upper { get; set; }

    public bool ReadOnly { get; set; }

    public List<Linux.Vfs.Volume> Volumes { get; } = [];

    public List<string> TemporaryDirectories { get; } = [];

    /// <summary>Image whose tree becomes the guest's root.</summary>
    public string? Image { get; set; }

    /// <summary>Directory of the image store; null is the default one.</summary>
    public string? Store { get; set; }

    public bool Strace { get; set; }

    /// <summary>Host file of the log of syscalls; null is standard error.</summary>
    public string? StraceFile { get; set; }

    /// <summary><c>NAME=VALUE</c>, or <c>NAME</c> alone to hand on the host's value.</summary>
    public List<string> Environment { get; } = [];

    public string? WorkingDirectory { get; set; }

    public string? User { get; set; }

    /// <summary>Null leaves the choice to viv.</summary>
    public ExecutorKind? Executor { get; set; }

    /// <summary>Tier 2 is on.</summary>
    public bool Optimize { get; set; }

    /// <summary>How the optimising tier works; null is its default.</summary>
    public JitPolicy? JitPolicy { get; set; }
    public int? JitThreads { get; set; }
    public int? JitThreshold { get; set; }
    public IReadOnlyList<int> JitAffinity { get; set; } = [];

    /// <summary>Bytes of memory that the guests may take; null for no limit.</summary>
    public long? Memory { get; set; }

    /// <summary>Bytes of each guest process's address space; null for the default.</summary>
    public long? AddressSpace { get; set; }

    /// <summary>No sockets but those of AF_UNIX.</summary>
    public bool NoNetwork { get; set; }

    /// <summary>Guest threads that there may be; null for no limit.</summary>
    public int? Pids { get; set; }

    public bool Stats { get; set; }

    public bool Json { get; set; }

    /// <summary>Which stages of the translator to dump: <c>ir</c>, <c>asm</c>.</summary>
    public List<string> Dump { get; } = [];

    /// <summary>Guest addresses to dump, end exclusive; null is all.</summary>
    public (ulong Start, ulong End)? DumpRange { get; set; }

    /// <summary>Bound of the code cache in bytes; null is the translator's default.</summary>
    public long? CodeCacheSize { get; set; }

    /// <summary>Directory of translations that outlive the process; null is the default one.</summary>
    public string? TranslationCache { get; set; }

    /// <summary>Translations of other runs are neither used nor kept.</summary>
    public bool NoTranslationCache { get; set; }

    public bool PerfMap { get; set; }

    /// <summary>Translated code checks every guest address.</summary>
    public bool StrictMemory { get; set; }

    /// <summary>Directory for <c>jit-PID.dump</c>; null for none.</summary>
    public string? JitDump { get; set; }

    /// <summary>The program and its arguments; empty where an image's own command is meant.</summary>
    public string[] Command { get; set; } = [];
}
