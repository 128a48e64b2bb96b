using System.Text;

namespace Vivarium.Linux.Vfs;

/// <summary>Something mounted in a realm's tree.</summary>
/// <param name="Id">As in mountinfo.</param>
/// <param name="Path">Where, from the realm's root, without the leading slash; empty for the root itself.</param>
/// <param name="FileSystem">What is there.</param>
/// <param name="Type">File system type that <c>/proc/mounts</c> shows.</param>
/// <param name="Source">What it shows as the device.</param>
/// <param name="Options">Comma-separated, as it shows them.</param>
internal sealed record Mount(int Id, byte[] Path, FileSystem FileSystem, string Type, string Source, string Options)
{
    public string PathText => "/" + Encoding.Latin1.GetString(Path);
}

/// <summary>The mounts of a realm, and the host directories behind them. Shared by all name spaces (chroots) of the realm.</summary>
/// <remarks>Thread-safe: readers take the array as it is, changes replace it. The lock is a leaf.</remarks>
internal sealed class MountTable
{
    private readonly Lock _lock = new();
    private Mount[] _mounts = [];
    private (string Host, string Guest)[] _places = [];
    private int _lastId = 19, _version = 1;

    /// <summary>Mounts in the order in which they were made; the root is not among them.</summary>
    public Mount[] All => Volatile.Read(ref _mounts);

    /// <summary>Whether an absolute path (without its leading slashes) may pass a mount: a quick look that says yes more often than is true.</summary>
    public bool MayCross(ReadOnlySpan<byte> path)
    {
        var mounts = All;
        if (mounts.Length == 0) return false;
        if (path.IsEmpty || path.Contains((byte)'.') && (path[0] == '.' || path.IndexOf("/."u8) >= 0)) return true;
        int slash = path.IndexOf((byte)'/');
        var first = slash < 0 ? path : path[..slash];
        foreach (var mount in mounts)
        {
            var at = mount.Path.AsSpan();
            if (at.StartsWith(first) && (at.Length == first.Length || at[first.Length] == '/') || at.IsEmpty) return true;
        }
        return false;
    }

    /// <summary>Changes with every mount and unmount; never 0.</summary>
    public int Version => Volatile.Read(ref _version);

    public void Add(ReadOnlySpan<byte> path, FileSystem fileSystem, string type, string source, string options)
    {
        lock (_lock)
        {
            Volatile.Write(ref _mounts, [.. _mounts, new Mount(++_lastId + 1, path.ToArray(), fileSystem, type, source, options)]);
            _version++;
        }
    }

    /// <summary>Takes the last mount at a path away: it, or null. With <paramref name="busyBelow"/> only where nothing is mounted below.</summary>
    public Mount? Remove(ReadOnlySpan<byte> path, bool busyBelow, out bool busy)
    {
        busy = false;
        lock (_lock)
        {
            for (int i = _mounts.Length - 1; i >= 0; i--)
            {
                var mount = _mounts[i];
                if (!path.SequenceEqual(mount.Path)) continue;
                foreach (var other in _mounts)
                {
                    if (IsBelow(other.Path, path)) busy = true;
                }
                if (busy && busyBelow) return null;
                byte[] top = mount.Path;
                Volatile.Write(ref _mounts, [.. _mounts.Where(other => other != mount && !(busyBelow is false && IsBelow(other.Path, top)))]);
                _version++;
                return mount;
            }
        }
        return null;
    }

    private static bool IsBelow(byte[] path, ReadOnlySpan<byte> top) => path.Length > top.Length && path.AsSpan().StartsWith(top) && (top.IsEmpty || path[top.Length] == '/');

    /// <summary>Options of a mount, for <c>mount -o remount</c>.</summary>
    public bool SetOptions(ReadOnlySpan<byte> path, string options, bool? readOnly)
    {
        lock (_lock)
        {
            for (int i = _mounts.Length - 1; i >= 0; i--)
            {
                if (!path.SequenceEqual(_mounts[i].Path)) continue;
                var copy = (Mount[])_mounts.Clone();
                copy[i] = copy[i] with { Options = options };
                if (readOnly is { } wanted && copy[i].FileSystem is TemporaryFileSystem temporary) temporary.ReadOnly = wanted;
                Volatile.Write(ref _mounts, copy);
                return true;
            }
        }
        return false;
    }

    /// <summary>What lies behind a host directory, for paths that the host kernel tells.</summary>
    public void AddPlace(string host, string guest)
    {
        lock (_lock) _places = [.. _places, (host.Length > 1 ? host.TrimEnd('/') : host, guest)];
    }

    /// <summary>A host path as the realm knows it, or null.</summary>
    public string? FromHost(string path)
    {
        string? best = null;
        int length = -1;
        foreach (var (host, guest) in Volatile.Read(ref _places))
        {
            if (host.Length <= length || !Below(path, host)) continue;
            length = host.Length;
            string rest = host == "/" ? path : path[host.Length..];
            best = guest == "/" ? rest.Length == 0 ? "/" : rest[0] == '/' ? rest : "/" + rest : guest + (rest == "/" ? "" : rest);
        }
        return best;
    }

    private static bool Below(string path, string directory) => directory == "/" ? path.StartsWith('/')
        : path.StartsWith(directory, StringComparison.Ordinal) && (path.Length == directory.Length || path[directory.Length] is '/' or ' ');
}
