namespace Vivarium.Linux.Memory;

/// <summary>Measures how much of a realm's address spaces is in memory, by the host's page tables.</summary>
/// <remarks>Thread-safe. Lock order: an address space's lock, then this one's.</remarks>
internal sealed class ResidentMeter : IDisposable
{
    private readonly Lock _lock = new();
    private PageMap? _pages;

    /// <summary>Bytes in memory of a host range, without a file and with one.</summary>
    public (ulong Anonymous, ulong File) Measure(ulong hostAddress, ulong length)
    {
        lock (_lock) return (_pages ??= new PageMap()).Resident(hostAddress, length);
    }

    /// <summary>Bytes in memory of a host range, in one look.</summary>
    public ulong Total(ulong hostAddress, ulong length)
    {
        lock (_lock) return (_pages ??= new PageMap()).Resident(hostAddress, length, divided: false).Anonymous;
    }

    public void Dispose() => _pages?.Dispose();
}

// How much of an address space is in memory, now and at most.
public sealed partial class AddressSpace
{
    /// <summary>Giving back this much may end a peak, so it is looked for.</summary>
    private const ulong WorthMeasuring = 1UL << 20;

    private ulong _peak;

    /// <summary>Set by the realm; null measures nothing.</summary>
    internal ResidentMeter? Meter { get; init; }

    /// <summary>Bytes in memory: of the process's own, and of files.</summary>
    internal (ulong Anonymous, ulong File) Resident()
    {
        if (Meter == null) return default;
        ulong anonymous = 0, file = 0;
        lock (_lock)
        {
            for (int i = 0; i < _table.Count; i++)
            {
                var vma = _table[i];
                var (own, ofFile) = Meter.Measure(Window.HostBase + vma.Start, vma.Length);
                anonymous += vma.IsAnonymous ? own + ofFile : own;
                file += vma.IsAnonymous ? 0 : ofFile;
            }
            _peak = Math.Max(_peak, anonymous + file);
        }
        return (anonymous, file);
    }

    /// <summary>The most bytes in memory that were seen: whenever somebody asked, before large parts were given back, and now.</summary>
    internal ulong MeasurePeak()
    {
        if (Meter == null) return 0;
        if (!PageMap.HasNoScan) _peak = Math.Max(_peak, Meter.Total(Window.HostBase, Window.Size));
        if (PageMap.HasNoScan) Resident();
        return _peak;
    }

    private void BeforeRelease(ulong length)
    {
        if (length >= WorthMeasuring) MeasurePeak();
    }
}
