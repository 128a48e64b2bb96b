using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Branches and jumps out of the block.
public sealed unsafe partial class CodeGenerator
{
    private void Branch(in IrOp op)
    {
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
        // Bit 0 of the target is ignored by the table index, and an odd target then misses: the dispatcher clears it.
        _asm.Lea32(Rcx, Mem.At(Rax, Rax, 0));
        _asm.And32(Rcx, JumpTable.OffsetMask);
        _asm.Add(Rcx, EngineSlots.At(EngineSlots.JumpTable));
        _asm.Mov32(Rcx, Mem.At(Rcx));
        _asm.Add(Rcx, EngineSlots.At(EngineSlots.CodeBase));
        _asm.Cmp(Mem.At(Rcx, -8), Rax);
        _asm.JccTo(Cond.Ne, (long)(_stubs.Exit(BlockExit.Indirect) - (ulong)_asm.Start));
        _asm.Jmp(Rcx);
    }
}
