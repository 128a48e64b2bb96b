using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Farm;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation;

// As the compile farm sees it.
public sealed unsafe partial class TranslationEngine : IRegionEngine
{
    bool IRegionEngine.CanOptimize => CanOptimize;
    long IRegionEngine.Generation => Generation;
    RegionMemory IRegionEngine.Regions => Regions;

    GuestRegion? IRegionEngine.Grow(RegionBuilder builder, CodePlace hot, int level, bool assumeWarm) => Grow(builder, hot.Pc, level, assumeWarm);

    bool IRegionEngine.Knows(GuestRegion region) => Knows(region);

    bool IRegionEngine.ObserveTargets() => ObserveTargets();

    ulong? IRegionEngine.HashOf(GuestRegion region) => HashOf(region.Runs);

    bool IRegionEngine.BeginCompiling(GuestRegion region) => BeginCompiling(region.Head);

    void IRegionEngine.EndCompiling(GuestRegion region) => EndCompiling(region.Head);

    InstalledRegion? IRegionEngine.Install(RegionShape region, ReadOnlySpan<byte> function, ulong guestHash) => Install(region, function, guestHash);

    void IRegionEngine.Keep(InstalledRegion installed, RegionShape shape, ReadOnlySpan<byte> code, int functionOffset, int functionLength, ulong guestHash) =>
        Keep(installed, shape, code, functionOffset, functionLength, guestHash);

    void IRegionEngine.InstallStored(CompileFarm farm) => InstallStored(farm);

    void IRegionEngine.Sample(List<ulong> hostPcs) => Sample(hostPcs);

    void IRegionEngine.Count(List<ulong> hostPcs, List<RegionTrial> trials, Action<IRegionEngine, CodePlace> queue, FarmStatistics statistics) =>
        Count(hostPcs, trials, queue, statistics);
}
