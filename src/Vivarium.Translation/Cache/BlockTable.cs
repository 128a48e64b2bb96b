using System.Numerics;
using System.Runtime.CompilerServices;
using Vivarium.Translation.FrontEnd;

namespace Vivarium.Translation.Cache;

/// <summary>All blocks of one address space by guest address. Lookups take no lock; writers hold the engine's.</summary>
/// <remarks>A slot's key never changes once set: a block that goes leaves its key behind with no block, and the next block of that
/// address takes the slot again. So a reader that finds the key may trust what it then reads beside it.</remarks>
internal sealed unsafe class BlockTable : IKnownHeads
{
    private struct Slot
    {
        public ulong Key; // guest address + 1; 0 is empty
        public nint Block;
    }

    private Slot[] _slots = new Slot[1 << 10];
    private int _used;

    /// <summary>Live blocks.</summary>
    public int Count { get; private set; }

    /// <summary>The live block at <paramref name="pc"/>, or null.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public BlockHeader* Find(ulong pc)
    {
        Slot[] slots = Volatile.Read(ref _slots);
        int mask = slots.Length - 1;
        for (int i = Hash(pc) & mask; ; i = (i + 1) & mask)
        {
            ref Slot slot = ref slots[i];
            ulong key = Volatile.Read(ref slot.Key);
            if (key == pc + 1) return (BlockHeader*)Volatile.Read(ref slot.Block);
            if (key == 0) return null;
        }
    }

    // One bit per hash of an address that ever had a block: most questions of the front end end here, without a cache miss.
    private ulong[] _filter = new ulong[1 << 8];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool MayHave(ulong pc)
    {
        ulong[] filter = Volatile.Read(ref _filter);
        int hash = Hash(pc) & filter.Length * 64 - 1;
        return (filter[hash >> 6] >> (hash & 63) & 1) != 0;
    }

    /// <summary>Whether a block of the full pipeline begins there: quick blocks do not stop it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool IsHead(ulong pc)
    {
        if (!MayHave(pc)) return false;
        BlockHeader* block = Find(pc);
        return block != null && block->Counter == null;
    }

    /// <summary>Whether any block begins there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool IsAnyHead(ulong pc) => MayHave(pc) && Find(pc) != null;

    /// <summary>Adds a block whose address has none.</summary>
    public void Add(BlockHeader* block)
    {
        if ((_used + 1) * 2 > _slots.Length) Grow();
        Count++;
        Mark(_filter, block);
        if (Insert(_slots, block)) _used++;
    }

    private static void Mark(ulong[] filter, BlockHeader* block)
    {
        int hash = Hash(block->GuestPc) & filter.Length * 64 - 1;
        filter[hash >> 6] |= 1UL << (hash & 63);
    }

    /// <summary>Whether a new slot was taken.</summary>
    private static bool Insert(Slot[] slots, BlockHeader* block)
    {
        int mask = slots.Length - 1;
        ulong key = block->GuestPc + 1;
        int i = Hash(block->GuestPc) & mask;
        while (slots[i].Key != 0 && slots[i].Key != key) i = (i + 1) & mask;
        ref Slot slot = ref slots[i];
        bool fresh = slot.Key == 0;
        Volatile.Write(ref slot.Block, (nint)block);
        Volatile.Write(ref slot.Key, key);
        return fresh;
    }

    public void Remove(BlockHeader* block)
    {
        int mask = _slots.Length - 1;
        for (int i = Hash(block->GuestPc) & mask; _slots[i].Key != 0; i = (i + 1) & mask)
        {
            if (_slots[i].Block != (nint)block) continue;
            Volatile.Write(ref _slots[i].Block, 0);
            Count--;
            return;
        }
    }

    private void Grow()
    {
        var bigger = new Slot[Math.Max(1 << 10, (int)BitOperations.RoundUpToPowerOf2((uint)Count * 4 + 4))];
        var filter = new ulong[bigger.Length >> 3]; // eight bits a slot
        _used = 0;
        foreach (Slot slot in _slots)
        {
            if (slot.Block == 0) continue;
            Insert(bigger, (BlockHeader*)slot.Block);
            Mark(filter, (BlockHeader*)slot.Block);
            _used++;
        }
        Volatile.Write(ref _slots, bigger);
        Volatile.Write(ref _filter, filter);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Hash(ulong pc) => (int)((pc >> 1) * 0x9E3779B97F4A7C15 >> 34);
}
