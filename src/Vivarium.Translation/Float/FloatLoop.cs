using Vivarium.RiscV.Isa;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.Float;

/// <summary>
/// What a loop's body may take for granted at its head because the prologue checks it once and every way back keeps it: which registers
/// hold boxed singles, and which may hold NaNs that are made canonical only when the loop is left.
/// </summary>
/// <param name="Boxed">Bit n: fn holds a boxed single.</param>
/// <param name="Dirty">Registers that the body leaves possibly not canonical at its back edges.</param>
internal readonly record struct FloatLoop(uint Boxed, FloatState Dirty)
{
    /// <summary>Follows what <see cref="FloatEmitter"/> will know along the block, with assumptions about its head, until they hold.</summary>
    /// <param name="block">A loop.</param>
    /// <param name="mapped">Registers that live in host registers; the others are always canonical.</param>
    public static FloatLoop Analyse(IrBlock block, uint mapped)
    {
        uint boxed = LiveInSingles(block, toExit: false), excluded = ~mapped;
        var dirty = default(FloatState);
        for (int round = 0; round < 8; round++)
        {
            Outcome end = Walk(block, boxed, dirty);
            uint nextBoxed = boxed & end.Boxed;
            uint d = dirty.DirtyD | end.DirtyD & ~excluded, s = dirty.DirtyS | end.DirtyS & ~excluded;
            // A register that is a double on one way back and a single on another is cleaned on all.
            excluded |= d & s;
            var next = new FloatState(d & ~excluded, s & ~excluded);
            if (nextBoxed == boxed && next == dirty) return new FloatLoop(boxed, dirty);
            boxed = nextBoxed;
            dirty = next;
        }
        return default;
    }

    /// <summary>Registers that are read as singles before the block writes them; toExit: and before it can be left.</summary>
    public static uint LiveInSingles(IrBlock block, bool toExit)
    {
        uint read = 0, written = 0;
        for (int i = 0; i < block.Count; i++)
        {
            ref readonly IrOp op = ref block.Ops[i];
            if (toExit && op.Code is IrCode.Branch) break;
            if (op.Code != IrCode.Float) continue;
            FloatEffect effect = FloatEffects.Of(op);
            read |= effect.Singles & ~written;
            written |= effect.Writes;
        }
        return read;
    }

    /// <summary>Meet over the back edges.</summary>
    private struct Outcome
    {
        public uint Boxed, DirtyD, DirtyS;
    }

    private static Outcome Walk(IrBlock block, uint boxed, FloatState start)
    {
        var outcome = new Outcome { Boxed = uint.MaxValue };
        uint dirtyD = start.DirtyD, dirtyS = start.DirtyS;
        for (int i = 0; i < block.Count; i++)
        {
            ref readonly IrOp op = ref block.Ops[i];
            if (op.Code is IrCode.Branch or IrCode.Jump && op.Target == block.Start)
            {
                outcome.Boxed &= boxed;
                outcome.DirtyD |= dirtyD;
                outcome.DirtyS |= dirtyS;
            }
            if (op.Code != IrCode.Float) continue;
            FloatEffect effect = FloatEffects.Of(op);
            boxed |= effect.Singles;
            dirtyD &= ~(effect.Observed | effect.Singles);
            dirtyS &= ~effect.Observed;
            if (effect.Writes == 0) continue;
            // A copy is as dirty as its source.
            bool d = effect.DirtyD || effect.IsCopy && (dirtyD & effect.Sources) != 0;
            bool s = effect.DirtyS || effect.IsCopy && (dirtyS & effect.Sources) != 0;
            bool keepsBox = effect.IsCopy && op.Aux == Opcode.FsgnjD && (boxed & effect.Sources) != 0;
            dirtyD = d ? dirtyD | effect.Writes : dirtyD & ~effect.Writes;
            dirtyS = s ? dirtyS | effect.Writes : dirtyS & ~effect.Writes;
            boxed = effect.IsSingle || keepsBox ? boxed | effect.Writes : boxed & ~effect.Writes;
        }
        return outcome;
    }
}

/// <summary>What an instruction does to the registers' states; sets have bit n for fn.</summary>
/// <param name="Singles">Registers read as boxed singles.</param>
/// <param name="Sources">All floating-point registers read.</param>
/// <param name="Writes">The register written, or none.</param>
/// <param name="IsSingle">The result is a boxed single.</param>
/// <param name="DirtyD">The result may be a double NaN that is not canonical.</param>
/// <param name="DirtyS">The same for single precision.</param>
/// <param name="IsCopy">The result is the source, but for its sign perhaps.</param>
/// <param name="Observed">Registers whose bits are seen, so that they become canonical.</param>
internal readonly record struct FloatEffect(
    uint Singles, uint Sources, uint Writes, bool IsSingle, bool DirtyD, bool DirtyS, bool IsCopy, uint Observed);

/// <summary>Effects by opcode.</summary>
internal static class FloatEffects
{
    [Flags]
    private enum Kind : ushort
    {
        None = 0, ReadsSingle = 1, ReadsFloat = 2, WritesSingle = 4, WritesDouble = 8, Dirty = 16, SignInjection = 32,
        Binary = 64, Fused = 128,
    }

    private static readonly Kind[] Table = Build();

    public static FloatEffect Of(in IrOp op)
    {
        Kind kind = Table[(int)op.Aux];
        uint sources = 0;
        // The fields of absent operands name f0.
        if ((kind & Kind.ReadsFloat) != 0) sources |= Bit(op.A);
        if ((kind & Kind.Binary) != 0) sources |= Bit(op.B);
        if ((kind & Kind.Fused) != 0) sources |= Bit(op.B) | Bit(op.C);
        uint writes = (kind & (Kind.WritesSingle | Kind.WritesDouble)) != 0 ? 1u << (op.Dst & 31) : 0;
        bool single = (kind & Kind.WritesSingle) != 0, dirty = (kind & Kind.Dirty) != 0;
        bool copy = (kind & Kind.SignInjection) != 0 && op.A == op.B;
        bool observes = (kind & Kind.SignInjection) != 0 ? !copy || op.Aux is Opcode.FsgnjnS or Opcode.FsgnjnD
            : op.Aux is Opcode.FmvXW or Opcode.FmvXD;
        uint observed = op.Aux is Opcode.Fsw or Opcode.Fsd ? Bit(op.B) : observes ? Bit(op.A) | sources : 0;
        return new FloatEffect((kind & Kind.ReadsSingle) != 0 ? sources : 0, sources, writes, single, dirty && !single, dirty && single, copy, observed);
    }

    private static uint Bit(byte register) => register >= 32 ? 1u << (register & 31) : 0;

    private static Kind[] Build()
    {
        var table = new Kind[(int)Opcode.Count];
        const Kind s = Kind.ReadsFloat | Kind.ReadsSingle, d = Kind.ReadsFloat, toS = Kind.WritesSingle, toD = Kind.WritesDouble;
        const Kind two = Kind.Binary, three = Kind.Fused;
        Set(s | two | toS | Kind.Dirty, [Opcode.FaddS, Opcode.FsubS, Opcode.FmulS, Opcode.FdivS]);
        Set(d | two | toD | Kind.Dirty, [Opcode.FaddD, Opcode.FsubD, Opcode.FmulD, Opcode.FdivD]);
        Set(s | toS | Kind.Dirty, [Opcode.FsqrtS, Opcode.FroundS, Opcode.FroundnxS]);
        Set(d | toD | Kind.Dirty, [Opcode.FsqrtD, Opcode.FroundD, Opcode.FroundnxD]);
        Set(s | three | toS, [Opcode.FmaddS, Opcode.FmsubS, Opcode.FnmsubS, Opcode.FnmaddS]);
        Set(d | three | toD, [Opcode.FmaddD, Opcode.FmsubD, Opcode.FnmsubD, Opcode.FnmaddD]);
        Set(s | two | toS, [Opcode.FminS, Opcode.FmaxS, Opcode.FminmS, Opcode.FmaxmS]);
        Set(d | two | toD, [Opcode.FminD, Opcode.FmaxD, Opcode.FminmD, Opcode.FmaxmD]);
        Set(s | two | toS | Kind.SignInjection, [Opcode.FsgnjS, Opcode.FsgnjnS, Opcode.FsgnjxS]);
        Set(d | two | toD | Kind.SignInjection, [Opcode.FsgnjD, Opcode.FsgnjnD, Opcode.FsgnjxD]);
        Set(s,
        [
            Opcode.FcvtWS, Opcode.FcvtWuS, Opcode.FcvtLS, Opcode.FcvtLuS, Opcode.FclassS,
        ]);
        Set(s | two, [Opcode.FeqS, Opcode.FltS, Opcode.FleS, Opcode.FleqS, Opcode.FltqS]);
        Set(d | toS | Kind.Dirty, [Opcode.FcvtSD]);
        Set(s | toD | Kind.Dirty, [Opcode.FcvtDS]);
        Set(toS, [Opcode.Flw, Opcode.FmvWX, Opcode.FliS, Opcode.FcvtSW, Opcode.FcvtSWu, Opcode.FcvtSL, Opcode.FcvtSLu]);
        Set(toD, [Opcode.Fld, Opcode.FmvDX, Opcode.FliD, Opcode.FcvtDW, Opcode.FcvtDWu, Opcode.FcvtDL, Opcode.FcvtDLu]);
        return table;

        void Set(Kind kind, ReadOnlySpan<Opcode> opcodes)
        {
            foreach (Opcode opcode in opcodes) table[(int)opcode] = kind;
        }
    }
}
