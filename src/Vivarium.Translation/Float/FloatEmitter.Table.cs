using Vivarium.RiscV.Isa;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Float;

// Opcode -> lowering.
internal sealed partial class FloatEmitter
{
    /// <summary>Whether <see cref="Emit"/> (or LoadFrom and PrepareStore) knows the instruction with this rounding mode field; all others
    /// are the interpreter's.</summary>
    public static bool Supports(Opcode opcode, int rm)
    {
        if (opcode is < Opcode.Flw or > Opcode.FltqD or Opcode.FcvtmodWD) return false;
        bool fused = opcode is (>= Opcode.FmaddS and <= Opcode.FnmaddS) or (>= Opcode.FmaddD and <= Opcode.FnmaddD);
        if (fused && !HostFeatures.HasFma) return false;
        if (!HasRounding(opcode)) return true;
        return rm is <= 3 or DynamicRounding;
    }

    /// <summary>Whether the rm field is a rounding mode.</summary>
    private static bool HasRounding(Opcode opcode) => opcode is
        (>= Opcode.FmaddS and <= Opcode.FsqrtS) or (>= Opcode.FmaddD and <= Opcode.FsqrtD)
        or Opcode.FcvtWS or Opcode.FcvtWuS or Opcode.FcvtSW or Opcode.FcvtSWu or Opcode.FcvtLS or Opcode.FcvtLuS or Opcode.FcvtSL or Opcode.FcvtSLu
        or Opcode.FcvtSD or Opcode.FcvtDS or Opcode.FcvtWD or Opcode.FcvtWuD or Opcode.FcvtDW or Opcode.FcvtDWu
        or Opcode.FcvtLD or Opcode.FcvtLuD or Opcode.FcvtDL or Opcode.FcvtDLu
        or Opcode.FroundS or Opcode.FroundnxS or Opcode.FroundD or Opcode.FroundnxD;

    /// <summary>Emits an instruction other than loads, stores and CSR accesses. Register numbers are the guest's, 0..31 in either file.</summary>
    public void Emit(Opcode opcode, int rd, int rs1, int rs2, int rs3, int rm)
    {
        switch (opcode)
        {
            case Opcode.FaddS: Binary(true, VecOp.Addss, rd, rs1, rs2, rm); break;
            case Opcode.FsubS: Binary(true, VecOp.Subss, rd, rs1, rs2, rm); break;
            case Opcode.FmulS: Binary(true, VecOp.Mulss, rd, rs1, rs2, rm); break;
            case Opcode.FdivS: Binary(true, VecOp.Divss, rd, rs1, rs2, rm); break;
            case Opcode.FsqrtS: SquareRoot(true, rd, rs1, rm); break;
            case Opcode.FaddD: Binary(false, VecOp.Addsd, rd, rs1, rs2, rm); break;
            case Opcode.FsubD: Binary(false, VecOp.Subsd, rd, rs1, rs2, rm); break;
            case Opcode.FmulD: Binary(false, VecOp.Mulsd, rd, rs1, rs2, rm); break;
            case Opcode.FdivD: Binary(false, VecOp.Divsd, rd, rs1, rs2, rm); break;
            case Opcode.FsqrtD: SquareRoot(false, rd, rs1, rm); break;

            // RISC-V's fnmsub is -(a*b)+c and fnmadd -(a*b)-c: x86 swaps the two names.
            case Opcode.FmaddS: Fused(true, VecOp.Fmadd231ss, rd, rs1, rs2, rs3, rm); break;
            case Opcode.FmsubS: Fused(true, VecOp.Fmsub231ss, rd, rs1, rs2, rs3, rm); break;
            case Opcode.FnmsubS: Fused(true, VecOp.Fnmadd231ss, rd, rs1, rs2, rs3, rm); break;
            case Opcode.FnmaddS: Fused(true, VecOp.Fnmsub231ss, rd, rs1, rs2, rs3, rm); break;
            case Opcode.FmaddD: Fused(false, VecOp.Fmadd231sd, rd, rs1, rs2, rs3, rm); break;
            case Opcode.FmsubD: Fused(false, VecOp.Fmsub231sd, rd, rs1, rs2, rs3, rm); break;
            case Opcode.FnmsubD: Fused(false, VecOp.Fnmadd231sd, rd, rs1, rs2, rs3, rm); break;
            case Opcode.FnmaddD: Fused(false, VecOp.Fnmsub231sd, rd, rs1, rs2, rs3, rm); break;

            case Opcode.FsgnjS: InjectSign(true, SignRule.Copy, rd, rs1, rs2); break;
            case Opcode.FsgnjnS: InjectSign(true, SignRule.Negate, rd, rs1, rs2); break;
            case Opcode.FsgnjxS: InjectSign(true, SignRule.Xor, rd, rs1, rs2); break;
            case Opcode.FsgnjD: InjectSign(false, SignRule.Copy, rd, rs1, rs2); break;
            case Opcode.FsgnjnD: InjectSign(false, SignRule.Negate, rd, rs1, rs2); break;
            case Opcode.FsgnjxD: InjectSign(false, SignRule.Xor, rd, rs1, rs2); break;

            case Opcode.FminS: MinMax(true, false, false, rd, rs1, rs2); break;
            case Opcode.FmaxS: MinMax(true, true, false, rd, rs1, rs2); break;
            case Opcode.FminmS: MinMax(true, false, true, rd, rs1, rs2); break;
            case Opcode.FmaxmS: MinMax(true, true, true, rd, rs1, rs2); break;
            case Opcode.FminD: MinMax(false, false, false, rd, rs1, rs2); break;
            case Opcode.FmaxD: MinMax(false, true, false, rd, rs1, rs2); break;
            case Opcode.FminmD: MinMax(false, false, true, rd, rs1, rs2); break;
            case Opcode.FmaxmD: MinMax(false, true, true, rd, rs1, rs2); break;

            case Opcode.FeqS: CompareInto(true, Comparison.Equal, false, rd, rs1, rs2); break;
            case Opcode.FltS: CompareInto(true, Comparison.Less, true, rd, rs1, rs2); break;
            case Opcode.FleS: CompareInto(true, Comparison.LessEqual, true, rd, rs1, rs2); break;
            case Opcode.FltqS: CompareInto(true, Comparison.Less, false, rd, rs1, rs2); break;
            case Opcode.FleqS: CompareInto(true, Comparison.LessEqual, false, rd, rs1, rs2); break;
            case Opcode.FeqD: CompareInto(false, Comparison.Equal, false, rd, rs1, rs2); break;
            case Opcode.FltD: CompareInto(false, Comparison.Less, true, rd, rs1, rs2); break;
            case Opcode.FleD: CompareInto(false, Comparison.LessEqual, true, rd, rs1, rs2); break;
            case Opcode.FltqD: CompareInto(false, Comparison.Less, false, rd, rs1, rs2); break;
            case Opcode.FleqD: CompareInto(false, Comparison.LessEqual, false, rd, rs1, rs2); break;
            case Opcode.FclassS: Classify(true, rd, rs1); break;
            case Opcode.FclassD: Classify(false, rd, rs1); break;

            case Opcode.FcvtSD: Narrow(rd, rs1, rm); break;
            case Opcode.FcvtDS: Widen(rd, rs1); break;
            case Opcode.FcvtSW: FromInteger(true, false, false, rd, rs1, rm); break;
            case Opcode.FcvtSWu: FromInteger(true, false, true, rd, rs1, rm); break;
            case Opcode.FcvtSL: FromInteger(true, true, false, rd, rs1, rm); break;
            case Opcode.FcvtSLu: FromInteger(true, true, true, rd, rs1, rm); break;
            case Opcode.FcvtDW: FromInteger(false, false, false, rd, rs1, rm); break;
            case Opcode.FcvtDWu: FromInteger(false, false, true, rd, rs1, rm); break;
            case Opcode.FcvtDL: FromInteger(false, true, false, rd, rs1, rm); break;
            case Opcode.FcvtDLu: FromInteger(false, true, true, rd, rs1, rm); break;
            case Opcode.FcvtWS: ConvertToInteger(true, false, false, rd, rs1, rm); break;
            case Opcode.FcvtWuS: ConvertToInteger(true, false, true, rd, rs1, rm); break;
            case Opcode.FcvtLS: ConvertToInteger(true, true, false, rd, rs1, rm); break;
            case Opcode.FcvtLuS: ConvertToInteger(true, true, true, rd, rs1, rm); break;
            case Opcode.FcvtWD: ConvertToInteger(false, false, false, rd, rs1, rm); break;
            case Opcode.FcvtWuD: ConvertToInteger(false, false, true, rd, rs1, rm); break;
            case Opcode.FcvtLD: ConvertToInteger(false, true, false, rd, rs1, rm); break;
            case Opcode.FcvtLuD: ConvertToInteger(false, true, true, rd, rs1, rm); break;
            case Opcode.FroundS: RoundToIntegral(true, false, rd, rs1, rm); break;
            case Opcode.FroundnxS: RoundToIntegral(true, true, rd, rs1, rm); break;
            case Opcode.FroundD: RoundToIntegral(false, false, rd, rs1, rm); break;
            case Opcode.FroundnxD: RoundToIntegral(false, true, rd, rs1, rm); break;

            case Opcode.FmvXW: MoveToInteger(true, rd, rs1); break;
            case Opcode.FmvXD: MoveToInteger(false, rd, rs1); break;
            case Opcode.FmvWX: MoveFromInteger(true, rd, rs1); break;
            case Opcode.FmvDX: MoveFromInteger(false, rd, rs1); break;
            case Opcode.FliS: LoadImmediate(true, rd, rs1); break;
            case Opcode.FliD: LoadImmediate(false, rd, rs1); break;
            default: throw new InvalidOperationException("not a floating-point instruction that is lowered: " + opcode);
        }
    }
}
