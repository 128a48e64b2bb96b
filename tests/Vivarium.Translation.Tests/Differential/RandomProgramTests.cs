using System.Globalization;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>Random programs behave on the translator as on the interpreter. VIV_RANDOM_PROGRAMS sets how many (default 400).</summary>
public class RandomProgramTests
{
    private static int Programs =>
        int.TryParse(Environment.GetEnvironmentVariable("VIV_RANDOM_PROGRAMS"), CultureInfo.InvariantCulture, out int n) ? n : 400;

    /// <summary>Values of <see cref="TranslationOptions.QuickRuns"/>: the full pipeline alone, both in turn, the quick path alone.</summary>
    public static TheoryData<int> Quick => [0, 1, 3, int.MaxValue];

    public static TheoryData<int, bool> QuickAndFaults => new() { { 0, false }, { 0, true }, { 3, false }, { 3, true }, { int.MaxValue, false }, { int.MaxValue, true } };

    private static TranslationOptions Options(int quickRuns) => new() { Validate = true, QuickRuns = quickRuns };

    [Theory]
    [MemberData(nameof(Quick))]
    public void IntegerProgramsAgree(int quickRuns) => Run(1, faults: false, quickRuns);

    [Theory]
    [MemberData(nameof(Quick))]
    public void ProgramsWithFaultsAgree(int quickRuns) => Run(1_000_000, faults: true, quickRuns);

    [Theory]
    [MemberData(nameof(QuickAndFaults))]
    public void LoopsWithBranchesAgree(int quickRuns, bool faults)
    {
        using var guest = new DifferentialGuest(Options(quickRuns));
        for (int seed = 2_000_000; seed < 2_000_000 + Programs * 2; seed++)
        {
            var generator = new ProgramGenerator(seed);
            uint[] code = generator.MakeLoop(generator.Random.Next(1, 90), faults);
            guest.Load(code, generator.Random);
            guest.RunAndCompare($"seed {seed}", code);
        }
    }

    private static void Run(int seed, bool faults, int quickRuns)
    {
        using var guest = new DifferentialGuest(Options(quickRuns));
        for (int i = 0; i < Programs; i++)
        {
            var generator = new ProgramGenerator(seed + i);
            uint[] code = generator.Make(generator.Random.Next(1, 150), DifferentialGuest.Code, faults: faults);
            guest.Load(code, generator.Random);
            guest.RunAndCompare($"seed {seed + i}", code);
        }
    }
}
