using Vivarium.Machine.Tests.Devices;
using Vivarium.Machine.Buses;
using Vivarium.Machine.Pci;
using Vivarium.Machine.State;
using Vivarium.Machine.Tests.Virtio;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Tests.Pci;

public sealed class PciTests : IDisposable
{
    private const ulong Ecam = 0x3000_0000, Window = 0x4000_0000, Bar = Window + 0x10_0000, Device = Ecam + (1 << 15);

    private readonly PhysicalMemory _memory = MmioDriver.NewMemory();
    private readonly Wire[] _wires = [new(), new(), new(), new()];
    private readonly VirtioEntropy _entropy;
    private readonly VirtioConsole _console;

    public PciTests()
    {
        var host = new PciHost(_wires, Window);
        _memory.Map(Ecam, 1 << 28, host.Configuration);
        _memory.Map(Window, 1 << 30, host.Window);
        Assert.Equal(1, host.Add(new VirtioPci(_entropy = new VirtioEntropy(_memory))));
        Assert.Equal(2, host.Add(new VirtioPci(_console = new VirtioConsole(_memory, _ => { }))));
    }

    public void Dispose()
    {
        _entropy.Dispose();
        _console.Dispose();
        _memory.Dispose();
    }

    private uint Get(ulong address, int size = 4)
    {
        Assert.True(_memory.TryRead(address, size, out var value));
        return (uint)value;
    }

    private void Set(ulong address, ulong value, int size = 4) => Assert.True(_memory.TryWrite(address, size, value));

    private void SetUpBar(ulong device = Device, ulong bar = Bar)
    {
        Set(device + 0x10, bar);
        Set(device + 4, 6, 2);
    }

    [Fact]
    public void IsFoundAndSized()
    {
        Assert.Equal(0x00081b36u, Get(Ecam));
        Assert.Equal(0x060000u, Get(Ecam + 8) >> 8);
        Assert.Equal(0x10441af4u, Get(Device)); // entropy
        Assert.Equal(0x10431af4u, Get(Device + (1 << 15)));
        Assert.Equal(uint.MaxValue, Get(Ecam + (3 << 15)));
        Assert.Equal(uint.MaxValue, Get(Ecam + (1 << 12)));
        Assert.Equal(uint.MaxValue, Get(Ecam + (1 << 20)));
        Assert.Equal(1u, Get(Device + 0x3d, 1));
        Set(Device + 0x10, uint.MaxValue);
        Assert.Equal(0xffffc000u, Get(Device + 0x10));
        Set(Device + 0x14, uint.MaxValue);
        Assert.Equal(0u, Get(Device + 0x14));
        Set(Device, 0);
        Assert.Equal(0x10441af4u, Get(Device));
        // The structures, each once.
        var types = new List<uint>();
        for (var at = Get(Device + 0x34, 1); at != 0; at = Get(Device + at + 1, 1))
        {
            Assert.Equal(9u, Get(Device + at, 1));
            types.Add(Get(Device + at + 3, 1));
        }
        Assert.Equal([1u, 2, 3, 4, 5], types);
    }

    [Fact]
    public void BarsDecodeWhenTheyAreToldTo()
    {
        Set(Device + 0x10, Bar);
        Assert.Equal(0xffffu, Get(Bar + 0x12, 2));
        Set(Device + 4, 2, 2);
        Assert.Equal(1u, Get(Bar + 0x12, 2)); // one queue
        Set(Device + 0x10, Bar + 0x4000);
        Assert.Equal(0xffffu, Get(Bar + 0x12, 2));
        Assert.Equal(1u, Get(Bar + 0x4012, 2));
        // Over RAM or other devices: nothing happens to those.
        Set(Device + 0x10, MmioDriver.RamBase);
        Set(MmioDriver.RamBase, 5);
        Assert.Equal(5u, Get(MmioDriver.RamBase));
    }

    private const ulong Rings = MmioDriver.RamBase + 0x10000;

    private void Start()
    {
        SetUpBar();
        Set(Bar + 0x14, 0, 1);
        Set(Bar + 0x14, 3, 1);
        Set(Bar, 1);
        Assert.Equal(1u, Get(Bar + 4) & 1);
        Set(Bar + 8, 1);
        Set(Bar + 0xc, 1);
        Set(Bar + 0x14, 11, 1);
        Assert.Equal(11u, Get(Bar + 0x14, 1));
        Set(Bar + 0x16, 0, 2);
        Set(Bar + 0x18, 16, 2);
        Set(Bar + 0x20, Rings);
        Set(Bar + 0x24, 0);
        Set(Bar + 0x28, Rings + 0x1000, 8);
        Set(Bar + 0x30, Rings + 0x2000, 8);
        Set(Bar + 0x1c, 1, 2);
        Assert.Equal(Rings, Get(Bar + 0x20));
        Assert.Equal(0xffffu, Get(Bar + 0x1a, 2));
        Set(Bar + 0x14, 15, 1);
    }

    [Fact]
    public void CarriesADevice()
    {
        Start();
        Set(Rings, Rings + 0x3000, 8);
        Set(Rings + 8, 32);
        Set(Rings + 12, 2, 2);
        Set(Rings + 0x1002, 1, 2);
        Set(Bar + 0x3000, 0, 2);
        MmioDriver.Wait(() => Get(Rings + 0x2002, 2) == 1, "no answer");
        Assert.Equal(32u, Get(Rings + 0x2008));
        // Device 1, pin A: the second wire. Reading the status lowers it.
        MmioDriver.Wait(() => _wires[1].Level, "no interrupt");
        Assert.Equal(8u, Get(Device + 6, 2) & 8);
        Assert.Equal(1u, Get(Bar + 0x1000, 1));
        Assert.False(_wires[1].Level);
        Assert.Equal(0u, Get(Bar + 0x1000, 1));

        // With interrupts off in the command register the wire stays low.
        Set(Device + 4, 0x406, 2);
        Set(Rings + 0x1002, 2, 2);
        Set(Bar + 0x3000, 0, 2);
        MmioDriver.Wait(() => (Get(Device + 6, 2) & 8) != 0, "no interrupt in the status");
        Assert.False(_wires[1].Level);
        Set(Device + 4, 6, 2);
        Assert.True(_wires[1].Level);

        // Saved and loaded: the same.
        _entropy.Quiesce();
        var saved = new MemoryStream();
        StateArchive.Save(saved, [_entropy]);
        saved.Position = 0;
        Get(Bar + 0x1000, 1);
        Set(Device + 0x10, 0);
        StateArchive.Load(saved, [_entropy]);
        _entropy.Resume();
        Assert.True(_wires[1].Level);
        Assert.Equal(15u, Get(Bar + 0x14, 1));
    }

    [Fact]
    public void ConfigurationSpaceReachesTheBar()
    {
        SetUpBar();
        var at = Get(Device + 0x34, 1);
        while (Get(Device + at + 3, 1) != 5) at = Get(Device + at + 1, 1);
        Set(Device + at + 8, 0x12);
        Set(Device + at + 12, 2);
        Assert.Equal(1u, Get(Device + at + 16) & 0xffff);
        Set(Device + at + 8, 0x14);
        Set(Device + at + 12, 1);
        Set(Device + at + 16, 3);
        Assert.Equal(3u, Get(Bar + 0x14, 1));
    }

    [Fact]
    public void RandomAccessesDoNoHarm()
    {
        foreach (var seed in new Fuzz("groups of 1000 PCI accesses").Seeds())
        {
            var random = new Random(seed);
            for (var count = 0; count < 1000; count++)
            {
                var size = 1 << random.Next(4);
                var address = random.Next(4) switch
                {
                    0 => Ecam + ((ulong)random.Next(4) << 15) + (ulong)random.Next(0x100),
                    1 => Ecam + (ulong)random.Next(1 << 28),
                    2 => Window + (ulong)random.Next(1 << 30),
                    _ => Bar + (ulong)random.Next(0x4000),
                };
                address &= ~((ulong)size - 1);
                if (random.Next(2) == 0) _memory.TryRead(address, size, out _);
                else _memory.TryWrite(address, size, random.Next(2) == 0 ? (ulong)random.Next(16) : (ulong)random.NextInt64());
                if (random.Next(50) == 0) SetUpBar(Device + ((ulong)random.Next(2) << 15));
            }
        }
        Set(Device + (1 << 15) + 4, 0, 2);
        Start();
    }
}
