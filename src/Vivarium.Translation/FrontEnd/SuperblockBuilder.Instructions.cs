using System.Runtime.CompilerServices;
using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.FrontEnd;

// Guest instruction -> IR. What is not here (or not supported by the back end) is executed by the interpreter.
internal sealed partial class SuperblockBuilder
{

    // What most instructions are, as data: kind | IR code or width << 8 | flags << 16. The opcodes that come next in a program are hard to predict,
    // and a jump table of all of them costs a misprediction each.
    private enum Kind : byte { Other, Immediate, Commutative, Register, Plain, Unary, Load, Store }

    private static readonly uint[] Lowerings = BuildLowerings();

    private static uint[] BuildLowerings()
    {
        var table = new uint[(int)Opcode.Count];
        void Add(Kind kind, params ReadOnlySpan<(Opcode Opcode, IrCode Code)> rows)
        {
            foreach ((Opcode opcode, IrCode code) in rows) table[(int)opcode] = (uint)kind | (uint)code << 8;
        }
        void AddAccess(Kind kind, Opcode opcode, int width, IrFlags flags = IrFlags.None) => table[(int)opcode] = (uint)kind | (uint)width << 8 | (uint)flags << 16;

        Add(Kind.Immediate,
            (Opcode.Addi, IrCode.Add), (Opcode.Slti, IrCode.SetLt), (Opcode.Sltiu, IrCode.SetLtu), (Opcode.Xori, IrCode.Xor), (Opcode.Ori, IrCode.Or),
            (Opcode.Andi, IrCode.And), (Opcode.Slli, IrCode.Shl), (Opcode.Srli, IrCode.Shr), (Opcode.Srai, IrCode.Sar), (Opcode.Addiw, IrCode.AddW),
            (Opcode.Slliw, IrCode.ShlW), (Opcode.Srliw, IrCode.ShrW), (Opcode.Sraiw, IrCode.SarW), (Opcode.Rori, IrCode.Ror),
            (Opcode.Roriw, IrCode.RorW), (Opcode.Bclri, IrCode.BitClear), (Opcode.Bexti, IrCode.BitExtract), (Opcode.Binvi, IrCode.BitInvert),
            (Opcode.Bseti, IrCode.BitSet));
        Add(Kind.Commutative,
            (Opcode.Add, IrCode.Add), (Opcode.Xor, IrCode.Xor), (Opcode.Or, IrCode.Or), (Opcode.And, IrCode.And), (Opcode.Addw, IrCode.AddW),
            (Opcode.Mul, IrCode.Mul), (Opcode.Mulw, IrCode.MulW));
        Add(Kind.Register,
            (Opcode.Sub, IrCode.Sub), (Opcode.Sll, IrCode.Shl), (Opcode.Slt, IrCode.SetLt), (Opcode.Sltu, IrCode.SetLtu), (Opcode.Srl, IrCode.Shr),
            (Opcode.Sra, IrCode.Sar), (Opcode.Subw, IrCode.SubW), (Opcode.Sllw, IrCode.ShlW), (Opcode.Srlw, IrCode.ShrW), (Opcode.Sraw, IrCode.SarW),
            (Opcode.Rol, IrCode.Rol), (Opcode.Ror, IrCode.Ror), (Opcode.Rolw, IrCode.RolW), (Opcode.Rorw, IrCode.RorW),
            (Opcode.Bclr, IrCode.BitClear), (Opcode.Bext, IrCode.BitExtract), (Opcode.Binv, IrCode.BitInvert), (Opcode.Bset, IrCode.BitSet));
        Add(Kind.Plain,
            (Opcode.Mulh, IrCode.MulH), (Opcode.Mulhsu, IrCode.MulHsu), (Opcode.Mulhu, IrCode.MulHu), (Opcode.Div, IrCode.Div),
            (Opcode.Divu, IrCode.DivU), (Opcode.Rem, IrCode.Rem), (Opcode.Remu, IrCode.RemU), (Opcode.Divw, IrCode.DivW),
            (Opcode.Divuw, IrCode.DivUW), (Opcode.Remw, IrCode.RemW), (Opcode.Remuw, IrCode.RemUW), (Opcode.Andn, IrCode.AndNot),
            (Opcode.Orn, IrCode.OrNot), (Opcode.Xnor, IrCode.Xnor), (Opcode.Min, IrCode.Min), (Opcode.Max, IrCode.Max), (Opcode.Minu, IrCode.MinU),
            (Opcode.Maxu, IrCode.MaxU), (Opcode.CzeroEqz, IrCode.CzeroEqz), (Opcode.CzeroNez, IrCode.CzeroNez));
        Add(Kind.Unary,
            (Opcode.SextB, IrCode.SextB), (Opcode.SextH, IrCode.SextH), (Opcode.ZextH, IrCode.ZextH), (Opcode.Clz, IrCode.Clz),
            (Opcode.Clzw, IrCode.ClzW), (Opcode.Ctz, IrCode.Ctz), (Opcode.Ctzw, IrCode.CtzW), (Opcode.Cpop, IrCode.Cpop),
            (Opcode.Cpopw, IrCode.CpopW), (Opcode.Rev8, IrCode.Rev8), (Opcode.OrcB, IrCode.OrcB));
        AddAccess(Kind.Load, Opcode.Lb, 1);
        AddAccess(Kind.Load, Opcode.Lh, 2);
        AddAccess(Kind.Load, Opcode.Lw, 4);
        AddAccess(Kind.Load, Opcode.Ld, 8);
        AddAccess(Kind.Load, Opcode.Lbu, 1, IrFlags.Unsigned);
        AddAccess(Kind.Load, Opcode.Lhu, 2, IrFlags.Unsigned);
        AddAccess(Kind.Load, Opcode.Lwu, 4, IrFlags.Unsigned);
        AddAccess(Kind.Store, Opcode.Sb, 1);
        AddAccess(Kind.Store, Opcode.Sh, 2);
        AddAccess(Kind.Store, Opcode.Sw, 4);
        AddAccess(Kind.Store, Opcode.Sd, 8);
        return table;
    }

    /// <summary>An instruction of the table; execution goes on behind it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void TranslatePlain(in Instruction i, uint lowering)
    {
        int rd = i.Rd, rs1 = i.Rs1;
        var code = (IrCode)(byte)(lowering >> 8);
        switch ((Kind)(byte)lowering)
        {
            case Kind.Immediate: EmitImmediate(code, rd, rs1, i.Imm); break;
            case Kind.Commutative: EmitRegister(code, rd, rs1, i.Rs2, true); break;
            case Kind.Register: EmitRegister(code, rd, rs1, i.Rs2, false); break;
            case Kind.Plain: if (rd != 0) Emit(code, rd, rs1, i.Rs2); break;
            case Kind.Unary: if (rd != 0) Emit(code, rd, rs1); break;
            case Kind.Load: Load(rd, rs1, i.Imm, (int)code, (IrFlags)(byte)(lowering >> 16)); break;
            default: Store(rs1, i.Rs2, i.Imm, (int)code); break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private Flow Translate(in Instruction i, ulong pc, ulong next, out ulong target)
    {
        int rd = i.Rd, rs1 = i.Rs1, rs2 = i.Rs2;
        long imm = i.Imm;
        target = 0;
        if (Lowerings[(int)i.Opcode] is not 0 and var lowering)
        {
            TranslatePlain(i, lowering);
            return Flow.Next;
        }
        switch (i.Opcode)
        {
            case Opcode.Lui: EmitConst(rd, (ulong)imm); return Flow.Next;
            case Opcode.Auipc: EmitConst(rd, pc + (ulong)imm); return Flow.Next;

            case Opcode.Jal:
                EmitConst(rd, next);
                target = pc + (ulong)imm;
                return Flow.Jump;
            case Opcode.Jalr:
                if (IsConst(rs1))
                {
                    target = (_constant[rs1] + (ulong)imm) & ~1UL;
                    EmitConst(rd, next);
                    return Flow.Jump;
                }
                ref IrOp jump = ref Emit(IrCode.JumpIndirect, rd, rs1);
                jump.Imm = imm;
                jump.Target = next;
                return Flow.End;

            case Opcode.Beq: return Branch(IrCondition.Equal, rs1, rs2, pc + (ulong)imm, out target);
            case Opcode.Bne: return Branch(IrCondition.NotEqual, rs1, rs2, pc + (ulong)imm, out target);
            case Opcode.Blt: return Branch(IrCondition.Less, rs1, rs2, pc + (ulong)imm, out target);
            case Opcode.Bge: return Branch(IrCondition.GreaterEqual, rs1, rs2, pc + (ulong)imm, out target);
            case Opcode.Bltu: return Branch(IrCondition.LessUnsigned, rs1, rs2, pc + (ulong)imm, out target);
            case Opcode.Bgeu: return Branch(IrCondition.GreaterEqualUnsigned, rs1, rs2, pc + (ulong)imm, out target);

            case Opcode.Sh1add: return ShAdd(IrCode.ShAdd, rd, rs1, rs2, 1);
            case Opcode.Sh2add: return ShAdd(IrCode.ShAdd, rd, rs1, rs2, 2);
            case Opcode.Sh3add: return ShAdd(IrCode.ShAdd, rd, rs1, rs2, 3);
            case Opcode.AddUw: return ShAdd(IrCode.ShAddUw, rd, rs1, rs2, 0);
            case Opcode.Sh1addUw: return ShAdd(IrCode.ShAddUw, rd, rs1, rs2, 1);
            case Opcode.Sh2addUw: return ShAdd(IrCode.ShAddUw, rd, rs1, rs2, 2);
            case Opcode.Sh3addUw: return ShAdd(IrCode.ShAddUw, rd, rs1, rs2, 3);
            case Opcode.SlliUw:
                if (rd != 0)
                {
                    ref IrOp shift = ref Emit(IrCode.ShlUw, rd, rs1);
                    shift.Imm = imm;
                    shift.Flags = IrFlags.ImmB;
                }
                return Flow.Next;

            case Opcode.Fence:
                // TSO gives every order but earlier stores (or device output) before later loads (or device input).
                if ((i.AqRl & 0x50) != 0 && (i.AqRl & 0x0A) != 0) Emit(IrCode.Fence, 0);
                return Flow.Next;
            case Opcode.FenceTso or Opcode.PrefetchI or Opcode.PrefetchR or Opcode.PrefetchW: return Flow.Next;
            case Opcode.Pause: Emit(IrCode.Pause, 0); return Flow.Next;
            case Opcode.Ecall: Emit(IrCode.Ecall, 0); return Flow.End;
            case Opcode.FenceI: Emit(IrCode.FenceI, 0); return Flow.End;

            case Opcode.LrW or Opcode.LrD or Opcode.ScW or Opcode.ScD when Machine != null: goto default;
            case Opcode.LrW: return Atomic(IrCode.LoadReserved, i, 4);
            case Opcode.LrD: return Atomic(IrCode.LoadReserved, i, 8);
            case Opcode.ScW: return Atomic(IrCode.StoreConditional, i, 4);
            case Opcode.ScD: return Atomic(IrCode.StoreConditional, i, 8);
            case Opcode.AmoswapW: return Atomic(IrCode.AmoSwap, i, 4);
            case Opcode.AmoswapD: return Atomic(IrCode.AmoSwap, i, 8);
            case Opcode.AmoaddW: return Atomic(IrCode.AmoAdd, i, 4);
            case Opcode.AmoaddD: return Atomic(IrCode.AmoAdd, i, 8);
            case Opcode.AmoxorW: return Atomic(IrCode.AmoXor, i, 4);
            case Opcode.AmoxorD: return Atomic(IrCode.AmoXor, i, 8);
            case Opcode.AmoandW: return Atomic(IrCode.AmoAnd, i, 4);
            case Opcode.AmoandD: return Atomic(IrCode.AmoAnd, i, 8);
            case Opcode.AmoorW: return Atomic(IrCode.AmoOr, i, 4);
            case Opcode.AmoorD: return Atomic(IrCode.AmoOr, i, 8);
            case Opcode.AmominW: return Atomic(IrCode.AmoMin, i, 4);
            case Opcode.AmominD: return Atomic(IrCode.AmoMin, i, 8);
            case Opcode.AmomaxW: return Atomic(IrCode.AmoMax, i, 4);
            case Opcode.AmomaxD: return Atomic(IrCode.AmoMax, i, 8);
            case Opcode.AmominuW: return Atomic(IrCode.AmoMinU, i, 4);
            case Opcode.AmominuD: return Atomic(IrCode.AmoMinU, i, 8);
            case Opcode.AmomaxuW: return Atomic(IrCode.AmoMaxU, i, 4);
            case Opcode.AmomaxuD: return Atomic(IrCode.AmoMaxU, i, 8);
            case Opcode.AmocasW: return Atomic(IrCode.AmoCas, i, 4);
            case Opcode.AmocasD: return Atomic(IrCode.AmoCas, i, 8);

            default:
                if (Machine is { } machine && TryPrivileged(machine, i)) return Flow.Next;
                if (CodeGenerator.SupportsFloat(i)) return Float(i);
                if (ReadsClock(i, out int clock, out int divisor))
                {
                    if (i.Rd == 0) return Flow.Next;
                    ref IrOp op = ref Emit(IrCode.ReadClock, i.Rd);
                    op.Imm = clock;
                    op.Target = (ulong)divisor;
                    return Flow.Next;
                }
                Emit(IrCode.Interpret, 0);
                return Flow.End;
        }
    }

    /// <summary>csrrs or csrrc of a clock with nothing to write; a machine's counters are its own.</summary>
    private bool ReadsClock(in Instruction i, out int clock, out int divisor)
    {
        (clock, divisor) = (0, 0);
        return Machine == null && HostClock.EntryPoint != 0 && i.Rs1 == 0 && i.Opcode is Opcode.Csrrs or Opcode.Csrrc or Opcode.Csrrsi or Opcode.Csrrci
            && ClockRegisters.TryFind((int)i.Imm & 0xfff, out clock, out divisor);
    }

    private Flow Branch(IrCondition condition, int a, int b, ulong to, out ulong target)
    {
        target = to;
        if (a == b || (IsConst(a) && IsConst(b))) return Known(Holds(condition, _constant[a], _constant[b], a == b));
        if (IsConst(a) && IsSmallConst(a) && !IsConst(b) && condition is IrCondition.Equal or IrCondition.NotEqual) (a, b) = (b, a);
        ref IrOp op = ref _block.Add(IrCode.Branch, 0, a, b);
        op.C = (byte)condition;
        op.Target = to;
        if (IsSmallConst(b))
        {
            op.Flags = IrFlags.ImmB;
            op.Imm = (long)_constant[b];
            op.B = 0;
        }
        return Flow.Branch;
    }

    private static Flow Known(bool taken) => taken ? Flow.Jump : Flow.Next;

    private static bool Holds(IrCondition condition, ulong a, ulong b, bool same) => condition switch
    {
        IrCondition.Equal => same || a == b,
        IrCondition.NotEqual => !same && a != b,
        IrCondition.Less => !same && (long)a < (long)b,
        IrCondition.GreaterEqual => same || (long)a >= (long)b,
        IrCondition.LessUnsigned => !same && a < b,
        _ => same || a >= b,
    };

    private void Address(ref IrOp op, int baseRegister, long imm)
    {
        op.Imm = imm;
        if (!IsConst(baseRegister)) return;
        ulong address = _constant[baseRegister] + (ulong)imm;
        if (address >= 0x7FFF_F000) return;
        op.Imm = (long)address;
        op.A = 0;
        op.Flags |= IrFlags.Absolute;
    }

    private void Load(int rd, int rs1, long imm, int width, IrFlags flags)
    {
        ref IrOp op = ref _block.Add(IrCode.Load, rd, rs1);
        op.Width = (byte)width;
        op.Flags = flags;
        Address(ref op, rs1, imm);
        _isConstant &= ~(1u << rd) | 1;
    }

    private void Store(int rs1, int rs2, long imm, int width)
    {
        ref IrOp op = ref _block.Add(IrCode.Store, 0, rs1, rs2);
        op.Width = (byte)width;
        _block.StoresStackWords |= rs1 == 2 && width == 4;
        Address(ref op, rs1, imm);
        if (IsSmallConst(rs2))
        {
            op.Flags |= IrFlags.ImmB;
            op.Target = _constant[rs2];
            op.B = 0;
        }
    }

    private Flow ShAdd(IrCode code, int rd, int rs1, int rs2, int shift)
    {
        if (rd != 0) Emit(code, rd, rs1, rs2).C = (byte)shift;
        return Flow.Next;
    }

    private Flow Atomic(IrCode code, in Instruction i, int width)
    {
        Emit(code, i.Rd, i.Rs1, i.Rs2).Width = (byte)width;
        return Flow.Next;
    }

    private Flow Float(in Instruction i)
    {
        FloatOperands operands = FloatOperandTable.Of(i.Opcode);
        int rd = i.Rd;
        bool integerResult = (operands & FloatOperands.IntegerRd) != 0;
        ref IrOp op = ref _block.Add(IrCode.Float, integerResult ? rd : rd + 32,
            (operands & FloatOperands.IntegerRs1) != 0 ? i.Rs1 : i.Rs1 + 32, i.Rs2 + 32);
        op.C = (byte)(i.Rs3 + 32);
        op.Aux = i.Opcode;
        op.Rm = i.Rm;
        op.Imm = i.Imm;
        if ((operands & FloatOperands.Csr) != 0)
        {
            op.Code = IrCode.FloatCsr;
            op.B = op.C = 0;
        }
        _block.HasFloat = true;
        if (integerResult) _isConstant &= ~(1u << rd) | 1;
        return Flow.Next;
    }
}
