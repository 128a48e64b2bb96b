using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Memory of a machine: loads and stores look their page up in the hart's TLB (HartTlb). A miss calls the engine, which fills the entry, and tries
// again; where it cannot (a trap, a device, an access across pages, a store to translated code), the interpreter executes the instruction.
public sealed unsafe partial class CodeGenerator
{
    private const int PageSize = 4096, BlockSize = 64;

    private static readonly int DataTlb = HartStateLayout.DataTlb - RegisterMap.ContextBias;

    /// <summary>A lookup's way out of the hot path.</summary>
    private struct MissPlan
    {
        public Label Cold;
        public int Retry; // offset of the lookup
        public int Exit;  // index of the exit to the interpreter
        public int Size;
        public bool IsStore;
    }

    private readonly MissPlan[] _misses = new MissPlan[IrBlock.MaxGuestInstructions * 4];
    private int _missCount;

    /// <summary>The code is a machine's: memory goes through the TLB, and other pages may be mapped elsewhere when control gets there.</summary>
    internal bool IsMachine { get; set; }

    /// <summary>The memory operand of an access, by way of the TLB: based on rax. Clobbers rcx and the flags.</summary>
    private Mem Lookup(in IrOp op, int size, bool isStore, long offset)
    {
        bool absolute = (op.Flags & IrFlags.Absolute) != 0;
        if (!absolute && InRegister(op.A)) Canonical(op.A);
        int index = _missCount++;
        ref MissPlan miss = ref _misses[index];
        miss = default;
        miss.Retry = _asm.Offset;
        miss.Size = size;
        miss.IsStore = isStore;
        miss.Exit = _exitCount;
        ref ExitPlan exit = ref NewExit(_block.GuestPc[op.Guest], BlockExit.Interpret);
        exit.Deferred = true;
        exit.Restore = _ownMapping;
        exit.Pending = _pending;
        exit.Float = Floats.State;

        if (absolute || op.A == 0) _asm.MovImmediate(Rax, offset);
        else if (InRegister(op.A))
        {
            if (offset == 0) _asm.Mov(Rax, HostOf(op.A));
            else _asm.Lea(Rax, Mem.At(HostOf(op.A), (int)offset));
        }
        else
        {
            _asm.Mov(Rax, RegisterMap.Home(op.A));
            if (offset != 0) _asm.Add(Rax, (int)offset);
        }
        if (size == BlockSize) _asm.And(Rax, -BlockSize);
        // HartTlb.SlotOf; 32 bytes an entry.
        _asm.Mov(Rcx, Rax);
        _asm.Shr(Rcx, HartTlb.MixShift);
        _asm.Xor32(Rcx, Rax);
        _asm.Shr32(Rcx, 12 - 5);
        _asm.And32(Rcx, (HartTlb.Entries - 1) << 5);
        _asm.Add(Rcx, Mem.At(RegisterMap.Context, DataTlb));
        _asm.Sub(Rax, Mem.At(Rcx, isStore ? 8 : 0));
        _asm.Cmp(Rax, PageSize - size);
        _asm.Jcc(Cond.A, ref miss.Cold);
        _asm.Add(Rax, Mem.At(Rcx, 24));
        return Mem.At(RegisterMap.MemoryBase, Rax, 0);
    }

    /// <summary>The same for atomics, which are aligned: the operand is based on rcx, and its low 12 bits are the address's.</summary>
    private Mem LookupAtomic(in IrOp op)
    {
        Lookup(op, op.Width, isStore: true, 0);
        _asm.Mov(Rcx, Rax);
        return Mem.At(RegisterMap.MemoryBase, Rcx, 0);
    }

    private void EmitMisses()
    {
        for (int i = 0; i < _missCount; i++)
        {
            ref MissPlan miss = ref _misses[i];
            _asm.Bind(ref miss.Cold);
            _asm.Add(Rax, Mem.At(Rcx, miss.IsStore ? 8 : 0)); // the address again
            _asm.MovImmediate(Rcx, miss.Size << 1 | (miss.IsStore ? 1 : 0));
            _asm.CallTo((long)(_stubs.Miss - (ulong)_asm.Start));
            _asm.Jcc(Cond.E, ref _exits[miss.Exit].Cold);
            _asm.JmpTo(miss.Retry);
        }
    }

    /// <summary>At the entry of a block with floating point: whether that can run as the hart is now.</summary>
    private void CheckFloat()
    {
        ref ExitPlan exit = ref NewExit(_block.Start, BlockExit.FloatOff);
        exit.Deferred = true;
        exit.Float = Floats.State;
        _asm.Cmp32(Mem.At(RegisterMap.Context, HartStateLayout.FloatReady - RegisterMap.ContextBias), 0);
        _asm.Jcc(Cond.E, ref exit.Cold);
    }

    /// <summary>Whether a direct jump may be patched to lead straight to its target: pages are mapped independently of each other.</summary>
    private bool MayLink(ulong target) => !IsMachine || target >> 12 == _block.Start >> 12;

    /// <summary>A direct jump to another page: looked up like an indirect one.</summary>
    private void EmitLookupJump(ulong target)
    {
        _asm.MovImmediate(Rax, (long)target);
        EmitTableJump();
    }

    /// <summary>Goes to the block of the guest address in rax by the jump table.</summary>
    private void EmitTableJump() => TableJump.Emit(_asm, _stubs);
}
