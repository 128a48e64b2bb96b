using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using static Vivarium.Translation.Tests.Engine.EngineGuest;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>Code that changes under the translator.</summary>
public class CodeChangeTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(int.MaxValue)]
    public void FenceIMakesStoresToCodeVisible(int quickRuns)
    {
        using var guest = new EngineGuest(quickRuns: quickRuns);
        // Overwrites its own second half with another constant, then runs it.
        guest.Write(Code,
            R(Opcode.Sw, 0, 11, 12) & ~0xF80u, FenceI, Jal(0, 4),
            I(Opcode.Addi, 10, 0, 1), Ecall);
        using Hart hart = guest.NewHart(Code + 12);
        guest.RunToEcall(hart);
        Assert.Equal(1UL, hart[10]);
        for (int n = 2; n < 50; n++)
        {
            hart[11] = Code + 12;
            hart[12] = I(Opcode.Addi, 10, 0, n);
            hart.Pc = Code;
            guest.RunToEcall(hart);
            Assert.Equal((ulong)n, hart[10]);
        }
        // Blocks that did not change stay.
        Assert.InRange(guest.Engine.Statistics.Blocks, 1, 2 + 2 * 50);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(int.MaxValue)]
    public void RemappedPagesRunTheirNewCode(int quickRuns)
    {
        using var guest = new EngineGuest(quickRuns: quickRuns);
        using Hart hart = guest.NewHart(Code);
        guest.Write(Code, Jal(0, 0x2000)); // chained across pages
        for (int n = 1; n < 20; n++)
        {
            guest.Write(Code + 0x2000, I(Opcode.Addi, 10, 0, n), Ecall);
            guest.Engine.InvalidateCode(Code + 0x2000, 0x1000);
            hart.Pc = Code;
            guest.RunToEcall(hart);
            Assert.Equal((ulong)n, hart[10]);
            hart.Pc = Code;
            guest.RunToEcall(hart);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(int.MaxValue)]
    public void UnmappedCodeTraps(int quickRuns)
    {
        using var guest = new EngineGuest(quickRuns: quickRuns);
        using Hart hart = guest.NewHart(Code);
        guest.Write(Code, I(Opcode.Addi, 10, 0, 1), Ecall);
        guest.RunToEcall(hart);
        Assert.Equal(0, guest.Window.Unmap(Code, 0x1000));
        guest.Engine.InvalidateCode(Code, 0x1000);
        hart.Pc = Code;
        ExecutionExit exit = guest.Engine.Run(hart);
        Assert.Equal(ExitKind.Trap, exit.Kind);
        Assert.Equal(TrapCause.InstructionPageFault, exit.Cause);
        Assert.Equal(Code, hart.Pc);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(int.MaxValue)]
    public void RunningThreadsSeeInvalidation(int quickRuns)
    {
        // A thread runs a loop; another rewrites a block in it again and again. After each invalidation the old code must stop soon.
        using var guest = new EngineGuest(quickRuns: quickRuns);
        guest.Write(Code, I(Opcode.Lw, 11, 5, 0), Branch(Opcode.Beq, 11, 0, 0x100), Ecall);
        guest.Write(Code + 4 + 0x100, I(Opcode.Addi, 10, 0, 1), R(Opcode.Sw, 0, 5, 10) & ~0xF80u | 8 << 7, Jal(0, -(0x100 + 4 + 8)));
        using Hart hart = guest.NewHart(Code);
        hart[5] = Data;
        var thread = new Thread(() => guest.RunToEcall(hart)) { IsBackground = true };
        thread.Start();
        for (int n = 2; n < 300; n++)
        {
            guest.Write(Code + 4 + 0x100, I(Opcode.Addi, 10, 0, n));
            guest.Engine.InvalidateCode(Code + 4 + 0x100, 4);
            Assert.True(SpinWait.SpinUntil(() => guest.Window.TryLoad32(Data + 8, out uint seen) && seen == n, 30_000), $"change {n} was not seen");
        }
        Assert.True(guest.Window.TryStore32(Data, 1));
        Assert.True(thread.Join(30_000));
    }
}
