using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>Who is at the other end of a UNIX socket (SO_PEERCRED). To the host all guests are one process, so we remember, by the host's inode of a socket, which
/// guest made it, connected it or listens on it, and ask the host which socket is connected to which.</summary>
/// <remarks>As in Linux (unix(7)) it is who called connect, listen or socketpair that counts, whoever has the socket now. Thread-safe; one for all realms, whose sockets may be
/// connected to each other.</remarks>
internal static class UnixPeers
{
    /// <summary>struct ucred.</summary>
    public readonly record struct Identity(int Pid, uint Uid, uint Gid)
    {
        public static Identity Of(GuestProcess process) => new(process.Pid, process.Credentials.EffectiveUid, process.Credentials.EffectiveGid);
    }

    private const int Netlink = 16, Raw = 3, SockDiag = 4, DiagByFamily = 20, RequestFlag = 1, Unix = 1, ShowPeer = 4, PeerAttribute = 2;
    private const int SolSocket = 1, SoDomain = 39, InodeAt = 8, StatSize = 144;

    private static readonly ConcurrentDictionary<uint, Identity> Owners = new(), Peers = new();
    private static readonly ConcurrentDictionary<string, Identity> Listeners = new();

    // Who connected, or is about to, and was not accepted yet; and by the listener's name those of them who have closed their socket since: the host no longer
    // knows which socket is whose then, but a listener accepts in the order in which they came.
    private static readonly ConcurrentDictionary<uint, Identity> Unaccepted = new();
    private static readonly Dictionary<string, List<(uint Inode, Identity Who)>> Gone = [];

    // Held where somebody goes from one of them to the other, and over Gone.
    private static readonly Lock Gate = new();

    /// <summary>A socket pair was made: each end is the other's peer.</summary>
    public static void Paired(GuestProcess process, OpenFile a, OpenFile b)
    {
        if (!IsUnix(a)) return;
        foreach (var file in (ReadOnlySpan<OpenFile>)[a, b])
        {
            uint inode = Track(file);
            Owners[inode] = Peers[inode] = Identity.Of(process);
        }
    }

    /// <summary>connect is about to be called: who accepts may ask before the caller is back from it. Give the result to <see cref="Connected"/>.</summary>
    public static uint Connecting(GuestProcess process, OpenFile file)
    {
        if (!IsUnix(file)) return 0;
        uint inode = Track(file);
        if (inode == 0) return 0;
        Peers.TryRemove(inode, out _);
        Owners[inode] = Unaccepted[inode] = Identity.Of(process);
        return inode;
    }

    /// <summary>connect has ended.</summary>
    public static void Connected(OpenFile file, uint inode, bool succeeded)
    {
        if (inode == 0) return;
        if (succeeded) file.ConnectedName ??= Name(HostCall.GetPeerName, file);
        else Unaccepted.TryRemove(inode, out _);
    }

    /// <summary>listen is about to be called, on a socket that has a name: who connects may ask before the caller is back from it.</summary>
    public static void Listening(GuestProcess process, OpenFile file)
    {
        if (!IsUnix(file)) return;
        Owners[Track(file)] = Identity.Of(process);
        if (Name(HostCall.GetSockName, file) is { } name) Listeners[file.ListeningName = name] = Identity.Of(process);
    }

    /// <summary>accept gave a socket: whoever connects to a listener sees the listener's owner, and it is asked now who did, as that one may be gone later.</summary>
    public static void Accepted(OpenFile listener, OpenFile file)
    {
        if (listener.SocketInode == 0 || !Owners.TryGetValue(listener.SocketInode, out var owner)) return;
        uint inode = Track(file);
        Owners[inode] = owner;
        uint peer = PeerOf(inode);
        lock (Gate)
        {
            if (peer != 0 && (Unaccepted.TryRemove(peer, out var who) || Owners.TryGetValue(peer, out who))) Peers[inode] = who;
            else if (listener.ListeningName is { } name && Gone.TryGetValue(name, out var left))
            {
                int index = peer == 0 ? 0 : left.FindIndex(one => one.Inode == peer);
                if (index < 0 || index >= left.Count) return;
                Peers[inode] = left[index].Who;
                left.RemoveAt(index);
            }
        }
    }

    /// <summary>The guest at the other end; null where it is none that is known.</summary>
    public static Identity? Find(OpenFile file)
    {
        uint inode = Inode(file);
        if (Peers.TryGetValue(inode, out var known)) return known;
        if (PeerOf(inode) is var peer && peer != 0 && Owners.TryGetValue(peer, out known)) return known;
        // Connected to, but not accepted yet.
        return Name(HostCall.GetPeerName, file) is { } name && Listeners.TryGetValue(name, out known) ? known : null;
    }

    /// <summary>The last descriptor of a socket is closed. One that was sent to another process may be open there: it stays.</summary>
    public static void Closed(OpenFile file)
    {
        lock (Gate)
        {
            if (file.ListeningName is { } name)
            {
                Listeners.TryRemove(name, out _);
                Gone.Remove(name);
            }
            if (file.WasSent) return;
            Owners.TryRemove(file.SocketInode, out _);
            Peers.TryRemove(file.SocketInode, out _);
            if (!Unaccepted.TryRemove(file.SocketInode, out var who) || file.ConnectedName is not { } to || !Listeners.ContainsKey(to)) return;
            if (!Gone.TryGetValue(to, out var left)) Gone[to] = left = [];
            left.Add((file.SocketInode, who));
        }
    }

    private static uint Track(OpenFile file) => file.SocketInode != 0 ? file.SocketInode : file.SocketInode = Inode(file);

    private static uint Inode(OpenFile file)
    {
        using var stat = HostScratch.Rent(StatSize);
        return HostSyscall.Invoke(HostCall.FStat, file.HostDescriptor, stat.Address) < 0 ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(stat.Span[InodeAt..]);
    }

    private static bool IsUnix(OpenFile file)
    {
        using var value = HostScratch.Rent(8);
        BinaryPrimitives.WriteInt32LittleEndian(value.Span[4..], 4);
        return HostSyscall.Invoke(HostCall.GetSockOpt, file.HostDescriptor, SolSocket, SoDomain, value.Address, value.Address + 4) == 0 && BinaryPrimitives.ReadInt32LittleEndian(value.Span) == Unix;
    }

    /// <summary>The address as a key; null where it has none.</summary>
    private static string? Name(long call, OpenFile file)
    {
        using var name = HostScratch.Rent(SocketAddress.Room);
        SocketAddress.Clear(name.Span);
        if (HostSyscall.Invoke(call, file.HostDescriptor, name.Address, name.Address + SocketAddress.LengthAt) < 0) return null;
        int length = Math.Min(BinaryPrimitives.ReadInt32LittleEndian(name.Span[SocketAddress.LengthAt..]), SocketAddress.Maximum);
        return length <= 2 ? null : System.Text.Encoding.Latin1.GetString(name.Span[..length]);
    }

    /// <summary>The inode of the socket that one is connected to, by sock_diag(7); 0 for none.</summary>
    private static uint PeerOf(uint inode)
    {
        const int headerSize = 16, requestSize = 24, answerSize = 16;
        if (inode == 0) return 0;
        long socket = HostSyscall.Invoke(HostCall.Socket, Netlink, Raw | OpenFlags.CloseOnExec, SockDiag);
        if (socket < 0) return 0;
        using var lease = HostScratch.Rent(1024);
        var message = lease.Span[..1024];
        message.Clear();
        var words = MemoryMarshal.Cast<byte, uint>(message);
        (words[0], words[1]) = (headerSize + requestSize, DiagByFamily | RequestFlag << 16);
        (words[4], words[5], words[6], words[7]) = (Unix, uint.MaxValue, inode, ShowPeer);
        (words[8], words[9]) = (uint.MaxValue, uint.MaxValue); // any cookie
        uint peer = 0;
        if (HostSyscall.Invoke(HostCall.SendTo, socket, lease.Address, headerSize + requestSize, 0, 0, 0) > 0)
        {
            long length = HostSyscall.Invoke(HostCall.RecvFrom, socket, lease.Address, 1024, 0, 0, 0);
            if (length >= headerSize + answerSize && (ushort)words[1] == DiagByFamily)
            {
                for (int at = headerSize + answerSize; at + 8 <= length;)
                {
                    int size = BinaryPrimitives.ReadUInt16LittleEndian(message[at..]);
                    if (size < 4) break;
                    if (BinaryPrimitives.ReadUInt16LittleEndian(message[(at + 2)..]) == PeerAttribute && size >= 8) peer = BinaryPrimitives.ReadUInt32LittleEndian(message[(at + 4)..]);
                    at += size + 3 & ~3;
                }
            }
        }
        HostSyscall.Invoke(HostCall.Close, socket);
        return peer;
    }
}
