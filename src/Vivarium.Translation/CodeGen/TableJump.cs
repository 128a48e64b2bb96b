using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

/// <summary>The instructions that go to the block of the guest address in rax by the jump table; the same everywhere, clobbering rcx and the flags.</summary>
/// <remarks>
/// A kick takes the jump table away, but a thread that has read a slot already would still jump on, into a chain of blocks that may lead to no
/// table any more. <see cref="Restart"/> makes it look again.
/// </remarks>
internal static unsafe class TableJump
{
    private const int MostBytes = 64;

    private static readonly byte[] Lookup = new byte[MostBytes]; // the instructions up to the comparison, as they are in every block
    private static readonly int Length;
    private static readonly int[] Holding; // offsets of the instructions that have an address of the table, or a slot of it, in rcx

    static TableJump()
    {
        var asm = new Assembler();
        byte* buffer = stackalloc byte[4 * MostBytes];
        asm.Reset(buffer, 4 * MostBytes);
        int afterTable = EmitLookup(asm, out int afterSlot, out int afterBase);
        Length = asm.Offset;
        new ReadOnlySpan<byte>(buffer, Length).CopyTo(Lookup);
        const int conditionalJump = 6; // jne rel32
        Holding = [afterTable, afterSlot, afterBase, Length, Length + conditionalJump];
    }

    public static void Emit(Assembler asm, StubTable stubs)
    {
        EmitLookup(asm, out _, out _);
        asm.JccTo(Cond.Ne, (long)(stubs.Exit(BlockExit.Indirect) - (ulong)asm.Start));
        asm.Jmp(Gpr.Rcx);
    }

    private static int EmitLookup(Assembler asm, out int afterSlot, out int afterBase)
    {
        // Bit 0 of the target is ignored by the table index, and an odd target then misses: the dispatcher clears it.
        asm.Lea32(Gpr.Rcx, Mem.At(Gpr.Rax, Gpr.Rax, 0));
        asm.And32(Gpr.Rcx, JumpTable.OffsetMask);
        asm.Add(Gpr.Rcx, EngineSlots.At(EngineSlots.JumpTable));
        int afterTable = asm.Offset;
        asm.Mov32(Gpr.Rcx, Mem.At(Gpr.Rcx));
        afterSlot = asm.Offset;
        asm.Add(Gpr.Rcx, EngineSlots.At(EngineSlots.CodeBase));
        afterBase = asm.Offset;
        asm.Cmp(Mem.At(Gpr.Rcx, -8), Gpr.Rax);
        return afterTable;
    }

    /// <summary>Where a kicked thread goes on that was about to execute the instruction at <paramref name="pc"/> of a block: there, or where the lookup that it is in begins.</summary>
    public static ulong Restart(BlockHeader* block, ulong pc)
    {
        foreach (int offset in Holding)
        {
            ulong start = pc - (ulong)offset;
            // SAFETY: the bytes are the block's own code.
            if (start >= block->Entry && start + (ulong)Length <= block->CodeEnd
                && new ReadOnlySpan<byte>((void*)start, Length).SequenceEqual(Lookup.AsSpan(0, Length))) return start;
        }
        return pc;
    }
}
