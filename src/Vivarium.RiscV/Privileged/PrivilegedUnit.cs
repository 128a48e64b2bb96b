using Vivarium.RiscV.Execution;

namespace Vivarium.RiscV.Privileged;

/// <summary>
/// What the Privileged Architecture adds to a hart: privilege modes, CSRs, traps and interrupts, and virtual memory. A <see cref="Hart"/> that
/// has one is a machine's; without it a hart is what user mode sees of one.
/// </summary>
/// <remarks>
/// One file per chapter: this one holds the state; <c>.Csrs</c> the table of CSRs, <c>.Traps</c> trap entry, return and interrupts,
/// <c>.Memory</c> loads and stores, <c>.Translation</c> the page-table walk. Only the hart's thread uses it, except <see cref="SetWire"/>.
/// </remarks>
public sealed partial class PrivilegedUnit
{
    private readonly Hart _hart;
    private readonly PhysicalBus _bus;
    private readonly IHartEnvironment _environment;

    // CSRs, named as the manual does. Read-only fields and views (sstatus, sie, sip, SD) are made when read.
    // Some lie in the hart's state, where emitted code reaches them.
    private uint _medeleg, _mideleg;
    private ulong _mtvec, _mscratch, _mepc, _mcause, _mtval, _mcounteren, _menvcfg, _mcountinhibit;
    private ulong _stvec, _scounteren, _senvcfg, _satp, _stimecmp = ulong.MaxValue;
    private ulong _cycleOffset, _instretOffset; // while mcountinhibit stops a counter, its value

    private ref ulong _mstatus => ref _hart.State.Mstatus;
    private ref ulong _sscratch => ref _hart.State.Sscratch;
    private ref ulong _sepc => ref _hart.State.Sepc;
    private ref ulong _scause => ref _hart.State.Scause;
    private ref ulong _stval => ref _hart.State.Stval;
    private ref uint _mie => ref _hart.State.Mie;

    // mip: what devices drive, and what software (and other harts' IPIs) latched. Any thread changes them.
    private ref uint _wires => ref _hart.State.InterruptWires;
    private ref uint _latches => ref _hart.State.InterruptLatches;

    /// <summary>Makes the unit and gives it to the hart, reset into M-mode.</summary>
    public PrivilegedUnit(Hart hart, int id, HartFeatures features, PhysicalBus bus, IHartEnvironment environment)
    {
        (_hart, HartId, Features, _bus, _environment) = (hart, id, features, bus, environment);
        _tlb = new HartTlb(hart, bus.Ram.HostBase);
        Pmp = new PhysicalMemoryProtection(features.PmpEntries);
        hart.Privileged = this;
        Reset();
    }

    /// <summary><c>mhartid</c>.</summary>
    public int HartId { get; }

    public HartFeatures Features { get; }

    /// <summary>See <see cref="IHartEnvironment.TimeOrigin"/>.</summary>
    public ulong? TimeOrigin => _environment.TimeOrigin;

    /// <summary>The current privilege mode.</summary>
    public PrivilegeMode Mode { get; private set; }

    /// <summary>Set by <c>wfi</c>: whoever runs the hart lets it sleep until <see cref="HasPendingInterrupt"/>, and clears it.</summary>
    public bool WaitsForInterrupt { get; set; }

    /// <summary>Grows with every <c>fence.i</c>: who keeps decoded or translated instructions drops them.</summary>
    public int CodeGeneration { get; private set; }

    /// <summary>Told of every <c>fence.i</c>, on the hart's thread: an executor that translates.</summary>
    public Action? InstructionsFenced { get; set; }

    internal PhysicalMemoryProtection Pmp { get; }

    /// <summary>Reset (Privileged Architecture, "Reset"): M-mode, interrupts off, no translation. Wires stay as devices drive them.</summary>
    public void Reset()
    {
        Mode = PrivilegeMode.Machine;
        _mstatus = 0;
        _medeleg = _mideleg = 0;
        _mie = 0;
        _mtvec = _mscratch = _mepc = _mcause = _mtval = _mcounteren = _menvcfg = _mcountinhibit = 0;
        _stvec = _scounteren = _senvcfg = _satp = 0;
        _sscratch = _sepc = _scause = _stval = 0;
        _stimecmp = ulong.MaxValue;
        _cycleOffset = _instretOffset = 0;
        Volatile.Write(ref _latches, 0);
        WaitsForInterrupt = false;
        Pmp.Reset();
        EnvironmentChanged();
        FloatChanged();
        FlushTranslations();
        FenceInstructions();
        ModeChanged();
    }

    /// <summary>Enters M-mode for software that knows nothing of the extensions of <c>menvcfg</c>: the manual leaves its reset value open, and page tables
    /// without A and D bits work on the boards that such software is made for.</summary>
    public void EnterMachine()
    {
        Reset();
        WriteMenvcfg(Envcfg.Adue | Envcfg.Pbmte);
    }

    /// <summary>Enters S-mode as firmware would leave the hart: everything delegated, everything allowed.</summary>
    public void EnterSupervisor()
    {
        Reset();
        _medeleg = MedelegMask & ~(1u << (int)TrapCause.EnvironmentCall + 1); // ecall from S is the SBI's
        _mideleg = Interrupts.Delegable;
        _mcounteren = _scounteren = 7;
        _menvcfg = MenvcfgMask;
        _senvcfg = SenvcfgMask & _menvcfg;
        EnvironmentChanged();
        Pmp.AllowAll();
        Mode = PrivilegeMode.Supervisor;
        FlushTranslations();
        ModeChanged();
    }

    /// <summary>Goes on in S-mode as after a suspension that kept the CSRs: interrupts off, no translation.</summary>
    public void ResumeSupervisor()
    {
        Mode = PrivilegeMode.Supervisor;
        WriteSatp(0);
        WriteMstatus(0, Mstatus.Sie);
        FlushTranslations();
        ModeChanged();
    }

    /// <summary><c>fence.i</c>.</summary>
    public void FenceInstructions()
    {
        CodeGeneration++;
        _fetchPage = NoPage;
        InstructionsFenced?.Invoke();
    }
}
