using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Branches and jumps inside the block and out of it.
public sealed unsafe partial class CodeGenerator
{
    /// <summary>A label: what all ways to it have in common.</summary>
    private struct InternalLabel
    {
        public Label Label;
        public uint Pending, Known32;
        public int FirstBranch; // index of the operation
        public bool IsUsed;
    }

    private readonly InternalLabel[] _labels = new InternalLabel[IrBlock.MaxLabels];

    /// <summary>To a label further down, when a condition holds. The first way to a label decides which registers may arrive there with their
    /// upper half unwritten: those that are not written on the way either. All others are sign-extended before.</summary>
    private void GoTo(in IrOp op, Cond? condition)
    {
        ref InternalLabel to = ref _labels[op.Label];
        if (!to.IsUsed)
        {
            to.IsUsed = true;
            to.Known32 = uint.MaxValue;
            to.FirstBranch = _opIndex;
            to.Pending = _pending & ~WrittenBefore(op.Label);
        }
        Arrive(ref to);
        if (condition is { } c) _asm.Jcc(c, ref to.Label);
        else _asm.Jmp(ref to.Label);
    }

    /// <summary>Registers written on some way to a label, from here or from branches further up that lead between here and there.</summary>
    private uint WrittenBefore(int label)
    {
        uint written = 0;
        int from = _opIndex, to = from + 1, scanned = from;
        while (true)
        {
            for (int i = scanned; i < to; i++) written |= 1u << _block.Ops[i].Dst;
            scanned = to;
            ref readonly IrOp op = ref _block.Ops[to++];
            if (op.Code != IrCode.Label) continue;
            if (op.Label == label) return written;
            ref readonly InternalLabel other = ref _labels[op.Label];
            if (!other.IsUsed || other.FirstBranch >= from) continue;
            for (int i = other.FirstBranch; i < from; i++) written |= 1u << _block.Ops[i].Dst;
            from = other.FirstBranch;
        }
    }

    /// <summary>Makes the state here fit the label's. Leaves the flags alone.</summary>
    private void Arrive(ref InternalLabel to)
    {
        CanonicalAll(_pending & ~to.Pending);
        _pending &= to.Pending;
        to.Known32 &= _known32;
    }

    private void PlaceLabel(in IrOp op)
    {
        ref InternalLabel label = ref _labels[op.Label];
        if (!label.IsUsed) return; // conditional moves took its branches' place
        if (_block.Ops[_opIndex - 1].Code is not (IrCode.Jump or IrCode.JumpIndirect or IrCode.Ecall or IrCode.FenceI or IrCode.Interpret)) Arrive(ref label);
        _pending = label.Pending;
        _known32 = label.Known32;
        _asm.Bind(ref label.Label);
    }

    private void Branch(in IrOp op)
    {
        if (op.IsInternal)
        {
            if (!TryConditionalMoves(op)) GoTo(op, Compare(op, op.Condition));
            return;
        }
        if (_block.IsLoop && op.Target == _block.Start)
        {
            // The jump back enters where every register is whole; sign extensions leave the flags alone, but must not run twice.
            CanonicalAll(_pending);
            _pending = 0;
            if (Floats.FlushForLoop()) _comparedFloat = 0;
        }
        if (IsOnFloatFlags(op, out Cond condition))
        {
            ExitTo(condition, op.Target);
            return;
        }
        ExitTo(Compare(op, op.Condition), op.Target);
    }

    /// <summary>Looks the target up in the jump table: the code of a table slot is found by its guest address in front of the entry.</summary>
    private void JumpIndirect(in IrOp op)
    {
        Floats.Flush();
        if (InRegister(op.A) && op.Imm != 0) _asm.Lea(Rax, Mem.At(Read64(op.A, Rax), (int)op.Imm));
        else
        {
            Load64(Rax, op.A);
            if (op.Imm != 0) _asm.Add(Rax, (int)op.Imm);
        }
        if (op.Dst != 0)
        {
            if (InRegister(op.Dst))
            {
                _asm.MovImmediate(HostOf(op.Dst), (long)op.Target);
                Finish64(op.Dst, HostOf(op.Dst));
            }
            else
            {
                _asm.MovImmediate(Rcx, (long)op.Target);
                _asm.Mov(RegisterMap.Home(op.Dst), Rcx);
            }
        }
        CanonicalAll(_pending);
        _pending = 0;
        RestoreMapping();
        EmitTableJump();
    }
}
