using Vivarium.RiscV.Isa;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Float;

// Arithmetic, fused multiply-add, minimum and maximum, comparisons, fclass.
internal sealed partial class FloatEmitter
{
    private const int DynamicRounding = 7;

    /// <summary>Switches MXCSR to a static rounding mode; sources must have been fetched before. Clobbers rax.</summary>
    private void BeginRounding(int rm)
    {
        if (rm == DynamicRounding) return;
        _asm.Stmxcsr(FloatSlots.Scratch(0));
        _asm.Mov32(Gpr.Rax, FloatSlots.Scratch(0));
        _asm.And32(Gpr.Rax, ~FloatSlots.RoundingMask);
        int bits = FloatSlots.RoundingBits(rm);
        if (bits != 0) _asm.Or32(Gpr.Rax, bits);
        _asm.Mov32(FloatSlots.Scratch(1), Gpr.Rax);
        _asm.Ldmxcsr(FloatSlots.Scratch(1));
    }

    /// <summary>Goes back to the rounding mode before <see cref="BeginRounding"/>, with the flags of now. Clobbers rax.</summary>
    private void EndRounding(int rm)
    {
        if (rm == DynamicRounding) return;
        _asm.Stmxcsr(FloatSlots.Scratch(1));
        _asm.Mov32(Gpr.Rax, FloatSlots.Scratch(0));
        _asm.Xor32(Gpr.Rax, FloatSlots.Scratch(1));
        _asm.And32(Gpr.Rax, FloatSlots.RoundingMask);
        _asm.Xor32(Gpr.Rax, FloatSlots.Scratch(1));
        _asm.Mov32(FloatSlots.Scratch(1), Gpr.Rax);
        _asm.Ldmxcsr(FloatSlots.Scratch(1));
    }

    private void Binary(bool isSingle, VecOp op, int rd, int rs1, int rs2, int rm)
    {
        Xmm a = Use(isSingle, rs1, T0), b = rs2 == rs1 ? a : Use(isSingle, rs2, T1);
        BeginRounding(rm);
        Op(op, Destination(rd), a, b);
        EndRounding(rm);
        Define(isSingle, rd, dirty: true);
    }

    private void SquareRoot(bool isSingle, int rd, int rs1, int rm)
    {
        Xmm a = Use(isSingle, rs1, T0);
        BeginRounding(rm);
        Op(isSingle ? VecOp.Sqrtss : VecOp.Sqrtsd, Destination(rd), a, a);
        EndRounding(rm);
        Define(isSingle, rd, dirty: true);
    }

    /// <summary>d = ±(a * b) ± c. A NaN result is looked at at once, because infinity * zero + quiet NaN raises NV on RISC-V only; so the
    /// result is canonical already. <paramref name="op"/> is the 231 form.</summary>
    private void Fused(bool isSingle, VecOp op, int rd, int rs1, int rs2, int rs3, int rm)
    {
        Xmm a = Use(isSingle, rs1, T1), b = rs2 == rs1 ? a : Use(isSingle, rs2, T2);
        Xmm c = rs3 == rs1 ? a : rs3 == rs2 ? b : Use(isSingle, rs3, T0);
        Xmm d = Destination(rd), sum = d;
        BeginRounding(rm);
        if (d == c || (d != a && d != b))
        {
            // In place of the addend; but the multiplicands must survive until the NaN check.
            if (d == a || d == b) sum = T0;
            Copy(sum, c);
            _asm.Vex(op, sum, a, b);
        }
        else
        {
            // In place of a multiplicand, of which a copy is kept. The scratch register that it would have needed is free.
            Xmm copy = d == a ? T1 : T2, other = d == a ? b : a;
            Copy(copy, d);
            _asm.Vex(op - Form231To213, d, other, c);
            if (d == a) a = copy;
            if (d == b) b = copy;
        }
        EndRounding(rm);
        Compare(isSingle, false, sum, sum);
        ref ColdPart cold = ref AddCold(Cold.FusedNaN);
        cold.A = a;
        cold.B = b;
        cold.C = sum;
        cold.IsSingle = isSingle;
        _asm.Jcc(Cond.P, ref cold.From);
        _asm.Bind(ref cold.Back);
        Copy(d, sum);
        Define(isSingle, rd, dirty: false);
    }

    /// <summary>Between the opcodes of the two operand orders.</summary>
    private const uint Form231To213 = 0x10;

    private void EmitFusedNaN(ref ColdPart part)
    {
        // Multiply once more for its IE alone (infinity * zero, or a signaling NaN, which the fused operation raised already). The product
        // may take the sum's place, which is replaced anyway.
        _asm.Stmxcsr(FloatSlots.Scratch(2));
        _asm.Vex(part.IsSingle ? VecOp.Mulss : VecOp.Mulsd, part.C, part.A, part.B);
        _asm.Stmxcsr(FloatSlots.Scratch(3));
        _asm.Mov32(Gpr.Rax, FloatSlots.Scratch(3));
        _asm.And32(Gpr.Rax, 1);
        _asm.Or32(FloatSlots.Scratch(2), Gpr.Rax);
        _asm.Ldmxcsr(FloatSlots.Scratch(2));
        Load(VecOp.Movsd, part.C, part.IsSingle ? FloatSlots.CanonicalS : FloatSlots.CanonicalD);
        _asm.Jmp(ref part.Back);
    }

    private void MinMax(bool isSingle, bool max, bool propagate, int rd, int rs1, int rs2)
    {
        Xmm a = Use(isSingle, rs1, T0), b = rs2 == rs1 ? a : Use(isSingle, rs2, T1);
        // Unordered goes apart (x86 would raise IE for quiet NaNs); for zeros of both signs the two orders give both, joined by or/and.
        Compare(isSingle, false, a, b);
        ref ColdPart cold = ref AddCold(Cold.MinMaxNaN);
        Xmm d = Destination(rd);
        cold.A = a;
        cold.B = b;
        cold.C = d;
        cold.IsSingle = isSingle;
        cold.Flag = propagate;
        _asm.Jcc(Cond.P, ref cold.From);
        VecOp op = isSingle ? max ? VecOp.Maxss : VecOp.Minss : max ? VecOp.Maxsd : VecOp.Minsd;
        if (_avx)
        {
            Op(op, T2, a, b);
            Op(op, d, b, a);
        }
        else
        {
            _asm.Sse(VecOp.Movaps, T2, a);
            _asm.Sse(op, T2, b);
            if (d != b)
            {
                // b op a in d, which may be a.
                if (d == a)
                {
                    if (b != T1) _asm.Sse(VecOp.Movaps, T1, b);
                    _asm.Sse(op, T1, a);
                    _asm.Sse(VecOp.Movaps, d, T1);
                }
                else
                {
                    _asm.Sse(VecOp.Movaps, d, b);
                    _asm.Sse(op, d, a);
                }
            }
            else
            {
                _asm.Sse(op, d, a);
            }
        }
        Op(max ? VecOp.Andps : VecOp.Orps, d, d, T2);
        _asm.Bind(ref cold.Back);
        Define(isSingle, rd, dirty: false);
    }

    private void EmitMinMaxNaN(ref ColdPart part)
    {
        Label second = default, canonical = default;
        if (!part.Flag)
        {
            // The other operand where one is a number.
            Compare(part.IsSingle, false, part.A, part.A);
            _asm.JccShort(Cond.P, ref second);
            Copy(part.C, part.A);
            _asm.Jmp(ref part.Back);
            _asm.Bind(ref second);
            Compare(part.IsSingle, false, part.B, part.B);
            _asm.JccShort(Cond.P, ref canonical);
            Copy(part.C, part.B);
            _asm.Jmp(ref part.Back);
            _asm.Bind(ref canonical);
        }
        Load(VecOp.Movsd, part.C, part.IsSingle ? FloatSlots.CanonicalS : FloatSlots.CanonicalD);
        _asm.Jmp(ref part.Back);
    }

    private enum Comparison { Equal, Less, LessEqual }

    /// <summary>The next comparison leaves the accrued exceptions as they are in Scratch(0) (between frflags and fsflags).</summary>
    public bool RestoresFlags { get; set; }

    /// <summary>The condition under which the last comparison, whose flags still stand, was true.</summary>
    public Cond TrueCondition { get; private set; }

    /// <summary>rd = a cmp b; quiet comparisons raise NV for signaling NaNs only.</summary>
    private void CompareInto(bool isSingle, Comparison comparison, bool signaling, int rd, int rs1, int rs2)
    {
        Xmm a = Use(isSingle, rs1, T0), b = rs2 == rs1 ? a : Use(isSingle, rs2, T1);
        bool restore = RestoresFlags;
        RestoresFlags = false;
        Gpr d = rd == 0 ? Gpr.Rax : _context.DefineInteger(rd, Gpr.Rax);
        if (rd != 0) _asm.Zero(d);
        if (comparison == Comparison.Equal)
        {
            Compare(isSingle, false, a, b);
            if (rd == 0) return;
            _asm.Setcc(Cond.Np, d);
            _asm.Setcc(Cond.E, Gpr.Rcx);
            _asm.And32(d, Gpr.Rcx);
            TrueCondition = Cond.Ne;
        }
        else
        {
            // b above a: unordered sets the carry, so it counts as false.
            Compare(isSingle, signaling && !restore, b, a);
            if (restore)
            {
                ref ColdPart cold = ref AddCold(Cold.RestoreFlags);
                _asm.Jcc(Cond.P, ref cold.From);
                _asm.Bind(ref cold.Back);
            }
            if (rd == 0) return;
            TrueCondition = comparison == Comparison.Less ? Cond.A : Cond.Ae;
            _asm.Setcc(TrueCondition, d);
        }
        _context.CommitInteger(rd, d, true);
    }

    /// <summary>rd = one-hot class of a: counts how many bounds the magnitude reaches, then looks the class up.</summary>
    private void Classify(bool isSingle, int rd, int rs1)
    {
        Xmm a = Use(isSingle, rs1, T0);
        if (rd == 0) return;
        Size size = isSingle ? Size.S32 : Size.S64;
        MoveToGpr(size, Gpr.Rcx, a);
        _asm.Alu(AluOp.Add, size, Gpr.Rcx, Gpr.Rcx); // the sign goes to the carry
        _asm.Sbb32(Gpr.Rax, Gpr.Rax);
        _asm.And32(Gpr.Rax, 6);
        for (int n = 0; n < 5; n++)
        {
            _asm.Alu(AluOp.Cmp, size, Gpr.Rcx, FloatSlots.ClassBound(isSingle, n));
            _asm.Sbb32(Gpr.Rax, -1); // one more unless below
        }
        Gpr d = _context.DefineInteger(rd, Gpr.Rcx);
        _asm.Movzx16(d, FloatSlots.ClassTable(Gpr.Rax));
        _context.CommitInteger(rd, d, true);
    }
}
