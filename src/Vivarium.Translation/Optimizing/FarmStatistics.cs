using System.Diagnostics;

namespace Vivarium.Translation.Optimizing;

/// <summary>What the compile farm did. Kept without locks: momentarily inexact.</summary>
public sealed class FarmStatistics
{
    /// <summary>Regions in service, refused (no loop that is worth it), and too late (the code had gone).</summary>
    public long Regions, Refused, Lost;

    /// <summary>Regions taken out of service because tier 1 is faster.</summary>
    public long Compared, Demoted;

    /// <summary>Regions that earlier runs compiled, put in service, and found not to fit (other code, or damage).</summary>
    public long Loaded, Stale;

    /// <summary>The first guest address of an access to fflags or fcsr after which there are no regions with floating point; 0 while there was none.</summary>
    public long FlagAccess;

    internal void SawFlagAccess(ulong pc)
    {
        FlagAccess = (long)pc;
        Say?.Invoke($"no regions with floating point from now on: fflags are looked at, at 0x{pc:x}\n");
    }

    internal Action<string>? Say;

    /// <summary>Samples that hit regions, and tier 1's blocks.</summary>
    public long RegionSamples, BlockSamples;

    /// <summary>Processor time of the compiling threads and of the sampler, ns.</summary>
    public long CompilerTime, SamplerTime;
    public long Instructions, CodeBytes, CompileTicks;

    /// <summary>Samples of running threads, and the queue: requests, the longest it was, its length summed over time.</summary>
    public long Samples, Requests, LongestQueue, LengthTicks, QueueTicks;

    /// <summary>Requests dropped as cold, covered by a region that came into service, put back for something more urgent, taken before older ones, and of
    /// engines or code that have gone (waiting, or half compiled).</summary>
    public long Dropped, Covered, PutBack, Reordered, Cancelled;

    /// <summary>Summed over installed regions: from request to the start of compiling, and to service; the longest wait.</summary>
    public long WaitTicks, InstallTicks, Installed, LongestWaitTicks;

    public IEnumerable<(string Name, long Value)> Rows()
    {
        yield return ("regions compiled", Regions);
        yield return ("regions refused", Refused);
        yield return ("regions too late", Lost);
        yield return ("regions compared with tier 1", Compared);
        yield return ("regions demoted", Demoted);
        yield return ("regions from the cache", Loaded);
        yield return ("regions from the cache that did not fit", Stale);
        yield return ("fflags are looked at, at", FlagAccess);
        yield return ("region instructions", Instructions);
        yield return ("region code bytes", CodeBytes);
        yield return ("region compile microseconds", Micros(CompileTicks));
        yield return ("samples", Samples);
        yield return ("samples in regions", RegionSamples);
        yield return ("samples in tier 1", BlockSamples);
        yield return ("processor microseconds: optimizer", CompilerTime / 1000);
        yield return ("processor microseconds: sampler", SamplerTime / 1000);
        yield return ("jit queue: requests", Requests);
        yield return ("jit queue: longest", LongestQueue);
        yield return ("jit queue: mean length in thousandths", QueueTicks == 0 ? 0 : (long)(LengthTicks * 1000.0 / QueueTicks));
        yield return ("jit queue: dropped as cold", Dropped);
        yield return ("jit queue: covered by other regions", Covered);
        yield return ("jit queue: put back", PutBack);
        yield return ("jit queue: reordered", Reordered);
        yield return ("jit queue: cancelled", Cancelled);
        yield return ("jit queue: mean wait microseconds", Installed == 0 ? 0 : Micros(WaitTicks) / Installed);
        yield return ("jit queue: longest wait microseconds", Micros(LongestWaitTicks));
        yield return ("jit queue: mean microseconds from hot to installed", Installed == 0 ? 0 : Micros(InstallTicks) / Installed);
    }

    private static long Micros(long ticks) => (long)Stopwatch.GetElapsedTime(0, ticks).TotalMicroseconds;
}
