using Vivarium.Machine.Devices;

namespace Vivarium.Machine.Tests.Devices;

public class SysconTests
{
    [Theory]
    [InlineData(0x5555u, ShutdownKind.PowerOff, 0)]
    [InlineData(0x7777u, ShutdownKind.Reboot, 0)]
    [InlineData(0x2a3333u, ShutdownKind.Failure, 42)]
    public void AWordEndsTheRun(uint word, ShutdownKind kind, int code)
    {
        Shutdown? seen = null;
        var syscon = new Syscon(s => seen = s);
        syscon.Write(4, 4, word);
        syscon.Write(0, 1, word);
        syscon.Write(0, 4, 0x1234);
        Assert.Null(seen);
        syscon.Write(0, 4, word);
        Assert.Equal(new Shutdown(kind, code), seen);
    }
}
