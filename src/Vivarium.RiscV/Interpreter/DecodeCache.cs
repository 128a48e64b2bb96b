using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>What an instruction does with the floating-point state.</summary>
internal enum FloatUse : byte
{
    None,
    Reads,
    Writes,
}

/// <summary>
/// The instructions that one hart decoded lately, direct-mapped by pc. Like a hardware instruction cache it may be stale until
/// <c>fence.i</c>; unlike one it also is flushed when the personality changes the mapping.
/// </summary>
/// <remarks>Used only by the thread that runs the hart.</remarks>
internal sealed class DecodeCache
{
    // Small at first: a hart that only steps now and then, under a translator, or a thread that waits should not cost 300 KiB.
    private const int FirstEntryCount = 256, LastEntryCount = 8192;
    private const int PageCount = 64;
    private const ulong None = ulong.MaxValue; // odd: never a pc, never a page number

    public struct Entry
    {
        public ulong Pc;
        public Semantics Semantics;

        /// <summary>Whether FS in <c>mstatus</c> matters; only used on machines.</summary>
        public FloatUse Float;
        public Instruction Instruction;
    }

    private Entry[] _entries = new Entry[FirstEntryCount];
    private int _misses;
    private readonly ulong[] _pages = new ulong[PageCount];

    public DecodeCache(ReferenceInterpreter owner, int generation)
    {
        Owner = owner;
        Flush(generation);
    }

    /// <summary>The interpreter whose address space this is a cache of.</summary>
    public ReferenceInterpreter Owner { get; }

    /// <summary>The interpreter's code generation that the entries belong to.</summary>
    public int Generation { get; private set; }

    /// <summary>The one entry in which the instruction at <paramref name="pc"/> can be; compare its <see cref="Entry.Pc"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref Entry At(ulong pc) => ref _entries[(int)(pc >> 1) & (_entries.Length - 1)];

    /// <summary>An instruction was not there: the table grows, empty, when that happens often. References from <see cref="At"/> are void.</summary>
    public void CountMiss()
    {
        if (++_misses < 2 * _entries.Length || _entries.Length == LastEntryCount) return;
        _misses = 0;
        _entries = new Entry[2 * _entries.Length];
        Flush(Generation);
    }

    /// <summary>Remembers that code comes from a page; false when it was remembered already, so that the shared table need not be asked.</summary>
    public bool AddPage(ulong page)
    {
        ref var slot = ref _pages[(int)page & (PageCount - 1)];
        if (slot == page) return false;
        slot = page;
        return true;
    }

    public void Flush(int generation)
    {
        Generation = generation;
        foreach (ref var entry in _entries.AsSpan()) entry.Pc = None;
        _pages.AsSpan().Fill(None);
    }
}
