using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using static Vivarium.Translation.Tests.Engine.EngineGuest;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>What the front end and the passes make of typical sequences, seen through the dump.</summary>
public class PassTests
{
    private static string Dump(params uint[] code)
    {
        string text = "";
        using MemoryWindow window = MemoryWindow.Reserve(1UL << 30);
        Assert.Equal(0, window.MapAnonymous(Code, 0x1000, Protection.Read | Protection.Write | Protection.Execute));
        window.Write(Code, System.Runtime.InteropServices.MemoryMarshal.AsBytes<uint>([.. code, Ecall]));
        using var engine = new TranslationEngine(null, new TranslationOptions { Validate = true, QuickRuns = 0, DumpSink = s => text += s });
        using var hart = new Hart(window) { Pc = Code };
        hart[2] = Code;
        Assert.Equal(TrapCause.EnvironmentCall, engine.Run(hart).Cause);
        return text;
    }

    [Fact]
    public void AddressesFoldToConstants() =>
        Assert.Contains("x10 = 0x10010", Dump(InstructionTable.BaseRow(Opcode.Auipc).Match | 10 << 7, I(Opcode.Addi, 10, 10, 16)));

    [Fact]
    public void KnownCallsAreFollowed()
    {
        // auipc ra; jalr ra: a call to what stands right behind it.
        string text = Dump(InstructionTable.BaseRow(Opcode.Auipc).Match | 1 << 7, I(Opcode.Jalr, 1, 1, 8));
        Assert.DoesNotContain("goto", text);
        Assert.Contains("x1 = 0x10008", text);
    }

    [Fact]
    public void ShiftPairsBecomeExtensions()
    {
        Assert.Contains("ZextW x11", Dump(I(Opcode.Slli, 10, 11, 32), I(Opcode.Srli, 10, 10, 32)));
        Assert.Contains("ZextH x11", Dump(I(Opcode.Slli, 10, 11, 48), I(Opcode.Srli, 10, 10, 48)));
        Assert.Contains("SextB x11", Dump(I(Opcode.Slli, 10, 11, 56), I(Opcode.Srai, 10, 10, 56)));
    }

    [Fact]
    public void ScaledIndicesBecomeOneOperation() =>
        Assert.Contains("ShAdd x11 << 3, x12", Dump(I(Opcode.Slli, 10, 11, 3), R(Opcode.Add, 10, 12, 10)));

    [Fact]
    public void OverwrittenResultsGo()
    {
        string text = Dump(I(Opcode.Addi, 10, 11, 1), I(Opcode.Addi, 10, 12, 2));
        Assert.DoesNotContain("Add x11", text);
        // A load may fault in between: there the first result is visible.
        text = Dump(I(Opcode.Addi, 10, 11, 1), I(Opcode.Ld, 13, 2, 0), I(Opcode.Addi, 10, 12, 2));
        Assert.Contains("Add x11", text);
    }

    [Fact]
    public void FencesThatTsoGivesCostNothing()
    {
        uint fence = InstructionTable.BaseRow(Opcode.Fence).Match;
        Assert.DoesNotContain("= Fence", Dump(fence | 0b0010_0011u << 20)); // fence r,rw
        Assert.DoesNotContain("= Fence", Dump(fence | 0b0011_0001u << 20)); // fence rw,w
        Assert.Contains("= Fence", Dump(fence | 0b0011_0011u << 20));       // fence rw,rw
        Assert.Contains("= Fence", Dump(fence | 0b0001_0010u << 20));       // fence w,r
    }

    [Fact]
    public void BranchesInsideLoopsGoToLabels()
    {
        string text = Dump(
            I(Opcode.Addi, 10, 0, 4),
            I(Opcode.Andi, 11, 10, 1),          // the loop
            Branch(Opcode.Beq, 11, 0, 12),      // if odd
            I(Opcode.Addi, 12, 12, 1),
            Jal(0, 8),
            I(Opcode.Addi, 13, 13, 1),          // else
            I(Opcode.Addi, 10, 10, -1),
            Branch(Opcode.Bne, 10, 0, -24));
        Assert.Contains("if x11 Equal 0 goto label 0", text);
        Assert.Contains("goto label 1", text);
        Assert.Contains("goto 0x10004", text);
    }

    [Fact]
    public void BranchesIntoTheMiddleOfAnInstructionLeaveTheLoop()
    {
        // The second half of the addi is never a label of the block.
        string text = Dump(
            I(Opcode.Addi, 10, 0, 2),
            Branch(Opcode.Blt, 10, 0, 6),
            I(Opcode.Addi, 12, 12, 1),
            I(Opcode.Addi, 10, 10, -1),
            Branch(Opcode.Bne, 10, 0, -12));
        Assert.Contains("goto 0x1000a", text);
        Assert.DoesNotContain("label", text);
    }

    [Fact]
    public void RotatesByShiftsBecomeRotates()
    {
        string text = Dump(I(Opcode.Srliw, 10, 11, 7), I(Opcode.Slliw, 12, 11, 25), R(Opcode.Or, 13, 10, 12));
        Assert.Contains("x13 = RorW x11, 7", text);
        Assert.Contains("x13 = Ror x11, 57", Dump(I(Opcode.Slli, 10, 11, 7), I(Opcode.Srli, 12, 11, 57), R(Opcode.Xor, 13, 10, 12)));
        // The amounts do not make a rotate; the source has changed; a shift overwrites it.
        Assert.DoesNotContain("Ror", Dump(I(Opcode.Srliw, 10, 11, 7), I(Opcode.Slliw, 12, 11, 24), R(Opcode.Or, 13, 10, 12)));
        Assert.DoesNotContain("Ror", Dump(I(Opcode.Srliw, 10, 11, 7), I(Opcode.Addi, 11, 11, 1), I(Opcode.Slliw, 12, 11, 25), R(Opcode.Or, 13, 10, 12)));
        Assert.DoesNotContain("Ror", Dump(I(Opcode.Srliw, 10, 11, 7), I(Opcode.Slliw, 11, 11, 25), R(Opcode.Or, 13, 10, 11)));
    }

    [Fact]
    public void ExtensionsThroughAnotherRegisterAreSeen()
    {
        string text = Dump(I(Opcode.Slli, 10, 11, 32), I(Opcode.Srli, 12, 10, 30), R(Opcode.Add, 12, 12, 13));
        Assert.Contains("x12 = ShAddUw x11 << 2, x13", text);
        Assert.Contains("x12 = ShrW x11, 8", Dump(I(Opcode.Slli, 10, 11, 32), I(Opcode.Srli, 12, 10, 40)));
        // The shifted value is overwritten by its own shift, and somebody else reads it.
        Assert.DoesNotContain("ZextW", Dump(I(Opcode.Slli, 10, 10, 32), R(Opcode.Add, 14, 10, 10), I(Opcode.Srli, 10, 10, 32)));
    }

    [Fact]
    public void ComparisonsGoIntoTheirBranches()
    {
        Assert.Contains("if x11 LessUnsigned x12 goto", Dump(R(Opcode.Sltu, 10, 11, 12), Branch(Opcode.Bne, 10, 0, 8)));
        Assert.Contains("if x11 GreaterEqual 5 goto", Dump(I(Opcode.Slti, 10, 11, 5), Branch(Opcode.Beq, 10, 0, 8)));
        Assert.Contains("if x11 NotEqual 0 goto", Dump(I(Opcode.Sltiu, 10, 11, 1), Branch(Opcode.Beq, 10, 0, 8)));
        Assert.Contains("if x10 NotEqual 0 goto", Dump(R(Opcode.Sltu, 10, 10, 12), Branch(Opcode.Bne, 10, 0, 8)));
    }

    [Fact]
    public void ResultsThatOnlyFaultsCanSeeAreDeferred()
    {
        string text = Dump(I(Opcode.Addi, 10, 11, 1), I(Opcode.Ld, 13, 2, 0), I(Opcode.Addi, 10, 12, 2));
        Assert.Contains("deferred: x10 = Add x11", text);
        // Read, a changed source, or a source that is its own destination.
        Assert.DoesNotContain("deferred", Dump(I(Opcode.Addi, 10, 11, 1), R(Opcode.Add, 13, 10, 10), I(Opcode.Ld, 14, 2, 0), I(Opcode.Addi, 10, 12, 2)));
        Assert.DoesNotContain("deferred", Dump(I(Opcode.Addi, 10, 11, 1), I(Opcode.Ld, 11, 2, 0), I(Opcode.Addi, 10, 12, 2)));
        Assert.DoesNotContain("deferred", Dump(I(Opcode.Addi, 10, 10, 1), I(Opcode.Ld, 13, 2, 0), I(Opcode.Addi, 10, 12, 2)));
    }

    [Fact]
    public void DeferredResultsAreThereAfterAFault()
    {
        using var guest = new EngineGuest(quickRuns: 0);
        guest.Write(Code, I(Opcode.Slli, 10, 11, 32), I(Opcode.Srli, 12, 10, 30), I(Opcode.Addi, 28, 12, 5), I(Opcode.Ld, 13, 14, 0), I(Opcode.Addi, 10, 0, 1),
            I(Opcode.Addi, 12, 0, 2), I(Opcode.Addi, 28, 0, 2), Ecall);
        using Hart hart = guest.NewHart(Code);
        hart[11] = 0xFFFF_FFFF_8000_0001;
        hart[14] = 0x3000_0000; // nothing is mapped there
        Assert.Equal(TrapCause.LoadPageFault, guest.Engine.Run(hart).Cause);
        Assert.Equal(Code + 12, hart.Pc);
        Assert.Equal(0x8000_0001_0000_0000UL, hart[10]);
        Assert.Equal(0x2_0000_0004UL, hart[12]);
        Assert.Equal(0x2_0000_0009UL, hart[28]);
    }

    [Fact]
    public void DeferredResultsAreThereBehindATakenBranch()
    {
        using var guest = new EngineGuest(quickRuns: 0);
        guest.Write(Code, I(Opcode.Addiw, 10, 11, 1), R(Opcode.Add, 29, 11, 12), Branch(Opcode.Beq, 14, 0, 16), I(Opcode.Addi, 10, 0, 1), I(Opcode.Addi, 29, 0, 2), Ecall, Ecall);
        using Hart hart = guest.NewHart(Code);
        hart[11] = 0x7FFF_FFFF;
        hart[12] = 3;
        guest.RunToEcall(hart);
        Assert.Equal(Code + 24, hart.Pc);
        Assert.Equal(0xFFFF_FFFF_8000_0000UL, hart[10]);
        Assert.Equal(0x8000_0002UL, hart[29]);
    }

    [Fact]
    public void ShortConditionalCodeInLoopsNeedsNoBranch()
    {
        // a1 = the largest of a0 * 3 & 7 for a0 = 5..1; a2 counts how often it grew, a3 = the sum of what was taken, negated.
        using var guest = new EngineGuest(quickRuns: 0);
        guest.Write(Code,
            I(Opcode.Addi, 10, 0, 5),
            R(Opcode.Sh1add, 14, 10, 10), I(Opcode.Andi, 14, 14, 7),
            Branch(Opcode.Bgeu, 11, 14, 12), I(Opcode.Addi, 11, 14, 0), I(Opcode.Addi, 12, 12, 1),
            Branch(Opcode.Bne, 11, 14, 8), R(Opcode.Subw, 13, 13, 14),
            I(Opcode.Addi, 10, 10, -1),
            Branch(Opcode.Bne, 10, 0, -32), Ecall);
        using Hart hart = guest.NewHart(Code);
        guest.RunToEcall(hart);
        Assert.Equal(7UL, hart[11]);
        Assert.Equal(1UL, hart[12]);
        Assert.Equal(unchecked((ulong)-7L), hart[13]);
    }

    [Fact]
    public void LoadsThroughAScaledIndexTakeItAsTheirAddress()
    {
        Assert.Contains("x13 = load32 [x2 + 0 + x11 << 2]", Dump(I(Opcode.Slli, 10, 11, 2), R(Opcode.Add, 10, 10, 2), I(Opcode.Lw, 13, 10, 0), I(Opcode.Addi, 10, 0, 1)));
        Assert.Contains("x13 = load64 [x2 + 8 + x11w << 3]", Dump(R(Opcode.Sh3addUw, 10, 11, 2), I(Opcode.Ld, 13, 10, 8), I(Opcode.Addi, 10, 0, 1)));
        // Somebody reads the address; the index has changed.
        Assert.DoesNotContain("<< 2]", Dump(R(Opcode.Sh2add, 10, 11, 2), I(Opcode.Lw, 13, 10, 0), R(Opcode.Add, 14, 10, 10)));
        Assert.DoesNotContain("<< 2]", Dump(R(Opcode.Sh2add, 10, 11, 2), I(Opcode.Addi, 11, 11, 1), I(Opcode.Lw, 13, 10, 0), I(Opcode.Addi, 10, 0, 1)));
    }

    [Fact]
    public void AFaultInAnIndexedLoadLeavesTheAddress()
    {
        using var guest = new EngineGuest(quickRuns: 0);
        guest.Write(Code, R(Opcode.Sh2addUw, 10, 11, 12), I(Opcode.Lw, 13, 10, 4), I(Opcode.Addi, 10, 0, 1), Ecall);
        using Hart hart = guest.NewHart(Code);
        hart[11] = 0xFFFF_FFFF_0000_0003;
        hart[12] = 0x3000_0000;
        Assert.Equal(TrapCause.LoadPageFault, guest.Engine.Run(hart).Cause);
        Assert.Equal(0x3000_000CUL, hart[10]);
        hart[12] = Data;
        hart.Pc = Code;
        guest.Window.TryStore32(Data + 16, 77);
        guest.RunToEcall(hart);
        Assert.Equal(77UL, hart[13]);
    }

    [Fact]
    public void ShortSkipsStayInTheBlock()
    {
        string text = Dump(Branch(Opcode.Beq, 11, 0, 8), I(Opcode.Ld, 12, 2, 0), I(Opcode.Addi, 13, 13, 1));
        Assert.Contains("goto label 0", text);
        // Not with floating point.
        text = Dump(Branch(Opcode.Beq, 11, 0, 8), I(Opcode.Ld, 12, 2, 0), I(Opcode.Fld, 13, 2, 0));
        Assert.DoesNotContain("label", text);
    }
}
