using Vivarium.Machine.Buses;

namespace Vivarium.Machine.Virtio;

/// <summary>RAM as devices see it: rings and buffers lie in RAM or are refused; a device never reads another device's registers for the guest.</summary>
internal static class GuestMemory
{
    public static bool IsRam(this PhysicalMemory memory, ulong address, ulong length)
    {
        var offset = address - memory.RamBase;
        return offset < memory.RamSize && memory.RamSize - offset >= length;
    }

    // One aligned load or store each: rings are read while harts write them, and a copy may tear.
    public static bool TryLoad16(this PhysicalMemory memory, ulong address, out ushort value)
    {
        value = 0;
        return memory.IsRam(address, 2) && memory.Ram.Load16(address - memory.RamBase, out value) == 0;
    }

    public static bool TryStore16(this PhysicalMemory memory, ulong address, ushort value) => memory.IsRam(address, 2) && memory.TryWrite(address, 2, value);

    public static bool TryStore32(this PhysicalMemory memory, ulong address, uint value) => memory.IsRam(address, 4) && memory.TryWrite(address, 4, value);
}
