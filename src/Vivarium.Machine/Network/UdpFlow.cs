using System.Net;
using System.Net.Sockets;
using Vivarium.Host;

namespace Vivarium.Machine.Network;

/// <summary>Datagrams between one port of the guest and one of the world: a connected socket of the host.</summary>
internal sealed class UdpFlow : ISocketOwner, IDisposable
{
    private const long IdleMilliseconds = 60_000, IdleQueryMilliseconds = 10_000;
    private const int MostPerTurn = 64, ConnectionRefused = -111;

    private readonly UserNetwork _network;
    private readonly HostSocket _socket;
    private readonly ulong _tag;

    private UdpFlow(UserNetwork network, UserNetwork.FlowKey key, HostSocket socket)
    {
        (_network, Key, _socket) = (network, key, socket);
        LastUse = Environment.TickCount64;
        _tag = network.Watch(socket, PollEvents.Readable, this);
    }

    public UserNetwork.FlowKey Key { get; }

    public long LastUse { get; private set; }

    public static int TryOpen(UserNetwork network, UserNetwork.FlowKey key, IPEndPoint remote, out UdpFlow? flow)
    {
        flow = null;
        var result = HostSocket.Create(remote.AddressFamily, SocketType.Dgram, out var socket);
        if (result != 0) return result;
        result = socket!.Connect(remote);
        if (result == 0) flow = new UdpFlow(network, key, socket);
        else socket.Dispose();
        return result;
    }

    public bool IsIdle(long now) => now - LastUse > (Key.RemotePort == 53 ? IdleQueryMilliseconds : IdleMilliseconds);

    public void Send(ReadOnlySpan<byte> data)
    {
        LastUse = Environment.TickCount64;
        if (_socket.Send(data) == ConnectionRefused)
        {
            // The error of an earlier datagram; this one has not been sent.
            _network.SendUnreachable(3, Frames.ProtocolUdp, Key);
            _socket.Send(data);
        }
    }

    public void Ready(PollEvents events)
    {
        LastUse = Environment.TickCount64;
        for (var count = 0; count < MostPerTurn; count++)
        {
            var length = _socket.Receive(_network.Payload[Frames.UdpHeader..(ushort.MaxValue - Frames.IpHeader)]);
            if (length == ConnectionRefused) _network.SendUnreachable(3, Frames.ProtocolUdp, Key);
            if (length < 0) return;
            _network.SendUdp(Key, length);
        }
    }

    public void Dispose()
    {
        _network.Unwatch(_tag);
        _socket.Dispose();
    }
}
