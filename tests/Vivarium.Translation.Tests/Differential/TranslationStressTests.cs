using Vivarium.RiscV.Interpreter;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>
/// The translator against the reference interpreter on random programs: integer, floating point in all rounding modes with special
/// values, memory, atomics, branches, loops, traps. VIV_DIFFERENTIAL=N runs about N million instructions instead of a million, from
/// the seed VIV_DIFFERENTIAL_SEED on.
/// </summary>
public sealed class TranslationStressTests
{
    private static readonly ProgramMix[] Mixes =
    [
        new(), new(FloatShare: 95, MemoryShare: 3), new(FloatShare: 0, MemoryShare: 30, BranchShare: 16), new(Items: 30, FloatShare: 60),
        new(Items: 300, TrapShare: 30),
    ];

    [Fact]
    public void TranslatedCodeDoesWhatTheReferenceDoes()
    {
        ulong million = ulong.TryParse(Environment.GetEnvironmentVariable("VIV_DIFFERENTIAL"), out ulong n) ? n : 1;
        int seed = int.TryParse(Environment.GetEnvironmentVariable("VIV_DIFFERENTIAL_SEED"), out int s) ? s : 1;
        using var runner = new DifferentialRunner(new ReferenceInterpreter(), new TranslationEngine(null, new TranslationOptions { Validate = true }));
        for (; runner.Executed < million * 1_000_000; seed++)
        {
            if (runner.Run(seed, Mixes[seed % Mixes.Length]) is { } difference) Assert.Fail(difference);
        }
        if (million > 1) Console.WriteLine($"differential: {runner.Executed} instructions, {runner.Traps} traps, seeds to {seed}");
    }
}
