using Vivarium.RiscV.Isa;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.CodeGen;

// Floating point: what SupportsFloat accepts, LowerFloat lowers; the rest is executed by the interpreter.
public sealed unsafe partial class CodeGenerator
{
    /// <summary>Whether the back end has a lowering for this floating-point (or fcsr) instruction.</summary>
    internal static bool SupportsFloat(in Instruction instruction) => false;

    /// <summary>Before a block.</summary>
    private static void ResetFloat() { }

    /// <summary>Lowers a Float or FloatCsr operation.</summary>
    private static void LowerFloat(ref IrOp op) => throw new InvalidOperationException("no lowering for this floating-point operation");

    /// <summary>Behind the block's hot code.</summary>
    private static void EmitFloatCold() { }
}
