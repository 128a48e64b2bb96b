using System.Collections;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation.Cache;
using Vivarium.Translation.FrontEnd;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Farm;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Machine;

// The optimising tier: regions of user mode. A region is known as the block at its head is, by virtual and physical address, and takes that one's place; it may
// lie in several pages, which its entry finds in the TLB as they were when it was made, or has the dispatcher look up. A change of any of them drops it.
public sealed unsafe partial class MachineEngine : IRegionEngine
{
    private const int MaxPages = 8;
    private const long MaxMismatches = 16;

    private readonly CompileFarm? _farm;
    private readonly Lock _optimizeLock = new(); // held while a region is put in place; taken before _lock

    // Under _lock:
    private readonly List<InstalledRegion> _installed = [];
    private readonly Dictionary<ulong, List<nint>> _regionsIn = []; // by page of RAM
    private readonly GuestCodeReader _flagReader = new(128);
    private Func<ulong, ulong?>? _userPageOf;
    private readonly Dictionary<ulong, ulong> _userPages = []; // virtual page number -> page of RAM, where user code was translated last
    private readonly DemotedRegions _demoted = new();
    private readonly HashSet<CodePlace> _compiling = [];

    private CodeArena? _regionArena;
    private ExtensionSet _extensions;
    private bool _optimizingStopped, _observesFlags;

    bool IRegionEngine.CanOptimize => CanOptimize;
    long IRegionEngine.Generation => Volatile.Read(ref _generation);
    RegionMemory IRegionEngine.Regions => _cache.Regions;

    private bool CanOptimize => !Volatile.Read(ref _optimizingStopped);

    private long _entered, _returned; // regions that are gone

    /// <summary>How often regions were entered elsewhere than at their heads.</summary>
    internal long RegionReturns
    {
        get
        {
            lock (_lock) return _returned + _installed.Sum(static r => r.Header->Returns);
        }
    }

    /// <summary>How many regions are in service, and how often these and earlier ones were entered.</summary>
    internal (int Regions, long Entered) RegionCounts
    {
        get
        {
            lock (_lock) return (_installed.Count, _entered + _installed.Sum(static r => r.Entered));
        }
    }

    GuestRegion? IRegionEngine.Grow(RegionBuilder builder, CodePlace hot, int level, bool assumeWarm)
    {
        ulong offset = hot.Physical - _bus.RamBase;
        var pages = new MachinePages(new CodePage(hot.Pc & ~4095UL, offset & ~4095UL), _extensions, FindPage);
        var warm = new Dictionary<ulong, BitArray>();
        GuestRegion? region = builder.Build(_bus.Ram, null, hot.Pc, assumeWarm ? static _ => true : IsWarm, level, !Volatile.Read(ref _observesFlags), null, pages, wantsWays: assumeWarm ? static _ => true : WantsWays);
        return region != null && region.Pages!.Length <= MaxPages ? region : null;

        // A region with this head did not pay: it may have been left too often.
        bool WantsWays(ulong head)
        {
            lock (_lock) return _demoted.Contains(head);
        }

        bool IsWarm(ulong pc)
        {
            if (!warm.TryGetValue(pc >> 12, out BitArray? known)) warm.Add(pc >> 12, known = pages.OffsetOf(pc >> 12) is { } page ? Translated(pc >> 12, page >> 12) : new BitArray(2048));
            return known[(int)(pc >> 1 & 2047)];
        }
    }

    /// <summary>Where a virtual page of user code was when it was last translated.</summary>
    private ulong? FindPage(ulong number)
    {
        lock (_lock) return _userPages.TryGetValue(number, out ulong page) && _isCode[page] != 0 ? page << 12 : null;
    }

    /// <summary>The halfwords of a page that blocks of user mode were made of.</summary>
    private BitArray Translated(ulong number, ulong page)
    {
        var found = new BitArray(2048);
        lock (_lock)
        {
            if (!_pages.TryGetValue(page, out nint head)) return found;
            for (var block = (BlockHeader*)head; block != null; block = block->NextInPage0)
            {
                if (block->Dead != 0 || block->Mode != (int)PrivilegeMode.User || block->GuestPc >> 12 != number) continue;
                for (int i = 0; i < block->RunCount; i++)
                {
                    ulong first = block->Runs[i].Start;
                    for (int at = 0; at < block->Runs[i].Length; at += 2) found[(int)(first + (ulong)at >> 1 & 2047)] = true;
                }
            }
        }
        return found;
    }

    private CodePlace HeadOf(ulong head, CodePage[] pages) =>
        new(head, _bus.RamBase + Array.Find(pages, p => p.Virtual == (head & ~4095UL)).Offset + (head & 4095));

    bool IRegionEngine.Knows(GuestRegion region)
    {
        CodePlace head = HeadOf(region.Head, region.Pages!);
        lock (_lock)
        {
            return _demoted.HasLike(head, region)
                || _installed.Exists(r => r.Head == region.Head && r.Header->Physical == head.Physical && r.Instructions == region.Instructions);
        }
    }

    (ulong Start, int Length)[] IRegionEngine.LoopOfTierOne(GuestRegion region)
    {
        CodePlace head = HeadOf(region.Head, region.Pages!);
        lock (_optimizeLock)
        {
            if (_optimizingStopped) return []; // its blocks may be gone with the code cache
            lock (_lock) return TranslationEngine.LoopOf(Find(head.Physical, head.Pc, PrivilegeMode.User), region);
        }
    }

    bool IRegionEngine.ObserveTargets() => false;

    bool IRegionEngine.ObserveMore(GuestRegion region) => false;

    bool IRegionEngine.BeginCompiling(GuestRegion region)
    {
        lock (_lock) return _compiling.Add(HeadOf(region.Head, region.Pages!));
    }

    void IRegionEngine.EndCompiling(GuestRegion region)
    {
        lock (_lock) _compiling.Remove(HeadOf(region.Head, region.Pages!));
    }

    void IRegionEngine.Keep(InstalledRegion installed, RegionShape shape, RegionCode code, ulong guestHash)
    {
    }

    void IRegionEngine.InstallStored(CompileFarm farm)
    {
    }

    ulong? IRegionEngine.HashOf(GuestRegion region) => HashOf(region.Runs, region.Pages);

    /// <summary>Hash of guest code as it is now; null where it is none.</summary>
    private ulong? HashOf(ReadOnlySpan<(ulong Start, int Length)> runs, ReadOnlySpan<CodePage> pages, HashSet<ulong>? addresses = null)
    {
        ulong hash = GuestHash.Start;
        Span<byte> bytes = stackalloc byte[260];
        foreach ((ulong start, int length) in runs)
        {
            if (length > bytes.Length) return null;
            int inPage = Math.Min(length, 4096 - (int)(start & 4095));
            if (!Read(start, bytes[..inPage], pages) || !Read(start + (ulong)inPage, bytes[inPage..length], pages)) return null;
            for (int at = 0; at < length;)
            {
                addresses?.Add(start + (ulong)at);
                uint bits = (uint)(bytes[at] | bytes[at + 1] << 8);
                if ((bits & 3) == 3)
                {
                    if (at + 4 > length) return null;
                    bits |= (uint)(bytes[at + 2] << 16 | bytes[at + 3] << 24);
                    at += 4;
                }
                else at += 2;
                hash = GuestHash.Add(hash, bits);
            }
        }
        return hash;
    }

    private bool Read(ulong address, Span<byte> bytes, ReadOnlySpan<CodePage> pages)
    {
        if (bytes.IsEmpty) return true;
        foreach (CodePage page in pages)
        {
            if (page.Virtual == (address & ~4095UL)) return _bus.Ram.Read(page.Offset + (address & 4095), bytes) == bytes.Length;
        }
        return false;
    }

    InstalledRegion? IRegionEngine.Install(RegionShape region, RegionCode code, ulong guestHash)
    {
        for (int attempt = 0; attempt < 4; attempt++)
        {
            if (TryInstall(region, code, guestHash, out bool changing) is { } installed) return installed;
            if (!changing) return null;
        }
        return null;
    }

    private InstalledRegion? TryInstall(RegionShape region, RegionCode code, ulong guestHash, out bool changing)
    {
        changing = false;
        lock (_optimizeLock)
        {
            if (_optimizingStopped) return null;
            int room = RegionEntry.Room(region);
            if (_regionArena == null || _regionArena.Remaining < room)
            {
                if (_regionArena != null) _regionArena.IsFilling = false;
                _regionArena = _arenas.Take(room);
                if (_regionArena == null || _regionArena.Remaining < room) return null;
            }
            BlockHeader* entry = RegionEntry.Emit(_regionArena, _cache.Stubs, region, code, _bus.Ram.HostBase);
            CodePlace head = HeadOf(region.Head, region.Pages);
            (entry->GuestHash, entry->Physical, entry->Mode) = (guestHash, head.Physical, (int)PrivilegeMode.User);
            long generation = Volatile.Read(ref _generation);
            // Pages that are no code are stored to without anybody's notice; from here on a store to one of these is a new generation.
            foreach (CodePage page in region.Pages)
            {
                if (Volatile.Read(ref _isCode[page.Offset >> 12]) == 0) return null;
            }
            Interlocked.MemoryBarrier();
            var addresses = new HashSet<ulong>();
            if (HashOf(region.Runs, region.Pages, addresses) != guestHash) return null;
            // The ways in may so far have been part of other blocks only.
            CodePlace[] ways = [.. region.Ways.Select(pc => HeadOf(pc, region.Pages))];
            foreach (CodePlace way in ways)
            {
                if (Find(way.Physical, way.Pc, PrivilegeMode.User) == null && Translate(null, way.Pc, way.Physical, PrivilegeMode.User) == null) return null;
            }
            lock (_lock)
            {
                changing = generation != _generation; // some code has changed since: look at the bytes again
                if (changing || (region.HasFloat && _observesFlags)) return null;
                foreach (CodePlace way in ways) changing |= Find(way.Physical, way.Pc, PrivilegeMode.User) == null;
                if (changing) return null;
                foreach (CodePlace way in ways) DropBlocksThrough(way, ways);
                BlockHeader* old = Find(head.Physical, head.Pc, PrivilegeMode.User);
                if (old->Fallback != null)
                {
                    BlockHeader* block = old->Fallback;
                    Kill(old->Primary);
                    old = block;
                    if (old->Dead != 0) return null;
                }
                _regionArena.Cursor = (entry->CodeEnd + 15) & ~15UL;
                for (BlockHeader* way = entry->NextWay; way != null; way = way->NextWay)
                {
                    _regionArena.Add(way);
                    (way->Physical, way->Mode) = (ways[way - entry].Physical, (int)PrivilegeMode.User);
                    BlockHeader* block = Find(way->Physical, way->GuestPc, PrivilegeMode.User);
                    // Another region's way in stays that one's.
                    if (block == null || block->Fallback != null) way->Dead = 1;
                    else Overlay(way, block);
                }
                _regionArena.Add(entry);
                Overlay(entry, old);
                var installed = new InstalledRegion(entry, code.Function, code.FunctionLength, addresses, region.Instructions,
                    TranslationEngine.IsComparable(region, old), region.Ways);
                _installed.Add(installed);
                foreach (CodePage page in region.Pages)
                {
                    if (!_regionsIn.TryGetValue(page.Offset >> 12, out List<nint>? regions)) _regionsIn.Add(page.Offset >> 12, regions = []);
                    regions.Add((nint)entry);
                }
                return installed;
            }
        }
    }

    /// <summary>A region's entry takes the place of a block (<see cref="_lock"/> is held).</summary>
    private void Overlay(BlockHeader* entry, BlockHeader* block)
    {
        entry->Fallback = block;
        block->Overlay = entry;
        while (block->Incoming != null) BlockLinks.Unlink(block->Incoming, Statistics);
        foreach (HartCode hart in _harts) hart.Remove(block->GuestPc, block->Entry);
        RemoveFromBucket(block);
        AddToBucket(entry);
        BlockLinks.AddIncoming(block, entry->Exits);
        BlockLinks.Patch(entry->Exits, block->Entry);
    }

    /// <summary>Blocks that run through a way into a region would never come to it: made anew, they stop there.</summary>
    private void DropBlocksThrough(CodePlace head, CodePlace[] ways)
    {
        ulong page = head.Physical - _bus.RamBase >> 12;
        if (!_pages.TryGetValue(page, out nint first)) return;
        for (var block = (BlockHeader*)first; block != null; block = block->NextInPage0)
        {
            if (block->Dead != 0 || block->Mode != (int)PrivilegeMode.User || Array.Exists(ways, w => w.Pc == block->GuestPc)) continue;
            for (int i = 0; i < block->RunCount; i++)
            {
                if (head.Pc - block->Runs[i].Start >= (ulong)block->Runs[i].Length) continue;
                Kill(block);
                break;
            }
        }
        ForgetDead(page);
    }

    /// <summary>A region's pages were not all in the TLB: where to go on, behind the check where they are mapped as it says, else in tier 1's block; 0 leaves it to
    /// the dispatcher.</summary>
    private ulong CheckPages(PrivilegedUnit unit, BlockHeader* region)
    {
        if (region->Dead != 0) return 0;
        for (int i = 0; i < region->PageCount; i++)
        {
            ref CodePage page = ref region->Pages[i];
            bool mapped = unit.TryFetch(page.Virtual, out ulong physical);
            if (mapped && physical - _bus.RamBase == page.Offset) continue;
            lock (_lock)
            {
                if (region->Dead != 0) return 0;
                ulong block = region->Fallback->Entry;
                // Another program, or one whose pages have moved: the region is made anew from what is there now.
                if (mapped && ++region->Mismatches > MaxMismatches) Kill(region);
                return block;
            }
        }
        return region->LoopEntry;
    }

    /// <summary>A region's entry has been taken out of service (<see cref="_lock"/> is held): its block comes back, the region's other entries go, and harts inside
    /// leave.</summary>
    private void RegionGone(BlockHeader* entry)
    {
        BlockHeader* block = entry->Fallback;
        block->Overlay = null;
        if (block->Dead == 0) AddToBucket(block);
        for (BlockHeader* way = entry->Primary; way != null; way = way->NextWay)
        {
            if (way->Dead == 0) Kill(way);
        }
        if (entry != entry->Primary) return;
        _installed.RemoveAll(r => r.Header == entry);
        _entered += entry->Entries + entry->Returns;
        _returned += entry->Returns;
        for (int i = 0; i < entry->PageCount; i++)
        {
            if (!_regionsIn.TryGetValue(entry->Pages[i].Offset >> 12, out List<nint>? regions)) continue;
            regions.Remove((nint)entry);
            if (regions.Count == 0) _regionsIn.Remove(entry->Pages[i].Offset >> 12);
        }
        LeaveRegions();
    }

    private void LeaveRegions()
    {
        foreach (HartCode hart in Volatile.Read(ref _harts)) hart.Presence.Leave();
    }

    /// <summary>A page of RAM was or is being written (<see cref="_lock"/> is held).</summary>
    private void DropRegions(ulong page)
    {
        while (_regionsIn.TryGetValue(page, out List<nint>? regions)) Kill((BlockHeader*)regions[^1]);
    }

    /// <summary>Drops regions with code in a page that are not what memory holds (<see cref="_lock"/> is held).</summary>
    private void DropChangedRegions(ulong page)
    {
        if (!_regionsIn.TryGetValue(page, out List<nint>? regions)) return;
        foreach (nint pointer in regions.ToArray())
        {
            var region = (BlockHeader*)pointer;
            var runs = new (ulong, int)[region->RunCount];
            for (int i = 0; i < runs.Length; i++) runs[i] = (region->Runs[i].Start, region->Runs[i].Length);
            if (region->Dead == 0 && HashOf(runs, new ReadOnlySpan<CodePage>(region->Pages, region->PageCount)) != region->GuestHash) Kill(region);
        }
    }

    /// <summary>A block of user mode was published (<see cref="_lock"/> is held).</summary>
    private void Observe(BlockHeader* block, ulong page)
    {
        _userPages[block->GuestPc >> 12] = page;
        if (_observesFlags) return;
        Span<byte> bytes = stackalloc byte[260];
        for (int i = 0; i < block->RunCount; i++)
        {
            GuestRun run = block->Runs[i];
            int length = _bus.Ram.Read((page << 12) + (run.Start & 4095), bytes[..Math.Clamp(run.Length, 0, bytes.Length)]);
            _flagReader.ResetToPages(_bus.Ram, _userPageOf ??= number => _userPages.TryGetValue(number, out ulong at) ? at << 12 : null);
            if (FlagObserver.Find(bytes[..length], run.Start, _flagReader) is not { } access) continue;
            _observesFlags = true;
            _farm!.Statistics.SawFlagAccess(access);
            while (_installed.Count > 0) Kill(_installed[^1].Header);
            return;
        }
    }

    /// <summary>With a farm that has no threads: compiles at once what a backward jump leads to.</summary>
    private BlockHeader* OptimizeNow(BlockHeader* block)
    {
        if (block->Fallback != null || block->Dead != 0 || !CanOptimize) return block;
        _farm!.CompileNow(this, new CodePlace(block->GuestPc, block->Physical));
        BlockHeader* now = Find(block->Physical, block->GuestPc, PrivilegeMode.User);
        return now == null ? block : now;
    }

    void IRegionEngine.Sample(List<ulong> hostPcs)
    {
        foreach (HartCode hart in Volatile.Read(ref _harts))
        {
            if (hart.Host is not { } host) continue;
            ulong found = hart.Presence.Sample(host, ref hart.Epoch);
            if (found != 0) hostPcs.Add(found);
        }
    }

    void IRegionEngine.Count(List<ulong> hostPcs, List<RegionTrial> trials, Action<IRegionEngine, CodePlace> queue, FarmStatistics statistics)
    {
        // Eviction frees headers; not while this lock is held.
        if (!_evictLock.TryEnter()) return;
        try
        {
            if (Volatile.Read(ref _optimizingStopped)) return;
            foreach (ulong hostPc in hostPcs)
            {
                InstalledRegion? region;
                lock (_lock) region = _installed.Find(r => r.Covers(hostPc));
                CodePlace place = default;
                if (region == null && _cache.Find(hostPc) is var block && block != null && block->Dead == 0 && block->Fallback == null && block->Mode == (int)PrivilegeMode.User)
                    place = new CodePlace(block->GuestPc, block->Physical);
                if (region != null) statistics.RegionSamples++;
                else if (place != default) statistics.BlockSamples++;
                bool inTrial = false;
                CodePlace where = region != null ? new CodePlace(region.Head, region.Header->Physical) : place;
                foreach (RegionTrial trial in trials)
                {
                    bool hit = trial.Region == region || (where != default && trial.Region.Addresses.Contains(where.Pc) && Covers(trial.Region, where));
                    trial.Sample(hit, inside: trial.Region == region);
                    inTrial |= hit;
                }
                if (region != null && !inTrial && region.IsDueAgain()) trials.Add(new RegionTrial(region));
                if (place != default && !inTrial) queue(this, place);
            }
            if (trials.Count > 0) Judge(trials, statistics);
        }
        finally
        {
            _evictLock.Exit();
        }
    }

    private bool Covers(InstalledRegion region, CodePlace place)
    {
        lock (_lock)
        {
            if (!_installed.Contains(region)) return false;
            foreach (CodePage page in new ReadOnlySpan<CodePage>(region.Header->Pages, region.Header->PageCount))
            {
                if (page.Virtual == (place.Pc & ~4095UL)) return page.Offset == (place.Physical - _bus.RamBase & ~4095UL);
            }
            return false;
        }
    }

    private void Judge(List<RegionTrial> trials, FarmStatistics statistics)
    {
        long time = 0;
        foreach (HartCode hart in Volatile.Read(ref _harts)) time += hart.Host?.ProcessorTime ?? 0;
        for (int i = trials.Count - 1; i >= 0; i--)
        {
            RegionTrial trial = trials[i];
            lock (_lock)
            {
                if (!_installed.Contains(trial.Region))
                {
                    trials.RemoveAt(i);
                    continue;
                }
                bool? stays = trial.Advance(time, statistics, out bool leave);
                if (!trial.IsAside || stays != null) BlockLinks.UnlinkLoops(trial.Region.Header, Statistics);
                if (leave) LeaveRegions();
                if (stays is not { } keep) continue;
                trials.RemoveAt(i);
                if (!trial.IsSettled) trial.Region.TryAgainLater();
                if (keep) continue;
                _demoted.Add(new CodePlace(trial.Region.Head, trial.Region.Header->Physical), trial.Region.Instructions, trial.Region.Ways.Length > 1, trial.WasLeft);
                Kill(trial.Region.Header);
            }
        }
    }

    /// <summary>The machine ends: no region is installed any more.</summary>
    private void StopOptimizing()
    {
        if (_farm == null) return;
        _farm.Remove(this);
        lock (_optimizeLock) _optimizingStopped = true;
        lock (_evictLock) _optimizingStopped = true; // no sample looks at a block any more
    }
}
