using System.Text;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>The tree that guest paths are resolved in: a root file system and what is mounted on it. Shared by the processes of a realm.</summary>
/// <remarks>Thread-safe once built. The walk itself is in <c>PathWalker.cs</c>.</remarks>
public sealed partial class NameSpace : IDisposable
{
    private readonly List<Mount> _mounts = [];
    private readonly HostFileSystem _root;
    private readonly string _rootPath;

    private readonly record struct Mount(byte[] Path, FileSystem FileSystem);

    private NameSpace(HostFileSystem root, string rootPath)
    {
        _root = root;
        _rootPath = rootPath;
    }

    /// <summary>Nothing of the host outside the root directory is reachable.</summary>
    public bool Confined => _root.Confined;

    /// <summary>A private host directory behind <c>/dev/shm</c>, removed by <see cref="Dispose"/>; null where the host's own is seen.</summary>
    internal string? SharedMemoryDirectory { get; set; }

    /// <summary>Pseudo-terminal numbers the guests opened: what <c>/dev/pts</c> shows of the host's.</summary>
    internal System.Collections.Concurrent.ConcurrentDictionary<int, byte> Terminals { get; } = new();

    /// <summary>Record locks (F_SETLK), which belong to guest processes.</summary>
    internal RecordLocks Locks { get; } = new();

    /// <summary>Guest addresses of UNIX sockets that are bound on the host under another name.</summary>
    internal System.Collections.Concurrent.ConcurrentDictionary<string, byte[]> SocketNames { get; } = new();

    /// <summary>The host's own tree, with the guest's view of itself in <c>/proc</c> and <c>/dev</c>.</summary>
    public static NameSpace HostTree()
    {
        var space = new NameSpace(new HostFileSystem(OpenDirectory("/"), confined: false), "/");
        space.Add("proc", new SyntheticFileSystem(ProcFileSystem.Create(hostTree: true)));
        foreach (var (name, node) in DeviceFileSystem.DescriptorLinks()) space.Add("dev/" + name, new SyntheticFileSystem(node));
        return space;
    }

    /// <summary>A host directory as the whole tree, with synthetic <c>/proc</c>, <c>/dev</c> and <c>/sys</c>.</summary>
    /// <exception cref="IOException">The directory cannot be opened; the message is for people.</exception>
    public static NameSpace RootDirectory(string directory)
    {
        int root = OpenDirectory(directory);
        var space = new NameSpace(new HostFileSystem(root, confined: true), HostPaths.Describe(root, null));
        space.Add("proc", new SyntheticFileSystem(ProcFileSystem.Create(hostTree: false)));
        space.Add("dev", new SyntheticFileSystem(DeviceFileSystem.Create(space)));
        space.Add("sys", new SyntheticFileSystem(SysFileSystem.Create()));
        space.Add("dev/shm", new SharedMemoryFileSystem(space));
        return space;
    }

    /// <summary>A host path below the root as the guest sees it; unchanged for <c>pipe:[1]</c> and the like.</summary>
    internal string FromHostPath(string path)
    {
        if (!path.StartsWith('/')) return path;
        if (SharedMemoryDirectory != null && Below(path, SharedMemoryDirectory)) return "/dev/shm" + path[SharedMemoryDirectory.Length..];
        if (_rootPath == "/") return path;
        if (path == _rootPath) return "/";
        return Below(path, _rootPath) ? path[_rootPath.Length..] : Confined && !path.StartsWith("/dev/", StringComparison.Ordinal) ? "(unreachable)" + path : path;
    }

    private static bool Below(string path, string directory) => path.StartsWith(directory, StringComparison.Ordinal)
        && (path.Length == directory.Length || path[directory.Length] == '/');

    private void Add(string path, FileSystem fileSystem) => _mounts.Add(new Mount(Encoding.Latin1.GetBytes(path), fileSystem));

    internal static int OpenDirectory(string path)
    {
        var bytes = Encoding.UTF8.GetBytes(path);
        using var scratch = HostScratch.Rent(bytes.Length + 1);
        bytes.CopyTo(scratch.Span);
        scratch.Span[bytes.Length] = 0;
        long fd = HostSyscall.Invoke(HostCall.OpenAt, At.FdCwd, scratch.Address, OpenFlags.Path | OpenFlags.Directory | OpenFlags.CloseOnExec);
        if (fd >= 0) return (int)fd;
        throw new IOException($"cannot use '{path}' as a directory: {Reason((int)-fd)}");
    }

    internal static string Reason(int errno) => errno switch
    {
        Errno.ENOENT => "no such directory",
        Errno.ENOTDIR => "not a directory",
        Errno.EACCES => "permission denied",
        _ => $"errno {errno}",
    };

    /// <summary>A new realm-owned tree is gone: closes the root and removes the private shared-memory directory.</summary>
    public void Dispose()
    {
        HostSyscall.Invoke(HostCall.Close, _root.RootDescriptor);
        if (SharedMemoryDirectory == null) return;
        try
        {
            Directory.Delete(SharedMemoryDirectory, recursive: true);
        }
        catch (IOException)
        {
            // Somebody else is still writing there; /dev/shm is memory, the next boot clears it.
        }
    }
}
