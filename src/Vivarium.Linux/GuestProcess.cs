using Vivarium.Linux.Memory;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux;

/// <summary>One guest process (thread group): address space, descriptor table, credentials, signal dispositions, limits.</summary>
public sealed partial class GuestProcess
{
    public required Realm Realm { get; init; }

    /// <summary>Process id (tgid).</summary>
    public required int Pid { get; init; }

    /// <summary>The parent, null for the realm's first process and for orphans.</summary>
    public GuestProcess? Parent { get; internal set; }

    /// <summary>Process group and session ids.</summary>
    public int ProcessGroup { get; internal set; }
    public int Session { get; internal set; }

    /// <summary>The address space; execve replaces it, vfork shares it.</summary>
    public required AddressSpace Memory { get; set; }

    /// <summary>Descriptor table (CLONE_FILES shares it).</summary>
    public required FileTable Files { get; set; }

    /// <summary>Root policy, working directory, umask (CLONE_FS shares it).</summary>
    public required FsContext Fs { get; set; }

    /// <summary>What <c>/proc/self/exe</c> names: absolute guest path of the program.</summary>
    public string ExecutablePath { get; internal set; } = "";

    /// <summary>Last part of the program's path, at most 15 bytes: <c>comm</c>.</summary>
    public string Name { get; internal set; } = "";

    /// <summary>argv and environment as given to the last execve, for <c>/proc/self/cmdline</c> and <c>environ</c>.</summary>
    public IReadOnlyList<string> Arguments { get; internal set; } = [];
    public IReadOnlyList<string> Environment { get; internal set; } = [];

    /// <summary>The auxiliary vector as on the stack, for <c>/proc/self/auxv</c>.</summary>
    public byte[] AuxiliaryVector { get; internal set; } = [];

    public Credentials Credentials { get; set; } = Credentials.FromHost();

    /// <summary>Resource limits by RLIMIT_* number.</summary>
    public ResourceLimits Limits { get; internal set; } = ResourceLimits.FromHost();
}
