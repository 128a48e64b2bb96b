using System.Buffers.Binary;
using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>Reading directories, the working directory, and calls that are refused.</summary>
internal static class DirectorySyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(17, "getcwd", "ptr size", GetCwd),
        new(49, "chdir", "path", ChDir),
        new(50, "fchdir", "fd", FChDir),
        new(61, "getdents64", "fd ptr size", GetDEnts),
        new(264, "name_to_handle_at", "atfd path ptr ptr hex", Unsupported),
        new(265, "open_by_handle_at", "fd ptr flags:open", Refused),
        new(428, "open_tree", "atfd path hex", Unimplemented),
        new(429, "move_mount", "atfd path atfd path hex", Unimplemented),
        new(430, "fsopen", "str hex", Unimplemented),
        new(433, "fspick", "atfd path hex", Unimplemented),
        new(442, "mount_setattr", "atfd path hex ptr size", Unimplemented),
        .. MountSyscalls.Rows,
    ];

    private static long Refused(GuestThread thread, in SyscallArgs args) => -Errno.EPERM;

    // Libraries fall back to mount then.
    private static long Unimplemented(GuestThread thread, in SyscallArgs args) => -Errno.ENOSYS;
    private static long Unsupported(GuestThread thread, in SyscallArgs args) => -Errno.EOPNOTSUPP;

    private static long GetCwd(GuestThread thread, in SyscallArgs args)
    {
        var path = thread.Process.Fs.WorkingDirectory;
        if (path.EndsWith(" (deleted)", StringComparison.Ordinal)) return -Errno.ENOENT;
        var bytes = Encoding.Latin1.GetBytes(path + "\0");
        if ((ulong)bytes.Length > args.A1) return -Errno.ERANGE;
        return thread.Put(args.A0, bytes) < 0 ? -Errno.EFAULT : bytes.Length;
    }

    private static long ChDir(GuestThread thread, in SyscallArgs args)
    {
        long status = PathBuffer.Read(thread.Window, args.A0, out var path);
        if (status < 0) return status;
        status = thread.Process.Fs.ChangeDirectory(path, thread.Process);
        path.Dispose();
        return status;
    }

    private static long FChDir(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        return file == null ? -Errno.EBADF : thread.Process.Fs.ChangeDirectory(file, thread.Process.Credentials);
    }

    // struct linux_dirent64 is the same on both sides: the host writes into guest memory.
    private static long GetDEnts(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        uint size = (uint)args.A2;
        long result = file.Node != null ? !file.Node.IsDirectory ? -Errno.ENOTDIR : ReadEntries(thread, file, args.A1, size)
            : file.Layer is { Path: not null, FileSystem: OverlayFileSystem overlay } layer && IsMerged(file, overlay, layer) ? ReadEntries(thread, file, args.A1, size)
            : thread.TryHost(args.A1, size, out long host) ? HostSyscall.Invoke(HostCall.GetDEnts64, file.HostDescriptor, host, size)
            : -Errno.EFAULT;
        if (result > 0 && file.Node == null && file.Space?.Owners != null && !file.ListsEntries) DeviceNames.Correct(thread, file.HostDescriptor, args.A1, (int)result);
        file.Release();
        return result;
    }

    // Whether names come from both layers. What a reading begins as it stays until it starts again.
    private static bool IsMerged(OpenFile file, OverlayFileSystem overlay, FileLayer layer)
    {
        var stream = file.Stream;
        lock (stream.Lock)
        {
            if (stream.Entries != null) return true;
            if (HostSyscall.Invoke(HostCall.LSeek, file.HostDescriptor, 0, 1) != 0) return false;
            stream.Entries = overlay.Entries(file, layer);
            stream.Position = 0;
            return stream.Entries != null;
        }
    }

    private static long ReadEntries(GuestThread thread, OpenFile file, ulong address, uint size)
    {
        var stream = file.Stream;
        lock (stream.Lock)
        {
            var entries = stream.Entries ??= Entries(file.Node!, thread.Process);
            Span<byte> record = stackalloc byte[24 + 256];
            uint done = 0;
            while (stream.Position < entries.Count)
            {
                var (name, inode, type) = entries[stream.Position];
                record.Clear();
                int length = Encoding.Latin1.GetBytes(name, record[19..]);
                int total = (19 + length + 1 + 7) & ~7;
                if (done + total > size) break;
                BinaryPrimitives.WriteUInt64LittleEndian(record, inode);
                BinaryPrimitives.WriteInt64LittleEndian(record[8..], stream.Position + 1);
                BinaryPrimitives.WriteUInt16LittleEndian(record[16..], (ushort)total);
                record[18] = type;
                if (thread.Put(address + done, record[..total]) < 0) return done > 0 ? done : -Errno.EFAULT;
                done += (uint)total;
                stream.Position++;
            }
            return done == 0 && stream.Position < entries.Count ? -Errno.EINVAL : done;
        }
    }

    private static List<(string Name, ulong Inode, byte Type)> Entries(SyntheticNode node, GuestProcess process)
    {
        var entries = new List<(string, ulong, byte)> { (".", node.Inode, 4), ("..", 1, 4) };
        foreach (var child in node.List(process)) entries.Add((child.NameOf, child.Inode, (byte)((child.Mode & FileType.Mask) >> 12)));
        return entries;
    }

    /// <summary>lseek on a directory whose entries we list: positions are entry numbers.</summary>
    internal static long SeekEntries(OpenFile file, long offset, int whence)
    {
        var stream = file.Stream;
        lock (stream.Lock)
        {
            long target = whence switch { 0 => offset, 1 => stream.Position + offset, _ => -1 };
            if (target is < 0 or > int.MaxValue) return -Errno.EINVAL;
            if (target == 0) stream.Entries = null;
            stream.Position = (int)target;
            return target;
        }
    }
}
