using System.Collections.Concurrent;
using System.Text;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>The tree that guest paths are resolved in: a root file system and what is mounted on it. Shared by the processes of a realm; one that has
/// called chroot has another view of the same tree.</summary>
/// <remarks>Thread-safe. The walk itself is in <c>PathWalker.cs</c>, how a tree is put together in <c>NameSpaces.cs</c>.</remarks>
public sealed partial class NameSpace : IDisposable
{
    private readonly FileSystem _root;
    private readonly HostFileSystem? _hostRoot;

    // Where this view's root is in the realm's tree, without slashes at the ends.
    private readonly byte[] _base;
    private readonly string _basePath;

    private NameSpace(FileSystem root, bool confined)
    {
        _root = root;
        _hostRoot = root as HostFileSystem;
        Confined = confined;
        Owners = confined ? new Ownership() : null;
        _base = [];
        _basePath = "";
    }

    private NameSpace(NameSpace other, byte[] newBase)
    {
        _root = other._root;
        _hostRoot = other._hostRoot;
        Confined = other.Confined;
        Owners = other.Owners;
        Mounts = other.Mounts;
        Terminals = other.Terminals;
        Locks = other.Locks;
        SocketNames = other.SocketNames;
        Description = other.Description;
        _disposals = other._disposals;
        _base = newBase;
        _basePath = newBase.Length == 0 ? "" : "/" + Encoding.Latin1.GetString(newBase);
    }

    /// <summary>The same tree seen from a directory of it (a path from the realm's root): what chroot makes.</summary>
    internal NameSpace At(ReadOnlySpan<byte> path) => new(this, path.Trim((byte)'/').ToArray());

    /// <summary>Nothing of the host outside the root directory is reachable.</summary>
    public bool Confined { get; }

    /// <summary>Owners and modes as guests see them; null where the host's own tree is shown.</summary>
    internal Ownership? Owners { get; private set; }

    internal MountTable Mounts { get; } = new();

    /// <summary>What is at the root.</summary>
    internal FileSystem Root => _root;

    /// <summary>How <c>/proc/mounts</c> describes the root.</summary>
    internal (string Type, string Source, string Options) Description { get; private init; } = ("ext4", "viv", "rw,relatime");

    /// <summary>Where this view begins in the realm's tree; empty for the whole.</summary>
    internal string BasePath => _basePath;

    /// <summary>Pseudo-terminal numbers the guests opened: what <c>/dev/pts</c> shows of the host's.</summary>
    internal ConcurrentDictionary<int, byte> Terminals { get; } = new();

    /// <summary>Record locks (F_SETLK), which belong to guest processes.</summary>
    internal RecordLocks Locks { get; } = new();

    /// <summary>Guest addresses of UNIX sockets that are bound on the host under another name.</summary>
    internal ConcurrentDictionary<string, byte[]> SocketNames { get; } = new();

    private readonly ConcurrentStack<Action> _disposals = new();

    /// <summary>To be done when the realm is gone.</summary>
    internal void AtEnd(Action action) => _disposals.Push(action);

    /// <summary>A host path as the guest sees it; unchanged for <c>pipe:[1]</c> and the like.</summary>
    internal string FromHostPath(string path)
    {
        string realm = RealmPath(path);
        return _base.Length == 0 || !realm.StartsWith('/') ? realm : FromRealmPath(realm);
    }

    /// <summary>A path of the realm's tree as this view names it.</summary>
    internal string FromRealmPath(string realm)
    {
        if (_base.Length == 0) return realm;
        if (realm.StartsWith(_basePath, StringComparison.Ordinal) && (realm.Length == _basePath.Length || realm[_basePath.Length] == '/'))
            return realm.Length == _basePath.Length ? "/" : realm[_basePath.Length..];
        return "(unreachable)" + realm;
    }

    /// <summary>A host path as the realm's root sees it.</summary>
    internal string RealmPath(string path)
    {
        if (!path.StartsWith('/')) return path;
        return Mounts.FromHost(path) ?? (Confined && !path.StartsWith("/dev/", StringComparison.Ordinal) ? "(unreachable)" + path : path);
    }

    /// <summary>What a new open file has to remember of where it came from.</summary>
    internal FileLayer? LayerOf(in PathResult result) => result.FileSystem switch
    {
        null => result.Layer,
        OverlayFileSystem overlay => overlay.LayerOf(result),
        HostFileSystem host => host == _root && !host.ReadOnly ? null : host.Layer,
        _ => null,
    };

    /// <summary>As above for a descriptor that came in a message.</summary>
    internal FileLayer? LayerOf(int hostDescriptor)
    {
        if (_root is not OverlayFileSystem overlay || FileStat.OfDescriptor(hostDescriptor, out var stat) < 0) return null;
        uint type = stat.Mode & FileType.Mask;
        if (type is not (FileType.Regular or FileType.Directory)) return null;
        string host = HostPaths.Describe(hostDescriptor, null);
        bool lower = LowerPath != null && host.StartsWith(LowerPath, StringComparison.Ordinal);
        return type == FileType.Directory ? new FileLayer(overlay, lower) { Path = [], Renames = -1 } : lower ? overlay.LowerLayer() : null;
    }

    /// <summary>Host path of the lower layer, where there is one.</summary>
    internal string? LowerPath { get; private init; }

    internal static int OpenDirectory(string path) => Open(path, OpenFlags.Directory);

    internal static int Open(string path, int flags)
    {
        using var name = HostName.Of(Encoding.UTF8.GetBytes(path));
        long fd = HostSyscall.Invoke(HostCall.OpenAt, At_FdCwd, name.Address, OpenFlags.Path | flags | OpenFlags.CloseOnExec);
        if (fd >= 0) return (int)fd;
        throw new IOException($"cannot use '{path}' as a directory: {Reason((int)-fd)}");
    }

    private const int At_FdCwd = Vfs.At.FdCwd;

    internal static string Reason(int errno) => errno switch
    {
        Errno.ENOENT => "no such directory",
        Errno.ENOTDIR => "not a directory",
        Errno.EACCES => "permission denied",
        _ => $"errno {errno}",
    };

    /// <summary>A realm-owned tree is gone: closes its directories and removes what was only for it.</summary>
    public void Dispose()
    {
        while (_disposals.TryPop(out var action)) action();
    }
}
