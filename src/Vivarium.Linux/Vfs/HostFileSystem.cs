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

    /// <param name="root">O_PATH descriptor of the root directory, owned.</param>
    /// <param name="confined">Nothing outside is reachable.</param>
    public HostFileSystem(int root, bool confined)
    {
        _root = root;
        Confined = confined;
    }

    public bool Confined { get; }

    /// <summary>O_PATH descriptor of the root directory.</summary>
    public int RootDescriptor => _root;

    public override long Finish(in PathRequest request, int baseDescriptor, long address, Span<byte> path, ref PathResult result)
    {
        bool fromRoot = baseDescriptor == -1;
        int from = fromRoot ? _root : baseDescriptor;
        if (path.IsEmpty && request.Intent != PathIntent.Parent) return FinishHere(request, from, address, ref result);
        return Confined ? FinishConfined(request, from, fromRoot, address, path, ref result) : FinishUnconfined(request, from, address, ref result);
    }

    // The path is the base itself: "." without the walk.
    private long FinishHere(in PathRequest request, int from, long address, ref PathResult result)
    {
        using var dot = HostScratch.Rent(2);
        dot.Span[0] = (byte)'.';
        dot.Span[1] = 0;
        _ = address;
        int flags = request.Intent == PathIntent.Open ? request.Flags : OpenFlags.Path | request.Flags & OpenFlags.Directory;
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

    private static long FinishConfined(in PathRequest request, int from, bool fromRoot, long address, Span<byte> path, ref PathResult result)
    {
        ulong resolve = ResolveFlags.NoSymlinks | ResolveFlags.NoMagicLinks | (fromRoot ? ResolveFlags.InRoot : ResolveFlags.Beneath);
        switch (request.Intent)
        {
            case PathIntent.Open:
                return Opened(request, OpenAt2(from, address, request.Flags | OpenFlags.CloseOnExec, request.Mode, resolve), address, ref result);
            case PathIntent.Handle:
            case PathIntent.At:
                int flags = OpenFlags.Path | OpenFlags.CloseOnExec | (request.Follow ? 0 : OpenFlags.NoFollow) | request.Flags & OpenFlags.Directory;
                return Opened(request, OpenAt2(from, address, flags, 0, resolve), address + path.Length, ref result);
            default:
                return Parent(from, address, path, resolve, ref result);
        }
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

    private static long OpenAt2(int from, long address, int flags, uint mode, ulong resolve)
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
