using System.Globalization;
using System.Text;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>tmpfs of a realm (<c>/dev/shm</c> among them): a private directory in the host's shared memory, made when somebody first looks.</summary>
internal sealed class TemporaryFileSystem(NameSpace space, string guestPath, uint mode = 0x3FF, ulong? size = null) : FileSystem
{
    private const string Prefix = "viv-shm-";

    private readonly Lock _lock = new();
    private HostFileSystem? _directory;
    private bool _readOnly;

    /// <summary>mount -o remount,ro and rw.</summary>
    public bool ReadOnly
    {
        set
        {
            lock (_lock)
            {
                _readOnly = value;
                if (_directory != null) _directory.ReadOnly = value;
            }
        }
    }

    public override long Finish(in PathRequest request, int baseDescriptor, long address, Span<byte> path, ref PathResult result) =>
        Directory().Finish(request, baseDescriptor, address, path, ref result);

    public override int ReadLink(in PathRequest request, bool last, long address, Span<byte> path, Span<byte> target, long targetAddress) =>
        path.IsEmpty ? 0 : Directory().ReadLink(request, last, address, path, target, targetAddress);

    private HostFileSystem Directory()
    {
        lock (_lock)
        {
            if (_directory != null) return _directory;
            string parent = System.IO.Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath();
            RemoveLeftovers(parent);
            string name = Path.Combine(parent, $"{Prefix}{Environment.ProcessId}-{Guid.NewGuid():N}");
            using (var path = HostName.Of(Encoding.UTF8.GetBytes(name)))
            {
                HostSyscall.Invoke(HostCall.MkDirAt, At.FdCwd, path.Address, 0x1C0);
            }
            // Others of the host stay out by the directory around it, so that the guest's may have the mode it should show.
            string inner = name + "/root";
            using (var path = HostName.Of(Encoding.UTF8.GetBytes(inner)))
            {
                HostSyscall.Invoke(HostCall.MkDirAt, At.FdCwd, path.Address, 0x1C0);
                HostSyscall.Invoke(HostCall.Chmod, path.Address, mode);
            }
            var directory = new HostFileSystem(NameSpace.OpenDirectory(inner), confined: true)
            {
                ReadOnly = _readOnly, Owners = space.Owners, Space = size is { } bound ? new TemporarySpace(bound, inner) : null,
            };
            space.Mounts.AddPlace(inner, guestPath);
            space.AtEnd(() =>
            {
                directory.Close();
                Remove(name);
            });
            return _directory = directory;
        }
    }

    private static void Remove(string directory)
    {
        try
        {
            System.IO.Directory.Delete(directory, recursive: true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Another user's, or another viv was faster; it is memory, the next boot clears it.
        }
    }

    // What realms left behind that were killed.
    private static void RemoveLeftovers(string parent)
    {
        foreach (var directory in System.IO.Directory.EnumerateDirectories(parent, Prefix + "*"))
        {
            var number = Path.GetFileName(directory).AsSpan(Prefix.Length);
            int dash = number.IndexOf('-');
            if (dash <= 0 || !int.TryParse(number[..dash], NumberStyles.None, CultureInfo.InvariantCulture, out int pid) || System.IO.Directory.Exists($"/proc/{pid}")) continue;
            Remove(directory);
        }
    }
}
