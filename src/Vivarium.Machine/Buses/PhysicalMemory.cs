using Vivarium.Host;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Buses;

/// <summary>The physical address space of a machine: RAM, and the registers of devices.</summary>
/// <remarks>Thread-safe. Devices are mapped while the machine is put together or under <see cref="Map"/>'s lock later (PCI BARs); harts that
/// look a device up meanwhile see the old map or the new one.</remarks>
public sealed class PhysicalMemory : PhysicalBus, IDisposable
{
    private const int MadvHugePage = 14;

    private readonly record struct Region(ulong Base, ulong Size, IMmioDevice Device);

    private readonly Lock _lock = new();
    private Region[] _regions = []; // sorted by Base, replaced as a whole

    /// <exception cref="OutOfMemoryException">The host has not that much address space or memory.</exception>
    public PhysicalMemory(ulong ramBase, ulong ramSize)
    {
        (RamBase, RamSize) = (ramBase, ramSize);
        Ram = MemoryWindow.Reserve(ramSize);
        var result = Ram.MapAnonymous(0, ramSize, Protection.Read | Protection.Write, noReserve: true);
        if (result != 0) throw new OutOfMemoryException($"cannot map {ramSize >> 20} MiB of guest memory: errno {-result}");
        // A guest walks through its memory by its own pages, the host by its own as well: small ones would be looked up, and faulted in, one by one.
        Ram.Advise(0, ramSize, MadvHugePage);
    }

    public override ulong RamBase { get; }

    public override ulong RamSize { get; }

    public override MemoryWindow Ram { get; }

    /// <summary>Told of every range of RAM that somebody else than a hart wrote (DMA, loaders), after the write; the executor drops what it made
    /// of code there.</summary>
    public Action<ulong, ulong>? RamWritten { get; set; }

    /// <summary>Puts a device at [<paramref name="base"/>, +<paramref name="size"/>).</summary>
    /// <exception cref="ArgumentException">It overlaps RAM or another device.</exception>
    public void Map(ulong @base, ulong size, IMmioDevice device)
    {
        lock (_lock)
        {
            if (size == 0 || @base + size - 1 < @base || Overlap(@base, size, RamBase, RamSize) || _regions.Any(r => Overlap(@base, size, r.Base, r.Size)))
                throw new ArgumentException($"device range {@base:x}+{size:x} overlaps another");
            Volatile.Write(ref _regions, [.. _regions.Append(new Region(@base, size, device)).OrderBy(r => r.Base)]);
        }
    }

    /// <summary>Takes a device away; false where it was not mapped at <paramref name="base"/>.</summary>
    public bool Unmap(ulong @base)
    {
        lock (_lock)
        {
            var rest = _regions.Where(r => r.Base != @base).ToArray();
            if (rest.Length == _regions.Length) return false;
            Volatile.Write(ref _regions, rest);
            return true;
        }
    }

    /// <inheritdoc/>
    public override bool TryRead(ulong address, int size, out ulong value)
    {
        var offset = address - RamBase;
        if (offset < RamSize)
        {
            value = 0;
            if (RamSize - offset < (ulong)size) return false;
            switch (size)
            {
                case 1: Ram.Load8(offset, out var b); value = b; break;
                case 2: Ram.Load16(offset, out var h); value = h; break;
                case 4: Ram.Load32(offset, out var w); value = w; break;
                default: Ram.Load64(offset, out value); break;
            }
            return true;
        }
        if (!TryFind(address, size, out var region))
        {
            value = 0;
            return false;
        }
        value = region.Device.Read(address - region.Base, size);
        if (size < 8) value &= (1UL << (8 * size)) - 1;
        return true;
    }

    /// <inheritdoc/>
    public override bool TryWrite(ulong address, int size, ulong value)
    {
        var offset = address - RamBase;
        if (offset < RamSize)
        {
            if (RamSize - offset < (ulong)size) return false;
            switch (size)
            {
                case 1: Ram.Store8(offset, (byte)value); break;
                case 2: Ram.Store16(offset, (ushort)value); break;
                case 4: Ram.Store32(offset, (uint)value); break;
                default: Ram.Store64(offset, value); break;
            }
            RamWritten?.Invoke(address, (ulong)size);
            return true;
        }
        if (!TryFind(address, size, out var region)) return false;
        if (size < 8) value &= (1UL << (8 * size)) - 1;
        region.Device.Write(address - region.Base, size, value);
        return true;
    }

    /// <summary>Copies out of RAM; false (and nothing useful copied) where the range is not all RAM.</summary>
    public bool TryReadBytes(ulong address, Span<byte> destination)
    {
        var offset = address - RamBase;
        return offset < RamSize && RamSize - offset >= (ulong)destination.Length && Ram.Read(offset, destination) == destination.Length;
    }

    /// <summary>Copies into RAM and announces it; false, with nothing written, where the range is not all RAM.</summary>
    public bool TryWriteBytes(ulong address, ReadOnlySpan<byte> source)
    {
        var offset = address - RamBase;
        if (offset >= RamSize || RamSize - offset < (ulong)source.Length || Ram.Write(offset, source) != source.Length) return false;
        RamWritten?.Invoke(address, (ulong)source.Length);
        return true;
    }

    public void Dispose()
    {
        Ram.Dispose();
    }

    private bool TryFind(ulong address, int size, out Region region)
    {
        var regions = Volatile.Read(ref _regions);
        int low = 0, high = regions.Length - 1;
        while (low <= high)
        {
            var middle = (low + high) / 2;
            region = regions[middle];
            if (address < region.Base) high = middle - 1;
            else if (address - region.Base >= region.Size) low = middle + 1;
            else return region.Size - (address - region.Base) >= (ulong)size;
        }
        region = default;
        return false;
    }

    private static bool Overlap(ulong a, ulong aSize, ulong b, ulong bSize) => a - b < bSize || b - a < aSize;
}
