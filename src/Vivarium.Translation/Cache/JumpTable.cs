using Vivarium.Host;

namespace Vivarium.Translation.Cache;

/// <summary>
/// The direct-mapped table that emitted indirect jumps consult: guest pc -> block entry as a 32-bit offset from the code cache's dummy
/// entry, 0 for none. One 4-byte store publishes or clears a slot; the reader checks the guest address in front of the entry.
/// </summary>
internal sealed unsafe class JumpTable : IDisposable
{
    private const int Bits = 16;

    /// <summary>Byte offset of a pc's slot = (pc * 2) &amp; this.</summary>
    public const int OffsetMask = (1 << Bits + 2) - 1 & ~3;

    /// <summary>Bytes of a table.</summary>
    public const int Size = 4 << Bits;

    private readonly ulong _codeBase;
    private readonly PagePool _pool;
    private uint* _slots;

    /// <param name="codeBase">What offsets are relative to.</param>
    /// <param name="pool">Gives zeroed pieces of <see cref="Size"/>.</param>
    public JumpTable(ulong codeBase, PagePool pool)
    {
        _codeBase = codeBase;
        _pool = pool;
        _slots = (uint*)pool.Rent();
    }

    /// <summary>Host address for the engine slot.</summary>
    public ulong Address => (ulong)_slots;

    public void Set(ulong pc, ulong entry) => Volatile.Write(ref *Slot(pc), (uint)(entry - _codeBase));

    /// <summary>The entry of the block at <paramref name="pc"/>; 0 where it is not there.</summary>
    public ulong Find(ulong pc)
    {
        uint value = Volatile.Read(ref *Slot(pc));
        // SAFETY: what a slot holds is the offset of an entry, in front of which its guest address stands.
        return value != 0 && *(ulong*)(_codeBase + value - 8) == pc ? _codeBase + value : 0;
    }

    /// <summary>Empties the slot if it leads to <paramref name="entry"/>.</summary>
    public void Remove(ulong pc, ulong entry)
    {
        uint value = (uint)(entry - _codeBase);
        Interlocked.CompareExchange(ref *Slot(pc), 0u, value);
    }

    /// <summary>Empties a slot, whatever it leads to.</summary>
    public void Clear(ulong pc) => Volatile.Write(ref *Slot(pc), 0u);

    /// <summary>Empties the slots of a page of code, which lie side by side.</summary>
    public void ClearPage(ulong page) => new Span<uint>(Slot(page & ~4095UL), 2048).Clear();

    /// <summary>Empties the table.</summary>
    public void ClearAll() => new Span<uint>(_slots, 1 << Bits).Clear();

    private uint* Slot(ulong pc) => (uint*)((byte*)_slots + ((pc * 2) & OffsetMask));

    public void Dispose()
    {
        if (_slots != null) _pool.Return((nint)_slots);
        _slots = null;
    }
}
