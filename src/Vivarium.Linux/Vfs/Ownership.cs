using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>
/// Owners, modes and devices of a confined tree as its guests see them. viv's own user on the host is root in the guest. What the host lets viv
/// do is done (as root of the host: chown); the rest is remembered in a <see cref="FileRecord"/>.
/// </summary>
/// <remarks>Thread-safe. One per realm.</remarks>
internal sealed class Ownership
{
    private const uint PermissionBits = 0xFFF, SetIdBits = 0xC00;

    private readonly uint _hostUid = (uint)HostSyscall.Invoke(107 /* geteuid */), _hostGid = (uint)HostSyscall.Invoke(108 /* getegid */);

    /// <summary>Ask the host to change owners before remembering them; off where viv is not root.</summary>
    public bool Real { get; set; } = HostSyscall.Invoke(107) == 0;

    // ---- stat ----

    [StructLayout(LayoutKind.Sequential)]
    private struct HostStat
    {
        public ulong Device, Inode, Links;
        public uint Mode, Uid, Gid, Padding;
        public ulong RawDevice;
    }

    /// <summary>Turns what the host says (struct stat) into what the guest shall see. <paramref name="descriptor"/> is the object itself, O_PATH or not.</summary>
    public void Adjust(Span<byte> hostStat, int descriptor)
    {
        ref var stat = ref MemoryMarshal.AsRef<HostStat>(hostStat);
        if (stat.Uid == _hostUid) stat.Uid = 0;
        if (stat.Gid == _hostGid) stat.Gid = 0;
        if ((stat.Mode & FileRecord.Mark) == 0 || !FileRecord.TryRead(descriptor, out var record)) return;
        stat.Uid = record.Uid;
        stat.Gid = record.Gid;
        stat.Mode = record.Mode;
        if (record.IsDevice) stat.RawDevice = record.Device;
        if (record.Inode != 0) stat.Inode = record.Inode;
    }

    /// <summary>As above for struct statx.</summary>
    public void AdjustStatX(Span<byte> statx, int descriptor)
    {
        if (BinaryPrimitives.ReadUInt32LittleEndian(statx[20..]) == _hostUid) BinaryPrimitives.WriteUInt32LittleEndian(statx[20..], 0);
        if (BinaryPrimitives.ReadUInt32LittleEndian(statx[24..]) == _hostGid) BinaryPrimitives.WriteUInt32LittleEndian(statx[24..], 0);
        if ((BinaryPrimitives.ReadUInt16LittleEndian(statx[28..]) & FileRecord.Mark) == 0 || !FileRecord.TryRead(descriptor, out var record)) return;
        BinaryPrimitives.WriteUInt32LittleEndian(statx[20..], record.Uid);
        BinaryPrimitives.WriteUInt32LittleEndian(statx[24..], record.Gid);
        BinaryPrimitives.WriteUInt16LittleEndian(statx[28..], (ushort)record.Mode);
        if (record.Inode != 0) BinaryPrimitives.WriteUInt64LittleEndian(statx[32..], record.Inode);
        if (!record.IsDevice) return;
        BinaryPrimitives.WriteUInt32LittleEndian(statx[128..], FileStat.Major(record.Device));
        BinaryPrimitives.WriteUInt32LittleEndian(statx[132..], FileStat.Minor(record.Device));
    }

    /// <summary>A device of the host: shared with everybody on it, so that guests cannot change it, whoever viv is.</summary>
    public static bool IsHostDevice(int descriptor) =>
        FileStat.OfDescriptor(descriptor, out var stat) >= 0 && (stat.Mode & FileType.Mask) is FileType.Character or FileType.Block;

    /// <summary>The record of an object, or one that says what the host says. 0 or negative errno.</summary>
    public long Get(int descriptor, out FileRecord record, out FileStat host)
    {
        record = default;
        long status = FileStat.OfDescriptor(descriptor, out host);
        if (status < 0) return status;
        if ((host.Mode & FileRecord.Mark) != 0 && FileRecord.TryRead(descriptor, out record)) return 1;
        record = new FileRecord(host.Uid == _hostUid ? 0 : host.Uid, host.Gid == _hostGid ? 0 : host.Gid, host.Mode, 0, 0);
        return 0;
    }

    // ---- changes ----

    /// <summary>chown of the object behind a descriptor; -1 keeps an id.</summary>
    public long ChangeOwner(int descriptor, uint uid, uint gid, Credentials? who = null)
    {
        long status = Get(descriptor, out var record, out var host);
        if (status < 0) return status;
        bool recorded = status > 0;
        if ((host.Mode & FileType.Mask) is FileType.Character or FileType.Block) return 0;
        if (who != null && who.FsUid != 0 && !(who.FsUid == record.Uid && (uid == uint.MaxValue || uid == record.Uid)
            && (gid == uint.MaxValue || gid == record.Gid || gid == who.FsGid || who.Groups.Contains(gid)))) return -Errno.EPERM;
        if (Real)
        {
            using var empty = HostName.Of(""u8);
            long real = HostSyscall.Invoke(HostCall.FChOwnAt, descriptor, empty.Address, uid, gid, At.EmptyPath);
            if (real < 0 && real != -Errno.EPERM) return real;
            // A change of owner takes set-uid and set-gid away from programs, also for root.
            if (real == 0 && !recorded) return 0;
        }
        var changed = record with { Uid = uid == uint.MaxValue ? record.Uid : uid, Gid = gid == uint.MaxValue ? record.Gid : gid };
        if (changed.Type == FileType.Regular && (record.Mode & 0x49) != 0) changed.Mode &= ~0x800u;
        if (changed.Type == FileType.Regular && (record.Mode & 8) != 0) changed.Mode &= ~0x400u;
        return changed == record ? 0 : Put(descriptor, changed, HostMode(changed.Type, host.Mode));
    }

    /// <summary>chmod of the object behind a descriptor (no symbolic link).</summary>
    public long ChangeMode(int descriptor, uint mode, Credentials? who = null)
    {
        mode &= PermissionBits;
        long status = Get(descriptor, out var record, out var host);
        if (status < 0) return status;
        if ((host.Mode & FileType.Mask) is FileType.Character or FileType.Block) return 0;
        if (who != null && who.FsUid != 0 && who.FsUid != record.Uid) return -Errno.EPERM;
        if (who != null && who.FsUid != 0 && who.FsGid != record.Gid && !who.IsIn(record.Gid)) mode &= ~0x400u;
        uint onHost = HostMode(record.Type, mode);
        if (status == 0 && (Real || (mode & SetIdBits) == 0 && (onHost & 0x1FF) == (mode & 0x1FF)))
        {
            using var name = HostName.OfDescriptor(descriptor);
            return HostSyscall.Invoke(HostCall.Chmod, name.Address, mode);
        }
        return Put(descriptor, record with { Mode = record.Type | mode }, onHost);
    }

    /// <summary>Permission bits for the host: viv's user always may, as the guest's root does; set-id bits stay away where viv is not root.</summary>
    private uint HostMode(uint type, uint mode) =>
        Real ? mode & 0x1FF : mode & 0x1FF | (type == FileType.Directory ? 0x1C0u : 0x180u);

    private static long Put(int descriptor, in FileRecord record, uint hostMode)
    {
        // User attributes are for files and directories only; the owner of a link or a socket is then not remembered.
        long status = record.Write(descriptor, hostMode);
        return status is -Errno.EPERM or -Errno.EOPNOTSUPP ? 0 : status;
    }

    /// <summary>After a guest made something: what it may not read itself, or what is not root's, needs a record or a real owner.</summary>
    public void Made(int descriptor, uint mode, Credentials who)
    {
        uint type = mode & FileType.Mask;
        if (who.FsUid != 0 || who.FsGid != 0) ChangeOwner(descriptor, who.FsUid, who.FsGid);
        if (!Real && type is FileType.Regular or FileType.Directory && (HostMode(type, mode) & 0x1FF) != (mode & 0x1FF)) ChangeMode(descriptor, mode);
    }

    /// <summary>Whether <see cref="Made"/> has something to do.</summary>
    public bool NeedsCare(uint type, uint mode, Credentials who) =>
        who.FsUid != 0 || who.FsGid != 0 || !Real && (HostMode(type, mode) & 0x1FF) != (mode & 0x1FF);

    // ---- devices ----

    /// <summary>Makes a device node: an empty file with a record. 0 or negative errno.</summary>
    public static long MakeDevice(int directory, long leaf, uint mode, ulong device)
    {
        long fd = HostSyscall.Invoke(HostCall.OpenAt, directory, leaf, OpenFlags.WriteOnly | OpenFlags.Create | OpenFlags.Exclusive | OpenFlags.NoFollow | OpenFlags.CloseOnExec, 0x180);
        if (fd < 0) return fd;
        long status = new FileRecord(0, 0, mode, device, 0).Write((int)fd, 0x180);
        if (status < 0) HostSyscall.Invoke(HostCall.UnlinkAt, directory, leaf, 0);
        HostSyscall.Invoke(HostCall.Close, fd);
        if (status >= 0) DeviceNames.Mark(directory);
        return status == -Errno.EOPNOTSUPP ? -Errno.EPERM : status;
    }

    /// <summary>The host's device for a guest's node: those that lead nowhere but to the guest itself.</summary>
    public static string? HostDevice(in FileRecord record) => record.Type != FileType.Character ? null : record.Device switch
    {
        0x103 => "/dev/null",
        0x105 => "/dev/zero",
        0x107 => "/dev/full",
        0x108 => "/dev/random",
        0x109 => "/dev/urandom",
        0x500 => "/dev/tty",
        0x502 => "/dev/ptmx",
        _ => null,
    };

    /// <summary>After an open: whether the descriptor (a regular file, says <paramref name="hostStat"/>) stands for a device, and if so what to open. </summary>
    public static bool IsDevice(int descriptor, in FileStat hostStat, out FileRecord record)
    {
        record = default;
        return (hostStat.Mode & (FileType.Mask | FileRecord.Mark)) == (FileType.Regular | FileRecord.Mark) && hostStat.Size == 0
            && FileRecord.TryRead(descriptor, out record) && record.IsDevice;
    }
}
