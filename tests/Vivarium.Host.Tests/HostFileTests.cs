namespace Vivarium.Host.Tests;

public sealed class HostFileTests : IDisposable
{
    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    /// <summary>A process that is being started has the open file until it executes its program, which takes long on a busy host.</summary>
    [Fact]
    public void ALockEndsWithItsFileThoughAChildStillHasIt()
    {
        const int duplicate = 32, close = 3;
        Assert.Equal(0, HostFile.Open(_path, true, out var first));
        Assert.Equal(0, HostFile.Open(_path, true, out var second));
        Assert.Equal(0, first!.TryLock(exclusive: true));
        Assert.Equal(-11, second!.TryLock(exclusive: true));
        var child = HostSyscall.Invoke(duplicate, first.Descriptor);
        first.Dispose();
        Assert.Equal(0, second.TryLock(exclusive: true));
        second.Dispose();
        HostSyscall.Invoke(close, child);
    }
}
