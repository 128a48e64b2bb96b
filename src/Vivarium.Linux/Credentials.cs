using Vivarium.Host;

namespace Vivarium.Linux;

/// <summary>User and group ids of a process, and its capabilities. Immutable: setuid and its kin replace the object.</summary>
public sealed record Credentials(uint Uid, uint EffectiveUid, uint SavedUid, uint FsUid, uint Gid, uint EffectiveGid, uint SavedGid, uint FsGid)
{
    /// <summary>All capabilities up to CAP_CHECKPOINT_RESTORE.</summary>
    public const ulong AllCapabilities = (1UL << 41) - 1;

    /// <summary>Capabilities by number (capabilities(7)).</summary>
    public const int CapSetGid = 6, CapSetUid = 7, CapSetPCap = 8, CapNetBindService = 10, CapIpcLock = 14, CapSysAdmin = 21;

    /// <summary>Supplementary groups.</summary>
    public IReadOnlyList<uint> Groups { get; init; } = [];

    /// <summary>Whether a group is among the supplementary ones.</summary>
    public bool IsIn(uint group)
    {
        for (int i = 0; i < Groups.Count; i++) if (Groups[i] == group) return true;
        return false;
    }

    /// <summary>Capability sets: what is in force, what may be taken again, what execve hands on.</summary>
    public ulong EffectiveCapabilities { get; init; } = EffectiveUid == 0 ? AllCapabilities : 0;

    /// <inheritdoc cref="EffectiveCapabilities"/>
    public ulong PermittedCapabilities { get; init; } = EffectiveUid == 0 ? AllCapabilities : 0;

    /// <inheritdoc cref="EffectiveCapabilities"/>
    public ulong InheritableCapabilities { get; init; }

    /// <summary>What execve may give at most (PR_CAPBSET_DROP).</summary>
    public ulong BoundingCapabilities { get; init; } = AllCapabilities;

    /// <summary>Who logs in as that user: the group is a supplementary one too.</summary>
    public static Credentials Of(uint uid, uint gid) => new(uid, uid, uid, uid, gid, gid, gid, gid) { Groups = [gid] };

    /// <summary>The host process's own ids.</summary>
    public static Credentials FromHost() => Of((uint)HostSyscall.Invoke(102), (uint)HostSyscall.Invoke(104));

    /// <summary>Whether a capability is in force.</summary>
    public bool Has(int capability) => (EffectiveCapabilities >> capability & 1) != 0;

    /// <summary>Other user ids, and what becomes of the capabilities (capabilities(7), "Effect of user ID changes"): with
    /// <paramref name="keep"/> (PR_SET_KEEPCAPS) the permitted ones outlive the last id that was root's.</summary>
    public Credentials WithUsers(uint real, uint effective, uint saved, bool keep)
    {
        ulong inForce = EffectiveCapabilities, permitted = PermittedCapabilities;
        bool wasRoot = Uid == 0 || EffectiveUid == 0 || SavedUid == 0, isRoot = real == 0 || effective == 0 || saved == 0;
        if (wasRoot && !isRoot && !keep) permitted = inForce = 0;
        if (EffectiveUid == 0 && effective != 0) inForce = 0;
        if (EffectiveUid != 0 && effective == 0) inForce = permitted;
        return this with
        {
            Uid = real, EffectiveUid = effective, SavedUid = saved, FsUid = effective, EffectiveCapabilities = inForce, PermittedCapabilities = permitted,
        };
    }

    /// <summary>Who a process becomes by execve of a program that runs with these effective ids.</summary>
    public Credentials Executing(uint uid, uint gid)
    {
        ulong permitted = uid == 0 || Uid == 0 ? BoundingCapabilities | InheritableCapabilities : 0;
        return this with
        {
            EffectiveUid = uid, SavedUid = uid, FsUid = uid, EffectiveGid = gid, SavedGid = gid, FsGid = gid,
            PermittedCapabilities = permitted, EffectiveCapabilities = uid == 0 ? permitted : 0,
        };
    }
}
