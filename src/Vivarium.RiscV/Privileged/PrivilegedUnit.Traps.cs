using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Privileged;

// Traps and interrupts (Privileged Architecture, chapters "Machine-Level ISA" and "Supervisor-Level ISA").
public sealed partial class PrivilegedUnit
{
    private const uint MedelegMask = 0xb3ff; // all but ecall from M, and what is reserved
    private const ulong InterruptBit = 1UL << 63;

    /// <summary>Takes an exception: pc is at the instruction, and moves to the handler.</summary>
    /// <param name="cause">As <see cref="ExecutionExit"/> has it: an ecall is told apart by the mode here.</param>
    /// <param name="value">What the handler finds in mtval or stval.</param>
    public void EnterTrap(TrapCause cause, ulong value)
    {
        var number = (int)cause;
        if (cause == TrapCause.EnvironmentCall) number += (int)Mode;
        var toSupervisor = Mode != PrivilegeMode.Machine && (_medeleg >> number & 1) != 0;
        Enter(toSupervisor, (ulong)number, value);
    }

    /// <summary>Set by who runs the hart where an executor may take traps that go to supervisor mode itself, instead of returning them.</summary>
    public bool DeliversTraps { get; set; }

    /// <summary>Whether a trap goes to supervisor mode, so that nobody but the guest has to do with it.</summary>
    private bool IsDelegated(TrapCause cause) =>
        Mode != PrivilegeMode.Machine && (_medeleg >> (int)cause + (cause == TrapCause.EnvironmentCall ? (int)Mode : 0) & 1) != 0;

    /// <summary>Takes a trap that the executor need not return: see <see cref="DeliversTraps"/>.</summary>
    public bool TryDeliver(in ExecutionExit exit)
    {
        if (!DeliversTraps || exit.Kind != ExitKind.Trap || !IsDelegated(exit.Cause)) return false;
        EnterTrap(exit.Cause, exit.Value);
        return true;
    }

    /// <summary>Takes the pending, enabled interrupt of the highest priority, if there is one.</summary>
    public bool TakeInterrupt()
    {
        var deliverable = Deliverable(out var toSupervisor);
        if (deliverable == 0) return false;
        foreach (var cause in Interrupts.Priority)
        {
            if ((deliverable >> cause & 1) == 0) continue;
            Enter(toSupervisor, InterruptBit | cause, 0);
            return true;
        }
        return false;
    }

    /// <summary>Whether an interrupt is pending and enabled in <c>mie</c>, whatever the global enables say: what ends <c>wfi</c>.</summary>
    public bool HasPendingInterrupt => (Mip & _mie) != 0;

    /// <summary>Drives an interrupt from outside; any thread. SSIP is a latch that only the guest clears (or <paramref name="asserted"/> false).
    /// The caller wakes the hart.</summary>
    public void SetWire(int cause, bool asserted)
    {
        ref var word = ref cause == Interrupts.SupervisorSoftware ? ref _latches : ref _wires;
        if (asserted) Interlocked.Or(ref word, 1u << cause);
        else Interlocked.And(ref word, ~(1u << cause));
    }

    private uint Mip => Volatile.Read(ref _wires) | Volatile.Read(ref _latches);

    /// <summary>The interrupts that would be taken now; those for M-mode go first.</summary>
    private uint Deliverable(out bool toSupervisor)
    {
        toSupervisor = false;
        var pending = Mip & _mie;
        if (pending == 0) return 0;
        var machine = pending & ~_mideleg;
        if (machine != 0 && (Mode != PrivilegeMode.Machine || (_mstatus & Mstatus.Mie) != 0)) return machine;
        toSupervisor = true;
        var enabled = Mode == PrivilegeMode.User || (Mode == PrivilegeMode.Supervisor && (_mstatus & Mstatus.Sie) != 0);
        return enabled ? pending & _mideleg : 0;
    }

    /// <summary>After anything that may have made an interrupt deliverable: the executor returns at the next instruction boundary.</summary>
    private void CheckInterrupts()
    {
        if (Deliverable(out _) != 0) _hart.RequestExit();
    }

    private void Enter(bool toSupervisor, ulong cause, ulong value)
    {
        var pc = _hart.Pc;
        ulong vector;
        if (toSupervisor)
        {
            (_sepc, _scause, _stval) = (pc, cause, value);
            var spie = (_mstatus & Mstatus.Sie) != 0 ? Mstatus.Spie : 0;
            var spp = Mode == PrivilegeMode.Supervisor ? Mstatus.Spp : 0;
            _mstatus = (_mstatus & ~(Mstatus.Sie | Mstatus.Spie | Mstatus.Spp)) | spie | spp;
            Mode = PrivilegeMode.Supervisor;
            vector = _stvec;
        }
        else
        {
            (_mepc, _mcause, _mtval) = (pc, cause, value);
            var mpie = (_mstatus & Mstatus.Mie) != 0 ? Mstatus.Mpie : 0;
            _mstatus = (_mstatus & ~(Mstatus.Mie | Mstatus.Mpie | Mstatus.Mpp)) | mpie | (ulong)Mode << Mstatus.MppShift;
            Mode = PrivilegeMode.Machine;
            vector = _mtvec;
        }
        var vectored = (vector & 1) != 0 && (cause & InterruptBit) != 0;
        _hart.Pc = (vector & ~3UL) + (vectored ? 4 * (cause & 63) : 0);
        ModeChanged();
    }

    /// <summary><c>mret</c>; false where it is illegal. The result is the pc to go on at.</summary>
    internal bool ReturnFromMachine(out ulong pc)
    {
        pc = _mepc;
        if (Mode != PrivilegeMode.Machine) return false;
        var mode = (PrivilegeMode)((_mstatus & Mstatus.Mpp) >> Mstatus.MppShift);
        var mie = (_mstatus & Mstatus.Mpie) != 0 ? Mstatus.Mie : 0;
        _mstatus = (_mstatus & ~(Mstatus.Mie | Mstatus.Mpp)) | mie | Mstatus.Mpie;
        Return(mode);
        return true;
    }

    /// <summary><c>sret</c>; false where it is illegal.</summary>
    internal bool ReturnFromSupervisor(out ulong pc)
    {
        pc = _sepc;
        if (Mode == PrivilegeMode.User || (Mode == PrivilegeMode.Supervisor && (_mstatus & Mstatus.Tsr) != 0)) return false;
        var mode = (_mstatus & Mstatus.Spp) != 0 ? PrivilegeMode.Supervisor : PrivilegeMode.User;
        var sie = (_mstatus & Mstatus.Spie) != 0 ? Mstatus.Sie : 0;
        _mstatus = (_mstatus & ~(Mstatus.Sie | Mstatus.Spp)) | sie | Mstatus.Spie;
        Return(mode);
        return true;
    }

    private void Return(PrivilegeMode mode)
    {
        if (mode != PrivilegeMode.Machine) _mstatus &= ~Mstatus.Mprv;
        Mode = mode;
        ModeChanged();
        CheckInterrupts();
    }

    /// <summary><c>wfi</c>; false where it is illegal.</summary>
    internal bool WaitForInterrupt()
    {
        if (Mode == PrivilegeMode.User || (Mode == PrivilegeMode.Supervisor && (_mstatus & Mstatus.Tw) != 0)) return false;
        WaitsForInterrupt = true;
        _hart.RequestExit();
        return true;
    }

    /// <summary><c>sfence.vma</c> and <c>sinval.vma</c>; false where they are illegal.</summary>
    /// <param name="address">Null for all.</param>
    /// <param name="asid">Null for all.</param>
    internal bool FenceVirtualMemory(ulong? address, ulong? asid)
    {
        if (Mode == PrivilegeMode.User || (Mode == PrivilegeMode.Supervisor && (_mstatus & Mstatus.Tvm) != 0)) return false;
        FlushTranslations(address, asid);
        return true;
    }

    /// <summary>Whether a cache-block instruction is legal in this mode.</summary>
    internal bool CacheBlockAllowed(Opcode opcode)
    {
        var fields = opcode switch { Opcode.CboInval => Envcfg.Cbie, Opcode.CboZero => Envcfg.Cbze, _ => Envcfg.Cbcfe };
        if (Mode == PrivilegeMode.Machine) return true;
        return (_menvcfg & fields) != 0 && (Mode == PrivilegeMode.Supervisor || (_senvcfg & fields) != 0);
    }

    // Floating-point state.

    /// <summary>Whether floating-point instructions are legal: FS is not Off.</summary>
    public bool FloatEnabled => (_mstatus & Mstatus.Fs) != 0;

    /// <summary>Whether FS is Dirty: then floating-point instructions change nothing of it.</summary>
    public bool FloatDirty => (_mstatus & Mstatus.Fs) == Mstatus.Fs;

    /// <summary>FS becomes Dirty. The manual allows to do so for instructions that happen to change nothing.</summary>
    public void DirtyFloat()
    {
        _mstatus |= Mstatus.Fs;
        FloatChanged();
    }

    /// <summary>After a change of FS or frm.</summary>
    public void FloatChanged() => _hart.State.FloatReady = FloatDirty && _hart.State.Frm <= (uint)FloatingPoint.RoundingMode.Up ? 1 : 0;

    /// <summary>After a change of <c>menvcfg</c>, <c>senvcfg</c>, <c>mcounteren</c> or <c>scounteren</c>.</summary>
    private void EnvironmentChanged()
    {
        var supervisor = (_menvcfg & Envcfg.Cbze) != 0;
        _hart.State.ZeroAllowed = 1 << (int)PrivilegeMode.Machine | (supervisor ? 1 << (int)PrivilegeMode.Supervisor : 0)
            | (supervisor && (_senvcfg & Envcfg.Cbze) != 0 ? 1 << (int)PrivilegeMode.User : 0);
        const int time = 2;
        _hart.State.TimeAllowed = 1 << (int)PrivilegeMode.Machine | ((_mcounteren & time) != 0 ? 1 << (int)PrivilegeMode.Supervisor : 0)
            | ((_mcounteren & _scounteren & time) != 0 ? 1 << (int)PrivilegeMode.User : 0);
    }
}
