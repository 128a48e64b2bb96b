using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Float;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Farm;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation;

// The optimising tier's side of the engine: which blocks are hot, and how a region takes the place of the block at its head. The block stays as the
// region's fallback, for states that the region was not compiled for, and comes back when the region goes.
public sealed unsafe partial class TranslationEngine
{
    /// <summary>Kind of the exit by which a region refuses to run: it leads to the fallback.</summary>
    internal const int RegionRefusal = 2;

    private readonly CompileFarm? _farm;
    private readonly List<nint> _regions = [];
    private readonly List<InstalledRegion> _installed = []; // the same, for the sampler; under _lock
    private readonly DemotedRegions _demoted = new();
    private readonly Lock _optimizeLock = new(); // held while a region is put in place; taken before _lock
    private readonly HashSet<ulong> _compiling = []; // heads of regions; under _lock
    private CodeArena? _regionArena;
    private bool _optimizingStopped, _observesFlags, _exactFaults;

    private readonly FrontEnd.GuestCodeReader _flagReader = new(128); // under _lock

    /// <summary>Regions may be made of this engine's code.</summary>
    internal bool CanOptimize => !Volatile.Read(ref _optimizingStopped) && _memory != null;

    /// <summary>Whether the guest cannot tell which floating-point flags were raised when.</summary>
    internal bool AllowsFloatRegions => !Volatile.Read(ref _observesFlags);

    /// <summary>Whether the guest has come here: there is a block, or there was one before a region took over (blocks through a region's head are
    /// dropped, and what only the region executes is not translated anew).</summary>
    internal bool IsTranslated(ulong pc)
    {
        if (_blocks.IsAnyHead(pc)) return true;
        lock (_lock) return _installed.Exists(r => r.Addresses.Contains(pc));
    }

    /// <summary>Grows and compiles a region; the farm calls this on its threads.</summary>
    internal GuestRegion? Grow(RegionBuilder builder, ulong hot, int level, bool assumeWarm) => _memory is not { } memory
        ? null
        : builder.Build(memory, MayExecute, hot, assumeWarm ? static _ => true : IsTranslated, level, AllowsFloatRegions, TargetsOf, branchAt: BranchAt, functionsAround: FunctionsAround, wantsWays: assumeWarm ? static _ => true : WantsWays);

    /// <summary>A region with this head did not pay: it may have been left too often.</summary>
    private bool WantsWays(ulong head)
    {
        lock (_lock) return _demoted.Contains(head);
    }

    /// <summary>Hash of the guest bytes as they are now; null where some cannot be read.</summary>
    internal ulong? HashOf((ulong Start, int Length)[] runs, HashSet<ulong>? addresses = null)
    {
        if (_memory is not { } memory) return null;
        ulong hash = Cache.GuestHash.Start;
        Span<byte> bytes = stackalloc byte[256];
        foreach ((ulong start, int length) in runs)
        {
            if (length > bytes.Length || memory.Read(start, bytes[..length]) != length) return null;
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
                hash = Cache.GuestHash.Add(hash, bits);
            }
        }
        return hash;
    }

    internal long Generation => Volatile.Read(ref _generation);

    internal RegionMemory Regions => _cache.Regions;

    /// <summary>Puts a compiled region in the place of the block at its head. False where that is gone or the guest's bytes are not what
    /// <paramref name="guestHash"/> says.</summary>
    internal InstalledRegion? Install(RegionShape region, RegionCode code, ulong guestHash)
    {
        for (int attempt = 0; attempt < 4; attempt++)
        {
            if (TryInstall(region, code, guestHash, out bool changing) is { } installed) return installed;
            if (!changing) return null;
        }
        return null;
    }

    /// <summary>Whether the same region is in service, or was found slower than tier 1.</summary>
    internal bool Knows(GuestRegion region)
    {
        lock (_lock) return _demoted.HasLike(new CodePlace(region.Head, 0), region) || _installed.Exists(r => r.Head == region.Head && r.Instructions == region.Instructions);
    }

    /// <summary>A thread begins to compile a region with this head; false where another one does. <see cref="EndCompiling"/> must follow.</summary>
    internal bool BeginCompiling(ulong head)
    {
        lock (_lock) return _compiling.Add(head);
    }

    internal void EndCompiling(ulong head)
    {
        lock (_lock) _compiling.Remove(head);
    }

    private InstalledRegion? TryInstall(RegionShape region, RegionCode code, ulong guestHash, out bool changing)
    {
        changing = false;
        lock (_optimizeLock)
        {
            if (_optimizingStopped || (_exactFaults && !region.IsExact)) return null;
            if (region.IsExact && Regions.FaultsAt(code.Function) == null) Regions.Add(new RegionFaults(region, code));
            int room = RegionEntry.Room(region);
            if (_regionArena == null || _regionArena.Remaining < room)
            {
                if (_regionArena != null) _regionArena.IsFilling = false;
                _regionArena = _arenas.Take(room);
                if (_regionArena == null || _regionArena.Remaining < room) return null;
            }
            BlockHeader* entry = RegionEntry.Emit(_regionArena, _cache.Stubs, region, code);
            entry->GuestHash = guestHash;
            long generation = Volatile.Read(ref _generation);
            var addresses = new HashSet<ulong>();
            if (HashOf(region.Runs, addresses) != guestHash || (MayExecute is { } mayExecute && !region.Runs.All(r => mayExecute(r.Start)))) return null;
            // The ways in may so far have been part of other blocks only.
            foreach (ulong pc in region.Ways)
            {
                BlockHeader* present = _blocks.Find(pc);
                if ((present == null || present->Counter != null) && (_memory == null || Translate(_memory, pc, mayEvict: false, full: true) == null)) return null;
            }
            InstalledRegion installed;
            lock (_lock)
            {
                changing = generation != _generation; // some mapping has changed since: look at the bytes again
                if (changing || (region.HasFloat && _observesFlags)) return null;
                foreach (ulong pc in region.Ways) changing |= !IsWhole(_blocks.Find(pc));
                if (changing) return null;
                // Blocks that run through a way in would never come to the region: made anew, they stop there. Not those that another region has the place of: it would go with them.
                foreach (ulong pc in region.Ways)
                    DropInPage(pc >> 12, pc, pc + 1, (_, block) => ((BlockHeader*)block)->Overlay == null && !region.Ways.Contains(((BlockHeader*)block)->GuestPc));
                BlockHeader* old = _blocks.Find(region.Head);
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
                    BlockHeader* block = _blocks.Find(way->GuestPc);
                    // Another region's way in stays that one's.
                    if (block == null || block->Fallback != null) way->Dead = 1;
                    else Overlay(way, block);
                }
                _regionArena.Add(entry);
                Overlay(entry, old);
                _regions.Add((nint)entry);
                _installed.Add(installed = new InstalledRegion(entry, code.Function, code.FunctionLength,
                    addresses, region.Instructions, IsComparable(region, old), region.Ways));
                _perfMap?.Add(entry->Entry, entry->CodeEnd, $"region_{region.Head:x}");
                _perfMap?.Add(code.Function, code.Function + (ulong)code.FunctionLength, $"region_{region.Head:x}_code");
            }
            return installed;
        }
    }

    /// <summary>Whether the region counts rounds as the block at its head does. One that loops in itself does not count those that come to an end there, and begin behind a call.</summary>
    internal static bool IsComparable(RegionShape region, BlockHeader* block) =>
        region.CountsAsTierOne && region.LoopsInTierOne == LoopsInside(block) && (region.Ways.Length == 1 || !region.LoopsInTierOne);

    private static bool IsWhole(BlockHeader* block) => block != null && block->Counter == null;

    /// <summary>A region's entry takes the place of a block (<see cref="_lock"/> is held).</summary>
    private void Overlay(BlockHeader* entry, BlockHeader* block)
    {
        entry->Fallback = block;
        block->Overlay = entry;
        while (block->Incoming != null) Unlink(block->Incoming);
        _jumpTable.Remove(block->GuestPc, block->Entry);
        _blocks.Remove(block);
        _blocks.Add(entry);
        BlockLinks.AddIncoming(block, entry->Exits);
        BlockLinks.Patch(entry->Exits, block->Entry);
        _jumpTable.Set(entry->GuestPc, entry->Entry);
    }

    /// <summary>Where the samples of a tick hit guest code: guest addresses of tier 1's blocks go to <paramref name="queue"/>, and trials of regions go
    /// on.</summary>
    internal void Count(List<ulong> hostPcs, List<RegionTrial> trials, Action<IRegionEngine, CodePlace> queue, FarmStatistics statistics)
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
                ulong pc = 0;
                if (region == null && _cache.Find(hostPc) is var block && block != null && block->Dead == 0 && block->Fallback == null) pc = block->GuestPc;
                if (region != null) statistics.RegionSamples++;
                else if (pc != 0) statistics.BlockSamples++;
                bool inTrial = false;
                foreach (RegionTrial trial in trials)
                {
                    bool hit = trial.Region == region || trial.Region.Addresses.Contains(region?.Head ?? pc);
                    trial.Sample(hit, inside: trial.Region == region);
                    inTrial |= hit;
                }
                if (region != null && !inTrial && region.IsDueAgain()) trials.Add(new RegionTrial(region));
                if (pc != 0 && !inTrial) queue(this, new CodePlace(pc, 0));
            }
            if (trials.Count > 0) Judge(trials, statistics);
        }
        finally
        {
            _evictLock.Exit();
        }
    }

    private void Judge(List<RegionTrial> trials, FarmStatistics statistics)
    {
        long time = 0;
        lock (_slots)
        {
            foreach (RunSlot slot in _slots) time += slot.Host.ProcessorTime;
        }
        for (int i = trials.Count - 1; i >= 0; i--)
        {
            RegionTrial trial = trials[i];
            bool leave = false;
            lock (_lock)
            {
                if (!_installed.Contains(trial.Region))
                {
                    trials.RemoveAt(i);
                    continue;
                }
                bool? stays = trial.Advance(time, statistics, out leave);
                if (!trial.IsAside || stays != null) BlockLinks.UnlinkLoops(trial.Region.Header, Statistics);
                if (stays is { } keep)
                {
                    trials.RemoveAt(i);
                    if (trial.IsSettled) Judged(trial.Region, keep); // else another trial, or a later run, may find out
                    else trial.Region.TryAgainLater();
                    if (!keep)
                    {
                        _demoted.Add(new CodePlace(trial.Region.Head, 0), trial.Region.Instructions, trial.Region.Ways.Length > 1, trial.WasLeft);
                        Kill(trial.Region.Header);
                        ForgetHead(trial.Region.Head);
                    }
                }
            }
            if (!leave) continue;
            lock (_slots)
            {
                foreach (RunSlot slot in _slots) slot.Leave();
            }
        }
    }

    /// <summary>A region is no more (<see cref="_lock"/> is held): blocks near its head were cut off there, and grow as they were when they are made anew.</summary>
    private void ForgetHead(ulong head)
    {
        ulong page = head & ~4095UL;
        DropInPage(head >> 12, page, page + 4096, static (_, block) => ((BlockHeader*)block)->Overlay == null && ((BlockHeader*)block)->Fallback == null);
    }

    /// <summary>Asks the threads that run guest code where they are, and hands out what the last time found.</summary>
    internal void Sample(List<ulong> hostPcs)
    {
        lock (_slots)
        {
            foreach (RunSlot slot in _slots)
            {
                ulong found = slot.Sample();
                if (found != 0) hostPcs.Add(found);
            }
        }
    }

    /// <summary>A region's entry has been taken out of service (<see cref="_lock"/> is held): its block comes back, the region's other entries go, and threads inside
    /// leave.</summary>
    private void RegionGone(BlockHeader* entry)
    {
        Volatile.Write(ref entry->Primary->Aside, 1);
        BlockHeader* block = entry->Fallback;
        block->Overlay = null;
        if (block->Dead == 0) _blocks.Add(block);
        for (BlockHeader* way = entry->Primary; way != null; way = way->NextWay)
        {
            if (way->Dead == 0) Kill(way);
        }
        if (entry != entry->Primary) return;
        _regions.Remove((nint)entry);
        _installed.RemoveAll(r => r.Header == entry);
        lock (_slots)
        {
            foreach (RunSlot slot in _slots) slot.Leave();
        }
    }

    /// <summary>Sends whoever comes to a region to tier 1's code, or into it again; for tests.</summary>
    internal void SetAside(bool aside)
    {
        lock (_lock)
        {
            foreach (nint region in _regions)
            {
                var header = (BlockHeader*)region;
                Volatile.Write(ref header->Aside, aside ? 1 : 0);
                if (!aside) BlockLinks.UnlinkLoops(header, Statistics);
            }
        }
        lock (_slots)
        {
            foreach (RunSlot slot in _slots) slot.Leave();
        }
    }

    /// <summary>How often the regions now in service were entered, came to their heads inside, and were passed by.</summary>
    internal (long Entries, long Rounds, long Probes) RegionCounts
    {
        get
        {
            lock (_lock)
            {
                (long, long, long) sum = default;
                foreach (nint r in _regions)
                {
                    var header = (BlockHeader*)r;
                    sum = (sum.Item1 + header->Entries, sum.Item2 + header->Rounds, sum.Item3 + header->Probes);
                }
                return sum;
            }
        }
    }

    /// <summary>How often the regions now in service were entered.</summary>
    internal long RegionEntries
    {
        get
        {
            lock (_lock) return _regions.Sum(r => ((BlockHeader*)r)->Entries + ((BlockHeader*)r)->Returns);
        }
    }

    /// <summary>Faults in regions that were exact; for tests.</summary>
    internal long ExactRegionFaults { get; private set; }

    /// <summary>How often they were entered elsewhere than at their heads.</summary>
    internal long RegionReturns
    {
        get
        {
            lock (_lock) return _regions.Sum(r => ((BlockHeader*)r)->Returns);
        }
    }

    /// <summary>Drops regions as <see cref="ForEachBlock"/> does blocks, and says which.</summary>
    private List<ulong>? DropRegions(ulong start, ulong end, Func<TranslationEngine, nint, bool> drop)
    {
        List<ulong>? dropped = null;
        for (int i = _regions.Count - 1; i >= 0; i--)
        {
            if (i >= _regions.Count) continue;
            var region = (BlockHeader*)_regions[i];
            if (!Touches(region, start, end) || !drop(this, (nint)region)) continue;
            (dropped ??= []).Add((ulong)&region->Entries);
            Kill(region);
        }
        return dropped;
    }

    /// <summary>Waits until no thread is in regions that have been taken out of service: whoever changed code may tell others so, who must not come to the old code any more
    /// once they know. That takes a round of a loop. No lock that a thread needs on its way out of emitted code may be held.</summary>
    private void AwaitLeaving(List<ulong> dropped)
    {
        Interlocked.MemoryBarrierProcessWide(); // who comes to an entry now sees that it is aside; who was there before has said so
        RunSlot[] slots;
        lock (_slots) slots = [.. _slots];
        foreach (RunSlot slot in slots)
        {
            var wait = new SpinWait();
            while (dropped.Contains(slot.Region)) wait.SpinOnce(sleep1Threshold: -1);
        }
    }

    private void DropAllRegions()
    {
        lock (_lock)
        {
            while (_regions.Count > 0) Kill((BlockHeader*)_regions[^1]);
        }
    }

    /// <inheritdoc/>
    public override void RequirePreciseFaults()
    {
        if (_farm == null) return;
        lock (_optimizeLock)
        {
            if (_optimizingStopped || _exactFaults) return;
            Volatile.Write(ref _exactFaults, true);
            DropAllRegions();
        }
    }

    /// <summary>The engine ends: no region is installed any more.</summary>
    private void StopOptimizing()
    {
        if (_farm == null) return;
        _farm.Remove(this);
        lock (_optimizeLock) _optimizingStopped = true;
        lock (_evictLock) _optimizingStopped = true; // no sample looks at a block any more
    }

    /// <summary>A block was translated: does the guest read or write fflags? Regions with floating point raise flags at other times, and not
    /// all of them, so there are none in such a process.</summary>
    private void Observe(BlockHeader* block)
    {
        if (_observesFlags || _memory is not { } memory) return;
        Span<byte> bytes = stackalloc byte[260];
        for (int i = 0; i < block->RunCount; i++)
        {
            GuestRun run = block->Runs[i];
            int length = memory.Read(run.Start, bytes[..Math.Clamp(run.Length, 0, bytes.Length)]);
            _flagReader.Reset(memory, null);
            if (FlagObserver.Find(bytes[..length], run.Start, _flagReader) is not { } access) continue;
            Volatile.Write(ref _observesFlags, true);
            _farm!.Statistics.SawFlagAccess(access);
            // Regions without floating point need not go, but who asks for flags once hardly matters for speed.
            DropAllRegions();
            return;
        }
    }

    /// <summary>With a farm that has no threads: compiles at once what a backward jump leads to.</summary>
    private BlockHeader* OptimizeNow(Hart hart, BlockHeader* block)
    {
        if (block->Fallback != null || !CanOptimize) return block;
        _farm!.CompileNow(this, new CodePlace(block->GuestPc, 0));
        BlockHeader* now = _blocks.Find(block->GuestPc);
        return now == null ? block : now;
    }

    private const ulong FirstRecovery = 4096, LongestRecovery = 1 << 30; // instructions

    /// <summary>A fault in a region. Where faults are exact, the interpreter goes on from the last checkpoint, to the fault: null where it did not get there in <paramref name="recovery"/>
    /// instructions, which doubles, since the region may come to the same fault again. Else the address is right, and the registers are older.</summary>
    private ExecutionExit? RegionFault(Hart hart, ref HartState state, ref ulong recovery)
    {
        if (Regions.FaultsAt(state.FaultHostPc) is { } faults)
        {
            ExactRegionFaults++;
            fixed (HartState* pointer = &state) faults.Recover(pointer);
            FloatSlots.Leave(ref state);
            ExecutionExit exit = _interpreter.Run(hart, recovery);
            FloatSlots.Enter(ref state);
            recovery = Math.Min(recovery * 2, LongestRecovery);
            return exit.Kind == ExitKind.Budget ? null : exit;
        }
        ulong address = state.FaultHostAddress == 0 ? 0 : state.FaultHostAddress - state.MemoryBase;
        return new ExecutionExit(ExitKind.Trap, TrapCause.LoadPageFault, address, state.FaultSignal);
    }
}
