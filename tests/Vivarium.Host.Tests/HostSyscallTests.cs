using Vivarium.Host;

namespace Vivarium.Host.Tests;

public sealed unsafe class HostSyscallTests
{
    private const int SysRead = 0, SysMmap = 9, SysMunmap = 11, SysGetpid = 39;

    [Fact]
    public void Results_and_errors_are_the_kernels()
    {
        Assert.Equal(Environment.ProcessId, HostSyscall.Invoke(SysGetpid));
        Assert.Equal(Environment.ProcessId, HostSyscall.InvokeFast(SysGetpid));
        Assert.Equal(-38, HostSyscall.Invoke(9999));
        Assert.Equal(-9, HostSyscall.Invoke(SysRead, -1, 0, 0));
    }

    [Fact]
    public void All_six_arguments_arrive()
    {
        using var file = Memfd.Create("six", 8192);
        using (var window = MemoryWindow.Reserve(1 << 20))
        {
            Assert.Equal(0, window.MapFile(0, 8192, Protection.Read | Protection.Write, file.Descriptor, 0, shared: true));
            window.TryStore64(4096, 0xABCDEF);
        }
        var address = HostSyscall.Invoke(SysMmap, 0, 4096, 1, 1, file.Descriptor, 4096);
        Assert.True(address > 0);
        Assert.Equal(0xABCDEFUL, *(ulong*)address);
        Assert.Equal(0, HostSyscall.Invoke(SysMunmap, address, 4096));
        // The same through the interruptible stub.
        address = HostThread.Current.BlockingSyscall(SysMmap, 0, 4096, 1, 1, file.Descriptor, 4096);
        Assert.Equal(0xABCDEFUL, *(ulong*)address);
        Assert.Equal(0, HostSyscall.Invoke(SysMunmap, address, 4096));
    }

    [Fact]
    public void Window_memory_that_is_not_there_is_the_kernels_efault()
    {
        using var window = MemoryWindow.Reserve(1 << 20);
        Assert.True(window.TryGetHostAddress(0, 8, out var address));
        using var file = File.OpenRead("/proc/self/exe");
        Assert.Equal(-14, HostSyscall.Invoke(SysRead, file.SafeFileHandle.DangerousGetHandle(), address, 8));
    }
}
