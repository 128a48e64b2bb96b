using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.Testing;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>The random programs that the interpreter is compared with QEMU on, run by the translator: a second generator, written without
/// regard to how translation works. VIV_SHARED_PROGRAMS sets how many (default 400).</summary>
public sealed class SharedProgramTests
{
    [Theory]
    [InlineData(false, 0)]
    [InlineData(true, 0)]
    [InlineData(false, int.MaxValue)]
    [InlineData(true, int.MaxValue)]
    [InlineData(true, 2)]
    public void TranslatedProgramsEndAsInterpretedOnes(bool traps, int quickRuns)
    {
        int programs = int.TryParse(Environment.GetEnvironmentVariable("VIV_SHARED_PROGRAMS"), out int n) ? n : 400;
        using MemoryWindow left = MemoryWindow.Reserve(RandomProgram.WindowSize), right = MemoryWindow.Reserve(RandomProgram.WindowSize);
        RandomProgram.MapAreas(left);
        RandomProgram.MapAreas(right);
        using Hart expected = new(left), actual = new(right);
        using var interpreter = new ReferenceInterpreter();
        using var engine = new TranslationEngine(null, new TranslationOptions { Validate = true, QuickRuns = quickRuns });
        for (int seed = 0; seed < programs; seed++)
        {
            RandomProgram program = RandomProgram.Generate(seed, new RandomProgramOptions { Traps = traps });
            program.Install(left, expected);
            program.Install(right, actual);
            interpreter.SynchronizeCode(0, RandomProgram.WindowSize);
            engine.SynchronizeCode(0, RandomProgram.WindowSize);
            ExecutionExit byInterpreter = interpreter.Run(expected), byTranslator = engine.Run(actual);
            string differences = GuestSnapshot.Capture(byInterpreter, expected, left)
                .Differences(GuestSnapshot.Capture(byTranslator, actual, right));
            Assert.True(differences.Length == 0, $"seed {seed}, traps {traps} (interpreter | translator):\n{differences}");
        }
    }
}
