using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>RV64I (manual, chapters "RV32I" and "RV64I"), Zifencei, Zihintpause and Zawrs.</summary>
internal static unsafe class BaseInteger
{
    public static void AddTo(SemanticsTable t)
    {
        t[Opcode.Lui] = &Lui;
        t[Opcode.Auipc] = &Auipc;
        t[Opcode.Jal] = &Jal;
        t[Opcode.Jalr] = &Jalr;
        t[Opcode.Beq] = &Beq;
        t[Opcode.Bne] = &Bne;
        t[Opcode.Blt] = &Blt;
        t[Opcode.Bge] = &Bge;
        t[Opcode.Bltu] = &Bltu;
        t[Opcode.Bgeu] = &Bgeu;
        t[Opcode.Lb] = &Lb;
        t[Opcode.Lh] = &Lh;
        t[Opcode.Lw] = &Lw;
        t[Opcode.Ld] = &Ld;
        t[Opcode.Lbu] = &Lbu;
        t[Opcode.Lhu] = &Lhu;
        t[Opcode.Lwu] = &Lwu;
        t[Opcode.Sb] = &Sb;
        t[Opcode.Sh] = &Sh;
        t[Opcode.Sw] = &Sw;
        t[Opcode.Sd] = &Sd;
        t[Opcode.Addi] = &Addi;
        t[Opcode.Slti] = &Slti;
        t[Opcode.Sltiu] = &Sltiu;
        t[Opcode.Xori] = &Xori;
        t[Opcode.Ori] = &Ori;
        t[Opcode.Andi] = &Andi;
        t[Opcode.Slli] = &Slli;
        t[Opcode.Srli] = &Srli;
        t[Opcode.Srai] = &Srai;
        t[Opcode.Add] = &Add;
        t[Opcode.Sub] = &Sub;
        t[Opcode.Sll] = &Sll;
        t[Opcode.Slt] = &Slt;
        t[Opcode.Sltu] = &Sltu;
        t[Opcode.Xor] = &Xor;
        t[Opcode.Srl] = &Srl;
        t[Opcode.Sra] = &Sra;
        t[Opcode.Or] = &Or;
        t[Opcode.And] = &And;
        t[Opcode.Addiw] = &Addiw;
        t[Opcode.Slliw] = &Slliw;
        t[Opcode.Srliw] = &Srliw;
        t[Opcode.Sraiw] = &Sraiw;
        t[Opcode.Addw] = &Addw;
        t[Opcode.Subw] = &Subw;
        t[Opcode.Sllw] = &Sllw;
        t[Opcode.Srlw] = &Srlw;
        t[Opcode.Sraw] = &Sraw;
        t[Opcode.Fence] = &Fence;
        t[Opcode.FenceTso] = &FenceTso;
        t[Opcode.FenceI] = &FenceI;
        t[Opcode.Ecall] = &Ecall;
        t[Opcode.Ebreak] = &Ebreak;
        t[Opcode.Pause] = &Nop;
        // A wait for a reservation set may end at any time (manual, Zawrs), so it ends at once.
        t[Opcode.WrsNto] = &Nop;
        t[Opcode.WrsSto] = &Nop;
    }

    private static bool Nop(ref Core c, in Instruction i) => true;

    // Upper immediates and jumps.

    private static bool Lui(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)i.Imm);

    private static bool Auipc(ref Core c, in Instruction i) => c.SetX(i.Rd, c.State.Pc + (ulong)i.Imm);

    private static bool Jal(ref Core c, in Instruction i)
    {
        var link = c.NextPc;
        c.NextPc = c.State.Pc + (ulong)i.Imm;
        return c.SetX(i.Rd, link);
    }

    private static bool Jalr(ref Core c, in Instruction i)
    {
        var link = c.NextPc;
        c.NextPc = (c.X(i.Rs1) + (ulong)i.Imm) & ~1UL; // read before rd is written: they may be the same
        return c.SetX(i.Rd, link);
    }

    private static bool Beq(ref Core c, in Instruction i) => c.Branch(c.X(i.Rs1) == c.X(i.Rs2), i);

    private static bool Bne(ref Core c, in Instruction i) => c.Branch(c.X(i.Rs1) != c.X(i.Rs2), i);

    private static bool Blt(ref Core c, in Instruction i) => c.Branch((long)c.X(i.Rs1) < (long)c.X(i.Rs2), i);

    private static bool Bge(ref Core c, in Instruction i) => c.Branch((long)c.X(i.Rs1) >= (long)c.X(i.Rs2), i);

    private static bool Bltu(ref Core c, in Instruction i) => c.Branch(c.X(i.Rs1) < c.X(i.Rs2), i);

    private static bool Bgeu(ref Core c, in Instruction i) => c.Branch(c.X(i.Rs1) >= c.X(i.Rs2), i);

    // Loads and stores.

    private static ulong Address(ref Core c, in Instruction i) => c.X(i.Rs1) + (ulong)i.Imm;

    private static bool Lb(ref Core c, in Instruction i) => c.Load8(Address(ref c, i), out var v) && c.SetX(i.Rd, (ulong)(sbyte)v);

    private static bool Lh(ref Core c, in Instruction i) => c.Load16(Address(ref c, i), out var v) && c.SetX(i.Rd, (ulong)(short)v);

    private static bool Lw(ref Core c, in Instruction i) => c.Load32(Address(ref c, i), out var v) && c.SetW(i.Rd, v);

    private static bool Ld(ref Core c, in Instruction i) => c.Load64(Address(ref c, i), out var v) && c.SetX(i.Rd, v);

    private static bool Lbu(ref Core c, in Instruction i) => c.Load8(Address(ref c, i), out var v) && c.SetX(i.Rd, (ulong)v);

    private static bool Lhu(ref Core c, in Instruction i) => c.Load16(Address(ref c, i), out var v) && c.SetX(i.Rd, (ulong)v);

    private static bool Lwu(ref Core c, in Instruction i) => c.Load32(Address(ref c, i), out var v) && c.SetX(i.Rd, (ulong)v);

    private static bool Sb(ref Core c, in Instruction i) => c.Store8(Address(ref c, i), (byte)c.X(i.Rs2));

    private static bool Sh(ref Core c, in Instruction i) => c.Store16(Address(ref c, i), (ushort)c.X(i.Rs2));

    private static bool Sw(ref Core c, in Instruction i) => c.Store32(Address(ref c, i), (uint)c.X(i.Rs2));

    private static bool Sd(ref Core c, in Instruction i) => c.Store64(Address(ref c, i), c.X(i.Rs2));

    // Register-immediate. The immediate is sign-extended before any comparison, unsigned ones too.

    private static bool Addi(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) + (ulong)i.Imm);

    private static bool Slti(ref Core c, in Instruction i) => c.SetX(i.Rd, (long)c.X(i.Rs1) < i.Imm);

    private static bool Sltiu(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) < (ulong)i.Imm);

    private static bool Xori(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) ^ (ulong)i.Imm);

    private static bool Ori(ref Core c, in Instruction i)
    {
        var immediate = (ulong)i.Imm;
        return c.SetX(i.Rd, c.X(i.Rs1) | immediate);
    }

    private static bool Andi(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) & (ulong)i.Imm);

    private static bool Slli(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) << i.Imm);

    private static bool Srli(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) >> i.Imm);

    private static bool Srai(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)((long)c.X(i.Rs1) >> i.Imm));

    // Register-register. Shift amounts are the low six bits, which is what C# takes.

    private static bool Add(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) + c.X(i.Rs2));

    private static bool Sub(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) - c.X(i.Rs2));

    private static bool Sll(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) << (int)c.X(i.Rs2));

    private static bool Slt(ref Core c, in Instruction i) => c.SetX(i.Rd, (long)c.X(i.Rs1) < (long)c.X(i.Rs2));

    private static bool Sltu(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) < c.X(i.Rs2));

    private static bool Xor(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) ^ c.X(i.Rs2));

    private static bool Srl(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) >> (int)c.X(i.Rs2));

    private static bool Sra(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)((long)c.X(i.Rs1) >> (int)c.X(i.Rs2)));

    private static bool Or(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) | c.X(i.Rs2));

    private static bool And(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) & c.X(i.Rs2));

    // On 32-bit words, sign-extended. Shift amounts are the low five bits.

    private static bool Addiw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)c.X(i.Rs1) + (uint)i.Imm);

    private static bool Slliw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)c.X(i.Rs1) << i.Imm);

    private static bool Srliw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)c.X(i.Rs1) >> i.Imm);

    private static bool Sraiw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)((int)c.X(i.Rs1) >> i.Imm));

    private static bool Addw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)c.X(i.Rs1) + (uint)c.X(i.Rs2));

    private static bool Subw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)c.X(i.Rs1) - (uint)c.X(i.Rs2));

    private static bool Sllw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)c.X(i.Rs1) << (int)c.X(i.Rs2));

    private static bool Srlw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)c.X(i.Rs1) >> (int)c.X(i.Rs2));

    private static bool Sraw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)((int)c.X(i.Rs1) >> (int)c.X(i.Rs2)));

    // Memory ordering and the environment.

    private static bool Fence(ref Core c, in Instruction i)
    {
        Interlocked.MemoryBarrier(); // whatever the sets: stronger is allowed
        return true;
    }

    /// <summary>Orders everything but stores against later loads, which x86 does by itself.</summary>
    private static bool FenceTso(ref Core c, in Instruction i) => true;

    private static bool FenceI(ref Core c, in Instruction i)
    {
        Interlocked.MemoryBarrier();
        if (c.Unit is { } unit) unit.FenceInstructions();
        else c.Interpreter.SynchronizeCode(0, ulong.MaxValue);
        return true;
    }

    private static bool Ecall(ref Core c, in Instruction i) => c.Trap(TrapCause.EnvironmentCall, 0);

    private static bool Ebreak(ref Core c, in Instruction i) => c.Trap(TrapCause.Breakpoint, c.State.Pc);
}
