using Vivarium.RiscV.Interpreter;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>The harness itself: two reference interpreters must agree, and a program must run and end.</summary>
public sealed class StressProgramTests
{
    [Fact]
    public void TheReferenceAgreesWithItself()
    {
        using var runner = new DifferentialRunner(new ReferenceInterpreter(), new ReferenceInterpreter());
        for (int seed = 0; seed < 300; seed++)
        {
            if (runner.Run(seed) is { } difference) Assert.Fail(difference);
        }
        Assert.True(runner.Executed > 30_000, $"only {runner.Executed} instructions ran");
        Assert.True(runner.Traps > 10);
    }

    [Fact]
    public void ASeedNamesOneProgram()
    {
        Assert.Equal(StressProgram.Create(7, 0x1000).Code, StressProgram.Create(7, 0x1000).Code);
        Assert.NotEqual(StressProgram.Create(7, 0x1000).Code, StressProgram.Create(8, 0x1000).Code);
    }
}
