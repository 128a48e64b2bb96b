using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Vivarium.Translation.Ir;

/// <summary>A superblock in IR: one entry, side exits, jumps back to its own head; a loop may branch forward to labels inside. Reused from block to block.</summary>
public sealed unsafe class IrBlock
{
    /// <summary>Most guest instructions in one block: only loops get that long.</summary>
    public const int MaxGuestInstructions = 96;

    /// <summary>Most guest instructions in a block that is no loop: longer ones translate much that never runs.</summary>
    public const int MaxStraightInstructions = 64;

    /// <summary>Most labels in one block.</summary>
    public const int MaxLabels = 24;

    /// <summary>Most runs of consecutive guest bytes.</summary>
    public const int MaxRuns = 8;

    public readonly IrOp[] Ops = GC.AllocateArray<IrOp>(MaxGuestInstructions * 2 + MaxLabels + 8, pinned: true);
    public int Count;

    /// <summary>The same operations for the inner loops of passes.</summary>
    // SAFETY: pinned; the builder stops at MaxGuestInstructions, each of which makes at most two operations, and at MaxLabels.
    internal readonly IrOp* P;

    /// <summary>Bit per <see cref="IrCode"/> that was added, by code modulo 64.</summary>
    internal ulong SeenLow, SeenHigh;

    /// <summary>How often operations name each register, and which registers they write; see <see cref="Passes.UnseenResults"/>.</summary>
    internal readonly int* Uses;
    private readonly int[] _uses = GC.AllocateArray<int>(64, pinned: true);
    internal uint Written;

    /// <summary>Some operation is a wide multiplication or a division.</summary>
    internal bool NeedsRdx;

    public IrBlock()
    {
        P = (IrOp*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(Ops));
        Uses = (int*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_uses));
    }

    internal bool HasSeen(IrCode code) => ((code < (IrCode)64 ? SeenLow : SeenHigh) >> ((int)code & 63) & 1) != 0;

    /// <summary>Address of each guest instruction.</summary>
    public readonly ulong[] GuestPc = new ulong[MaxGuestInstructions + 1];

    /// <summary>Its bits.</summary>
    public readonly uint[] Guest = new uint[MaxGuestInstructions + 1];
    public int GuestCount;

    /// <summary>The consecutive guest byte ranges that the block was made from.</summary>
    public readonly (ulong Start, int Length)[] Runs = new (ulong, int)[MaxRuns];
    public int RunCount;

    /// <summary>Guest address of the entry.</summary>
    public ulong Start;

    /// <summary>Some exit leads back to <see cref="Start"/>.</summary>
    public bool IsLoop;

    /// <summary>Number of labels: <see cref="IrOp.Label"/> is below it.</summary>
    public int LabelCount;

    /// <summary>Some operation is <see cref="IrCode.Float"/>.</summary>
    public bool HasFloat;

    /// <summary>Some operation stores less than 8 bytes to the stack.</summary>
    internal bool StoresStackWords;

    /// <summary>Bit per register: must point into the memory window when the block, a loop, is entered.</summary>
    public uint CheckedAtEntry;

    /// <summary>Starts a new block at <paramref name="pc"/>.</summary>
    public void Reset(ulong pc)
    {
        Start = pc;
        Count = GuestCount = RunCount = LabelCount = 0;
        IsLoop = HasFloat = StoresStackWords = false;
        CheckedAtEntry = 0;
        SeenLow = SeenHigh = 0;
    }

    /// <summary>Appends an operation of the current guest instruction.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref IrOp Add(IrCode code, int dst = 0, int a = 0, int b = 0)
    {
        IrOp* op = P + Count++;
        *op = default;
        *(uint*)op = (uint)code | (uint)dst << 16 | (uint)a << 24;
        op->B = (byte)b;
        op->Guest = (ushort)(GuestCount - 1);
        ulong bit = 1UL << (int)code;
        if (code < (IrCode)64) SeenLow |= bit;
        else SeenHigh |= bit;
        return ref *op;
    }
}
