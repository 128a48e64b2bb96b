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
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private Flow Translate(in Instruction i, ulong pc, ulong next, out ulong target)
    {
        int rd = i.Rd, rs1 = i.Rs1, rs2 = i.Rs2;
        long imm = i.Imm;
        target = 0;
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

            case Opcode.Lb: return Load(rd, rs1, imm, 1, IrFlags.None);
            case Opcode.Lh: return Load(rd, rs1, imm, 2, IrFlags.None);
            case Opcode.Lw: return Load(rd, rs1, imm, 4, IrFlags.None);
            case Opcode.Ld: return Load(rd, rs1, imm, 8, IrFlags.None);
            case Opcode.Lbu: return Load(rd, rs1, imm, 1, IrFlags.Unsigned);
            case Opcode.Lhu: return Load(rd, rs1, imm, 2, IrFlags.Unsigned);
            case Opcode.Lwu: return Load(rd, rs1, imm, 4, IrFlags.Unsigned);
            case Opcode.Sb: return Store(rs1, rs2, imm, 1);
            case Opcode.Sh: return Store(rs1, rs2, imm, 2);
            case Opcode.Sw: return Store(rs1, rs2, imm, 4);
            case Opcode.Sd: return Store(rs1, rs2, imm, 8);

            case Opcode.Addi: EmitImmediate(IrCode.Add, rd, rs1, imm); return Flow.Next;
            case Opcode.Slti: EmitImmediate(IrCode.SetLt, rd, rs1, imm); return Flow.Next;
            case Opcode.Sltiu: EmitImmediate(IrCode.SetLtu, rd, rs1, imm); return Flow.Next;
            case Opcode.Xori: EmitImmediate(IrCode.Xor, rd, rs1, imm); return Flow.Next;
            case Opcode.Ori: EmitImmediate(IrCode.Or, rd, rs1, imm); return Flow.Next;
            case Opcode.Andi: EmitImmediate(IrCode.And, rd, rs1, imm); return Flow.Next;
            case Opcode.Slli: EmitImmediate(IrCode.Shl, rd, rs1, imm); return Flow.Next;
            case Opcode.Srli: EmitImmediate(IrCode.Shr, rd, rs1, imm); return Flow.Next;
            case Opcode.Srai: EmitImmediate(IrCode.Sar, rd, rs1, imm); return Flow.Next;
            case Opcode.Addiw: EmitImmediate(IrCode.AddW, rd, rs1, imm); return Flow.Next;
            case Opcode.Slliw: EmitImmediate(IrCode.ShlW, rd, rs1, imm); return Flow.Next;
            case Opcode.Srliw: EmitImmediate(IrCode.ShrW, rd, rs1, imm); return Flow.Next;
            case Opcode.Sraiw: EmitImmediate(IrCode.SarW, rd, rs1, imm); return Flow.Next;
            case Opcode.Rori: EmitImmediate(IrCode.Ror, rd, rs1, imm); return Flow.Next;
            case Opcode.Roriw: EmitImmediate(IrCode.RorW, rd, rs1, imm); return Flow.Next;
            case Opcode.Bclri: EmitImmediate(IrCode.BitClear, rd, rs1, imm); return Flow.Next;
            case Opcode.Bexti: EmitImmediate(IrCode.BitExtract, rd, rs1, imm); return Flow.Next;
            case Opcode.Binvi: EmitImmediate(IrCode.BitInvert, rd, rs1, imm); return Flow.Next;
            case Opcode.Bseti: EmitImmediate(IrCode.BitSet, rd, rs1, imm); return Flow.Next;

            case Opcode.Add: EmitRegister(IrCode.Add, rd, rs1, rs2, true); return Flow.Next;
            case Opcode.Sub: EmitRegister(IrCode.Sub, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Sll: EmitRegister(IrCode.Shl, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Slt: EmitRegister(IrCode.SetLt, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Sltu: EmitRegister(IrCode.SetLtu, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Xor: EmitRegister(IrCode.Xor, rd, rs1, rs2, true); return Flow.Next;
            case Opcode.Srl: EmitRegister(IrCode.Shr, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Sra: EmitRegister(IrCode.Sar, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Or: EmitRegister(IrCode.Or, rd, rs1, rs2, true); return Flow.Next;
            case Opcode.And: EmitRegister(IrCode.And, rd, rs1, rs2, true); return Flow.Next;
            case Opcode.Addw: EmitRegister(IrCode.AddW, rd, rs1, rs2, true); return Flow.Next;
            case Opcode.Subw: EmitRegister(IrCode.SubW, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Sllw: EmitRegister(IrCode.ShlW, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Srlw: EmitRegister(IrCode.ShrW, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Sraw: EmitRegister(IrCode.SarW, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Rol: EmitRegister(IrCode.Rol, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Ror: EmitRegister(IrCode.Ror, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Rolw: EmitRegister(IrCode.RolW, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Rorw: EmitRegister(IrCode.RorW, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Bclr: EmitRegister(IrCode.BitClear, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Bext: EmitRegister(IrCode.BitExtract, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Binv: EmitRegister(IrCode.BitInvert, rd, rs1, rs2, false); return Flow.Next;
            case Opcode.Bset: EmitRegister(IrCode.BitSet, rd, rs1, rs2, false); return Flow.Next;

            case Opcode.Mul: EmitRegister(IrCode.Mul, rd, rs1, rs2, true); return Flow.Next;
            case Opcode.Mulw: EmitRegister(IrCode.MulW, rd, rs1, rs2, true); return Flow.Next;
            case Opcode.Mulh: return Plain(IrCode.MulH, rd, rs1, rs2);
            case Opcode.Mulhsu: return Plain(IrCode.MulHsu, rd, rs1, rs2);
            case Opcode.Mulhu: return Plain(IrCode.MulHu, rd, rs1, rs2);
            case Opcode.Div: return Plain(IrCode.Div, rd, rs1, rs2);
            case Opcode.Divu: return Plain(IrCode.DivU, rd, rs1, rs2);
            case Opcode.Rem: return Plain(IrCode.Rem, rd, rs1, rs2);
            case Opcode.Remu: return Plain(IrCode.RemU, rd, rs1, rs2);
            case Opcode.Divw: return Plain(IrCode.DivW, rd, rs1, rs2);
            case Opcode.Divuw: return Plain(IrCode.DivUW, rd, rs1, rs2);
            case Opcode.Remw: return Plain(IrCode.RemW, rd, rs1, rs2);
            case Opcode.Remuw: return Plain(IrCode.RemUW, rd, rs1, rs2);

            case Opcode.Andn: return Plain(IrCode.AndNot, rd, rs1, rs2);
            case Opcode.Orn: return Plain(IrCode.OrNot, rd, rs1, rs2);
            case Opcode.Xnor: return Plain(IrCode.Xnor, rd, rs1, rs2);
            case Opcode.Min: return Plain(IrCode.Min, rd, rs1, rs2);
            case Opcode.Max: return Plain(IrCode.Max, rd, rs1, rs2);
            case Opcode.Minu: return Plain(IrCode.MinU, rd, rs1, rs2);
            case Opcode.Maxu: return Plain(IrCode.MaxU, rd, rs1, rs2);
            case Opcode.CzeroEqz: return Plain(IrCode.CzeroEqz, rd, rs1, rs2);
            case Opcode.CzeroNez: return Plain(IrCode.CzeroNez, rd, rs1, rs2);
            case Opcode.SextB: return Plain(IrCode.SextB, rd, rs1, 0);
            case Opcode.SextH: return Plain(IrCode.SextH, rd, rs1, 0);
            case Opcode.ZextH: return Plain(IrCode.ZextH, rd, rs1, 0);
            case Opcode.Clz: return Plain(IrCode.Clz, rd, rs1, 0);
            case Opcode.Clzw: return Plain(IrCode.ClzW, rd, rs1, 0);
            case Opcode.Ctz: return Plain(IrCode.Ctz, rd, rs1, 0);
            case Opcode.Ctzw: return Plain(IrCode.CtzW, rd, rs1, 0);
            case Opcode.Cpop: return Plain(IrCode.Cpop, rd, rs1, 0);
            case Opcode.Cpopw: return Plain(IrCode.CpopW, rd, rs1, 0);
            case Opcode.Rev8: return Plain(IrCode.Rev8, rd, rs1, 0);
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

    private Flow Load(int rd, int rs1, long imm, int width, IrFlags flags)
    {
        ref IrOp op = ref _block.Add(IrCode.Load, rd, rs1);
        op.Width = (byte)width;
        op.Flags = flags;
        Address(ref op, rs1, imm);
        _isConstant &= ~(1u << rd) | 1;
        return Flow.Next;
    }

    private Flow Store(int rs1, int rs2, long imm, int width)
    {
        ref IrOp op = ref _block.Add(IrCode.Store, 0, rs1, rs2);
        op.Width = (byte)width;
        Address(ref op, rs1, imm);
        if (IsSmallConst(rs2))
        {
            op.Flags |= IrFlags.ImmB;
            op.Target = _constant[rs2];
            op.B = 0;
        }
        return Flow.Next;
    }

    private Flow Plain(IrCode code, int rd, int rs1, int rs2)
    {
        if (rd != 0) Emit(code, rd, rs1, rs2);
        return Flow.Next;
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
