namespace Vivarium.Translation.Persistence;

/// <summary>Guest addresses [Start, End) that hold a file's bytes.</summary>
/// <param name="Start">First address.</param>
/// <param name="End">First address behind it.</param>
/// <param name="Bias">Guest address - file offset.</param>
/// <param name="Blocks">What is stored for it; null for no range.</param>
/// <param name="Regions">Regions of the optimising tier that are stored for it; null without that tier.</param>
internal readonly record struct CodeRange(ulong Start, ulong End, ulong Bias, StoredBlocks? Blocks, StoredBlocks? Regions = null);

/// <summary>Which guest addresses are executable bytes of which file. Lookups take no lock.</summary>
internal sealed class CodeRanges
{
    private readonly Lock _lock = new();
    private CodeRange[] _ranges = [];

    /// <summary>The range around an address, or one without blocks.</summary>
    public CodeRange Find(ulong address)
    {
        foreach (ref readonly CodeRange range in Volatile.Read(ref _ranges).AsSpan())
        {
            if (address < range.End) return address >= range.Start ? range : default;
        }
        return default;
    }

    /// <summary>All ranges; never changed, another array when there are others.</summary>
    public CodeRange[] All => Volatile.Read(ref _ranges);

    public void Add(CodeRange range)
    {
        lock (_lock)
        {
            List<CodeRange> ranges = Without(range.Start, range.End);
            int at = ranges.FindIndex(r => r.Start > range.Start);
            ranges.Insert(at < 0 ? ranges.Count : at, range);
            Volatile.Write(ref _ranges, ranges.ToArray());
        }
    }

    public void Remove(ulong start, ulong length)
    {
        if (Volatile.Read(ref _ranges).Length == 0) return;
        lock (_lock) Volatile.Write(ref _ranges, Without(start, start + length < start ? ulong.MaxValue : start + length).ToArray());
    }

    private List<CodeRange> Without(ulong start, ulong end)
    {
        List<CodeRange> kept = [];
        foreach (CodeRange range in _ranges)
        {
            if (range.End <= start || range.Start >= end)
            {
                kept.Add(range);
                continue;
            }
            if (range.Start < start) kept.Add(range with { End = start });
            if (range.End > end) kept.Add(range with { Start = end });
        }
        return kept;
    }
}
