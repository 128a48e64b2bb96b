using System.Runtime.InteropServices;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>While it lives, files that the calling host thread makes belong to a guest's user and group from the start: a chown afterwards would be seen
/// (inotify, times, a set-group-id directory's group lost). For where viv is root of the host; its other rights stay.</summary>
/// <remarks>setfsuid of a thread takes the capabilities about files away, and capset gives them back; but for CAP_FSETID, so that set-group-id is kept or
/// dropped as for the guest's user.</remarks>
internal readonly ref struct HostOwner
{
    private const long SetFsUid = 122, SetFsGid = 123, CapGet = 125, CapSet = 126, PrCtl = 157;
    private const int PR_SET_DUMPABLE = 4;
    private const uint Version3 = 0x20080522, CapFSetId = 1 << 4;

    [StructLayout(LayoutKind.Sequential)]
    private struct Capabilities
    {
        public uint Version, Pid, Effective, Permitted, Inheritable, EffectiveHigh, PermittedHigh, InheritableHigh;
    }

    private static readonly uint s_uid = (uint)HostSyscall.Invoke(107 /* geteuid */), s_gid = (uint)HostSyscall.Invoke(108 /* getegid */);

    private readonly bool _active;

    private HostOwner(bool active) => _active = active;

    /// <summary>Takes a guest's identity on; nothing is to be done for the guest's root, which is viv itself. Without
    /// <paramref name="rights"/> the host's kernel checks permissions for that user too.</summary>
    public static HostOwner As(Credentials who, bool rights = true)
    {
        if (who is { FsUid: 0, FsGid: 0 }) return default;
        if (who.FsGid != 0) HostSyscall.InvokeFast(SetFsGid, who.FsGid);
        if (who.FsUid == 0) return new HostOwner(true);
        HostSyscall.InvokeFast(SetFsUid, who.FsUid);
        if (!rights) return new HostOwner(true);
        using var lease = HostScratch.Rent(32);
        ref var sets = ref MemoryMarshal.AsRef<Capabilities>(lease.Span);
        (sets.Version, sets.Pid) = (Version3, 0);
        if (HostSyscall.InvokeFast(CapGet, lease.Address, lease.Address + 8) == 0)
        {
            (sets.Effective, sets.EffectiveHigh) = (sets.Permitted & ~CapFSetId, sets.PermittedHigh);
            HostSyscall.InvokeFast(CapSet, lease.Address, lease.Address + 8);
        }
        return new HostOwner(true);
    }

    /// <summary>The host thread is viv's own again.</summary>
    public void Dispose()
    {
        if (!_active) return;
        // Back to root all capabilities about files come back by themselves.
        HostSyscall.InvokeFast(SetFsUid, s_uid);
        HostSyscall.InvokeFast(SetFsGid, s_gid);
        // A change of identity turns off what a debugger of viv itself needs.
        HostSyscall.InvokeFast(PrCtl, PR_SET_DUMPABLE, 1);
    }
}
