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
            bool hit = random.NextDouble() < share;
            trial.Sample(hit, inside: hit && !trial.IsAside);
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

    /// <summary>A program that spends so much time in the region for each ms that it spends elsewhere; the head is hardly ever reached, or counted in another way.</summary>
    private static bool? ByOdds(double asRegion, double inTierOne, bool isComparable, bool inside, out RegionTrial trial, double outside = 1, int seed = 1)
    {
        BlockHeader header = default;
        trial = new RegionTrial(new InstalledRegion(&header, 0x1000, 16, [4096], 1, isComparable, [0x1000]));
        var random = new Random(seed);
        bool? decision = null;
        for (int tick = 1; tick < 60000 && decision == null; tick++)
        {
            double here = trial.IsAside ? inTierOne : asRegion;
            bool hit = random.NextDouble() < here / (here + outside);
            trial.Sample(hit, inside: hit && inside && !trial.IsAside);
            // Two roads into the region that differ by side: rounds do not say anything.
            if (!isComparable) header.Entries += trial.IsAside ? 100 : 30;
            else if (inside && tick % 40 == 0) header.Entries++;
            decision = trial.Step(tick * 1_000_000L, out _);
        }
        return decision;
    }

    [Theory]
    [InlineData(0.15, 0.3, true)]
    [InlineData(0.3, 0.15, false)]
    [InlineData(1.0, 3.0, true)]
    [InlineData(3.0, 1.0, false)]
    [InlineData(0.5, 0.5, false)] // no gain is no reason to stay
    public void WhatCannotBeCountedIsComparedByItsShare(double asRegion, double inTierOne, bool stays)
    {
        foreach (bool isComparable in new[] { true, false })
        {
            Assert.Equal(stays, ByOdds(asRegion, inTierOne, isComparable, inside: true, out RegionTrial trial, seed: 3));
            Assert.True(trial.IsSettled);
            Assert.InRange(trial.Ratio, asRegion / inTierOne * 0.4, asRegion / inTierOne * 2.5); // it ends as soon as the sign is clear
        }
    }

    [Fact]
    public void WhatNobodyEntersGoes()
    {
        Assert.False(ByOdds(1, 1, isComparable: true, inside: false, out RegionTrial trial));
        Assert.True(trial.IsSettled);
    }

    [Fact]
    public void WhereHardlyAnythingElseRunsSharesSayNothing()
    {
        Assert.True(ByOdds(1, 2, isComparable: false, inside: true, out RegionTrial trial, outside: 0.0001));
        Assert.False(trial.IsSettled);
    }

    [Fact]
    public void WhatWasNotComparedIsTriedAgainWhenItIsSeenMore()
    {
        BlockHeader header = default;
        var region = new InstalledRegion(&header, 0x1000, 16, [4096], 1, true, [0x1000]);
        for (int i = 0; i < 10000; i++) Assert.False(region.IsDueAgain());
        int last = 0;
        for (int trial = 0; trial < 4; trial++)
        {
            region.TryAgainLater();
            int samples = 1;
            while (!region.IsDueAgain()) samples++;
            Assert.True(samples > last);
            last = samples;
        }
    }

    [Fact]
    public void RoundsThatContradictTheSharesAreNotBelieved()
    {
        // As long on either side, but the region counts a hundred rounds where tier 1 counts one.
        BlockHeader header = default;
        var trial = new RegionTrial(new InstalledRegion(&header, 0x1000, 16, [4096], 1, true, [0x1000]));
        var random = new Random(5);
        bool? decision = null;
        for (int tick = 1; tick < 60000 && decision == null; tick++)
        {
            bool hit = random.NextDouble() < (trial.IsAside ? 0.3 : 0.4);
            trial.Sample(hit, inside: hit && !trial.IsAside);
            if (trial.IsAside) header.Probes += 10;
            else header.Rounds += 1000;
            decision = trial.Step(tick * 1_000_000L, out _);
        }
        Assert.False(decision);
        Assert.InRange(trial.Ratio, 1, 3);
    }
}
