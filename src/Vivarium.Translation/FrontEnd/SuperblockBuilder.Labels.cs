using Vivarium.Translation.Ir;

namespace Vivarium.Translation.FrontEnd;

// Branches forward inside a block: the label is placed when the builder comes to its address. A label that it never comes to (the block
// ended before, or the address lies in the middle of an instruction) makes ordinary exits of the branches to it.
internal sealed partial class SuperblockBuilder
{
    private readonly PendingLabel[] _labels = new PendingLabel[IrBlock.MaxLabels];
    private int _labelCount;

    private struct PendingLabel
    {
        public ulong Pc;
        public int FirstBranch; // index of the first operation that leads here
        public bool IsPlaced;
    }

    /// <summary>The last operation, a branch or jump, leads to <paramref name="target"/> inside the block.</summary>
    private void GoToLabel(ulong target)
    {
        int label = 0;
        while (label < _labelCount && _labels[label].Pc != target) label++;
        // Straight code may follow a jump back to what lies in front of the label, and so come by a second time.
        if (label == IrBlock.MaxLabels || (label < _labelCount && _labels[label].IsPlaced)) return;
        int index = _block.Count - 1;
        if (label == _labelCount) _labels[_labelCount++] = new PendingLabel { Pc = target, FirstBranch = index };
        ref IrOp op = ref _block.Ops[index];
        op.Flags |= IrFlags.Internal;
        op.Label = label;
    }

    /// <summary>The next address from <paramref name="pc"/> on that a branch leads to; 0 for none before <paramref name="end"/>.</summary>
    private ulong NextLabel(ulong pc, ulong end)
    {
        ulong next = end;
        for (int i = 0; i < _labelCount; i++)
        {
            if (_labels[i].Pc >= pc && _labels[i].Pc < next) next = _labels[i].Pc;
        }
        return next == end ? 0 : next;
    }

    /// <summary>Places the label of the current guest instruction if a branch leads to it.</summary>
    private void PlaceLabel(ulong pc)
    {
        for (int label = 0; label < _labelCount; label++)
        {
            if (_labels[label].Pc != pc || _labels[label].IsPlaced) continue;
            _labels[label].IsPlaced = true;
            // Constants that were set since the first branch are not the same on all ways to here.
            uint written = 0;
            for (int i = _labels[label].FirstBranch; i < _block.Count; i++) written |= 1u << _block.Ops[i].Dst;
            _isConstant &= ~written | 1;
            _block.Add(IrCode.Label).Label = label;
            return;
        }
    }

    private void ResolveLabels()
    {
        _block.LabelCount = _labelCount;
        for (int i = 0; i < _block.Count; i++)
        {
            ref IrOp op = ref _block.Ops[i];
            // The lowering of floating point knows straight code only.
            if (op.IsInternal && (!_labels[op.Label].IsPlaced || _block.HasFloat)) op.Flags &= ~IrFlags.Internal;
            else if (op.Code == IrCode.Label && _block.HasFloat) op.Code = IrCode.Nop;
        }
    }
}
