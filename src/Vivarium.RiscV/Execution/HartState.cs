using System.Runtime.InteropServices;

namespace Vivarium.RiscV.Execution;

/// <summary>
/// The architectural state of one hart as plain memory, shared by the interpreter, the translator's emitted code and the
/// personality above. Its layout is an ABI: emitted code addresses fields by <see cref="HartStateLayout"/>.
/// </summary>
/// <remarks>
/// Lives in native memory (see <see cref="Hart"/>), is 64-byte aligned and never moves. Only the thread that runs the hart
/// writes it, save <see cref="ExitRequest"/>, which any thread may set.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct HartState
{
    /// <summary>8-byte slots of <see cref="Engine"/>.</summary>
    public const int EngineSlots = 192;

    /// <summary>Integer registers x0..x31; X[0] always reads 0 (who writes registers keeps it so).</summary>
    public fixed ulong X[32];

    /// <summary>Floating-point registers f0..f31 as 64-bit patterns; single precision is NaN-boxed.</summary>
    public fixed ulong F[32];

    /// <summary>Guest address of the next instruction; exact whenever an executor has returned.</summary>
    public ulong Pc;

    /// <summary>Host address of guest address 0: the base of the hart's memory window.</summary>
    public ulong MemoryBase;

    /// <summary>Guest addresses at or above this are outside the window.</summary>
    public ulong MemorySize;

    /// <summary>Accrued exceptions, <c>fflags</c> (NV DZ OF UF NX = bits 4..0); exact whenever an executor has returned.</summary>
    public uint Fflags;

    /// <summary>Dynamic rounding mode, <c>frm</c> (0 RNE, 1 RTZ, 2 RDN, 3 RUP, 4 RMM; 5..7 reserved).</summary>
    public uint Frm;

    /// <summary>Guest address of the LR/SC reservation; <see cref="ulong.MaxValue"/> when there is none.</summary>
    public ulong ReservationAddress;

    /// <summary>The value that LR loaded (LR.W: sign-extended).</summary>
    public ulong ReservationValue;

    /// <summary>Non-zero asks the running executor to return <see cref="ExitKind.Interrupted"/> at the next instruction boundary that
    /// it can reach soon. Set by any thread, cleared by the executor's caller.</summary>
    public int ExitRequest;

    /// <summary>Signal number of the host fault that emitted code ran into (SIGSEGV, SIGBUS); written by the fault handler.</summary>
    public int FaultSignal;

    /// <summary>Host pc of that fault; written by the fault handler.</summary>
    public ulong FaultHostPc;

    /// <summary>Host address of that fault as the kernel reported it (0 for non-canonical addresses); written by the fault handler.</summary>
    public ulong FaultHostAddress;

    /// <summary>Host pc at which a kick interrupted emitted code; written by the kick handler.</summary>
    public ulong KickHostPc;

    /// <summary>Instructions retired as far as the executor counts them (the interpreter does, exactly).</summary>
    public ulong InstructionsRetired;

    /// <summary>What <see cref="Reservations"/> said of the reserved address before LR loaded from it.</summary>
    public ulong ReservationVersion;

    /// <summary>Host address of the <see cref="Reservations"/> table, for emitted code.</summary>
    public ulong ReservationTable;

    /// <summary>On a machine, host address of the <see cref="HartTlb"/> table that loads and stores go through now.</summary>
    public ulong DataTlb;

    // What emitted code of a machine reads and writes of the unit's (Vivarium.RiscV.Privileged.PrivilegedUnit).

    /// <summary>CSRs of the same names; <c>mstatus</c> without its read-only fields.</summary>
    public ulong Mstatus, Sscratch, Sepc, Scause, Stval;

    /// <summary>Host addresses of the tables that supervisor mode's loads and stores go through, with SUM clear and set.</summary>
    public ulong SupervisorTlb, SupervisorSumTlb;

    /// <summary><c>mip</c> is the sum of what devices drive and what was latched; any thread changes these two. <c>mie</c> is the hart's own.</summary>
    public uint InterruptWires, InterruptLatches, Mie;

    /// <summary>Non-zero where floating point can run without looking at FS: it is Dirty, and x86 has the rounding mode of frm.</summary>
    public int FloatReady;

    /// <summary>Bits by privilege mode: <c>cbo.zero</c> is legal there, and <c>time</c> may be read.</summary>
    public int ZeroAllowed, TimeAllowed;

    /// <summary>CLOCK_MONOTONIC in tenths of microseconds where <c>time</c> is 0.</summary>
    public ulong TimeOrigin;

    /// <summary>Near pages: half of them are user mode's, half supervisor mode's.</summary>
    public const int NearPages = 32;

    /// <summary>On a machine, the pages that some places of emitted code used last, which try them before the <see cref="HartTlb"/>: tags and addends as there.</summary>
    public fixed ulong NearTags[NearPages], NearAddends[NearPages];

    /// <summary>By base register: the addend of the page that a group of accesses of the running block goes to; odd where they must look for themselves.</summary>
    public fixed ulong GroupAddends[32];

    /// <summary>Misses of near pages until one replaces the page there.</summary>
    public int NearPatience;

    /// <summary>Private to the executor: table bases, helper entry points, spill slots.</summary>
    public fixed ulong Engine[EngineSlots];
}
