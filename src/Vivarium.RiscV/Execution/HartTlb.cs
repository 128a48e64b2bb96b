using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Vivarium.RiscV.Execution;

/// <summary>One page of one <see cref="HartTlb"/> table. Its layout is an ABI of emitted code.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct TlbEntry
{
    /// <summary>The virtual address of the page where loads may go straight to RAM; <see cref="HartTlb.None"/> where not.</summary>
    public ulong LoadTag;

    /// <summary>The same for stores.</summary>
    public ulong StoreTag;

    /// <summary>The same for fetches.</summary>
    public ulong FetchTag;

    /// <summary>What makes the host's address of a virtual one.</summary>
    public ulong Addend;
}

/// <summary>
/// The translations that one hart used lately, in native memory so that emitted code can look them up: a direct-mapped table for each way of
/// looking at memory. User mode, and supervisor mode with SUM set, have one for each of the address spaces (values of <c>satp</c>) used last; supervisor mode
/// with SUM clear sees the same in all of them, but for what is not global.
/// </summary>
/// <remarks>
/// Each table has two halves. The first is looked up in line, by the low bits of the page number. The second has the same entries by a mix of all bits: what
/// meets in a slot of the first (arrays that lie a power of two apart) stands apart there. In front of both are the near pages of
/// <see cref="HartState"/>, which emitted code uses where it expects the page of last time. An access hits where the page of its last byte is the tag in the slot
/// of its first: one that crosses into another page never does. Only the hart's thread uses a unit, but for <see cref="ProtectStores"/>.
/// </remarks>
public sealed unsafe class HartTlb
{
    /// <summary>Address spaces whose translations are kept.</summary>
    public const int Spaces = 8;

    /// <summary>The tables.</summary>
    public const int Supervisor = Spaces * 2, Machine = Supervisor + 1, Tables = Machine + 1;

    /// <summary>Entries of half a table.</summary>
    public const int Entries = 2048; // of 32 bytes: IndexOf knows

    /// <summary>Bytes from an entry's half to the other.</summary>
    public const int SecondHalf = Entries * 32;

    /// <summary>The tag of an empty entry: no address of a page.</summary>
    public const ulong None = ulong.MaxValue;

    /// <summary>The table of user mode in an address space.</summary>
    public static int User(int space) => space * 2;

    /// <summary>The table of supervisor mode with SUM set in an address space.</summary>
    public static int SupervisorSum(int space) => space * 2 + 1;

    /// <summary>How far an address is shifted before it is mixed with itself, in the second half.</summary>
    public const int MixShift = 11;

    private const int PageShift = 12;
    private const ulong PageMask = 4095;
    private const int Remembered = 256;

    // SAFETY: Tables * 2 * Entries entries, freed with this object; indices are masked. Tables are emptied when they are first chosen.
    private readonly TlbEntry* _entries = (TlbEntry*)NativeMemory.AlignedAlloc((nuint)(Tables * 2 * Entries * sizeof(TlbEntry)), 4096);

    // The pages filled since the last flush, so that flushing a few costs little; more than that clears the table.
    private readonly ulong[] _filled = new ulong[Tables * Remembered];
    private readonly int[] _fills = new int[Tables];
    private readonly bool[] _isReady = new bool[Tables];
    private readonly Hart _hart; // SAFETY: its state lives as long as this reference
    private readonly ulong _ram;

    /// <param name="hart">Whose near pages belong to this.</param>
    /// <param name="ram">Host address of RAM.</param>
    public HartTlb(Hart hart, ulong ram)
    {
        (_hart, _ram) = (hart, ram);
        ForgetNear();
    }

    ~HartTlb() => NativeMemory.AlignedFree(_entries);

    /// <summary>Host address of a table, for emitted code; from now on it may be used.</summary>
    public ulong Choose(int table)
    {
        if (!_isReady[table])
        {
            Clear(table);
            _isReady[table] = true;
        }
        return (ulong)(_entries + table * 2 * Entries);
    }

    /// <summary>The table at a host address that <see cref="Choose"/> gave.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int IndexOf(ulong address) => (int)(address - (ulong)_entries >> 17);

    /// <summary>The one entry of a chosen table that is looked at first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref TlbEntry At(int table, ulong address) => ref _entries[table * 2 * Entries + SlotOf(address)];

    /// <summary>Whether an access hits an entry by its tag.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Hits(ulong tag, ulong address, ulong size) => (address + size - 1 & ~PageMask) == tag;

    /// <summary>The offset in RAM of an address that hits an entry.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Offset(in TlbEntry entry, ulong address) => address + entry.Addend - _ram;

    /// <summary>Maps the page of an address to one of RAM (by its offset), for the given kinds of access and those that it is mapped for already.</summary>
    public void Fill(int table, ulong address, ulong ramPage, bool loads, bool stores, bool fetches)
    {
        var page = address & ~PageMask;
        var fills = _fills[table];
        if (fills < Remembered) _filled[table * Remembered + fills] = page;
        Volatile.Write(ref _fills[table], fills + 1); // before the entry: see ProtectStores
        var entry = new TlbEntry { LoadTag = None, StoreTag = None, FetchTag = None, Addend = _ram + ramPage - page };
        ref var first = ref At(table, address);
        ref var second = ref Second(table, address);
        if (IsOf(first, page, entry.Addend)) entry = first;
        else if (IsOf(second, page, entry.Addend)) entry = second;
        if (loads) entry.LoadTag = page;
        if (stores) entry.StoreTag = page;
        if (fetches) entry.FetchTag = page;
        first = second = entry;
    }

    /// <summary>Stores to the page of an address do not hit.</summary>
    public void ForbidStores(int table, ulong address) => At(table, address).StoreTag = Second(table, address).StoreTag = None;

    /// <summary>Forgets a table.</summary>
    public void Flush(int table)
    {
        var fills = _fills[table];
        if (fills == 0) return;
        if (fills > Remembered) Clear(table);
        else
        {
            foreach (var page in _filled.AsSpan(table * Remembered, fills)) Clear(table, page);
        }
        Volatile.Write(ref _fills[table], 0);
        ForgetNear();
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

    /// <summary>Forgets one page in a table, but not as a near page: see <see cref="ForgetNear(ulong)"/>.</summary>
    public void FlushPage(int table, ulong address)
    {
        if (_fills[table] != 0) Clear(table, address);
    }

    /// <summary>Forgets one page as a near page.</summary>
    public void ForgetNear(ulong address)
    {
        address &= ~PageMask;
        foreach (ref var tag in MemoryMarshal.CreateSpan(ref _hart.State.NearTags[0], HartState.NearPages))
        {
            if (tag == address) tag = None;
        }
    }

    /// <summary>Forgets the near pages: another address space, or supervisor mode with another SUM.</summary>
    public void ForgetNear() => MemoryMarshal.CreateSpan(ref _hart.State.NearTags[0], HartState.NearPages).Fill(None);

    /// <summary>From now on stores to a page of RAM do not hit; any thread.</summary>
    /// <remarks>From the second half over the first to the near pages, as entries are copied: who copies looks again, behind a fence, at what it copied.</remarks>
    public void ProtectStores(ulong page)
    {
        for (var half = 1; half >= 0; half--)
        {
            for (var table = 0; table < Tables; table++)
            {
                // Who fills counts first, and asks after it wrote the entry: what is not seen here sees that stores are forbidden.
                if (Volatile.Read(ref _fills[table]) == 0) continue;
                var entries = _entries + (table * 2 + half) * Entries;
                for (var slot = 0; slot < Entries; slot++)
                {
                    var tag = entries[slot].StoreTag;
                    if (tag != None && tag + entries[slot].Addend - _ram == page) Volatile.Write(ref entries[slot].StoreTag, None);
                }
            }
            Interlocked.MemoryBarrier();
        }
        ref var state = ref _hart.State;
        for (var i = 0; i < HartState.NearPages; i++)
        {
            var tag = Volatile.Read(ref state.NearTags[i]);
            if (tag != None && tag + Volatile.Read(ref state.NearAddends[i]) - _ram == page) Volatile.Write(ref state.NearTags[i], None);
        }
    }

    /// <summary>The slot of an address in the first half.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int SlotOf(ulong address) => (int)(address >> PageShift & (Entries - 1));

    private ref TlbEntry Second(int table, ulong address) => ref _entries[(table * 2 + 1) * Entries + SlotOf(address ^ address >> MixShift)];

    private static bool IsOf(in TlbEntry entry, ulong page, ulong addend) =>
        entry.Addend == addend && (entry.LoadTag == page || entry.StoreTag == page || entry.FetchTag == page);

    private void Clear(int table) => new Span<byte>(_entries + table * 2 * Entries, 2 * Entries * sizeof(TlbEntry)).Fill(0xff);

    private void Clear(int table, ulong address)
    {
        Clear(ref At(table, address));
        Clear(ref Second(table, address));
    }

    private static void Clear(ref TlbEntry entry) => entry.LoadTag = entry.StoreTag = entry.FetchTag = None;
}
