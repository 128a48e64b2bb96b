using Vivarium.Machine.Tests.Devices;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Tests.Virtio;

public sealed class VirtqueueTests : IDisposable
{
    private readonly Vivarium.Machine.Buses.PhysicalMemory _memory = MmioDriver.NewMemory();
    private readonly VirtioEntropy _device;
    private readonly MmioDriver _driver;

    public VirtqueueTests()
    {
        _device = new VirtioEntropy(_memory);
        _driver = MmioDriver.For(_memory, _device);
    }

    public void Dispose()
    {
        _device.Dispose();
        _memory.Dispose();
    }

    [Fact]
    public void IdentifiesItself()
    {
        Assert.Equal(0x74726976u, _driver.Get(0));
        Assert.Equal(2u, _driver.Get(4));
        Assert.Equal(4u, _driver.Get(8));
        Assert.Equal(256u, _driver.Get(0x34));
        _driver.Set(0x30, 1);
        Assert.Equal(0u, _driver.Get(0x34));
    }

    [Fact]
    public void RefusesDriversWithoutVersion1AndFeaturesNotOffered()
    {
        _driver.Set(0x70, 3);
        _driver.Set(0x70, 11);
        Assert.Equal(3u, _driver.Get(0x70));
        _driver.Set(0x24, 1);
        _driver.Set(0x20, 1 | 1 << 9);
        _driver.Set(0x70, 11);
        Assert.Equal(3u, _driver.Get(0x70));
        _driver.Set(0x20, 1);
        _driver.Set(0x70, 11);
        Assert.Equal(11u, _driver.Get(0x70));
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(VirtioFeatures.EventIndex)]
    [InlineData(VirtioFeatures.EventIndex | VirtioFeatures.IndirectDescriptors)]
    public void FillsBuffersAndInterrupts(ulong without)
    {
        _driver.Start(without);
        for (var round = 0; round < 200; round++)
        {
            var buffer = _driver.Allocate(new byte[64]);
            _driver.Submit(0, (buffer, 40, true), (buffer + 40, 24, true));
            var (_, written) = _driver.WaitUsed(0);
            Assert.Equal(64u, written);
            Assert.Contains(_driver.Bytes(buffer, 64), value => value != 0);
            MmioDriver.Wait(() => _driver.Wire.Level, "no interrupt");
            Assert.Equal(1u, _driver.Get(0x60));
            _driver.Set(0x64, 1);
            Assert.False(_driver.Wire.Level);
        }
    }

    [Fact]
    public void FollowsIndirectTables()
    {
        _driver.Start();
        var buffer = _driver.Allocate(new byte[300]);
        var table = _driver.Allocate(48);
        for (var i = 0; i < 3; i++) _driver.WriteDescriptorAt(table + 16 * (ulong)i, buffer + 100 * (ulong)i, 100, (ushort)(2 | (i < 2 ? 1 : 0)), (ushort)(i + 1));
        _driver.WriteDescriptor(0, 5, table, 48, 4, 0);
        _driver.MakeAvailable(0, 5);
        Assert.Equal((5u, 300u), _driver.WaitUsed(0));
        Assert.Contains(_driver.Bytes(buffer + 200, 100), value => value != 0);
    }

    [Fact]
    public void SuppressesInterruptsThatTheDriverDoesNotWant()
    {
        _driver.Start(VirtioFeatures.EventIndex);
        _memory.TryWrite(MmioDriver.RamBase + 0x16000, 2, 1); // VIRTQ_AVAIL_F_NO_INTERRUPT
        _driver.Submit(0, (_driver.Allocate(16), 16, true));
        _driver.WaitUsed(0);
        _device.Quiesce(); // after it, whatever would have been signalled has been
        Assert.Equal(0, _driver.Wire.Rises);
    }

    [Theory]
    [InlineData("loop")]
    [InlineData("outside")]
    [InlineData("wrap")]
    [InlineData("head")]
    [InlineData("next")]
    [InlineData("order")]
    [InlineData("nested")]
    [InlineData("odd table")]
    [InlineData("index")]
    public void AsksForResetWhereTheDriverBreaksTheRules(string how)
    {
        _driver.Start();
        var good = _driver.Allocate(64);
        ushort head = 0;
        switch (how)
        {
            case "loop": _driver.WriteDescriptor(0, 0, good, 8, 3, 1); _driver.WriteDescriptor(0, 1, good, 8, 3, 0); break;
            case "outside": _driver.WriteDescriptor(0, 0, 0x1000_0000, 8, 2, 0); break;
            case "wrap": _driver.WriteDescriptor(0, 0, MmioDriver.RamBase + MmioDriver.RamSize - 4, uint.MaxValue, 2, 0); break;
            case "head": head = 64; break;
            case "next": _driver.WriteDescriptor(0, 0, good, 8, 3, 64); break;
            case "order": _driver.WriteDescriptor(0, 0, good, 8, 3, 1); _driver.WriteDescriptor(0, 1, good, 8, 0, 0); break;
            case "nested": _driver.WriteDescriptorAt(good, good, 16, 4, 0); _driver.WriteDescriptor(0, 0, good, 16, 4, 0); break;
            case "odd table": _driver.WriteDescriptor(0, 0, good, 17, 4, 0); break;
            case "index": _memory.TryWrite(MmioDriver.RamBase + 0x16002, 2, 65); _driver.Set(0x50, 0); break;
        }
        if (how != "index") _driver.MakeAvailable(0, head);
        MmioDriver.Wait(() => (_driver.Get(0x70) & 64) != 0, "no request for a reset");
        MmioDriver.Wait(() => (_driver.Get(0x60) & 2) != 0, "no interrupt for it");

        // And works again after one.
        _driver.Start();
        Assert.False(_driver.Wire.Level);
        _driver.Submit(0, (good, 64, true));
        Assert.Equal(64u, _driver.WaitUsed(0).Written);
    }

    [Fact]
    public void RefusesRingsOutsideRam()
    {
        _driver.Start(queues: 0);
        _driver.Set(0x30, 0);
        _driver.Set(0x38, 64);
        _driver.Set(0x44, 1);
        MmioDriver.Wait(() => (_driver.Get(0x70) & 64) != 0, "no request for a reset");
    }

    [Fact]
    public void ResetsSingleQueues()
    {
        _driver.Start();
        _driver.Submit(0, (_driver.Allocate(16), 16, true));
        _driver.WaitUsed(0);
        _driver.Set(0x30, 0);
        _driver.Set(0xc0, 1);
        Assert.Equal(0u, _driver.Get(0xc0));
        Assert.Equal(0u, _driver.Get(0x44));
        _driver.EnableQueue(0, 16);
        _driver.Submit(0, (_driver.Allocate(16), 16, true));
        Assert.Equal(16u, _driver.WaitUsed(0).Written);
    }
}
