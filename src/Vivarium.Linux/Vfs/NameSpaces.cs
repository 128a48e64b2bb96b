using System.Text;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>A host file or directory shown to the guest.</summary>
/// <param name="HostPath">On the host.</param>
/// <param name="GuestPath">Absolute.</param>
/// <param name="ReadOnly">The guest cannot change it.</param>
public sealed record Volume(string HostPath, string GuestPath, bool ReadOnly);

/// <summary>How the tree of a realm is put together.</summary>
public sealed record TreeOptions
{
    /// <summary>Host directory that the guest sees as <c>/</c>; null shows the host's own tree.</summary>
    public string? Root { get; init; }

    /// <summary>Directory that takes all changes (made where missing), so that <see cref="Root"/> stays as it is; null changes the root itself.</summary>
    public string? Upper { get; init; }

    /// <summary>Nothing of the root can be changed.</summary>
    public bool ReadOnly { get; init; }

    public IReadOnlyList<Volume> Volumes { get; init; } = [];

    /// <summary>Guest directories that are memory, gone at the end.</summary>
    public IReadOnlyList<string> TemporaryDirectories { get; init; } = [];

    /// <summary>Guest path of the initial working directory; null is the host's (without a root) or <c>/</c>.</summary>
    public string? WorkingDirectory { get; init; }
}

public sealed partial class NameSpace
{
    /// <summary>The host's own tree, with the guest's view of itself in <c>/proc</c> and <c>/dev</c>.</summary>
    public static NameSpace HostTree()
    {
        var root = new HostFileSystem(OpenDirectory("/"), confined: false);
        var space = new NameSpace(root, confined: false);
        space.AtEnd(root.Close);
        space.Mounts.AddPlace("/", "/");
        space.Mount("proc", new SyntheticFileSystem(ProcFileSystem.Create(hostTree: true)), "proc", "proc", "rw");
        foreach (var (name, node) in DeviceFileSystem.DescriptorLinks()) space.Mount("dev/" + name, new SyntheticFileSystem(node), "devtmpfs", "devtmpfs", "rw");
        return space;
    }

    /// <summary>A host directory as the whole tree, with synthetic <c>/proc</c>, <c>/dev</c> and <c>/sys</c>.</summary>
    /// <exception cref="IOException">The directory cannot be opened; the message is for people.</exception>
    public static NameSpace RootDirectory(string directory) => Create(new TreeOptions { Root = directory });

    /// <summary>The tree that the options describe.</summary>
    /// <exception cref="IOException">A directory cannot be used; the message is for people.</exception>
    public static NameSpace Create(TreeOptions options)
    {
        NameSpace space;
        if (options.Root == null)
        {
            space = HostTree();
        }
        else if (options.Upper != null)
        {
            space = Overlay(options.Root, options.Upper);
        }
        else
        {
            var root = new HostFileSystem(OpenDirectory(options.Root), confined: true, options.ReadOnly);
            space = new NameSpace(root, confined: true) { Description = ("ext4", "viv", options.ReadOnly ? "ro,relatime" : "rw,relatime") };
            root.Owners = space.Owners;
            space.AtEnd(root.Close);
            space.Mounts.AddPlace(HostPaths.Describe(root.RootDescriptor, null), "/");
        }
        try
        {
            if (options.Root != null)
            {
                space.Mount("proc", new SyntheticFileSystem(ProcFileSystem.Create(hostTree: false)), "proc", "proc", "rw,nosuid,nodev,noexec,relatime");
                space.Mount("sys", new SyntheticFileSystem(SysFileSystem.Create()), "sysfs", "sysfs", "ro,nosuid,nodev,noexec,relatime");
                space.Mount("dev", new SyntheticFileSystem(DeviceFileSystem.Create(space)), "devtmpfs", "devtmpfs", "rw,nosuid");
                space.Mount("dev/shm", new TemporaryFileSystem(space, "/dev/shm"), "tmpfs", "tmpfs", "rw,nosuid,nodev");
            }
            foreach (string given in options.TemporaryDirectories)
            {
                int colon = given.LastIndexOf(":size=", StringComparison.Ordinal);
                string directory = (colon < 0 ? given : given[..colon]).Trim('/'), bound = colon < 0 ? "" : given[(colon + 1)..];
                if (!TemporarySpace.TryParse(bound, out ulong? size)) throw new IOException($"cannot mount '{given}': {bound} is no size");
                space.Mount(directory, new TemporaryFileSystem(space, "/" + directory, size: size), "tmpfs", "tmpfs", "rw,nosuid,nodev" + (size == null ? "" : $",size={size / 1024}k"));
            }
            foreach (var volume in options.Volumes) space.Add(volume);
        }
        catch (IOException)
        {
            space.Dispose();
            throw;
        }
        return space;
    }

    private static NameSpace Overlay(string lower, string upper)
    {
        string changes = Path.Combine(upper, "upper"), work = Path.Combine(upper, "work");
        int lowerFd = OpenDirectory(lower);
        try
        {
            Directory.CreateDirectory(changes);
            Directory.CreateDirectory(work);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"cannot use '{upper}' for the changes of a run: {error.Message}");
        }
        int upperFd = OpenDirectory(changes), workFd = OpenDirectory(work);
        string lowerPath = HostPaths.Describe(lowerFd, null);
        // The root directory itself has the mode of the image's.
        if (FileStat.OfDescriptor(lowerFd, out var stat) >= 0 && FileStat.OfDescriptor(upperFd, out var mine) >= 0 && HostDirectory.Read(upperFd).Count == 0)
        {
            using var name = HostName.OfDescriptor(upperFd);
            HostSyscall.Invoke(HostCall.Chmod, name.Address, stat.Mode & 0x1FF | mine.Mode & 0x1C0);
        }
        var owners = new Ownership();
        var overlay = new OverlayFileSystem(lowerFd, upperFd, workFd, owners);
        var space = new NameSpace(overlay, confined: true) { Owners = owners, Description = ("overlay", "overlay", "rw,relatime"), LowerPath = lowerPath };
        space.AtEnd(overlay.Close);
        space.Mounts.AddPlace(lowerPath, "/");
        space.Mounts.AddPlace(HostPaths.Describe(upperFd, null), "/");
        return space;
    }

    private void Mount(string path, FileSystem fileSystem, string type, string source, string options) =>
        Mounts.Add(Encoding.Latin1.GetBytes(path), fileSystem, type, source, options);

    /// <summary>Shows a file or directory of the tree at another place too.</summary>
    internal void BindMount(byte[] source, byte[] target, bool recursive)
    {
        var from = FindMount(source);
        var below = Mounts.All.Where(mount => recursive && mount.Path.Length > source.Length && mount.Path.AsSpan().StartsWith(source)
            && (source.Length == 0 || mount.Path[source.Length] == '/') && !mount.Path.AsSpan().SequenceEqual(target)).ToList();
        var fileSystem = from?.FileSystem ?? _root;
        byte[] inside = from == null ? source : source[Math.Min(from.Path.Length + 1, source.Length)..];
        if (fileSystem is SubtreeFileSystem subtree)
        {
            fileSystem = subtree.Inner;
            inside = inside.Length == 0 ? subtree.Prefix : subtree.Prefix.Length == 0 ? inside : [.. subtree.Prefix, (byte)'/', .. inside];
        }
        var (type, name, options) = from == null ? Description : (from.Type, from.Source, from.Options);
        Mounts.Add(target, new SubtreeFileSystem(fileSystem, inside), type, name, options);
        foreach (var mount in below)
        {
            byte[] rest = mount.Path[(source.Length == 0 ? 0 : source.Length + 1)..];
            Mounts.Add(target.Length == 0 ? rest : [.. target, (byte)'/', .. rest], mount.FileSystem, mount.Type, mount.Source, mount.Options);
        }
    }

    /// <summary>Mounts as this view sees them, the root first where it is one.</summary>
    internal IEnumerable<(Mount Mount, string Path)> VisibleMounts()
    {
        if (_base.Length == 0) yield return (new Mount(20, [], _root, Description.Type, Description.Source, Description.Options), "/");
        foreach (var mount in Mounts.All)
        {
            string path = FromRealmPath(mount.PathText);
            if (path.StartsWith('/')) yield return (mount, path);
        }
    }

    private void Add(Volume volume)
    {
        var guest = Encoding.UTF8.GetBytes(volume.GuestPath.Trim('/'));
        if (guest.Length == 0) throw new IOException($"cannot mount '{volume.HostPath}' as '/': use --root");
        int fd = Open(volume.HostPath, 0);
        FileStat.OfDescriptor(fd, out var stat);
        bool directory = (stat.Mode & FileType.Mask) == FileType.Directory;
        var fileSystem = new HostFileSystem(fd, confined: true, volume.ReadOnly) { IsFile = !directory, Owners = Owners };
        AtEnd(fileSystem.Close);
        string host = HostPaths.Describe(fd, null), path = "/" + Encoding.Latin1.GetString(guest);
        Mounts.Add(guest, fileSystem, "ext4", host, volume.ReadOnly ? "ro,relatime" : "rw,relatime");
        Mounts.AddPlace(host, path);
        if (Confined) MakeMountPoint(guest, directory);
    }

    // Names of mounts appear in their directory: a mount point is made where there is none. (Read-only trees stay as they are.)
    private void MakeMountPoint(ReadOnlySpan<byte> path, bool directory)
    {
        for (int end = 1; end <= path.Length; end++)
        {
            if (end < path.Length && path[end] != '/') continue;
            using var buffer = PathBuffer.From([(byte)'/', .. path[..end]]);
            // Not default: what a walk finds lies in the buffer and must not outlive it.
            var result = new PathResult { Inside = buffer.Path };
            bool last = end == path.Length;
            int mount = ExactMount(path[..end]);
            if (mount >= 0 && !last) continue;
            if (UnmountedWalk(buffer, path[..end], ref result) >= 0 && result.FileSystem != null)
            {
                if (last && !directory)
                {
                    result.FileSystem.MakeName(result, null, FileType.Regular, (at, leaf) => HostSyscall.Invoke(HostCall.MkNodAt, at, leaf, FileType.Regular | 0x1A4, 0));
                }
                else
                {
                    result.FileSystem.MakeName(result, null, FileType.Directory, (at, leaf) => HostSyscall.Invoke(HostCall.MkDirAt, at, leaf, 0x1ED));
                }
            }
            result.Dispose();
        }
    }

    // The parent of a path in the root file system, as if the path itself were no mount point.
    private long UnmountedWalk(in PathBuffer buffer, ReadOnlySpan<byte> path, ref PathResult result)
    {
        int above = Math.Max(0, path.LastIndexOf((byte)'/'));
        return FindMount(path[..above]) != null ? -Errno.EROFS : _root.Finish(new PathRequest(PathIntent.Parent), -1, buffer.Address + 1, buffer.Path[1..], ref result);
    }
}
