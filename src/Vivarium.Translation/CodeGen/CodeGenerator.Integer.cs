using System.Runtime.CompilerServices;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Integer arithmetic.
public sealed unsafe partial class CodeGenerator
{
    private const Gpr Rax = Gpr.Rax, Rcx = Gpr.Rcx, Rdx = Gpr.Rdx;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Lower(ref IrOp op)
    {
        if ((op.Flags & IrFlags.Check) != 0) CheckAddress(op.A, op);
        switch (op.Code)
        {
            case IrCode.Nop: break;
            case IrCode.Const: Const(op); break;
            case IrCode.Move: Move(op); break;
            case IrCode.Add: Binary(AluOp.Add, op, true); break;
            case IrCode.Sub: Binary(AluOp.Sub, op, false); break;
            case IrCode.And: Logic(AluOp.And, op); break;
            case IrCode.Or: Logic(AluOp.Or, op); break;
            case IrCode.Xor: Logic(AluOp.Xor, op); break;
            case IrCode.AddW: BinaryW(AluOp.Add, op, true); break;
            case IrCode.SubW: BinaryW(AluOp.Sub, op, false); break;
            case IrCode.Shl: Shift(ShiftOp.Shl, op); break;
            case IrCode.Shr: Shift(ShiftOp.Shr, op); break;
            case IrCode.Sar: Shift(ShiftOp.Sar, op); break;
            case IrCode.Rol: Shift(ShiftOp.Rol, op); break;
            case IrCode.Ror: Shift(ShiftOp.Ror, op); break;
            case IrCode.ShlW: ShiftW(ShiftOp.Shl, op); break;
            case IrCode.ShrW: ShiftW(ShiftOp.Shr, op); break;
            case IrCode.SarW: ShiftW(ShiftOp.Sar, op); break;
            case IrCode.RolW: ShiftW(ShiftOp.Rol, op); break;
            case IrCode.RorW: ShiftW(ShiftOp.Ror, op); break;
            case IrCode.SetLt: SetLess(op, IrCondition.Less); break;
            case IrCode.SetLtu: SetLess(op, IrCondition.LessUnsigned); break;
            case IrCode.Mul: Multiply(op); break;
            case IrCode.MulW: MultiplyW(op); break;
            case IrCode.MulH or IrCode.MulHsu or IrCode.MulHu: MultiplyHigh(op); break;
            case IrCode.Div or IrCode.DivU or IrCode.Rem or IrCode.RemU: Divide(op); break;
            case IrCode.DivW or IrCode.DivUW or IrCode.RemW or IrCode.RemUW: DivideW(op); break;
            case IrCode.BitClear: BitOperation(BitOp.Btr, op); break;
            case IrCode.BitInvert: BitOperation(BitOp.Btc, op); break;
            case IrCode.BitSet: BitOperation(BitOp.Bts, op); break;
            case IrCode.BitExtract: BitExtract(op); break;
            case IrCode.AndNot or IrCode.OrNot or IrCode.Xnor: Negated(op); break;
            case IrCode.Min: Select(op, Cond.G); break;
            case IrCode.Max: Select(op, Cond.L); break;
            case IrCode.MinU: Select(op, Cond.A); break;
            case IrCode.MaxU: Select(op, Cond.B); break;
            case IrCode.CzeroEqz: ConditionalZero(op, Cond.E); break;
            case IrCode.CzeroNez: ConditionalZero(op, Cond.Ne); break;
            case IrCode.SextW or IrCode.SextB or IrCode.SextH or IrCode.ZextB or IrCode.ZextH or IrCode.ZextW: Extend(op); break;
            case IrCode.Clz or IrCode.ClzW or IrCode.Ctz or IrCode.CtzW or IrCode.Cpop or IrCode.CpopW: Count(op); break;
            case IrCode.OrcB: OrBytes(op); break;
            case IrCode.Rev8: { Gpr d = Target(op.Dst); Load64(d, op.A); _asm.Bswap(d); Finish64(op.Dst, d); break; }
            case IrCode.ShAdd or IrCode.ShAddUw: ShiftAdd(op); break;
            case IrCode.ShlUw: { Gpr d = Target(op.Dst); _asm.Mov32(d, Read32(op.A, Rax)); _asm.Shl(d, (int)op.Imm & 63); Finish64(op.Dst, d); break; }
            case IrCode.Load: Load(op); break;
            case IrCode.Store: Store(op); break;
            case IrCode.Branch: Branch(op); break;
            case IrCode.Jump when op.IsInternal: GoTo(op, null); break;
            case IrCode.Jump: ExitTo(op.Target); break;
            case IrCode.Label: PlaceLabel(op); break;
            case IrCode.JumpIndirect: JumpIndirect(op); break;
            case IrCode.Ecall: ExitAt(BlockExit.Ecall, op); break;
            case IrCode.FenceI: ExitAt(BlockExit.FenceI, op); break;
            case IrCode.Interpret: ExitAt(BlockExit.Interpret, op); break;
            // A locked operation on the stack orders like mfence and is faster.
            case IrCode.Fence: _asm.Zero(Rax); _asm.LockAlu(AluOp.Or, Size.S32, Mem.At(Gpr.Rsp), Rax); break;
            case IrCode.Pause: _asm.Pause(); break;
            case IrCode.LoadReserved: LoadReserved(op); break;
            case IrCode.StoreConditional: StoreConditional(op); break;
            case IrCode.AmoSwap or IrCode.AmoAdd: Exchange(op); break;
            case IrCode.AmoXor or IrCode.AmoAnd or IrCode.AmoOr or IrCode.AmoMin or IrCode.AmoMax or IrCode.AmoMinU or IrCode.AmoMaxU: AtomicLoop(op); break;
            case IrCode.AmoCas: AtomicCompareExchange(op); break;
            case IrCode.CompareExchange: CompareExchange(op); break;
            case IrCode.LoadLinked: LoadLinked(op); break;
            case IrCode.StoreExclusive: StoreExclusive(op); break;
            case IrCode.EndReservation: EndReservation(); break;
            case IrCode.Float or IrCode.FloatCsr: LowerFloat(ref op); break;
            case IrCode.ReadClock: ReadClock(op); break;
            case IrCode.ReadTime: ReadTime(op); break;
            case IrCode.CsrRead or IrCode.CsrSwap: AccessCsr(op); break;
            case IrCode.StatusRead: ReadStatus(op.Dst); break;
            case IrCode.StatusSet: SetStatus(op); break;
            case IrCode.ZeroBlock: ZeroBlock(op); break;
            default: throw new InvalidOperationException("no lowering for this IR operation");
        }
    }

    private void ReadClock(in IrOp op)
    {
        _asm.MovImmediate(Rax, op.Imm);
        _asm.MovImmediate(Rcx, (long)op.Target);
        _asm.CallTo((long)(_stubs.Clock - (ulong)_asm.Start));
        ExitAt(Cond.Ne, BlockExit.Interpret, op);
        Finish64(op.Dst, Rax);
    }

    private void Const(in IrOp op)
    {
        bool known = op.Imm == (int)op.Imm;
        if (InRegister(op.Dst))
        {
            _asm.MovImmediate(HostOf(op.Dst), op.Imm);
            Finish64(op.Dst, HostOf(op.Dst), known);
        }
        else if (known)
        {
            _asm.Mov(RegisterMap.Home(op.Dst), (int)op.Imm);
            _known32 |= 1u << op.Dst;
        }
        else
        {
            _asm.MovImmediate(Rax, op.Imm);
            Finish64(op.Dst, Rax);
        }
    }

    private void Move(in IrOp op)
    {
        bool known = (_known32 >> op.A & 1) != 0;
        Gpr d = Target(op.Dst);
        if (!InRegister(op.Dst) && InRegister(op.A)) d = Read64(op.A, Rax);
        else Load64(d, op.A);
        Finish64(op.Dst, d, known);
    }

    /// <summary>dst = a op b in 64 bits.</summary>
    private void Binary(AluOp alu, in IrOp op, bool commutes)
    {
        int d = op.Dst, a = op.A, b = op.B;
        Gpr r = Target(d);
        if (op.HasImmB)
        {
            int imm = (int)op.Imm;
            if (d == a)
            {
                if (InRegister(d))
                {
                    Canonical(d);
                    _asm.Alu(alu, Size.S64, r, imm);
                }
                else _asm.Alu(alu, Size.S64, RegisterMap.Home(d), imm);
                _known32 &= ~(1u << d);
                return;
            }
            if (alu == AluOp.Add && InRegister(a)) _asm.Lea(r, Mem.At(Read64(a, r), imm));
            else
            {
                Load64(r, a);
                _asm.Alu(alu, Size.S64, r, imm);
            }
            Finish64(d, r);
            return;
        }
        if (InRegister(d))
        {
            if (d == a)
            {
                Canonical(d);
                Alu64(alu, r, b);
            }
            else if (d == b)
            {
                Canonical(d);
                if (commutes) Alu64(alu, r, a);
                else
                {
                    // a - b = -b + a
                    _asm.Neg(r);
                    if (a != 0) Alu64(AluOp.Add, r, a);
                }
            }
            else if (alu == AluOp.Add && InRegister(a) && InRegister(b))
            {
                Gpr ra = Read64(a, r);
                _asm.Lea(r, Mem.At(ra, Read64(b, r), 0));
            }
            else
            {
                Load64(r, a);
                Alu64(alu, r, b);
            }
        }
        else if (d == a && InRegister(b))
        {
            _asm.Alu(alu, Size.S64, RegisterMap.Home(d), Read64(b, Rax));
            _known32 &= ~(1u << d);
            return;
        }
        else
        {
            Load64(r, a);
            Alu64(alu, r, b);
        }
        Finish64(d, r);
    }

    /// <summary>and, or, xor: of two sign-extended values they need only 32 bits.</summary>
    private void Logic(AluOp alu, in IrOp op)
    {
        if (op.HasImmB)
        {
            uint a = 1u << op.A;
            if (alu == AluOp.And && op.Imm >= 0)
            {
                // The upper half of the mask is zero, and so is that of the result.
                Gpr r = Target(op.Dst);
                Load32(r, op.A);
                _asm.Alu(AluOp.And, Size.S32, r, (int)op.Imm);
                Finish64(op.Dst, r, true);
                return;
            }
            if (alu == AluOp.Xor && op.Imm == -1)
            {
                bool keep = (_known32 & a) != 0;
                Gpr r = Target(op.Dst);
                LoadWhole(r, op.A);
                _asm.Not(r);
                Finish64(op.Dst, r, keep);
                return;
            }
            if ((_pending & a) != 0)
            {
                BinaryW(alu, op, true);
                return;
            }
            bool known = (_known32 & a) != 0;
            Binary(alu, op, true);
            if (known) _known32 |= 1u << op.Dst;
            return;
        }
        uint both = 1u << op.A | 1u << op.B;
        bool small = (_known32 & both) == both;
        if (small && (_pending & both) != 0) BinaryW(alu, op, true);
        else
        {
            Binary(alu, op, true);
            if (small) _known32 |= 1u << op.Dst;
        }
    }

    /// <summary>dst = sign extension of the low 32 bits of a op b.</summary>
    private void BinaryW(AluOp alu, in IrOp op, bool commutes)
    {
        int d = op.Dst, a = op.A, b = op.B;
        Gpr r = Target(d);
        if (op.HasImmB)
        {
            int imm = (int)op.Imm;
            if (alu == AluOp.Add && d != a && InRegister(a)) _asm.Lea32(r, Mem.At(HostOf(a), imm));
            else
            {
                Load32(r, a);
                _asm.Alu(alu, Size.S32, r, imm);
            }
        }
        else if (d == b && d != a && InRegister(d))
        {
            if (commutes) Alu32(alu, r, a);
            else
            {
                _asm.Neg32(r);
                if (a != 0) Alu32(AluOp.Add, r, a);
            }
        }
        else if (alu == AluOp.Add && d != a && InRegister(a) && InRegister(b)) _asm.Lea32(r, Mem.At(HostOf(a), HostOf(b), 0));
        else
        {
            Load32(r, a);
            Alu32(alu, r, b);
        }
        Finish32(d, r);
    }

    private void Shift(ShiftOp shift, in IrOp op)
    {
        Gpr r = Target(op.Dst);
        if (op.HasImmB)
        {
            int count = (int)op.Imm & 63;
            if (shift is ShiftOp.Rol or ShiftOp.Ror)
            {
                if (shift == ShiftOp.Rol) count = -count & 63;
                if (HostFeatures.HasBmi2) _asm.Rorx(r, Read64(op.A, Rax), count);
                else
                {
                    LoadWhole(r, op.A);
                    _asm.Ror(r, count);
                }
                Finish64(op.Dst, r);
                return;
            }
            bool known = shift == ShiftOp.Sar && (count >= 32 || (_known32 >> op.A & 1) != 0) || shift == ShiftOp.Shr && count > 32;
            if (shift == ShiftOp.Shl && count >= 32) Load32(r, op.A); // only the low half matters
            else LoadWhole(r, op.A);
            _asm.Shift(shift, Size.S64, r, count);
            Finish64(op.Dst, r, known);
            return;
        }
        if (HostFeatures.HasBmi2 && shift is not (ShiftOp.Rol or ShiftOp.Ror))
        {
            Gpr count = Read32(op.B, Rcx), a = Read64(op.A, Rax);
            if (shift == ShiftOp.Shl) _asm.Shlx(r, a, count);
            else if (shift == ShiftOp.Shr) _asm.Shrx(r, a, count);
            else _asm.Sarx(r, a, count);
            Finish64(op.Dst, r);
            return;
        }
        Load32(Rcx, op.B);
        Load64(Rax, op.A);
        _asm.ShiftCl(shift, Size.S64, Rax);
        Finish64(op.Dst, Rax);
    }

    /// <summary>Copies g to d with all 64 bits valid, also when d is g's own register.</summary>
    private void LoadWhole(Gpr d, int g)
    {
        if (InRegister(g) && HostOf(g) == d) Canonical(g);
        else Load64(d, g);
    }

    private void ShiftW(ShiftOp shift, in IrOp op)
    {
        Gpr r = Target(op.Dst);
        if (op.HasImmB)
        {
            int count = (int)op.Imm & 31;
            if (shift is ShiftOp.Rol or ShiftOp.Ror)
            {
                if (shift == ShiftOp.Rol) count = -count & 31;
                if (HostFeatures.HasBmi2) _asm.Rorx32(r, Read32(op.A, Rax), count);
                else
                {
                    Load32(r, op.A);
                    _asm.Ror32(r, count);
                }
                Finish32(op.Dst, r);
                return;
            }
            Load32(r, op.A);
            _asm.Shift(shift, Size.S32, r, count);
            if (shift == ShiftOp.Shr && count != 0) Finish64(op.Dst, r, true);
            else Finish32(op.Dst, r);
            return;
        }
        if (HostFeatures.HasBmi2 && shift is not (ShiftOp.Rol or ShiftOp.Ror))
        {
            Gpr count = Read32(op.B, Rcx), a = Read32(op.A, Rax);
            if (shift == ShiftOp.Shl) _asm.Shlx32(r, a, count);
            else if (shift == ShiftOp.Shr) _asm.Shrx32(r, a, count);
            else _asm.Sarx32(r, a, count);
            Finish32(op.Dst, r);
            return;
        }
        Load32(Rcx, op.B);
        Load32(Rax, op.A);
        _asm.ShiftCl(shift, Size.S32, Rax);
        if (InRegister(op.Dst)) _asm.Mov32(r, Rax);
        Finish32(op.Dst, r);
    }

    private static ReadOnlySpan<byte> ConditionCodes => [(byte)Cond.E, (byte)Cond.Ne, (byte)Cond.L, (byte)Cond.Ge, (byte)Cond.B, (byte)Cond.Ae];

    // 0 cond b, as a condition on b compared with 0.
    private static ReadOnlySpan<byte> ZeroFirstCodes => [(byte)Cond.E, (byte)Cond.Ne, (byte)Cond.G, (byte)Cond.Le, (byte)Cond.Ne, (byte)Cond.E];

    /// <summary>Sets the flags from a and b (or the immediate); the result says which of them means that the condition holds.</summary>
    private Cond Compare(in IrOp op, IrCondition condition)
    {
        int a = op.A, b = op.B;
        if (a == 0 && !op.HasImmB)
        {
            CompareZero(b);
            return (Cond)ZeroFirstCodes[(int)condition];
        }
        var code = (Cond)ConditionCodes[(int)condition];
        if (op.HasImmB)
        {
            int imm = (int)op.Imm;
            if (imm == 0) CompareZero(a);
            else if (!InRegister(a))
            {
                if (a == 0) _asm.Zero(Rax);
                if (a == 0) _asm.Cmp(Rax, imm);
                else _asm.Cmp(RegisterMap.Home(a), imm);
            }
            else if ((_pending >> a & 1) != 0) _asm.Cmp32(HostOf(a), imm);
            else _asm.Cmp(HostOf(a), imm);
            return code;
        }
        uint both = 1u << a | 1u << b;
        bool narrow = (_pending & both) != 0 && (_known32 & both) == both; // comparing sign-extended values compares their low halves
        Size size = narrow ? Size.S32 : Size.S64;
        if (!narrow)
        {
            if (InRegister(a)) Canonical(a);
            if (InRegister(b)) Canonical(b);
        }
        if (InRegister(a))
        {
            if (InRegister(b)) _asm.Alu(AluOp.Cmp, size, HostOf(a), HostOf(b));
            else _asm.Alu(AluOp.Cmp, size, HostOf(a), RegisterMap.Home(b));
        }
        else if (InRegister(b)) _asm.Alu(AluOp.Cmp, size, RegisterMap.Home(a), HostOf(b));
        else
        {
            _asm.Mov(Rax, RegisterMap.Home(a));
            _asm.Alu(AluOp.Cmp, size, Rax, RegisterMap.Home(b));
        }
        return code;
    }

    private void CompareZero(int g)
    {
        if (!InRegister(g)) _asm.Cmp(RegisterMap.Home(g), 0);
        else if ((_pending >> g & 1) != 0) _asm.Test32(HostOf(g), HostOf(g));
        else _asm.Test(HostOf(g), HostOf(g));
    }

    private void SetLess(in IrOp op, IrCondition condition)
    {
        Cond code;
        if (op.HasImmB && op.Imm == 1 && condition == IrCondition.LessUnsigned)
        {
            CompareZero(op.A);
            code = Cond.E;
        }
        else code = Compare(op, condition);
        _asm.Setcc(code, Rax);
        Gpr r = Target(op.Dst);
        _asm.Movzx8(r, Rax);
        Finish64(op.Dst, r, true);
    }

    private void Multiply(in IrOp op)
    {
        int d = op.Dst, a = op.A, b = op.B;
        Gpr r = Target(d);
        if (op.HasImmB)
        {
            _asm.Imul(r, Read64(a, r), (int)op.Imm);
            Finish64(d, r);
            return;
        }
        if (d == b && InRegister(d)) (a, b) = (b, a);
        LoadWhole(r, a);
        if (InRegister(b)) _asm.Imul(r, Read64(b, Rcx));
        else if (b == 0) _asm.Zero(r);
        else _asm.Imul(r, RegisterMap.Home(b));
        Finish64(d, r);
    }

    private void MultiplyW(in IrOp op)
    {
        int d = op.Dst, a = op.A, b = op.B;
        Gpr r = Target(d);
        if (op.HasImmB)
        {
            _asm.Imul32(r, Read32(a, r), (int)op.Imm);
            Finish32(d, r);
            return;
        }
        if (d == b && InRegister(d)) (a, b) = (b, a);
        Load32(r, a);
        if (InRegister(b)) _asm.Imul32(r, HostOf(b));
        else if (b == 0) _asm.Zero(r);
        else _asm.Imul32(r, RegisterMap.Home(b));
        Finish32(d, r);
    }

    private void MultiplyHigh(in IrOp op)
    {
        int saved = FreeRdx();
        Load64(Rax, op.A);
        if (op.Code != IrCode.MulHsu)
        {
            Gpr b = Read64(op.B, Rcx);
            if (op.Code == IrCode.MulH) _asm.Imul(b);
            else _asm.Mul(b);
        }
        else
        {
            Load64(Rcx, op.B);
            _asm.Mul(Rcx);
            // Signed times unsigned: a negative a was taken 2^64 too large.
            Load64(Rax, op.A);
            _asm.Sar(Rax, 63);
            _asm.And(Rax, Rcx);
            _asm.Sub(Rdx, Rax);
        }
        Finish64(op.Dst, Rdx);
        RestoreRdx(saved);
    }

    private void Divide(in IrOp op)
    {
        bool signed = op.Code is IrCode.Div or IrCode.Rem, remainder = op.Code is IrCode.Rem or IrCode.RemU;
        int saved = FreeRdx();
        Load64(Rax, op.A);
        Load64(Rcx, op.B);
        Label special = default, zero = default, done = default;
        if (signed)
        {
            _asm.Lea(Rdx, Mem.At(Rcx, 1));
            _asm.Cmp(Rdx, 1);
            _asm.JccShort(Cond.Be, ref special); // divisor 0 or -1
            _asm.Cqo();
            _asm.Idiv(Rcx);
        }
        else
        {
            _asm.Test(Rcx, Rcx);
            _asm.JccShort(Cond.E, ref special);
            _asm.Zero(Rdx);
            _asm.Div(Rcx);
        }
        _asm.JmpShort(ref done);
        _asm.Bind(ref special);
        if (remainder) _asm.Mov(Rdx, Rax);
        if (signed)
        {
            _asm.Test(Rcx, Rcx);
            _asm.JccShort(Cond.E, ref zero);
            if (remainder) _asm.Zero(Rdx);
            else _asm.Neg(Rax);
            _asm.JmpShort(ref done);
            _asm.Bind(ref zero);
        }
        if (!remainder) _asm.MovImmediate(Rax, -1);
        _asm.Bind(ref done);
        Finish64(op.Dst, remainder ? Rdx : Rax);
        RestoreRdx(saved);
    }

    private void DivideW(in IrOp op)
    {
        bool signed = op.Code is IrCode.DivW or IrCode.RemW, remainder = op.Code is IrCode.RemW or IrCode.RemUW;
        int saved = FreeRdx();
        Load32(Rax, op.A);
        Load32(Rcx, op.B);
        Label special = default, zero = default, done = default;
        if (signed)
        {
            _asm.Lea32(Rdx, Mem.At(Rcx, 1));
            _asm.Cmp32(Rdx, 1);
            _asm.JccShort(Cond.Be, ref special);
            _asm.Cdq();
            _asm.Idiv32(Rcx);
        }
        else
        {
            _asm.Test32(Rcx, Rcx);
            _asm.JccShort(Cond.E, ref special);
            _asm.Zero(Rdx);
            _asm.Div32(Rcx);
        }
        _asm.JmpShort(ref done);
        _asm.Bind(ref special);
        if (remainder) _asm.Mov32(Rdx, Rax);
        if (signed)
        {
            _asm.Test32(Rcx, Rcx);
            _asm.JccShort(Cond.E, ref zero);
            if (remainder) _asm.Zero(Rdx);
            else _asm.Neg32(Rax);
            _asm.JmpShort(ref done);
            _asm.Bind(ref zero);
        }
        if (!remainder) _asm.MovImmediate(Rax, -1);
        _asm.Bind(ref done);
        Finish32(op.Dst, remainder ? Rdx : Rax);
        RestoreRdx(saved);
    }

    private void BitOperation(BitOp bit, in IrOp op)
    {
        Gpr index = op.HasImmB ? Rcx : Read32(op.B, Rcx);
        Load64(Rax, op.A);
        if (op.HasImmB) _asm.Bit(bit, Size.S64, Rax, (int)op.Imm & 63);
        else _asm.Bit(bit, Size.S64, Rax, index);
        Finish64(op.Dst, Rax);
    }

    private void BitExtract(in IrOp op)
    {
        Gpr a = Read64(op.A, Rax);
        if (op.HasImmB) _asm.Bt(a, (int)op.Imm & 63);
        else _asm.Bt(a, Read32NoFlags(op.B));
        _asm.Setcc(Cond.B, Rax);
        Gpr r = Target(op.Dst);
        _asm.Movzx8(r, Rax);
        Finish64(op.Dst, r, true);
    }

    private Gpr Read32NoFlags(int g) => Read32(g, Rcx);

    private void Negated(in IrOp op)
    {
        if (op.Code == IrCode.Xnor)
        {
            Load64(Rax, op.A);
            Alu64(AluOp.Xor, Rax, op.B);
            _asm.Not(Rax);
        }
        else
        {
            Load64(Rax, op.B);
            _asm.Not(Rax);
            Alu64(op.Code == IrCode.AndNot ? AluOp.And : AluOp.Or, Rax, op.A);
        }
        Finish64(op.Dst, Rax);
    }

    /// <summary>dst = a, or b when a compares with it as the condition says.</summary>
    private void Select(in IrOp op, Cond takeB)
    {
        Gpr b = Read64(op.B, Rcx);
        Load64(Rax, op.A);
        _asm.Cmp(Rax, b);
        _asm.Cmov(takeB, Rax, b);
        Finish64(op.Dst, Rax);
    }

    private void ConditionalZero(in IrOp op, Cond zeroWhen)
    {
        Load64(Rax, op.A);
        _asm.Zero(Rcx);
        if (op.B == 0) _asm.Test(Rcx, Rcx);
        else CompareZero(op.B);
        _asm.Cmov(zeroWhen, Rax, Rcx);
        Finish64(op.Dst, Rax);
    }

    private void Extend(in IrOp op)
    {
        Gpr r = Target(op.Dst);
        int a = op.A;
        bool mapped = InRegister(a);
        if (op.Code == IrCode.SextW && mapped)
        {
            // Nothing to do but to remember it, or to copy what is known already.
            if (a == op.Dst)
            {
                if ((_known32 >> a & 1) == 0) Finish32(a, r);
                return;
            }
            if ((_known32 >> a & 1) != 0 && InRegister(op.Dst))
            {
                if ((_pending >> a & 1) != 0)
                {
                    Load32(r, a);
                    Finish32(op.Dst, r);
                }
                else
                {
                    Load64(r, a);
                    Finish64(op.Dst, r, true);
                }
                return;
            }
        }
        if (!mapped && a == 0) _asm.Zero(r);
        else
        {
            Gpr s = mapped ? HostOf(a) : default;
            Mem m = RegisterMap.Home(a);
            switch (op.Code)
            {
                case IrCode.SextW:
                    if (!mapped) _asm.Movsxd(r, m);
                    else _asm.Movsxd(r, s);
                    break;
                case IrCode.SextB: if (mapped) _asm.Movsx8(r, s); else _asm.Movsx8(r, m); break;
                case IrCode.SextH: if (mapped) _asm.Movsx16(r, s); else _asm.Movsx16(r, m); break;
                case IrCode.ZextB: if (mapped) _asm.Movzx8(r, s); else _asm.Movzx8(r, m); break;
                case IrCode.ZextH: if (mapped) _asm.Movzx16(r, s); else _asm.Movzx16(r, m); break;
                default: if (mapped) _asm.Mov32(r, s); else _asm.Mov32(r, m); break;
            }
        }
        Finish64(op.Dst, r, op.Code != IrCode.ZextW);
    }

    /// <summary>All bits of each byte that is not zero.</summary>
    private void OrBytes(in IrOp op)
    {
        const long low = 0x7f7f7f7f7f7f7f7f;
        Load64(Rax, op.A);
        _asm.MovImmediate(Rcx, low);
        _asm.And(Rax, Rcx);
        _asm.Add(Rax, Rcx); // bit 7 of each byte with a lower bit set
        Load64(Rcx, op.A);
        _asm.Or(Rax, Rcx);
        _asm.MovImmediate(Rcx, ~low);
        _asm.And(Rax, Rcx);
        _asm.Mov(Rcx, Rax);
        _asm.Shr(Rcx, 7);
        _asm.Add(Rax, Rax);
        _asm.Sub(Rax, Rcx); // 256 - 1 for each
        Finish64(op.Dst, Rax);
    }

    private void Count(in IrOp op)
    {
        bool wide = op.Code is IrCode.Clz or IrCode.Ctz or IrCode.Cpop;
        Gpr r = Target(op.Dst);
        Gpr a = wide ? Read64(op.A, Rax) : Read32(op.A, Rax);
        switch (op.Code)
        {
            case IrCode.Cpop: _asm.Popcnt(r, a); break;
            case IrCode.CpopW: _asm.Popcnt32(r, a); break;
            case IrCode.Clz when HostFeatures.HasLzcnt: _asm.Lzcnt(r, a); break;
            case IrCode.ClzW when HostFeatures.HasLzcnt: _asm.Lzcnt32(r, a); break;
            case IrCode.Ctz when HostFeatures.HasBmi1: _asm.Tzcnt(r, a); break;
            case IrCode.CtzW when HostFeatures.HasBmi1: _asm.Tzcnt32(r, a); break;
            default:
                // Without lzcnt and tzcnt: the bit scans say by ZF that there was no bit.
                int none = op.Code switch { IrCode.Clz => 127, IrCode.ClzW => 63, IrCode.Ctz => 64, _ => 32 };
                _asm.MovImmediate(Rcx, none);
                if (op.Code == IrCode.Clz) _asm.Bsr(Rax, a);
                else if (op.Code == IrCode.ClzW) _asm.Bsr32(Rax, a);
                else if (op.Code == IrCode.Ctz) _asm.Bsf(Rax, a);
                else _asm.Bsf32(Rax, a);
                _asm.Cmov(Cond.E, Rax, Rcx);
                if (op.Code == IrCode.Clz) _asm.Xor(Rax, 63);
                else if (op.Code == IrCode.ClzW) _asm.Xor(Rax, 31);
                r = Rax;
                break;
        }
        Finish64(op.Dst, r, true);
    }

    private void ShiftAdd(in IrOp op)
    {
        if (TryIndexedLoad(op)) return;
        Gpr r = Target(op.Dst);
        Gpr a;
        if (op.Code == IrCode.ShAddUw)
        {
            if (op.B == 0 && op.C == 0)
            {
                Load32(r, op.A);
                if (InRegister(op.A) && HostOf(op.A) == r) _asm.Mov32(r, r);
                Finish64(op.Dst, r);
                return;
            }
            _asm.Mov32(Rax, Read32(op.A, Rax));
            a = Rax;
        }
        else a = Read64(op.A, Rax);
        if (op.B == 0) _asm.Lea(r, Mem.Indexed(a, op.C, 0));
        else _asm.Lea(r, Mem.At(Read64(op.B, Rcx), a, op.C));
        Finish64(op.Dst, r);
    }
}
