using System.Runtime.InteropServices;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.Ir;
using Vivarium.Translation.Passes;

namespace Vivarium.Translation.Cache;

/// <summary>What the cache knows of one translated block. Lives in the arena's metadata, away from the code, and never moves.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct BlockHeader
{
    /// <summary>Guest address of the entry.</summary>
    public ulong GuestPc;

    /// <summary>Host address of the entry; 8 bytes before it stands the guest address.</summary>
    public ulong Entry;

    /// <summary>Host address that the block's own back edges jump to (behind the loop prologue).</summary>
    public ulong LoopEntry;
    public ulong CodeEnd;

    /// <summary>First guest page and second (or <see cref="ulong.MaxValue"/>).</summary>
    public ulong Page0, Page1;
    public BlockHeader* NextInPage0, NextInPage1;

    public ExitRecord* Exits;
    public FaultPoint* Faults;
    public GuestRun* Runs;
    public int ExitCount, FaultCount, RunCount;

    /// <summary>Non-zero once invalidated: never linked to or entered again.</summary>
    public int Dead;

    /// <summary>Exits of other blocks (or its own) that jump here directly.</summary>
    public ExitRecord* Incoming;

    /// <summary>Hash of the guest bytes it was made from.</summary>
    public ulong GuestHash;

    /// <summary>Of a region's entry: the block whose place it has taken. Of such a block: the region's entry.</summary>
    public BlockHeader* Fallback, Overlay;

    /// <summary>Of a quick block: the word that counts down its entries, and then asks for the full pipeline; null for others. Its <see cref="Faults"/> are
    /// bytes, one per guest instruction; see <see cref="Quick.QuickTranslator.GuestPcOf"/>.</summary>
    public int* Counter;

    // A quick block has nothing of what follows: see QuickSize.

    /// <summary>On a machine: physical address of the entry, the privilege mode that it is for, and the next block of the same hash.</summary>
    public ulong Physical;
    public int Mode;
    public BlockHeader* NextInBucket;

    /// <summary>Of a region: how often it was entered, how often its head was reached inside, and how often its entry was reached while it was
    /// <see cref="Aside"/>. The four stand together: emitted code has one address for them.</summary>
    public long Entries, Rounds, Probes;

    /// <summary>Non-zero sends those who come to the region's entry to the fallback.</summary>
    public long Aside;

    /// <summary>How often the region was entered by other ways than its head.</summary>
    public long Returns;

    /// <summary>Of a region's entry: the one at the region's head, and the next one of the same region.</summary>
    public BlockHeader* Primary, NextWay;

    /// <summary>Of a region of a machine: the pages that its code lies in, in virtual order. Its <see cref="LoopEntry"/> is behind their check.</summary>
    public Optimizing.Regions.CodePage* Pages;
    public int PageCount;

    /// <summary>How often its entry found other pages there.</summary>
    public int Mismatches;

    /// <summary>Which guest register each host register holds inside the block; 0 for none.</summary>
    public fixed byte GuestOfHost[16];

    /// <summary>Where <see cref="Rounds"/> stands behind <see cref="Entries"/>; the others follow.</summary>
    public const int RoundsOffset = 8, ProbesOffset = 16, AsideOffset = 24, ReturnsOffset = 32;

    /// <summary>Bytes of a quick block's header: up to <see cref="Physical"/>.</summary>
    public static readonly int QuickSize = OffsetOfPhysical();

    private static int OffsetOfPhysical()
    {
        BlockHeader header = default;
        return (int)((byte*)&header.Physical - (byte*)&header);
    }
}

/// <summary>One way out of a block: a jump whose 4-byte displacement is patched between the exit stub and the target block.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ExitRecord
{
    /// <summary>Guest address where execution goes on.</summary>
    public ulong Target;

    /// <summary>Host address of the displacement field, 4-byte aligned; 0 when the exit cannot be chained.</summary>
    public ulong Field;

    /// <summary>Host address of the stub that leads to the dispatcher.</summary>
    public ulong Stub;
    public BlockHeader* Owner;
    public BlockHeader* LinkedTo;
    public ExitRecord* NextIncoming, PreviousIncoming;

    /// <summary>Never reached from a loop without a dispatcher entry in between; see the back edge handling.</summary>
    public int Kind;
}

/// <summary>How to recover the precise guest state when the host instruction at an offset faults.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct FaultPoint
{
    /// <summary>Offset of the faulting host instruction from the block's entry.</summary>
    public uint CodeOffset;

    /// <summary>Guest address of its instruction relative to the block's.</summary>
    public int PcDelta;

    /// <summary>Bit per host register: holds the current value of its guest register.</summary>
    public ushort Live;

    /// <summary>Bit per host register: only the low 32 bits are valid, the value is their sign extension.</summary>
    public ushort Pending;

    /// <summary>In <see cref="Pending"/>, at the place of rax, which never holds a guest register: a store-conditional whose load-reserved left no
    /// reservation; see <see cref="Vivarium.RiscV.Execution.Reservations.Renew"/>.</summary>
    public const ushort NeedsReservation = 1;

    /// <summary>In <see cref="Live"/>: this is no point of its own, but says how to compute a register that the code has not (r15 holds no guest register).</summary>
    public const ushort IsDeferred = 0x8000;

    /// <summary>An entry behind the point at <paramref name="codeOffset"/>: dst = a code b, or imm.</summary>
    public static FaultPoint Deferred(uint codeOffset, IrCode code, int dst, int a, int b, int shift, bool hasImm, long imm) => new()
    {
        CodeOffset = codeOffset, PcDelta = (int)code | shift << 8 | (hasImm ? 1 << 16 : 0), Live = (ushort)(IsDeferred | dst), Pending = (ushort)(a | b << 5),
        Float = new Float.FloatState((uint)imm, (uint)(imm >> 32)),
    };

    /// <summary>Does what <see cref="Deferred"/> says.</summary>
    public readonly void Apply(ref HartState state)
    {
        ulong b = (PcDelta >> 16 & 1) != 0 ? Float.DirtyD | (ulong)Float.DirtyS << 32 : state.X[Pending >> 5 & 31];
        int dst = Live & 31;
        if (dst != 0) state.X[dst] = DeferredResults.Evaluate((IrCode)(byte)PcDelta, state.X[Pending & 31], b, PcDelta >> 8 & 63);
    }

    /// <summary>Floating-point registers whose NaNs have yet to be made canonical.</summary>
    public Float.FloatState Float;
}

/// <summary>Consecutive guest bytes that a block was made from.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GuestRun
{
    public ulong Start;
    public int Length;
}
