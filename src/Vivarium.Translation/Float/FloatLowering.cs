using Vivarium.RiscV.Isa;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Float;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Floating point: what SupportsFloat accepts, LowerFloat lowers through the FloatEmitter; the interpreter executes the rest.
public sealed unsafe partial class CodeGenerator : IFloatContext
{
    private readonly FloatEmitter _floats;
    private IrOp _floatOp;

    // The operation behind a comparison, which may be a branch on its flags, and the comparison's result register; 0 for none.
    private int _comparedFloat, _comparedRegister;
    private int _skippedFloatOp;

    private FloatEmitter Floats => _floats;

    /// <summary>Whether the back end has a lowering for this floating-point (or fcsr) instruction. While frm is a mode that x86 lacks the
    /// dispatcher runs no translated code, so dynamic rounding is always one of the four.</summary>
    internal static bool SupportsFloat(in Instruction instruction) =>
        FloatOperandIsCsr(instruction)
            ? instruction.Imm is >= 1 and <= 3
            : FloatEmitter.Supports(instruction.Opcode, instruction.Rm);

    private static bool FloatOperandIsCsr(in Instruction instruction) => instruction.Opcode is >= Opcode.Csrrw and <= Opcode.Csrrci;

    /// <summary>Before a block.</summary>
    private void ResetFloat()
    {
        Floats.Begin();
        _comparedFloat = 0;
        _skippedFloatOp = -1;
    }

    /// <summary>At the block's entry, before a loop's head: what is checked for all of it.</summary>
    private void BeginFloat()
    {
        _floatOp = _block.Ops[0];
        if (_block.IsLoop) Floats.BeginLoop(_block);
        else Floats.BeginStraight(_block);
    }

    /// <summary>Lowers a Float or FloatCsr operation.</summary>
    private void LowerFloat(ref IrOp op)
    {
        _floatOp = op;
        if (_skippedFloatOp == _opIndex) return;
        int rd = op.Dst & 31, rs1 = op.A & 31, rs2 = op.B & 31;
        if (op.Code == IrCode.FloatCsr)
        {
            Floats.AccessCsr(op.Aux, (int)op.Imm, rd, rs1);
            FuseQuietComparison(op);
            return;
        }
        switch (op.Aux)
        {
            case Opcode.Flw or Opcode.Fld:
            {
                Mem m = AddressOf(op, op.Aux == Opcode.Flw ? 4 : 8, isStore: false);
                MayFault(op);
                Floats.LoadFrom(op.Aux == Opcode.Flw, rd, m);
                break;
            }
            case Opcode.Fsw or Opcode.Fsd:
            {
                Xmm source = Floats.PrepareStore(rs2, StoredSoon());
                Mem m = AddressOf(op, op.Aux == Opcode.Fsw ? 4 : 8, isStore: true);
                MayFault(op);
                Floats.StoreTo(op.Aux == Opcode.Fsw, m, source);
                break;
            }
            default:
                Floats.Emit(op.Aux, rd, rs1, rs2, op.C & 31, op.Rm);
                if (rd != 0 && IsComparison(op.Aux))
                {
                    _comparedFloat = NextOp(_opIndex);
                    _comparedRegister = rd;
                }
                break;
        }
    }

    /// <summary>The floating-point register that one of the next operations stores, as long as only stores and integer arithmetic come
    /// before it; else -1.</summary>
    private int StoredSoon()
    {
        for (int i = _opIndex + 1; i < _block.Count && i < _opIndex + 6; i++)
        {
            ref readonly IrOp op = ref _block.Ops[i];
            if (op.Code == IrCode.Float && op.Aux is Opcode.Fsd or Opcode.Fsw) return op.B & 31;
            if (op.Code is not (IrCode.Nop or IrCode.Store or (>= IrCode.Const and <= IrCode.ShlUw))) return -1;
        }
        return -1;
    }

    private static bool IsComparison(Opcode opcode) =>
        opcode is Opcode.FeqS or Opcode.FltS or Opcode.FleS or Opcode.FltqS or Opcode.FleqS or Opcode.FeqD or Opcode.FltD or Opcode.FleD
            or Opcode.FltqD or Opcode.FleqD;

    /// <summary>The operation behind <paramref name="index"/> that emits something; never the block's last behind itself.</summary>
    private int NextOp(int index)
    {
        do index++;
        while (index < _block.Count && _block.Ops[index].Code == IrCode.Nop);
        return index;
    }

    /// <summary>frflags t; flt or fle; fsflags t is how compilers write a comparison that raises nothing: the flags are restored only where
    /// a NaN could have raised something.</summary>
    private void FuseQuietComparison(in IrOp op)
    {
        if (op.Aux != Opcode.Csrrs || op.Imm != 1 || op.A != 0 || op.Dst == 0) return;
        int second = NextOp(_opIndex);
        if (second >= _block.Count) return;
        ref readonly IrOp comparison = ref _block.Ops[second];
        if (comparison.Code != IrCode.Float || comparison.Aux is not (Opcode.FltS or Opcode.FleS or Opcode.FltD or Opcode.FleD)
            || comparison.Dst == op.Dst) return;
        int third = NextOp(second);
        if (third >= _block.Count) return;
        ref readonly IrOp restore = ref _block.Ops[third];
        if (restore.Code != IrCode.FloatCsr || restore.Aux != Opcode.Csrrw || restore.Imm != 1 || restore.Dst != 0 || restore.A != op.Dst) return;
        Floats.RestoresFlags = true;
        _skippedFloatOp = third;
    }

    /// <summary>Whether a branch on a comparison's result can use the flags that the comparison just left.</summary>
    private bool IsOnFloatFlags(in IrOp op, out Cond condition)
    {
        condition = Floats.TrueCondition;
        if (_comparedFloat == 0 || _comparedFloat != _opIndex || op.A != _comparedRegister) return false;
        if (op.HasImmB ? op.Imm != 0 : op.B != 0) return false;
        if (op.Condition == IrCondition.Equal) condition ^= (Cond)1;
        return op.Condition is IrCondition.Equal or IrCondition.NotEqual;
    }

    /// <summary>Behind the block's hot code.</summary>
    private void EmitFloatCold() => Floats.EmitCold();

    Gpr IFloatContext.UseInteger(int x, Gpr scratch) => Read64(x, scratch);

    Gpr IFloatContext.DefineInteger(int x, Gpr scratch) => InRegister(x) ? HostOf(x) : scratch;

    void IFloatContext.CommitInteger(int x, Gpr host, bool fits) => Finish64(x, host, fits);

    void IFloatContext.CommitInteger32(int x, Gpr host) => Finish32(x, host);

    void IFloatContext.InterpretWhen(Cond condition) => ExitAt(condition, BlockExit.Interpret, _floatOp);
}
