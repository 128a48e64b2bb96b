using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using static Vivarium.Translation.Tests.Engine.EngineGuest;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>LR/SC sequences that become single locked instructions leave what the interpreter leaves.</summary>
public class ReservedSequenceTests
{
    /// <summary>Sequences with a0 the address, a1 the expected value, a2 the operand; results in a3, a4, a5.</summary>
    private static readonly (string Name, string Operation, uint[] Code)[] Sequences =
    [
        ("strong compare-exchange", "exchange", [R(Opcode.LrD, 13, 10, 0), Branch(Opcode.Bne, 13, 11, 12), R(Opcode.ScD, 14, 10, 12), Branch(Opcode.Bne, 14, 0, -12)]),
        ("of words", "exchange", [R(Opcode.LrW, 13, 10, 0), Branch(Opcode.Bne, 13, 11, 12), R(Opcode.ScW, 14, 10, 12), Branch(Opcode.Bne, 14, 0, -12)]),
        ("weak", "exchange", [R(Opcode.LrD, 13, 10, 0), Branch(Opcode.Bne, 11, 13, 8), R(Opcode.ScD, 14, 10, 12), R(Opcode.Sltiu, 15, 14, 0)]),
        ("same result register", "exchange", [R(Opcode.LrW, 13, 10, 0), Branch(Opcode.Bne, 13, 11, 8), R(Opcode.ScW, 13, 10, 12)]),
        ("with zero", "exchange", [R(Opcode.LrD, 13, 10, 0), Branch(Opcode.Bne, 13, 0, 12), R(Opcode.ScD, 14, 10, 12), Branch(Opcode.Bne, 14, 0, -12)]),
        ("to zero", "exchange", [R(Opcode.LrD, 13, 10, 0), Branch(Opcode.Bne, 13, 11, 12), R(Opcode.ScD, 14, 10, 0), Branch(Opcode.Bne, 14, 0, -12)]),
        ("registers that live in memory", "exchange", [R(Opcode.Add, 28, 11, 0), R(Opcode.Add, 29, 12, 0), R(Opcode.Add, 30, 10, 0),
            R(Opcode.LrD, 31, 30, 0), Branch(Opcode.Bne, 31, 28, 12), R(Opcode.ScD, 27, 30, 29), Branch(Opcode.Bne, 27, 0, -12), R(Opcode.Add, 13, 31, 0)]),
        ("in rdx", "exchange", [R(Opcode.Add, 16, 10, 0), R(Opcode.Add, 28, 12, 0), R(Opcode.LrD, 13, 16, 0), Branch(Opcode.Bne, 13, 11, 12),
            R(Opcode.ScD, 14, 16, 28), Branch(Opcode.Bne, 14, 0, -12)]),
        ("add", "AmoAdd", [R(Opcode.LrD, 13, 10, 0), R(Opcode.Add, 14, 13, 12), R(Opcode.ScD, 15, 10, 14), Branch(Opcode.Bne, 15, 0, -12)]),
        ("addw", "AmoAdd", [R(Opcode.LrW, 13, 10, 0), R(Opcode.Addw, 14, 12, 13), R(Opcode.ScW, 14, 10, 14), Branch(Opcode.Bne, 14, 0, -12)]),
        ("add into the operand", "AmoAdd", [R(Opcode.LrD, 13, 10, 0), R(Opcode.Add, 12, 13, 12), R(Opcode.ScD, 15, 10, 12)]),
        ("xor", "AmoXor", [R(Opcode.LrW, 13, 10, 0), R(Opcode.Xor, 14, 13, 12), R(Opcode.ScW, 15, 10, 14), Branch(Opcode.Bne, 15, 0, -12)]),
        ("maximum", "AmoMaxU", [R(Opcode.LrD, 13, 10, 0), R(Opcode.Maxu, 14, 13, 12), R(Opcode.ScD, 15, 10, 14), Branch(Opcode.Bne, 15, 0, -12)]),
        ("swap", "AmoSwap", [R(Opcode.LrW, 13, 10, 0), R(Opcode.ScW, 15, 10, 12), Branch(Opcode.Bne, 15, 0, -8)]),
        ("add immediate", "StoreExclusive", [R(Opcode.LrD, 13, 10, 0), I(Opcode.Addi, 13, 13, 5), R(Opcode.ScD, 15, 10, 13), Branch(Opcode.Bne, 15, 0, -12)]),
        ("subtract", "StoreExclusive", [R(Opcode.LrW, 13, 10, 0), R(Opcode.Subw, 14, 13, 12), R(Opcode.ScW, 15, 10, 14), Branch(Opcode.Bne, 15, 0, -12)]),
        ("a byte in a word", "StoreExclusive", [R(Opcode.LrW, 13, 10, 0), R(Opcode.Add, 14, 13, 12), R(Opcode.Xor, 14, 14, 13), I(Opcode.Andi, 14, 14, 255),
            R(Opcode.Xor, 14, 14, 13), R(Opcode.ScW, 15, 10, 14), Branch(Opcode.Bne, 15, 0, -24)]),
        ("a compare-exchange of a byte", "StoreExclusive", [R(Opcode.LrW, 13, 10, 0), I(Opcode.Andi, 14, 13, 255), Branch(Opcode.Bne, 14, 11, 20),
            I(Opcode.Andi, 14, 13, -256), R(Opcode.Or, 14, 14, 12), R(Opcode.ScW, 14, 10, 14), Branch(Opcode.Bne, 14, 0, -24)]),
        ("a saturating increment", "StoreExclusive", [R(Opcode.LrD, 13, 10, 0), Branch(Opcode.Bgeu, 13, 12, 16), I(Opcode.Addi, 14, 13, 1), R(Opcode.ScD, 14, 10, 14), Branch(Opcode.Bne, 14, 0, -16)]),
    ];

    public static TheoryData<int> Indices() => [.. Enumerable.Range(0, Sequences.Length)];

    private static readonly ulong[] Values = [0, 1, 5, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFFF_8000_0000, 0x1_0000_0001, ulong.MaxValue];

    [Theory]
    [MemberData(nameof(Indices))]
    public void LeaveWhatTheInterpreterLeaves(int index)
    {
        var (name, operation, code) = Sequences[index];
        string text = "";
        using var guest = new EngineGuest();
        using var engine = new TranslationEngine(null, new TranslationOptions { Validate = true, QuickRuns = 0, DumpSink = s => text += s });
        using var interpreter = new ReferenceInterpreter();
        var reservations = new Reservations();
        guest.Write(Code, [.. code, Ecall]);
        foreach (ulong memory in Values)
        {
            foreach (ulong expected in Values)
            {
                foreach (ulong operand in Values)
                {
                    var outcome = new ulong[2][];
                    foreach (Executor executor in (Executor[])[interpreter, engine])
                    {
                        Assert.True(guest.Window.TryStore64(Data, memory));
                        using Hart hart = guest.NewHart(Code);
                        hart.Reservations = reservations; // its own: those of tests beside it would make some SC fail
                        for (int r = 1; r < 32; r++) hart[r] = 0x1234_5678_9ABC_0000 + (ulong)r;
                        hart[10] = Data;
                        hart[11] = expected;
                        hart[12] = operand;
                        Assert.Equal(TrapCause.EnvironmentCall, executor.Run(hart).Cause);
                        Assert.True(guest.Window.TryLoad64(Data, out ulong now));
                        outcome[executor == engine ? 1 : 0] = [now, .. Enumerable.Range(1, 31).Select(r => hart[r])];
                    }
                    Assert.Equal(outcome[0], outcome[1]);
                }
            }
        }
        Assert.Contains(operation, text.Split("superblock")[1]);
        Assert.False(name.Length == 0);
    }

    [Theory]
    [MemberData(nameof(Indices))]
    public void FaultOnWhatCannotBeWritten(int index)
    {
        var (_, _, code) = Sequences[index];
        using var guest = new EngineGuest();
        guest.Write(Code, [.. code, Ecall]);
        Assert.True(guest.Window.TryStore64(Data, 5));
        guest.Window.Protect(Data, 0x1000, Protection.Read);
        using Hart hart = guest.NewHart(Code);
        hart.Reservations = new();
        hart[10] = Data;
        hart[11] = 5;
        hart[12] = 9;
        ulong store = Code + 4 * (ulong)Array.FindIndex(code, bits => bits >> 27 == 3);
        ExecutionExit exit = guest.Engine.Run(hart);
        if (Sequences[index].Name == "with zero")
        {
            Assert.Equal(TrapCause.EnvironmentCall, exit.Cause); // not equal: nothing to store
            return;
        }
        Assert.Equal(TrapCause.StorePageFault, exit.Cause);
        Assert.Equal(Data, exit.Value);
        Assert.Equal(store, hart.Pc);
    }

    [Fact]
    public void WhatTouchesMemoryBetweenKeepsItsReservation()
    {
        string text = "";
        using var guest = new EngineGuest();
        using var engine = new TranslationEngine(null, new TranslationOptions { Validate = true, QuickRuns = 0, DumpSink = s => text += s });
        guest.Write(Code, R(Opcode.LrD, 13, 10, 0), I(Opcode.Ld, 14, 13, 0), R(Opcode.ScD, 15, 10, 14), Ecall);
        Assert.True(guest.Window.TryStore64(Data, Data + 64));
        using Hart hart = guest.NewHart(Code);
        hart.Reservations = new();
        hart[10] = Data;
        Assert.Equal(TrapCause.EnvironmentCall, engine.Run(hart).Cause);
        Assert.Contains("LoadReserved", text);
        Assert.Contains("StoreConditional", text);
        Assert.Equal(0ul, hart[15]);
    }
}
