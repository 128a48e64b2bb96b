using Vivarium.RiscV.Execution;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Dispatch;

/// <summary>What the translator keeps in <see cref="HartState.Engine"/>: indices of 8-byte slots.</summary>
public static class EngineSlots
{
    /// <summary>Address of the jump table (pc -> block entry as 32-bit offset from <see cref="CodeBase"/>).</summary>
    public const int JumpTable = 0;

    /// <summary>Host address of the code cache.</summary>
    public const int CodeBase = 1;

    /// <summary>rsp inside emitted code.</summary>
    public const int HostStack = 2;

    /// <summary>What an exit tells the dispatcher: address of its exit record, or the guest target of an indirect jump.</summary>
    public const int ExitInfo = 3;

    /// <summary>Guest MXCSR (low 4 bytes), host MXCSR (high 4 bytes).</summary>
    public const int Mxcsr = 4;

    /// <summary>Address of the function that the kick stub calls with the context's address.</summary>
    public const int KickHelper = 5;

    /// <summary>Scratch of single instructions' lowerings.</summary>
    public const int Spill0 = 6, Spill1 = 7;

    /// <summary>Floating-point lowering: constants, spills (8 slots).</summary>
    public const int Float = 8;

    /// <summary>Raw host registers rax..r15 at a fault or a kick (16 slots).</summary>
    public const int RegisterDump = 16;

    /// <summary>Flags and MXCSR at a kick.</summary>
    public const int DumpedFlags = 32, DumpedMxcsr = 33;

    /// <summary>Host address of the reservation version whose lock a store-conditional in progress holds; 0 otherwise.</summary>
    public const int HeldReservation = 34;

    /// <summary>Address of a word of the running thread: non-zero asks regions to be left.</summary>
    public const int LeaveCell = 35;

    /// <summary>Address of the counters of the region that was entered last: see <see cref="Cache.BlockHeader.Entries"/>.</summary>
    public const int RegionCounters = 36;

    /// <summary>By which way the region that is being entered is entered; 0 when it has seen that.</summary>
    public const int RegionWay = 39;

    /// <summary>Address of the function that fills a machine's TLB: int (state, address, size * 2 + 1 for a store).</summary>
    public const int MissHelper = 37;

    /// <summary>On a machine, address of <see cref="StubTable.RegionMiss"/>.</summary>
    public const int RegionMiss = 38;

    /// <summary>Where the guest was at the last checkpoint of a region with exact faults: 4 bytes, an offset from the region's head.</summary>
    public const int RegionCheckpoint = 40;

    /// <summary>xmm0..xmm31 at a kick, 16 bytes each.</summary>
    public const int VectorDump = 64;

    public static int Displacement(int slot) => HartStateLayout.Engine + slot * 8 - RegisterMap.ContextBias;

    public static Mem At(int slot) => Mem.At(RegisterMap.Context, Displacement(slot));
}
