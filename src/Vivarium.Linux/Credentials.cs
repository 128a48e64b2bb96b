using Vivarium.Host;

namespace Vivarium.Linux;

/// <summary>User and group ids of a process. Immutable: setuid and its kin replace the object.</summary>
public sealed record Credentials(uint Uid, uint EffectiveUid, uint SavedUid, uint FsUid, uint Gid, uint EffectiveGid, uint SavedGid, uint FsGid)
{
    /// <summary>Supplementary groups.</summary>
    public IReadOnlyList<uint> Groups { get; init; } = [];

    public static Credentials Of(uint uid, uint gid) => new(uid, uid, uid, uid, gid, gid, gid, gid);

    /// <summary>The host process's own ids.</summary>
    public static Credentials FromHost() => Of((uint)HostSyscall.Invoke(102), (uint)HostSyscall.Invoke(104));
}
