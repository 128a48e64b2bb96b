namespace Vivarium.Machine.Buses;

/// <summary>A device with registers in the physical address space.</summary>
/// <remarks>Called on hart threads, several at once: the device locks itself. Guests may write anything anywhere: it never throws for that;
/// registers that do not exist read 0 and ignore writes.</remarks>
public interface IMmioDevice
{
    /// <summary>Reads <paramref name="size"/> (1, 2, 4 or 8) bytes at <paramref name="offset"/> from the device's base, zero-extended.</summary>
    ulong Read(ulong offset, int size);

    /// <summary>Writes the low <paramref name="size"/> (1, 2, 4 or 8) bytes of <paramref name="value"/>.</summary>
    void Write(ulong offset, int size, ulong value);
}
