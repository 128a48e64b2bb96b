using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>
/// An open file description: what descriptors of one or several guest processes refer to. Every one holds exactly one host descriptor, so
/// offsets, status flags, locks and readiness are the host kernel's; a synthetic file is a host memfd with its contents at open.
/// </summary>
/// <remarks>Thread-safe. Reference counted: each descriptor slot holds one reference, each syscall that uses the file another, so the
/// host descriptor is closed (and its number reused) only after the last syscall has left it.</remarks>
public sealed class OpenFile
{
    private int _references = 1;
    private SyntheticDirectoryStream? _stream;

    /// <param name="hostDescriptor">Host descriptor, owned from now on; close-on-exec.</param>
    /// <param name="space">The name space it was opened in, null for what has no name (pipes, sockets).</param>
    /// <param name="node">The synthetic node behind it, null for what the host answers for.</param>
    /// <param name="layer">What is to be remembered of the file system it came from, or null.</param>
    internal OpenFile(int hostDescriptor, NameSpace? space, SyntheticNode? node, FileLayer? layer) : this(hostDescriptor, space, node) => Layer = layer;

    /// <param name="hostDescriptor">Host descriptor, owned from now on; close-on-exec.</param>
    /// <param name="space">The name space it was opened in, null for what has no name (pipes, sockets).</param>
    /// <param name="node">The synthetic node behind it, null for what the host answers for.</param>
    public OpenFile(int hostDescriptor, NameSpace? space = null, SyntheticNode? node = null)
    {
        HostDescriptor = hostDescriptor;
        Space = space;
        Node = node;
    }

    /// <summary>The host descriptor; valid while the caller holds a reference.</summary>
    public int HostDescriptor { get; }

    internal NameSpace? Space { get; }

    /// <summary>Set for synthetic files: stat and getdents answer from it.</summary>
    public SyntheticNode? Node { get; }

    internal FileLayer? Layer { get; }

    /// <summary>Before the file itself is changed through a descriptor that may be read-only: 0, or negative errno.</summary>
    internal long PrepareChange(GuestProcess caller)
    {
        if (Layer is not { } layer) return 0;
        if (layer.FileSystem is HostFileSystem { ReadOnly: true }) return -Errno.EROFS;
        if (!layer.Lower || layer.FileSystem is not OverlayFileSystem overlay) return 0;
        return overlay.CopyUpOpen(this, layer, caller);
    }

    /// <summary>The guest's socket address where the host's differs from it (a UNIX socket bound by a translated path).</summary>
    internal byte[]? BoundName { get; set; }

    /// <summary>The host's inode of a UNIX socket that <see cref="Syscalls.UnixPeers"/> knows, else 0.</summary>
    internal uint SocketInode;

    /// <summary>The key of a listening UNIX socket there.</summary>
    internal string? ListeningName;

    /// <summary>The key there of the listener that it is connected to.</summary>
    internal string? ConnectedName;

    /// <summary>Whether its messages say who sent them (<see cref="Syscalls.SenderTags"/>): 1, -1, or 0 for not known yet.</summary>
    internal sbyte TakesTags;

    /// <summary>It went through a socket, and whoever received it has a description of their own.</summary>
    internal bool WasSent;

    /// <summary>Values of <see cref="MountHint"/>.</summary>
    internal const int NoMountsBelow = 1, MountsBelow = 2, IsRoot = 3;

    /// <summary>Directory: what is known of mounts below it in the lowest two bits, above them the version of the mount table that it was true for.</summary>
    internal int MountHint;

    /// <summary>F_SETOWN.</summary>
    internal int Owner;

    /// <summary>F_SETOWN_EX with a thread's id.</summary>
    internal bool OwnerIsThread;

    /// <summary>Effective user of who set the owner.</summary>
    internal uint OwnerSetBy;

    /// <summary>Who signals the owner when the file becomes ready, and what it knows the file by; 0 without O_ASYNC.</summary>
    internal AsyncFiles? AsyncFiles;

    /// <inheritdoc cref="AsyncFiles"/>
    internal long AsyncKey;

    /// <summary>F_SETSIG.</summary>
    internal int OwnerSignal;

    /// <summary>Set for a signalfd.</summary>
    internal Syscalls.EventSignalFd? Signals { get; init; }

    /// <summary>Set for either side of a pseudo-terminal that a guest opened. Set once, before a second thread can know the file.</summary>
    internal Terminals.TerminalEnd? Terminal { get; set; }

    /// <summary>Set for a POSIX message queue.</summary>
    internal Ipc.PosixQueue? Queue { get; init; }

    /// <summary>Host descriptor of the other end of a socket that stands in for a netlink socket (mq_notify), else -1.</summary>
    internal int Notices { get; init; } = -1;

    /// <summary>Set for an epoll descriptor.</summary>
    internal EPollSet? EPoll { get; init; }

    private List<int>? _duplicates;

    /// <summary>A further host descriptor for this file, closed with it.</summary>
    internal void AddDuplicate(int host)
    {
        var list = _duplicates ?? Interlocked.CompareExchange(ref _duplicates, [], null) ?? _duplicates!;
        lock (list) list.Add(host);
    }

    internal void CloseDuplicate(int host)
    {
        if (_duplicates is not { } list) return;
        lock (list) if (list.Remove(host)) HostSyscall.Invoke(HostCall.Close, host);
    }

    /// <summary>Where a synthetic directory is read.</summary>
    internal SyntheticDirectoryStream Stream => _stream ?? Interlocked.CompareExchange(ref _stream, new SyntheticDirectoryStream(), null) ?? _stream;

    /// <summary>Entries of this directory come from us, not from the host.</summary>
    internal bool ListsEntries => Node is { IsDirectory: true } || Layer is { Path: not null } && _stream?.Entries != null;

    /// <summary>Takes a reference; false when the last one has gone already.</summary>
    public bool TryAcquire()
    {
        int seen = Volatile.Read(ref _references);
        while (seen > 0)
        {
            int now = Interlocked.CompareExchange(ref _references, seen + 1, seen);
            if (now == seen) return true;
            seen = now;
        }
        return false;
    }

    /// <summary>Drops a reference; the last one closes the host descriptor. The result of that close, else 0.</summary>
    public long Release()
    {
        if (Interlocked.Decrement(ref _references) != 0) return 0;
        Signals?.Closed();
        AsyncFiles?.Forget(this);
        if (SocketInode != 0) Syscalls.UnixPeers.Closed(this);
        if (Terminal is { IsMaster: true } master) master.Terminal.ReleaseMaster();
        if (_duplicates != null) foreach (int host in _duplicates) HostSyscall.Invoke(HostCall.Close, host);
        return HostSyscall.Invoke(HostCall.Close, HostDescriptor);
    }

    /// <summary>The path from the root of the realm, whatever the process's own root is.</summary>
    internal string RealmPath => Node != null ? Node.Path : Space == null ? "" : Space.RealmPath(HostPaths.Describe(HostDescriptor, null));

    /// <summary>The guest path, as the kernel or the synthetic tree knows it now; <c>pipe:[N]</c> and the like for what has none.</summary>
    public string Path => Node != null ? Node.Path : Signals != null ? "anon_inode:[signalfd]" : HostPaths.Describe(HostDescriptor, Space);
}

/// <summary>Names of host descriptors.</summary>
internal static class HostPaths
{
    /// <summary>What /proc/self/fd/N of the host says, seen from the guest's root.</summary>
    internal static string Describe(int hostDescriptor, NameSpace? space)
    {
        using var scratch = HostScratch.Rent(4096 + 32);
        int length = Read(hostDescriptor, scratch);
        if (length < 0) return "";
        var text = System.Text.Encoding.Latin1.GetString(scratch.Span[32..(32 + length)]);
        return space == null ? text : space.FromHostPath(text);
    }

    /// <summary>Reads the link into the lease from byte 32 on; its length or negative errno.</summary>
    internal static int Read(int hostDescriptor, ScratchLease scratch)
    {
        WriteLinkName(hostDescriptor, scratch.Span);
        return (int)HostSyscall.Invoke(HostCall.ReadLinkAt, At.FdCwd, scratch.Address, scratch.Address + 32, scratch.Length - 32);
    }

    /// <summary>Writes <c>/proc/self/fd/N</c> and a NUL (at most 26 bytes); the length without the NUL.</summary>
    internal static int WriteLinkName(int hostDescriptor, Span<byte> to)
    {
        var prefix = "/proc/self/fd/"u8;
        prefix.CopyTo(to);
        System.Buffers.Text.Utf8Formatter.TryFormat(hostDescriptor, to[prefix.Length..], out int digits);
        to[prefix.Length + digits] = 0;
        return prefix.Length + digits;
    }
}
