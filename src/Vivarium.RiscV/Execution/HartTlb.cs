using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Vivarium.RiscV.Execution;

/// <summary>One page of one <see cref="HartTlb"/> table. Its layout is an ABI of emitted code.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct TlbEntry
{
    /// <summary>The virtual address of the page where loads may go straight to RAM; <see cref="HartTlb.NoneOf"/> where not.</summary>
    public ulong LoadTag;

    /// <summary>The same for stores.</summary>
    public ulong StoreTag;

    /// <summary>The same for fetches.</summary>
    public ulong FetchTag;

    /// <summary>The page's offset in the RAM window.</summary>
    public ulong Page;
}

/// <summary>
/// The translations that one hart used lately, in native memory so that emitted code can look them up: a direct-mapped table for each way of
/// looking at memory (user, supervisor with SUM clear and set, machine).
/// </summary>
/// <remarks>An access of n bytes at a hits where a - tag, unsigned, is at most 4096 - n: so an access that crosses into another page never hits. Only the hart's
/// thread uses it, but for <see cref="ProtectStores"/>.</remarks>
public sealed unsafe class HartTlb
{
    /// <summary>The tables.</summary>
    public const int User = 0, Supervisor = 1, SupervisorSum = 2, Machine = 3, Tables = 4;

    /// <summary>Entries of a table.</summary>
    public const int Entries = 1024;

    /// <summary>The tag of an empty entry: the address of a page that belongs to another slot, so that no address hits.</summary>
    public static ulong NoneOf(int slot) => 0x4000_0000_0000_0000 | (ulong)(slot ^ 1) << PageShift;

    private const int PageShift = 12;
    private const int Remembered = 256;

    // SAFETY: Tables * Entries entries, freed with this object; indices are masked.
    private readonly TlbEntry* _entries = (TlbEntry*)NativeMemory.AlignedAlloc((nuint)(Tables * Entries * sizeof(TlbEntry)), 64);

    // The slots filled since the last flush, so that flushing a few costs little; more than that clears the table.
    private readonly ushort[] _filled = new ushort[Tables * Remembered];
    private readonly int[] _fills = new int[Tables];

    public HartTlb()
    {
        for (var table = 0; table < Tables; table++) Clear(table);
    }

    ~HartTlb() => NativeMemory.AlignedFree(_entries);

    /// <summary>Host address of a table, for emitted code.</summary>
    public ulong AddressOf(int table) => (ulong)(_entries + table * Entries);

    /// <summary>The one entry of a table in which an address can be.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref TlbEntry At(int table, ulong address) => ref _entries[table * Entries + (int)(address >> PageShift & (Entries - 1))];

    /// <summary>The entry, to be filled.</summary>
    public ref TlbEntry Fill(int table, ulong address)
    {
        var slot = (int)(address >> PageShift & (Entries - 1));
        var fills = _fills[table];
        if (fills < Remembered) _filled[table * Remembered + fills] = (ushort)slot;
        _fills[table] = fills + 1;
        return ref _entries[table * Entries + slot];
    }

    /// <summary>Forgets a table.</summary>
    public void Flush(int table)
    {
        var fills = _fills[table];
        if (fills == 0) return;
        _fills[table] = 0;
        var entries = _entries + table * Entries;
        if (fills > Remembered)
        {
            Clear(table);
            return;
        }
        foreach (var slot in _filled.AsSpan(table * Remembered, fills)) Clear(ref entries[slot], slot);
    }

    /// <summary>Forgets everything.</summary>
    public void Flush()
    {
        for (var table = 0; table < Tables; table++) Flush(table);
    }

    /// <summary>Forgets one page in all tables.</summary>
    public void FlushPage(ulong address)
    {
        for (var table = 0; table < Tables; table++) Clear(ref At(table, address), SlotOf(address));
    }

    /// <summary>From now on stores to a page of RAM do not hit; any thread.</summary>
    public void ProtectStores(ulong page)
    {
        for (var i = 0; i < Tables * Entries; i++)
        {
            ref var entry = ref _entries[i];
            if (entry.Page == page) Volatile.Write(ref entry.StoreTag, NoneOf(i & (Entries - 1)));
        }
    }

    private static int SlotOf(ulong address) => (int)(address >> PageShift & (Entries - 1));

    private void Clear(int table)
    {
        for (var slot = 0; slot < Entries; slot++) Clear(ref _entries[table * Entries + slot], slot);
    }

    private static void Clear(ref TlbEntry entry, int slot)
    {
        entry.LoadTag = entry.StoreTag = entry.FetchTag = NoneOf(slot);
        entry.Page = ulong.MaxValue;
    }
}
