using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Checks that base registers point into the memory window. One that does not ends in an instruction that faults, behind the block's
// code: so the interpreter executes the guest's instruction, and its bounds check traps.
public sealed unsafe partial class CodeGenerator
{
    private static readonly int MemorySize = HartStateLayout.MemorySize - RegisterMap.ContextBias;

    private readonly AddressCheck[] _checks = new AddressCheck[IrBlock.MaxGuestInstructions * 2];
    private int _checkCount;

    private struct AddressCheck
    {
        public Label Failed;
        public FaultPoint Point;
        public ulong Deferred;
    }

    /// <summary>In front of a loop.</summary>
    private void CheckHoisted(uint registers)
    {
        for (; registers != 0; registers &= registers - 1)
            CheckAddress(System.Numerics.BitOperations.TrailingZeroCount(registers), _block.Ops[0]);
    }

    private void CheckAddress(int g, in IrOp op)
    {
        Gpr address = Read64(g, Rax);
        ref AddressCheck check = ref _checks[_checkCount++];
        check.Failed = default;
        check.Point = FaultPointOf(op);
        check.Deferred = _deferred;
        _asm.Alu(AluOp.Cmp, Size.S64, address, Mem.At(RegisterMap.Context, MemorySize));
        _asm.Jcc(Cond.Ae, ref check.Failed);
    }

    private void EmitFailedChecks()
    {
        for (int i = 0; i < _checkCount; i++)
        {
            ref AddressCheck check = ref _checks[i];
            _asm.Bind(ref check.Failed);
            check.Point.CodeOffset = (uint)(_asm.Offset - EntryOffset);
            NewFault() = check.Point;
            _deferred = check.Deferred;
            if (_deferred != 0) DescribeDeferred(check.Point.CodeOffset);
            _asm.Raw([0xF4]); // hlt: a general protection fault
        }
    }
}
