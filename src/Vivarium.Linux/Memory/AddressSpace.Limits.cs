namespace Vivarium.Linux.Memory;

// What bounds an address space: RLIMIT_AS, RLIMIT_DATA, the realm's memory.
public sealed partial class AddressSpace
{
    /// <summary>The limits of the process that it belongs to; null for none.</summary>
    public ResourceLimits? Limits { get; set; }

    /// <summary>No single private mapping may be larger, as a kernel without that much memory would refuse it.</summary>
    public ulong LargestMapping { get; init; } = ulong.MaxValue;

    /// <summary>Whether <paramref name="bytes"/> more may be mapped, in place of what is in [start, end). Call with the lock held.</summary>
    private bool MayMap(ulong bytes, bool data, ulong start = 0, ulong end = 0)
    {
        if (data && bytes > LargestMapping) return false;
        if (Limits == null) return true;
        ulong space = Limits.Soft(ResourceLimits.AddressSpace), dataLimit = data ? Limits.Soft(ResourceLimits.Data) : ulong.MaxValue;
        if (space == ulong.MaxValue && dataLimit == ulong.MaxValue) return true;
        var (total, used) = UsageLocked();
        foreach (var vma in _table.Within(start, end))
        {
            total -= vma.Length;
            if (IsData(vma)) used -= vma.Length;
        }
        return (space == ulong.MaxValue || total + bytes <= space) && (dataLimit == ulong.MaxValue || used + bytes <= dataLimit);
    }

    private static bool IsData(Vma vma) => (vma.Protection & Vivarium.Host.Protection.Write) != 0 && !vma.IsShared && vma.Name != "[stack]";

    private (ulong Total, ulong Data) UsageLocked()
    {
        ulong total = 0, data = 0;
        for (int i = 0; i < _table.Count; i++)
        {
            total += _table[i].Length;
            if (IsData(_table[i])) data += _table[i].Length;
        }
        return (total, data);
    }

    /// <summary>Bytes of memory that are this address space's own, and its share of what it has in common with others.</summary>
    internal ulong ResidentBytes(PageMap pages, List<(ulong Offset, ulong Length)> runs)
    {
        ulong total = 0;
        lock (_lock)
        {
            for (int i = 0; i < _table.Count; i++)
            {
                var vma = _table[i];
                if (vma.IsShared) continue;
                pages.OwnRuns(Window.HostBase + vma.Start, vma.Length, runs);
                total += BytesOf(runs);
            }
        }
        var files = new HashSet<MappedFile>();
        CollectMemoryFiles(files);
        foreach (var file in files) total += file.MemoryBytes() / (ulong)Math.Max(1, file.References);
        return total;
    }

    /// <summary>Adds the files in memory that this address space maps.</summary>
    internal void CollectMemoryFiles(HashSet<MappedFile> files)
    {
        lock (_lock)
        {
            for (int i = 0; i < _table.Count; i++)
            {
                if (_table[i].File is { IsMemory: true } file) files.Add(file);
            }
        }
    }
}
