using Vivarium.Machine.Buses;

namespace Vivarium.Machine.Tests.Buses;

public sealed class PhysicalMemoryTests : IDisposable
{
    private const ulong RamBase = 0x8000_0000, RamSize = 1 << 20;
    private readonly PhysicalMemory _memory = new(RamBase, RamSize);

    private sealed class Registers : IMmioDevice
    {
        public readonly List<(ulong, int, ulong)> Writes = [];
        public ulong Read(ulong offset, int size) => 0xffff_ffff_ffff_ff00 + offset;
        public void Write(ulong offset, int size, ulong value) => Writes.Add((offset, size, value));
    }

    public void Dispose() => _memory.Dispose();

    [Theory]
    [InlineData(1), InlineData(2), InlineData(4), InlineData(8)]
    public void RamHoldsWhatIsWrittenAtEachSize(int size)
    {
        Assert.True(_memory.TryWrite(RamBase + 0x1003, size, 0x8877_6655_4433_2211));
        Assert.True(_memory.TryRead(RamBase + 0x1003, size, out var value));
        Assert.Equal(0x8877_6655_4433_2211 & (size == 8 ? ulong.MaxValue : (1UL << (8 * size)) - 1), value);
    }

    [Fact]
    public void NothingIsOutsideRamAndDevices()
    {
        Assert.False(_memory.TryRead(RamBase - 1, 1, out _));
        Assert.False(_memory.TryRead(RamBase + RamSize, 1, out _));
        Assert.False(_memory.TryRead(RamBase + RamSize - 4, 8, out _));
        Assert.False(_memory.TryWrite(0, 8, 0));
        Assert.False(_memory.TryWriteBytes(RamBase + RamSize - 4, new byte[5]));
        Assert.False(_memory.TryReadBytes(ulong.MaxValue, new byte[5]));
    }

    [Fact]
    public void DevicesSeeOffsetsWithinThem()
    {
        var first = new Registers();
        var second = new Registers();
        _memory.Map(0x1000_1000, 0x1000, second);
        _memory.Map(0x1000_0000, 0x100, first);
        Assert.True(_memory.TryWrite(0x1000_1ffc, 4, 0x1_0000_0007));
        Assert.Equal([(0xffcUL, 4, 7UL)], second.Writes);
        Assert.True(_memory.TryRead(0x1000_0005, 1, out var value));
        Assert.Equal(5UL, value);
        Assert.False(_memory.TryRead(0x1000_0100, 1, out _));
        Assert.False(_memory.TryRead(0x1000_1ffd, 4, out _));
        Assert.Throws<ArgumentException>(() => _memory.Map(0x1000_00ff, 8, first));
        Assert.Throws<ArgumentException>(() => _memory.Map(RamBase + 4, 8, first));
        Assert.True(_memory.Unmap(0x1000_0000));
        Assert.False(_memory.TryRead(0x1000_0005, 1, out _));
    }

    [Fact]
    public void WritesFromOutsideAreAnnounced()
    {
        var told = new List<(ulong, ulong)>();
        _memory.RamWritten = (start, length) => told.Add((start, length));
        Assert.True(_memory.TryWriteBytes(RamBase + 8, [1, 2, 3]));
        Assert.Equal([(RamBase + 8, 3UL)], told);
    }
}
