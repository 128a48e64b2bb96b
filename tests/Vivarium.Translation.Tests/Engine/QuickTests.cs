using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using static Vivarium.Translation.Tests.Engine.EngineGuest;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>Blocks of the quick path, and how those of the full pipeline take their place.</summary>
public class QuickTests
{
    [Fact]
    public void ABlockThatRunsOftenIsReplaced()
    {
        using var guest = new EngineGuest(quickRuns: 5);
        guest.Write(Code, I(Opcode.Addi, 10, 10, 1), Ecall);
        using Hart hart = guest.NewHart(Code);
        for (int n = 1; n <= 20; n++)
        {
            hart.Pc = Code;
            guest.RunToEcall(hart);
            Assert.Equal((ulong)n, hart[10]);
            Assert.Equal(n < 5 ? 0 : 1, guest.Engine.Statistics.Promotions);
        }
        Assert.Equal(1, guest.Engine.Statistics.QuickBlocks);
        Assert.Equal(2, guest.Engine.Statistics.Blocks);
    }

    [Fact]
    public void RoundsOfALoopCount()
    {
        using var guest = new EngineGuest(quickRuns: 50);
        guest.Write(Code, I(Opcode.Addi, 10, 10, 1), Branch(Opcode.Bne, 10, 11, -4), Ecall);
        using Hart hart = guest.NewHart(Code);
        hart[11] = 40;
        guest.RunToEcall(hart);
        Assert.Equal(0, guest.Engine.Statistics.Promotions);
        hart.Pc = Code;
        hart[11] = 100_000;
        guest.RunToEcall(hart);
        Assert.Equal(100_000UL, hart[10]);
        Assert.Equal(1, guest.Engine.Statistics.Promotions);
    }

    /// <summary>Callers that jumped to the quick block by address, by table and as its neighbour find the new one.</summary>
    [Fact]
    public void AllWaysLeadToTheNewBlock()
    {
        using var guest = new EngineGuest(quickRuns: 30);
        // A function, called directly and through a register.
        guest.Write(Code,
            Jal(1, 0x100), I(Opcode.Jalr, 1, 5, 0), I(Opcode.Addi, 11, 11, -1), Branch(Opcode.Bne, 11, 0, -12), Ecall);
        guest.Write(Code + 0x100, I(Opcode.Addi, 10, 10, 1), I(Opcode.Jalr, 0, 1, 0));
        using Hart hart = guest.NewHart(Code);
        hart[5] = Code + 0x100;
        hart[11] = 1000;
        guest.RunToEcall(hart);
        Assert.Equal(2000UL, hart[10]);
        long direct = guest.Engine.Statistics.DirectExits, indirect = guest.Engine.Statistics.IndirectExits;
        Assert.InRange(guest.Engine.Statistics.Promotions, 3, 5);
        hart.Pc = Code;
        hart[11] = 1000;
        guest.RunToEcall(hart);
        Assert.Equal(4000UL, hart[10]);
        // Everything is linked by now.
        Assert.InRange(guest.Engine.Statistics.DirectExits - direct, 0, 4);
        Assert.InRange(guest.Engine.Statistics.IndirectExits - indirect, 0, 4);
    }

    [Theory]
    [InlineData(Opcode.Ld)]
    [InlineData(Opcode.Fld)]
    [InlineData(Opcode.Flw)]
    [InlineData(Opcode.Lb)]
    public void AFaultStopsAtItsInstruction(Opcode load)
    {
        using var guest = new EngineGuest(quickRuns: int.MaxValue);
        // x10 has a host register, x28 has none.
        guest.Write(Code,
            I(Opcode.Addi, 10, 10, 1), I(Opcode.Addi, 28, 28, 2), Branch(Opcode.Beq, 28, 0, 40), I(load, 28, 29, 8), I(Opcode.Addi, 10, 10, 4), Ecall);
        using Hart hart = guest.NewHart(Code);
        hart[29] = 0x2000_0000;
        ExecutionExit exit = guest.Engine.Run(hart);
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.LoadPageFault, 0x2000_0008), exit with { HostSignal = 0 });
        Assert.Equal((Code + 12, 1UL, 2UL), (hart.Pc, hart[10], hart[28]));
        Assert.Equal(1, guest.Engine.Statistics.QuickBlocks);
        hart[29] = Data;
        guest.RunToEcall(hart);
        Assert.Equal(5UL, hart[10]);
    }

    /// <summary>Branches over jumps, one behind the other: each has an exit, and the block must end before it has too many.</summary>
    [Fact]
    public void BranchesOverJumpsDoNotFillABlockWithExits()
    {
        using var guest = new EngineGuest(quickRuns: int.MaxValue);
        var code = new List<uint>();
        for (int i = 0; i < 20; i++) code.AddRange([Branch(Opcode.Beq, 10, 0, 8), Jal(0, 0x1000), I(Opcode.Addi, 11, 11, 1)]);
        for (int i = 0; i < 20; i++) code.AddRange([Branch(Opcode.Beq, 10, 0, 8), Branch(Opcode.Beq, 0, 0, 0x800), I(Opcode.Addi, 11, 11, 1)]);
        for (int i = 0; i < 20; i++) code.AddRange([Branch(Opcode.Beq, 10, 0, 8), Ecall]);
        guest.Write(Code, [.. code, Ecall]);
        using Hart hart = guest.NewHart(Code);
        guest.RunToEcall(hart);
        Assert.Equal((40UL, Code + (ulong)code.Count * 4), (hart[11], hart.Pc));
    }

    [Fact]
    public void WhatTheQuickPathDoesNotKnowIsTheFullPipelines()
    {
        using var guest = new EngineGuest(quickRuns: int.MaxValue);
        guest.Write(Code, I(Opcode.Addi, 10, 0, 100), R(Opcode.Div, 10, 10, 11), I(Opcode.Addi, 10, 10, 1), Ecall);
        using Hart hart = guest.NewHart(Code);
        hart[11] = 7;
        guest.RunToEcall(hart);
        Assert.Equal(15UL, hart[10]);
        Assert.Equal((2L, 1L), (guest.Engine.Statistics.Blocks, guest.Engine.Statistics.QuickBlocks));
    }

    /// <summary>Code that instructions became is kept by their bits: more of them than there is room for, and again, from other addresses.</summary>
    [Fact]
    public void InstructionsBecomeTheSameCodeAgain()
    {
        using var guest = new EngineGuest(quickRuns: int.MaxValue);
        const int count = 900;
        ulong expected = 0;
        for (int round = 0; round < 3; round++)
        {
            var code = new List<uint>();
            for (int i = 0; i < count; i++)
            {
                int imm = i + (round == 2 ? 1000 : 0) - 400; // the third round's are others
                code.Add(I(Opcode.Addi, 10 + i % 2 * 18, 10 + i % 2 * 18, imm));
                if (i % 50 == 7) code.AddRange([Branch(Opcode.Beq, 0, 0, 8), Ecall]);
                expected += (ulong)(long)imm;
            }
            guest.Write(Code + (ulong)round * 0x2000, [.. code, Ecall]);
        }
        using Hart hart = guest.NewHart(Code);
        for (int round = 0; round < 3; round++)
        {
            hart.Pc = Code + (ulong)round * 0x2000;
            guest.RunToEcall(hart);
        }
        Assert.Equal(expected, hart[10] + hart[28]);
        Assert.Equal(guest.Engine.Statistics.Blocks, guest.Engine.Statistics.QuickBlocks);
    }
}
