using Vivarium.Machine.Devices;

namespace Vivarium.Machine.Tests.Devices;

public class AclintTests
{
    private readonly Wire[] _software = [new(), new()];
    private readonly ulong[] _timers = new ulong[2];
    private ulong _ticks = 0x1_2345_6789;

    private Aclint Make() => new(() => _ticks, _software, [t => _timers[0] = t, t => _timers[1] = t]);

    [Fact]
    public void RegistersReachTheirHarts()
    {
        var aclint = Make();
        aclint.Write(4, 4, 1);
        Assert.Equal((false, true, 1ul), (_software[0].Level, _software[1].Level, aclint.Read(4, 4)));
        aclint.Write(4, 4, 0xfffffffe);
        Assert.False(_software[1].Level);
        aclint.Write(0x4008, 8, 99);
        Assert.Equal((99ul, 99ul), (_timers[1], aclint.Read(0x4008, 8)));
        aclint.Write(0x400c, 4, 2);
        Assert.Equal(0x2_0000_0063ul, _timers[1]);
        aclint.Write(0x4008, 4, 1);
        Assert.Equal(0x2_0000_0001ul, _timers[1]);
        Assert.Equal((_ticks, 0x2345_6789ul, 1ul), (aclint.Read(0xbff8, 8), aclint.Read(0xbff8, 4), aclint.Read(0xbffc, 4)));
    }

    [Fact]
    public void WhatIsNotThereReadsZero()
    {
        var aclint = Make();
        foreach (ulong offset in new ulong[] { 8, 0x3ffc, 0x4010, 0xbff0, 0xc000, 0xfff8 })
        {
            aclint.Write(offset, 4, uint.MaxValue);
            aclint.Write(offset, 8, ulong.MaxValue);
            Assert.Equal(0ul, aclint.Read(offset, 4));
        }
    }

    [Fact]
    public void StateSurvives()
    {
        var aclint = Make();
        aclint.Write(0, 4, 1);
        aclint.Write(0x4000, 8, 1234);
        _timers[0] = 0;
        var copy = Make();
        _software[0].Set(false);
        Saved.Copy(aclint, copy);
        Assert.Equal((true, 1234ul, 1ul), (_software[0].Level, _timers[0], copy.Read(0, 4)));
    }
}
