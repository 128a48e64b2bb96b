using Vivarium.Host;
using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Loader;

/// <summary>Where an ELF file ended up.</summary>
/// <param name="Headers">The file's headers.</param>
/// <param name="Bias">What was added to its addresses.</param>
public readonly record struct LoadedElf(ElfHeaders Headers, ulong Bias)
{
    public ulong Entry => Headers.Entry + Bias;
    public ulong End => Headers.High + Bias;
}

/// <summary>Maps the segments of ELF files into an address space.</summary>
public static class ElfLoader
{
    /// <summary>Maps the file behind <paramref name="descriptor"/>.</summary>
    /// <param name="memory">Where to.</param>
    /// <param name="descriptor">Host descriptor, open for reading; stays the caller's.</param>
    /// <param name="path">For /proc/self/maps.</param>
    /// <param name="headers">The file's headers.</param>
    /// <param name="fixedBase">Load address of a position-independent program; 0 for an interpreter, which goes where libraries go.</param>
    public static LoadedElf Load(AddressSpace memory, int descriptor, string path, ElfHeaders headers, ulong fixedBase)
    {
        var file = memory.FileFor(descriptor, path, 0, out int error) ?? throw LoadException.Of(error);
        try
        {
            ulong low = headers.Low, length = headers.High - low, bias = 0;
            if (headers.IsPositionIndependent)
            {
                // Reserve the whole span first, so that the pieces find their place.
                long start = fixedBase != 0
                    ? memory.Map(fixedBase, length, Protection.None, MapFlags.Private | MapFlags.Anonymous | MapFlags.FixedNoReplace | MapFlags.NoReserve)
                    : memory.Map(0, length, Protection.None, MapFlags.Private | MapFlags.DenyWrite, file);
                if (start < 0) throw LoadException.Of((int)start, "cannot be mapped");
                bias = unchecked((ulong)start - low);
                if (fixedBase == 0) memory.Unmap((ulong)start, length);
                else memory.Unmap(fixedBase, length);
            }
            else if (low < AddressSpace.Lowest)
            {
                throw new LoadException(Errno.ENOEXEC, $"wants to be loaded at 0x{low:x}, below the lowest address 0x{AddressSpace.Lowest:x}");
            }
            if (headers.High + bias > memory.StackTop - (64UL << 20)) throw new LoadException(Errno.ENOMEM, "does not fit into the address space");
            ulong mappedEnd = 0;
            foreach (var segment in headers.Segments) mappedEnd = MapSegment(memory, file, segment, bias, mappedEnd);
            return new LoadedElf(headers, bias);
        }
        finally
        {
            file.Release();
        }
    }

    /// <summary>Maps one segment: file pages, then zeroed memory. Returns the end of what is mapped now.</summary>
    private static ulong MapSegment(AddressSpace memory, MappedFile file, ElfSegment segment, ulong bias, ulong mappedEnd)
    {
        ulong start = segment.PageStart + bias;
        ulong fileEnd = segment.Address + segment.FileSize + bias, memoryEnd = segment.Address + segment.MemorySize + bias;
        ulong filePages = segment.FileSize == 0 ? start : AddressSpace.RoundUp(fileEnd);
        if (segment.FileSize > 0)
        {
            // A page that two segments share belongs to the later one, as in Linux.
            Check(memory.Map(start, filePages - start, segment.Protection, MapFlags.Private | MapFlags.Fixed, file,
                segment.Offset - (segment.Address & (AddressSpace.PageSize - 1))));
        }
        ulong zeroStart = segment.FileSize == 0 && start < mappedEnd ? mappedEnd : filePages;
        if (AddressSpace.RoundUp(memoryEnd) > zeroStart)
        {
            Check(memory.Map(zeroStart, AddressSpace.RoundUp(memoryEnd) - zeroStart, segment.Protection,
                MapFlags.Private | MapFlags.Fixed | MapFlags.Anonymous));
        }
        if (segment.FileSize > 0 && memoryEnd > fileEnd && filePages > fileEnd && (segment.Protection & Protection.Write) != 0)
            memory.Window.Clear(fileEnd, Math.Min(filePages, memoryEnd) - fileEnd);
        return Math.Max(mappedEnd, Math.Max(filePages, AddressSpace.RoundUp(memoryEnd)));

        static void Check(long result)
        {
            if (result < 0) throw LoadException.Of((int)result, "a segment cannot be mapped");
        }
    }
}
