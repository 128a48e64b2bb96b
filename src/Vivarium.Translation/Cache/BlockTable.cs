using System.Runtime.CompilerServices;
using Vivarium.Translation.FrontEnd;

namespace Vivarium.Translation.Cache;

/// <summary>All blocks of one address space by guest address. Lookups take no lock; writers hold the engine's.</summary>
internal sealed unsafe class BlockTable : IKnownHeads
{
    private const nint Tombstone = 1;
    private nint[] _slots = new nint[1 << 10];
    private int _used; // slots that are not empty, tombstones included
    private int _count;

    public int Count => _count;

    /// <summary>The live block at <paramref name="pc"/>, or null.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public BlockHeader* Find(ulong pc)
    {
        nint[] slots = Volatile.Read(ref _slots);
        int mask = slots.Length - 1;
        for (int i = Hash(pc) & mask; ; i = (i + 1) & mask)
        {
            nint p = Volatile.Read(ref slots[i]);
            if (p == 0) return null;
            if (p != Tombstone && ((BlockHeader*)p)->GuestPc == pc) return (BlockHeader*)p;
        }
    }

    public bool IsHead(ulong pc) => Find(pc) != null;

    /// <summary>Adds a block whose address has none.</summary>
    public void Add(BlockHeader* block)
    {
        if ((_used + 1) * 2 > _slots.Length) Grow();
        int mask = _slots.Length - 1;
        int i = Hash(block->GuestPc) & mask;
        while (_slots[i] != 0) i = (i + 1) & mask;
        Volatile.Write(ref _slots[i], (nint)block);
        _used++;
        _count++;
    }

    public void Remove(BlockHeader* block)
    {
        int mask = _slots.Length - 1;
        for (int i = Hash(block->GuestPc) & mask; _slots[i] != 0; i = (i + 1) & mask)
        {
            if (_slots[i] != (nint)block) continue;
            Volatile.Write(ref _slots[i], Tombstone);
            _count--;
            return;
        }
    }

    /// <summary>Calls for each block; the table must not change meanwhile.</summary>
    public void ForEach(Action<nint> action)
    {
        foreach (nint p in _slots)
        {
            if (p is not (0 or Tombstone)) action(p);
        }
    }

    private void Grow()
    {
        var bigger = new nint[Math.Max(_slots.Length, _count * 4 > _slots.Length ? _slots.Length * 2 : _slots.Length)];
        int mask = bigger.Length - 1;
        foreach (nint p in _slots)
        {
            if (p is 0 or Tombstone) continue;
            int i = Hash(((BlockHeader*)p)->GuestPc) & mask;
            while (bigger[i] != 0) i = (i + 1) & mask;
            bigger[i] = p;
        }
        _used = _count;
        Volatile.Write(ref _slots, bigger);
    }

    private static int Hash(ulong pc) => (int)((pc >> 1) * 0x9E3779B97F4A7C15 >> 34);
}
