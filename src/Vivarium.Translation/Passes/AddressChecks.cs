using System.Numerics;
using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Passes;

/// <summary>
/// Decides which accesses must check that their base register points into the memory window. Behind a check, a register plus small
/// constants stays within the guard space around the window, where an access faults; and so it does in a loop that adds
/// constants to a register and accesses memory through it in every round: one check in front of the loop is enough.
/// </summary>
internal static class AddressChecks
{
    // 96 instructions of this much stay far below MemoryWindow.GuardSize.
    private const long MaxStep = 1 << 20;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(IrBlock block, ulong windowSize)
    {
        uint hoisted = block.IsLoop ? Hoisted(block) : 0;
        block.CheckedAtEntry = hoisted;
        Span<uint> atLabel = stackalloc uint[IrBlock.MaxLabels];
        atLabel.Fill(uint.MaxValue);
        uint known = hoisted;
        bool reachable = true;
        IrOp[] ops = block.Ops;
        for (int i = 0; i < block.Count; i++)
        {
            ref IrOp op = ref ops[i];
            switch (op.Code)
            {
                case IrCode.Label:
                    known = reachable ? known & atLabel[op.Label] : atLabel[op.Label];
                    reachable = true;
                    continue;
                case IrCode.Branch or IrCode.Jump:
                    if (op.IsInternal) atLabel[op.Label] &= known;
                    if (op.Code == IrCode.Jump) reachable = false;
                    continue;
            }
            if (IsAccess(op) && (known >> op.A & 1) == 0)
            {
                op.Flags |= IrFlags.Check;
                known |= 1u << op.A;
            }
            if (op.Dst is 0 or >= 32) continue;
            uint bit = 1u << op.Dst;
            bool stays = op.Code switch
            {
                IrCode.Const => (ulong)op.Imm < windowSize,
                IrCode.Move => (known >> op.A & 1) != 0,
                IrCode.Add when op.HasImmB => (known >> op.A & 1) != 0 && op.Imm is >= -MaxStep and <= MaxStep,
                _ => false,
            };
            if (stays) known |= bit;
            else known &= ~bit;
        }
    }

    /// <summary>Registers to check once in front of a loop: every round accesses memory through them before it may leave, and changes them by constants only.</summary>
    private static uint Hoisted(IrBlock block)
    {
        IrOp[] ops = block.Ops;
        uint always = 0, moved = 0;
        bool straight = true;
        for (int i = 0; i < block.Count; i++)
        {
            ref IrOp op = ref ops[i];
            bool isAccess = IsAccess(op);
            if (isAccess && straight && (moved >> op.A & 1) == 0) always |= 1u << op.A;
            if (op.Dst is > 0 and < 32)
            {
                bool step = op.Code == IrCode.Add && op.HasImmB && op.A == op.Dst && op.Imm is >= -MaxStep and <= MaxStep;
                if (!step) moved |= 1u << op.Dst;
            }
            if (op.Code is not (IrCode.Nop or >= IrCode.Const and <= IrCode.ShlUw or IrCode.Load or IrCode.Store or IrCode.Float)) straight = false;
        }
        return always & ~moved;
    }

    private static bool IsAccess(in IrOp op) => op.Code switch
    {
        IrCode.Load or IrCode.Store => (op.Flags & IrFlags.Absolute) == 0,
        IrCode.Float => op.Aux is Opcode.Flw or Opcode.Fld or Opcode.Fsw or Opcode.Fsd,
        >= IrCode.LoadReserved and <= IrCode.LoadLinked => true,
        IrCode.StoreExclusive => true,
        _ => false,
    };
}
