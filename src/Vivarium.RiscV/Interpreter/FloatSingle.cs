using Vivarium.RiscV.FloatingPoint;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>The F extension and Zfa on singles. The arithmetic itself is <see cref="SoftFloat{TFormat}"/>.</summary>
internal static unsafe class FloatSingle
{
    public static void AddTo(SemanticsTable t)
    {
        t[Opcode.Flw] = &Flw;
        t[Opcode.Fsw] = &Fsw;
        t[Opcode.FmaddS] = &FmaddS;
        t[Opcode.FmsubS] = &FmsubS;
        t[Opcode.FnmsubS] = &FnmsubS;
        t[Opcode.FnmaddS] = &FnmaddS;
        t[Opcode.FaddS] = &FaddS;
        t[Opcode.FsubS] = &FsubS;
        t[Opcode.FmulS] = &FmulS;
        t[Opcode.FdivS] = &FdivS;
        t[Opcode.FsqrtS] = &FsqrtS;
        t[Opcode.FsgnjS] = &FsgnjS;
        t[Opcode.FsgnjnS] = &FsgnjnS;
        t[Opcode.FsgnjxS] = &FsgnjxS;
        t[Opcode.FminS] = &FminS;
        t[Opcode.FmaxS] = &FmaxS;
        t[Opcode.FcvtWS] = &FcvtWS;
        t[Opcode.FcvtWuS] = &FcvtWuS;
        t[Opcode.FcvtLS] = &FcvtLS;
        t[Opcode.FcvtLuS] = &FcvtLuS;
        t[Opcode.FcvtSW] = &FcvtSW;
        t[Opcode.FcvtSWu] = &FcvtSWu;
        t[Opcode.FcvtSL] = &FcvtSL;
        t[Opcode.FcvtSLu] = &FcvtSLu;
        t[Opcode.FmvXW] = &FmvXW;
        t[Opcode.FmvWX] = &FmvWX;
        t[Opcode.FeqS] = &FeqS;
        t[Opcode.FltS] = &FltS;
        t[Opcode.FleS] = &FleS;
        t[Opcode.FclassS] = &FclassS;
        t[Opcode.FliS] = &FliS;
        t[Opcode.FminmS] = &FminmS;
        t[Opcode.FmaxmS] = &FmaxmS;
        t[Opcode.FroundS] = &FroundS;
        t[Opcode.FroundnxS] = &FroundnxS;
        t[Opcode.FltqS] = &FltqS;
        t[Opcode.FleqS] = &FleqS;
    }

    private const ulong Sign = 0x8000_0000;

    private static bool Flw(ref Core c, in Instruction i) => c.Load32(c.X(i.Rs1) + (ulong)i.Imm, out var v) && c.SetS(i.Rd, v);

    /// <summary>Stores the low half as it is, NaN-boxed or not.</summary>
    private static bool Fsw(ref Core c, in Instruction i) => c.Store32(c.X(i.Rs1) + (ulong)i.Imm, (uint)c.D(i.Rs2));

    // Arithmetic.

    private static bool FaddS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.Add(c.S(i.Rs1), c.S(i.Rs2), rm, ref c.Flags));

    private static bool FsubS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.Subtract(c.S(i.Rs1), c.S(i.Rs2), rm, ref c.Flags));

    private static bool FmulS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.Multiply(c.S(i.Rs1), c.S(i.Rs2), rm, ref c.Flags));

    private static bool FdivS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.Divide(c.S(i.Rs1), c.S(i.Rs2), rm, ref c.Flags));

    private static bool FsqrtS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.SquareRoot(c.S(i.Rs1), rm, ref c.Flags));

    /// <summary>rs1 * rs2 + rs3</summary>
    private static bool FmaddS(ref Core c, in Instruction i) => Fused(ref c, i, negateProduct: false, negateAddend: false);

    /// <summary>rs1 * rs2 - rs3</summary>
    private static bool FmsubS(ref Core c, in Instruction i) => Fused(ref c, i, negateProduct: false, negateAddend: true);

    /// <summary>-(rs1 * rs2) + rs3</summary>
    private static bool FnmsubS(ref Core c, in Instruction i) => Fused(ref c, i, negateProduct: true, negateAddend: false);

    /// <summary>-(rs1 * rs2) - rs3</summary>
    private static bool FnmaddS(ref Core c, in Instruction i) => Fused(ref c, i, negateProduct: true, negateAddend: true);

    private static bool Fused(ref Core c, in Instruction i, bool negateProduct, bool negateAddend) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.FusedMultiplyAdd(
            c.S(i.Rs1), c.S(i.Rs2), c.S(i.Rs3), negateProduct, negateAddend, rm, ref c.Flags));

    // Signs are moved as bits: no flags, NaNs like anything else.

    private static bool FsgnjS(ref Core c, in Instruction i) => c.SetS(i.Rd, (c.S(i.Rs1) & ~Sign) | (c.S(i.Rs2) & Sign));

    private static bool FsgnjnS(ref Core c, in Instruction i) => c.SetS(i.Rd, (c.S(i.Rs1) & ~Sign) | (~c.S(i.Rs2) & Sign));

    private static bool FsgnjxS(ref Core c, in Instruction i) => c.SetS(i.Rd, c.S(i.Rs1) ^ (c.S(i.Rs2) & Sign));

    private static bool FminS(ref Core c, in Instruction i) => c.SetS(i.Rd, Binary32.MinimumNumber(c.S(i.Rs1), c.S(i.Rs2), ref c.Flags));

    private static bool FmaxS(ref Core c, in Instruction i) => c.SetS(i.Rd, Binary32.MaximumNumber(c.S(i.Rs1), c.S(i.Rs2), ref c.Flags));

    private static bool FminmS(ref Core c, in Instruction i) => c.SetS(i.Rd, Binary32.Minimum(c.S(i.Rs1), c.S(i.Rs2), ref c.Flags));

    private static bool FmaxmS(ref Core c, in Instruction i) => c.SetS(i.Rd, Binary32.Maximum(c.S(i.Rs1), c.S(i.Rs2), ref c.Flags));

    // Comparison and classification.

    private static bool FeqS(ref Core c, in Instruction i) => c.SetX(i.Rd, Binary32.Equal(c.S(i.Rs1), c.S(i.Rs2), ref c.Flags));

    private static bool FltS(ref Core c, in Instruction i) => c.SetX(i.Rd, Binary32.Less(c.S(i.Rs1), c.S(i.Rs2), ref c.Flags));

    private static bool FleS(ref Core c, in Instruction i) => c.SetX(i.Rd, Binary32.LessOrEqual(c.S(i.Rs1), c.S(i.Rs2), ref c.Flags));

    private static bool FltqS(ref Core c, in Instruction i) =>
        c.SetX(i.Rd, Binary32.Less(c.S(i.Rs1), c.S(i.Rs2), ref c.Flags, quiet: true));

    private static bool FleqS(ref Core c, in Instruction i) =>
        c.SetX(i.Rd, Binary32.LessOrEqual(c.S(i.Rs1), c.S(i.Rs2), ref c.Flags, quiet: true));

    private static bool FclassS(ref Core c, in Instruction i) => c.SetX(i.Rd, Binary32.Classify(c.S(i.Rs1)));

    // Conversions. 32-bit integer results are sign-extended, unsigned ones too.

    private static bool FcvtWS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetX(i.Rd, (ulong)Binary32.ToSigned(c.S(i.Rs1), 32, rm, ref c.Flags));

    private static bool FcvtWuS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetW(i.Rd, (uint)Binary32.ToUnsigned(c.S(i.Rs1), 32, rm, ref c.Flags));

    private static bool FcvtLS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetX(i.Rd, (ulong)Binary32.ToSigned(c.S(i.Rs1), 64, rm, ref c.Flags));

    private static bool FcvtLuS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetX(i.Rd, Binary32.ToUnsigned(c.S(i.Rs1), 64, rm, ref c.Flags));

    private static bool FcvtSW(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.FromSigned((int)c.X(i.Rs1), rm, ref c.Flags));

    private static bool FcvtSWu(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.FromUnsigned((uint)c.X(i.Rs1), rm, ref c.Flags));

    private static bool FcvtSL(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.FromSigned((long)c.X(i.Rs1), rm, ref c.Flags));

    private static bool FcvtSLu(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.FromUnsigned(c.X(i.Rs1), rm, ref c.Flags));

    private static bool FroundS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.RoundToIntegral(c.S(i.Rs1), rm, signalInexact: false, ref c.Flags));

    private static bool FroundnxS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.RoundToIntegral(c.S(i.Rs1), rm, signalInexact: true, ref c.Flags));

    // Moves of bits: no NaN-boxing check on the way out.

    private static bool FmvXW(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)c.D(i.Rs1));

    private static bool FmvWX(ref Core c, in Instruction i) => c.SetS(i.Rd, (uint)c.X(i.Rs1));

    private static bool FliS(ref Core c, in Instruction i) => c.SetS(i.Rd, i.Rs1 switch
    {
        FloatConstants.SmallestNormal => 0x0080_0000UL,
        FloatConstants.NaN => Binary32.CanonicalNaN,
        _ => BitConverter.SingleToUInt32Bits((float)FloatConstants.Values[i.Rs1]),
    });
}
