using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using Vivarium.Testing;
using Xunit.Abstractions;

namespace Vivarium.RiscV.Tests.Interpreter;

/// <summary>The random programs themselves: they end, they stay in their pages, they contain everything; and Step agrees with Run.</summary>
public sealed class RandomProgramTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ProgramsEndAndCoverTheTable(bool traps)
    {
        using var window = MemoryWindow.Reserve(RandomProgram.WindowSize);
        RandomProgram.MapAreas(window);
        using var hart = new Hart(window) { Reservations = new() };
        var interpreter = new ReferenceInterpreter();
        var seen = new HashSet<int>();
        var causes = new HashSet<TrapCause>();
        long executed = 0;
        for (var seed = 0; seed < 300; seed++)
        {
            var program = RandomProgram.Generate(seed, new() { Traps = traps });
            program.Install(window, hart);
            interpreter.InvalidateCode(0, RandomProgram.WindowSize);
            var start = hart.State.InstructionsRetired;
            var exit = interpreter.Run(hart, 1_000_000);
            Assert.Equal(ExitKind.Trap, exit.Kind);
            if (!traps) Assert.True(exit.Cause == TrapCause.EnvironmentCall, $"seed {seed}: {exit} at {hart.Pc:x}");
            causes.Add(exit.Cause);
            executed += (long)(hart.State.InstructionsRetired - start);
            var byRun = GuestSnapshot.Capture(exit, hart, window);

            // Again, one step at a time.
            program.Install(window, hart);
            ExecutionExit? stepExit;
            while (true)
            {
                Assert.True(window.TryLoad16(hart.Pc, out var low));
                window.TryLoad16(hart.Pc + 2, out var high);
                seen.Add(Decoder.Decode((uint)(high << 16 | low)).Row);
                if ((stepExit = interpreter.Step(hart)) is not null) break;
            }
            Assert.Equal("", byRun.Differences(GuestSnapshot.Capture(stepExit.Value, hart, window)));
        }
        output.WriteLine($"{executed} instructions, causes: {string.Join(' ', causes)}");
        if (traps) return;

        // What no random program contains is tested by hand.
        Opcode[] byHand = [Opcode.Illegal, Opcode.Ebreak, Opcode.FenceI, Opcode.WrsNto, Opcode.WrsSto, Opcode.CboInval, Opcode.PrefetchI, Opcode.PrefetchW];
        var missing = Enumerable.Range(1, InstructionTable.Rows.Length - 1).Where(n => !seen.Contains(n))
            .Where(n => !byHand.Contains(InstructionTable.Rows[n].Opcode) && InstructionTable.Rows[n].Extension != Extension.Privileged)
            .Select(n => InstructionTable.Rows[n].Mnemonic).ToArray();
        output.WriteLine($"rows not executed: {string.Join(' ', missing)}");
        Assert.True(missing.Length <= 6, string.Join(' ', missing));
    }

    [Fact]
    public void TheSameSeedMakesTheSameProgram()
    {
        var (a, b) = (RandomProgram.Generate(7), RandomProgram.Generate(7));
        Assert.Equal(a.Code, b.Code);
        Assert.Equal(a.Data, b.Data);
        Assert.Equal(a.X, b.X);
        Assert.Equal(a.F, b.F);
    }

    /// <summary>Thousands of programs of valid and invalid bits: nothing but a trap may come of them.</summary>
    [Fact]
    public void RandomBitsNeverBreakTheInterpreter()
    {
        using var window = MemoryWindow.Reserve(RandomProgram.WindowSize);
        RandomProgram.MapAreas(window);
        using var hart = new Hart(window) { Reservations = new() };
        var interpreter = new ReferenceInterpreter();
        var random = new Random(99);
        var code = new byte[4096];
        for (var n = 0; n < 500; n++)
        {
            random.NextBytes(code);
            Assert.Equal(code.Length, window.Write(RandomProgram.CodeStart, code));
            interpreter.InvalidateCode(RandomProgram.CodeStart, 4096);
            for (var start = 0; start < 4000; start += 50)
            {
                for (var r = 1; r < 32; r++) hart[r] = random.Next(2) == 0 ? RandomProgram.DataStart + (ulong)random.Next(0x2000) : (ulong)random.NextInt64();
                hart.Pc = RandomProgram.CodeStart + (ulong)start;
                interpreter.Run(hart, 1000);
                Assert.Equal(0UL, hart[0]);
                Assert.InRange(hart.State.Fflags, 0u, 31u);
            }
        }
    }
}
