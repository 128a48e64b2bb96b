using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Atomics. x86's locked instructions are sequentially consistent, which covers every combination of aq and rl.
public sealed unsafe partial class CodeGenerator
{
    private static readonly int ReservationAddress = HartStateLayout.ReservationAddress - RegisterMap.ContextBias;
    private static readonly int ReservationVersion = HartStateLayout.ReservationVersion - RegisterMap.ContextBias;
    private static readonly int ReservationTable = HartStateLayout.ReservationTable - RegisterMap.ContextBias;
    private static readonly int ReservationValue = HartStateLayout.ReservationValue - RegisterMap.ContextBias;

    /// <summary>The address of an atomic in a register (its own or rcx); misaligned ones leave to the interpreter, which traps.</summary>
    private Mem AtomicAddress(in IrOp op, out Gpr address)
    {
        address = Read64(op.A, Rcx);
        _asm.Test32(address, op.Width - 1);
        ExitAt(Cond.Ne, BlockExit.Interpret, op);
        if (IsMachine)
        {
            address = Rcx;
            return LookupAtomic(op);
        }
        return Mem.At(RegisterMap.MemoryBase, address, 0);
    }

    /// <summary>As <see cref="AtomicAddress"/>, for an instruction that changes memory without a reservation of its own: where somebody else may
    /// have one, the interpreter executes it. Uses rax.</summary>
    private Mem WatchedAddress(in IrOp op, out Gpr address)
    {
        Mem m = AtomicAddress(op, out address);
        Label unused = default;
        _asm.Mov(Rax, Mem.At(RegisterMap.Context, ReservationTable));
        _asm.Test8(Mem.At(Rax, Reservations.InUseOffset), 1);
        _asm.JccShort(Cond.E, ref unused);
        ReservationVersionOf(Rax, address);
        _asm.Test8(Mem.At(Rax), Reservations.Watched);
        ExitAt(Cond.Ne, BlockExit.Interpret, op);
        _asm.Bind(ref unused);
        return m;
    }

    private static Size SizeOf(in IrOp op) => op.Width == 8 ? Size.S64 : Size.S32;

    /// <summary>The old memory value in rax becomes the result.</summary>
    private void FinishAtomic(in IrOp op)
    {
        if (op.Dst == 0) return;
        if (op.Width == 4) _asm.Movsxd(Rax, Rax);
        Finish64(op.Dst, Rax, op.Width == 4);
    }

    /// <summary>The address of the version that stands for <paramref name="address"/> in <see cref="Reservations"/>.</summary>
    private void ReservationVersionOf(Gpr d, Gpr address)
    {
        _asm.Mov(d, address);
        _asm.And32(d, Reservations.AddressMask);
        _asm.Shl32(d, 3);
        _asm.Add(d, Mem.At(RegisterMap.Context, ReservationTable));
    }

    private void LoadReserved(in IrOp op)
    {
        Mem m = AtomicAddress(op, out Gpr address);
        // The first one of all tells all harts to look out: the interpreter does that.
        _asm.Mov(Rax, Mem.At(RegisterMap.Context, ReservationTable));
        _asm.Test8(Mem.At(Rax, Reservations.InUseOffset), 1);
        ExitAt(Cond.E, BlockExit.Interpret, op);
        Label again = default, watched = default;
        _asm.Bind(ref again);
        ReservationVersionOf(Rax, address);
        _asm.Test8(Mem.At(Rax), Reservations.Watched);
        _asm.JccShort(Cond.Ne, ref watched);
        _asm.Raw([0xF0, 0x48, 0x0F, 0xBA, 0x28, 0x01]); // lock bts qword [rax], 1
        _asm.Bind(ref watched);
        _asm.Mov(Rax, Mem.At(Rax));
        _asm.Test8(Rax, Reservations.Watched);
        _asm.JccShort(Cond.E, ref again);
        _asm.Mov(Mem.At(RegisterMap.Context, ReservationVersion), Rax);
        MayFault(op);
        if (op.Width == 4) _asm.Movsxd(Rax, m);
        else _asm.Mov(Rax, m);
        _asm.Mov(Mem.At(RegisterMap.Context, ReservationAddress), address);
        _asm.Mov(Mem.At(RegisterMap.Context, ReservationValue), Rax);
        Finish64(op.Dst, Rax, op.Width == 4);
    }

    private void StoreConditional(in IrOp op)
    {
        Mem m = AtomicAddress(op, out Gpr address);
        int saved = FreeRdx();
        if (saved != 0 && address == Rdx)
        {
            _asm.Mov(Rcx, Rdx);
            address = Rcx;
            m = Mem.At(RegisterMap.MemoryBase, Rcx, 0);
        }
        Label fail = default, stale = default, done = default;
        ReservationVersionOf(Rdx, address);
        _asm.Mov(Rax, Mem.At(RegisterMap.Context, ReservationVersion));
        _asm.Cmp(Mem.At(RegisterMap.Context, ReservationAddress), address);
        _asm.Jcc(Cond.Ne, ref fail);
        _asm.Raw([0xF0, 0x48, 0x0F, 0xBA, 0x2A, 0x00]); // lock bts qword [rdx], 0
        _asm.Jcc(Cond.B, ref fail);
        _asm.Or(Rax, 1);
        _asm.Cmp(Rax, Mem.At(Rdx));
        _asm.Jcc(Cond.Ne, ref stale);
        _asm.Mov(EngineSlots.At(EngineSlots.HeldReservation), Rdx);
        Load64(Rdx, op.B);
        _asm.Mov(Rax, Mem.At(RegisterMap.Context, ReservationValue));
        MayFault(op);
        _asm.LockCmpxchg(SizeOf(op), m, Rdx);
        _asm.Setcc(Cond.Ne, Rax);
        _asm.Movzx8(Rax, Rax);
        // Unlocked with the next version, unwatched, even where the value was another: that only makes others try again.
        _asm.Mov(Rdx, EngineSlots.At(EngineSlots.HeldReservation));
        _asm.Add(Mem.At(Rdx), 1);
        _asm.Mov(EngineSlots.At(EngineSlots.HeldReservation), 0);
        _asm.Jmp(ref done);
        _asm.Bind(ref stale);
        _asm.Raw([0xF0, 0x48, 0x0F, 0xBA, 0x32, 0x00]); // lock btr qword [rdx], 0
        _asm.Bind(ref fail);
        _asm.MovImmediate(Rax, 1);
        _asm.Bind(ref done);
        EndReservation();
        Finish64(op.Dst, Rax, true);
        RestoreRdx(saved);
    }

    private void Exchange(in IrOp op)
    {
        Mem m = WatchedAddress(op, out _);
        Load64(Rax, op.B);
        MayFault(op);
        if (op.Code == IrCode.AmoSwap) _asm.Xchg(SizeOf(op), m, Rax);
        else if (op.Dst == 0) _asm.LockAlu(AluOp.Add, SizeOf(op), m, Rax);
        else _asm.LockXadd(SizeOf(op), m, Rax);
        FinishAtomic(op);
    }

    private void AtomicLoop(in IrOp op)
    {
        Mem m = WatchedAddress(op, out Gpr address);
        Size size = SizeOf(op);
        if (op.Dst == 0 && op.Code is IrCode.AmoXor or IrCode.AmoAnd or IrCode.AmoOr && op.Dst == 0)
        {
            Load64(Rax, op.B);
            MayFault(op);
            _asm.LockAlu(op.Code == IrCode.AmoXor ? AluOp.Xor : op.Code == IrCode.AmoAnd ? AluOp.And : AluOp.Or, size, m, Rax);
            return;
        }
        int saved = FreeRdx();
        if (saved != 0 && address == Rdx)
        {
            _asm.Mov(Rcx, Rdx);
            m = Mem.At(RegisterMap.MemoryBase, Rcx, 0);
        }
        MayFault(op);
        if (size == Size.S64) _asm.Mov(Rax, m);
        else _asm.Mov32(Rax, m);
        Label again = default;
        _asm.Bind(ref again);
        if (op.Code is IrCode.AmoXor or IrCode.AmoAnd or IrCode.AmoOr)
        {
            _asm.Mov(Rdx, Rax);
            AluOp alu = op.Code == IrCode.AmoXor ? AluOp.Xor : op.Code == IrCode.AmoAnd ? AluOp.And : AluOp.Or;
            if (size == Size.S64) AluKeepingState(alu, Rdx, op.B);
            else Alu32(alu, Rdx, op.B);
        }
        else
        {
            Cond keepOld = op.Code switch
            {
                IrCode.AmoMin => Cond.L,
                IrCode.AmoMax => Cond.G,
                IrCode.AmoMinU => Cond.B,
                _ => Cond.A,
            };
            Load64(Rdx, op.B);
            if (size == Size.S64) _asm.Cmp(Rax, Rdx);
            else _asm.Cmp32(Rax, Rdx);
            _asm.Cmov(keepOld, Rdx, Rax);
        }
        MayFault(op);
        _asm.LockCmpxchg(size, m, Rdx);
        _asm.Jcc(Cond.Ne, ref again);
        FinishAtomic(op);
        RestoreRdx(saved);
    }

    /// <summary>As <see cref="Alu64"/> without changing what is known of g: for code that is emitted once and runs several times.</summary>
    private void AluKeepingState(AluOp op, Gpr d, int g)
    {
        if ((_pending >> g & 1) == 0)
        {
            Alu64(op, d, g);
            return;
        }
        // Sign-extending g twice does no harm; what counts is that the loop's first and later rounds see the same code.
        _asm.Movsxd(HostOf(g), HostOf(g));
        _asm.Alu(op, Size.S64, d, HostOf(g));
    }

    private void AtomicCompareExchange(in IrOp op)
    {
        Mem m = WatchedAddress(op, out _);
        int saved = ValueOf(op, ref m, out Gpr value);
        Load64(Rax, op.Dst);
        MayFault(op);
        _asm.LockCmpxchg(SizeOf(op), m, value);
        FinishAtomic(op);
        RestoreRdx(saved);
    }

    private void EndReservation() => _asm.Mov(Mem.At(RegisterMap.Context, ReservationAddress), -1);

    /// <summary>lr; bne; sc as one locked instruction. It is the load-reserved's as far as faults go: the interpreter then executes that one alone.</summary>
    private void CompareExchange(in IrOp op)
    {
        if (_block.IsLoop && op.Target == _block.Start)
        {
            // The jump back enters where every register is whole.
            CanonicalAll(_pending);
            _pending = 0;
            Floats.FlushForLoop();
        }
        Mem m = WatchedAddress(op, out _);
        int expected = op.C;
        if (op.Width == 4 && expected != 0 && (_known32 >> expected & 1) == 0)
        {
            // The branch compares 64 bits with a sign-extended word: another value never matches, which cmpxchg would not see.
            Load64(Rax, expected);
            _asm.Movsxd(Rax, Rax);
            if (InRegister(expected)) _asm.Cmp(Rax, Read64(expected, Rax));
            else _asm.Cmp(Rax, RegisterMap.Home(expected));
            ExitAt(Cond.Ne, BlockExit.Interpret, op);
        }
        int saved = ValueOf(op, ref m, out Gpr value);
        Load64(Rax, expected);
        MayFault(op);
        _asm.LockCmpxchg(SizeOf(op), m, value);
        // From here on only moves: the flags must live until the exit.
        FinishAtomic(op);
        RestoreRdx(saved);
        EndReservation();
        ExitTo(Cond.Ne, op.Target);
    }

    /// <summary>The operand of a compare-and-exchange in a register that is not rax; rcx may hold the address. What to give to <see cref="RestoreRdx"/>.</summary>
    private int ValueOf(in IrOp op, ref Mem m, out Gpr value)
    {
        if (InRegister(op.B))
        {
            Canonical(op.B);
            value = HostOf(op.B);
            return 0;
        }
        int saved = FreeRdx();
        if (saved != 0 && saved == op.A && !IsMachine)
        {
            _asm.Mov(Rcx, Rdx);
            m = Mem.At(RegisterMap.MemoryBase, Rcx, 0);
        }
        Load64(Rdx, op.B);
        value = Rdx;
        return saved;
    }

    private void LoadLinked(in IrOp op)
    {
        Mem m = WatchedAddress(op, out _);
        MayFault(op);
        if (op.Width == 4) _asm.Movsxd(Rax, m);
        else _asm.Mov(Rax, m);
        _asm.Mov(Mem.At(RegisterMap.Context, ReservationValue), Rax);
        EndReservation();
        Finish64(op.Dst, Rax, op.Width == 4);
    }

    private void StoreExclusive(in IrOp op)
    {
        Mem m = IsMachine ? LookupAtomic(op) : Mem.At(RegisterMap.MemoryBase, Read64(op.A, Rcx), 0);
        int saved = ValueOf(op, ref m, out Gpr value);
        _asm.Mov(Rax, Mem.At(RegisterMap.Context, ReservationValue));
        MayFault(op);
        // The interpreter needs a reservation to see the fault.
        _faults[_faultCount - 1].Pending |= FaultPoint.NeedsReservation;
        _asm.LockCmpxchg(SizeOf(op), m, value);
        _asm.Setcc(Cond.Ne, Rax);
        _asm.Movzx8(Rax, Rax);
        Finish64(op.Dst, Rax, true);
        RestoreRdx(saved);
    }
}
