using Vivarium.Machine.Network;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Tests.Virtio;

public sealed class VirtioNetworkTests
{
    // Sends every frame back, twice as long.
    private sealed class Mirror : INetwork
    {
        private IGuestPort _port = null!;
        private DeviceThread _thread = null!;
        private readonly byte[] _buffer = new byte[140_000];
        private (int Length, FrameOffload Offload)? _kept;

        public void Start(IGuestPort port)
        {
            _port = port;
            _thread = new DeviceThread("mirror", () => _port.Turn(Turn));
            _thread.Start();
        }

        private void Turn()
        {
            while (_kept != null || _port.TryReceive(_buffer.AsSpan(0, 65550), out var length, out var offload) && (_kept = (length, offload)) != null)
            {
                _buffer.AsSpan(0, _kept!.Value.Length).CopyTo(_buffer.AsSpan(_kept.Value.Length));
                if (!_port.TrySend(_buffer.AsSpan(0, 2 * _kept.Value.Length), _kept.Value.Offload)) return;
                _kept = null;
            }
        }

        public void Wake() => _thread.Wake();

        public TimeSpan CpuTime => _thread.CpuTime;

        public void Dispose() => _thread.Dispose();
    }

    private const ulong Mergeable = 1 << 15;

    [Theory]
    [InlineData(0UL)]
    [InlineData(Mergeable)]
    [InlineData(Mergeable | VirtioFeatures.EventIndex)]
    public void CarriesFrames(ulong without)
    {
        using var memory = MmioDriver.NewMemory();
        using var device = new VirtioNetwork(memory, new Mirror());
        var driver = MmioDriver.For(memory, device);
        driver.Start(without, queues: 2);
        Assert.Equal(0x5452u, driver.Transport.Read(0x100, 2)); // the hardware address
        for (var round = 0; round < 100; round++)
        {
            driver.FreeBuffers();
            var frame = new byte[12 + 700];
            new Random(round).NextBytes(frame);
            (frame[1], frame[10], frame[11]) = (0, 0, 0);
            // No buffers yet: the frame waits until there are.
            driver.Submit(1, (driver.Allocate(frame), frame.Length, false));
            driver.WaitUsed(1);
            var size = (without & Mergeable) != 0 ? 1526 : 500;
            var buffers = new ulong[4];
            for (var i = 0; i < buffers.Length; i++) driver.Submit(0, (buffers[i] = driver.Allocate(size), size, true));
            var got = new List<byte>();
            var count = 1;
            for (var i = 0; i < count; i++)
            {
                var (_, written) = driver.WaitUsed(0);
                var bytes = driver.Bytes(buffers[i], (int)written);
                if (i == 0) count = bytes[10];
                got.AddRange(bytes);
            }
            Assert.Equal((without & Mergeable) != 0 ? 1 : 3, count);
            Assert.Equal([.. frame[12..], .. frame[12..]], got.Skip(12));
            Assert.Equal(frame[..10], got.Take(10));
            // A fresh driver, so that left-over buffers do not mix up the rounds.
            driver.Start(without, queues: 2);
        }
    }

    [Fact]
    public void ComesUpUnderTheRealNetwork()
    {
        using var memory = MmioDriver.NewMemory();
        using var device = new VirtioNetwork(memory, new UserNetwork(resolverFile: "/nonexistent"));
        var driver = MmioDriver.For(memory, device);
        driver.Start(queues: 2);
        driver.Submit(0, (driver.Allocate(2000), 2000, true));
        byte[] arp = [.. new byte[12], .. Enumerable.Repeat((byte)0xff, 6), 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
            0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2];
        driver.Submit(1, (driver.Allocate(arp), arp.Length, false));
        Assert.Equal(12u + 42u, driver.WaitUsed(0).Written);
        device.Quiesce();
        driver.Submit(1, (driver.Allocate(arp), arp.Length, false));
        Thread.Sleep(20);
        Assert.Null(driver.TakeUsed(0));
        driver.Submit(0, (driver.Allocate(2000), 2000, true));
        device.Resume();
        Assert.Equal(12u + 42u, driver.WaitUsed(0).Written);
    }
}
