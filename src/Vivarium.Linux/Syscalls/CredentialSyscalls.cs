using System.Runtime.InteropServices;

namespace Vivarium.Linux.Syscalls;

/// <summary>User and group ids. They are the guest's belief: host files are opened with the host process's rights.</summary>
internal static class CredentialSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(90, "capget", "ptr ptr", CapGet),
        new(91, "capset", "ptr ptr", CapSet),
        new(143, "setregid", "int int", (thread, in args) => SetGroups(thread, args.A0, args.A1, null)),
        new(144, "setgid", "int", (thread, in args) => SetId(thread, args.A0, group: true)),
        new(145, "setreuid", "int int", (thread, in args) => SetUsers(thread, args.A0, args.A1, null)),
        new(146, "setuid", "int", (thread, in args) => SetId(thread, args.A0, group: false)),
        new(147, "setresuid", "int int int", (thread, in args) => SetUsers(thread, args.A0, args.A1, args.A2)),
        new(148, "getresuid", "ptr ptr ptr", (thread, in args) =>
            Store(thread, args, thread.Process.Credentials.Uid, thread.Process.Credentials.EffectiveUid, thread.Process.Credentials.SavedUid)),
        new(149, "setresgid", "int int int", (thread, in args) => SetGroups(thread, args.A0, args.A1, args.A2)),
        new(150, "getresgid", "ptr ptr ptr", (thread, in args) =>
            Store(thread, args, thread.Process.Credentials.Gid, thread.Process.Credentials.EffectiveGid, thread.Process.Credentials.SavedGid)),
        new(151, "setfsuid", "int", SetFsUid),
        new(152, "setfsgid", "int", SetFsGid),
        new(158, "getgroups", "int ptr", GetGroups),
        new(159, "setgroups", "int ptr", SetGroupList),
        new(174, "getuid", "", (thread, in _) => thread.Process.Credentials.Uid),
        new(175, "geteuid", "", (thread, in _) => thread.Process.Credentials.EffectiveUid),
        new(176, "getgid", "", (thread, in _) => thread.Process.Credentials.Gid),
        new(177, "getegid", "", (thread, in _) => thread.Process.Credentials.EffectiveGid),
    ];

    private static long Store(GuestThread thread, in SyscallArgs args, uint real, uint effective, uint saved) =>
        thread.Window.TryStore32(args.A0, real) && thread.Window.TryStore32(args.A1, effective) && thread.Window.TryStore32(args.A2, saved) ? 0 : -Errno.EFAULT;

    private static long SetId(GuestThread thread, ulong value, bool group)
    {
        var old = thread.Process.Credentials;
        uint id = (uint)value;
        if (id == uint.MaxValue) return -Errno.EINVAL;
        bool root = old.Has(group ? Credentials.CapSetGid : Credentials.CapSetUid);
        if (group)
        {
            if (!root && id != old.Gid && id != old.SavedGid) return -Errno.EPERM;
            thread.Process.Credentials = root
                ? old with { Gid = id, EffectiveGid = id, SavedGid = id, FsGid = id }
                : old with { EffectiveGid = id, FsGid = id };
            return 0;
        }
        if (!root && id != old.Uid && id != old.SavedUid) return -Errno.EPERM;
        thread.Process.Credentials = root ? old.WithUsers(id, id, id, Keeps(thread)) : old.WithUsers(old.Uid, id, old.SavedUid, Keeps(thread));
        return 0;
    }

    /// <summary>setreuid (<paramref name="s"/> null: the saved id follows the rules of setreuid) and setresuid. -1 keeps an id.</summary>
    private static long SetUsers(GuestThread thread, ulong r, ulong e, ulong? s)
    {
        var old = thread.Process.Credentials;
        uint real = Choose(r, old.Uid), effective = Choose(e, old.EffectiveUid);
        uint saved = s is { } given ? Choose(given, old.SavedUid) : (uint)r != uint.MaxValue || effective != old.Uid ? effective : old.SavedUid;
        if (!old.Has(Credentials.CapSetUid) && !(Allowed(real) && Allowed(effective) && (s == null || Allowed(saved)))) return -Errno.EPERM;
        thread.Process.Credentials = old.WithUsers(real, effective, saved, Keeps(thread));
        return 0;

        bool Allowed(uint id) => id == old.Uid || id == old.EffectiveUid || id == old.SavedUid;
    }

    private static long SetGroups(GuestThread thread, ulong r, ulong e, ulong? s)
    {
        var old = thread.Process.Credentials;
        uint real = Choose(r, old.Gid), effective = Choose(e, old.EffectiveGid);
        uint saved = s is { } given ? Choose(given, old.SavedGid) : (uint)r != uint.MaxValue || effective != old.Gid ? effective : old.SavedGid;
        if (!old.Has(Credentials.CapSetGid) && !(Allowed(real) && Allowed(effective) && (s == null || Allowed(saved)))) return -Errno.EPERM;
        thread.Process.Credentials = old with { Gid = real, EffectiveGid = effective, SavedGid = saved, FsGid = effective };
        return 0;

        bool Allowed(uint id) => id == old.Gid || id == old.EffectiveGid || id == old.SavedGid;
    }

    private static bool Keeps(GuestThread thread) => thread.Process.Traits.KeepCapabilities;

    private static uint Choose(ulong wanted, uint old) => (uint)wanted == uint.MaxValue ? old : (uint)wanted;

    private static long SetFsUid(GuestThread thread, in SyscallArgs args)
    {
        var old = thread.Process.Credentials;
        uint id = (uint)args.A0;
        if (id != uint.MaxValue && (old.Has(Credentials.CapSetUid) || id == old.Uid || id == old.EffectiveUid || id == old.SavedUid))
            thread.Process.Credentials = old with { FsUid = id };
        return old.FsUid;
    }

    private static long SetFsGid(GuestThread thread, in SyscallArgs args)
    {
        var old = thread.Process.Credentials;
        uint id = (uint)args.A0;
        if (id != uint.MaxValue && (old.Has(Credentials.CapSetGid) || id == old.Gid || id == old.EffectiveGid || id == old.SavedGid))
            thread.Process.Credentials = old with { FsGid = id };
        return old.FsGid;
    }

    private static long GetGroups(GuestThread thread, in SyscallArgs args)
    {
        uint[] groups = thread.Process.Credentials.Groups.ToArray();
        if ((int)args.A0 == 0) return groups.Length;
        if ((int)args.A0 < groups.Length) return -Errno.EINVAL;
        return thread.Window.TryWriteBytes(args.A1, MemoryMarshal.AsBytes(groups.AsSpan())) ? groups.Length : -Errno.EFAULT;
    }

    private static long SetGroupList(GuestThread thread, in SyscallArgs args)
    {
        var old = thread.Process.Credentials;
        if (!old.Has(Credentials.CapSetGid)) return -Errno.EPERM;
        if (args.A0 > 65536) return -Errno.EINVAL;
        uint[] groups = new uint[args.A0];
        if (!thread.Window.TryReadBytes(args.A1, MemoryMarshal.AsBytes(groups.AsSpan()))) return -Errno.EFAULT;
        thread.Process.Credentials = old with { Groups = groups };
        return 0;
    }

    private const uint CapabilityVersion1 = 0x19980330, CapabilityVersion2 = 0x20071026, CapabilityVersion3 = 0x20080522;

    // Version 1 knows 32 capabilities, the others 64.
    private static int SetsOf(GuestThread thread, ulong header) => thread.Window.TryLoad32(header, out uint version) && version == CapabilityVersion1 ? 3 : 6;

    /// <summary>The header's process; null with the status where there is none such, or its version is not the third.</summary>
    private static GuestProcess? CapabilityTarget(GuestThread thread, ulong header, out long status)
    {
        status = -Errno.EFAULT;
        if (!thread.Window.TryLoad32(header, out uint version) || !thread.Window.TryLoad32(header + 4, out uint pid)) return null;
        status = -Errno.EINVAL;
        if (version is not (CapabilityVersion1 or CapabilityVersion2 or CapabilityVersion3))
        {
            thread.Window.TryStore32(header, CapabilityVersion3);
            return null;
        }
        if ((int)pid < 0) return null;
        status = -Errno.ESRCH;
        return pid == 0 || pid == thread.Tid ? thread.Process : ProcessSyscalls.Find(thread, pid);
    }

    private static long CapGet(GuestThread thread, in SyscallArgs args)
    {
        var target = CapabilityTarget(thread, args.A0, out long status);
        if (target == null) return args.A1 == 0 && status == -Errno.EINVAL ? 0 : status;
        if (args.A1 == 0) return 0;
        var of = target.Credentials;
        Span<uint> sets =
        [
            (uint)of.EffectiveCapabilities, (uint)of.PermittedCapabilities, (uint)of.InheritableCapabilities,
            (uint)(of.EffectiveCapabilities >> 32), (uint)(of.PermittedCapabilities >> 32), (uint)(of.InheritableCapabilities >> 32),
        ];
        return thread.Window.TryWriteBytes(args.A1, MemoryMarshal.AsBytes(sets[..SetsOf(thread, args.A0)])) ? 0 : -Errno.EFAULT;
    }

    private static long CapSet(GuestThread thread, in SyscallArgs args)
    {
        var target = CapabilityTarget(thread, args.A0, out long status);
        if (target == null) return status;
        if (target != thread.Process) return -Errno.EPERM;
        Span<uint> sets = stackalloc uint[6];
        sets.Clear();
        if (!thread.Window.TryReadBytes(args.A1, MemoryMarshal.AsBytes(sets[..SetsOf(thread, args.A0)]))) return -Errno.EFAULT;
        ulong effective = (sets[0] | (ulong)sets[3] << 32) & Credentials.AllCapabilities, permitted = (sets[1] | (ulong)sets[4] << 32) & Credentials.AllCapabilities,
            inheritable = (sets[2] | (ulong)sets[5] << 32) & Credentials.AllCapabilities;
        var old = target.Credentials;
        // Nothing comes back that is no longer permitted; CAP_SETPCAP may hand on what is bounded by nothing here.
        if ((permitted & ~old.PermittedCapabilities) != 0 || (effective & ~permitted) != 0) return -Errno.EPERM;
        if ((inheritable & ~(old.InheritableCapabilities | old.BoundingCapabilities)) != 0) return -Errno.EPERM;
        if (!old.Has(Credentials.CapSetPCap) && (inheritable & ~(old.InheritableCapabilities | old.PermittedCapabilities)) != 0) return -Errno.EPERM;
        target.Credentials = old with { EffectiveCapabilities = effective, PermittedCapabilities = permitted, InheritableCapabilities = inheritable };
        return 0;
    }
}
