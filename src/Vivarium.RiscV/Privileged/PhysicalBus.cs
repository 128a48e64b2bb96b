using Vivarium.Host;

namespace Vivarium.RiscV.Privileged;

/// <summary>The physical address space as a hart sees it: one range of RAM, and devices elsewhere.</summary>
/// <remarks>Thread-safe. RAM is a window, so that harts and emitted code reach it directly; everything else goes through the two methods.</remarks>
public abstract class PhysicalBus
{
    /// <summary>Physical address of the first byte of RAM.</summary>
    public abstract ulong RamBase { get; }

    /// <summary>Bytes of RAM.</summary>
    public abstract ulong RamSize { get; }

    /// <summary>RAM; offset 0 is <see cref="RamBase"/>.</summary>
    public abstract MemoryWindow Ram { get; }

    /// <summary>Reads RAM or a device; false where there is nothing (an access fault).</summary>
    /// <param name="address">Physical.</param>
    /// <param name="size">1, 2, 4 or 8 bytes.</param>
    /// <param name="value">Zero-extended.</param>
    public abstract bool TryRead(ulong address, int size, out ulong value);

    /// <summary>Writes RAM or a device; false where there is nothing.</summary>
    public abstract bool TryWrite(ulong address, int size, ulong value);
}
