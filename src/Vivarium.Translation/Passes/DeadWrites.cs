using System.Runtime.CompilerServices;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Passes;

/// <summary>Removes results that are overwritten before anybody can see them: nobody reads them, and neither an exit nor a possible fault
/// lies in between (there the guest's state must be precise).</summary>
internal static class DeadWrites
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(IrBlock block)
    {
        IrOp[] ops = block.Ops;
        uint dead = 0; // bit r: the value of xr at this point is never seen
        for (int i = block.Count - 1; i >= 0; i--)
        {
            ref IrOp op = ref ops[i];
            switch (op.Code)
            {
                case IrCode.Nop:
                    continue;
                case >= IrCode.Const and <= IrCode.ShlUw:
                    uint bit = 1u << op.Dst;
                    if ((dead & bit) != 0)
                    {
                        op.Code = IrCode.Nop;
                        continue;
                    }
                    dead |= bit;
                    dead &= ~(1u << op.A | 1u << op.B);
                    break;
                default:
                    // Everything is visible at exits and faults, and all other operations are rare enough to be treated like them.
                    dead = 0;
                    break;
            }
        }
    }
}
