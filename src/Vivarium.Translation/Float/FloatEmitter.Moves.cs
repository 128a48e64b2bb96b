using Vivarium.RiscV.Isa;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Float;

// Loads, stores, moves between register files, sign injection: where bits are seen.
internal sealed partial class FloatEmitter
{
    /// <summary>fld or flw from <paramref name="source"/>. The first instruction emitted is the one that may fault.</summary>
    public void LoadFrom(bool isSingle, int rd, Mem source)
    {
        Xmm d = Destination(rd);
        Load(isSingle ? VecOp.Movss : VecOp.Movsd, d, source);
        if (isSingle) Op(VecOp.Orps, d, d, FloatSlots.Box);
        Define(isSingle, rd, dirty: false);
    }

    /// <summary>The register that fsd or fsw stores, its bits made final. To be called before the address is computed; clobbers flags.</summary>
    /// <param name="rs2">The register.</param>
    /// <param name="soon">A register that is stored next, whose bits are made final in the same go; or -1.</param>
    public Xmm PrepareStore(int rs2, int soon)
    {
        uint both = Bit(rs2) | (soon < 0 ? 0 : Bit(soon));
        if (soon >= 0 && soon != rs2 && ((_dirtyD & both) == both || (_dirtyS & both) == both))
        {
            FlushSet((_dirtyS & both) == both, both);
            _dirtyD &= ~both;
            _dirtyS &= ~both;
        }
        Canonicalise(rs2);
        return UseD(rs2, T0);
    }

    /// <summary>The store itself: one instruction, which may fault.</summary>
    public void StoreTo(bool isSingle, Mem target, Xmm source) => Store(isSingle ? VecOp.MovssStore : VecOp.MovsdStore, target, source);

    private void MoveToInteger(bool isSingle, int rd, int rs1)
    {
        if (rd == 0) return;
        Canonicalise(rs1);
        Xmm a = UseD(rs1, T0); // fmv.x.w takes the low bits, boxed or not
        Gpr d = _context.DefineInteger(rd, Gpr.Rax);
        if (isSingle)
        {
            MoveToGpr(Size.S32, d, a);
            _context.CommitInteger32(rd, d);
        }
        else
        {
            MoveToGpr(Size.S64, d, a);
            _context.CommitInteger(rd, d, false);
        }
    }

    private void MoveFromInteger(bool isSingle, int rd, int rs1)
    {
        Gpr s = _context.UseInteger(rs1, Gpr.Rax);
        Xmm d = Destination(rd);
        MoveFromGpr(isSingle ? Size.S32 : Size.S64, d, s);
        if (isSingle) Op(VecOp.Orps, d, d, FloatSlots.Box);
        Define(isSingle, rd, dirty: false);
    }

    private enum SignRule { Copy, Negate, Xor }

    private void InjectSign(bool isSingle, SignRule rule, int rd, int rs1, int rs2)
    {
        Mem sign = isSingle ? FloatSlots.SignS : FloatSlots.SignD, magnitude = isSingle ? FloatSlots.AbsS : FloatSlots.AbsD;
        if (rs1 == rs2)
        {
            if (rule == SignRule.Negate) Canonicalise(rs1); // minus a NaN is not canonical, so the NaN itself must be
            Xmm s = Use(isSingle, rs1, T0);
            uint bit = Bit(rs1);
            bool dirty = ((_dirtyD | _dirtyS) & bit) != 0;
            if (dirty && !isSingle && (_dirtyD & bit) == 0)
            {
                Canonicalise(rs1); // a single seen as a double
                dirty = false;
            }
            bool boxed = (_boxed & bit) != 0;
            Xmm d = Destination(rd);
            switch (rule)
            {
                case SignRule.Copy: Copy(d, s); break;
                case SignRule.Negate: Op(VecOp.Xorps, d, s, sign); break;
                default: Op(VecOp.Andps, d, s, magnitude); break;
            }
            Define(isSingle, rd, dirty);
            if (!isSingle && rule == SignRule.Copy && boxed) _boxed |= Bit(rd);
            return;
        }

        Canonicalise(rs1);
        Canonicalise(rs2);
        Xmm a = Use(isSingle, rs1, T0), b = Use(isSingle, rs2, T1), result = Destination(rd);
        Load(VecOp.Movups, T2, sign);
        // T1 = the sign bit to set or flip; then the magnitude of a below it.
        Op(rule == SignRule.Negate ? VecOp.Andnps : VecOp.Andps, T1, b, T2);
        if (rule == SignRule.Xor)
        {
            Op(VecOp.Xorps, result, a, T1);
        }
        else
        {
            Op(VecOp.Andnps, T2, T2, a);
            Op(VecOp.Orps, result, T2, T1);
        }
        Define(isSingle, rd, dirty: false);
    }

    /// <summary>fli: one of 32 constants.</summary>
    private void LoadImmediate(bool isSingle, int rd, int index)
    {
        double value = FliValues[index];
        ulong bits = isSingle
            ? 0xFFFFFFFF_00000000 | (index == 31 ? 0x7FC00000 : index == 1 ? 0x00800000 : BitConverter.SingleToUInt32Bits((float)value))
            : index == 31 ? 0x7FF8000000000000 : index == 1 ? 0x0010000000000000 : BitConverter.DoubleToUInt64Bits(value);
        _asm.MovImmediate(Gpr.Rax, (long)bits);
        MoveFromGpr(Size.S64, Destination(rd), Gpr.Rax);
        Define(isSingle, rd, dirty: false);
    }

    // Zfa, table "Immediate values loaded by the FLI instructions"; entry 1 is the smallest normal number, entry 31 the canonical NaN.
    private static readonly double[] FliValues =
    [
        -1.0, 0, 1.0 / 65536, 1.0 / 32768, 1.0 / 256, 1.0 / 128, 0.0625, 0.125, 0.25, 0.3125, 0.375, 0.4375, 0.5, 0.625, 0.75, 0.875,
        1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 8.0, 16.0, 128.0, 256.0, 32768.0, 65536.0, double.PositiveInfinity, double.NaN,
    ];
}
