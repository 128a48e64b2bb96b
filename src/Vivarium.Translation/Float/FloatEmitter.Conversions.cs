using Vivarium.RiscV.Isa;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Float;

// Conversions between precisions and to and from integers; rounding to integral values.
internal sealed partial class FloatEmitter
{
    private void Narrow(int rd, int rs1, int rm)
    {
        Xmm a = UseD(rs1, T1), d = Destination(rd);
        // Merging into ones boxes the result. In d where a is not there, else through xmm0.
        Ones(T0);
        BeginRounding(rm);
        if (_avx) _asm.Vex(VecOp.Cvtsd2ss, d, T0, a);
        else
        {
            _asm.Sse(VecOp.Cvtsd2ss, T0, a);
            Copy(d, T0);
        }
        EndRounding(rm);
        Define(true, rd, dirty: true);
    }

    private void Widen(int rd, int rs1)
    {
        Xmm a = UseS(rs1, T1), d = Destination(rd);
        if (_avx) _asm.Vex(VecOp.Cvtss2sd, d, a, a);
        else _asm.Sse(VecOp.Cvtss2sd, d, a);
        Define(false, rd, dirty: true);
    }

    private void FromInteger(bool isSingle, bool isWide, bool isUnsigned, int rd, int rs1, int rm)
    {
        if (!isSingle && !isWide) rm = DynamicRounding; // always exact
        Gpr s = _context.UseInteger(rs1, Gpr.Rcx);
        Size size = isWide ? Size.S64 : Size.S32;
        if (isUnsigned && !isWide)
        {
            _asm.Mov32(Gpr.Rcx, s);
            s = Gpr.Rcx;
            size = Size.S64;
            isUnsigned = false;
        }
        Xmm d = Destination(rd);
        Label done = default;
        if (isUnsigned && !_avx512)
        {
            // No instruction: halve with the lost bit kept sticky, convert, double (which is exact).
            Label negative = default;
            BeginRounding(rm);
            Prepare();
            _asm.Test(s, s);
            _asm.Jcc(Cond.S, ref negative);
            Convert(isSingle ? VecGprOp.Cvtsi2ss : VecGprOp.Cvtsi2sd, size, T0, s);
            _asm.Jmp(ref done);
            _asm.Bind(ref negative);
            _asm.Mov(Gpr.Rax, s);
            if (s != Gpr.Rcx) _asm.Mov(Gpr.Rcx, s);
            _asm.And32(Gpr.Rcx, 1);
            _asm.Shr(Gpr.Rax, 1);
            _asm.Or(Gpr.Rax, Gpr.Rcx);
            Convert(isSingle ? VecGprOp.Cvtsi2ss : VecGprOp.Cvtsi2sd, size, T0, Gpr.Rax);
            Op(isSingle ? VecOp.Addss : VecOp.Addsd, T0, T0, T0);
            _asm.Bind(ref done);
            EndRounding(rm);
            Copy(d, T0);
        }
        else
        {
            BeginRounding(rm);
            Prepare();
            VecGprOp op = isUnsigned
                ? isSingle ? VecGprOp.Cvtusi2ss : VecGprOp.Cvtusi2sd
                : isSingle ? VecGprOp.Cvtsi2ss : VecGprOp.Cvtsi2sd;
            if (_avx) _asm.Vex(op, size, d, T0, s);
            else
            {
                _asm.Sse(op, size, T0, s);
                Copy(d, T0);
            }
            EndRounding(rm);
        }
        Define(isSingle, rd, dirty: false);

        // The bits that the conversion leaves: ones for the box of a single, else zeros against a false dependence.
        void Prepare()
        {
            if (isSingle) Ones(T0);
            else ZeroVector(T0);
        }

        void Convert(VecGprOp op, Size size, Xmm d, Gpr s)
        {
            if (_avx) _asm.Vex(op, size, d, d, s);
            else _asm.Sse(op, size, d, s);
        }
    }

    private void ConvertToInteger(bool isSingle, bool isWide, bool isUnsigned, int rd, int rs1, int rm)
    {
        Xmm a = Use(isSingle, rs1, T0);
        Gpr d;
        Size size = isWide ? Size.S64 : Size.S32;
        bool truncate = rm == 1, direct = truncate || rm == DynamicRounding;
        VecGprOp truncating = isSingle ? VecGprOp.Cvttss2si : VecGprOp.Cvttsd2si;

        if (isUnsigned && !_avx512)
        {
            // Non-negative and small enough, seen in the bits (their order is the values'), is a signed conversion; else interpret.
            Size bits = isSingle ? Size.S32 : Size.S64;
            MoveToGpr(bits, Gpr.Rcx, a);
            if (isSingle)
            {
                _asm.Cmp32(Gpr.Rcx, (int)BitConverter.SingleToUInt32Bits(isWide ? 9223372036854775808f : 4294967296f));
            }
            else
            {
                _asm.MovImmediate(Gpr.Rax, (long)BitConverter.DoubleToUInt64Bits(isWide ? 9223372036854775808.0 : uint.MaxValue));
                _asm.Cmp(Gpr.Rcx, Gpr.Rax);
            }
            _context.InterpretWhen(Cond.Ae);
            VecGprOp op = truncate ? truncating : isSingle ? VecGprOp.Cvtss2si : VecGprOp.Cvtsd2si;
            if (!direct) BeginRounding(rm);
            ToInteger(op, Size.S64, Gpr.Rcx, a);
            if (!direct) EndRounding(rm);
            d = rd == 0 ? Gpr.Rcx : _context.DefineInteger(rd, Gpr.Rcx);
            if (d != Gpr.Rcx) _asm.Mov(d, Gpr.Rcx);
            Finish();
            return;
        }

        d = rd == 0 ? Gpr.Rax : _context.DefineInteger(rd, Gpr.Rax);
        VecGprOp convert = (isUnsigned, isSingle, truncate || !direct) switch
        {
            (false, false, true) => VecGprOp.Cvttsd2si,
            (false, false, false) => VecGprOp.Cvtsd2si,
            (false, true, true) => VecGprOp.Cvttss2si,
            (false, true, false) => VecGprOp.Cvtss2si,
            (true, false, true) => VecGprOp.Cvttsd2usi,
            (true, false, false) => VecGprOp.Cvtsd2usi,
            (true, true, true) => VecGprOp.Cvttss2usi,
            (true, true, false) => VecGprOp.Cvtss2usi,
        };
        Xmm value = a;
        if (!direct)
        {
            // Round without raising inexact first: a value out of range after rounding must raise NV alone.
            value = T1;
            Round(isSingle, T1, a, FloatSlots.RoundImmediate(rm));
        }
        ToInteger(convert, size, d, value);
        // The failure value: the smallest signed number, the largest unsigned one.
        if (isUnsigned) _asm.Alu(AluOp.Cmp, size, d, -1);
        else _asm.Alu(AluOp.Cmp, size, d, 1); // overflows for the smallest number only
        ref ColdPart cold = ref AddCold(isUnsigned ? Cold.SaturateUnsigned : Cold.SaturateSigned);
        cold.A = a;
        cold.B = value;
        cold.General = d;
        cold.IsSingle = isSingle;
        cold.IsWide = isWide;
        cold.Flag = !direct;
        _asm.Jcc(isUnsigned ? Cond.E : Cond.O, ref cold.From);
        if (!direct)
        {
            // In range: truncating the original raises inexact exactly when it is no integer.
            _asm.Bind(ref cold.Back2);
            ToInteger(convert, size, Gpr.Rcx, a);
        }
        _asm.Bind(ref cold.Back);
        Finish();

        void Finish()
        {
            if (rd == 0) return;
            if (isWide) _context.CommitInteger(rd, d, false);
            else _context.CommitInteger32(rd, d);
        }
    }

    private void EmitSaturateSigned(ref ColdPart part)
    {
        Size size = part.IsWide ? Size.S64 : Size.S32;
        Label saturate = default, keep = default;
        if (part.Flag)
        {
            // The failure value may be the result itself: then inexact is still to be raised.
            Compare(part.IsSingle, part.B, FloatSlots.ConversionLimit(part.IsSingle, part.IsWide ? 2 : 0));
            _asm.JccShort(Cond.P, ref saturate);
            _asm.Jcc(Cond.E, ref part.Back2);
            _asm.Bind(ref saturate);
        }
        // Negative: the value stands. NaN and positive: the largest number. NaN raised IE already, so the comparison adds nothing.
        ZeroVector(T2);
        Compare(part.IsSingle, false, T2, part.A);
        Label largest = default;
        _asm.JccShort(Cond.P, ref largest);
        _asm.JccShort(Cond.A, ref keep);
        _asm.Bind(ref largest);
        _asm.Alu(AluOp.Sub, size, part.General, 1); // smallest - 1 wraps to largest
        _asm.Bind(ref keep);
        _asm.Jmp(ref part.Back);
    }

    private void EmitSaturateUnsigned(ref ColdPart part)
    {
        Label saturate = default, keep = default;
        if (part.Flag && !part.IsWide)
        {
            Compare(part.IsSingle, part.B, FloatSlots.ConversionLimit(part.IsSingle, 1));
            _asm.JccShort(Cond.P, ref saturate);
            _asm.Jcc(Cond.E, ref part.Back2);
            _asm.Bind(ref saturate);
        }
        ZeroVector(T2);
        Compare(part.IsSingle, false, T2, part.A);
        _asm.JccShort(Cond.P, ref keep);
        _asm.JccShort(Cond.Be, ref keep);
        _asm.Zero(part.General);
        _asm.Bind(ref keep);
        _asm.Jmp(ref part.Back);
    }

    /// <summary>d = a rounded to an integral value; the immediate is that of roundsd. d is xmm0..15 or the host has AVX-512.</summary>
    private void Round(bool isSingle, Xmm d, Xmm a, int immediate)
    {
        if (_avx512) _asm.Vex(isSingle ? VecOp.Rndscaless : VecOp.Rndscalesd, d, a, a, immediate);
        else if (_avx) _asm.Vex(isSingle ? VecOp.Roundss : VecOp.Roundsd, d, a, a, immediate);
        else
        {
            Copy(d, a); // for the box
            _asm.Sse(isSingle ? VecOp.Roundss : VecOp.Roundsd, d, a, immediate);
        }
    }

    private void RoundToIntegral(bool isSingle, bool inexact, int rd, int rs1, int rm)
    {
        Xmm a = Use(isSingle, rs1, T0);
        int immediate = rm == DynamicRounding ? 4 | 8 : FloatSlots.RoundImmediate(rm);
        if (inexact) immediate &= ~8;
        Round(isSingle, Destination(rd), a, immediate);
        Define(isSingle, rd, dirty: true);
    }
}
