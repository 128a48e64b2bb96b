using System.Collections.Concurrent;
using Vivarium.Machine.Network;
using static Vivarium.Machine.Network.Frames;

namespace Vivarium.Machine.Tests.Network;

/// <summary>A guest's network card and the small IP stack behind it, driven by the test's thread.</summary>
internal sealed class FakeGuest : IGuestPort, IDisposable
{
    public const uint Address = 0x0a00020f, Gateway = 0x0a000202, NameServer = 0x0a000203;
    public static readonly byte[] Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    public static readonly byte[] GatewayMac = [0x52, 0x55, 0x0a, 0x00, 0x02, 0x02];

    private readonly Lock _lock = new();
    private readonly ConcurrentQueue<(byte[] Frame, FrameOffload Offload)> _sent = new();
    private readonly BlockingCollection<(byte[] Frame, FrameOffload Offload)> _received = [];
    private readonly List<FakeTcp> _connections = [];

    public FakeGuest(UserNetwork network, bool offloads)
    {
        (Network, TakesPartialChecksums, TakesLargeSegments) = (network, offloads, offloads);
        network.Start(this);
    }

    public UserNetwork Network { get; }

    public bool TakesPartialChecksums { get; }

    public bool TakesLargeSegments { get; }

    /// <summary>Frames that fit into the card's buffers.</summary>
    public int Room { get; set; } = 256;

    /// <summary>Datagrams and other frames that no connection took.</summary>
    public List<byte[]> Others { get; } = [];

    /// <summary>Called for every SYN that arrives; the connection that it makes is accepted.</summary>
    public FakeTcp? Listener { get; set; }

    public int LargestFrame { get; private set; }

    /// <summary>Every n-th data frame to the guest is lost; 0 for none.</summary>
    public int LoseEvery { get; set; }

    /// <summary>Frames lost so far.</summary>
    public int Lost { get; private set; }

    private int _count;

    public bool Turn(Action turn)
    {
        lock (_lock) turn();
        return true;
    }

    public bool TryReceive(Span<byte> buffer, out int length, out FrameOffload offload)
    {
        var found = _sent.TryDequeue(out var item);
        (length, offload) = (0, item.Offload);
        if (!found) return false;
        item.Frame.CopyTo(buffer);
        length = item.Frame.Length;
        return true;
    }

    public bool TrySend(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (_received.Count >= Room) return false;
        if (LoseEvery > 0 && frame.Length > 200 && ++_count % LoseEvery == 0)
        {
            Lost++;
            return true;
        }
        _received.Add((frame.ToArray(), offload));
        return true;
    }

    public void SendFrame(byte[] frame, FrameOffload offload = default)
    {
        _sent.Enqueue((frame, offload));
        Network.Wake();
    }

    public void SendIp(byte protocol, uint destination, ReadOnlySpan<byte> payload, uint source = Address)
    {
        var frame = new byte[EthernetHeader + IpHeader + payload.Length];
        GatewayMac.CopyTo(frame, 0);
        Mac.CopyTo(frame, 6);
        Write16(frame, 12, TypeIp);
        WriteIpHeader(frame.AsSpan(EthernetHeader), IpHeader + payload.Length, 1, 0, protocol, source, destination);
        payload.CopyTo(frame.AsSpan(EthernetHeader + IpHeader));
        SendFrame(frame);
    }

    public void SendUdp(ushort from, uint destination, ushort to, ReadOnlySpan<byte> data, uint source = Address)
    {
        var datagram = new byte[UdpHeader + data.Length];
        Write16(datagram, 0, from);
        Write16(datagram, 2, to);
        Write16(datagram, 4, datagram.Length);
        data.CopyTo(datagram.AsSpan(UdpHeader));
        WriteSum(datagram, 6, (ushort)~InternetChecksum.Fold(InternetChecksum.Add(
            InternetChecksum.AddPseudoHeader(0, source, destination, ProtocolUdp, datagram.Length), datagram)));
        SendIp(ProtocolUdp, destination, datagram, source);
    }

    public FakeTcp Connect(uint address, ushort port, ushort from)
    {
        var connection = new FakeTcp(this, address, port, from);
        _connections.Add(connection);
        connection.SendSyn();
        return connection;
    }

    public void Add(FakeTcp connection) => _connections.Add(connection);

    /// <summary>Handles frames until the condition holds.</summary>
    public void Run(Func<bool> until, string complaint, int milliseconds = 20_000)
    {
        var end = Environment.TickCount64 + milliseconds;
        while (!until())
        {
            Assert.True(Environment.TickCount64 < end, complaint);
            HandleOne(20);
        }
    }

    /// <summary>Handles what comes within the time.</summary>
    public void RunFor(int milliseconds)
    {
        var end = Environment.TickCount64 + milliseconds;
        while (Environment.TickCount64 < end) HandleOne(5);
    }

    private void HandleOne(int milliseconds)
    {
        if (!_received.TryTake(out var item, milliseconds)) return;
        Network.Wake(); // room again
        Handle(item.Frame, item.Offload);
    }

    /// <summary>The next IP packet with this protocol among those that no connection takes.</summary>
    public byte[] WaitPacket(byte protocol)
    {
        byte[]? found = null;
        Run(() => (found = Others.Find(frame => Read16(frame, 12) == TypeIp && frame[EthernetHeader + 9] == protocol)) != null, $"no packet of protocol {protocol}");
        Others.Remove(found!);
        return found![EthernetHeader..];
    }

    private void Handle(byte[] frame, FrameOffload offload)
    {
        LargestFrame = Math.Max(LargestFrame, frame.Length);
        if (Read16(frame, 12) == TypeArp && Read16(frame, EthernetHeader + 6) == 1)
        {
            var reply = (byte[])frame.Clone();
            GatewayMac.CopyTo(reply, 0);
            Mac.CopyTo(reply, 6);
            Write16(reply, 20, 2);
            Mac.CopyTo(reply, 22);
            frame.AsSpan(38, 4).CopyTo(reply.AsSpan(28));
            frame.AsSpan(22, 10).CopyTo(reply.AsSpan(32));
            SendFrame(reply);
            return;
        }
        if (Read16(frame, 12) != TypeIp)
        {
            Others.Add(frame);
            return;
        }
        var packet = frame.AsSpan(EthernetHeader);
        Assert.Equal(0xffff, InternetChecksum.Fold(InternetChecksum.Add(0, packet[..IpHeader])));
        Assert.Equal(packet.Length, Read16(packet, 2));
        var (source, destination) = (Read32(packet, 12), Read32(packet, 16));
        var payload = packet[IpHeader..];
        if (packet[9] is ProtocolTcp or ProtocolUdp && (Read16(packet, 6) & 0x3fff) == 0)
        {
            var sum = InternetChecksum.AddPseudoHeader(0, source, destination, packet[9], payload.Length);
            if ((offload.Flags & FrameOffload.NeedsChecksum) == 0) Assert.Equal(0xffff, InternetChecksum.Fold(InternetChecksum.Add(sum, payload)));
            else Assert.Equal(InternetChecksum.Fold(sum), System.Buffers.Binary.BinaryPrimitives.ReadUInt16LittleEndian(payload[16..]));
        }
        if (packet[9] != ProtocolTcp || !TcpSegment.TryParse(payload, out var segment))
        {
            Others.Add(frame);
            return;
        }
        if (offload.SegmentationType == 0) Assert.InRange(packet.Length, 0, Mtu);
        else Assert.Equal(1460, offload.SegmentSize);
        foreach (var connection in _connections)
        {
            if (connection.Takes(source, segment))
            {
                connection.Receive(segment);
                return;
            }
        }
        if (Listener != null && (segment.Flags & (Syn | Ack)) == Syn && segment.DestinationPort == Listener.LocalPort)
        {
            Listener.Accept(source, segment);
            return;
        }
        Others.Add(frame);
    }

    public void Dispose()
    {
        Network.Dispose();
        _received.Dispose();
    }
}

/// <summary>One end of a TCP connection in the fake guest.</summary>
internal sealed class FakeTcp(FakeGuest guest, uint address, ushort port, ushort localPort)
{
    private uint _remote = address, _next = 1000, _acknowledged = 1000, _expected, _window;
    private ushort _remotePort = port;
    private int _scale;
    private bool _accepting;

    public ushort LocalPort => localPort;

    public bool IsOpen { get; private set; }

    public bool IsReset { get; private set; }

    public bool HasEnded { get; private set; }

    public bool IsAcknowledged => _acknowledged == _next;

    /// <summary>What came, in order.</summary>
    public MemoryStream Data { get; } = new();

    /// <summary>The window that this end offers.</summary>
    public int Window { get; set; } = 65535;

    public uint PeerWindow => _window;

    public bool Takes(uint source, in TcpSegment segment) =>
        _remotePort != 0 && source == _remote && segment.SourcePort == _remotePort && segment.DestinationPort == localPort;

    public void Accept(uint source, in TcpSegment syn)
    {
        (_remote, _remotePort, _expected, _accepting) = (source, syn.SourcePort, syn.Sequence + 1, true);
        _scale = Math.Max(syn.SynOptions().WindowScale, 0);
        guest.Add(this);
        Send(Syn | Ack, _next++, [2, 4, 0x05, 0xb4, 1, 3, 3, 0], []);
    }

    public void SendSyn() => Send(Syn, _next++, [2, 4, 0x05, 0xb4, 1, 3, 3, 0], []);

    public void SendData(ReadOnlySpan<byte> data)
    {
        Send(Psh | Ack, _next, [], data);
        _next += (uint)data.Length;
    }

    public void SendFin() => Send(Fin | Ack, _next++, [], []);

    public void SendReset() => Send(Rst | Ack, _next, [], []);

    public void SendAck() => Send(Ack, _next, [], []);

    /// <summary>Sends all of it as fast as the window allows.</summary>
    public void SendAll(byte[] data)
    {
        for (var at = 0; at < data.Length;)
        {
            guest.Run(() => IsReset || (int)(_window - (_next - _acknowledged)) > 0, "the window stays closed");
            if (IsReset) return;
            var take = Math.Min(Math.Min(data.Length - at, 60_000), (int)(_window - (_next - _acknowledged)));
            SendData(data.AsSpan(at, take));
            at += take;
        }
    }

    private void Send(byte flags, uint sequence, ReadOnlySpan<byte> options, ReadOnlySpan<byte> data)
    {
        var segment = new byte[TcpHeader + options.Length + data.Length];
        Write16(segment, 0, localPort);
        Write16(segment, 2, _remotePort);
        Write32(segment, 4, sequence);
        Write32(segment, 8, (flags & Ack) != 0 ? _expected : 0);
        segment[12] = (byte)((TcpHeader + options.Length) / 4 << 4);
        segment[13] = flags;
        Write16(segment, 14, Window);
        options.CopyTo(segment.AsSpan(TcpHeader));
        data.CopyTo(segment.AsSpan(TcpHeader + options.Length));
        WriteSum(segment, 16, (ushort)~InternetChecksum.Fold(InternetChecksum.Add(
            InternetChecksum.AddPseudoHeader(0, FakeGuest.Address, _remote, ProtocolTcp, segment.Length), segment)));
        guest.SendIp(ProtocolTcp, _remote, segment);
    }

    public void Receive(in TcpSegment segment)
    {
        if ((segment.Flags & Rst) != 0)
        {
            IsReset = true;
            return;
        }
        if ((segment.Flags & Syn) != 0)
        {
            if (_accepting) return;
            if (!IsOpen) (_expected, _scale) = (segment.Sequence + 1, Math.Max(segment.SynOptions().WindowScale, 0));
            (IsOpen, _acknowledged, _window) = (true, segment.Acknowledgement, segment.Window);
            SendAck();
            return;
        }
        if (_accepting) IsOpen = true;
        if ((int)(segment.Acknowledgement - _acknowledged) >= 0) (_acknowledged, _window) = (segment.Acknowledgement, (uint)segment.Window << _scale);
        if (segment.Length == 0) return;
        if (segment.Sequence == _expected && segment.Data.Length <= Window)
        {
            Data.Write(segment.Data);
            _expected += (uint)segment.Data.Length;
            if ((segment.Flags & Fin) != 0)
            {
                _expected++;
                HasEnded = true;
            }
        }
        SendAck();
    }
}
