using Vivarium.Translation.Cache;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Farm;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation;

// As the compile farm sees it.
public sealed unsafe partial class TranslationEngine : IRegionEngine
{
    bool IRegionEngine.CanOptimize => CanOptimize;
    bool IRegionEngine.NeedsExactFaults => Volatile.Read(ref _exactFaults);
    long IRegionEngine.Generation => Generation;
    RegionMemory IRegionEngine.Regions => Regions;

    GuestRegion? IRegionEngine.Grow(RegionBuilder builder, CodePlace hot, int level, bool assumeWarm) => Grow(builder, hot.Pc, level, assumeWarm);

    bool IRegionEngine.Knows(GuestRegion region) => Knows(region);

    (ulong Start, int Length)[] IRegionEngine.LoopOfTierOne(GuestRegion region)
    {
        lock (_optimizeLock)
        {
            if (_optimizingStopped) return []; // its blocks may be gone with the code cache
            lock (_lock) return LoopOf(_blocks.Find(region.Head), region);
        }
    }

    /// <summary>See <see cref="GuestRegion.LoopOfTierOne"/>; <paramref name="block"/> is what stands at the region's head now, or null.</summary>
    internal static (ulong Start, int Length)[] LoopOf(BlockHeader* block, GuestRegion region)
    {
        RegionBlock head = region.Blocks[0];
        // A quick block makes place for one that loops, if it does.
        if (block == null || block->Counter != null) return head.InnermostLoop?.Count == 1 ? [(head.Pc, (int)(head.Instructions[^1].Pc + 2 - head.Pc))] : [];
        if (block->Fallback != null) block = block->Fallback;
        return LoopsInside(block) ? [.. new ReadOnlySpan<GuestRun>(block->Runs, block->RunCount).ToArray().Select(static r => (r.Start, (int)r.Length))] : [];
    }

    /// <summary>Whether a block of tier 1 jumps back to its own loop's entry.</summary>
    internal static bool LoopsInside(BlockHeader* block)
    {
        for (int i = 0; i < block->ExitCount; i++)
        {
            if (block->Exits[i].Kind == 1) return true;
        }
        return false;
    }

    bool IRegionEngine.ObserveTargets() => ObserveTargets();
    bool IRegionEngine.ObserveMore(GuestRegion region) => ObserveMore(region);

    ulong? IRegionEngine.HashOf(GuestRegion region) => HashOf(region.Runs);

    bool IRegionEngine.BeginCompiling(GuestRegion region) => BeginCompiling(region.Head);

    void IRegionEngine.EndCompiling(GuestRegion region) => EndCompiling(region.Head);

    InstalledRegion? IRegionEngine.Install(RegionShape region, RegionCode code, ulong guestHash) => Install(region, code, guestHash);

    void IRegionEngine.Keep(InstalledRegion installed, RegionShape shape, RegionCode code, ulong guestHash) => Keep(installed, shape, code, guestHash);

    void IRegionEngine.InstallStored(CompileFarm farm) => InstallStored(farm);

    void IRegionEngine.Sample(List<ulong> hostPcs) => Sample(hostPcs);

    void IRegionEngine.Count(List<ulong> hostPcs, List<RegionTrial> trials, Action<IRegionEngine, CodePlace> queue, FarmStatistics statistics) =>
        Count(hostPcs, trials, queue, statistics);
}
