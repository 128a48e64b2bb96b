using Vivarium.Host;
using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Tests.Memory;

/// <summary>What is in memory, by both ways that the host may tell it.</summary>
public sealed class PageMapTests
{
    [Fact]
    public void CountsPagesThatWereWritten()
    {
        using var window = MemoryWindow.Reserve(64 << 20);
        using var pages = new PageMap();
        Assert.Equal(0, window.MapAnonymous(1 << 20, 16 << 20, Protection.Read | Protection.Write, noReserve: true));
        window.Advise(1 << 20, 16 << 20, 15 /* MADV_NOHUGEPAGE */);
        for (ulong page = 0; page < 100; page++) Assert.True(window.TryStore8((1 << 20) + page * 3 * 4096, 1));
        Assert.Equal((100UL * 4096, 0UL), pages.Resident(window.HostBase, window.Size));
        Assert.Equal((100UL * 4096, 0UL), pages.ResidentByEntries(window.HostBase, window.Size));
    }
}
