using Vivarium.RiscV.Isa;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Float;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Floating point: what SupportsFloat accepts, LowerFloat lowers through the FloatEmitter; the interpreter executes the rest.
public sealed unsafe partial class CodeGenerator : IFloatContext
{
    private FloatEmitter? _floatEmitter;
    private IrOp _floatOp;

    private FloatEmitter Floats => _floatEmitter ??= new FloatEmitter(_asm, this);

    /// <summary>Whether the back end has a lowering for this floating-point (or fcsr) instruction. While frm is a mode that x86 lacks the
    /// dispatcher runs no translated code, so dynamic rounding is always one of the four.</summary>
    internal static bool SupportsFloat(in Instruction instruction) =>
        FloatOperandIsCsr(instruction)
            ? instruction.Imm is >= 1 and <= 3
            : FloatEmitter.Supports(instruction.Opcode, instruction.Rm);

    private static bool FloatOperandIsCsr(in Instruction instruction) => instruction.Opcode is >= Opcode.Csrrw and <= Opcode.Csrrci;

    /// <summary>Before a block.</summary>
    private void ResetFloat() => Floats.Begin();

    /// <summary>Between a loop's prologue and its head.</summary>
    private void BeginFloatLoop()
    {
        _floatOp = _block.Ops[0];
        Floats.BeginLoop(_block);
    }

    /// <summary>Lowers a Float or FloatCsr operation.</summary>
    private void LowerFloat(ref IrOp op)
    {
        _floatOp = op;
        int rd = op.Dst & 31, rs1 = op.A & 31, rs2 = op.B & 31;
        if (op.Code == IrCode.FloatCsr)
        {
            Floats.AccessCsr(op.Aux, (int)op.Imm, rd, rs1);
            return;
        }
        switch (op.Aux)
        {
            case Opcode.Flw or Opcode.Fld:
            {
                Mem m = AddressOf(op);
                MayFault(op);
                Floats.LoadFrom(op.Aux == Opcode.Flw, rd, m);
                break;
            }
            case Opcode.Fsw or Opcode.Fsd:
            {
                Xmm source = Floats.PrepareStore(rs2);
                Mem m = AddressOf(op);
                MayFault(op);
                Floats.StoreTo(op.Aux == Opcode.Fsw, m, source);
                break;
            }
            default:
                Floats.Emit(op.Aux, rd, rs1, rs2, op.C & 31, op.Rm);
                break;
        }
    }

    /// <summary>Behind the block's hot code.</summary>
    private void EmitFloatCold() => Floats.EmitCold();

    Gpr IFloatContext.UseInteger(int x, Gpr scratch) => Read64(x, scratch);

    Gpr IFloatContext.DefineInteger(int x, Gpr scratch) => InRegister(x) ? HostOf(x) : scratch;

    void IFloatContext.CommitInteger(int x, Gpr host, bool fits) => Finish64(x, host, fits);

    void IFloatContext.CommitInteger32(int x, Gpr host) => Finish32(x, host);

    void IFloatContext.InterpretWhen(Cond condition) => ExitAt(condition, BlockExit.Interpret, _floatOp);
}
