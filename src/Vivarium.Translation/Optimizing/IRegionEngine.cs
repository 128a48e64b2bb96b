using Vivarium.Translation.Optimizing.Farm;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing;

/// <summary>A place in guest code.</summary>
/// <param name="Pc">Its address.</param>
/// <param name="Physical">On a machine, the physical address; 0 in a process.</param>
internal readonly record struct CodePlace(ulong Pc, ulong Physical);

/// <summary>What the compile farm wants of an engine: a process's or a machine's.</summary>
/// <remarks>Thread-safe.</remarks>
internal interface IRegionEngine
{
    /// <summary>Regions may be made of this engine's code.</summary>
    bool CanOptimize { get; }

    /// <summary>Faults in regions must be exact: the guest sees them.</summary>
    bool NeedsExactFaults => false;

    /// <summary>Counts changes of code.</summary>
    long Generation { get; }

    /// <summary>Where the code of regions goes.</summary>
    RegionMemory Regions { get; }

    /// <summary>The region around a hot place; null where there is none.</summary>
    GuestRegion? Grow(RegionBuilder builder, CodePlace hot, int level, bool assumeWarm);

    /// <summary>See <see cref="GuestRegion.LoopOfTierOne"/>.</summary>
    (ulong Start, int Length)[] LoopOfTierOne(GuestRegion region);

    /// <summary>Whether the same region is in service, or was found slower than tier 1.</summary>
    bool Knows(GuestRegion region);

    /// <summary>Has somebody note where indirect jumps lead; false where that was done often enough.</summary>
    bool ObserveTargets();

    /// <summary>The same, where the jumps with several targets in a region were seen too seldom to know most of them; false where they are known or nobody can look any more.</summary>
    bool ObserveMore(GuestRegion region);

    /// <summary>Hash of the region's guest bytes as they are now; null where some cannot be read.</summary>
    ulong? HashOf(GuestRegion region);

    /// <summary>A thread begins to compile the region; false where another one compiles one with this head. <see cref="EndCompiling"/> must follow.</summary>
    bool BeginCompiling(GuestRegion region);

    void EndCompiling(GuestRegion region);

    /// <summary>Puts a compiled region in the place of the block at its head; null where that is gone or the guest's bytes are not what <paramref name="guestHash"/>
    /// says.</summary>
    InstalledRegion? Install(RegionShape region, RegionCode code, ulong guestHash);

    /// <summary>Keeps a region for later runs, where the engine does so.</summary>
    void Keep(InstalledRegion installed, RegionShape shape, RegionCode code, ulong guestHash);

    /// <summary>Puts regions of earlier runs in service.</summary>
    void InstallStored(CompileFarm farm);

    /// <summary>Asks the threads that run guest code where they are, and hands out what the last time found.</summary>
    void Sample(List<ulong> hostPcs);

    /// <summary>Where the samples of a tick hit guest code: tier 1's blocks go to <paramref name="queue"/>, and trials of regions go on.</summary>
    void Count(List<ulong> hostPcs, List<RegionTrial> trials, Action<IRegionEngine, CodePlace> queue, FarmStatistics statistics);
}
