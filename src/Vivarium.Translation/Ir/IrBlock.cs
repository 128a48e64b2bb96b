using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Ir;

/// <summary>A superblock in IR: one entry, side exits, jumps back to its own head; a loop may branch forward to labels inside. Reused from block to block.</summary>
public sealed class IrBlock
{
    /// <summary>Most guest instructions in one block: only loops get that long.</summary>
    public const int MaxGuestInstructions = 96;

    /// <summary>Most guest instructions in a block that is no loop: longer ones translate much that never runs.</summary>
    public const int MaxStraightInstructions = 64;

    /// <summary>Most labels in one block.</summary>
    public const int MaxLabels = 24;

    /// <summary>Most runs of consecutive guest bytes.</summary>
    public const int MaxRuns = 8;

    public readonly IrOp[] Ops = new IrOp[MaxGuestInstructions * 2 + MaxLabels + 8];
    public int Count;

    /// <summary>Address of each guest instruction.</summary>
    public readonly ulong[] GuestPc = new ulong[MaxGuestInstructions + 1];
    public readonly Instruction[] Guest = new Instruction[MaxGuestInstructions + 1];
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

    /// <summary>Bit per register: must point into the memory window when the block, a loop, is entered.</summary>
    public uint CheckedAtEntry;

    /// <summary>Starts a new block at <paramref name="pc"/>.</summary>
    public void Reset(ulong pc)
    {
        Start = pc;
        Count = GuestCount = RunCount = LabelCount = 0;
        IsLoop = HasFloat = false;
        CheckedAtEntry = 0;
    }

    /// <summary>Appends an operation of the current guest instruction.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref IrOp Add(IrCode code, int dst = 0, int a = 0, int b = 0)
    {
        ref IrOp op = ref Ops[Count++];
        op = default;
        op.Code = code;
        op.Dst = (byte)dst;
        op.A = (byte)a;
        op.B = (byte)b;
        op.Guest = (ushort)(GuestCount - 1);
        return ref op;
    }
}
