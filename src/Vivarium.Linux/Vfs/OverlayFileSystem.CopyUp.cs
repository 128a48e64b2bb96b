using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

// Copying up, and reading the upper layer at the start.
internal sealed partial class OverlayFileSystem
{
    private const long CloneFile = 0x40049409;
    private static ReadOnlySpan<byte> OpaqueAttribute => "user.overlay.opaque"u8;

    // ---- the mirror ----

    private static OverlayNode Scan(int directory, int depth)
    {
        var node = new OverlayNode(OverlayKind.Directory) { Opaque = IsOpaque(directory) };
        if (depth > 1000) throw new IOException("cannot use the upper directory: too deep");
        foreach (var (name, _, type) in HostDirectory.Read(directory))
        {
            using var leaf = HostName.Of(name);
            long fd = HostSyscall.Invoke(HostCall.OpenAt, directory, leaf.Address, OpenFlags.Path | OpenFlags.NoFollow | OpenFlags.CloseOnExec);
            if (fd < 0) continue;
            if (FileStat.OfDescriptor((int)fd, out var stat) >= 0)
            {
                FileRecord record = default;
                if ((stat.Mode & FileRecord.Mark) != 0) FileRecord.TryRead((int)fd, out record);
                uint kind = stat.Mode & FileType.Mask;
                if (kind == FileType.Character && stat.RawDevice == 0) node.Set(name, new OverlayNode(OverlayKind.Whiteout));
                else if (kind == FileType.Directory) node.Set(name, WithInode(Scan((int)fd, depth + 1), record.Inode));
                else node.Set(name, new OverlayNode(OverlayKind.File) { Inode = record.Inode, Type = record.IsDevice ? (byte)(record.Type >> 12) : (byte)0 });
            }
            HostSyscall.Invoke(HostCall.Close, fd);
        }
        return node;
    }

    private static OverlayNode WithInode(OverlayNode node, ulong inode)
    {
        if (inode == 0) return node;
        var copy = new OverlayNode(node.Kind) { Opaque = node.Opaque, Inode = inode };
        foreach (var (name, child) in node.Children) copy.Set(name, child);
        return copy;
    }

    private static bool IsOpaque(int directory)
    {
        using var path = HostName.OfDescriptor(directory);
        using var attribute = HostName.Of(OpaqueAttribute);
        using var value = HostScratch.Rent(8);
        return HostSyscall.Invoke(HostCall.GetXAttr, path.Address, attribute.Address, value.Address, 8) > 0 && value.Span[0] == (byte)'y';
    }

    private static void SetOpaque(int directory)
    {
        using var path = HostName.OfDescriptor(directory);
        using var attribute = HostName.Of(OpaqueAttribute);
        using var value = HostName.Of("y"u8);
        HostSyscall.Invoke(HostCall.SetXAttr, path.Address, attribute.Address, value.Address, 1, 0);
    }

    // ---- copying up ----

    /// <summary>Makes sure that an object is in the upper layer: 0 or negative errno.</summary>
    public long CopyUp(ReadOnlySpan<byte> path, GuestProcess? caller, bool truncate = false)
    {
        lock (_change) return CopyUpLocked(path, caller, truncate);
    }

    private long CopyUpLocked(ReadOnlySpan<byte> path, GuestProcess? caller, bool truncate = false)
    {
        var place = Find(path, out _, out _);
        if (place != Place.Lower) return place == Place.Upper ? 0 : -Errno.ENOENT;
        long source = OpenIn(_lower, path, OpenFlags.Path | OpenFlags.NoFollow);
        if (source < 0) return source;
        long status = FileStat.OfDescriptor((int)source, out var stat);
        if (status >= 0)
        {
            status = (stat.Mode & FileType.Mask) == FileType.Directory
                ? UpperDirectory(path)
                : CopyFile((int)source, stat, path, caller, truncate);
        }
        HostSyscall.Invoke(HostCall.Close, source);
        return status;
    }

    // Makes the directory of a path (and all above it) in the upper layer.
    private long UpperDirectory(ReadOnlySpan<byte> path)
    {
        var node = _top;
        var rest = path;
        while (NextName(ref rest, out var name))
        {
            var child = node.Child(name);
            if (child == null)
            {
                if (node.Opaque) return -Errno.ENOENT;
                int end = path.Length - rest.Length;
                long status = CopyDirectory(Trim(path[..end]), node, name);
                if (status < 0) return status;
                child = node.Child(name)!;
            }
            if (child.Kind != OverlayKind.Directory) return child.Kind == OverlayKind.Whiteout ? -Errno.ENOENT : -Errno.ENOTDIR;
            node = child;
        }
        return 0;
    }

    private long CopyDirectory(ReadOnlySpan<byte> path, OverlayNode parentNode, ReadOnlySpan<byte> name)
    {
        long source = OpenIn(_lower, path, OpenFlags.Path | OpenFlags.Directory | OpenFlags.NoFollow);
        if (source < 0) return source;
        long parent = OpenIn(_upper, path[..ParentLength(path)], OpenFlags.Path | OpenFlags.Directory);
        long status = parent;
        FileStat stat = default, above = default;
        if (parent >= 0) status = FileStat.OfDescriptor((int)source, out stat);
        if (status >= 0) status = FileStat.OfDescriptor((int)parent, out above);
        if (status >= 0)
        {
            using var leaf = HostName.Of(name);
            HostUmask.Apply(0);
            status = HostSyscall.Invoke(HostCall.MkDirAt, parent, leaf.Address, 0x1C0);
            if (status == 0)
            {
                long made = HostSyscall.Invoke(HostCall.OpenAt, parent, leaf.Address, OpenFlags.Directory | OpenFlags.NoFollow | OpenFlags.CloseOnExec);
                if (made >= 0)
                {
                    CopyAttributes((int)source, stat, (int)made);
                    HostSyscall.Invoke(HostCall.Close, made);
                }
                parentNode.Set(name, new OverlayNode(OverlayKind.Directory) { Inode = ShownInode((int)source, stat) });
                SetTimes((int)parent, above);
            }
        }
        if (parent >= 0) HostSyscall.Invoke(HostCall.Close, parent);
        HostSyscall.Invoke(HostCall.Close, source);
        return status;
    }

    private static ulong ShownInode(int descriptor, in FileStat stat) =>
        (stat.Mode & FileRecord.Mark) != 0 && FileRecord.TryRead(descriptor, out var record) && record.Inode != 0 ? record.Inode : stat.Inode;

    // Copies a file under a temporary name and moves it into place when it is complete.
    private long CopyFile(int source, in FileStat stat, ReadOnlySpan<byte> path, GuestProcess? caller, bool truncate)
    {
        long status = UpperDirectory(path[..ParentLength(path)]);
        if (status < 0) return status;
        uint type = stat.Mode & FileType.Mask;
        Span<byte> temporaryName = stackalloc byte[16];
        System.Buffers.Text.Utf8Formatter.TryFormat(_temporaries++, temporaryName, out int digits);
        using var temporary = HostName.Of(temporaryName[..digits]);
        HostSyscall.Invoke(HostCall.UnlinkAt, _work, temporary.Address, 0);
        HostUmask.Apply(0);
        switch (type)
        {
            case FileType.Regular:
                long made = HostSyscall.Invoke(HostCall.OpenAt, _work, temporary.Address, OpenFlags.WriteOnly | OpenFlags.Create | OpenFlags.Exclusive | OpenFlags.CloseOnExec, 0x180);
                if (made < 0) return made;
                status = truncate ? 0 : CopyData(source, (int)made, stat.Size);
                if (status >= 0) CopyAttributes(source, stat, (int)made);
                HostSyscall.Invoke(HostCall.Close, made);
                break;
            case FileType.Link:
                using (var text = HostScratch.Rent(PathBuffer.Maximum + 1))
                using (var empty = HostName.Of(""u8))
                {
                    long length = HostSyscall.Invoke(HostCall.ReadLinkAt, source, empty.Address, text.Address, PathBuffer.Maximum);
                    if (length < 0) return length;
                    text.Span[(int)length] = 0;
                    status = HostSyscall.Invoke(HostCall.SymlinkAt, text.Address, _work, temporary.Address);
                    if (status >= 0 && _owners.Real) HostSyscall.Invoke(HostCall.FChOwnAt, _work, temporary.Address, stat.Uid, stat.Gid, At.SymlinkNoFollow);
                }
                break;
            default:
                if (type is FileType.Character or FileType.Block) return -Errno.EPERM;
                status = HostSyscall.Invoke(HostCall.MkNodAt, _work, temporary.Address, stat.Mode & ~0xE00u, 0);
                if (status >= 0 && _owners.Real) HostSyscall.Invoke(HostCall.FChOwnAt, _work, temporary.Address, stat.Uid, stat.Gid, At.SymlinkNoFollow);
                break;
        }
        if (status >= 0) status = MoveIntoPlace(temporary.Address, path);
        if (status < 0)
        {
            HostSyscall.Invoke(HostCall.UnlinkAt, _work, temporary.Address, 0);
            return status;
        }
        var parent = Node(path[..ParentLength(path)])!;
        byte shownType = 0;
        if ((stat.Mode & FileRecord.Mark) != 0 && FileRecord.TryRead(source, out var record) && record.IsDevice) shownType = (byte)(record.Type >> 12);
        parent.Set(Leaf(path), new OverlayNode(OverlayKind.File) { Inode = type == FileType.Regular ? ShownInode(source, stat) : 0, Type = shownType });
        if (type == FileType.Regular && caller != null) FollowCopy(caller.Realm, stat, path);
        return 0;
    }

    private long MoveIntoPlace(long temporary, ReadOnlySpan<byte> path)
    {
        long parent = OpenIn(_upper, path[..ParentLength(path)], OpenFlags.Path | OpenFlags.Directory);
        if (parent < 0) return parent;
        FileStat.OfDescriptor((int)parent, out var times);
        using var leaf = HostName.Of(Leaf(path));
        long status = HostSyscall.Invoke(HostCall.RenameAt2, _work, temporary, parent, leaf.Address, 1 /* RENAME_NOREPLACE */);
        if (status >= 0) SetTimes((int)parent, times);
        HostSyscall.Invoke(HostCall.Close, parent);
        return status;
    }

    private OverlayNode? Node(ReadOnlySpan<byte> path) => Find(path, out var node, out bool last) == Place.Upper && last ? node : null;

    private static long CopyData(int source, int target, long size)
    {
        long from = SyntheticFileSystem.Reopen(source, OpenFlags.ReadOnly, 0);
        if (from < 0) return from;
        long status = HostSyscall.Invoke(HostCall.IoCtl, target, CloneFile, from);
        if (status < 0)
        {
            status = 0;
            long left = size;
            bool ranges = true;
            while (left > 0)
            {
                long copied = ranges
                    ? HostSyscall.Invoke(HostCall.CopyFileRange, from, 0, target, 0, left, 0)
                    : HostSyscall.Invoke(HostCall.SendFile, target, from, 0, Math.Min(left, 1 << 30));
                if (copied == -Errno.EINTR) continue;
                if (copied < 0 && ranges)
                {
                    ranges = false;
                    continue;
                }
                if (copied <= 0)
                {
                    status = copied;
                    break;
                }
                left -= copied;
            }
        }
        HostSyscall.Invoke(HostCall.Close, from);
        return status;
    }

    // Owner, mode, extended attributes, times; and a record of the inode number that the guest has seen.
    private void CopyAttributes(int source, in FileStat stat, int target)
    {
        FileRecord record = default;
        bool recorded = (stat.Mode & FileRecord.Mark) != 0 && FileRecord.TryRead(source, out record);
        if (!recorded) _owners.Get(source, out record, out _);
        if (record.Inode == 0) record.Inode = stat.Inode;
        ExtendedAttributes.Copy(source, target);
        if (_owners.Real) HostSyscall.Invoke(HostCall.FChOwn, target, stat.Uid, stat.Gid);
        long status = record.Write(target, stat.Mode & 0x1FF | (_owners.Real ? 0u : (record.Type == FileType.Directory ? 0x1C0u : 0x180u)));
        if (status < 0) HostSyscall.Invoke(HostCall.FChMod, target, stat.Mode & 0xFFF);
        SetTimes(target, stat);
    }

    private static void SetTimes(int descriptor, in FileStat stat)
    {
        using var times = HostScratch.Rent(32);
        System.Runtime.InteropServices.MemoryMarshal.Cast<byte, long>(times.Span)[0] = stat.AccessSeconds;
        System.Runtime.InteropServices.MemoryMarshal.Cast<byte, long>(times.Span)[1] = stat.AccessNanoseconds;
        System.Runtime.InteropServices.MemoryMarshal.Cast<byte, long>(times.Span)[2] = stat.ModifySeconds;
        System.Runtime.InteropServices.MemoryMarshal.Cast<byte, long>(times.Span)[3] = stat.ModifyNanoseconds;
        using var name = HostName.OfDescriptor(descriptor);
        HostSyscall.Invoke(HostCall.UTimeNsAt, At.FdCwd, name.Address, times.Address, 0);
    }

    // Whoever has the lower file open for reading sees the copy from now on, at the offset where he was.
    private void FollowCopy(Realm realm, in FileStat lower, ReadOnlySpan<byte> path)
    {
        foreach (var process in realm.Processes.Values)
        {
            if (process.HasEnded) continue;
            foreach (int fd in process.Files.Numbers())
            {
                var file = process.Files.Acquire(fd);
                if (file == null) continue;
                if (file.Layer is { Lower: true, Path: null } layer && FileStat.OfDescriptor(file.HostDescriptor, out var stat) >= 0
                    && stat.Inode == lower.Inode && stat.Device == lower.Device) Follow(file, layer, path);
                file.Release();
            }
        }
    }

    private void Follow(OpenFile file, FileLayer layer, ReadOnlySpan<byte> path)
    {
        long flags = HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, 3 /* F_GETFL */);
        if (flags < 0) return;
        long copy = OpenIn(_upper, path, (int)flags & ~(OpenFlags.Create | OpenFlags.Exclusive | OpenFlags.Truncate | OpenFlags.TmpFileBit));
        if (copy < 0) return;
        if ((flags & OpenFlags.Path) == 0)
        {
            long offset = HostSyscall.Invoke(HostCall.LSeek, file.HostDescriptor, 0, 1);
            if (offset > 0) HostSyscall.Invoke(HostCall.LSeek, copy, offset, 0);
        }
        // The number stays, so that whoever is about to use it uses the copy.
        HostSyscall.Invoke(HostCall.Dup3, copy, file.HostDescriptor, OpenFlags.CloseOnExec);
        HostSyscall.Invoke(HostCall.Close, copy);
        layer.Lower = false;
    }
}
