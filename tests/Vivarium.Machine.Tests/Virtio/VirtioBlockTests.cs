using System.Buffers.Binary;
using Vivarium.Machine.Buses;
using Vivarium.Machine.Disks;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Tests.Virtio;

public sealed class VirtioBlockTests : IDisposable
{
    private const int DiskSize = 4 << 20;

    private readonly string _path = Path.GetTempFileName();
    private readonly PhysicalMemory _memory = MmioDriver.NewMemory();
    private VirtioBlock? _device;

    public void Dispose()
    {
        _device?.Dispose();
        _memory.Dispose();
        File.Delete(_path);
    }

    private MmioDriver Start(Func<DiskImage>? open = null, ulong without = 0)
    {
        using (var file = File.Create(_path)) file.SetLength(DiskSize);
        _device = new VirtioBlock(_memory, open?.Invoke() ?? RawImage.Open(_path, false), "serial-1");
        var driver = MmioDriver.For(_memory, _device);
        driver.Start(without);
        return driver;
    }

    internal static (byte Status, uint Written) Request(MmioDriver driver, uint type, ulong sector, params (ulong Address, int Length, bool Writable)[] data)
    {
        var header = new byte[16];
        BinaryPrimitives.WriteUInt32LittleEndian(header, type);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(8), sector);
        var status = driver.Allocate([0xee]);
        driver.Submit(0, [(driver.Allocate(header), 16, false), .. data, (status, 1, true)]);
        var (_, written) = driver.WaitUsed(0);
        return (driver.Bytes(status, 1)[0], written);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(VirtioFeatures.Version1)] // small systems never look at the upper half of the features
    public void ReadsAndWrites(ulong without)
    {
        var driver = Start(without: without);
        Assert.Equal(DiskSize / 512, (int)driver.Transport.Read(0x100, 8));
        var data = new byte[8192];
        new Random(1).NextBytes(data);
        var from = driver.Allocate(data);
        Assert.Equal((0, 1u), Request(driver, 1, 7, (from, 512, false), (from + 512, 8192 - 512, false)));
        Assert.Equal((0, 1u), Request(driver, 4, 0));
        Assert.Equal(data, File.ReadAllBytes(_path)[(7 * 512)..(7 * 512 + 8192)]);
        var to = driver.Allocate(8192);
        Assert.Equal((0, 8193u), Request(driver, 0, 7, (to, 100, true), (to + 100, 8092, true)));
        Assert.Equal(data, driver.Bytes(to, 8192));
    }

    [Fact]
    public void RefusesWhatLiesOutsideAndUnknownRequests()
    {
        var driver = Start();
        var buffer = driver.Allocate(4096);
        Assert.Equal(1, Request(driver, 0, DiskSize / 512 - 7, (buffer, 4096, true)).Status);
        Assert.Equal(1, Request(driver, 0, ulong.MaxValue, (buffer, 512, true)).Status);
        Assert.Equal(1, Request(driver, 0, 0, (buffer, 100, true)).Status);
        Assert.Equal(2, Request(driver, 99, 0).Status);
        Assert.Equal((0, 21u), Request(driver, 8, 0, (buffer, 20, true)));
        Assert.StartsWith("serial-1\0", System.Text.Encoding.ASCII.GetString(driver.Bytes(buffer, 20)));
    }

    [Fact]
    public void DiscardsAndWritesZeroes()
    {
        var driver = Start();
        var ones = driver.Allocate(Enumerable.Repeat((byte)1, 65536).ToArray());
        Assert.Equal(0, Request(driver, 1, 0, (ones, 65536, false)).Status);
        var range = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(range, 8);
        BinaryPrimitives.WriteUInt32LittleEndian(range.AsSpan(8), 16);
        Assert.Equal(0, Request(driver, 13, 0, (driver.Allocate(range), 16, false)).Status);
        var expected = new byte[65536];
        Array.Fill(expected, (byte)1);
        expected.AsSpan(4096, 8192).Clear();
        Assert.Equal(expected, File.ReadAllBytes(_path)[..65536]);
        BinaryPrimitives.WriteUInt64LittleEndian(range, 64);
        Assert.Equal(0, Request(driver, 11, 0, (driver.Allocate(range), 16, false)).Status);
        range[12] = 1; // a discard knows no flags
        Assert.Equal(2, Request(driver, 11, 0, (driver.Allocate(range), 16, false)).Status);
    }

    [Fact]
    public void ReadOnlyDisksStayAsTheyAre()
    {
        var driver = Start(() => RawImage.Open(_path, true));
        Assert.NotEqual(0UL, driver.OfferedFeatures & 1 << 5);
        Assert.Equal(1, Request(driver, 1, 0, (driver.Allocate(new byte[512]), 512, false)).Status);
        Assert.Equal(2, Request(driver, 13, 0, (driver.Allocate(new byte[16]), 16, false)).Status);
    }

    [Fact]
    public void OverlaysKeepTheImageBelow()
    {
        var model = new byte[DiskSize];
        new Random(3).NextBytes(model);
        File.WriteAllBytes(_path, model);
        var original = (byte[])model.Clone();
        using var overlay = new ThrowAwayOverlay(RawImage.Open(_path, true));
        var random = new Random(4);
        for (var round = 0; round < 500; round++)
        {
            var offset = random.Next(DiskSize);
            var length = Math.Min(random.Next(1, 20000), DiskSize - offset);
            if (round % 5 == 0)
            {
                Assert.Equal(0, overlay.WriteZeroes((ulong)offset, (ulong)length, true));
                model.AsSpan(offset, length).Clear();
            }
            else
            {
                random.NextBytes(model.AsSpan(offset, length));
                Assert.Equal(0, overlay.Write((ulong)offset, model.AsSpan(offset, length)));
            }
        }
        var read = new byte[DiskSize];
        Assert.Equal(0, overlay.Read(0, read));
        Assert.True(model.AsSpan().SequenceEqual(read));
        Assert.True(original.AsSpan().SequenceEqual(File.ReadAllBytes(_path)));
    }

    [Fact]
    public void TwoWritersAreRefused()
    {
        File.WriteAllBytes(_path, new byte[512]);
        using var first = RawImage.Open(_path, false);
        var error = Assert.Throws<DiskException>(() => RawImage.Open(_path, false));
        Assert.Equal($"cannot open disk '{_path}': another machine uses it", error.Message);
        Assert.Throws<DiskException>(() => RawImage.Open(_path + ".missing", false));
        Assert.Contains("neither a file nor a block device", Assert.Throws<DiskException>(() => RawImage.Open("/dev/null", false)).Message);
    }

    [Fact]
    public void SteadyStateAllocatesNothing()
    {
        var driver = Start();
        _device!.Quiesce();
        _device.Resume();
        var queue = new Virtqueue(_memory, 0, 64) { DescriptorTable = MmioDriver.RamBase, AvailableRing = MmioDriver.RamBase + 0x1000, UsedRing = MmioDriver.RamBase + 0x2000 };
        queue.Enable(VirtioFeatures.Common);
        var chain = new DescriptorChain(_memory);
        driver.WriteDescriptorAt(MmioDriver.RamBase, driver.Allocate(64), 64, 2, 0);
        void Round(int round)
        {
            _memory.TryWrite(MmioDriver.RamBase + 0x1002, 2, (ushort)(round + 1));
            Assert.True(queue.TryPop(chain));
            queue.Push(chain, 64);
            queue.TakeInterrupt();
            queue.EnableNotifications();
        }
        Round(0);
        // A collection that other tests cause takes the thread's allocation buffer away, and what is left of that counts as allocated: what allocates does so every time.
        var allocated = long.MaxValue;
        for (int attempt = 0, round = 1; attempt < 20 && allocated != 0; attempt++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var end = round + 1000; round < end; round++) Round(round);
            allocated = Math.Min(allocated, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        Assert.Equal(0, allocated);
    }
}
