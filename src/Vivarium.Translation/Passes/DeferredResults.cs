using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Passes;

/// <summary>
/// Results that nobody reads before they are overwritten, but that can be seen where the block is left in between, by a fault or by
/// a branch that is taken. Such operations emit nothing (<see cref="IrFlags.Deferred"/>): exits compute them in cold code, and what
/// recovers the guest's state after a fault evaluates them (<see cref="Evaluate"/>). Their sources stay as they are meanwhile.
/// </summary>
/// <remarks><see cref="UnseenResults"/> finds them.</remarks>
internal static class DeferredResults
{
    /// <summary>Most in one block.</summary>
    public const int Max = 64;

    /// <summary>The result of a deferred operation.</summary>
    /// <param name="code">One that may be deferred.</param>
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
