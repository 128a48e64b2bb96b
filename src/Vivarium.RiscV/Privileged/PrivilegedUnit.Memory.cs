using System.Runtime.CompilerServices;
using Vivarium.RiscV.Execution;

namespace Vivarium.RiscV.Privileged;

// Loads, stores and fetches of a hart with virtual memory. They return 0, or Faulted with the trap in FaultCause and FaultAddress.
public sealed partial class PrivilegedUnit
{
    /// <summary>What accesses return that trap.</summary>
    internal const int Faulted = -1;

    private readonly HartTlb _tlb;
    private int _fetchTable;

    // Emitted code chooses another one where it changes SUM.
    private int _dataTable => _tlb.IndexOf(_hart.State.DataTlb);

    // The page that instructions come from: its virtual and its physical address.
    private ulong _fetchPage = NoPage, _fetchPhysical;

    /// <summary>The mode that loads and stores are checked in: that of MPP under MPRV.</summary>
    private PrivilegeMode DataMode { get; set; }

    internal int Load8(ulong address, out byte value)
    {
        ref var entry = ref _tlb.At(_dataTable, address);
        if (HartTlb.Hits(entry.LoadTag, address, 1)) return _bus.Ram.Load8(_tlb.Offset(entry, address), out value);
        var result = LoadSlowly(address, sizeof(byte), out var wide);
        value = (byte)wide;
        return result;
    }

    internal int Load16(ulong address, out ushort value)
    {
        ref var entry = ref _tlb.At(_dataTable, address);
        if (HartTlb.Hits(entry.LoadTag, address, 2)) return _bus.Ram.Load16(_tlb.Offset(entry, address), out value);
        var result = LoadSlowly(address, sizeof(ushort), out var wide);
        value = (ushort)wide;
        return result;
    }

    internal int Load32(ulong address, out uint value)
    {
        ref var entry = ref _tlb.At(_dataTable, address);
        if (HartTlb.Hits(entry.LoadTag, address, 4)) return _bus.Ram.Load32(_tlb.Offset(entry, address), out value);
        var result = LoadSlowly(address, sizeof(uint), out var wide);
        value = (uint)wide;
        return result;
    }

    internal int Load64(ulong address, out ulong value)
    {
        ref var entry = ref _tlb.At(_dataTable, address);
        if (HartTlb.Hits(entry.LoadTag, address, 8)) return _bus.Ram.Load64(_tlb.Offset(entry, address), out value);
        return LoadSlowly(address, sizeof(ulong), out value);
    }

    internal int Store8(ulong address, byte value)
    {
        ref var entry = ref _tlb.At(_dataTable, address);
        return HartTlb.Hits(entry.StoreTag, address, 1)
            ? _bus.Ram.Store8(_tlb.Offset(entry, address), value)
            : StoreSlowly(address, sizeof(byte), value);
    }

    internal int Store16(ulong address, ushort value)
    {
        ref var entry = ref _tlb.At(_dataTable, address);
        return HartTlb.Hits(entry.StoreTag, address, 2)
            ? _bus.Ram.Store16(_tlb.Offset(entry, address), value)
            : StoreSlowly(address, sizeof(ushort), value);
    }

    internal int Store32(ulong address, uint value)
    {
        ref var entry = ref _tlb.At(_dataTable, address);
        return HartTlb.Hits(entry.StoreTag, address, 4)
            ? _bus.Ram.Store32(_tlb.Offset(entry, address), value)
            : StoreSlowly(address, sizeof(uint), value);
    }

    internal int Store64(ulong address, ulong value)
    {
        ref var entry = ref _tlb.At(_dataTable, address);
        return HartTlb.Hits(entry.StoreTag, address, 8)
            ? _bus.Ram.Store64(_tlb.Offset(entry, address), value)
            : StoreSlowly(address, sizeof(ulong), value);
    }

    // Atomics are aligned when they come here. They go to RAM only.

    internal int CompareExchange32(ulong address, uint expected, uint desired, out uint observed)
    {
        observed = 0;
        return AtomicTarget(address, sizeof(uint), out var offset) ? _bus.Ram.CompareExchange32(offset, expected, desired, out observed) : Faulted;
    }

    internal int CompareExchange64(ulong address, ulong expected, ulong desired, out ulong observed)
    {
        observed = 0;
        return AtomicTarget(address, sizeof(ulong), out var offset) ? _bus.Ram.CompareExchange64(offset, expected, desired, out observed) : Faulted;
    }

    internal int CompareExchange128(ulong address, UInt128 expected, UInt128 desired, out UInt128 observed)
    {
        observed = default;
        return AtomicTarget(address, 16, out var offset) ? _bus.Ram.CompareExchange128(offset, expected, desired, out observed) : Faulted;
    }

    private bool AtomicTarget(ulong address, ulong size, out ulong offset)
    {
        ref var entry = ref _tlb.At(_dataTable, address);
        offset = _tlb.Offset(entry, address);
        if (HartTlb.Hits(entry.StoreTag, address, 1)) return true;
        if (!TranslateAndFill(address, size, AccessKind.Store, out var physical)) return false;
        offset = physical - _bus.RamBase;
        if (offset >= _bus.RamSize) return AccessFault(AccessKind.Store, address);
        RamStored?.Invoke(physical, size);
        return true;
    }

    /// <summary>For emitted code: fills the entry of an access; false where the access must be interpreted (a fault, a device, two pages).</summary>
    public bool FillTlb(ulong address, int size, AccessKind kind)
    {
        if (!TranslateAndFill(address, (ulong)size, kind, out _)) return false;
        ref var entry = ref _tlb.At(_dataTable, address);
        return HartTlb.Hits(kind == AccessKind.Load ? entry.LoadTag : entry.StoreTag, address, (ulong)size);
    }

    /// <summary>The physical address of an instruction in RAM; false where fetching traps, which executing it finds out.</summary>
    public bool TryFetch(ulong address, out ulong physical) => FetchAddress(address, out physical);

    /// <summary>Whether stores to a page of RAM (by its window offset) may hit the TLB; null for all. Asked again after the entry is filled: who
    /// comes to forbid it sets what this reads, then calls <see cref="ProtectStores"/>.</summary>
    public Func<ulong, bool>? MayStoreDirectly { get; set; }

    /// <summary>Stores to this page of RAM do not hit the TLB until it is filled anew; any thread.</summary>
    public void ProtectStores(ulong page) => _tlb.ProtectStores(page);

    /// <summary>Told after translations were dropped: of one virtual page, or of all (null); and of which address spaces, as a mask. For who keeps what
    /// follows from them.</summary>
    public Action<ulong?, uint>? TranslationsFlushed { get; set; }

    /// <summary>Told of stores to RAM that did not go through a TLB entry, before they happen: an executor that watches code pages.</summary>
    public Action<ulong, ulong>? RamStored { get; set; }

    private int LoadSlowly(ulong address, int size, out ulong value)
    {
        value = 0;
        var first = (int)Math.Min((ulong)size, PageSize - (address & PageMask));
        if (!TranslateAndFill(address, (ulong)first, AccessKind.Load, out var physical)) return Faulted;
        if (first == size) return LoadPhysical(address, physical, size, out value) ? 0 : Faulted;
        // Both pages are translated before anything is read: devices do not see half an access.
        if (!TranslateAndFill(address + (ulong)first, (ulong)(size - first), AccessKind.Load, out var physical2)) return Faulted;
        for (var i = 0; i < size; i++)
        {
            var (at, virtualAt) = (i < first ? physical + (ulong)i : physical2 + (ulong)(i - first), address + (ulong)i);
            if (!LoadPhysical(virtualAt, at, 1, out var part)) return Faulted;
            value |= part << (8 * i);
        }
        return 0;
    }

    private bool LoadPhysical(ulong address, ulong physical, int size, out ulong value)
    {
        // Devices have aligned registers.
        if (physical - _bus.RamBase >= _bus.RamSize && (physical & (ulong)(size - 1)) != 0)
        {
            value = 0;
            return Fault(TrapCause.LoadAddressMisaligned, address);
        }
        return _bus.TryRead(physical, size, out value) || AccessFault(AccessKind.Load, address);
    }

    private int StoreSlowly(ulong address, int size, ulong value)
    {
        var first = (int)Math.Min((ulong)size, PageSize - (address & PageMask));
        if (!TranslateAndFill(address, (ulong)first, AccessKind.Store, out var physical)) return Faulted;
        if (first == size) return StorePhysical(address, physical, size, value) ? 0 : Faulted;
        if (!TranslateAndFill(address + (ulong)first, (ulong)(size - first), AccessKind.Store, out var physical2)) return Faulted;
        for (var i = 0; i < size; i++)
        {
            var (at, virtualAt) = (i < first ? physical + (ulong)i : physical2 + (ulong)(i - first), address + (ulong)i);
            if (!StorePhysical(virtualAt, at, 1, value >> (8 * i) & 0xff)) return Faulted;
        }
        return 0;
    }

    private bool StorePhysical(ulong address, ulong physical, int size, ulong value)
    {
        if (physical - _bus.RamBase >= _bus.RamSize)
        {
            if ((physical & (ulong)(size - 1)) != 0) return Fault(TrapCause.StoreAddressMisaligned, address);
        }
        else
        {
            RamStored?.Invoke(physical, (ulong)size);
        }
        return _bus.TryWrite(physical, size, value) || AccessFault(AccessKind.Store, address);
    }

    /// <summary>The physical address of an instruction, which lies in RAM; false where fetching traps.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal bool FetchAddress(ulong address, out ulong physical)
    {
        physical = _fetchPhysical | (address & PageMask);
        return (address & ~PageMask) == _fetchPage || FetchAddressSlowly(address, out physical);
    }

    private bool FetchAddressSlowly(ulong address, out ulong physical)
    {
        ref var entry = ref _tlb.At(_fetchTable, address);
        if ((address & ~PageMask) == entry.FetchTag)
        {
            physical = _tlb.Offset(entry, address) + _bus.RamBase;
        }
        else
        {
            if (!TranslateAndFill(address, 2, AccessKind.Fetch, out physical)) return false;
            if (physical - _bus.RamBase >= _bus.RamSize) return AccessFault(AccessKind.Fetch, address);
            // Where rights end within the page, each fetch is checked.
            if (_tlb.At(_fetchTable, address).FetchTag != (address & ~PageMask)) return true;
        }
        (_fetchPage, _fetchPhysical) = (address & ~PageMask, physical & ~PageMask);
        return true;
    }

    /// <summary>16 bits of code at a physical address in RAM.</summary>
    internal ushort FetchHalf(ulong physical)
    {
        _bus.Ram.Load16(physical - _bus.RamBase, out var half);
        return half;
    }
}
