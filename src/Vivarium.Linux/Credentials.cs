using Vivarium.Host;

namespace Vivarium.Linux;

/// <summary>User and group ids of a process. Immutable: setuid and its kin replace the object.</summary>
public sealed record Credentials(uint Uid, uint EffectiveUid, uint SavedUid, uint FsUid, uint Gid, uint EffectiveGid, uint SavedGid, uint FsGid)
{
    /// <summary>Supplementary groups.</summary>
    public IReadOnlyList<uint> Groups { get; init; } = [];

    /// <summary>Whether a group is among the supplementary ones.</summary>
    public bool IsIn(uint group)
    {
        for (int i = 0; i < Groups.Count; i++) if (Groups[i] == group) return true;
        return false;
    }

    public static Credentials Of(uint uid, uint gid) => new(uid, uid, uid, uid, gid, gid, gid, gid);

    /// <summary>The host process's own ids.</summary>
    public static Credentials FromHost() => Of((uint)HostSyscall.Invoke(102), (uint)HostSyscall.Invoke(104));
}
