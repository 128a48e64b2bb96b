using Vivarium.Machine.Tests.Devices;
using Vivarium.Machine.Network;
using Vivarium.Machine.State;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Tests.Virtio;

public sealed class VirtioStateTests
{
    [Fact]
    public void DevicesGoOnWhereTheyWereSaved()
    {
        using var memory = MmioDriver.NewMemory();
        var saved = new MemoryStream();
        MmioDriver driver;
        using (var device = new VirtioConsole(memory, _ => { }))
        {
            driver = MmioDriver.For(memory, device);
            driver.Start(queues: 2);
            for (var round = 0; round < 70; round++) // round the ring once
            {
                driver.Submit(1, (driver.Allocate(4), 4, false));
                driver.WaitUsed(1);
            }
            device.Receive("kept"u8);
            device.Quiesce();
            // Made available while it stands still: nothing happens.
            driver.Submit(1, (driver.Allocate(4), 4, false));
            Thread.Sleep(20);
            Assert.Null(driver.TakeUsed(1));
            StateArchive.Save(saved, [device]);
        }

        // Another device object, as after a restart, on the same memory.
        using var next = new VirtioConsole(memory, _ => { });
        var wire = new Wire();
        var transport = new VirtioMmio(next, wire);
        saved.Position = 0;
        StateArchive.Load(saved, [next]);
        Assert.True(wire.Level); // the pending interrupt came along
        MmioDriver.Wait(() => driver.TakeUsed(1) != null, "the request that was under way got lost");
        Assert.Equal(15u, transport.Read(0x70, 4));
        var buffer = driver.Allocate(10);
        driver.MoveTo(transport);
        driver.Submit(0, (buffer, 10, true));
        Assert.Equal(4u, driver.WaitUsed(0).Written);
        Assert.Equal("kept"u8.ToArray(), driver.Bytes(buffer, 4));

        var again = new MemoryStream();
        next.Quiesce();
        StateArchive.Save(again, [next]);
        next.Resume();
    }

    [Fact]
    public void OtherDevicesRefuseIt()
    {
        using var memory = MmioDriver.NewMemory();
        using var console = new VirtioConsole(memory, _ => { }, "device");
        using var entropy = new VirtioEntropy(memory, "device");
        var saved = new MemoryStream();
        StateArchive.Save(saved, [console]);
        saved.Position = 0;
        Assert.Contains("was saved as a virtio device of type 3", Assert.Throws<StateException>(() => StateArchive.Load(saved, [entropy])).Message);
    }

    [Fact]
    public void EveryDeviceHasAName()
    {
        using var memory = MmioDriver.NewMemory();
        using var network = new VirtioNetwork(memory, new UserNetwork());
        using var console = new VirtioConsole(memory, _ => { });
        using var entropy = new VirtioEntropy(memory);
        var saved = new MemoryStream();
        StateArchive.Save(saved, [network, console, entropy]);
        saved.Position = 0;
        StateArchive.Load(saved, [network, console, entropy]);
    }
}
