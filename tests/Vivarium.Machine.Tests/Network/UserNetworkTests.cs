using System.Net;
using System.Net.Sockets;
using Vivarium.Machine.Network;
using static Vivarium.Machine.Network.Frames;

namespace Vivarium.Machine.Tests.Network;

public sealed class UserNetworkTests : IDisposable
{
    private readonly List<IDisposable> _owned = [];

    public void Dispose()
    {
        foreach (var owned in Enumerable.Reverse(_owned)) owned.Dispose();
    }

    private T Own<T>(T item) where T : IDisposable
    {
        _owned.Add(item);
        return item;
    }

    private FakeGuest NewGuest(bool offloads = true, params PortForward[] forwards) => Own(new FakeGuest(new UserNetwork(forwards), offloads));

    private Socket Listen()
    {
        var listener = Own(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        return listener;
    }

    private static ushort PortOf(Socket socket) => (ushort)((IPEndPoint)socket.LocalEndPoint!).Port;

    private (FakeTcp Guest, Socket Host) Connected(FakeGuest guest, ushort from = 5000)
    {
        var listener = Listen();
        var connection = guest.Connect(FakeGuest.Gateway, PortOf(listener), from);
        guest.Run(() => connection.IsOpen, "not connected");
        return (connection, Own(listener.Accept()));
    }

    private static Thread Background(Action work)
    {
        var thread = new Thread(() => work()) { IsBackground = true };
        thread.Start();
        return thread;
    }

    private static byte[] Noise(int length)
    {
        var bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return bytes;
    }

    [Fact]
    public void ResolvesTheGateway()
    {
        var guest = NewGuest();
        var request = new byte[42];
        Array.Fill(request, (byte)0xff, 0, 6);
        FakeGuest.Mac.CopyTo(request, 6);
        byte[] arp = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1, .. FakeGuest.Mac, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2];
        arp.CopyTo(request, 12);
        guest.SendFrame(request);
        guest.Run(() => guest.Others.Count > 0, "no answer");
        Assert.Equal([.. FakeGuest.Mac, .. FakeGuest.GatewayMac, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, .. FakeGuest.GatewayMac, 10, 0, 2, 2, .. FakeGuest.Mac, 10, 0, 2, 15], guest.Others[0]);
    }

    [Fact]
    public void LeasesAnAddress()
    {
        var guest = NewGuest();
        foreach (var (type, answer) in new (byte, byte)[] { (1, 2), (3, 5) })
        {
            var message = new byte[300];
            message[0] = message[1] = 1;
            message[2] = 6;
            Write32(message, 4, 0x12345678);
            FakeGuest.Mac.CopyTo(message, 28);
            byte[] options = [0x63, 0x82, 0x53, 0x63, 53, 1, type, 50, 4, 10, 0, 2, 15, 255];
            options.CopyTo(message, 236);
            guest.SendUdp(68, uint.MaxValue, 67, message, source: 0);
            var packet = guest.WaitPacket(ProtocolUdp);
            var reply = packet.AsSpan(IpHeader + UdpHeader);
            Assert.Equal(2, reply[0]);
            Assert.Equal(0x12345678u, Read32(reply, 4));
            Assert.Equal(FakeGuest.Address, Read32(reply, 16));
            Assert.Equal([53, 1, answer], reply[240..243].ToArray());
            Assert.True(reply.IndexOf((ReadOnlySpan<byte>)[3, 4, 10, 0, 2, 2]) > 0);
            Assert.True(reply.IndexOf((ReadOnlySpan<byte>)[6, 4, 10, 0, 2, 3]) > 0);
        }
    }

    [Fact]
    public void AnswersEchoRequests()
    {
        var guest = NewGuest();
        byte[] ping = [8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4, 5];
        WriteSum(ping, 2, InternetChecksum.Of(ping));
        guest.SendIp(ProtocolIcmp, FakeGuest.Gateway, ping);
        var reply = guest.WaitPacket(ProtocolIcmp);
        Assert.Equal([0, 0], reply[IpHeader..(IpHeader + 2)]);
        Assert.Equal(ping[4..], reply[(IpHeader + 4)..]);
        Assert.Equal(0xffff, InternetChecksum.Fold(InternetChecksum.Add(0, reply.AsSpan(IpHeader))));
    }

    [Fact]
    public void CarriesDatagramsBothWays()
    {
        var guest = NewGuest();
        using var echo = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        echo.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        guest.SendUdp(4000, FakeGuest.Gateway, PortOf(echo), "hello"u8);
        var buffer = new byte[9000];
        EndPoint from = new IPEndPoint(IPAddress.Any, 0);
        Assert.Equal(5, echo.ReceiveFrom(buffer, ref from));
        echo.SendTo("there"u8, from);
        var packet = guest.WaitPacket(ProtocolUdp);
        Assert.Equal((FakeGuest.Gateway, PortOf(echo), (ushort)4000), (Read32(packet, 12), Read16(packet, IpHeader), Read16(packet, IpHeader + 2)));
        Assert.Equal("there"u8.ToArray(), packet[(IpHeader + UdpHeader)..]);

        // Longer than the link's packets: in fragments.
        echo.SendTo(Noise(4000), from);
        guest.Run(() => guest.Others.Count == 3, "not three fragments");
        var whole = guest.Others.SelectMany(frame => frame[(EthernetHeader + IpHeader)..]).ToArray();
        Assert.Equal(Noise(4000), whole[UdpHeader..]);
        Assert.Equal([0x2000, 0x2000 | 185, 370], guest.Others.Select(frame => (int)Read16(frame, EthernetHeader + 6)));
    }

    [Fact]
    public void ForwardsQueriesToTheHostsNameServer()
    {
        var file = Path.GetTempFileName();
        File.WriteAllText(file, "# comment\nnameserver 127.77.77.77\n"); // nothing is there
        var guest = Own(new FakeGuest(new UserNetwork(resolverFile: file), true));
        guest.SendUdp(4000, FakeGuest.NameServer, 53, "query"u8);
        Assert.Equal([3, 3], guest.WaitPacket(ProtocolIcmp)[IpHeader..(IpHeader + 2)]);
        guest.SendUdp(4000, FakeGuest.NameServer, 54, "not a query"u8);
        Assert.Equal([3, 1], guest.WaitPacket(ProtocolIcmp)[IpHeader..(IpHeader + 2)]);
        File.Delete(file);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void SplicesConnections(bool offloads)
    {
        var guest = NewGuest(offloads);
        var (connection, host) = Connected(guest);
        var (up, down) = (Noise(3_000_000), Noise(2_500_001));
        var all = new byte[up.Length];
        var receiver = Background(() =>
        {
            for (var at = 0; at < all.Length;)
            {
                var count = host.Receive(all.AsSpan(at));
                if (count == 0) break;
                at += count;
            }
        });
        var sender = Background(() =>
        {
            host.Send(down);
            host.Shutdown(SocketShutdown.Send);
        });
        connection.SendAll(up);
        guest.Run(() => connection.HasEnded && connection.IsAcknowledged, "no end from the host");
        receiver.Join();
        Assert.True(up.AsSpan().SequenceEqual(all));
        Assert.True(down.AsSpan().SequenceEqual(connection.Data.ToArray()));
        Assert.Equal(offloads, guest.LargestFrame > 1514);
        sender.Join();

        // Half closed: this direction still works, then ends too.
        connection.SendData("more"u8);
        var buffer = new byte[10];
        Assert.Equal(4, host.Receive(buffer));
        connection.SendFin();
        Assert.Equal(0, host.Receive(buffer));
        guest.Run(() => connection.IsAcknowledged, "the end is not acknowledged");
        Assert.False(connection.IsReset);
    }

    [Fact]
    public void HalfClosesFromTheGuest()
    {
        var guest = NewGuest();
        var (connection, host) = Connected(guest);
        connection.SendData("request"u8);
        connection.SendFin();
        var buffer = new byte[100];
        Assert.Equal(7, host.Receive(buffer));
        Assert.Equal(0, host.Receive(buffer));
        host.Send("answer"u8);
        host.Dispose();
        guest.Run(() => connection.HasEnded, "no end");
        Assert.Equal("answer"u8.ToArray(), connection.Data.ToArray());
        Assert.False(connection.IsReset);
    }

    [Fact]
    public void RefusedConnectionsAreReset()
    {
        var guest = NewGuest();
        var closed = Listen();
        var port = PortOf(closed);
        closed.Dispose();
        var connection = guest.Connect(FakeGuest.Gateway, port, 5001);
        guest.Run(() => connection.IsReset, "no reset");
        connection = guest.Connect(0x7f000001, port, 5002);
        Assert.Equal([3, 1], guest.WaitPacket(ProtocolIcmp)[IpHeader..(IpHeader + 2)]);
        // A segment of no connection.
        var stray = new FakeTcp(guest, FakeGuest.Gateway, 80, 5003);
        guest.Add(stray);
        stray.SendData("?"u8);
        guest.Run(() => stray.IsReset, "no reset");
    }

    [Fact]
    public void ResetsPassThrough()
    {
        var guest = NewGuest();
        var (connection, host) = Connected(guest);
        host.LingerState = new LingerOption(true, 0);
        host.Dispose();
        guest.Run(() => connection.IsReset, "no reset from the host");

        var (second, secondHost) = Connected(guest, 5001);
        second.SendReset();
        Assert.Equal(SocketError.ConnectionReset, Assert.Throws<SocketException>(() => secondHost.Receive(new byte[1])).SocketErrorCode);
    }

    [Fact]
    public void HoldsBackWhoSendsTooFast()
    {
        var guest = NewGuest();
        var (connection, host) = Connected(guest);
        // Towards a host that does not read: the window closes and opens again.
        var sent = 0;
        var piece = Noise(60_000);
        for (var end = Environment.TickCount64 + 60_000; Environment.TickCount64 < end;)
        {
            if (connection.IsAcknowledged && connection.PeerWindow == 0) break;
            if (connection.IsAcknowledged && connection.PeerWindow > 0)
            {
                var take = (int)Math.Min(connection.PeerWindow, (uint)piece.Length);
                connection.SendData(piece.AsSpan(0, take));
                sent += take;
            }
            guest.RunFor(1);
        }
        Assert.Equal(0u, connection.PeerWindow);
        var reader = Background(() =>
        {
            var buffer = new byte[65536];
            for (var got = 0; got < sent;) got += host.Receive(buffer);
        });
        guest.Run(() => connection.PeerWindow > 100_000, "the window does not open");
        reader.Join();

        // Towards a guest that does not read: what it was sent stays within its window.
        connection.Window = 0;
        connection.SendAck();
        guest.RunFor(50);
        host.Send(Noise(100_000));
        guest.RunFor(100);
        Assert.Equal(0, connection.Data.Length);
        connection.Window = 65535;
        connection.SendAck();
        guest.Run(() => connection.Data.Length == 100_000, "the data does not come");
    }

    [Fact]
    public void WaitsForBuffersAndRepeatsWhatWasLost()
    {
        var guest = NewGuest(offloads: false);
        guest.Room = 3;
        var (connection, host) = Connected(guest);
        guest.LoseEvery = 90;
        var data = Noise(400_000);
        var sender = Background(() => { host.Send(data); host.Shutdown(SocketShutdown.Send); });
        guest.Run(() => connection.HasEnded, "the data does not arrive", 60_000);
        Assert.Equal(data.Length, (int)connection.Data.Length);
        Assert.Equal(data.Length, data.AsSpan().CommonPrefixLength(connection.Data.ToArray()));
        sender.Join();
    }

    /// <summary>The end of the stream comes while the last data are lost: it is no end before they came again.</summary>
    [Fact]
    public void LostDataAreNotTheEnd()
    {
        var guest = NewGuest(offloads: false);
        var (connection, host) = Connected(guest);
        guest.LoseEvery = 1;
        var data = Noise(1000);
        host.Send(data);
        host.Shutdown(SocketShutdown.Send);
        guest.Run(() => guest.Lost > 0, "the data are not lost");
        guest.LoseEvery = 0;
        guest.Run(() => connection.HasEnded, "the stream does not end", 60_000);
        Assert.Equal(data, connection.Data.ToArray());
    }

    [Fact]
    public void ForwardsPortsToTheGuest()
    {
        Assert.True(PortForward.TryParse("0:22", out var forward));
        var guest = NewGuest(true, forward!);
        guest.Listener = new FakeTcp(guest, 0, 0, 22);
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        client.Connect(IPAddress.Loopback, guest.Network.ForwardedPorts[0]);
        client.Send("SSH-2.0"u8);
        guest.Run(() => guest.Listener.Data.Length == 7, "nothing forwarded");
        guest.Listener.SendData("OK"u8);
        var buffer = new byte[10];
        Assert.Equal(2, client.Receive(buffer));
        guest.Listener.SendFin();
        Assert.Equal(0, client.Receive(buffer));
    }

    [Theory]
    [InlineData("2222:22", "127.0.0.1", 2222, 22)]
    [InlineData("0.0.0.0:80:8080", "0.0.0.0", 80, 8080)]
    [InlineData("[::1]:80:8080", "::1", 80, 8080)]
    public void ParsesForwards(string text, string address, int host, int guest)
    {
        Assert.True(PortForward.TryParse(text, out var forward));
        Assert.Equal(new PortForward(IPAddress.Parse(address), host, guest), forward);
    }

    [Theory]
    [InlineData("22")]
    [InlineData("22:")]
    [InlineData(":22")]
    [InlineData("70000:22")]
    [InlineData("22:0")]
    [InlineData("x:1:2")]
    [InlineData("-1:22")]
    public void RefusesOtherForwards(string text) => Assert.False(PortForward.TryParse(text, out _));

    [Fact]
    public void TakenPortsAreRefused()
    {
        var listener = Listen();
        var error = Assert.Throws<NetworkException>(() => new UserNetwork([new PortForward(IPAddress.Loopback, PortOf(listener), 22)]));
        Assert.Equal($"cannot forward port {PortOf(listener)} of 127.0.0.1: Address already in use", error.Message);
    }

    [Fact]
    public void RandomFramesDoNoHarm()
    {
        var guest = Own(new FakeGuest(new UserNetwork(resolverFile: "/nonexistent"), true));
        var (connection, host) = Connected(guest);
        var port = PortOf(Listen());
        foreach (var seed in new Fuzz("groups of 50 frames").Seeds())
        {
            var random = new Random(seed);
            for (var count = 0; count < 50; count++)
            {
                var frame = new byte[random.Next(4) == 0 ? random.Next(80) : random.Next(42, 200)];
                random.NextBytes(frame);
                if (frame.Length >= 14) FakeGuest.GatewayMac.CopyTo(frame, 0);
                if (frame.Length >= 14) FakeGuest.Mac.CopyTo(frame, 6);
                if (frame.Length >= 42)
                {
                    Write16(frame, 12, random.Next(10) == 0 ? TypeArp : TypeIp);
                    uint[] destinations = [FakeGuest.Gateway, FakeGuest.NameServer, uint.MaxValue, 0x7f000001, FakeGuest.Address, 0x0a000264];
                    var protocol = (byte)(random.Next(10) switch { 0 => random.Next(256), < 3 => ProtocolUdp, 3 => ProtocolIcmp, _ => ProtocolTcp });
                    WriteIpHeader(frame.AsSpan(EthernetHeader), frame.Length - EthernetHeader - (random.Next(10) == 0 ? random.Next(-3, 40) : 0), 1,
                        (ushort)(random.Next(20) == 0 ? 0x2000 : 0), protocol, FakeGuest.Address, destinations[random.Next(destinations.Length)]);
                    var payload = frame.AsSpan(EthernetHeader + IpHeader);
                    // To ports where nobody of this machine is disturbed, and to the open connection.
                    Write16(payload, 0, random.Next(3) == 0 ? 5000 : random.Next(5000, 5010));
                    Write16(payload, 2, protocol == ProtocolUdp ? (random.Next(2) == 0 ? 67 : 53) : port);
                    if (protocol == ProtocolTcp && payload.Length > 14 && random.Next(2) == 0) payload[12] = (byte)(random.Next(5, 8) << 4);
                }
                guest.SendFrame(frame, new FrameOffload { Flags = (byte)random.Next(2), SegmentationType = (byte)random.Next(256), SegmentSize = (ushort)random.Next(65536) });
            }
            guest.RunFor(2);
            guest.Others.Clear();
        }
        // It still works.
        var (last, lastHost) = Connected(guest, 6000);
        lastHost.Send("alive"u8);
        guest.Run(() => last.Data.Length == 5, "the network is dead");
    }
}
