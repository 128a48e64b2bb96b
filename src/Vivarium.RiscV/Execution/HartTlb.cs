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
/// looking at memory. User mode, and supervisor mode with SUM set, have one for each of the address spaces (values of <c>satp</c>) used last; supervisor mode
/// with SUM clear sees the same in all of them, but for what is not global.
/// </summary>
/// <remarks>An access of n bytes at a hits where a - tag, unsigned, is at most 4096 - n: so an access that crosses into another page never hits. Only the hart's
/// thread uses it, but for <see cref="ProtectStores"/>.</remarks>
public sealed unsafe class HartTlb
{
    /// <summary>Address spaces whose translations are kept.</summary>
    public const int Spaces = 8;

    /// <summary>The tables.</summary>
    public const int Supervisor = Spaces * 2, Machine = Supervisor + 1, Tables = Machine + 1;

    /// <summary>Entries of a table.</summary>
    public const int Entries = 2048; // of 32 bytes: IndexOf knows

    /// <summary>The table of user mode in an address space.</summary>
    public static int User(int space) => space * 2;

    /// <summary>The table of supervisor mode with SUM set in an address space.</summary>
    public static int SupervisorSum(int space) => space * 2 + 1;

    /// <summary>The tag of an empty entry: the address of a page that belongs to another slot, so that no address hits.</summary>
    public static ulong NoneOf(int slot) => 0x4000_0000_0000_0000 | (ulong)(slot ^ 1) << PageShift;

    /// <summary>How far an address is shifted before it is mixed with itself; see <see cref="SlotOf"/>.</summary>
    public const int MixShift = 11;

    private const int PageShift = 12;
    private const int Remembered = 256;

    // SAFETY: Tables * Entries entries, freed with this object; indices are masked. Tables are emptied when they are first chosen.
    private readonly TlbEntry* _entries = (TlbEntry*)NativeMemory.AlignedAlloc((nuint)(Tables * Entries * sizeof(TlbEntry)), 4096);

    // The slots filled since the last flush, so that flushing a few costs little; more than that clears the table.
    private readonly ushort[] _filled = new ushort[Tables * Remembered];
    private readonly int[] _fills = new int[Tables];
    private readonly bool[] _isReady = new bool[Tables];

    ~HartTlb() => NativeMemory.AlignedFree(_entries);

    /// <summary>Host address of a table, for emitted code; from now on it may be used.</summary>
    public ulong Choose(int table)
    {
        if (!_isReady[table])
        {
            Clear(table);
            _isReady[table] = true;
        }
        return (ulong)(_entries + table * Entries);
    }

    /// <summary>The table at a host address that <see cref="Choose"/> gave.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int IndexOf(ulong address) => (int)(address - (ulong)_entries >> 16);

    /// <summary>The one entry of a chosen table in which an address can be.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref TlbEntry At(int table, ulong address) => ref _entries[table * Entries + SlotOf(address)];

    /// <summary>The entry, to be filled.</summary>
    public ref TlbEntry Fill(int table, ulong address)
    {
        var slot = SlotOf(address);
        var fills = _fills[table];
        if (fills < Remembered) _filled[table * Remembered + fills] = (ushort)slot;
        Volatile.Write(ref _fills[table], fills + 1); // before the entry: see ProtectStores
        return ref _entries[table * Entries + slot];
    }

    /// <summary>Forgets a table.</summary>
    public void Flush(int table)
    {
        var fills = _fills[table];
        if (fills == 0) return;
        var entries = _entries + table * Entries;
        if (fills > Remembered) Clear(table);
        else
        {
            foreach (var slot in _filled.AsSpan(table * Remembered, fills)) Clear(ref entries[slot], slot);
        }
        Volatile.Write(ref _fills[table], 0);
    }

    /// <summary>Forgets everything.</summary>
    public void Flush()
    {
        for (var table = 0; table < Tables; table++) Flush(table);
    }

    /// <summary>Forgets the two tables of an address space.</summary>
    public void FlushSpace(int space)
    {
        Flush(User(space));
        Flush(SupervisorSum(space));
    }

    /// <summary>Forgets one page in a table.</summary>
    public void FlushPage(int table, ulong address)
    {
        if (_fills[table] != 0) Clear(ref At(table, address), SlotOf(address));
    }

    /// <summary>From now on stores to a page of RAM do not hit; any thread.</summary>
    public void ProtectStores(ulong page)
    {
        for (var table = 0; table < Tables; table++)
        {
            // Who fills counts first, and asks after it wrote the entry: what is not seen here sees that stores are forbidden.
            if (Volatile.Read(ref _fills[table]) == 0) continue;
            var entries = _entries + table * Entries;
            for (var slot = 0; slot < Entries; slot++)
            {
                if (entries[slot].Page == page) Volatile.Write(ref entries[slot].StoreTag, NoneOf(slot));
            }
        }
    }

    /// <summary>The slot of an address. Upper bits are mixed in: arrays that lie a power of two apart, as they like to, must not meet in one slot.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int SlotOf(ulong address) => (int)((address ^ address >> MixShift) >> PageShift & (Entries - 1));

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
