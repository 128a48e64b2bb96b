using Vivarium.Machine.Buses;
using Vivarium.Machine.Disks;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Tests.Virtio;

/// <summary>Random drivers: whatever they write to registers, rings and descriptors, the device answers, asks for a reset, and works after one.</summary>
public sealed class VirtioFuzzTests
{
    [Fact]
    public void RandomRingsAndRegisters()
    {
        using var memory = MmioDriver.NewMemory();
        var path = Path.GetTempFileName();
        File.WriteAllBytes(path, new byte[1 << 20]);
        using var block = new VirtioBlock(memory, RawImage.Open(path, false));
        using var entropy = new VirtioEntropy(memory);
        using var console = new VirtioConsole(memory, _ => { });
        using var network = new VirtioNetwork(memory, new Vivarium.Machine.Network.UserNetwork());
        VirtioDevice[] devices = [block, entropy, console, network];
        foreach (var seed in new Fuzz("drivers of virtio devices").Seeds())
        {
            var random = new Random(seed);
            var device = devices[random.Next(devices.Length)];
            var driver = MmioDriver.For(memory, device);
            driver.Start(queues: device.Queues.Length, size: (ushort)(1 << random.Next(1, 7)));
            for (var step = 0; step < 60; step++)
            {
                Step(driver, random, device.Queues.Length);
                if (random.Next(8) == 0) console.Receive(new byte[random.Next(100)]);
            }
        }
        // They still work. All of them have their rings in the same place: none may still be at what its driver left there.
        foreach (var device in devices) device.Status = 0;
        var last = MmioDriver.For(memory, entropy);
        last.Start();
        last.Submit(0, (last.Allocate(64), 64, true));
        Assert.Equal(64u, last.WaitUsed(0).Written);
        last = MmioDriver.For(memory, block);
        last.Start();
        Assert.Equal(0, VirtioBlockTests.Request(last, 0, 0, (last.Allocate(512), 512, true)).Status);
        File.Delete(path);
    }

    private static void Step(MmioDriver driver, Random random, int queues)
    {
        var queue = random.Next(queues);
        ulong Address() => random.Next(8) switch
        {
            0 => (ulong)random.NextInt64(),
            1 => ulong.MaxValue - (ulong)random.Next(64),
            2 => MmioDriver.RamBase + MmioDriver.RamSize - (ulong)random.Next(64),
            3 => MmioDriver.RamBase + 0x10000 + (ulong)random.Next(0x9000), // the rings themselves
            _ => MmioDriver.RamBase + 0x400000 + (ulong)random.Next(1 << 20),
        };
        switch (random.Next(10))
        {
            case 0: // any register
                driver.Transport.Write((ulong)random.Next(0x200), 1 << random.Next(4), (ulong)random.NextInt64());
                driver.Transport.Read((ulong)random.Next(0x1000), 1 << random.Next(4));
                break;
            case 1: // a header
                driver.Memory.TryWrite(MmioDriver.RamBase + 0x400000 + (ulong)random.Next(1 << 20), 4, (ulong)random.Next(16));
                break;
            case 2: // rubbish in the rings
                driver.Memory.TryWrite(MmioDriver.RamBase + 0x10000 + (ulong)random.Next(0x9000), 1 << random.Next(4), (ulong)random.NextInt64());
                break;
            case 3:
                driver.MakeAvailable(queue, (ushort)random.Next(random.Next(4) == 0 ? 65536 : 8));
                break;
            case 4: // a well-formed request with random contents
                var header = driver.Allocate(16);
                driver.Memory.TryWrite(header, 4, (ulong)random.Next(15));
                driver.Memory.TryWrite(header + 8, 8, (ulong)random.Next(4096));
                driver.Submit(queue, (header, 16, false), (Address(), random.Next(1 << 16), random.Next(2) == 0), (header + 8, 1, true));
                driver.FreeBuffers();
                break;
            default:
                driver.WriteDescriptor(queue, random.Next(8), Address(), (uint)(random.Next(4) == 0 ? random.NextInt64() : random.Next(1024)),
                    (ushort)(random.Next(6) == 0 ? random.Next(65536) : random.Next(4)), (ushort)random.Next(10));
                break;
        }
    }
}
