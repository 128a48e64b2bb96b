using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>What makes a name: a host syscall given an open directory and a leaf.</summary>
internal delegate long NameMaker(int directory, long leaf);

// Names made, removed and renamed.
internal sealed partial class OverlayFileSystem
{
    // ---- making ----

    private long Create(in PathRequest request, Span<byte> path)
    {
        int flags = request.Flags | OpenFlags.Exclusive | OpenFlags.CloseOnExec;
        uint mode = request.Mode;
        var who = Who(request.Caller);
        uint masked = mode & ~(uint)(request.Caller?.Fs.Umask ?? 0);
        lock (_change)
        {
            return Make(path, OverlayKind.File, 0, request.Caller, (directory, leaf) =>
            {
                using var owner = _owners.Real ? HostOwner.As(who) : default;
                long fd = HostSyscall.Invoke(HostCall.OpenAt, directory, leaf, flags & ~OpenFlags.Directory | OpenFlags.NoFollow, mode);
                if (fd >= 0 && !_owners.Real && _owners.NeedsCare(FileType.Regular, masked, who)) Care((int)fd, who);
                return fd;
            });
        }
    }

    private void Care(int descriptor, Credentials who)
    {
        if (FileStat.OfDescriptor(descriptor, out var stat) >= 0) _owners.Made(descriptor, stat.Mode, who);
    }

    private void CareFor(int directory, long leaf, Credentials who)
    {
        if (who.FsUid == 0 && who.FsGid == 0 && _owners.Real) return;
        long fd = HostSyscall.Invoke(HostCall.OpenAt, directory, leaf, OpenFlags.Path | OpenFlags.NoFollow | OpenFlags.CloseOnExec);
        if (fd < 0) return;
        Care((int)fd, who);
        HostSyscall.Invoke(HostCall.Close, fd);
    }

    public override long MakeName(in PathResult at, GuestProcess? caller, uint type, NameMaker maker)
    {
        var kind = type == FileType.Directory ? OverlayKind.Directory : OverlayKind.File;
        byte shown = type is FileType.Character or FileType.Block ? (byte)(type >> 12) : (byte)0;
        var who = Who(caller);
        lock (_change)
        {
            return Make(at.Inside, kind, shown, caller, (directory, leaf) =>
            {
                bool atOnce = _owners.Real && type != 0 && shown == 0;
                using var owner = atOnce ? HostOwner.As(who) : default;
                long status = maker(directory, leaf);
                if (status >= 0 && type != 0 && !atOnce) CareFor(directory, leaf, who);
                return status;
            });
        }
    }

    private long Make(ReadOnlySpan<byte> path, OverlayKind kind, byte shown, GuestProcess? caller, NameMaker maker)
    {
        var parentPath = path[..ParentLength(path)];
        var leaf = Leaf(path);
        var name = Trim(leaf);
        if (name.IsEmpty || name.SequenceEqual("."u8) || name.SequenceEqual(".."u8)) return -Errno.EEXIST;
        long status = CheckDirectory(parentPath);
        if (status < 0) return status;
        var place = Find(Trim(path), out var node, out _);
        if (place == Place.Upper) return -Errno.EEXIST;
        if (place == Place.Lower)
        {
            status = StatIn(_lower, Trim(path), out _);
            if (status != -Errno.ENOENT) return status == 0 ? -Errno.EEXIST : status;
        }
        status = UpperDirectory(parentPath);
        if (status < 0) return status;
        long parent = OpenIn(_upper, parentPath, OpenFlags.Path | OpenFlags.Directory);
        if (parent < 0) return parent;
        bool covers = node is { Kind: OverlayKind.Whiteout };
        using (var bare = HostName.Of(name))
        using (var whole = HostName.Of(leaf))
        {
            // Copying up has set the umask aside.
            if (caller != null) HostUmask.Apply(caller.Fs.Umask);
            if (covers) HostSyscall.Invoke(HostCall.UnlinkAt, parent, bare.Address, 0);
            status = maker((int)parent, whole.Address);
            if (status >= 0)
            {
                if (covers && kind == OverlayKind.Directory)
                {
                    long made = HostSyscall.Invoke(HostCall.OpenAt, parent, bare.Address, OpenFlags.Path | OpenFlags.NoFollow | OpenFlags.CloseOnExec);
                    if (made >= 0)
                    {
                        SetOpaque((int)made);
                        HostSyscall.Invoke(HostCall.Close, made);
                    }
                }
                Node(parentPath)!.Set(name, new OverlayNode(kind) { Opaque = kind == OverlayKind.Directory, Type = shown });
            }
            else if (covers)
            {
                Whiteout((int)parent, bare.Address);
            }
        }
        HostSyscall.Invoke(HostCall.Close, parent);
        return status;
    }

    public override long PrepareBind(ref PathResult at, GuestProcess caller)
    {
        lock (_change)
        {
            var path = at.Inside;
            long status = CheckDirectory(path[..ParentLength(path)]);
            if (status >= 0) status = StatAny(path, out _, out _, out _) is var found && found == 0 ? -Errno.EADDRINUSE : found == -Errno.ENOENT ? 0 : found;
            if (status >= 0) status = UpperDirectory(path[..ParentLength(path)]);
            if (status < 0) return status;
            long parent = OpenIn(_upper, path[..ParentLength(path)], OpenFlags.Path | OpenFlags.Directory);
            if (parent < 0) return parent;
            Find(path, out var node, out _);
            using var leaf = HostName.Of(Leaf(path));
            if (node is { Kind: OverlayKind.Whiteout }) HostSyscall.Invoke(HostCall.UnlinkAt, parent, leaf.Address, 0);
            HostUmask.Apply(caller.Fs.Umask);
            at.Descriptor = (int)parent;
            at.Owned = true;
            return 0;
        }
    }

    public override void Bound(in PathResult at)
    {
        lock (_change) Node(at.Inside[..ParentLength(at.Inside)])?.Set(Leaf(at.Inside), new OverlayNode(OverlayKind.File));
    }

    private static long Whiteout(int directory, long leaf) => HostSyscall.Invoke(HostCall.MkNodAt, directory, leaf, FileType.Character, 0);

    // ---- removing ----

    public override long RemoveName(in PathResult at, GuestProcess? caller, int flags)
    {
        lock (_change) return Remove(at.Inside, (flags & At.RemoveDir) != 0);
    }

    private long Remove(ReadOnlySpan<byte> path, bool directory)
    {
        var leaf = Leaf(path);
        var name = Trim(leaf);
        if (name.IsEmpty) return directory ? -Errno.EBUSY : -Errno.EISDIR;
        if (name.SequenceEqual("."u8)) return directory ? -Errno.EINVAL : -Errno.EISDIR;
        if (name.SequenceEqual(".."u8)) return directory ? -Errno.ENOTEMPTY : -Errno.EISDIR;
        var parentPath = path[..ParentLength(path)];
        path = Trim(path);
        long status = CheckDirectory(parentPath);
        if (status < 0) return status;
        var place = Find(path, out var node, out _);
        if (place == Place.Nowhere) return -Errno.ENOENT;
        status = StatIn(place == Place.Upper ? _upper : _lower, path, out var stat);
        if (status < 0) return status;
        bool isDirectory = (stat.Mode & FileType.Mask) == FileType.Directory;
        if (directory && !isDirectory || leaf.Length > name.Length && !isDirectory) return -Errno.ENOTDIR;
        if (!directory && isDirectory) return -Errno.EISDIR;
        if (isDirectory && Merge(path).Count > 0) return -Errno.ENOTEMPTY;
        status = UpperDirectory(parentPath);
        if (status < 0) return status;
        long parent = OpenIn(_upper, parentPath, OpenFlags.Path | OpenFlags.Directory);
        if (parent < 0) return parent;
        using var bare = HostName.Of(name);
        if (place == Place.Upper)
        {
            if (isDirectory) ClearWhiteouts(path, node!);
            status = HostSyscall.Invoke(HostCall.UnlinkAt, parent, bare.Address, directory ? At.RemoveDir : 0);
        }
        if (status >= 0) status = Vacate((int)parent, bare.Address, path);
        HostSyscall.Invoke(HostCall.Close, parent);
        return status;
    }

    // The upper layer has nothing under the name any more: a whiteout where the lower one would show.
    private long Vacate(int parent, long leaf, ReadOnlySpan<byte> path)
    {
        var above = Node(path[..ParentLength(path)])!;
        if (!above.Opaque && StatIn(_lower, path, out _) == 0)
        {
            long status = Whiteout(parent, leaf);
            if (status < 0) return status;
            above.Set(Leaf(path), new OverlayNode(OverlayKind.Whiteout));
        }
        else
        {
            above.Remove(Leaf(path));
        }
        return 0;
    }

    private void ClearWhiteouts(ReadOnlySpan<byte> path, OverlayNode node)
    {
        if (!node.HasChildren) return;
        long fd = OpenIn(_upper, path, OpenFlags.Path | OpenFlags.Directory);
        if (fd < 0) return;
        foreach (var (name, child) in node.Children)
        {
            if (child.Kind != OverlayKind.Whiteout) continue;
            using var leaf = HostName.Of(name);
            HostSyscall.Invoke(HostCall.UnlinkAt, fd, leaf.Address, 0);
            node.Remove(name);
        }
        HostSyscall.Invoke(HostCall.Close, fd);
    }

    // ---- renaming ----

    private const ulong NoReplace = 1, Exchange = 2;

    public override long RenameName(in PathResult from, in PathResult to, GuestProcess? caller, ulong flags)
    {
        if ((flags & ~(NoReplace | Exchange)) != 0 || flags == (NoReplace | Exchange)) return -Errno.EINVAL;
        lock (_change) return Rename(from.Inside, to.Inside, caller, flags);
    }

    private static bool IsSpecial(ReadOnlySpan<byte> name) => name.IsEmpty || name.SequenceEqual("."u8) || name.SequenceEqual(".."u8);

    private long Rename(ReadOnlySpan<byte> fromPath, ReadOnlySpan<byte> toPath, GuestProcess? caller, ulong flags)
    {
        ReadOnlySpan<byte> from = Trim(fromPath), to = Trim(toPath);
        if (IsSpecial(Leaf(from)) || IsSpecial(Leaf(to))) return -Errno.EBUSY;
        long status = CheckDirectory(from[..ParentLength(from)]);
        if (status >= 0) status = CheckDirectory(to[..ParentLength(to)]);
        if (status < 0) return status;

        status = StatAny(from, out var place, out var node, out var stat);
        if (status < 0) return status;
        bool isDirectory = (stat.Mode & FileType.Mask) == FileType.Directory;
        if (!isDirectory && (fromPath.Length > from.Length || toPath.Length > to.Length)) return -Errno.ENOTDIR;
        status = StatAny(to, out var toPlace, out var toNode, out var toStat);
        if (status < 0 && status != -Errno.ENOENT) return status;
        bool exists = status >= 0;
        if ((flags & NoReplace) != 0 && exists) return -Errno.EEXIST;
        if ((flags & Exchange) != 0 && !exists) return -Errno.ENOENT;
        bool toDirectory = exists && (toStat.Mode & FileType.Mask) == FileType.Directory;
        if (exists && place == toPlace && stat.Inode == toStat.Inode && stat.Device == toStat.Device) return 0;
        if (isDirectory && to.Length > from.Length && to.StartsWith(from) && to[from.Length] == '/') return -Errno.EINVAL;
        if (toDirectory && from.Length > to.Length && from.StartsWith(to) && from[to.Length] == '/') return (flags & Exchange) != 0 ? -Errno.EINVAL : -Errno.ENOTEMPTY;
        if (exists && (flags & Exchange) == 0)
        {
            if (isDirectory && !toDirectory) return -Errno.ENOTDIR;
            if (!isDirectory && toDirectory) return -Errno.EISDIR;
            if (toDirectory && Merge(to).Count > 0) return -Errno.ENOTEMPTY;
        }
        // What shows through from below cannot be moved away from above it.
        if (isDirectory && !(place == Place.Upper && node!.Opaque)) return -Errno.EXDEV;
        if ((flags & Exchange) != 0 && toDirectory && !(toPlace == Place.Upper && toNode!.Opaque)) return -Errno.EXDEV;

        if (place == Place.Lower && (status = CopyUpLocked(from, caller)) < 0) return status;
        if ((flags & Exchange) != 0 && toPlace == Place.Lower && (status = CopyUpLocked(to, caller)) < 0) return status;
        status = UpperDirectory(to[..ParentLength(to)]);
        if (status < 0) return status;
        long fromParent = OpenIn(_upper, from[..ParentLength(from)], OpenFlags.Path | OpenFlags.Directory);
        long toParent = OpenIn(_upper, to[..ParentLength(to)], OpenFlags.Path | OpenFlags.Directory);
        status = fromParent < 0 ? fromParent : toParent;
        if (status >= 0) status = Move((int)fromParent, from, (int)toParent, to, isDirectory, flags);
        if (fromParent >= 0) HostSyscall.Invoke(HostCall.Close, fromParent);
        if (toParent >= 0) HostSyscall.Invoke(HostCall.Close, toParent);
        return status;
    }

    private long Move(int fromParent, ReadOnlySpan<byte> from, int toParent, ReadOnlySpan<byte> to, bool isDirectory, ulong flags)
    {
        using var fromName = HostName.Of(Leaf(from));
        using var toName = HostName.Of(Leaf(to));
        var moved = Node(from)!;
        var target = Node(to);
        if (target == null && Find(to, out var hidden, out _) == Place.Nowhere && hidden is { Kind: OverlayKind.Whiteout }) target = hidden;
        bool whiteoutThere = target is { Kind: OverlayKind.Whiteout };
        bool opaque = isDirectory && (whiteoutThere || Find(to, out _, out _) == Place.Lower && StatIn(_lower, to, out _) == 0 || target is { Kind: OverlayKind.Directory, Opaque: false });
        if ((flags & Exchange) == 0 && isDirectory)
        {
            // A directory replaces only an empty directory: whiteouts are nothing to the guest.
            if (target is { Kind: OverlayKind.Directory }) ClearWhiteouts(to, target);
            else if (whiteoutThere) HostSyscall.Invoke(HostCall.UnlinkAt, toParent, toName.Address, 0);
        }
        long status = HostSyscall.Invoke(HostCall.RenameAt2, fromParent, fromName.Address, toParent, toName.Address, (long)(flags & Exchange));
        if (status < 0)
        {
            if (whiteoutThere) Whiteout(toParent, toName.Address);
            return status;
        }
        var toAbove = Node(to[..ParentLength(to)])!;
        if ((flags & Exchange) != 0)
        {
            // Whatever is a directory here is hidden from the layer below for good.
            Node(from[..ParentLength(from)])!.Set(Leaf(from), target!);
            toAbove.Set(Leaf(to), moved);
            foreach (var (directory, name) in (ReadOnlySpan<(int, long)>)[(fromParent, fromName.Address), (toParent, toName.Address)]) KeepOpaque(directory, name);
            Interlocked.Increment(ref _renames);
            return 0;
        }
        if (opaque) KeepOpaque(toParent, toName.Address);
        toAbove.Set(Leaf(to), moved);
        if (isDirectory) Interlocked.Increment(ref _renames);
        return Vacate(fromParent, fromName.Address, from);
    }

    private static void KeepOpaque(int directory, long leaf)
    {
        long fd = HostSyscall.Invoke(HostCall.OpenAt, directory, leaf, OpenFlags.Path | OpenFlags.NoFollow | OpenFlags.Directory | OpenFlags.CloseOnExec);
        if (fd < 0) return;
        SetOpaque((int)fd);
        HostSyscall.Invoke(HostCall.Close, fd);
    }

    private long StatAny(ReadOnlySpan<byte> path, out Place place, out OverlayNode? node, out FileStat stat)
    {
        stat = default;
        place = Find(path, out node, out _);
        return place == Place.Nowhere ? -Errno.ENOENT : StatIn(place == Place.Upper ? _upper : _lower, path, out stat);
    }

    // ---- reading directories ----

    /// <summary>The names of a directory in both layers, without <c>.</c> and <c>..</c>.</summary>
    private List<(byte[] Name, ulong Inode, byte Type)> Merge(ReadOnlySpan<byte> path)
    {
        var place = Find(path, out var node, out _);
        var merged = new List<(byte[] Name, ulong Inode, byte Type)>();
        if (place == Place.Nowhere) return merged;
        if (place == Place.Upper && node is { Kind: OverlayKind.Directory })
        {
            foreach (var (name, inode, type) in ReadIn(_upper, path))
            {
                var child = node.Child(name);
                if (child is { Kind: OverlayKind.Whiteout }) continue;
                merged.Add((name, child is { Inode: not 0 } ? child.Inode : inode, child is { Type: not 0 } ? child.Type : type));
            }
            if (node.Opaque) return merged;
        }
        foreach (var entry in ReadIn(_lower, path))
        {
            if (node?.Child(entry.Name) == null) merged.Add(entry);
        }
        return merged;
    }

    private List<(byte[] Name, ulong Inode, byte Type)> ReadIn(int layer, ReadOnlySpan<byte> path)
    {
        long fd = OpenIn(layer, path, OpenFlags.Path | OpenFlags.Directory);
        if (fd < 0) return [];
        var entries = HostDirectory.Read((int)fd);
        HostSyscall.Invoke(HostCall.Close, fd);
        return entries;
    }

    /// <summary>The entries that a guest reads from an open directory; null where the host's own listing of the descriptor is right.</summary>
    public List<(string Name, ulong Inode, byte Type)>? Entries(OpenFile file, FileLayer layer)
    {
        var path = PathOf(file, layer);
        if (path == null) return [];
        var place = Find(path, out var node, out bool last);
        // A pure directory of one layer needs no help; devices, whose type only we know, do.
        if (place == Place.Lower && layer.Lower) return null;
        if (place == Place.Upper && last && node is { Opaque: true } && !layer.Lower && !node.Children.Any(child => child.Value.Type != 0 || child.Value.Inode != 0)) return null;
        FileStat.OfDescriptor(file.HostDescriptor, out var stat);
        var entries = new List<(string, ulong, byte)> { (".", node is { Inode: not 0 } ? node.Inode : stat.Inode, 4), ("..", 1, 4) };
        foreach (var (name, inode, type) in Merge(path)) entries.Add((System.Text.Encoding.Latin1.GetString(name), inode, type));
        return entries;
    }

    /// <summary>Copies up what an open file refers to, and lets it refer to the copy.</summary>
    public long CopyUpOpen(OpenFile file, FileLayer layer, GuestProcess caller)
    {
        var path = PathOf(file, layer);
        // Removed meanwhile: nobody will see the change, nor may the lower layer.
        if (path == null) return -Errno.ENOENT;
        lock (_change)
        {
            if (!layer.Lower) return 0;
            if (Find(path, out _, out _) == Place.Nowhere) return -Errno.ENOENT;
            long status = CopyUpLocked(path, caller);
            if (status < 0) return status;
            if (layer.Lower) Follow(file, layer, path);
            return 0;
        }
    }

    /// <summary>Path of an open directory in the overlay now; null where it is gone.</summary>
    public byte[]? PathOf(OpenFile file, FileLayer layer)
    {
        if (layer.Path != null && layer.Renames == Renames) return layer.Path;
        string path = file.RealmPath;
        return path.StartsWith('/') && !path.EndsWith(" (deleted)", StringComparison.Ordinal) ? System.Text.Encoding.Latin1.GetBytes(path.TrimStart('/')) : null;
    }
}
