using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>
/// The instructions that one hart decoded lately, direct-mapped by pc. Like a hardware instruction cache it may be stale until
/// <c>fence.i</c>; unlike one it also is flushed when the personality changes the mapping.
/// </summary>
/// <remarks>Used only by the thread that runs the hart.</remarks>
internal sealed class DecodeCache
{
    private const int EntryCount = 8192;
    private const int PageCount = 64;
    private const ulong None = ulong.MaxValue; // odd: never a pc, never a page number

    public struct Entry
    {
        public ulong Pc;
        public Semantics Semantics;
        public Instruction Instruction;
    }

    private readonly Entry[] _entries = new Entry[EntryCount];
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
    public ref Entry At(ulong pc) => ref _entries[(int)(pc >> 1) & (EntryCount - 1)];

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
