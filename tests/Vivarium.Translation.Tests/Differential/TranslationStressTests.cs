using Vivarium.RiscV.Interpreter;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>
/// The translator against the reference interpreter on random programs: integer, floating point in all rounding modes with special
/// values, memory, atomics, branches, loops, traps: by the full pipeline, by the quick path, and by both in turn. VIV_DIFFERENTIAL=N runs about N million instructions instead of a million, from
/// the seed VIV_DIFFERENTIAL_SEED on.
/// </summary>
public sealed class TranslationStressTests
{
    private static readonly ProgramMix[] Mixes =
    [
        new(), new(FloatShare: 95, MemoryShare: 3), new(FloatShare: 0, MemoryShare: 30, BranchShare: 16), new(Items: 30, FloatShare: 60),
        new(Items: 300, TrapShare: 30), new(Items: 40, FloatShare: 80, MemoryShare: 5, BranchShare: 25),
        new(Items: 80, FloatShare: 80, MemoryShare: 10, Precision: Precision.Single), new(Items: 40, FloatShare: 80, Precision: Precision.Single),
        new(Items: 80, FloatShare: 80, MemoryShare: 10, Precision: Precision.Double),
    ];

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(int.MaxValue)]
    public void TranslatedCodeDoesWhatTheReferenceDoes(int quickRuns)
    {
        ulong million = ulong.TryParse(Environment.GetEnvironmentVariable("VIV_DIFFERENTIAL"), out ulong n) ? n : 1;
        int seed = int.TryParse(Environment.GetEnvironmentVariable("VIV_DIFFERENTIAL_SEED"), out int s) ? s : 1;
        var engine = new TranslationEngine(null, new TranslationOptions { Validate = true, QuickRuns = quickRuns });
        using var runner = new DifferentialRunner(new ReferenceInterpreter(), engine);
        for (; runner.Executed < million * 1_000_000; seed++)
        {
            if (runner.Run(seed, Mixes[seed % Mixes.Length]) is { } difference) Assert.Fail(difference);
        }
        // Most of it must have been translated code, or nothing was tested.
        Assert.True((ulong)engine.Statistics.Interpreted < runner.Executed / 4, $"{engine.Statistics.Interpreted} of {runner.Executed} interpreted");
        if (million > 1)
            Console.WriteLine($"differential, quick runs {quickRuns}: {runner.Executed} instructions ({engine.Statistics.Interpreted} interpreted), {engine.Statistics.Blocks} blocks ({engine.Statistics.QuickBlocks} quick), "
                + $"{runner.Traps} traps, {runner.Endless} endless programs, seeds to {seed}");
    }
}
