using Vivarium.Translation.Cache;
using Vivarium.Translation.Optimizing.Farm;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>The comparison of a new region with tier 1, with times and counts made up.</summary>
public sealed unsafe class RegionTrialTests
{
    /// <summary>Steps a trial tick by tick: 1 ms each, a share of the samples in the region's code, so many ns a round on either side.</summary>
    private static bool? Decide(double share, double asRegion, double inTierOne, out RegionTrial trial)
    {
        BlockHeader header = default;
        trial = new RegionTrial(new InstalledRegion(&header, 0x1000, 16, [4096], 1, true, [0x1000]));
        var random = new Random(1);
        double rounds = 0;
        bool? decision = null;
        for (int tick = 1; tick < 5000 && decision == null; tick++)
        {
            trial.Sample(random.NextDouble() < share);
            rounds += 1e6 * share / (trial.IsAside ? inTierOne : asRegion);
            if (trial.IsAside) header.Probes = (long)rounds - header.Rounds;
            else header.Rounds = (long)rounds - header.Probes;
            decision = trial.Step(tick * 1_000_000L, out _);
        }
        return decision;
    }

    [Theory]
    [InlineData(1, 100, 200, true)]
    [InlineData(1, 200, 100, false)]
    [InlineData(1, 104, 100, false)]
    [InlineData(0.7, 1000, 3000, true)]
    [InlineData(0.7, 3000, 1000, false)]
    public void TheFasterOneStays(double share, double asRegion, double inTierOne, bool stays)
    {
        Assert.Equal(stays, Decide(share, asRegion, inTierOne, out RegionTrial trial));
        Assert.True(trial.IsSettled);
        Assert.InRange(trial.Ratio, asRegion / inTierOne * 0.6, asRegion / inTierOne * 1.6);
    }

    [Fact]
    public void WhatIsHardlyEverEnteredStaysForNow()
    {
        Assert.True(Decide(1, 1e9, 1e8, out RegionTrial trial));
        Assert.False(trial.IsSettled); // nothing to keep for later runs
    }

    [Theory]
    [InlineData(10, 20, false)] // it comes and goes all the time
    [InlineData(3000, 6000, true)]
    [InlineData(6000, 3000, false)]
    public void ASmallShareIsComparedToo(double asRegion, double inTierOne, bool stays)
    {
        BlockHeader header = default;
        var trial = new RegionTrial(new InstalledRegion(&header, 0x1000, 16, [4096], 1, true, [0x1000]));
        bool? decision = null;
        double regions = 0, probes = 0;
        for (int tick = 1; tick < 20000 && decision == null; tick++)
        {
            trial.Sample(tick % 50 == 0); // 2 %
            if (trial.IsAside) header.Probes = (long)(probes += 20_000 / inTierOne);
            else header.Entries = (long)(regions += 20_000 / asRegion);
            decision = trial.Step(tick * 1_000_000L, out _);
        }
        Assert.Equal(stays, decision);
    }

    [Fact]
    public void WhatHasGoneColdStays() => Assert.True(Decide(0.001, 2000, 1000, out _));
}
