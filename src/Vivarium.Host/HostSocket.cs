using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Vivarium.Host;

/// <summary>A non-blocking IPv4 or IPv6 socket of the host without the runtime's asynchronous machinery, for event loops of our own (see
/// <see cref="HostPoll"/>). Results are counts, 0, or a negative errno (-11 EAGAIN where it would block). One thread at a time.</summary>
public sealed unsafe class HostSocket : IDisposable
{
    private const int SysRead = 0, SysClose = 3, SysSocket = 41, SysConnect = 42, SysSendTo = 44, SysReceiveFrom = 45, SysShutdown = 48, SysBind = 49,
        SysListen = 50, SysGetSocketName = 51, SysSetOption = 54, SysGetOption = 55, SysAccept4 = 288;
    private const int CloseOnExec = 0x80000, NonBlocking = 0x800, NoSignal = 0x4000, DontWait = 0x40;
    private const int SocketLevel = 1, ReuseAddress = 2, ErrorOption = 4, LingerOption = 13, TcpLevel = 6, NoDelayOption = 1;

    private int _descriptor;

    private HostSocket(int descriptor) => _descriptor = descriptor;

    /// <summary>The file descriptor, -1 after <see cref="Dispose"/>.</summary>
    public int Descriptor => _descriptor;

    /// <summary>Makes a socket; null and a negative errno where the host refuses.</summary>
    public static int Create(AddressFamily family, SocketType type, out HostSocket? socket, int protocol = 0)
    {
        var result = HostSyscall.Invoke(SysSocket, Family(family), (type == SocketType.Stream ? 1 : 2) | CloseOnExec | NonBlocking, protocol);
        socket = result < 0 ? null : new HostSocket((int)result);
        return result < 0 ? (int)result : 0;
    }

    private static int Family(AddressFamily family) => family == AddressFamily.InterNetworkV6 ? 10 : 2;

    /// <summary>Starts to connect: 0, or -115 EINPROGRESS (writable when done, then see <see cref="TakeError"/>).</summary>
    public int Connect(IPEndPoint remote)
    {
        var address = stackalloc byte[28];
        var length = Encode(remote, new Span<byte>(address, 28));
        return (int)HostSyscall.Invoke(SysConnect, _descriptor, (long)address, length);
    }

    /// <summary>Binds to a local address; the port may be taken again at once after an earlier listener.</summary>
    public int Bind(IPEndPoint local)
    {
        SetOption(SocketLevel, ReuseAddress, 1);
        var address = stackalloc byte[28];
        var length = Encode(local, new Span<byte>(address, 28));
        return (int)HostSyscall.Invoke(SysBind, _descriptor, (long)address, length);
    }

    /// <summary>Listens for connections.</summary>
    public int Listen(int backlog) => (int)HostSyscall.Invoke(SysListen, _descriptor, backlog);

    /// <summary>Accepts a connection: 0 with a socket, or a negative errno.</summary>
    public int Accept(out HostSocket? socket)
    {
        var result = HostSyscall.Invoke(SysAccept4, _descriptor, 0, 0, CloseOnExec | NonBlocking);
        socket = result < 0 ? null : new HostSocket((int)result);
        return result < 0 ? (int)result : 0;
    }

    /// <summary>The port it is bound to, or a negative errno.</summary>
    public int LocalPort
    {
        get
        {
            var address = stackalloc byte[28];
            var length = 28;
            var result = HostSyscall.Invoke(SysGetSocketName, _descriptor, (long)address, (long)&length);
            return result < 0 ? (int)result : BinaryPrimitives.ReadUInt16BigEndian(new ReadOnlySpan<byte>(address + 2, 2));
        }
    }

    /// <summary>Sends; the count taken, or a negative errno.</summary>
    public int Send(ReadOnlySpan<byte> data)
    {
        fixed (byte* pinned = data) return (int)HostSyscall.Invoke(SysSendTo, _descriptor, (long)pinned, data.Length, NoSignal | DontWait, 0, 0);
    }

    /// <summary>Sends one datagram to an address.</summary>
    public int SendTo(ReadOnlySpan<byte> data, IPEndPoint remote)
    {
        var address = stackalloc byte[28];
        var length = Encode(remote, new Span<byte>(address, 28));
        fixed (byte* pinned = data) return (int)HostSyscall.Invoke(SysSendTo, _descriptor, (long)pinned, data.Length, NoSignal | DontWait, (long)address, length);
    }

    /// <summary>Receives; the count, 0 at the end of a stream, or a negative errno.</summary>
    public int Receive(Span<byte> buffer)
    {
        fixed (byte* pinned = buffer) return (int)HostSyscall.Invoke(SysReceiveFrom, _descriptor, (long)pinned, buffer.Length, DontWait, 0, 0);
    }

    /// <summary>Ends the sending direction.</summary>
    public int ShutdownSend() => (int)HostSyscall.Invoke(SysShutdown, _descriptor, 1);

    /// <summary>Sends small pieces at once (TCP_NODELAY).</summary>
    public void DisableDelay() => SetOption(TcpLevel, NoDelayOption, 1);

    /// <summary>Closing resets the connection instead of ending it.</summary>
    public void ResetOnClose()
    {
        var linger = stackalloc int[2];
        (linger[0], linger[1]) = (1, 0);
        HostSyscall.Invoke(SysSetOption, _descriptor, SocketLevel, LingerOption, (long)linger, 8);
    }

    /// <summary>The pending error as a negative errno (SO_ERROR), 0 for none.</summary>
    public int TakeError()
    {
        int error = 0, length = 4;
        var result = HostSyscall.Invoke(SysGetOption, _descriptor, SocketLevel, ErrorOption, (long)&error, (long)&length);
        return result < 0 ? (int)result : -error;
    }

    private void SetOption(int level, int option, int value) => HostSyscall.Invoke(SysSetOption, _descriptor, level, option, (long)&value, sizeof(int));

    private static int Encode(IPEndPoint endPoint, Span<byte> buffer)
    {
        buffer.Clear();
        var v6 = endPoint.AddressFamily == AddressFamily.InterNetworkV6;
        BinaryPrimitives.WriteUInt16LittleEndian(buffer, v6 ? (ushort)10 : (ushort)2);
        BinaryPrimitives.WriteUInt16BigEndian(buffer[2..], (ushort)endPoint.Port);
        endPoint.Address.TryWriteBytes(buffer[(v6 ? 8 : 4)..], out _);
        if (v6) BinaryPrimitives.WriteUInt32LittleEndian(buffer[24..], (uint)endPoint.Address.ScopeId);
        return v6 ? 28 : 16;
    }

    /// <summary>Closes it.</summary>
    public void Dispose()
    {
        var descriptor = Interlocked.Exchange(ref _descriptor, -1);
        if (descriptor >= 0) HostSyscall.Invoke(SysClose, descriptor);
    }
}
