using Vivarium.RiscV.FloatingPoint;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>The D extension and Zfa on doubles. The arithmetic itself is <see cref="SoftFloat{TFormat}"/>.</summary>
internal static unsafe class FloatDouble
{
    public static void AddTo(SemanticsTable t)
    {
        t[Opcode.Fld] = &Fld;
        t[Opcode.Fsd] = &Fsd;
        t[Opcode.FmaddD] = &FmaddD;
        t[Opcode.FmsubD] = &FmsubD;
        t[Opcode.FnmsubD] = &FnmsubD;
        t[Opcode.FnmaddD] = &FnmaddD;
        t[Opcode.FaddD] = &FaddD;
        t[Opcode.FsubD] = &FsubD;
        t[Opcode.FmulD] = &FmulD;
        t[Opcode.FdivD] = &FdivD;
        t[Opcode.FsqrtD] = &FsqrtD;
        t[Opcode.FsgnjD] = &FsgnjD;
        t[Opcode.FsgnjnD] = &FsgnjnD;
        t[Opcode.FsgnjxD] = &FsgnjxD;
        t[Opcode.FminD] = &FminD;
        t[Opcode.FmaxD] = &FmaxD;
        t[Opcode.FcvtSD] = &FcvtSD;
        t[Opcode.FcvtDS] = &FcvtDS;
        t[Opcode.FcvtWD] = &FcvtWD;
        t[Opcode.FcvtWuD] = &FcvtWuD;
        t[Opcode.FcvtLD] = &FcvtLD;
        t[Opcode.FcvtLuD] = &FcvtLuD;
        t[Opcode.FcvtDW] = &FcvtDW;
        t[Opcode.FcvtDWu] = &FcvtDWu;
        t[Opcode.FcvtDL] = &FcvtDL;
        t[Opcode.FcvtDLu] = &FcvtDLu;
        t[Opcode.FmvXD] = &FmvXD;
        t[Opcode.FmvDX] = &FmvDX;
        t[Opcode.FeqD] = &FeqD;
        t[Opcode.FltD] = &FltD;
        t[Opcode.FleD] = &FleD;
        t[Opcode.FclassD] = &FclassD;
        t[Opcode.FliD] = &FliD;
        t[Opcode.FminmD] = &FminmD;
        t[Opcode.FmaxmD] = &FmaxmD;
        t[Opcode.FroundD] = &FroundD;
        t[Opcode.FroundnxD] = &FroundnxD;
        t[Opcode.FcvtmodWD] = &FcvtmodWD;
        t[Opcode.FltqD] = &FltqD;
        t[Opcode.FleqD] = &FleqD;
    }

    private const ulong Sign = 0x8000_0000_0000_0000;

    private static bool Fld(ref Core c, in Instruction i) => c.Load64(c.X(i.Rs1) + (ulong)i.Imm, out var v) && c.SetD(i.Rd, v);

    private static bool Fsd(ref Core c, in Instruction i) => c.Store64(c.X(i.Rs1) + (ulong)i.Imm, c.D(i.Rs2));

    // Arithmetic.

    private static bool FaddD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.Add(c.D(i.Rs1), c.D(i.Rs2), rm, ref c.Flags));

    private static bool FsubD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.Subtract(c.D(i.Rs1), c.D(i.Rs2), rm, ref c.Flags));

    private static bool FmulD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.Multiply(c.D(i.Rs1), c.D(i.Rs2), rm, ref c.Flags));

    private static bool FdivD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.Divide(c.D(i.Rs1), c.D(i.Rs2), rm, ref c.Flags));

    private static bool FsqrtD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.SquareRoot(c.D(i.Rs1), rm, ref c.Flags));

    /// <summary>rs1 * rs2 + rs3</summary>
    private static bool FmaddD(ref Core c, in Instruction i) => Fused(ref c, i, negateProduct: false, negateAddend: false);

    /// <summary>rs1 * rs2 - rs3</summary>
    private static bool FmsubD(ref Core c, in Instruction i) => Fused(ref c, i, negateProduct: false, negateAddend: true);

    /// <summary>-(rs1 * rs2) + rs3</summary>
    private static bool FnmsubD(ref Core c, in Instruction i) => Fused(ref c, i, negateProduct: true, negateAddend: false);

    /// <summary>-(rs1 * rs2) - rs3</summary>
    private static bool FnmaddD(ref Core c, in Instruction i) => Fused(ref c, i, negateProduct: true, negateAddend: true);

    private static bool Fused(ref Core c, in Instruction i, bool negateProduct, bool negateAddend) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.FusedMultiplyAdd(
            c.D(i.Rs1), c.D(i.Rs2), c.D(i.Rs3), negateProduct, negateAddend, rm, ref c.Flags));

    // Signs are moved as bits: no flags, NaNs like anything else.

    private static bool FsgnjD(ref Core c, in Instruction i) => c.SetD(i.Rd, (c.D(i.Rs1) & ~Sign) | (c.D(i.Rs2) & Sign));

    private static bool FsgnjnD(ref Core c, in Instruction i) => c.SetD(i.Rd, (c.D(i.Rs1) & ~Sign) | (~c.D(i.Rs2) & Sign));

    private static bool FsgnjxD(ref Core c, in Instruction i) => c.SetD(i.Rd, c.D(i.Rs1) ^ (c.D(i.Rs2) & Sign));

    private static bool FminD(ref Core c, in Instruction i) => c.SetD(i.Rd, Binary64.MinimumNumber(c.D(i.Rs1), c.D(i.Rs2), ref c.Flags));

    private static bool FmaxD(ref Core c, in Instruction i) => c.SetD(i.Rd, Binary64.MaximumNumber(c.D(i.Rs1), c.D(i.Rs2), ref c.Flags));

    private static bool FminmD(ref Core c, in Instruction i) => c.SetD(i.Rd, Binary64.Minimum(c.D(i.Rs1), c.D(i.Rs2), ref c.Flags));

    private static bool FmaxmD(ref Core c, in Instruction i) => c.SetD(i.Rd, Binary64.Maximum(c.D(i.Rs1), c.D(i.Rs2), ref c.Flags));

    // Comparison and classification.

    private static bool FeqD(ref Core c, in Instruction i) => c.SetX(i.Rd, Binary64.Equal(c.D(i.Rs1), c.D(i.Rs2), ref c.Flags));

    private static bool FltD(ref Core c, in Instruction i) => c.SetX(i.Rd, Binary64.Less(c.D(i.Rs1), c.D(i.Rs2), ref c.Flags));

    private static bool FleD(ref Core c, in Instruction i) => c.SetX(i.Rd, Binary64.LessOrEqual(c.D(i.Rs1), c.D(i.Rs2), ref c.Flags));

    private static bool FltqD(ref Core c, in Instruction i) =>
        c.SetX(i.Rd, Binary64.Less(c.D(i.Rs1), c.D(i.Rs2), ref c.Flags, quiet: true));

    private static bool FleqD(ref Core c, in Instruction i) =>
        c.SetX(i.Rd, Binary64.LessOrEqual(c.D(i.Rs1), c.D(i.Rs2), ref c.Flags, quiet: true));

    private static bool FclassD(ref Core c, in Instruction i) => c.SetX(i.Rd, Binary64.Classify(c.D(i.Rs1)));

    // Conversions. 32-bit integer results are sign-extended, unsigned ones too. The rounding mode must be valid even where nothing
    // can need rounding.

    private static bool FcvtSD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetS(i.Rd, Binary32.FromFormat<Binary64Format>(c.D(i.Rs1), rm, ref c.Flags));

    private static bool FcvtDS(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.FromFormat<Binary32Format>(c.S(i.Rs1), rm, ref c.Flags));

    private static bool FcvtWD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetX(i.Rd, (ulong)Binary64.ToSigned(c.D(i.Rs1), 32, rm, ref c.Flags));

    private static bool FcvtWuD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetW(i.Rd, (uint)Binary64.ToUnsigned(c.D(i.Rs1), 32, rm, ref c.Flags));

    private static bool FcvtLD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetX(i.Rd, (ulong)Binary64.ToSigned(c.D(i.Rs1), 64, rm, ref c.Flags));

    private static bool FcvtLuD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetX(i.Rd, Binary64.ToUnsigned(c.D(i.Rs1), 64, rm, ref c.Flags));

    private static bool FcvtDW(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.FromSigned((int)c.X(i.Rs1), rm, ref c.Flags));

    private static bool FcvtDWu(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.FromUnsigned((uint)c.X(i.Rs1), rm, ref c.Flags));

    private static bool FcvtDL(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.FromSigned((long)c.X(i.Rs1), rm, ref c.Flags));

    private static bool FcvtDLu(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.FromUnsigned(c.X(i.Rs1), rm, ref c.Flags));

    private static bool FroundD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.RoundToIntegral(c.D(i.Rs1), rm, signalInexact: false, ref c.Flags));

    private static bool FroundnxD(ref Core c, in Instruction i) =>
        c.Rounding(i, out var rm) && c.SetD(i.Rd, Binary64.RoundToIntegral(c.D(i.Rs1), rm, signalInexact: true, ref c.Flags));

    private static bool FcvtmodWD(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)Binary64.ToInt32Modular(c.D(i.Rs1), ref c.Flags));

    // Moves of bits.

    private static bool FmvXD(ref Core c, in Instruction i) => c.SetX(i.Rd, c.D(i.Rs1));

    private static bool FmvDX(ref Core c, in Instruction i) => c.SetD(i.Rd, c.X(i.Rs1));

    private static bool FliD(ref Core c, in Instruction i) => c.SetD(i.Rd, i.Rs1 switch
    {
        FloatConstants.SmallestNormal => 0x0010_0000_0000_0000,
        FloatConstants.NaN => Binary64.CanonicalNaN,
        _ => BitConverter.DoubleToUInt64Bits(FloatConstants.Values[i.Rs1]),
    });
}
