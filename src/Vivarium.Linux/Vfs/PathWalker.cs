namespace Vivarium.Linux.Vfs;

/// <summary>
/// Path resolution. Most paths take one host syscall: nothing is mounted on their way and (confined) no symbolic link. Only when a
/// mount is touched or a link is met are the components walked one by one.
/// </summary>
public sealed partial class NameSpace
{
    private const int MaximumLinks = 40, MaximumComponent = 255, RacesEndured = 8;

    /// <summary>Resolves <paramref name="path"/> from a directory and carries out <paramref name="request"/>: not negative, or negative errno.</summary>
    /// <remarks><paramref name="directory"/> (the caller's reference; null only for absolute paths) is where relative paths start;
    /// <paramref name="result"/> may point into the work space of <paramref name="path"/>.</remarks>
    internal long Walk(OpenFile? directory, in PathBuffer path, in PathRequest request, ref PathResult result)
    {
        var text = path.Path;
        if (text.IsEmpty) return -Errno.ENOENT;
        int start = 0;
        while (start < text.Length && text[start] == '/') start++;
        bool absolute = start > 0, restricted = Restricts(request);
        if (!absolute && directory == null) return -Errno.EBADF;

        text = text[start..];
        long address = path.Address + start;
        if (request.Resolve != 0 && Confined) return WalkWithin(directory, path, text, absolute, request, ref result);
        if (absolute)
        {
            if (_base.Length > 0)
            {
                _base.CopyTo(path.Canonical);
                return WalkComponents(path, _base.Length, text, !restricted, request, ref result);
            }
            if (restricted || request.WantsPath || Mounts.MayCross(text) && CrossesMount(path.Canonical, 0, text)) return WalkComponents(path, 0, text, false, request, ref result);
            long status = _root.Finish(request, -1, address, text, ref result);
            return Confined && status == -Errno.ELOOP ? WalkComponents(path, 0, text, false, request, ref result) : status;
        }

        bool climbs = false;
        if (directory!.Node != null)
        {
            if ((directory.Node.Mode & FileType.Mask) != FileType.Directory) return -Errno.ENOTDIR;
        }
        else if (directory.Layer is { FileSystem: OverlayFileSystem overlay } layer)
        {
            // Which layer a name is in depends on the whole path.
            byte[]? where = overlay.PathOf(directory, layer);
            if (where == null || where.Length >= PathBuffer.Maximum) return -Errno.ENOENT;
            where.CopyTo(path.Canonical);
            return WalkComponents(path, where.Length, text, !restricted, request, ref result);
        }
        else
        {
            if (restricted && SetPrefix(path, directory) is >= 0 and var checkedFrom) return WalkComponents(path, checkedFrom, text, false, request, ref result);
            climbs = HasDotDot(text);
            if (request.WantsPath)
            {
                int above = SetPrefix(path, directory);
                return above < 0 ? -Errno.ENOENT : WalkComponents(path, above, text, false, request, ref result);
            }
            if (!climbs && !IsAboveMount(directory) || !(climbs && Confined) && !CrossesMount(path.Canonical, SetPrefix(path, directory), text))
            {
                // A beneath-walk must not be handed "..": it would stop at the directory instead of climbing.
                long status = (directory.Layer?.FileSystem ?? (FileSystem?)_hostRoot ?? StrayDirectory).Finish(request, directory.HostDescriptor, address, text, ref result);
                if (status >= 0 && !result.Owned && result.Lender == null && result.Descriptor == directory.HostDescriptor && directory.TryAcquire())
                    result.Lender = directory;
                if (!Confined || status != -Errno.ELOOP) return status;
            }
        }
        int prefix = SetPrefix(path, directory);
        if (prefix < 0) return climbs ? ClimbUnnamed(directory, address, path.Path[start..], request, ref result) : -Errno.ENOENT;
        return WalkComponents(path, prefix, text, climbs, request, ref result);
    }

    // openat2 with RESOLVE_*: every component is looked at.
    private long WalkWithin(OpenFile? directory, in PathBuffer path, ReadOnlySpan<byte> text, bool absolute, in PathRequest request, ref PathResult result)
    {
        if (absolute && (request.Resolve & ResolveFlags.Beneath) != 0) return -Errno.EXDEV;
        int prefix = _base.Length;
        if (absolute && (request.Resolve & ResolveFlags.InRoot) == 0) _base.CopyTo(path.Canonical);
        else if (directory == null) return -Errno.EBADF;
        else if (directory.Node is { IsDirectory: false }) return -Errno.ENOTDIR;
        else if (directory.Layer is { FileSystem: OverlayFileSystem overlay } layer)
        {
            byte[]? where = overlay.PathOf(directory, layer);
            if (where == null || where.Length >= PathBuffer.Maximum) return -Errno.ENOENT;
            where.CopyTo(path.Canonical);
            prefix = where.Length;
        }
        else if ((prefix = SetPrefix(path, directory)) < 0) return -Errno.ENOENT;
        return WalkComponents(path, prefix, text, false, request, ref result);
    }

    // Links of /proc that lead to an object and not to a name.
    private static bool IsMagic(ReadOnlySpan<byte> canonical)
    {
        if (!canonical.StartsWith("proc/"u8)) return false;
        int slash = canonical.LastIndexOf((byte)'/');
        var name = canonical[(slash + 1)..];
        return name.SequenceEqual("exe"u8) || name.SequenceEqual("cwd"u8) || name.SequenceEqual("root"u8) || canonical[..slash].EndsWith("/fd"u8);
    }

    // "..", perhaps with a path behind it, from a directory whose own path is longer than any path may be. What is not the root of its file
    // system has its parent inside, wherever others may move it meanwhile; so steps of the host's kernel stay inside too.
    private long ClimbUnnamed(OpenFile directory, long address, Span<byte> text, in PathRequest request, ref PathResult result)
    {
        if ((directory.Layer?.FileSystem ?? (FileSystem?)_hostRoot) is not HostFileSystem host || _base.Length > 0) return -Errno.ENOENT;
        if (FileStat.OfDescriptor(host.RootDescriptor, out var root) < 0) return -Errno.ENOENT;
        using var parent = Vivarium.Host.HostScratch.Rent(3);
        "..\0"u8.CopyTo(parent.Span);
        int at = 0;
        long fd = directory.HostDescriptor, status = -Errno.ENOENT;
        bool owned = false;
        for (;;)
        {
            while (at < text.Length && text[at] == '/') at++;
            int end = text[at..].IndexOf((byte)'/');
            var component = end < 0 ? text[at..] : text.Slice(at, end);
            bool up = component.SequenceEqual(".."u8);
            if (!up && !component.SequenceEqual("."u8)) break;
            at += component.Length;
            if (!up) continue;
            if (FileStat.OfDescriptor((int)fd, out var stat) < 0 || stat.Device == root.Device && stat.Inode == root.Inode) goto done;
            long above = Vivarium.Host.HostSyscall.Invoke(HostCall.OpenAt, fd, parent.Address, OpenFlags.Path | OpenFlags.Directory | OpenFlags.CloseOnExec);
            if (owned) Vivarium.Host.HostSyscall.Invoke(HostCall.Close, fd);
            owned = false;
            if (above < 0) return above;
            (fd, owned) = (above, true);
        }
        if (HasDotDot(text[at..])) goto done;
        if (at == text.Length && request.Intent == PathIntent.Parent) status = -Errno.EEXIST;
        else status = host.Finish(request, (int)fd, address + at, text[at..], ref result);
        if (status >= 0 && owned && result.Descriptor == fd) (result.Owned, owned) = (true, false);
        done:
        if (owned) Vivarium.Host.HostSyscall.Invoke(HostCall.Close, fd);
        return status;
    }

    // For directories that came without a layer: only their descriptor counts.
    private static readonly HostFileSystem StrayDirectory = new(-1, confined: true);

    private static bool HasDotDot(ReadOnlySpan<byte> text)
    {
        for (int at = 0; at < text.Length;)
        {
            int found = text[at..].IndexOf(".."u8);
            if (found < 0) return false;
            found += at;
            if ((found == 0 || text[found - 1] == '/') && (found + 2 == text.Length || text[found + 2] == '/')) return true;
            at = found + 1;
        }
        return false;
    }

    // Writes the directory's path without its leading slash into the canonical buffer; its length, -1 when it is not in the tree.
    private static int SetPrefix(in PathBuffer path, OpenFile directory)
    {
        if ((directory.MountHint & 3) == OpenFile.IsRoot) return 0;
        string name = directory.RealmPath;
        if (!name.StartsWith('/') || name.Length >= PathBuffer.Maximum) return -1;
        return System.Text.Encoding.Latin1.GetBytes(name.AsSpan(1), path.Canonical);
    }

    private bool IsAboveMount(OpenFile directory)
    {
        int version = Mounts.Version;
        if (directory.MountHint >> 2 != version)
        {
            var name = System.Text.Encoding.Latin1.GetBytes(directory.RealmPath);
            bool above = name.Length <= 1;
            foreach (var mount in Mounts.All)
            {
                if (name.Length > 1 && mount.Path.Length >= name.Length - 1 && mount.Path.AsSpan().StartsWith(name.AsSpan(1))) above = true;
            }
            directory.MountHint = version << 2 | (name.Length == 1 ? OpenFile.IsRoot : above ? OpenFile.MountsBelow : OpenFile.NoMountsBelow);
        }
        return (directory.MountHint & 3) != OpenFile.NoMountsBelow;
    }

    // Whether the path, read without regard to links, passes a mount point. (Links are found by the walk itself.)
    // `current` holds the prefix and is work space behind it.
    private bool CrossesMount(Span<byte> current, int prefix, ReadOnlySpan<byte> text)
    {
        int length = Math.Max(prefix, 0);
        if (FindMount(current[..length]) != null) return true;
        while (NextComponent(ref text, out var component, out _))
        {
            if (component.SequenceEqual("."u8)) continue;
            if (component.SequenceEqual(".."u8)) length = Pop(current, length);
            else if (!Push(current, ref length, component)) return false;
            if (ExactMount(current[..length]) >= 0) return true;
        }
        return false;
    }

    private long WalkComponents(in PathBuffer path, int prefix, ReadOnlySpan<byte> text, bool tryWhole, in PathRequest request, ref PathResult result)
    {
        for (int race = 0; ; race++)
        {
            if (race > 0 && prefix > 0) tryWhole = !Restricts(request) && request.Resolve == 0;
            long status = WalkOnce(path, prefix, text, tryWhole, request, ref result, out bool raced);
            if (!raced || race >= RacesEndured) return status;
        }
    }

    // One attempt. `raced`: a directory on the way became a link under our feet; start again from the beginning.
    private long WalkOnce(in PathBuffer path, int prefix, ReadOnlySpan<byte> text, bool tryWhole, in PathRequest request, ref PathResult result, out bool raced)
    {
        raced = false;
        // The unread part stands at the end of its buffer, so that a link's target can be put in front of it.
        var restBuffer = path.Rest;
        if (text.Length >= PathBuffer.Maximum) return -Errno.ENAMETOOLONG;
        int restStart = restBuffer.Length - text.Length;
        text.CopyTo(restBuffer[restStart..]);
        var current = path.Canonical;
        int length = prefix, links = 0;
        bool restricted = Restricts(request);
        // Nothing climbs above the root of this view; who stands outside of it (a directory from before a chroot) climbs to the realm's.
        int floor = _base.Length > 0 && current[..length].StartsWith(_base) ? _base.Length : 0;
        // openat2's wishes; where it keeps to a directory, that one is the floor.
        ulong resolve = Confined ? request.Resolve : 0;
        bool scoped = (resolve & (ResolveFlags.Beneath | ResolveFlags.InRoot)) != 0;
        if (scoped) floor = prefix;
        var mount = (resolve & ResolveFlags.NoXDev) != 0 ? FindMount(current[..length]) : null;

        for (;;)
        {
            ReadOnlySpan<byte> rest = restBuffer[restStart..];
            if (tryWhole && TryWhole(path, length, rest, request, ref result, out long whole)) return whole;
            tryWhole = false;
            bool any = NextComponent(ref rest, out var component, out bool last);
            restStart = restBuffer.Length - rest.Length;
            if (!any) return FinishAt(path, length, true, request, ref result);
            if (restricted && MaySearch(path, length, request) is < 0 and var refused) return refused;
            if (component.Length > MaximumComponent) return -Errno.ENAMETOOLONG;
            bool trailing = last && !rest.IsEmpty;
            bool special = component.SequenceEqual("."u8) || component.SequenceEqual(".."u8);
            if (special && !(last && request.Intent == PathIntent.Parent))
            {
                if (component.Length == 2 && length > floor) length = Pop(current, length);
                else if (component.Length == 2 && (resolve & ResolveFlags.Beneath) != 0) return -Errno.EXDEV;
                if ((resolve & ResolveFlags.NoXDev) != 0 && !ReferenceEquals(FindMount(current[..length]), mount)) return -Errno.EXDEV;
                if (last) return FinishAt(path, length, true, request, ref result);
                continue;
            }
            int before = length;
            if (!Push(current, ref length, component)) return -Errno.ENAMETOOLONG;
            if (special) return FinishAt(path, length, false, request, ref result);
            if ((resolve & ResolveFlags.NoXDev) != 0 && !ReferenceEquals(FindMount(current[..length]), mount)) return -Errno.EXDEV;

            if (!last || request.Intent != PathIntent.Parent && (request.Follow || trailing))
            {
                var fileSystem = Locate(path, length, out long address, out var inside);
                if (resolve != 0 && fileSystem is SyntheticFileSystem && IsMagic(current[..length]))
                {
                    if ((resolve & (ResolveFlags.NoMagicLinks | ResolveFlags.NoSymlinks)) != 0) return -Errno.ELOOP;
                    if ((resolve & (ResolveFlags.Beneath | ResolveFlags.InRoot | ResolveFlags.NoXDev)) != 0) return -Errno.EXDEV;
                }
                int target = fileSystem.ReadLink(request, last, address, inside, path.Link[..PathBuffer.Maximum], path.LinkAddress);
                if (target == -Errno.ELOOP)
                {
                    raced = true;
                    return target;
                }
                if (target < 0 && !(last && target == -Errno.ENOENT)) return target;
                if (target > 0)
                {
                    if (++links > MaximumLinks) return -Errno.ELOOP;
                    if ((request.Resolve & ResolveFlags.NoSymlinks) != 0) return -Errno.ELOOP;
                    int needed = target + 1;
                    if (needed > restStart || rest.Length + needed >= PathBuffer.Maximum) return -Errno.ENAMETOOLONG;
                    restStart -= needed;
                    path.Link[..target].CopyTo(restBuffer[restStart..]);
                    restBuffer[restStart + target] = (byte)'/';
                    // A link in the last place does not make its target a directory.
                    if (last && !trailing)
                    {
                        restBuffer[restStart..(restStart + target)].CopyTo(restBuffer[(restStart + 1)..]);
                        restStart++;
                    }
                    length = before;
                    if (path.Link[0] == '/' && scoped)
                    {
                        if ((resolve & ResolveFlags.Beneath) != 0) return -Errno.EXDEV;
                        length = floor;
                    }
                    else if (path.Link[0] == '/')
                    {
                        _base.CopyTo(current);
                        length = floor = _base.Length;
                    }
                    tryWhole = Confined && !restricted && resolve == 0;
                    continue;
                }
            }
            if (!last) continue;

            if (trailing) current[length++] = (byte)'/';
            long status = FinishAt(path, length, false, request, ref result);
            raced = status == -Errno.ELOOP && request.Follow && request.Intent != PathIntent.Parent;
            return status;
        }
    }

    // After a link has been replaced the rest is mostly free of links and mounts: one host syscall for all of it.
    private bool TryWhole(in PathBuffer path, int length, ReadOnlySpan<byte> rest, in PathRequest request, ref PathResult result, out long status)
    {
        status = 0;
        if (length + rest.Length + 1 >= PathBuffer.Maximum || rest.IsEmpty) return false;
        if (request.WantsPath || _base.Length > 0 && HasDotDot(rest)) return false;
        var whole = path.Link;
        path.Canonical[..length].CopyTo(whole);
        int total = length;
        if (length > 0) whole[total++] = (byte)'/';
        rest = rest.TrimStart((byte)'/');
        rest.CopyTo(whole[total..]);
        total += rest.Length;
        whole[total] = 0;
        if (total == 0 || CrossesMount(whole[PathBuffer.Maximum..], 0, whole[..total])) return false;
        status = _root.Finish(request, -1, path.LinkAddress, whole[..total], ref result);
        return status != -Errno.ELOOP;
    }

    // The end of a walk: no link is left in the path (but perhaps in its last component).
    private long FinishAt(in PathBuffer path, int length, bool directory, in PathRequest request, ref PathResult result)
    {
        if (directory && request.Intent == PathIntent.Parent) return -Errno.EEXIST;
        bool restricted = Restricts(request);
        if (restricted && MayFinish(path, length, request) is < 0 and var refused) return refused;
        var fileSystem = Locate(path, length, out long address, out var inside);
        // The root of a mount is there, and is no name that could be made or removed.
        if (request.Intent == PathIntent.Parent && inside.IsEmpty) return -Errno.EEXIST;
        result.CanonicalLength = length;
        long status = fileSystem.Finish(request, -1, address, inside, ref result);
        return restricted && status >= 0 && MayUse(request, ref result) is < 0 and var unusable ? unusable : status;
    }

    // The file system that holds a canonical path, and the path inside it, NUL-terminated.
    private FileSystem Locate(scoped in PathBuffer path, int length, out long address, out Span<byte> inside)
    {
        var canonical = path.Canonical;
        canonical[length] = 0;
        address = path.CanonicalAddress;
        inside = canonical[..length];
        if (FindMount(inside) is not { } found) return _root;
        int start = Math.Min(found.Path.Length + 1, length);
        address += start;
        inside = canonical[start..length];
        if (found.FileSystem is not SubtreeFileSystem subtree) return found.FileSystem;

        // Behind the part of the link buffer that links are read into.
        var composed = path.Link[PathBuffer.Maximum..];
        int total = subtree.Prefix.Length;
        if (total + inside.Length + 2 > composed.Length) return subtree.Inner;
        subtree.Prefix.CopyTo(composed);
        if (total > 0 && !inside.IsEmpty) composed[total++] = (byte)'/';
        inside.CopyTo(composed[total..]);
        total += inside.Length;
        composed[total] = 0;
        address = path.LinkAddress + PathBuffer.Maximum;
        inside = composed[..total];
        return subtree.Inner;
    }

    private Mount? FindMount(ReadOnlySpan<byte> canonical)
    {
        Mount? best = null;
        foreach (var mount in Mounts.All)
        {
            var path = mount.Path;
            if (canonical.StartsWith(path) && (canonical.Length == path.Length || canonical[path.Length] == '/')
                && (best == null || path.Length >= best.Path.Length)) best = mount;
        }
        return best;
    }

    private int ExactMount(ReadOnlySpan<byte> canonical)
    {
        var mounts = Mounts.All;
        for (int i = 0; i < mounts.Length; i++) if (canonical.SequenceEqual(mounts[i].Path)) return i;
        return -1;
    }

    private static bool NextComponent(ref ReadOnlySpan<byte> text, out ReadOnlySpan<byte> component, out bool last)
    {
        text = text.TrimStart((byte)'/');
        int end = text.IndexOf((byte)'/');
        component = end < 0 ? text : text[..end];
        text = end < 0 ? default : text[end..];
        last = text.IndexOfAnyExcept((byte)'/') < 0;
        return !component.IsEmpty;
    }

    private static int Pop(ReadOnlySpan<byte> current, int length) => Math.Max(0, current[..length].LastIndexOf((byte)'/'));

    private static bool Push(Span<byte> current, ref int length, ReadOnlySpan<byte> component)
    {
        if (length + component.Length + 2 >= PathBuffer.Maximum) return false;
        if (length > 0) current[length++] = (byte)'/';
        component.CopyTo(current[length..]);
        length += component.Length;
        return true;
    }
}
