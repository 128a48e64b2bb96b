using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Memory of a machine: loads and stores look their page up in the hart's TLB (HartTlb), whose table r15 holds, or in a near page of the hart's state. What does
// not hit calls the miss stub, which looks farther and fills; where it cannot (a trap, a device, an access across pages, a store to translated code), the
// interpreter executes the instruction.
public sealed unsafe partial class CodeGenerator
{
    private const int PageSize = 4096, BlockSize = 64, EntryBits = 5, SlotMask = (HartTlb.Entries - 1) << EntryBits, AddendOffset = 24;

    private static readonly int DataTlb = HartStateLayout.DataTlb - RegisterMap.ContextBias;

    /// <summary>A lookup's way out of the hot path.</summary>
    private struct MissPlan
    {
        public Label Cold;
        public int Back; // offset of the code that uses the addend
        public int Exit; // index of the exit to the interpreter
        public int Access;
        public Gpr Base;       // the guest's base register where it is in a host register
        public sbyte Home;     // where it is not: its number; x0 for none
        public bool InMemory, IsBlock;
        public byte Group; // base register of the group that it begins
        public bool Again; // looks its page up in the TLB before it calls the stub: it was not in a near page, or the group was in two
        public bool Near, Store;
        public long Offset, Last; // of its first byte and its last
        public int Low, High;     // of the group's
    }

    private readonly MissPlan[] _misses = new MissPlan[IrBlock.MaxGuestInstructions * 4];
    private int _missCount;

    /// <summary>The code is a machine's: memory goes through the TLB, and other pages may be mapped elsewhere when control gets there.</summary>
    internal bool IsMachine { get; set; }

    /// <summary>The memory operand of an access, by way of the TLB: based on rax, which holds the addend, and the base register where that is in one. Clobbers
    /// rcx and the flags.</summary>
    private Mem Lookup(in IrOp op, int size, bool isStore, long offset)
    {
        bool absolute = (op.Flags & IrFlags.Absolute) != 0 || op.A == 0, inRegister = !absolute && InRegister(op.A);
        if (inRegister) Canonical(op.A);
        int index = _missCount++;
        ref MissPlan miss = ref _misses[index];
        miss = default;
        miss.Exit = _exitCount;
        ref ExitPlan exit = ref NewExit(_block.GuestPc[op.Guest], BlockExit.Interpret);
        exit.Deferred = true;
        exit.Restore = _ownMapping;
        exit.Pending = _pending;
        exit.Float = Floats.State;
        (miss.Offset, miss.Last, miss.Store) = (offset, offset + size - 1, isStore);
        miss.IsBlock = size == BlockSize;
        miss.InMemory = !inRegister;
        miss.Home = absolute ? (sbyte)0 : (sbyte)op.A;
        if (inRegister) miss.Base = HostOf(op.A);
        int tag = isStore ? 8 : 0, near = absolute || miss.IsBlock ? -1 : NearPage(op, isStore);
        miss.Access = (near + 1) << MissAccess.NearShift | size << MissAccess.SizeShift | (isStore ? MissAccess.Store : 0);
        if (absolute && (offset & PageSize - 1) + size <= PageSize)
        {
            int slot = HartTlb.SlotOf((ulong)offset) << EntryBits;
            long page = offset & -PageSize;
            if (page == (int)page) _asm.Cmp(Mem.At(RegisterMap.MemoryBase, slot + tag), (int)page);
            else
            {
                _asm.MovImmediate(Rax, page);
                _asm.Cmp(Rax, Mem.At(RegisterMap.MemoryBase, slot + tag));
            }
            _asm.Jcc(Cond.Ne, ref miss.Cold);
            _asm.Mov(Rax, Mem.At(RegisterMap.MemoryBase, slot + AddendOffset));
            miss.Back = _asm.Offset;
            return WithOffset(offset);
        }
        bool isGrouped = IsGrouped(op, out _, out _) && !miss.IsBlock;
        if (isGrouped && Follows(op.A, isStore, offset, size))
        {
            miss.Access &= (1 << MissAccess.NearShift) - 1;
            miss.Again = true;
            _asm.Mov(Rax, GroupAddend(op.A));
            _asm.Test8(Rax, 1);
            _asm.Jcc(Cond.Ne, ref miss.Cold);
            return AtBack(ref miss, op);
        }
        long low = offset, high = offset + size - 1;
        if (isGrouped && FindGroup(op, isStore, size, out long first, out long last) is var followers && followers >= (near >= 0 ? 3 : 1))
        {
            (low, high) = (first, last);
            (miss.Group, miss.Low, miss.High) = (op.A, (int)first, (int)last);
        }
        miss.Near = near >= 0;
        miss.Again = miss.Near || miss.Group != 0;
        if (near >= 0)
        {
            if (miss.Group == 0)
            {
                PutAddress(miss, offset);
                // Where it is misaligned it never hits: so it does not cross into the next page.
                _asm.And(Rax, -PageSize | size - 1);
                _asm.Cmp(Rax, NearTag(near));
                _asm.Jcc(Cond.Ne, ref miss.Cold);
            }
            else
            {
                TryNear(near, op.A, low, ref miss.Cold);
                TryNear(near, op.A, high, ref miss.Cold);
            }
            _asm.Mov(Rax, State(HartStateLayout.NearAddends + near * 8));
        }
        else
        {
            bool isDirect = inRegister && !miss.IsBlock;
            Gpr address = Rax; // of the first byte
            if (isDirect)
            {
                address = miss.Base;
                if (low != 0)
                {
                    _asm.Lea32(Rcx, Mem.At(address, (int)low));
                    address = Rcx;
                }
            }
            else
            {
                PutAddress(miss, low);
            }
            PutSlot(address);
            if (!isDirect)
            {
                if (high != low && !miss.IsBlock) _asm.Add(Rax, (int)(high - low));
            }
            else if (high == 0) _asm.Mov(Rax, miss.Base);
            else _asm.Lea(Rax, Mem.At(miss.Base, (int)high));
            _asm.And(Rax, -PageSize);
            _asm.Cmp(Rax, Mem.At(RegisterMap.MemoryBase, Rcx, 0, tag));
            _asm.Jcc(Cond.Ne, ref miss.Cold);
            _asm.Mov(Rax, Mem.At(RegisterMap.MemoryBase, Rcx, 0, AddendOffset));
        }
        if (miss.Group != 0)
        {
            _asm.Mov(GroupAddend(miss.Group), Rax);
            BeginGroup(miss.Group, isStore, low, high);
        }
        return AtBack(ref miss, op);
    }

    /// <summary>With the addend in rax.</summary>
    private Mem AtBack(ref MissPlan miss, in IrOp op)
    {
        miss.Back = _asm.Offset;
        if (miss.Home == 0) return WithOffset(miss.Offset);
        if (miss.IsBlock)
        {
            Load64(Rcx, op.A);
            _asm.And(Rcx, -BlockSize);
            return Mem.At(Rax, Rcx, 0);
        }
        if (!miss.InMemory) return Mem.At(Rax, miss.Base, 0, (int)miss.Offset);
        _asm.Add(Rax, RegisterMap.Home(op.A));
        return Mem.At(Rax, (int)miss.Offset);
    }

    /// <summary>Goes to the label where register + offset is not in a near page.</summary>
    private void TryNear(int near, int g, long offset, ref Label cold)
    {
        if (!InRegister(g))
        {
            _asm.Mov(Rax, RegisterMap.Home(g));
            if (offset != 0) _asm.Add(Rax, (int)offset);
        }
        else if (offset == 0) _asm.Mov(Rax, HostOf(g));
        else _asm.Lea(Rax, Mem.At(HostOf(g), (int)offset));
        _asm.And(Rax, -PageSize);
        _asm.Cmp(Rax, NearTag(near));
        _asm.Jcc(Cond.Ne, ref cold);
    }

    private Mem WithOffset(long offset)
    {
        if (offset == (int)offset) return Mem.At(Rax, (int)offset);
        _asm.MovImmediate(Rcx, offset);
        _asm.Add(Rax, Rcx);
        return Mem.At(Rax);
    }

    /// <summary>rcx = the distance of an address's entry from the table's beginning.</summary>
    private void PutSlot(Gpr address)
    {
        if (address != Rcx && HostFeatures.HasBmi2) _asm.Rorx32(Rcx, address, 12 - EntryBits);
        else
        {
            if (address != Rcx) _asm.Mov32(Rcx, address);
            _asm.Shr32(Rcx, 12 - EntryBits);
        }
        _asm.And32(Rcx, SlotMask);
    }

    /// <summary>rax = the addend of a page that has all bytes between two offsets, by the TLB's first half.</summary>
    private void PutAddend(in MissPlan miss, long first, long last, ref Label otherwise)
    {
        PutAddress(miss, first);
        PutSlot(Rax);
        if (first != last) _asm.Add(Rax, (int)(last - first));
        _asm.And(Rax, -PageSize);
        _asm.Cmp(Rax, Mem.At(RegisterMap.MemoryBase, Rcx, 0, miss.Store ? 8 : 0));
        _asm.Jcc(Cond.Ne, ref otherwise);
        _asm.Mov(Rax, Mem.At(RegisterMap.MemoryBase, Rcx, 0, AddendOffset));
    }

    /// <summary>rax = the base register and an offset.</summary>
    private void PutAddress(in MissPlan miss, long offset)
    {
        if (miss.Home == 0) _asm.MovImmediate(Rax, offset);
        else if (!miss.InMemory)
        {
            if (offset == 0) _asm.Mov(Rax, miss.Base);
            else _asm.Lea(Rax, Mem.At(miss.Base, (int)offset));
        }
        else
        {
            _asm.Mov(Rax, RegisterMap.Home(miss.Home));
            if (offset != 0) _asm.Add(Rax, (int)offset);
        }
        if (miss.IsBlock) _asm.And(Rax, -BlockSize);
    }

    /// <summary>The same for atomics, which are aligned: the operand is at rcx, whose low 12 bits are the address's.</summary>
    private Mem LookupAtomic(in IrOp op)
    {
        _asm.Lea(Rcx, Lookup(op, op.Width, isStore: true, 0));
        return Mem.At(Rcx);
    }

    private void EmitMisses()
    {
        for (int i = 0; i < _missCount; i++)
        {
            ref MissPlan miss = ref _misses[i];
            _asm.Bind(ref miss.Cold);
            Label stub = default;
            if (miss.Again)
            {
                // What alternates between two pages (a stack frame across their border) is not to change the near page each time: one miss of a few does, in the stub.
                if (miss.Near)
                {
                    _asm.Sub32(State(HartStateLayout.NearPatience), 1);
                    _asm.Jcc(Cond.S, ref stub);
                }
                if (miss.Group != 0)
                {
                    if (miss.Near)
                    {
                        Label apart = default;
                        PutAddend(miss, miss.Low, miss.High, ref apart);
                        _asm.Mov(GroupAddend(miss.Group), Rax);
                        _asm.JmpTo(miss.Back);
                        _asm.Bind(ref apart);
                    }
                    _asm.Mov(GroupAddend(miss.Group), 1);
                }
                PutAddend(miss, miss.Offset, miss.Last, ref stub);
                _asm.JmpTo(miss.Back);
                _asm.Bind(ref stub);
            }
            PutAddress(miss, miss.Offset);
            _asm.MovImmediate(Rcx, miss.Access);
            _asm.CallTo((long)(_stubs.Miss - (ulong)_asm.Start));
            _asm.Jcc(Cond.E, ref _exits[miss.Exit].Cold);
            if (miss.Group != 0) _asm.Mov(GroupAddend(miss.Group), 1);
            _asm.JmpTo(miss.Back);
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
