namespace Vivarium.Linux.Memory;

/// <summary>The mappings of an address space, sorted and disjoint, neighbours merged where they are alike.</summary>
/// <remarks>Not thread-safe: <see cref="AddressSpace"/> locks. Holds one reference on each mapping's file.</remarks>
public sealed class VmaTable
{
    private readonly List<Vma> _list = [];

    public int Count => _list.Count;

    public Vma this[int index] => _list[index];

    /// <summary>Index of the first mapping that ends after <paramref name="address"/>; <see cref="Count"/> where there is none.</summary>
    public int IndexAfter(ulong address)
    {
        int low = 0, high = _list.Count;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (_list[middle].End > address) high = middle;
            else low = middle + 1;
        }
        return low;
    }

    /// <summary>The mapping that contains <paramref name="address"/>.</summary>
    public Vma? Find(ulong address)
    {
        int index = IndexAfter(address);
        return index < _list.Count && _list[index].Start <= address ? _list[index] : null;
    }

    /// <summary>Whether nothing is mapped in [start, end).</summary>
    public bool IsFree(ulong start, ulong end)
    {
        int index = IndexAfter(start);
        return index == _list.Count || _list[index].Start >= end;
    }

    /// <summary>End of the unbroken run of mappings that begins at <paramref name="start"/>, at most <paramref name="end"/>;
    /// <paramref name="start"/> itself where that is not mapped.</summary>
    public ulong CoveredUpTo(ulong start, ulong end)
    {
        ulong at = start;
        for (int i = IndexAfter(start); i < _list.Count && _list[i].Start <= at && at < end; i++) at = _list[i].End;
        return Math.Min(at, end);
    }

    /// <summary>Whether any page of [start, end) is executable.</summary>
    public bool AnyExecutable(ulong start, ulong end)
    {
        for (int i = IndexAfter(start); i < _list.Count && _list[i].Start < end; i++)
        {
            if (_list[i].IsExecutable) return true;
        }
        return false;
    }

    /// <summary>Whether all that is mapped in [start, end) is private memory without a file.</summary>
    public bool IsPlain(ulong start, ulong end)
    {
        for (int i = IndexAfter(start); i < _list.Count && _list[i].Start < end; i++)
        {
            if (_list[i].File != null || _list[i].IsShared) return false;
        }
        return true;
    }

    /// <summary>The mappings that overlap [start, end), clipped to it. A copy: the table may change while one looks at it.</summary>
    public List<Vma> Within(ulong start, ulong end)
    {
        var result = new List<Vma>();
        for (int i = IndexAfter(start); i < _list.Count && _list[i].Start < end; i++) result.Add(_list[i].Clip(start, end));
        return result;
    }

    /// <summary>End of the run that begins at <paramref name="start"/> and looks like one mapping to the guest; 0 where nothing is mapped.</summary>
    public ulong EndOfOne(ulong start)
    {
        int index = IndexAfter(start);
        if (index == _list.Count || _list[index].Start > start) return 0;
        while (index + 1 < _list.Count && _list[index].LooksLikeOneWith(_list[index + 1])) index++;
        return _list[index].End;
    }

    /// <summary>How many mappings are of this file.</summary>
    public int CountOf(MappedFile file)
    {
        int count = 0;
        foreach (var vma in _list)
        {
            if (ReferenceEquals(vma.File, file)) count++;
        }
        return count;
    }

    /// <summary>Adds a mapping; what was there before goes.</summary>
    public void Set(Vma vma)
    {
        vma.File?.AddReference();
        Remove(vma.Start, vma.End);
        int index = IndexAfter(vma.Start);
        if (index < _list.Count && vma.Joins(_list[index]))
        {
            vma = vma with { End = _list[index].End };
            _list[index].File?.Release();
            _list.RemoveAt(index);
        }
        if (index > 0 && _list[index - 1].Joins(vma))
        {
            _list[index - 1] = _list[index - 1] with { End = vma.End };
            vma.File?.Release();
            return;
        }
        _list.Insert(index, vma);
    }

    /// <summary>Forgets [start, end), splitting what straddles its edges.</summary>
    public void Remove(ulong start, ulong end)
    {
        if (start >= end) return;
        int first = IndexAfter(start), last = first;
        while (last < _list.Count && _list[last].Start < end) last++;
        if (first == last) return;
        Vma head = _list[first], tail = _list[last - 1];
        int insertAt = first;
        bool keepHead = head.Start < start, keepTail = tail.End > end;
        // A piece that stays takes over its mapping's reference; a mapping split in two needs one more.
        if (keepHead && keepTail && first == last - 1) head.File?.AddReference();
        for (int i = first; i < last; i++)
        {
            bool stays = (i == first && keepHead) || (i == last - 1 && keepTail);
            if (!stays) _list[i].File?.Release();
        }
        _list.RemoveRange(first, last - first);
        if (keepHead) _list.Insert(insertAt++, head.Clip(head.Start, start));
        if (keepTail) _list.Insert(insertAt, tail.Clip(end, tail.End));
    }

    /// <summary>Replaces every mapping of [start, end) by what <paramref name="change"/> makes of it (same range and file).</summary>
    public void Update(ulong start, ulong end, Func<Vma, Vma> change)
    {
        foreach (var vma in Within(start, end))
        {
            var changed = change(vma);
            if (changed != vma) Set(changed);
        }
    }

    /// <summary>The highest free range of <paramref name="length"/> bytes within [low, high), or <see cref="ulong.MaxValue"/>.</summary>
    public ulong FindGapBelow(ulong length, ulong low, ulong high, ulong alignment = 4096)
    {
        ulong top = high;
        for (int i = IndexAfter(high - 1); ; i--)
        {
            // The gap between mapping i-1 and top.
            if (i < _list.Count && _list[i].Start < top) top = _list[i].Start;
            ulong bottom = i > 0 ? Math.Max(_list[i - 1].End, low) : low;
            if (top > bottom && top - bottom >= length)
            {
                ulong start = (top - length) & ~(alignment - 1);
                if (start >= bottom) return start;
            }
            if (i == 0 || bottom <= low) return ulong.MaxValue;
        }
    }

    /// <summary>The lowest free range of <paramref name="length"/> bytes within [low, high), or <see cref="ulong.MaxValue"/>.</summary>
    public ulong FindGapAbove(ulong length, ulong low, ulong high)
    {
        ulong at = low;
        for (int i = IndexAfter(low); i < _list.Count && _list[i].Start < high; i++)
        {
            if (_list[i].Start > at && _list[i].Start - at >= length) return at;
            at = Math.Max(at, _list[i].End);
        }
        return at < high && high - at >= length ? at : ulong.MaxValue;
    }

    public void Clear() => Remove(0, ulong.MaxValue);
}
