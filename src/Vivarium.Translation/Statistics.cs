namespace Vivarium.Translation;

/// <summary>What a translator did so far. Counters are kept without locks: momentarily inexact with several threads.</summary>
public sealed class Statistics
{
    private readonly List<TranslationCounters> _translators = [];

    public long Blocks => Sum(static c => c.Blocks);
    public long GuestInstructions => Sum(static c => c.GuestInstructions);
    public long HostBytes => Sum(static c => c.HostBytes);
    /// <summary>Those of the quick path among them, and quick blocks that the full pipeline has replaced.</summary>
    public long QuickBlocks => Sum(static c => c.QuickBlocks);
    public long QuickInstructions => Sum(static c => c.QuickInstructions);
    public long Promotions;

    public long TranslationTicks => Sum(static c => c.Ticks);

    /// <summary>Counters for one translator: threads that translate share no cache line for them.</summary>
    internal TranslationCounters NewTranslator()
    {
        var counters = new TranslationCounters();
        lock (_translators) _translators.Add(counters);
        return counters;
    }

    private long Sum(Func<TranslationCounters, long> of)
    {
        lock (_translators) return _translators.Sum(of);
    }

    /// <summary>Exits chained directly, and unchained again by kicks and invalidations.</summary>
    public long Links, Unlinks;

    /// <summary>Returns to the dispatcher by cause.</summary>
    public long DirectExits, IndirectExits, SystemCalls, Interpreted, Faults, Kicks, Aborts;
    public long Invalidations, Evictions, Duplicates;

    /// <summary>Blocks taken from the persistent cache, blocks or files of it that were damaged or did not fit, blocks written to it.</summary>
    public long PersistentLoaded, PersistentRefused, PersistentStored;

    /// <summary>Wall time from the first look at a block's guest code to the finished host code, over all threads: also while a thread waits for a processor.</summary>
    public TimeSpan TranslationTime => System.Diagnostics.Stopwatch.GetElapsedTime(0, TranslationTicks);

    /// <summary>Processor time of the same, page faults included, in nanoseconds per guest instruction, by sampling; 0 where there were too few blocks to know.</summary>
    /// <remarks>Of the full pipeline; the quick path has a row of its own.</remarks>
    public long NanosecondsPerInstruction => Sum(static c => c.SampledNanoseconds) / Math.Max(1, Sum(static c => c.SampledInstructions));

    /// <summary>Name and value of every counter, for reports.</summary>
    public IEnumerable<(string Name, long Value)> Rows()
    {
        yield return ("blocks translated", Blocks);
        yield return ("guest instructions translated", GuestInstructions);
        yield return ("host bytes emitted", HostBytes);
        yield return ("translation microseconds", (long)TranslationTime.TotalMicroseconds);
        yield return ("translation: processor nanoseconds per guest instruction", NanosecondsPerInstruction);
        yield return ("quick: blocks", QuickBlocks);
        yield return ("quick: guest instructions", QuickInstructions);
        yield return ("quick: nanoseconds per guest instruction", (long)(System.Diagnostics.Stopwatch.GetElapsedTime(0, Sum(static c => c.QuickTicks)).TotalNanoseconds / Math.Max(1, QuickInstructions)));
        yield return ("quick: processor nanoseconds per guest instruction", Sum(static c => c.QuickSampledNanoseconds) / Math.Max(1, Sum(static c => c.QuickSampledInstructions)));
        yield return ("quick: blocks replaced", Promotions);
        yield return ("exits chained", Links);
        yield return ("exits unchained", Unlinks);
        yield return ("dispatcher: direct exits", DirectExits);
        yield return ("dispatcher: indirect misses", IndirectExits);
        yield return ("dispatcher: system calls", SystemCalls);
        yield return ("dispatcher: interpreted instructions", Interpreted);
        yield return ("dispatcher: faults", Faults);
        yield return ("kicks inside code", Kicks);
        yield return ("entries aborted", Aborts);
        yield return ("blocks invalidated", Invalidations);
        yield return ("arenas evicted", Evictions);
        yield return ("duplicate translations", Duplicates);
        yield return ("persistent: loaded", PersistentLoaded);
        yield return ("persistent: refused", PersistentRefused);
        yield return ("persistent: stored", PersistentStored);
    }
}

/// <summary>What one translator did so far. Only its thread writes.</summary>
internal sealed class TranslationCounters
{
#pragma warning disable CS0169, IDE0051, IDE0044 // room between the counters of different threads
    private long _a0, _a1, _a2, _a3, _a4, _a5, _a6, _a7;
    public long Blocks, GuestInstructions, HostBytes, Ticks;

    /// <summary>Processor time of every 64th block that the translator made, and those blocks' guest instructions: the clock costs as much as a small block.</summary>
    public long SampledNanoseconds, SampledInstructions;
    public long QuickBlocks, QuickInstructions, QuickTicks, QuickSampledNanoseconds, QuickSampledInstructions;
    private long _b0, _b1, _b2, _b3, _b4, _b5, _b6, _b7;
#pragma warning restore CS0169, IDE0051, IDE0044
}
