using Vivarium.RiscV.Execution;

namespace Vivarium.RiscV.Privileged;

// Sv39, Sv48 and Sv57 with Svnapot, Svpbmt and Svadu (Privileged Architecture, "Supervisor-Level ISA" and the Sv extensions).
public sealed partial class PrivilegedUnit
{
    // Page-table entry bits.
    private const ulong V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128, PteReserved = 0x1fUL << 54 | 1UL << 59 | 1UL << 60, Pbmt = 3UL << 61, N = 1UL << 63;
    private const ulong PteNumberMask = (1UL << 44) - 1;
    private const ulong PageSize = 4096, PageMask = PageSize - 1;
    private const ulong NoPage = ulong.MaxValue;

    /// <summary>The highest physical address: 56 bits.</summary>
    private const ulong PhysicalMask = (1UL << 56) - 1;

    /// <summary>Where the last translation or access failed, for the trap.</summary>
    internal TrapCause FaultCause { get; private set; }

    /// <summary>The virtual address for mtval or stval.</summary>
    internal ulong FaultAddress { get; private set; }

    // The translations of superpages are kept as pages; a fence of any address of these ranges drops all. One range for each half of the
    // address space, so that the kernel's linear map does not make fences of user pages dear.
    private ulong _superLow0, _superHigh0, _superLow1, _superHigh1;

    /// <summary>What the walk found.</summary>
    private struct Mapping
    {
        /// <summary>Physical address.</summary>
        public ulong Address;

        /// <summary>The leaf's R, W, X, U and D; where nothing is translated, what allows everything to the mode.</summary>
        public ulong Flags;

        /// <summary>Bytes that the leaf maps, less 1; 0 where nothing is translated.</summary>
        public ulong SizeMask;
    }

    /// <summary>Translates a virtual address in a mode; false with <see cref="FaultCause"/> set.</summary>
    private bool Translate(ulong address, AccessKind kind, PrivilegeMode mode, out Mapping mapping)
    {
        mapping = default;
        var satpMode = (int)(_satp >> 60);
        if (mode == PrivilegeMode.Machine || satpMode == 0)
        {
            mapping.Address = address;
            mapping.Flags = R | W | X | D | (mode == PrivilegeMode.User ? U : 0);
            return address <= PhysicalMask || AccessFault(kind, address);
        }

        var levels = satpMode - 5; // 8 is Sv39, 9 Sv48, 10 Sv57
        var unused = 64 - (12 + 9 * levels);
        if ((ulong)((long)address << unused >> unused) != address) return PageFault(kind, address);

        while (true) // again where another hart changed the entry under the update of A and D
        {
            var table = (_satp & PteNumberMask) << 12;
            var level = levels - 1;
            ulong pte, pteAddress;
            while (true)
            {
                pteAddress = table + (address >> (12 + 9 * level) & 0x1ff) * 8;
                if (!ReadPte(pteAddress, out pte)) return AccessFault(kind, address);
                if ((pte & V) == 0 || (pte & (R | W)) == W || (pte & PteReserved) != 0) return PageFault(kind, address);
                if ((pte & (R | X)) != 0) break;
                if ((pte & (A | D | U | N | Pbmt)) != 0 || level == 0) return PageFault(kind, address);
                table = (pte >> 10 & PteNumberMask) << 12;
                level--;
            }

            if (!Permitted(pte, kind, mode)) return PageFault(kind, address);
            var number = pte >> 10 & PteNumberMask;
            var below = (1UL << (9 * level)) - 1;
            if ((number & below) != 0) return PageFault(kind, address); // misaligned superpage
            if ((pte & Pbmt) != 0 && ((_menvcfg & Envcfg.Pbmte) == 0 || (pte & Pbmt) == Pbmt)) return PageFault(kind, address);
            if ((pte & N) != 0)
            {
                if (!Features.Svnapot || level != 0 || (number & 15) != 8) return PageFault(kind, address); // 64 KiB is the only size
                below = 15;
                number &= ~15UL;
            }

            var needed = kind == AccessKind.Store ? A | D : A;
            if ((pte & needed) != needed)
            {
                if ((_menvcfg & Envcfg.Adue) == 0) return PageFault(kind, address);
                if (!Pmp.Allows(pteAddress, 8, AccessKind.Store, PrivilegeMode.Supervisor)) return AccessFault(kind, address);
                _bus.Ram.CompareExchange64(pteAddress - _bus.RamBase, pte, pte | needed, out var observed);
                if (observed != pte) continue;
                pte |= needed;
            }

            mapping.Address = (number | (address >> 12 & below)) << 12 | (address & PageMask);
            mapping.Flags = pte & (R | W | X | U | G | D);
            mapping.SizeMask = below << 12 | PageMask;
            return true;
        }
    }

    private bool ReadPte(ulong address, out ulong pte)
    {
        pte = 0;
        var offset = address - _bus.RamBase; // page tables lie in RAM
        return offset < _bus.RamSize && Pmp.Allows(address, 8, AccessKind.Load, PrivilegeMode.Supervisor) && _bus.Ram.Load64(offset, out pte) == 0;
    }

    private bool Permitted(ulong pte, AccessKind kind, PrivilegeMode mode)
    {
        if (mode == PrivilegeMode.User)
        {
            if ((pte & U) == 0) return false;
        }
        else if ((pte & U) != 0 && (kind == AccessKind.Fetch || (_mstatus & Mstatus.Sum) == 0))
        {
            return false;
        }
        return kind switch
        {
            AccessKind.Load => (pte & R) != 0 || ((_mstatus & Mstatus.Mxr) != 0 && (pte & X) != 0),
            AccessKind.Store => (pte & W) != 0,
            _ => (pte & X) != 0,
        };
    }

    private bool PageFault(AccessKind kind, ulong address) => Fault(kind switch
    {
        AccessKind.Load => TrapCause.LoadPageFault,
        AccessKind.Store => TrapCause.StorePageFault,
        _ => TrapCause.InstructionPageFault,
    }, address);

    private bool AccessFault(AccessKind kind, ulong address) => Fault(kind switch
    {
        AccessKind.Load => TrapCause.LoadAccessFault,
        AccessKind.Store => TrapCause.StoreAccessFault,
        _ => TrapCause.InstructionAccessFault,
    }, address);

    private bool Fault(TrapCause cause, ulong address)
    {
        (FaultCause, FaultAddress) = (cause, address);
        return false;
    }

    // The TLB.

    /// <summary>Translates and checks PMP, and remembers the page where it is RAM and all its bytes have the same rights.</summary>
    private bool TranslateAndFill(ulong address, ulong size, AccessKind kind, out ulong physical)
    {
        physical = 0;
        var mode = kind == AccessKind.Fetch ? Mode : DataMode;
        if (!Translate(address, kind, mode, out var mapping)) return false;
        physical = mapping.Address;
        var rights = Pmp.PageRights(physical & ~PageMask, mode, out var uniform);
        if (!uniform) return Pmp.Allows(physical, size, kind, mode) || AccessFault(kind, address);
        if ((rights >> (int)kind & 1) == 0) return AccessFault(kind, address);

        var page = physical & ~PageMask;
        if (page - _bus.RamBase >= _bus.RamSize) return true;
        var table = kind == AccessKind.Fetch ? _fetchTable : _dataTable;
        var virtualPage = address & ~PageMask;
        if (mapping.SizeMask > PageMask) NoteSuperpage(address & ~mapping.SizeMask, address | mapping.SizeMask);
        if (table == HartTlb.Supervisor && (mapping.Flags & G) == 0) NoteLocal(virtualPage, kind);
        var ramPage = page - _bus.RamBase;
        var loads = (rights & 1) != 0 && Permitted(mapping.Flags, AccessKind.Load, mode);
        var stores = (rights & 2) != 0 && (mapping.Flags & D) != 0 && Permitted(mapping.Flags, AccessKind.Store, mode)
            && (MayStoreDirectly is not { } mayStore || mayStore(ramPage));
        _tlb.Fill(table, address, ramPage, loads, stores, (rights & 4) != 0 && Permitted(mapping.Flags, AccessKind.Fetch, mode));
        if (stores && MayStoreDirectly is { } stillMay)
        {
            Interlocked.MemoryBarrier();
            if (!stillMay(ramPage)) _tlb.ForbidStores(table, address);
        }
        return true;
    }

    private void NoteSuperpage(ulong first, ulong last)
    {
        if ((long)first >= 0) (_superLow0, _superHigh0) = (Math.Min(_superLow0, first), Math.Max(_superHigh0, last));
        else (_superLow1, _superHigh1) = (Math.Min(_superLow1, first), Math.Max(_superHigh1, last));
    }

    // Address spaces: the values of satp whose translations are kept, the one in use, and the one that goes next.
    private readonly ulong[] _spaces = MakeSpaces();
    private int _space, _nextSpace;

    // Supervisor mode's pages that are not global, which belong to the address space in use; more than these are all of its table.
    private readonly ulong[] _local = new ulong[16];
    private int _locals;
    private bool _hasLocalCode;

    /// <summary>The number of the address space in use, below <see cref="HartTlb.Spaces"/>: what a number stands for changes only where
    /// <see cref="TranslationsFlushed"/> says so.</summary>
    public int Space => _space;

    /// <summary>In the mask of <see cref="TranslationsFlushed"/>: supervisor and machine mode. Lower bits are address spaces.</summary>
    public const uint PrivilegedSpaces = 1u << HartTlb.Spaces, AllSpaces = PrivilegedSpaces * 2 - 1;

    private static ulong[] MakeSpaces()
    {
        var spaces = new ulong[HartTlb.Spaces];
        spaces.AsSpan().Fill(ulong.MaxValue);
        return spaces;
    }

    /// <summary><c>satp</c> was written: what is known of its address space is used again. A change of MODE takes effect at once, so that nothing stays.</summary>
    private void SwitchSpace(ulong old)
    {
        if (old >> 60 != _satp >> 60)
        {
            FlushTranslations();
            return;
        }
        if (_locals != 0) FlushLocal();
        _tlb.ForgetNear();
        var space = Array.IndexOf(_spaces, _satp);
        if (space < 0)
        {
            space = _nextSpace;
            _nextSpace = (space + 1) % HartTlb.Spaces;
            _spaces[space] = _satp;
            _tlb.FlushSpace(space);
            TranslationsFlushed?.Invoke(null, 1u << space);
        }
        _space = space;
        ModeChanged();
    }

    private void NoteLocal(ulong page, AccessKind kind)
    {
        _hasLocalCode |= kind == AccessKind.Fetch;
        if (_locals < _local.Length) _local[_locals] = page;
        _locals = Math.Min(_locals + 1, _local.Length + 1);
    }

    private void FlushLocal()
    {
        if (_locals > _local.Length) _tlb.Flush(HartTlb.Supervisor);
        else
        {
            foreach (var page in _local.AsSpan(0, _locals))
            {
                _tlb.FlushPage(HartTlb.Supervisor, page);
                _tlb.ForgetNear(page);
            }
        }
        if (_hasLocalCode) TranslationsFlushed?.Invoke(null, PrivilegedSpaces);
        (_locals, _hasLocalCode) = (0, false);
    }

    /// <summary>Forgets the translations of one page, or of all; of one address space, where <paramref name="asid"/> says so (global ones may stay then).</summary>
    public void FlushTranslations(ulong? address = null, ulong? asid = null)
    {
        _fetchPage = NoPage;
        var spaces = asid is { } one ? SpacesOf(one) : AllSpaces;
        if (address is { } page && !((page >= _superLow0 && page <= _superHigh0) || (page >= _superLow1 && page <= _superHigh1)))
        {
            for (var space = 0; space < HartTlb.Spaces; space++)
            {
                if ((spaces >> space & 1) == 0) continue;
                _tlb.FlushPage(HartTlb.User(space), page);
                _tlb.FlushPage(HartTlb.SupervisorSum(space), page);
            }
            _tlb.FlushPage(HartTlb.Supervisor, page);
            _tlb.FlushPage(HartTlb.Machine, page);
            _tlb.ForgetNear(page);
            TranslationsFlushed?.Invoke(page, spaces | PrivilegedSpaces);
            return;
        }
        if (asid is not null)
        {
            for (var space = 0; space < HartTlb.Spaces; space++)
            {
                if ((spaces >> space & 1) != 0) _tlb.FlushSpace(space);
            }
            if (_locals != 0) FlushLocal();
            TranslationsFlushed?.Invoke(null, spaces);
            return;
        }
        _tlb.Flush();
        _spaces.AsSpan().Fill(ulong.MaxValue);
        _spaces[_space] = _satp;
        (_locals, _hasLocalCode) = (0, false);
        TranslationsFlushed?.Invoke(null, AllSpaces);
        (_superLow0, _superHigh0, _superLow1, _superHigh1) = (ulong.MaxValue, 0, ulong.MaxValue, 0);
    }

    /// <summary>The address spaces that have an ASID.</summary>
    private uint SpacesOf(ulong asid)
    {
        var mask = (1UL << Features.AsidBits) - 1;
        uint spaces = 0;
        for (var space = 0; space < HartTlb.Spaces; space++)
        {
            if (_spaces[space] != ulong.MaxValue && (_spaces[space] >> 44 & 0xffff) == (asid & mask)) spaces |= 1u << space;
        }
        return spaces;
    }

    /// <summary>After a change of the mode, or of what in mstatus decides how memory is seen: chooses the tables.</summary>
    private void ModeChanged()
    {
        _fetchPage = NoPage;
        _fetchTable = Mode switch { PrivilegeMode.User => HartTlb.User(_space), PrivilegeMode.Supervisor => HartTlb.Supervisor, _ => HartTlb.Machine };
        DataMode = Mode == PrivilegeMode.Machine && (_mstatus & Mstatus.Mprv) != 0
            ? (PrivilegeMode)((_mstatus & Mstatus.Mpp) >> Mstatus.MppShift)
            : Mode;
        var dataTable = DataMode switch
        {
            PrivilegeMode.User => HartTlb.User(_space),
            PrivilegeMode.Supervisor => (_mstatus & Mstatus.Sum) != 0 ? HartTlb.SupervisorSum(_space) : HartTlb.Supervisor,
            _ => HartTlb.Machine,
        };
        ref var state = ref _hart.State;
        state.DataTlb = _tlb.Choose(dataTable);
        state.SupervisorTlb = _tlb.Choose(HartTlb.Supervisor);
        state.SupervisorSumTlb = _tlb.Choose(HartTlb.SupervisorSum(_space));
        _tlb.Choose(_fetchTable);
    }
}
