using System.Runtime.CompilerServices;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Passes;

/// <summary>Joins neighbouring operations that compilers for machines without the fused form make: zero extension by two shifts, scaled
/// indices, sign extension of bytes and halfwords.</summary>
internal static class Fusion
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(IrBlock block)
    {
        SplitPartlyWrittenSlots(block);
        IrOp[] ops = block.Ops;
        for (int i = 1; i < block.Count; i++)
        {
            ref IrOp first = ref ops[i - 1];
            ref IrOp second = ref ops[i];
            if (first.Dst == 0 || first.Dst != second.Dst) continue;
            if (first.Code == IrCode.Shl && first.HasImmB)
            {
                // The first result is the second's only input and is overwritten by it.
                if (second.HasImmB && second.A == first.Dst && second.Code is IrCode.Shr or IrCode.Sar && second.A == first.Dst && second.HasImmB)
                {
                    IrCode code = (second.Code, first.Imm, second.Imm) switch
                    {
                        (IrCode.Shr, 32, 32) => IrCode.ZextW,
                        (IrCode.Shr, 48, 48) => IrCode.ZextH,
                        (IrCode.Sar, 48, 48) => IrCode.SextH,
                        (IrCode.Sar, 56, 56) => IrCode.SextB,
                        (IrCode.Sar, 32, 32) => IrCode.SextW,
                        _ => IrCode.Nop,
                    };
                    if (code != IrCode.Nop)
                    {
                        second.Code = code;
                        second.A = first.A;
                        second.Flags = IrFlags.None;
                        second.Imm = 0;
                        first.Code = IrCode.Nop;
                    }
                    else if (second.Code == IrCode.Shr && first.Imm == 32 && second.Imm is >= 29 and < 32)
                    {
                        // zext32(a) << (32 - n): an index scaled by 2, 4 or 8.
                        second.Code = IrCode.ShlUw;
                        second.A = first.A;
                        second.Imm = 32 - second.Imm;
                        first.Code = IrCode.Nop;
                    }
                }
                else if (second.Code == IrCode.Add && !second.HasImmB && first.Imm is >= 1 and <= 3 && second.A != second.B)
                {
                    int other = second.A == first.Dst ? second.B : second.B == first.Dst ? second.A : 0;
                    if (other == 0) continue;
                    second.Code = IrCode.ShAdd;
                    second.C = (byte)first.Imm;
                    second.A = first.A;
                    second.B = (byte)other;
                    first.Code = IrCode.Nop;
                }
            }
            else if (first.Code == IrCode.ShlUw && second.Code == IrCode.Add && !second.HasImmB && first.Imm is >= 0 and <= 3 && second.A != second.B)
            {
                int other = second.A == first.Dst ? second.B : second.B == first.Dst ? second.A : 0;
                if (other == 0) continue;
                second.Code = IrCode.ShAddUw;
                second.C = (byte)first.Imm;
                second.A = first.A;
                second.B = (byte)other;
                first.Code = IrCode.Nop;
            }
        }
    }

    /// <summary>Compilers spill 32-bit values with sw and fetch them with ld; the store buffer cannot forward a half to a whole.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SplitPartlyWrittenSlots(IrBlock block)
    {
        const int StackPointer = 2;
        IrOp[] ops = block.Ops;
        ulong written = 0; // bit n: the 4 bytes at sp + 4n were stored alone
        for (int i = 0; i < block.Count; i++)
        {
            ref IrOp op = ref ops[i];
            if (op.A == StackPointer && op.Code is IrCode.Store or IrCode.Load && op.A == StackPointer && (ulong)op.Imm < 248 && (op.Imm & 3) == 0)
            {
                int slot = (int)op.Imm >> 2;
                if (op.Code == IrCode.Store)
                {
                    if (op.Width == 4) written |= 1UL << slot;
                    else if (op.Width == 8) written &= ~(3UL << slot);
                }
                else if (op.Width == 8 && (written >> slot & 3) != 0) op.Flags |= IrFlags.Halves;
            }
            if (op.Dst == StackPointer) written = 0;
        }
    }
}
