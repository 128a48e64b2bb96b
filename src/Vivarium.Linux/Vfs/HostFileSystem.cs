using System.Buffers.Binary;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>A directory of the host as a file system.</summary>
/// <remarks>
/// Confined (<c>--root</c>), every walk is an openat2 with RESOLVE_NO_SYMLINKS and RESOLVE_IN_ROOT or RESOLVE_BENEATH: the host kernel
/// guarantees, race-free, that neither <c>..</c>, nor links, nor renames at the same time lead out. A path with links fails with ELOOP and the
/// walker reads them one by one, in the guest's tree. Unconfined (the host's own tree), the kernel follows links itself.
/// </remarks>
internal sealed class HostFileSystem : FileSystem
{
    private const int RacesEndured = 200;
    private readonly int _root;
    private readonly DirectoryCache? _directories;

    /// <param name="root">O_PATH descriptor of the root directory, owned.</param>
    /// <param name="confined">Nothing outside is reachable.</param>
    /// <param name="readOnly">Nothing in it can be changed.</param>
    public HostFileSystem(int root, bool confined, bool readOnly = false)
    {
        _root = root;
        Confined = confined;
        ReadOnly = readOnly;
        Layer = new FileLayer(this, lower: false);
        _directories = confined ? new DirectoryCache(root) : null;
    }

    public bool ReadOnly { get; set; }

    /// <summary>The root is no directory: a single file of the host is mounted.</summary>
    public bool IsFile { get; init; }

    /// <summary>Set for a bounded tmpfs.</summary>
    public TemporarySpace? Space { get; init; }

    /// <summary>Owners as guests see them, or null.</summary>
    public Ownership? Owners { get; set; }

    /// <summary>What open files remember where this is not the realm's root.</summary>
    public FileLayer Layer { get; }

    public override void Close()
    {
        _directories?.Close();
        HostSyscall.Invoke(HostCall.Close, _root);
    }

    // The host kernel knows better whether two of its directories are of one file system.
    public override bool SharesNames(FileSystem other) => other is HostFileSystem;

    public bool Confined { get; }

    /// <summary>O_PATH descriptor of the root directory.</summary>
    public int RootDescriptor => _root;

    public override long Finish(in PathRequest request, int baseDescriptor, long address, Span<byte> path, ref PathResult result)
    {
        bool fromRoot = baseDescriptor == -1;
        int from = fromRoot ? _root : baseDescriptor;
        result.FileSystem = this;
        if (ReadOnly) return FinishReadOnly(request, from, fromRoot, address, path, ref result);
        if (path.IsEmpty && request.Intent != PathIntent.Parent) return FinishHere(request, from, address, ref result);
        return Confined ? FinishConfined(request, from, fromRoot, address, path, ref result) : FinishUnconfined(request, from, address, ref result);
    }

    // The path is the base itself: "." without the walk.
    private long FinishHere(in PathRequest request, int from, long address, ref PathResult result)
    {
        if (IsFile && from == _root) return FinishFile(request, address, ref result);
        using var dot = HostScratch.Rent(2);
        dot.Span[0] = (byte)'.';
        dot.Span[1] = 0;
        _ = address;
        int flags = request.Intent == PathIntent.Open ? request.Flags : OpenFlags.Path | request.Flags & OpenFlags.Directory;
        using var owner = Owners is { Real: true } && (flags & OpenFlags.TmpFileBit) != 0 && request.Caller != null ? HostOwner.As(request.Caller.Credentials) : default;
        long fd = HostSyscall.Invoke(HostCall.OpenAt, from, dot.Address, flags | OpenFlags.CloseOnExec, request.Mode);
        return Opened(request, fd, address, ref result);
    }

    private static long FinishUnconfined(in PathRequest request, int from, long address, ref PathResult result)
    {
        switch (request.Intent)
        {
            case PathIntent.Open:
                long fd = request.Resolve == 0
                    ? Open(from, address, request.Flags | OpenFlags.CloseOnExec, request.Mode)
                    : OpenAt2(from, address, request.Flags | OpenFlags.CloseOnExec, request.Mode, request.Resolve);
                return Opened(request, fd, address, ref result);
            case PathIntent.Handle:
                int flags = OpenFlags.Path | OpenFlags.CloseOnExec | (request.Follow ? 0 : OpenFlags.NoFollow) | request.Flags & OpenFlags.Directory;
                return Opened(request, HostSyscall.Invoke(HostCall.OpenAt, from, address, flags), address, ref result);
            case PathIntent.At:
                result.Descriptor = from;
                result.Leaf = address;
                result.AtFlags = request.Follow ? 0 : At.SymlinkNoFollow;
                return 0;
            default:
                result.Descriptor = from;
                result.Leaf = address;
                return 0;
        }
    }

    private long FinishFile(in PathRequest request, long address, ref PathResult result)
    {
        int flags = request.Intent == PathIntent.Open ? request.Flags & ~(OpenFlags.NoFollow | OpenFlags.Create | OpenFlags.Exclusive) : OpenFlags.Path | request.Flags & OpenFlags.Directory;
        using var name = HostName.OfDescriptor(_root);
        return Opened(request, HostThread.Current.BlockingSyscall(HostCall.OpenAt, At.FdCwd, name.Address, flags | OpenFlags.CloseOnExec, request.Mode), address, ref result);
    }

    // Refuses what would change something, with the errors that come before that one.
    private long FinishReadOnly(in PathRequest request, int from, bool fromRoot, long address, Span<byte> path, ref PathResult result)
    {
        const int changing = OpenFlags.Create | OpenFlags.Truncate | OpenFlags.TmpFileBit;
        bool opens = request.Intent == PathIntent.Open && (request.Flags & OpenFlags.Path) == 0;
        bool changes = opens ? (request.Flags & (OpenFlags.AccessMode | changing)) != 0 : request.Modifies;
        if (!changes && request.Intent != PathIntent.Parent)
            return path.IsEmpty ? FinishHere(request, from, address, ref result) : FinishConfined(request, from, fromRoot, address, path, ref result);
        if (request.Intent == PathIntent.Parent)
        {
            if (path.IsEmpty) return -Errno.EBUSY;
            long found = FinishConfined(request, from, fromRoot, address, path, ref result);
            if (found < 0) return found;
            return FileStat.OfPath(result.Descriptor, result.Leaf, At.SymlinkNoFollow, out _) == 0 ? -Errno.EEXIST : -Errno.EROFS;
        }
        var look = new PathRequest(PathIntent.Handle, request.Follow) { Flags = request.Flags & OpenFlags.Directory, Caller = request.Caller };
        long status = path.IsEmpty ? FinishHere(look, from, address, ref result) : FinishConfined(look, from, fromRoot, address, path, ref result);
        if (status == -Errno.ENOENT && (request.Flags & OpenFlags.Create) != 0 && opens)
        {
            status = FinishConfined(new PathRequest(PathIntent.Parent), from, fromRoot, address, path, ref result);
            return status < 0 ? status : -Errno.EROFS;
        }
        if (status < 0 || !opens) return status < 0 ? status : -Errno.EROFS;
        FileStat.OfDescriptor(result.Descriptor, out var stat);
        uint type = stat.Mode & FileType.Mask;
        if ((request.Flags & (OpenFlags.Create | OpenFlags.Exclusive)) == (OpenFlags.Create | OpenFlags.Exclusive)) return -Errno.EEXIST;
        if ((request.Flags & OpenFlags.TmpFileBit) != 0) return -Errno.EROFS;
        bool writes = (request.Flags & (OpenFlags.AccessMode | OpenFlags.Truncate)) != 0;
        if (writes && type == FileType.Directory) return -Errno.EISDIR;
        if (writes && type == FileType.Regular) return -Errno.EROFS;
        result.Dispose();
        var open = new PathRequest(PathIntent.Open, request.Follow) { Flags = request.Flags & ~changing, Caller = request.Caller };
        return path.IsEmpty ? FinishHere(open, from, address, ref result) : FinishConfined(open, from, fromRoot, address, path, ref result);
    }

    private long FinishConfined(in PathRequest request, int from, bool fromRoot, long address, Span<byte> path, ref PathResult result)
    {
        ulong resolve = ResolveFlags.NoSymlinks | ResolveFlags.NoMagicLinks | (fromRoot ? ResolveFlags.InRoot : ResolveFlags.Beneath);
        switch (request.Intent)
        {
            case PathIntent.Open:
                return Opened(request, OpenConfined(request, from, address, resolve), address, ref result);
            case PathIntent.At when request.Probe && IsPlainName(path):
                // The host follows nothing on the way to a name in an open directory.
                result.Descriptor = from;
                result.Leaf = address;
                result.AtFlags = At.SymlinkNoFollow;
                result.MayBeLink = true;
                return 0;
            case PathIntent.At when request.Probe && fromRoot && SplitPlain(path, out int leaf) && _directories!.Acquire(path[..(leaf - 1)]) is { } directory:
                result.Descriptor = directory.HostDescriptor;
                result.Lender = directory;
                result.Leaf = address + leaf;
                result.AtFlags = At.SymlinkNoFollow;
                result.MayBeLink = true;
                return 0;
            case PathIntent.Handle:
            case PathIntent.At:
                int flags = OpenFlags.Path | OpenFlags.CloseOnExec | (request.Follow ? 0 : OpenFlags.NoFollow) | request.Flags & OpenFlags.Directory;
                return Opened(request, OpenAt2(from, address, flags, 0, resolve), address + path.Length, ref result);
            default:
                if (fromRoot && SplitPlain(path, out int last) && _directories!.Acquire(path[..(last - 1)]) is { } above)
                {
                    result.Descriptor = above.HostDescriptor;
                    result.Lender = above;
                    result.Leaf = address + last;
                    if (!DirectoryCache.IsGone(above.HostDescriptor)) return 0;
                    result.Dispose();
                }
                return Parent(from, address, path, resolve, ref result);
        }
    }

    // A name in a directory below the root, without slashes behind it.
    private static bool SplitPlain(ReadOnlySpan<byte> path, out int leaf)
    {
        leaf = path.LastIndexOf((byte)'/') + 1;
        return leaf > 1 && leaf < path.Length && IsPlainName(path[leaf..]);
    }

    private static bool IsPlainName(ReadOnlySpan<byte> path) => !path.Contains((byte)'/') && !path.SequenceEqual("."u8) && !path.SequenceEqual(".."u8);

    private long OpenConfined(in PathRequest request, int from, long address, ulong resolve)
    {
        int flags = request.Flags | OpenFlags.CloseOnExec;
        if (Owners == null || request.Caller == null || (flags & (OpenFlags.Create | OpenFlags.TmpFileBit)) == 0 || (flags & OpenFlags.Path) != 0)
            return OpenAt2(from, address, flags, request.Mode, resolve);
        if (Owners.Real)
        {
            using var owner = HostOwner.As(request.Caller.Credentials);
            return OpenAt2(from, address, flags, request.Mode, resolve);
        }
        if (!Owners.NeedsCare(FileType.Regular, request.Mode & ~(uint)request.Caller.Fs.Umask, request.Caller.Credentials)) return OpenAt2(from, address, flags, request.Mode, resolve);
        // Whether the file is new must be known.
        for (int attempt = 0; attempt < 100; attempt++)
        {
            bool temporary = (flags & OpenFlags.TmpFileBit) != 0;
            long fd = OpenAt2(from, address, temporary ? flags : flags | OpenFlags.Exclusive, request.Mode, resolve);
            if (fd >= 0)
            {
                if (FileStat.OfDescriptor((int)fd, out var stat) >= 0) Owners.Made((int)fd, stat.Mode, request.Caller.Credentials);
                return fd;
            }
            if (fd != -Errno.EEXIST || (flags & OpenFlags.Exclusive) != 0) return fd;
            fd = OpenAt2(from, address, flags & ~OpenFlags.Create, request.Mode, resolve);
            if (fd != -Errno.ENOENT) return fd;
        }
        return -Errno.ENOENT;
    }

    public override long MakeName(in PathResult at, GuestProcess? caller, uint type, NameMaker maker)
    {
        if (Owners is { Real: true } && caller != null && type is not (FileType.Character or FileType.Block))
        {
            using var owner = HostOwner.As(caller.Credentials);
            return maker(at.Descriptor, at.Leaf);
        }
        long status = maker(at.Descriptor, at.Leaf);
        if (status < 0 || Owners == null || caller == null || Owners.Real && caller.Credentials is { FsUid: 0, FsGid: 0 }) return status;
        long fd = HostSyscall.Invoke(HostCall.OpenAt, at.Descriptor, at.Leaf, OpenFlags.Path | OpenFlags.NoFollow | OpenFlags.CloseOnExec);
        if (fd < 0) return status;
        if (FileStat.OfDescriptor((int)fd, out var stat) >= 0) Owners.Made((int)fd, stat.Mode, caller.Credentials);
        HostSyscall.Invoke(HostCall.Close, fd);
        return status;
    }

    public override long RenameName(in PathResult from, in PathResult to, GuestProcess? caller, ulong flags)
    {
        long status = base.RenameName(from, to, caller, flags);
        if (status < 0 || Owners == null) return status;
        DeviceNames.Renamed(from.Descriptor, to.Descriptor);
        if ((flags & 2 /* RENAME_EXCHANGE */) != 0) DeviceNames.Renamed(to.Descriptor, from.Descriptor);
        return status;
    }

    private static long Opened(in PathRequest request, long fd, long emptyString, ref PathResult result)
    {
        if (fd < 0) return fd;
        result.Descriptor = (int)fd;
        result.Owned = true;
        if (request.Intent == PathIntent.At)
        {
            result.Leaf = emptyString;
            result.AtFlags = At.EmptyPath;
        }
        return 0;
    }

    // Splits off the last component (with its trailing slashes, which mean "a directory") and opens what stands before it.
    private static long Parent(int from, long address, Span<byte> path, ulong resolve, ref PathResult result)
    {
        int end = path.Length;
        while (end > 0 && path[end - 1] == '/') end--;
        int slash = path[..end].LastIndexOf((byte)'/');
        result.Leaf = address + slash + 1;
        if (slash < 0)
        {
            result.Descriptor = from;
            return 0;
        }
        path[slash] = 0;
        long fd = OpenAt2(from, address, OpenFlags.Path | OpenFlags.Directory | OpenFlags.CloseOnExec, 0, resolve);
        path[slash] = (byte)'/';
        if (fd < 0) return fd;
        result.Descriptor = (int)fd;
        result.Owned = true;
        return 0;
    }

    public override int ReadLink(in PathRequest request, bool last, long address, Span<byte> path, Span<byte> target, long targetAddress)
    {
        if (path.IsEmpty) return 0;
        long fd = OpenAt2(_root, address, OpenFlags.Path | OpenFlags.NoFollow | OpenFlags.CloseOnExec, 0,
            Confined ? ResolveFlags.NoSymlinks | ResolveFlags.InRoot | ResolveFlags.NoMagicLinks : ResolveFlags.InRoot);
        if (fd < 0) return (int)fd;
        long length = HostSyscall.Invoke(HostCall.ReadLinkAt, fd, address + path.Length, targetAddress, target.Length);
        HostSyscall.Invoke(HostCall.Close, fd);
        return length is -Errno.EINVAL or -Errno.ENOENT ? 0 : (int)length;
    }

    private static long Open(int from, long address, int flags, uint mode)
    {
        if ((flags & OpenFlags.Path) != 0 || !MayBlock(flags)) return HostSyscall.Invoke(HostCall.OpenAt, from, address, flags, mode);
        return HostThread.Current.BlockingSyscall(HostCall.OpenAt, from, address, flags, mode);
    }

    // A fifo blocks in open until its other end comes. (O_NONBLOCK never does.)
    private static bool MayBlock(int flags) => (flags & (OpenFlags.NonBlock | OpenFlags.Directory)) == 0;

    internal static long OpenAt2(int from, long address, int flags, uint mode, ulong resolve)
    {
        using var how = HostScratch.Rent(24);
        // openat2 refuses what openat ignores: unknown bits, and a mode without O_CREAT or O_TMPFILE.
        int known = (flags & OpenFlags.Path) != 0 ? flags & OpenFlags.KnownWithPath : flags & OpenFlags.Known;
        bool creates = (known & (OpenFlags.Create | OpenFlags.TmpFileBit)) != 0;
        BinaryPrimitives.WriteUInt64LittleEndian(how.Span, (ulong)known);
        BinaryPrimitives.WriteUInt64LittleEndian(how.Span[8..], creates ? mode & 0xFFF : 0);
        BinaryPrimitives.WriteUInt64LittleEndian(how.Span[16..], resolve);
        bool blocks = (known & OpenFlags.Path) == 0 && MayBlock(known);
        for (int race = 0; ; race++)
        {
            long fd = blocks
                ? HostThread.Current.BlockingSyscall(HostCall.OpenAt2, from, address, how.Address, 24)
                : HostSyscall.Invoke(HostCall.OpenAt2, from, address, how.Address, 24);
            // A rename or mount elsewhere while ".." was walked: the kernel asks us to try again.
            if (fd != -Errno.EAGAIN || race >= RacesEndured) return fd;
        }
    }
}
