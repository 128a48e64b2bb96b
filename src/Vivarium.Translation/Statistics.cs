namespace Vivarium.Translation;

/// <summary>What a translator did so far. Counters are kept without locks: momentarily inexact with several threads.</summary>
public sealed class Statistics
{
    public long Blocks, GuestInstructions, HostBytes, TranslationTicks;

    /// <summary>Exits chained directly, and unchained again by kicks and invalidations.</summary>
    public long Links, Unlinks;

    /// <summary>Returns to the dispatcher by cause.</summary>
    public long DirectExits, IndirectExits, SystemCalls, Interpreted, Faults, Kicks, Aborts;
    public long Invalidations, Evictions, Duplicates;

    /// <summary>Blocks taken from the persistent cache, blocks or files of it that were damaged or did not fit, blocks written to it.</summary>
    public long PersistentLoaded, PersistentRefused, PersistentStored;

    /// <summary>Processor time of every 64th block that a translator made, and those blocks' guest instructions: the clock costs as much as a small block.</summary>
    internal long SampledNanoseconds, SampledInstructions;

    /// <summary>Wall time from the first look at a block's guest code to the finished host code, over all threads: also while a thread waits for a processor.</summary>
    public TimeSpan TranslationTime => System.Diagnostics.Stopwatch.GetElapsedTime(0, TranslationTicks);

    /// <summary>Processor time of the same, page faults included, in nanoseconds per guest instruction, by sampling; 0 where there were too few blocks to know.</summary>
    public long NanosecondsPerInstruction => SampledInstructions == 0 ? 0 : SampledNanoseconds / SampledInstructions;

    /// <summary>Name and value of every counter, for reports.</summary>
    public IEnumerable<(string Name, long Value)> Rows()
    {
        yield return ("blocks translated", Blocks);
        yield return ("guest instructions translated", GuestInstructions);
        yield return ("host bytes emitted", HostBytes);
        yield return ("translation microseconds", (long)TranslationTime.TotalMicroseconds);
        yield return ("translation: processor nanoseconds per guest instruction", NanosecondsPerInstruction);
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
