using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.FrontEnd;

/// <summary>Which register fields of a floating-point instruction name integer registers.</summary>
[Flags]
internal enum FloatOperands : byte
{
    None = 0,
    IntegerRd = 1,
    IntegerRs1 = 2,

    /// <summary>A Zicsr instruction.</summary>
    Csr = 4,
}

/// <summary>Operand classes by opcode.</summary>
internal static class FloatOperandTable
{
    private static readonly FloatOperands[] Table = Build();

    public static FloatOperands Of(Opcode opcode) => Table[(int)opcode];

    private static FloatOperands[] Build()
    {
        var table = new FloatOperands[(int)Opcode.PrefetchW + 1];
        ReadOnlySpan<Opcode> integerRd =
        [
            Opcode.FcvtWS, Opcode.FcvtWuS, Opcode.FmvXW, Opcode.FeqS, Opcode.FltS, Opcode.FleS, Opcode.FclassS, Opcode.FcvtLS, Opcode.FcvtLuS,
            Opcode.FeqD, Opcode.FltD, Opcode.FleD, Opcode.FclassD, Opcode.FcvtWD, Opcode.FcvtWuD, Opcode.FcvtLD, Opcode.FcvtLuD, Opcode.FmvXD,
            Opcode.FcvtmodWD, Opcode.FleqS, Opcode.FltqS, Opcode.FleqD, Opcode.FltqD,
        ];
        ReadOnlySpan<Opcode> integerRs1 =
        [
            Opcode.Flw, Opcode.Fsw, Opcode.Fld, Opcode.Fsd, Opcode.FcvtSW, Opcode.FcvtSWu, Opcode.FmvWX, Opcode.FcvtSL, Opcode.FcvtSLu,
            Opcode.FcvtDW, Opcode.FcvtDWu, Opcode.FcvtDL, Opcode.FcvtDLu, Opcode.FmvDX,
        ];
        ReadOnlySpan<Opcode> csr = [Opcode.Csrrw, Opcode.Csrrs, Opcode.Csrrc, Opcode.Csrrwi, Opcode.Csrrsi, Opcode.Csrrci];
        foreach (Opcode o in integerRd) table[(int)o] |= FloatOperands.IntegerRd;
        foreach (Opcode o in integerRs1) table[(int)o] |= FloatOperands.IntegerRs1;
        foreach (Opcode o in csr) table[(int)o] = FloatOperands.IntegerRd | FloatOperands.IntegerRs1 | FloatOperands.Csr;
        return table;
    }
}
