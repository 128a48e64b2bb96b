using System.Net;
using Vivarium.Host;
using Vivarium.Machine.Harts;
using static Vivarium.Machine.Network.Frames;

namespace Vivarium.Machine.Network;

/// <summary>Something that waits for a host socket.</summary>
internal interface ISocketOwner
{
    /// <summary>The socket is ready. Within a turn.</summary>
    void Ready(PollEvents events);
}

/// <summary>
/// A network of one guest on the host's own sockets, without any right on the host: the guest's TCP connections end here and become connections
/// of the host, its datagrams become datagrams of the host. 10.0.2.0/24 with the gateway 10.0.2.2 (which is the host: its 127.0.0.1), the name
/// server 10.0.2.3 (forwards to the host's) and the guest 10.0.2.15 (by DHCP).
/// </summary>
/// <remarks>
/// One thread does everything, in turns under the card's lock; no other thread touches the flows. Frames from the guest are as untrusted as
/// descriptors: every length is checked against what is there, and what makes no sense is dropped.
/// This file: thread, Ethernet, ARP, IPv4, ICMP, DHCP. <see cref="TcpFlow"/> and <see cref="UdpFlow"/> hold the rest.
/// </remarks>
public sealed class UserNetwork : INetwork
{
    internal const uint Gateway = 0x0a000202, NameServer = 0x0a000203, Guest = 0x0a00020f, Mask = 0xffffff00, Subnet = 0x0a000200;
    internal const int MostTcpFlows = 1024, MostUdpFlows = 512;
    private const int FramesPerTurn = 256, FrameSize = 66 * 1024;
    private const int TimerMilliseconds = 200;

    private static readonly byte[] GatewayMac = [0x52, 0x55, 0x0a, 0x00, 0x02, 0x02];

    private readonly HostPoll _poll = new();
    private readonly Thread _thread;
    private readonly AutoResetEvent _unpark = new(false);
    private readonly Action _turn;
    private readonly Dictionary<ulong, ISocketOwner> _owners = [];
    private readonly Dictionary<FlowKey, TcpFlow> _tcp = [];
    private readonly Dictionary<FlowKey, UdpFlow> _udp = [];
    private readonly List<TcpFlow> _acknowledge = [], _blocked = [], _timed = [];
    private readonly List<Listener> _listeners = [];
    private readonly HostResolver _resolver;
    private readonly byte[] _in = GC.AllocateUninitializedArray<byte>(FrameSize, pinned: true);
    private readonly byte[] _out = GC.AllocateUninitializedArray<byte>(FrameSize, pinned: true);
    private readonly byte[] _guestMac = new byte[6];
    private readonly (ulong Tag, PollEvents Events)[] _events = new (ulong, PollEvents)[64];
    private IGuestPort _port = null!;
    private ulong _nextTag;
    private int _eventCount;
    private ushort _nextId, _nextForwardPort;
    private long _nextTimer;
    private bool _more, _knowsGuest;
    private volatile bool _parked, _ending;
    private volatile int _threadId;

    /// <summary>The four numbers of a flow, seen from the guest's side.</summary>
    internal readonly record struct FlowKey(uint GuestAddress, ushort GuestPort, uint RemoteAddress, ushort RemotePort);

    /// <param name="forwards">Ports of the host that lead to the guest; they listen at once.</param>
    /// <param name="resolverFile">Names the name server that 10.0.2.3 forwards to.</param>
    /// <exception cref="NetworkException">A port cannot be had.</exception>
    public UserNetwork(IEnumerable<PortForward>? forwards = null, string resolverFile = "/etc/resolv.conf")
    {
        _resolver = new HostResolver(resolverFile);
        _turn = Turn;
        _thread = new Thread(Run) { IsBackground = true, Name = "network" };
        foreach (var forward in forwards ?? [])
        {
            try
            {
                _listeners.Add(new Listener(this, forward));
            }
            catch (NetworkException)
            {
                foreach (var listener in _listeners) listener.Dispose();
                _poll.Dispose();
                throw;
            }
        }
    }

    /// <summary>The host's ports of the forwards, in their order.</summary>
    public IReadOnlyList<int> ForwardedPorts => [.. _listeners.Select(listener => listener.Port)];

    internal IGuestPort Port => _port;

    public void Start(IGuestPort port)
    {
        _port = port;
        _thread.Start();
    }

    public void Wake()
    {
        _poll.Wake();
        if (_parked) _unpark.Set();
    }

    public TimeSpan CpuTime => _threadId == 0 ? TimeSpan.Zero : TimeSpan.FromTicks(ThreadClock.Nanoseconds(_threadId) / 100);

    private void Run()
    {
        _threadId = HostThread.Current.Id;
        try
        {
            while (!_ending)
            {
                if (!_port.Turn(_turn))
                {
                    // No driver, or the machine stands still: sockets wait too.
                    _parked = true;
                    Interlocked.MemoryBarrier();
                    if (!_ending && !_port.Turn(_turn)) _unpark.WaitOne();
                    _parked = false;
                }
                var busy = _timed.Count != 0;
                _eventCount = _poll.Wait(_events, _more ? 0 : busy ? TimerMilliseconds : _udp.Count != 0 ? 10 * 1000 : -1);
            }
        }
        catch (Exception error)
        {
            // A fault of ours. The machine lives on without its network, and the line says why.
            Console.Error.WriteLine($"viv: the network stopped: {error}");
        }
    }

    private void Turn()
    {
        for (var index = 0; index < _eventCount; index++)
        {
            if (_owners.TryGetValue(_events[index].Tag, out var owner)) owner.Ready(_events[index].Events);
        }
        _eventCount = 0;
        _more = false;
        if (_blocked.Count != 0)
        {
            // The guest may have room again. Whoever still finds none comes back on the list.
            var blocked = _blocked.ToArray();
            _blocked.Clear();
            foreach (var flow in blocked) flow.Unblock();
        }
        for (var count = 0; _port.TryReceive(_in, out var length, out var offload);)
        {
            Receive(_in.AsSpan(0, length), offload);
            if (++count < FramesPerTurn) continue;
            _more = true;
            break;
        }
        // One acknowledgement for all that came in this turn.
        foreach (var flow in _acknowledge) flow.Acknowledge();
        _acknowledge.Clear();
        var now = Environment.TickCount64;
        if (now >= _nextTimer)
        {
            _nextTimer = now + TimerMilliseconds;
            for (var index = _timed.Count - 1; index >= 0; index--)
            {
                if (!_timed[index].Tick(now)) _timed.RemoveAt(index);
            }
            ExpireUdp(now);
        }
    }

    // What flows need.

    internal ulong Watch(HostSocket socket, PollEvents events, ISocketOwner owner)
    {
        var tag = _nextTag++;
        _owners[tag] = owner;
        _poll.Add(socket.Descriptor, events, tag);
        return tag;
    }

    internal void ChangeWatch(HostSocket socket, PollEvents before, PollEvents events, ulong tag)
    {
        // Without interest there must be no entry at all: epoll reports hang-ups in any case, and the loop would spin.
        if (events == PollEvents.None) _poll.Remove(socket.Descriptor);
        else if (before == PollEvents.None) _poll.Add(socket.Descriptor, events, tag);
        else _poll.Change(socket.Descriptor, events, tag);
    }

    internal void Unwatch(ulong tag) => _owners.Remove(tag);

    internal void QueueAcknowledgement(TcpFlow flow) => _acknowledge.Add(flow);

    internal void QueueBlocked(TcpFlow flow) => _blocked.Add(flow);

    internal void QueueTimer(TcpFlow flow) => _timed.Add(flow);

    internal void Remove(TcpFlow flow)
    {
        if (_tcp.TryGetValue(flow.Key, out var there) && ReferenceEquals(there, flow)) _tcp.Remove(flow.Key);
    }

    /// <summary>Where the host must connect to reach what the guest calls <paramref name="address"/>; null for nowhere.</summary>
    internal IPEndPoint? HostEndPoint(uint address, ushort port)
    {
        if (address == NameServer) return port == 53 ? _resolver.Server : null;
        if (address == Gateway) return new IPEndPoint(IPAddress.Loopback, port);
        // Nothing else is in the subnet; loopback, this network, multicast and broadcast addresses are no destinations.
        if ((address & Mask) == Subnet || address >> 24 is 0 or 127 or >= 224) return null;
        return new IPEndPoint(new IPAddress((long)System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(address)), port);
    }

    // Frames to the guest.

    /// <summary>Room for an IP payload in the outgoing frame.</summary>
    internal Span<byte> Payload => _out.AsSpan(EthernetHeader + IpHeader);

    /// <summary>Sends the outgoing frame with an IP payload of <paramref name="length"/> bytes, unfragmented.</summary>
    internal bool SendIp(byte protocol, uint source, uint destination, int length, in FrameOffload offload)
    {
        WriteIpHeader(_out.AsSpan(EthernetHeader), IpHeader + length, _nextId++, 0x4000, protocol, source, destination);
        return SendFrame(TypeIp, IpHeader + length, offload);
    }

    /// <summary>Sends the outgoing frame's UDP datagram or echo, in fragments where it is longer than the link takes. What does not fit is lost.</summary>
    internal void SendDatagram(byte protocol, uint source, uint destination, int length)
    {
        if (IpHeader + length <= Mtu)
        {
            SendIp(protocol, source, destination, length, default);
            return;
        }
        const int most = (Mtu - IpHeader) & ~7;
        var whole = Payload[..length].ToArray();
        var id = _nextId++;
        for (var at = 0; at < length; at += most)
        {
            var piece = Math.Min(most, length - at);
            whole.AsSpan(at, piece).CopyTo(Payload);
            WriteIpHeader(_out.AsSpan(EthernetHeader), IpHeader + piece, id, (ushort)(at / 8 | (at + piece < length ? 0x2000 : 0)), protocol, source, destination);
            if (!SendFrame(TypeIp, IpHeader + piece, default)) return;
        }
    }

    private bool SendFrame(ushort type, int length, in FrameOffload offload)
    {
        _guestMac.CopyTo(_out, 0);
        GatewayMac.CopyTo(_out, 6);
        Write16(_out, 12, type);
        return _port.TrySend(_out.AsSpan(0, EthernetHeader + length), offload);
    }

    // Frames from the guest.

    private void Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (frame.Length < EthernetHeader || (frame[6] & 1) != 0) return;
        switch (Read16(frame, 12))
        {
            case TypeArp: ReceiveArp(frame[EthernetHeader..]); break;
            case TypeIp:
                if (!frame[..6].SequenceEqual(GatewayMac) && (frame[0] & 1) == 0) return;
                Learn(frame.Slice(6, 6));
                ReceiveIp(frame[EthernetHeader..], offload);
                break;
        }
    }

    private void Learn(ReadOnlySpan<byte> mac)
    {
        mac.CopyTo(_guestMac);
        _knowsGuest = true;
    }

    private void ReceiveArp(ReadOnlySpan<byte> packet)
    {
        if (packet.Length < 28 || Read16(packet, 0) != 1 || Read16(packet, 2) != TypeIp || packet[4] != 6 || packet[5] != 4) return;
        var source = Read32(packet, 14);
        if (source != 0) Learn(packet.Slice(8, 6));
        var target = Read32(packet, 24);
        if (Read16(packet, 6) != 1 || target is not (Gateway or NameServer)) return;
        var reply = _out.AsSpan(EthernetHeader, 28);
        packet[..8].CopyTo(reply);
        Write16(reply, 6, 2);
        GatewayMac.CopyTo(reply[8..]);
        Write32(reply, 14, target);
        packet.Slice(8, 10).CopyTo(reply[18..]);
        packet.Slice(8, 6).CopyTo(_guestMac); // also for probes, whose sender address is still 0
        SendFrame(TypeArp, 28, default);
    }

    /// <summary>Asks the guest for its hardware address, unless it is known.</summary>
    internal bool FindGuest()
    {
        if (_knowsGuest) return true;
        var request = _out.AsSpan(EthernetHeader, 28);
        request.Clear();
        Write16(request, 0, 1);
        Write16(request, 2, TypeIp);
        (request[4], request[5], request[7]) = (6, 4, 1);
        GatewayMac.CopyTo(request[8..]);
        Write32(request, 14, Gateway);
        Write32(request, 24, Guest);
        Array.Fill(_guestMac, (byte)0xff);
        SendFrame(TypeArp, 28, default);
        return false;
    }

    private void ReceiveIp(ReadOnlySpan<byte> packet, in FrameOffload offload)
    {
        if (packet.Length < IpHeader || packet[0] >> 4 != 4) return;
        var header = (packet[0] & 15) * 4;
        var total = Read16(packet, 2);
        if (header < IpHeader || total < header || total > packet.Length || InternetChecksum.Fold(InternetChecksum.Add(0, packet[..header])) != 0xffff) return;
        if ((Read16(packet, 6) & 0x3fff) != 0) return; // a fragment: drivers with our MTU send none but for large datagrams
        var (source, destination) = (Read32(packet, 12), Read32(packet, 16));
        var payload = packet[header..total];
        var partial = (offload.Flags & FrameOffload.NeedsChecksum) != 0;
        switch (packet[9])
        {
            case ProtocolUdp: ReceiveUdp(packet, payload, source, destination, partial); break;
            case ProtocolTcp: ReceiveTcp(payload, source, destination, partial); break;
            case ProtocolIcmp: ReceiveIcmp(payload, source, destination); break;
        }
    }

    private void ReceiveIcmp(ReadOnlySpan<byte> packet, uint source, uint destination)
    {
        const byte echoReply = 0, echoRequest = 8;
        if (packet.Length < IcmpHeader || packet[0] != echoRequest || destination is not (Gateway or NameServer)) return;
        if (InternetChecksum.Fold(InternetChecksum.Add(0, packet)) != 0xffff) return;
        var reply = Payload[..packet.Length];
        packet.CopyTo(reply);
        reply[0] = echoReply;
        Write16(reply, 2, 0);
        WriteSum(reply, 2, InternetChecksum.Of(reply));
        SendDatagram(ProtocolIcmp, destination, source, reply.Length);
    }

    /// <summary>Tells the guest that a destination cannot be reached (RFC 792), quoting the header of its packet.</summary>
    internal void SendUnreachable(byte code, byte protocol, FlowKey key)
    {
        // Addresses and ports are all that a receiver looks at.
        var message = Payload[..(IcmpHeader + IpHeader + 8)];
        message.Clear();
        message[0] = 3;
        message[1] = code;
        WriteIpHeader(message[IcmpHeader..], IpHeader + 8, 0, 0x4000, protocol, key.GuestAddress, key.RemoteAddress);
        Write16(message, IcmpHeader + IpHeader, key.GuestPort);
        Write16(message, IcmpHeader + IpHeader + 2, key.RemotePort);
        WriteSum(message, 2, InternetChecksum.Of(message));
        SendDatagram(ProtocolIcmp, Gateway, key.GuestAddress, message.Length);
    }

    private void ReceiveUdp(ReadOnlySpan<byte> packet, ReadOnlySpan<byte> datagram, uint source, uint destination, bool partial)
    {
        if (datagram.Length < UdpHeader) return;
        var length = Read16(datagram, 4);
        if (length < UdpHeader || length > datagram.Length) return;
        datagram = datagram[..length];
        if (!partial && Read16(datagram, 6) != 0
            && InternetChecksum.Fold(InternetChecksum.Add(InternetChecksum.AddPseudoHeader(0, source, destination, ProtocolUdp, length), datagram)) != 0xffff) return;
        var key = new FlowKey(source, Read16(datagram, 0), destination, Read16(datagram, 2));
        var data = datagram[UdpHeader..];
        if (key.RemotePort == 67 && (destination is uint.MaxValue or Gateway))
        {
            AnswerDhcp(data);
            return;
        }
        if ((source & Mask) != Subnet) return;
        if (!_udp.TryGetValue(key, out var flow))
        {
            var result = HostEndPoint(destination, key.RemotePort) is { } remote ? UdpFlow.TryOpen(this, key, remote, out flow) : -1;
            if (flow == null)
            {
                if (destination >> 24 < 224) SendUnreachable(1, ProtocolUdp, key);
                return;
            }
            if (_udp.Count >= MostUdpFlows) Close(_udp.Values.MinBy(old => old.LastUse)!);
            _udp[key] = flow;
        }
        flow.Send(data);
    }

    private void AnswerDhcp(ReadOnlySpan<byte> message)
    {
        var reply = Payload;
        var length = DhcpServer.Answer(message, reply[UdpHeader..], Gateway, NameServer, Guest, Mask);
        if (length == 0) return;
        // By broadcast in any case: a client without an address cannot be asked for its hardware address.
        SendUdp(new FlowKey(uint.MaxValue, 68, Gateway, 67), length);
    }

    /// <summary>Sends the datagram whose data lies behind the UDP header's place in <see cref="Payload"/>.</summary>
    internal void SendUdp(FlowKey key, int dataLength)
    {
        var datagram = Payload[..(UdpHeader + dataLength)];
        Write16(datagram, 0, key.RemotePort);
        Write16(datagram, 2, key.GuestPort);
        Write16(datagram, 4, datagram.Length);
        Write16(datagram, 6, 0);
        var sum = InternetChecksum.AddPseudoHeader(0, key.RemoteAddress, key.GuestAddress, ProtocolUdp, datagram.Length);
        var checksum = (ushort)~InternetChecksum.Fold(InternetChecksum.Add(sum, datagram));
        WriteSum(datagram, 6, checksum == 0 ? (ushort)0xffff : checksum);
        SendDatagram(ProtocolUdp, key.RemoteAddress, key.GuestAddress, datagram.Length);
    }

    internal void Close(UdpFlow flow)
    {
        _udp.Remove(flow.Key);
        flow.Dispose();
    }

    private void ExpireUdp(long now)
    {
        if (_udp.Count == 0) return;
        foreach (var flow in _udp.Values.Where(flow => flow.IsIdle(now)).ToArray()) Close(flow);
    }

    private void ReceiveTcp(ReadOnlySpan<byte> bytes, uint source, uint destination, bool partial)
    {
        if (!partial && InternetChecksum.Fold(InternetChecksum.Add(InternetChecksum.AddPseudoHeader(0, source, destination, ProtocolTcp, bytes.Length), bytes)) != 0xffff)
            return;
        if (!TcpSegment.TryParse(bytes, out var segment) || (source & Mask) != Subnet) return;
        var key = new FlowKey(source, segment.SourcePort, destination, segment.DestinationPort);
        if (_tcp.TryGetValue(key, out var flow) && !(flow.IsOver && (segment.Flags & (Syn | Ack)) == Syn))
        {
            flow.Receive(segment);
            return;
        }
        if ((segment.Flags & Rst) != 0) return;
        if ((segment.Flags & (Syn | Ack)) != Syn)
        {
            TcpFlow.Refuse(this, key, segment);
            return;
        }
        var remote = HostEndPoint(destination, key.RemotePort);
        if (remote == null) SendUnreachable(1, ProtocolTcp, key);
        else if (_tcp.Count >= MostTcpFlows) TcpFlow.Refuse(this, key, segment);
        else if (TcpFlow.Connect(this, key, segment, remote) is { } opened) _tcp[key] = opened;
    }

    /// <summary>A connection that the host accepted for the guest.</summary>
    private void Forward(HostSocket socket, int guestPort)
    {
        if (_tcp.Count >= MostTcpFlows)
        {
            socket.Dispose();
            return;
        }
        FlowKey key;
        do
        {
            _nextForwardPort = (ushort)(_nextForwardPort % 20000 + 1);
            key = new FlowKey(Guest, (ushort)guestPort, Gateway, (ushort)(40000 + _nextForwardPort));
        }
        while (_tcp.ContainsKey(key));
        _tcp[key] = TcpFlow.Offer(this, key, socket);
    }

    private sealed class Listener : ISocketOwner, IDisposable
    {
        private readonly UserNetwork _network;
        private readonly HostSocket _socket;
        private readonly int _guestPort;

        public Listener(UserNetwork network, PortForward forward)
        {
            (_network, _guestPort) = (network, forward.GuestPort);
            var result = HostSocket.Create(forward.Address.AddressFamily, System.Net.Sockets.SocketType.Stream, out var socket);
            if (result == 0) result = socket!.Bind(new IPEndPoint(forward.Address, forward.HostPort));
            if (result == 0) result = socket!.Listen(128);
            if (result != 0)
            {
                socket?.Dispose();
                throw new NetworkException(
                    $"cannot forward port {forward.HostPort} of {forward.Address}: {System.Runtime.InteropServices.Marshal.GetPInvokeErrorMessage(-result)}");
            }
            _socket = socket!;
            Port = _socket.LocalPort;
            network.Watch(_socket, PollEvents.Readable, this);
        }

        public int Port { get; }

        public void Ready(PollEvents events)
        {
            if (_socket.Accept(out var socket) == 0) _network.Forward(socket!, _guestPort);
        }

        public void Dispose() => _socket.Dispose();
    }

    public void Dispose()
    {
        if (_ending) return;
        _ending = true;
        _poll.Wake();
        _unpark.Set();
        if (_thread.IsAlive) _thread.Join();
        foreach (var flow in _tcp.Values.ToArray()) flow.Abort();
        foreach (var flow in _udp.Values) flow.Dispose();
        foreach (var listener in _listeners) listener.Dispose();
        _poll.Dispose();
        _unpark.Dispose();
    }
}
