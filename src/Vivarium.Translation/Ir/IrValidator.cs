namespace Vivarium.Translation.Ir;

/// <summary>Checks what every pass must keep true; tests switch it on.</summary>
public static class IrValidator
{
    /// <exception cref="InvalidOperationException">The block is malformed; the message names the operation.</exception>
    public static void Validate(IrBlock block)
    {
        if (block.Count == 0) throw new InvalidOperationException("empty block");
        int guest = 0;
        uint labels = 0, wanted = 0;
        for (int i = 0; i < block.Count; i++)
        {
            ref readonly IrOp op = ref block.Ops[i];
            bool last = i == block.Count - 1;
            if (op.Guest < guest || op.Guest >= block.GuestCount) throw Bad(op, i, "guest index out of order");
            guest = op.Guest;
            bool ends = op.Code is IrCode.Jump or IrCode.JumpIndirect or IrCode.Ecall or IrCode.FenceI or IrCode.Interpret;
            if (last && (!ends || op.IsInternal)) throw Bad(op, i, "the last operation must leave the block");
            if (ends && !last && block.Ops[i + 1].Code != IrCode.Label) throw Bad(op, i, "the block goes on after an exit");
            if (op.Code == IrCode.Label && (op.Label >= block.LabelCount || (labels >> op.Label & 1) != 0)) throw Bad(op, i, "label out of range or placed twice");
            if (op.Code == IrCode.Label) labels |= 1u << op.Label;
            if (op.IsInternal && (labels >> op.Label & 1) != 0) throw Bad(op, i, "an internal branch must lead forward");
            if (op.IsInternal) wanted |= 1u << op.Label;
            if (op.Dst >= 64 || op.A >= 64 || op.B >= 64) throw Bad(op, i, "no such register");
            bool isFloat = op.Code is IrCode.Float;
            if (!isFloat && (op.Dst >= 32 || op.A >= 32 || op.B >= 32)) throw Bad(op, i, "floating-point register in an integer operation");
            if (op.HasImmB && op.Imm != (int)op.Imm) throw Bad(op, i, "immediate does not fit 32 bits");
            if (op.Code is IrCode.Load or IrCode.Store && op.Width is not (1 or 2 or 4 or 8)) throw Bad(op, i, "bad width");
            if ((op.Flags & IrFlags.Indexed) != 0 && (op.Code != IrCode.Load || op.C > 7 || (op.Flags & (IrFlags.Halves | IrFlags.Absolute | IrFlags.Check)) != 0)) throw Bad(op, i, "bad index");
            if (op.Code is IrCode.ShAdd or IrCode.ShAddUw && op.C > 3) throw Bad(op, i, "shift out of range");
            if (op.Code == IrCode.Branch && op.C > 5) throw Bad(op, i, "bad condition");
        }
        if ((wanted & ~labels) != 0) throw new InvalidOperationException("an internal branch leads to a label that is nowhere");
    }

    private static InvalidOperationException Bad(in IrOp op, int index, string why) => new($"IR operation {index} ({IrDumper.Line(op)}): {why}");
}
