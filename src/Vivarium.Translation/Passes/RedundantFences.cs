using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Passes;

/// <summary>Removes fences beside locked instructions, which order everything: those without a store since the last one, and those
/// without a load before the next one. What is left of a fence on TSO orders earlier stores before later loads only.</summary>
internal static class RedundantFences
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(IrBlock block)
    {
        IrOp[] ops = block.Ops;
        bool ordered = false; // nothing stored since a barrier
        for (int i = 0; i < block.Count; i++)
        {
            ref IrOp op = ref ops[i];
            if (op.Code == IrCode.Fence)
            {
                if (ordered || IsBarrierNext(block, i + 1)) op.Code = IrCode.Nop;
                else ordered = true;
            }
            else if (IsLocked(op.Code)) ordered = true;
            else if (op.Code is IrCode.Store or IrCode.StoreConditional || op.Code == IrCode.Float && op.Aux is Opcode.Fsw or Opcode.Fsd || op.Code == IrCode.Label) ordered = false;
        }
    }

    private static bool IsBarrierNext(IrBlock block, int from)
    {
        for (int i = from; i < block.Count; i++)
        {
            IrCode code = block.Ops[i].Code;
            if (IsLocked(code)) return true;
            if (code is not (IrCode.Nop or >= IrCode.Const and <= IrCode.ShlUw or IrCode.Store)) return false;
        }
        return false;
    }

    private static bool IsLocked(IrCode code) => code is >= IrCode.AmoSwap and <= IrCode.CompareExchange or IrCode.StoreExclusive;
}
