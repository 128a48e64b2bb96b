using System.Runtime.CompilerServices;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Passes;

/// <summary>
/// One walk from the end of a block. Removes results that are overwritten before anybody can see them: nobody reads them, and neither an exit nor a
/// possible fault lies in between (there the guest's state must be precise). Defers those that only an exit or a fault can see
/// (<see cref="DeferredResults"/>). Counts how often what is left names each register, for the register mapping.
/// </summary>
internal static unsafe class UnseenResults
{
    /// <summary>Codes that exits and faults can compute, all below 64 but <see cref="IrCode.ShlUw"/>.</summary>
    private const ulong CanEvaluate = 1UL << (int)IrCode.Const | 1UL << (int)IrCode.Move | 1UL << (int)IrCode.Add | 1UL << (int)IrCode.Sub
        | 1UL << (int)IrCode.And | 1UL << (int)IrCode.Or | 1UL << (int)IrCode.Xor | 1UL << (int)IrCode.Shl | 1UL << (int)IrCode.Shr | 1UL << (int)IrCode.Sar
        | 1UL << (int)IrCode.SetLt | 1UL << (int)IrCode.SetLtu | 1UL << (int)IrCode.AddW | 1UL << (int)IrCode.SubW | 1UL << (int)IrCode.ShlW
        | 1UL << (int)IrCode.ShrW | 1UL << (int)IrCode.SarW | 1UL << (int)IrCode.SextW | 1UL << (int)IrCode.SextB | 1UL << (int)IrCode.SextH
        | 1UL << (int)IrCode.ZextB | 1UL << (int)IrCode.ZextH | 1UL << (int)IrCode.ZextW | 1UL << (int)IrCode.ShAdd | 1UL << (int)IrCode.ShAddUw;

    [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
    public static void Run(IrBlock block)
    {
        short* nextWrite = stackalloc short[64];
        new Span<short>(nextWrite, 64).Fill(short.MaxValue);
        int* uses = block.Uses;
        new Span<int>(uses, 64).Clear();
        ulong dead = 0;   // bit r: nobody ever sees what xr holds here
        ulong unread = 0; // bit r: xr is overwritten before anybody reads it, and before execution goes anywhere that is not known
        ulong written = 0;
        int deferred = 0, needsRdx = 0;
        IrOp* ops = block.P;
        for (int i = block.Count - 1; i >= 0; i--)
        {
            IrOp* op = ops + i;
            IrCode code = op->Code;
            int dst = op->Dst, a = op->A, b = op->B;
            ulong bit = 1UL << dst, sources = 1UL << a | 1UL << b;
            bool pure = code <= IrCode.ShlUw;
            if (pure && (((dead | unread) & bit) != 0 || code == IrCode.Nop))
            {
                if (code == IrCode.Nop) continue;
                if ((dead & bit) != 0)
                {
                    op->Code = IrCode.Nop;
                    continue;
                }
                if ((sources & bit) == 0 && (code < (IrCode)64 ? (CanEvaluate >> (int)code & 1) != 0 : code == IrCode.ShlUw)
                    && nextWrite[a] > nextWrite[dst] && nextWrite[b] > nextWrite[dst] && deferred < DeferredResults.Max)
                {
                    dead = (dead | bit) & ~sources;
                    op->Flags |= IrFlags.Deferred;
                    deferred++;
                    nextWrite[dst] = (short)i;
                    written |= bit;
                    continue;
                }
            }
            if (code is >= IrCode.MulH and <= IrCode.RemUW) needsRdx++;
            dead = (dead | bit) & ~sources & 0 - (pure ? 1UL : 0);
            unread = (unread | bit) & ~sources & ~1UL;
            if (code > IrCode.Store && code != IrCode.Float
                && (code != IrCode.Branch || op->IsInternal || (block.IsLoop && op->Target == block.Start))) unread = 0;
            if (dst != 0) nextWrite[dst] = (short)i;
            written |= bit;
            uses[dst]++;
            uses[a]++;
            uses[b]++;
        }
        block.Written = (uint)written;
        block.NeedsRdx = needsRdx != 0;
    }
}
