namespace Vivarium.RiscV.Interpreter;

/// <summary>
/// Which pages any hart decoded instructions from, and a generation number that grows when one of them changes. Harts compare it
/// before each instruction and flush their <see cref="DecodeCache"/>; so mapping and unmapping of plain data costs them nothing.
/// </summary>
/// <remarks>Thread-safe. A hart adds a page <em>before</em> it reads instructions from it, and the personality invalidates <em>after</em> it
/// changed the mapping: so either the invalidation sees the page, or the hart reads the new contents.</remarks>
internal sealed class CodePages
{
    private readonly Lock _lock = new();
    private readonly HashSet<ulong> _pages = [];
    private int _generation;

    public int Generation => Volatile.Read(ref _generation);

    public void Add(ulong page)
    {
        lock (_lock) _pages.Add(page);
    }

    /// <summary>Forgets everything if code came from [start, start+length).</summary>
    public void Invalidate(ulong start, ulong length)
    {
        if (length == 0) return;
        var first = start / Core.PageSize;
        var last = (length - 1 > ulong.MaxValue - start ? ulong.MaxValue : start + length - 1) / Core.PageSize;
        lock (_lock)
        {
            if (!ContainsAny(first, last)) return;
            _pages.Clear();
            Volatile.Write(ref _generation, _generation + 1);
        }
    }

    private bool ContainsAny(ulong first, ulong last)
    {
        if (last - first < (ulong)_pages.Count)
        {
            for (var page = first; page <= last; page++)
            {
                if (_pages.Contains(page)) return true;
            }
            return false;
        }
        foreach (var page in _pages)
        {
            if (page >= first && page <= last) return true;
        }
        return false;
    }
}
