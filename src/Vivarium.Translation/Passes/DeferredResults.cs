using System.Runtime.CompilerServices;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Passes;

/// <summary>
/// Finds results that nobody reads before they are overwritten, but that can be seen where the block is left in between, by a fault or by
/// a branch that is taken. Such operations emit nothing (<see cref="IrFlags.Deferred"/>): exits compute them in cold code, and what
/// recovers the guest's state after a fault evaluates them (<see cref="Evaluate"/>). Their sources must stay as they are meanwhile.
/// </summary>
internal static class DeferredResults
{
    /// <summary>Most in one block.</summary>
    public const int Max = 64;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(IrBlock block)
    {
        IrOp[] ops = block.Ops;
        Span<short> nextWrite = stackalloc short[64], nextRead = stackalloc short[64];
        nextWrite.Fill(short.MaxValue);
        nextRead.Fill(short.MaxValue);
        int barrier = block.Count, deferred = 0;
        for (int i = block.Count - 1; i >= 0; i--)
        {
            ref IrOp op = ref ops[i];
            if (op.Code == IrCode.Nop) continue;
            if (IsBarrier(block, op)) barrier = i;
            else if (op.Code <= IrCode.ShlUw && CanEvaluate(op.Code) && deferred < Max)
            {
                int end = nextWrite[op.Dst];
                if (end < barrier && nextRead[op.Dst] > end && op.A != op.Dst && op.B != op.Dst && nextWrite[op.A] > end && nextWrite[op.B] > end)
                {
                    op.Flags |= IrFlags.Deferred;
                    deferred++;
                    nextWrite[op.Dst] = (short)i;
                    continue;
                }
            }
            if (op.Dst != 0) nextWrite[op.Dst] = (short)i;
            nextRead[op.A] = nextRead[op.B] = (short)i;
        }
    }

    /// <summary>Whether every register may be seen here, or nothing is known of where execution goes on.</summary>
    private static bool IsBarrier(IrBlock block, in IrOp op) => op.Code switch
    {
        <= IrCode.ShlUw or IrCode.Load or IrCode.Store or IrCode.Float => false,
        IrCode.Branch => op.IsInternal || (block.IsLoop && op.Target == block.Start),
        _ => true,
    };

    private static bool CanEvaluate(IrCode code) => code switch
    {
        IrCode.Const or IrCode.Move or IrCode.Add or IrCode.Sub or IrCode.And or IrCode.Or or IrCode.Xor or IrCode.Shl or IrCode.Shr or IrCode.Sar
            or IrCode.SetLt or IrCode.SetLtu or IrCode.AddW or IrCode.SubW or IrCode.ShlW or IrCode.ShrW or IrCode.SarW or IrCode.SextW or IrCode.SextB
            or IrCode.SextH or IrCode.ZextB or IrCode.ZextH or IrCode.ZextW or IrCode.ShAdd or IrCode.ShAddUw or IrCode.ShlUw => true,
        _ => false,
    };

    /// <summary>The result of a deferred operation.</summary>
    /// <param name="code">One that <see cref="Run"/> defers.</param>
    /// <param name="a">Value of the first source.</param>
    /// <param name="b">Value of the second source, or the immediate.</param>
    /// <param name="shift">Shift amount of <see cref="IrCode.ShAdd"/>.</param>
    public static ulong Evaluate(IrCode code, ulong a, ulong b, int shift) => code switch
    {
        IrCode.Const => b,
        IrCode.Move => a,
        IrCode.Add => a + b,
        IrCode.Sub => a - b,
        IrCode.And => a & b,
        IrCode.Or => a | b,
        IrCode.Xor => a ^ b,
        IrCode.Shl => a << (int)(b & 63),
        IrCode.Shr => a >> (int)(b & 63),
        IrCode.Sar => (ulong)((long)a >> (int)(b & 63)),
        IrCode.SetLt => (long)a < (long)b ? 1UL : 0,
        IrCode.SetLtu => a < b ? 1UL : 0,
        IrCode.AddW => (ulong)(int)(a + b),
        IrCode.SubW => (ulong)(int)(a - b),
        IrCode.ShlW => (ulong)((int)a << (int)(b & 31)),
        IrCode.ShrW => (ulong)(int)((uint)a >> (int)(b & 31)),
        IrCode.SarW => (ulong)((int)a >> (int)(b & 31)),
        IrCode.SextW => (ulong)(int)a,
        IrCode.SextB => (ulong)(sbyte)a,
        IrCode.SextH => (ulong)(short)a,
        IrCode.ZextB => (byte)a,
        IrCode.ZextH => (ushort)a,
        IrCode.ZextW => (uint)a,
        IrCode.ShAdd => (a << shift) + b,
        IrCode.ShAddUw => ((ulong)(uint)a << shift) + b,
        IrCode.ShlUw => (ulong)(uint)a << (int)(b & 63),
        _ => 0,
    };
}
