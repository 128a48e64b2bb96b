using System.Globalization;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>Random programs behave on the translator as on the interpreter. VIV_RANDOM_PROGRAMS sets how many (default 400).</summary>
public class RandomProgramTests
{
    private static int Programs =>
        int.TryParse(Environment.GetEnvironmentVariable("VIV_RANDOM_PROGRAMS"), CultureInfo.InvariantCulture, out int n) ? n : 400;

    [Fact]
    public void IntegerProgramsAgree() => Run(1, faults: false);

    [Fact]
    public void ProgramsWithFaultsAgree() => Run(1_000_000, faults: true);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void LoopsWithBranchesAgree(bool faults)
    {
        using var guest = new DifferentialGuest();
        for (int seed = 2_000_000; seed < 2_000_000 + Programs * 2; seed++)
        {
            var generator = new ProgramGenerator(seed);
            uint[] code = generator.MakeLoop(generator.Random.Next(1, 90), faults);
            guest.Load(code, generator.Random);
            guest.RunAndCompare($"seed {seed}", code);
        }
    }

    private static void Run(int seed, bool faults)
    {
        using var guest = new DifferentialGuest();
        for (int i = 0; i < Programs; i++)
        {
            var generator = new ProgramGenerator(seed + i);
            uint[] code = generator.Make(generator.Random.Next(1, 150), DifferentialGuest.Code, faults: faults);
            guest.Load(code, generator.Random);
            guest.RunAndCompare($"seed {seed + i}", code);
        }
    }
}
