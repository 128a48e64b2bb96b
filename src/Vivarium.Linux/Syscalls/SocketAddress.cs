using System.Buffers.Binary;
using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>A socket address from the guest. The path of a UNIX socket is resolved in the guest's tree and handed to the host as
/// <c>/proc/self/fd/N[/name]</c>, because struct sockaddr_un has no room for more and no directory to start from.</summary>
internal ref struct SocketAddress
{
    /// <summary>sizeof(struct sockaddr_storage).</summary>
    public const int Maximum = 128;

    /// <summary>Where a lease of <see cref="Room"/> bytes holds the length that the host reads and writes.</summary>
    public const int LengthAt = Maximum;

    public const int Room = Maximum + 16;

    private const int FamilyUnix = 1, PathAt = 2, PathMaximum = 108;

    private ScratchLease _lease;
    private PathBuffer _path;
    private OpenFile? _cwd;
    private PathResult _result;
    private byte[]? _guestName;

    public long Status { get; private set; }

    /// <summary>Host address of the struct, and its length.</summary>
    public readonly long Address => _lease.Address;

    public int Length { get; private set; }

    /// <summary>Reads an address; with <paramref name="toBind"/> its last component is to be made.</summary>
    public static SocketAddress FromGuest(GuestThread thread, ulong address, ulong length, bool toBind)
    {
        var made = new SocketAddress { _lease = HostScratch.Rent(Maximum + 8), Length = (int)Math.Min(length, Maximum) };
        if (length > Maximum) made.Status = -Errno.EINVAL;
        else if (thread.Get(address, made._lease.Span[..(int)length]) < 0) made.Status = -Errno.EFAULT;
        else if (length > PathAt && BinaryPrimitives.ReadUInt16LittleEndian(made._lease.Span) == FamilyUnix && made._lease.Span[PathAt] != 0) made.Translate(thread, toBind);
        return made;
    }

    private void Translate(GuestThread thread, bool toBind)
    {
        if (Length > PathAt + PathMaximum)
        {
            Status = -Errno.EINVAL;
            return;
        }
        var name = _lease.Span[PathAt..Length];
        int end = name.IndexOf((byte)0);
        if (end >= 0) name = name[..end];
        var space = thread.Process.Fs.Space;
        if (!space.Confined && name[0] == '/') return;

        _guestName = _lease.Span[..Length].ToArray();
        _path = PathBuffer.From(name);
        if (name[0] != '/') _cwd = thread.Process.Fs.AcquireWorkingDirectory();
        var request = new PathRequest(toBind ? PathIntent.Parent : PathIntent.Handle) { Caller = thread.Process, Makes = true, Needs = toBind ? 0 : Access.Write };
        Status = space.Walk(_cwd, _path, request, ref _result);
        if (Status >= 0 && toBind && _result.Node == null) Status = _result.FileSystem!.PrepareBind(ref _result, thread.Process);
        if (Status < 0)
        {
            // The name exists in a place of ours: bind says so in its own words.
            if (toBind && Status == -Errno.EEXIST) Status = -Errno.EADDRINUSE;
            return;
        }
        if (_result.Node != null)
        {
            Status = -Errno.ECONNREFUSED;
            return;
        }
        var host = _lease.Span[PathAt..];
        int length = HostPaths.WriteLinkName(_result.Descriptor, host);
        if (toBind)
        {
            // What stands before the last component is behind the descriptor now (or the path is relative to it).
            var leaf = _path.Path[(int)(_result.Leaf >= _path.Address && _result.Leaf < _path.Address + _path.Length ? _result.Leaf - _path.Address : 0)..];
            if (_result.Leaf < _path.Address || _result.Leaf >= _path.Address + _path.Length) leaf = LeafOf(name: _path.Path);
            if (length + 1 + leaf.Length >= PathMaximum)
            {
                Status = -Errno.ENAMETOOLONG;
                return;
            }
            host[length++] = (byte)'/';
            leaf.CopyTo(host[length..]);
            length += leaf.Length;
        }
        host[length] = 0;
        Length = PathAt + length + 1;
    }

    // The socket is its maker's, who is not root.
    private readonly void Own(Ownership owners, Credentials who)
    {
        long fd = HostSyscall.Invoke(HostCall.OpenAt, _result.Descriptor, _result.Leaf, OpenFlags.Path | OpenFlags.NoFollow | OpenFlags.CloseOnExec);
        if (fd < 0) return;
        owners.Made((int)fd, FileType.Socket, who);
        HostSyscall.Invoke(HostCall.Close, fd);
    }

    private static Span<byte> LeafOf(Span<byte> name) => name[(name.LastIndexOf((byte)'/') + 1)..];

    /// <summary>An internet address with a port from 1 to 1023.</summary>
    public readonly bool IsPrivilegedPort => Length >= 4 && BinaryPrimitives.ReadUInt16LittleEndian(_lease.Span) is 2 or 10
        && BinaryPrimitives.ReadUInt16BigEndian(_lease.Span[2..]) is > 0 and < 1024;

    /// <summary>A UNIX address with a path in a file system.</summary>
    public readonly bool NamesFile => _guestName != null;

    /// <summary>After a successful bind: what the guest calls it.</summary>
    public readonly void Remember(GuestThread thread, OpenFile file)
    {
        if (_guestName == null) return;
        _result.FileSystem?.Bound(_result);
        if (thread.Process.Fs.Space.Owners is { Real: false } owners && thread.Process.Credentials is { FsUid: not 0 } who && _result.Node == null) Own(owners, who);
        file.BoundName = _guestName;
        thread.Process.Fs.Space.SocketNames[Encoding.Latin1.GetString(Path(_lease.Span, Length))] = _guestName;
    }

    private static ReadOnlySpan<byte> Path(ReadOnlySpan<byte> address, int length)
    {
        var path = address[PathAt..Math.Min(length, Maximum)];
        int end = path.IndexOf((byte)0);
        return end < 0 ? path : path[..end];
    }

    /// <summary>Prepares a lease for the host to fill.</summary>
    public static void Clear(Span<byte> lease)
    {
        lease[..Maximum].Clear();
        BinaryPrimitives.WriteInt32LittleEndian(lease[LengthAt..], Maximum);
    }

    /// <summary>Gives the guest an address that the host wrote; the guest's length limits what is copied and receives the full length.</summary>
    public static long ToGuest(GuestThread thread, ReadOnlySpan<byte> lease, ulong address, ulong lengthAddress)
    {
        int length = BinaryPrimitives.ReadInt32LittleEndian(lease[LengthAt..]);
        var bytes = GuestName(thread, lease, length);
        if (!thread.Window.TryLoad32(lengthAddress, out uint room)) return -Errno.EFAULT;
        if ((int)room < 0) return -Errno.EINVAL;
        if (thread.Put(address, bytes[..Math.Min((int)room, bytes.Length)]) < 0) return -Errno.EFAULT;
        return thread.Put32(lengthAddress, (uint)bytes.Length);
    }

    /// <summary>The guest's name for an address of the host's.</summary>
    public static ReadOnlySpan<byte> GuestName(GuestThread thread, ReadOnlySpan<byte> address, int length)
    {
        length = Math.Clamp(length, 0, Maximum);
        if (length > PathAt + 14 && BinaryPrimitives.ReadUInt16LittleEndian(address) == FamilyUnix && address[PathAt..].StartsWith("/proc/self/fd/"u8)
            && thread.Process.Fs.Space.SocketNames.TryGetValue(Encoding.Latin1.GetString(Path(address, length)), out var name)) return name;
        return address[..length];
    }

    public void Dispose()
    {
        _result.Dispose();
        _cwd?.Release();
        _path.Dispose();
        _lease.Dispose();
    }
}
