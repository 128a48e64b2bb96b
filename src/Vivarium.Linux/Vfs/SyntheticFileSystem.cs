using System.Text;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>A file of /proc, /dev or /sys that exists only in our description of it.</summary>
/// <param name="path">Absolute guest path.</param>
/// <param name="mode">File type and permissions.</param>
public abstract class SyntheticNode(string path, uint mode)
{
    public string Path { get; } = path;

    /// <summary>S_IFMT type and permission bits.</summary>
    public uint Mode { get; } = mode;

    internal bool IsDirectory => (Mode & FileType.Mask) == FileType.Directory;
    internal bool IsLink => (Mode & FileType.Mask) == FileType.Link;

    /// <summary>A number that stays the same for the same path.</summary>
    internal ulong Inode
    {
        get
        {
            ulong hash = 14695981039346656037;
            foreach (char c in Path) hash = (hash ^ c) * 1099511628211;
            return hash >> 24 | 1;
        }
    }

    /// <summary>Directory: the child, or null.</summary>
    internal virtual SyntheticNode? Lookup(string name, GuestProcess? caller) => null;

    /// <summary>Directory: all children.</summary>
    internal virtual IEnumerable<SyntheticNode> List(GuestProcess? caller) => [];

    /// <summary>Symbolic link: its text.</summary>
    internal virtual string? Target(GuestProcess? caller) => null;

    /// <summary>A link like /proc/self/fd/N that leads to an open file, not to a name: that file with a reference for the caller.</summary>
    internal virtual OpenFile? Opened(GuestProcess? caller) => null;

    /// <summary>Device: the host path that stands for it.</summary>
    internal virtual string? HostPath => null;

    /// <summary>Regular file: what it holds at this moment.</summary>
    internal virtual byte[] Contents(GuestProcess? caller) => [];

    /// <summary>Regular file: writes to it go to <see cref="Accept"/>.</summary>
    internal virtual bool TakesWrites => false;

    /// <summary>One write: 0 or negative errno.</summary>
    internal virtual long Accept(GuestProcess caller, string text) => 0;

    internal FileStat Stat(GuestProcess? caller)
    {
        var now = DateTimeOffset.UtcNow;
        long seconds = now.ToUnixTimeSeconds();
        return new FileStat
        {
            Device = 0x15,
            Inode = Inode,
            Mode = Mode,
            Links = IsDirectory ? 2u : 1u,
            Uid = caller?.Credentials.EffectiveUid ?? 0,
            Gid = caller?.Credentials.EffectiveGid ?? 0,
            BlockSize = 1024,
            Size = IsLink ? Encoding.Latin1.GetByteCount(Target(caller) ?? "") : 0,
            AccessSeconds = seconds,
            ModifySeconds = seconds,
            ChangeSeconds = seconds,
        };
    }

    internal string NameOf => Path[(Path.LastIndexOf('/') + 1)..];
}

/// <summary>Where a directory of synthetic nodes is being read: the names are taken at the first read.</summary>
internal sealed class SyntheticDirectoryStream
{
    public readonly Lock Lock = new();
    public List<(string Name, ulong Inode, byte Type)>? Entries;
    public int Position;
}

/// <summary>A tree of synthetic nodes as a file system. Opening a file makes a memfd with the contents of that moment.</summary>
internal sealed class SyntheticFileSystem(SyntheticNode root) : FileSystem
{
    // Nothing can be made here: procfs says that there is no such file, others that they cannot be written to.
    private readonly int _refusal = root.Path.StartsWith("/proc", StringComparison.Ordinal) ? -Errno.ENOENT : -Errno.EROFS;

    public override long Finish(in PathRequest request, int baseDescriptor, long address, Span<byte> path, ref PathResult result)
    {
        var node = Find(path, request.Caller, out bool parentExists);
        if (request.Intent == PathIntent.Parent) return node != null ? -Errno.EEXIST : parentExists ? _refusal : -Errno.ENOENT;
        if (node == null) return parentExists && (request.Flags & OpenFlags.Create) != 0 ? _refusal : -Errno.ENOENT;
        if (!path.IsEmpty && path[^1] == '/' && !node.IsDirectory && !node.IsLink) return -Errno.ENOTDIR;
        if (node.IsLink)
        {
            if (request.Follow && node.Opened(request.Caller) is { } opened) return FinishOpened(request, opened, address + path.Length, ref result);
            if (request.Intent == PathIntent.Open && (request.Flags & OpenFlags.Path) == 0) return -Errno.ELOOP;
        }
        result.IsDevice = node.HostPath != null;
        if (node.HostPath is { } hostPath) return FinishHost(request, hostPath, address, path, ref result);
        result.Node = node;
        result.Descriptor = -1;
        if ((request.Flags & OpenFlags.Directory) != 0 && !node.IsDirectory) return -Errno.ENOTDIR;
        return request.Intent == PathIntent.Open ? Open(request, node, ref result) : 0;
    }

    private static long FinishOpened(in PathRequest request, OpenFile opened, long emptyString, ref PathResult result)
    {
        result.Node = opened.Node;
        bool changes = request.Modifies || request.Intent == PathIntent.Open && (request.Flags & OpenFlags.Path) == 0 && (request.Flags & (OpenFlags.AccessMode | OpenFlags.Truncate)) != 0;
        if (changes && request.Caller != null && opened.PrepareChange(request.Caller) is < 0 and var refused)
        {
            opened.Release();
            return refused;
        }
        result.Layer = opened.Layer?.Copy();
        if (request.Intent != PathIntent.Open)
        {
            result.Descriptor = opened.HostDescriptor;
            result.Lender = opened;
            result.Leaf = emptyString;
            result.AtFlags = At.EmptyPath;
            return 0;
        }
        long fd = Reopen(opened.HostDescriptor, request.Flags, request.Mode);
        opened.Release();
        if (fd < 0) return fd;
        result.Descriptor = (int)fd;
        result.Owned = true;
        return 0;
    }

    internal static long Reopen(int descriptor, int flags, uint mode)
    {
        using var scratch = HostScratch.Rent(32);
        HostPaths.WriteLinkName(descriptor, scratch.Span);
        return HostThread.Current.BlockingSyscall(HostCall.OpenAt, At.FdCwd, scratch.Address, (flags & ~OpenFlags.NoFollow) | OpenFlags.CloseOnExec, mode);
    }

    // The host's object under a fixed name of ours; the path buffer has room for it.
    private static long FinishHost(in PathRequest request, string hostPath, long address, Span<byte> path, ref PathResult result)
    {
        if (request.Intent == PathIntent.At)
        {
            using var handleName = PathBuffer.From(Encoding.Latin1.GetBytes(hostPath));
            long handle = HostSyscall.Invoke(HostCall.OpenAt, At.FdCwd, handleName.Address, OpenFlags.Path | OpenFlags.CloseOnExec);
            if (handle < 0) return handle;
            result.Descriptor = (int)handle;
            result.Owned = true;
            result.Leaf = address + path.Length;
            result.AtFlags = At.EmptyPath;
            return 0;
        }
        using var name = PathBuffer.From(Encoding.Latin1.GetBytes(hostPath));
        int flags = request.Intent == PathIntent.Handle ? OpenFlags.Path : request.Flags & ~OpenFlags.NoFollow;
        long fd = HostThread.Current.BlockingSyscall(HostCall.OpenAt, At.FdCwd, name.Address, flags | OpenFlags.CloseOnExec, request.Mode);
        if (fd < 0) return fd;
        result.Descriptor = (int)fd;
        result.Owned = true;
        return 0;
    }

    private static long Open(in PathRequest request, SyntheticNode node, ref PathResult result)
    {
        bool writes = (request.Flags & OpenFlags.AccessMode) != OpenFlags.ReadOnly;
        if (node.IsDirectory || (request.Flags & OpenFlags.Path) != 0)
        {
            if (writes && (request.Flags & OpenFlags.Path) == 0) return -Errno.EISDIR;
            result.Descriptor = PlaceHolder();
        }
        else
        {
            if ((request.Flags & (OpenFlags.Create | OpenFlags.Exclusive)) == (OpenFlags.Create | OpenFlags.Exclusive)) return -Errno.EEXIST;
            if (writes && (node.Mode & 0x92) == 0) return -Errno.EACCES;
            long fd = MemoryFile(node.Contents(request.Caller), request.Flags);
            if (fd < 0) return fd;
            result.Descriptor = (int)fd;
        }
        if (result.Descriptor < 0) return result.Descriptor;
        result.Owned = true;
        return 0;
    }

    /// <summary>An open file for a node that only has a name: a directory, or O_PATH.</summary>
    internal static OpenFile Handle(SyntheticNode node, NameSpace space) => new(PlaceHolder(), space, node);

    // A host descriptor that can do nothing: the node answers.
    private static int PlaceHolder()
    {
        using var name = PathBuffer.From("/dev/null"u8);
        return (int)HostSyscall.Invoke(HostCall.OpenAt, At.FdCwd, name.Address, OpenFlags.Path | OpenFlags.CloseOnExec);
    }

    internal static long MemoryFile(ReadOnlySpan<byte> contents, int flags)
    {
        using var buffer = HostScratch.Rent(contents.Length + 16);
        "viv\0"u8.CopyTo(buffer.Span);
        contents.CopyTo(buffer.Span[16..]);
        long memory = HostSyscall.Invoke(HostCall.MemFdCreate, buffer.Address, 1);
        if (memory < 0) return memory;
        for (int done = 0; done < contents.Length;)
        {
            long written = HostSyscall.Invoke(HostCall.Write, memory, buffer.Address + 16 + done, contents.Length - done);
            if (written <= 0) break;
            done += (int)written;
        }
        // Opened anew for the access mode that was asked for, with the offset at 0.
        using var name = HostScratch.Rent(32);
        HostPaths.WriteLinkName((int)memory, name.Span);
        long fd = HostSyscall.Invoke(HostCall.OpenAt, At.FdCwd, name.Address, flags & (OpenFlags.AccessMode | OpenFlags.NonBlock) | OpenFlags.CloseOnExec);
        HostSyscall.Invoke(HostCall.Close, memory);
        return fd;
    }

    public override int ReadLink(in PathRequest request, bool last, long address, Span<byte> path, Span<byte> target, long targetAddress)
    {
        var node = Find(path, request.Caller, out _);
        if (node == null) return -Errno.ENOENT;
        if (!node.IsLink) return last || node.IsDirectory ? 0 : -Errno.ENOTDIR;
        if (last && node.Opened(request.Caller) is { } opened)
        {
            opened.Release();
            return 0;
        }
        var text = Encoding.Latin1.GetBytes(node.Target(request.Caller) ?? "");
        if (text.Length == 0) return -Errno.ENOENT;
        if (text.Length >= target.Length) return -Errno.ENAMETOOLONG;
        text.CopyTo(target);
        return text.Length;
    }

    private SyntheticNode? Find(ReadOnlySpan<byte> path, GuestProcess? caller, out bool parentExists)
    {
        SyntheticNode? node = root;
        parentExists = true;
        while (!(path = path.TrimStart((byte)'/')).IsEmpty)
        {
            if (node == null || !node.IsDirectory)
            {
                parentExists = false;
                return null;
            }
            int end = path.IndexOf((byte)'/');
            var name = end < 0 ? path : path[..end];
            path = end < 0 ? default : path[end..];
            node = node.Lookup(Encoding.Latin1.GetString(name), caller);
        }
        return node;
    }
}
