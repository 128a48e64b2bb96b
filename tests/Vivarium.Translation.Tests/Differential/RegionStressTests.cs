using Vivarium.RiscV.Interpreter;
using Vivarium.Translation.Optimizing;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>
/// Random programs with every backward jump compiled by the optimising tier at once. VIV_REGION_PROGRAMS sets how many programs (default 150),
/// from the seed VIV_DIFFERENTIAL_SEED on, VIV_REGION_RUNS on how many data each (default 8). Compiling is what takes the time.
/// </summary>
public sealed class RegionStressTests
{
    private static readonly ProgramMix[] Mixes =
    [
        new(Items: 60, FloatShare: 0, TrapShare: 0, Regions: true, Rounds: 4), new(Items: 40, FloatShare: 60, TrapShare: 0, Regions: true, Rounds: 4),
        new(FloatShare: 0, MemoryShare: 30, BranchShare: 16, TrapShare: 0, Regions: true, Rounds: 4),
        new(Items: 40, FloatShare: 80, BranchShare: 15, TrapShare: 0, Precision: Precision.Single, Regions: true, Rounds: 4),
        new(Items: 40, FloatShare: 80, BranchShare: 15, TrapShare: 0, Precision: Precision.Double, Regions: true, Rounds: 4),
        new(Items: 60, FloatShare: 0, TrapShare: 0, Regions: true, Rounds: 3, CallShare: 8), new(Items: 50, FloatShare: 50, TrapShare: 0, Regions: true, Rounds: 3, CallShare: 8),
        new(Items: 50, FloatShare: 60, TrapShare: 0, Precision: Precision.Single, Regions: true, Rounds: 3, CallShare: 8),
    ];

    [Fact]
    public void RegionsDoWhatTheReferenceDoes() => Compare(exact: false);

    /// <summary>The same with exact faults, of which there are many: around a quarter of the accesses at some time hit a page that is missing, or must not be written.</summary>
    [Fact]
    public void RegionsWithExactFaultsDoWhatTheReferenceDoes() => Compare(exact: true);

    private static void Compare(bool exact)
    {
        int programs = int.TryParse(Environment.GetEnvironmentVariable("VIV_REGION_PROGRAMS"), out int n) ? n : 150;
        int seed = int.TryParse(Environment.GetEnvironmentVariable("VIV_DIFFERENTIAL_SEED"), out int s) ? s : 1;
        int runs = int.TryParse(Environment.GetEnvironmentVariable("VIV_REGION_RUNS"), out int r) ? r : 8;
        using CompileFarm? farm = Farms.Synchronous();
        if (farm == null) return;
        long entered = 0, returned = 0, endless = 0, faults = 0;
        ulong executed = 0;
        for (int end = seed + programs; seed < end; seed++)
        {
            // An engine each: one that has seen fflags read makes no more regions with floating point.
            var engine = new TranslationEngine(null, new TranslationOptions { Validate = true, Farm = farm });
            if (exact) engine.RequirePreciseFaults();
            using var runner = new DifferentialRunner(new ReferenceInterpreter(), engine) { IgnoreFlags = true, Faults = exact };
            if (runner.Run(seed, Mixes[seed % Mixes.Length], runs) is { } difference) Assert.Fail(difference);
            entered += engine.RegionEntries;
            returned += engine.RegionReturns;
            executed += runner.Executed;
            endless += runner.Endless;
            faults += engine.ExactRegionFaults;
        }
        if (programs > 150 || runs > 8) Console.WriteLine($"{programs} programs of {executed} instructions, {farm.Statistics.Regions} regions, entered {entered} times, {returned} of these behind a call, {endless} did not end, {faults} faults in regions");
        if (exact) Assert.True(faults > programs, $"only {faults} faults in regions");
        Assert.True(farm.Statistics.Regions > programs / 8 && entered > programs && returned > programs / 2, $"{farm.Statistics.Regions} regions, entered {entered} times, {returned} of these behind a call");
    }
}
