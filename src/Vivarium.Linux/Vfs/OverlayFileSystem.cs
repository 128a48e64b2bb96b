using System.Collections.Concurrent;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>
/// A tree of two layers: a lower one that is never changed (an image, shared by all its runs) and an upper one that takes the changes of this
/// realm. On disk the upper layer is an upperdir as Linux's overlayfs writes it: removed names are character devices 0:0, opaque directories
/// have <c>user.overlay.opaque</c>.
/// </summary>
/// <remarks>
/// Thread-safe. Look-ups ask a mirror of the upper layer in memory (<see cref="OverlayNode"/>) which layer a path belongs to, and then take the one
/// host syscall that a plain root would; so nobody else may change the upper directory meanwhile. Changes are made under one lock, a leaf
/// but for those of file tables. Answers are overlayfs's: directories of the lower layer cannot be renamed (EXDEV), hard links of the lower layer come
/// apart when copied up. Files that are open for reading follow a copy-up.
/// </remarks>
internal sealed partial class OverlayFileSystem : FileSystem
{
    private const ulong InLayer = ResolveFlags.NoSymlinks | ResolveFlags.NoMagicLinks | ResolveFlags.InRoot;
    private const int KnownLinks = 8192;

    private readonly int _lower, _upper, _work;
    private readonly Ownership _owners;
    private readonly OverlayNode _top;
    private readonly Lock _change = new();
    private readonly FileLayer _lowerFile;

    // The lower layer does not change: what its names in the middle of paths lead to is asked once. An empty value is no link.
    private readonly ConcurrentDictionary<byte[], byte[]> _lowerLinks = new(ByteNames.Comparer);
    private int _renames, _temporaries;

    /// <param name="lower">O_PATH descriptor of the lower tree, owned.</param>
    /// <param name="upper">O_PATH descriptor of the upper directory, owned.</param>
    /// <param name="work">O_PATH descriptor of a directory for unfinished files on the same file system, owned.</param>
    /// <param name="owners">Owners as guests see them.</param>
    public OverlayFileSystem(int lower, int upper, int work, Ownership owners)
    {
        _lower = lower;
        _upper = upper;
        _work = work;
        _owners = owners;
        _top = Scan(upper, 0);
        _lowerFile = new FileLayer(this, lower: true);
    }

    public override void Close()
    {
        foreach (int fd in (ReadOnlySpan<int>)[_lower, _upper, _work]) HostSyscall.Invoke(HostCall.Close, fd);
    }

    // ---- look-up ----

    private enum Place
    {
        Upper,
        Lower,
        Nowhere,
    }

    // Which layer answers for a path. `node` is the path's own node, where it has one.
    private Place Find(ReadOnlySpan<byte> path, out OverlayNode? node, out bool isLast)
    {
        node = _top;
        isLast = true;
        while (NextName(ref path, out var name))
        {
            // Below a file or a link: the host kernel has the right error for it (ENOTDIR, ELOOP).
            if (node.Kind != OverlayKind.Directory) return Place.Upper;
            var child = node.Child(name);
            isLast = path.IsEmpty;
            if (child == null)
            {
                var place = node.Opaque ? Place.Nowhere : Place.Lower;
                node = null;
                return place;
            }
            if (child.Kind == OverlayKind.Whiteout)
            {
                node = child;
                return Place.Nowhere;
            }
            node = child;
        }
        return Place.Upper;
    }

    private static bool NextName(ref ReadOnlySpan<byte> path, out ReadOnlySpan<byte> name)
    {
        path = path.TrimStart((byte)'/');
        int end = path.IndexOf((byte)'/');
        name = end < 0 ? path : path[..end];
        path = end < 0 ? default : path[end..].TrimStart((byte)'/');
        return !name.IsEmpty;
    }

    // Paths with dots are for the walker: which layer they lead through depends on links.
    private static bool IsPlain(ReadOnlySpan<byte> path)
    {
        for (int start = 0; start < path.Length;)
        {
            int dot = path[start..].IndexOf((byte)'.');
            if (dot < 0) return true;
            dot += start;
            int end = dot + 1;
            while (end < path.Length && path[end] == '.') end++;
            if ((dot == 0 || path[dot - 1] == '/') && (end == path.Length || path[end] == '/') && end - dot <= 2) return false;
            start = end;
        }
        return true;
    }

    private static int ParentLength(ReadOnlySpan<byte> path)
    {
        int end = path.Length;
        while (end > 0 && path[end - 1] == '/') end--;
        return Math.Max(0, path[..end].LastIndexOf((byte)'/'));
    }

    // The last component with its trailing slashes, which mean "a directory".
    private static ReadOnlySpan<byte> Leaf(ReadOnlySpan<byte> path) => path[ParentLength(path)..].TrimStart((byte)'/');

    private static ReadOnlySpan<byte> Trim(ReadOnlySpan<byte> path) => path.TrimEnd((byte)'/');

    private long OpenIn(int layer, ReadOnlySpan<byte> path, int flags, uint mode = 0)
    {
        using var name = HostName.Of(path.IsEmpty ? "."u8 : path);
        return HostFileSystem.OpenAt2(layer, name.Address, flags | OpenFlags.CloseOnExec, mode, InLayer);
    }

    private long StatIn(int layer, ReadOnlySpan<byte> path, out FileStat stat)
    {
        stat = default;
        long fd = OpenIn(layer, path, OpenFlags.Path | OpenFlags.NoFollow);
        if (fd < 0) return fd;
        long status = FileStat.OfDescriptor((int)fd, out stat);
        HostSyscall.Invoke(HostCall.Close, fd);
        return status;
    }

    // ---- the end of a walk ----

    public override long Finish(in PathRequest request, int baseDescriptor, long address, Span<byte> path, ref PathResult result)
    {
        bool parent = request.Intent == PathIntent.Parent;
        if (!IsPlain(parent ? path[..ParentLength(path)] : path)) return -Errno.ELOOP;
        result.FileSystem = this;
        result.Inside = path;
        switch (request.Intent)
        {
            case PathIntent.Open:
                return Open(request, path, ref result);
            case PathIntent.Parent:
                result.Leaf = address + path.Length - Leaf(path).Length;
                result.Descriptor = -1;
                return CheckDirectory(path[..ParentLength(path)]);
            default:
                return Handle(request, address, path, ref result);
        }
    }

    // Whether a path is a directory without links on the way; where the mirror knows all of it no syscall is needed.
    private long CheckDirectory(ReadOnlySpan<byte> path)
    {
        var place = Find(path, out var node, out _);
        if (place == Place.Nowhere) return -Errno.ENOENT;
        if (place == Place.Upper && node is { Kind: OverlayKind.Directory }) return 0;
        long fd = OpenIn(place == Place.Upper ? _upper : _lower, path, OpenFlags.Path | OpenFlags.Directory);
        if (fd < 0) return fd;
        HostSyscall.Invoke(HostCall.Close, fd);
        return 0;
    }

    private long Handle(in PathRequest request, long address, Span<byte> path, ref PathResult result)
    {
        int flags = OpenFlags.Path | (request.Follow ? 0 : OpenFlags.NoFollow) | request.Flags & OpenFlags.Directory;
        for (int attempt = 0; ; attempt++)
        {
            var place = Find(path, out _, out _);
            if (place == Place.Nowhere) return -Errno.ENOENT;
            long fd = OpenIn(place == Place.Upper ? _upper : _lower, path, flags);
            if (fd < 0) return fd;
            if (place == Place.Lower && (request.Modifies || request.Watches) && attempt < 3)
            {
                if (request.Modifies || FileStat.OfDescriptor((int)fd, out var stat) == 0 && (stat.Mode & FileType.Mask) == FileType.Directory)
                {
                    HostSyscall.Invoke(HostCall.Close, fd);
                    long copied = CopyUp(Trim(path), request.Caller);
                    if (copied < 0) return copied;
                    continue;
                }
            }
            result.Lower = place == Place.Lower;
            result.Descriptor = (int)fd;
            result.Owned = true;
            result.Leaf = address + path.Length;
            result.AtFlags = At.EmptyPath;
            return 0;
        }
    }

    private long Open(in PathRequest request, Span<byte> path, ref PathResult result)
    {
        int flags = request.Flags;
        if ((flags & OpenFlags.Path) != 0)
        {
            long status = Handle(request, 0, path, ref result);
            result.AtFlags = 0;
            return status;
        }
        bool temporary = (flags & OpenFlags.TmpFileBit) != 0;
        bool creates = !temporary && (flags & OpenFlags.Create) != 0, exclusive = creates && (flags & OpenFlags.Exclusive) != 0;
        bool writes = !temporary && ((flags & OpenFlags.AccessMode) != OpenFlags.ReadOnly || (flags & OpenFlags.Truncate) != 0);
        if (creates && path.Length > 0 && path[^1] == '/') return -Errno.EISDIR;
        for (int attempt = 0; attempt < 100; attempt++)
        {
            var place = Find(path, out var node, out bool isLast);
            long fd = -Errno.ENOENT;
            if (temporary)
            {
                if (place == Place.Nowhere) return fd;
                if (place == Place.Lower && CopyUp(Trim(path), request.Caller) is < 0 and var failed) return failed;
                using var owner = _owners.Real ? HostOwner.As(Who(request.Caller)) : default;
                fd = OpenIn(_upper, path, flags, request.Mode);
                if (fd >= 0 && !_owners.Real) _owners.Made((int)fd, FileType.Regular | request.Mode, Who(request.Caller));
                return Opened(request, fd, false, ref result);
            }
            if (place == Place.Upper)
            {
                if (exclusive && node != null && isLast) return -Errno.EEXIST;
                fd = OpenIn(_upper, path, flags & ~(OpenFlags.Create | OpenFlags.Exclusive));
                if (fd == -Errno.ENOENT && creates && node != null) continue;
            }
            else if (place == Place.Lower)
            {
                if (exclusive || writes)
                {
                    long status = StatIn(_lower, path, out var stat);
                    if (status == 0 && exclusive) return -Errno.EEXIST;
                    if (status == 0 && writes)
                    {
                        uint type = stat.Mode & FileType.Mask;
                        if (type == FileType.Directory) return -Errno.EISDIR;
                        if (type == FileType.Link) return -Errno.ELOOP;
                        status = CopyUp(Trim(path), request.Caller, truncate: (flags & OpenFlags.Truncate) != 0);
                        if (status == 0) continue;
                    }
                    fd = status;
                }
                else
                {
                    fd = OpenIn(_lower, path, flags & ~OpenFlags.Create);
                }
            }
            else if (!isLast)
            {
                return fd;
            }
            if (fd == -Errno.ENOENT && creates)
            {
                fd = Create(request, path);
                if (fd == -Errno.EEXIST && !exclusive) continue;
                place = Place.Upper;
            }
            else if (fd >= 0 && creates && (flags & OpenFlags.AccessMode) == OpenFlags.ReadOnly && FileStat.OfDescriptor((int)fd, out var opened) == 0
                && (opened.Mode & FileType.Mask) == FileType.Directory)
            {
                HostSyscall.Invoke(HostCall.Close, fd);
                return -Errno.EISDIR;
            }
            return Opened(request, fd, place == Place.Lower, ref result);
        }
        return -Errno.ENOENT;
    }

    private static long Opened(in PathRequest request, long fd, bool lower, ref PathResult result)
    {
        if (fd < 0) return fd;
        result.Descriptor = (int)fd;
        result.Owned = true;
        result.Lower = lower;
        return 0;
    }

    /// <summary>What an open file of this overlay has to remember: directories their path, files of the lower layer that they are.</summary>
    public FileLayer? LayerOf(in PathResult result)
    {
        if (FileStat.OfDescriptor(result.Descriptor, out var stat) >= 0 && (stat.Mode & FileType.Mask) == FileType.Directory)
            return new FileLayer(this, result.Lower) { Path = Trim(result.Inside).ToArray(), Renames = Volatile.Read(ref _renames) };
        return result.Lower ? _lowerFile.Copy() : null;
    }

    /// <summary>Directories renamed since the start: older paths may be wrong.</summary>
    public int Renames => Volatile.Read(ref _renames);

    /// <summary>Marks an open file as one of the lower layer.</summary>
    public FileLayer LowerLayer() => new(this, lower: true);

    private static Credentials Who(GuestProcess? caller) => caller?.Credentials ?? RootCredentials;

    private static readonly Credentials RootCredentials = Credentials.Of(0, 0);

    // ---- links ----

    public override int ReadLink(in PathRequest request, bool last, long address, Span<byte> path, Span<byte> target, long targetAddress)
    {
        if (path.IsEmpty) return 0;
        var place = Find(path, out var node, out _);
        if (place == Place.Nowhere) return -Errno.ENOENT;
        if (place == Place.Upper && node is { Kind: OverlayKind.Directory }) return 0;
        if (place == Place.Lower && _lowerLinks.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(path, out byte[]? known))
        {
            known.CopyTo(target);
            return known.Length;
        }
        long fd = OpenIn(place == Place.Upper ? _upper : _lower, path, OpenFlags.Path | OpenFlags.NoFollow);
        if (fd < 0) return (int)fd;
        long length = HostSyscall.Invoke(HostCall.ReadLinkAt, fd, address + path.Length, targetAddress, target.Length);
        HostSyscall.Invoke(HostCall.Close, fd);
        if (length is -Errno.EINVAL or -Errno.ENOENT) length = 0;
        if (place == Place.Lower && length >= 0 && !last && _lowerLinks.Count < KnownLinks) _lowerLinks.TryAdd(path.ToArray(), target[..(int)length].ToArray());
        return (int)length;
    }
}
