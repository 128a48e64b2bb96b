using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Passes;

/// <summary>Joins operations that belong together because compilers for machines without the fused form make them: zero extension by two shifts,
/// scaled indices, rotates, address arithmetic, branches on comparisons. An operation takes over what its source was computed from; whether the
/// source's own computation is still needed is for <see cref="UnseenResults"/> to say.</summary>
internal static unsafe class Fusion
{
    private const int None = -1;

    // A checked address and this much stays in the guard space around the window.
    private const long MaxOffset = 1 << 20;

    /// <param name="block">The block.</param>
    /// <param name="indexed">Make loads of scaled indices.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization), SkipLocalsInit]
    public static void Run(IrBlock block, bool indexed)
    {
        SplitPartlyWrittenSlots(block);
        IrOp[] all = block.Ops;
        IrOp* ops = block.P;
        uint* gone = stackalloc uint[all.Length]; // see MarkLastReads
        if (block.HasSeen(IrCode.Shl) || block.HasSeen(IrCode.ShlUw) || block.HasSeen(IrCode.ShAdd) || block.HasSeen(IrCode.ShAddUw)) MarkLastReads(block, gone);
        short* writers = stackalloc short[64]; // the operation that wrote the register last, on every way to here
        var writer = new Span<short>(writers, 64);
        writer.Fill(None);
        byte* made = stackalloc byte[64]; // what that operation makes
        new Span<byte>(made, 64).Clear();
        ref byte makes = ref MemoryMarshal.GetArrayDataReference(Makes);
        ref byte takes = ref MemoryMarshal.GetArrayDataReference(Takes);
        int count = block.Count;
        for (int i = 0; i < count; i++)
        {
            IrOp* op = ops + i;
            IrCode code = op->Code;
            if (((made[op->A] | made[op->B]) & Unsafe.Add(ref takes, (int)code)) != 0)
            {
                if (code is <= IrCode.ShlUw or IrCode.Store or IrCode.Branch)
                {
                    op->A = Original(all, writer, op->A);
                    op->B = Original(all, writer, op->B);
                }
                switch (code)
                {
                    case IrCode.Shr or IrCode.Sar when op->HasImmB: ShiftBack(all, writer, i); break;
                    case IrCode.Add when !op->HasImmB: Scale(all, writer, i, gone[i]); break;
                    case IrCode.Or or IrCode.Xor when !op->HasImmB: Rotate(all, writer, ref *op); break;
                    case IrCode.Load or IrCode.Store: Address(all, writer, ref *op, gone[i], indexed); break;
                    case IrCode.Branch: Compare(all, writer, ref *op); break;
                }
                code = op->Code;
            }
            else if (code is IrCode.Nop or IrCode.Label)
            {
                if (code == IrCode.Nop) continue;
                writer.Fill(None);
                new Span<byte>(made, 64).Clear();
                continue;
            }
            writers[op->Dst] = (short)i;
            made[op->Dst] = Unsafe.Add(ref makes, (int)code);
            writers[0] = None;
            made[0] = 0;
        }
    }

    // Most operations have nothing to take over. What each makes that others may take over, and what each could take over, by code: most questions end here.
    private const byte Copy = 1, Shifted = 2, Sum = 4, Compared = 8;

    private static readonly byte[] Makes = Build(static code => code switch
    {
        IrCode.Move => Copy | Sum,
        IrCode.Shl or IrCode.Shr or IrCode.ShlW or IrCode.ShrW or IrCode.ShlUw => Shifted,
        IrCode.Add or IrCode.ShAdd or IrCode.ShAddUw => Sum,
        IrCode.SetLt or IrCode.SetLtu => Compared,
        _ => 0,
    });

    private static readonly byte[] Takes = Build(static code => code switch
    {
        IrCode.Nop => 0,
        IrCode.Shr or IrCode.Sar or IrCode.Add or IrCode.Or or IrCode.Xor => Copy | Shifted,
        <= IrCode.ShlUw => Copy,
        IrCode.Load => Sum,
        IrCode.Store => Copy | Sum,
        IrCode.Branch => Copy | Compared,
        _ => 0,
    });

    private static byte[] Build(Func<IrCode, int> of)
    {
        var table = new byte[256];
        for (int code = 0; code < 256; code++) table[code] = (byte)of((IrCode)code);
        return table;
    }

    /// <summary>Bit r of <paramref name="gone"/>: behind this operation nobody reads xr before it is overwritten, except where the block is left.</summary>
    private static void MarkLastReads(IrBlock block, uint* gone)
    {
        ulong now = 0;
        for (int i = block.Count - 1; i >= 0; i--)
        {
            IrOp* op = block.P + i;
            gone[i] = (uint)now;
            if (op->Code is <= IrCode.Store or IrCode.Float || op->Code == IrCode.Branch && !op->IsInternal && op->Target != block.Start)
                now = (now | 1UL << op->Dst) & ~(1UL << op->A | 1UL << op->B);
            else now = 0;
        }
    }

    /// <summary>The register that <paramref name="x"/> was copied from, where that has the value still.</summary>
    private static byte Original(IrOp[] ops, Span<short> writer, byte x)
    {
        int w = writer[x];
        if (w < 0 || ops[w].Code != IrCode.Move) return x;
        byte a = ops[w].A;
        return writer[a] > w || IsFarther(a, x) ? x : a;
    }

    /// <summary>The operation of this kind, on one source and an immediate, that computed <paramref name="x"/> for operation <paramref name="i"/>; -1 where
    /// that is another or the source has changed since. Where it overwrote its own source (x = x op imm), operation i must overwrite
    /// the result in turn with nothing in between that could see it: then the first one goes.</summary>
    private static int OnlySource(IrOp[] ops, Span<short> writer, int i, int x, IrCode code)
    {
        int w = writer[x];
        if (w < 0 || ops[w].Code != code || !ops[w].HasImmB) return None;
        ref IrOp first = ref ops[w];
        if (first.A != x) return writer[first.A] > w ? None : w;
        if (ops[i].Dst != x) return None;
        for (int j = w + 1; j < i; j++)
        {
            if (ops[j].Code > IrCode.ShlUw || ops[j].A == x || ops[j].B == x) return None;
        }
        return w;
    }

    /// <summary>x &lt;&lt; m, then &gt;&gt; n: extensions, zero-extended indices, fields.</summary>
    private static void ShiftBack(IrOp[] ops, Span<short> writer, int i)
    {
        ref IrOp op = ref ops[i];
        int w = OnlySource(ops, writer, i, op.A, IrCode.Shl);
        if (w < 0) return;
        int m = (int)ops[w].Imm, n = (int)op.Imm;
        (IrCode code, int imm) = (op.Code, m, n) switch
        {
            (IrCode.Shr, 32, 32) => (IrCode.ZextW, 0),
            (IrCode.Shr, 32, < 32) => (IrCode.ShlUw, 32 - n), // zext32(a) << (32 - n): an index
            (IrCode.Shr, 32, _) => (IrCode.ShrW, n - 32),
            (IrCode.Shr, 48, 48) => (IrCode.ZextH, 0),
            (IrCode.Shr, 56, 56) => (IrCode.ZextB, 0),
            (IrCode.Sar, 48, 48) => (IrCode.SextH, 0),
            (IrCode.Sar, 56, 56) => (IrCode.SextB, 0),
            (IrCode.Sar, 32, 32) => (IrCode.SextW, 0),
            (IrCode.Sar, 32, > 32) => (IrCode.SarW, n - 32),
            _ => (IrCode.Nop, 0),
        };
        if (code == IrCode.Nop) return;
        bool hasImm = code is IrCode.ShlUw or IrCode.ShrW or IrCode.SarW;
        TakeOver(ops, w, i);
        op.Code = code;
        op.Imm = imm;
        op.Flags = hasImm ? IrFlags.ImmB : IrFlags.None;
    }

    /// <summary>Operation i reads what w read instead of w's result.</summary>
    private static void TakeOver(IrOp[] ops, int w, int i)
    {
        ref IrOp first = ref ops[w];
        ops[i].A = first.A;
        if (first.A == first.Dst) first.Code = IrCode.Nop;
    }

    /// <summary>(a &lt;&lt; n) + b, also with a zero-extended a where nobody else needs the shifted value.</summary>
    private static void Scale(IrOp[] ops, Span<short> writer, int i, uint gone)
    {
        ref IrOp op = ref ops[i];
        if (op.A == op.B) return;
        for (int side = 0; side < 2; side++)
        {
            int x = side == 0 ? op.A : op.B, other = side == 0 ? op.B : op.A;
            if (other == 0) continue;
            int w = OnlySource(ops, writer, i, x, IrCode.Shl);
            IrCode code = IrCode.ShAdd;
            if (w < 0 && (op.Dst == x || (gone >> x & 1) != 0))
            {
                w = OnlySource(ops, writer, i, x, IrCode.ShlUw);
                code = IrCode.ShAddUw;
            }
            if (w < 0 || ops[w].Imm is < 0 or > 3) continue;
            op.Code = code;
            op.C = (byte)ops[w].Imm;
            op.B = (byte)other;
            TakeOver(ops, w, i);
            return;
        }
    }

    /// <summary>(a &gt;&gt; n) | (a &lt;&lt; width - n).</summary>
    private static void Rotate(IrOp[] ops, Span<short> writer, ref IrOp op)
    {
        int wa = writer[op.A], wb = writer[op.B];
        if (wa < 0 || wb < 0) return;
        ref IrOp right = ref ops[wa];
        ref IrOp left = ref ops[wb];
        if (right.Code is IrCode.Shl or IrCode.ShlW)
        {
            right = ref left;
            left = ref ops[wa];
        }
        bool word = right.Code == IrCode.ShrW && left.Code == IrCode.ShlW;
        if (!word && !(right.Code == IrCode.Shr && left.Code == IrCode.Shl)) return;
        int a = right.A;
        if (!right.HasImmB || !left.HasImmB || left.A != a || a == 0 || right.Imm == 0 || right.Imm + left.Imm != (word ? 32 : 64)) return;
        // Neither shift, nor anything since the first of them, has changed the source.
        if (right.Dst == a || left.Dst == a || writer[a] > Math.Min(wa, wb)) return;
        op.Code = word ? IrCode.RorW : IrCode.Ror;
        op.A = (byte)a;
        op.B = 0;
        op.Imm = right.Imm;
        op.Flags = IrFlags.ImmB;
    }

    /// <summary>The address is a register plus a constant: fold the constant. It is a scaled index that nobody needs after a load: fold that.</summary>
    private static void Address(IrOp[] ops, Span<short> writer, ref IrOp op, uint gone, bool indexed)
    {
        if ((op.Flags & (IrFlags.Absolute | IrFlags.Halves)) != 0) return;
        int x = op.A, w = writer[x];
        if (w < 0) return;
        ref readonly IrOp first = ref ops[w];
        if (first.Code is IrCode.ShAdd or IrCode.ShAddUw)
        {
            if (!indexed || op.Code != IrCode.Load || (op.Dst != x && (gone >> x & 1) == 0) || first.A == x || first.B == x || first.B == 0 || first.C == 0
                || writer[first.A] > w || writer[first.B] > w) return;
            op.A = first.B;
            op.B = first.A;
            op.C = (byte)(first.Code == IrCode.ShAdd ? first.C : first.C | 4);
            op.Flags |= IrFlags.Indexed;
            return;
        }
        long imm = op.Imm;
        if (first.Code == IrCode.Add && first.HasImmB) imm += first.Imm;
        else if (first.Code != IrCode.Move) return;
        if (first.A == x || first.A == 0 || writer[first.A] > w || imm is < -MaxOffset or > MaxOffset || IsFarther(first.A, x)) return;
        op.A = first.A;
        op.Imm = imm;
    }

    /// <summary>Reading <paramref name="a"/> costs more than reading <paramref name="x"/>.</summary>
    private static bool IsFarther(int a, int x) => RegisterMap.IntegerHost[a] < 0 && RegisterMap.IntegerHost[x] >= 0;

    /// <summary>slt, then bnez or beqz: compare and branch.</summary>
    private static void Compare(IrOp[] ops, Span<short> writer, ref IrOp op)
    {
        if (op.Condition > IrCondition.NotEqual || (op.HasImmB ? op.Imm != 0 : op.B != 0)) return;
        int w = writer[op.A];
        if (w < 0 || ops[w].Code is not (IrCode.SetLt or IrCode.SetLtu)) return;
        ref readonly IrOp first = ref ops[w];
        if (first.A == first.Dst || first.B == first.Dst || writer[first.A] > w || writer[first.B] > w) return;
        if (first.Code == IrCode.SetLtu && first.HasImmB && first.Imm == 1)
        {
            // seqz
            op.A = first.A;
            op.C ^= 1;
            return;
        }
        var condition = first.Code == IrCode.SetLt ? IrCondition.Less : IrCondition.LessUnsigned;
        if (op.Condition == IrCondition.Equal) condition++;
        op.C = (byte)condition;
        op.A = first.A;
        op.B = first.B;
        op.Imm = first.Imm;
        op.Flags = op.Flags & ~IrFlags.ImmB | first.Flags & IrFlags.ImmB;
    }

    /// <summary>Compilers spill 32-bit values with sw and fetch them with ld; the store buffer cannot forward a half to a whole.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SplitPartlyWrittenSlots(IrBlock block)
    {
        const int StackPointer = 2;
        if (!block.StoresStackWords) return;
        ulong written = 0; // bit n: the 4 bytes at sp + 4n were stored alone
        for (int i = 0; i < block.Count; i++)
        {
            ref IrOp op = ref block.P[i];
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
