using System.Text;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Tests.Virtio;

public sealed class VirtioConsoleTests
{
    [Fact]
    public void CarriesTextBothWays()
    {
        using var memory = MmioDriver.NewMemory();
        var printed = new StringBuilder();
        using var device = new VirtioConsole(memory, bytes => { lock (printed) printed.Append(Encoding.ASCII.GetString(bytes)); });
        var driver = MmioDriver.For(memory, device);
        driver.Start(queues: 2);
        Assert.Equal(80 | 25u << 16, driver.Get(0x100));

        driver.Submit(1, (driver.Allocate("login"u8), 5, false), (driver.Allocate(": "u8), 2, false));
        driver.WaitUsed(1);
        Assert.Equal("login: ", printed.ToString());

        // Input that comes before the guest has a buffer waits for one.
        Assert.Equal(5, device.Receive("root\n"u8));
        var buffer = driver.Allocate(3);
        driver.Submit(0, (buffer, 3, true));
        Assert.Equal(3u, driver.WaitUsed(0).Written);
        Assert.Equal("roo"u8.ToArray(), driver.Bytes(buffer, 3));
        driver.Submit(0, (buffer, 3, true));
        Assert.Equal(2u, driver.WaitUsed(0).Written);

        driver.Set(0x64, 3);
        device.Resize(132, 43);
        Assert.Equal(132 | 43u << 16, driver.Get(0x100));
        Assert.Equal(1u, driver.Get(0xfc));
        Assert.Equal(2u, driver.Get(0x60));
    }

    [Fact]
    public void TakesNoMoreThanItCanHold()
    {
        using var memory = MmioDriver.NewMemory();
        using var device = new VirtioConsole(memory, _ => { });
        Assert.Equal(VirtioConsole.QueueCapacity, device.Receive(new byte[5000]));
        using var made = new ManualResetEventSlim();
        device.RoomMade = made.Set;
        var driver = MmioDriver.For(memory, device);
        driver.Start(queues: 2);
        driver.Submit(0, (driver.Allocate(100), 100, true));
        driver.WaitUsed(0);
        Assert.True(made.Wait(5000));
        Assert.Equal(100, device.Receive(new byte[5000]));
    }
}
