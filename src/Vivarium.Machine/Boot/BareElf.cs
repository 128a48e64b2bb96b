using System.Buffers.Binary;

namespace Vivarium.Machine.Boot;

/// <summary>An ELF executable for a bare machine: segments go to their physical addresses.</summary>
/// <param name="Entry">The physical address of its first instruction.</param>
/// <param name="Segments">What is loaded; file ranges are checked.</param>
public sealed record BareElf(ulong Entry, IReadOnlyList<BareElf.Segment> Segments)
{
    private const int HeaderSize = 64;
    private const int ProgramHeaderSize = 56;
    private const ushort MachineRiscV = 243;
    private const uint Load = 1;

    /// <summary>Bytes to load; the address is physical.</summary>
    public readonly record struct Segment(ulong Address, ulong FileOffset, ulong FileSize, ulong MemorySize);

    /// <exception cref="BootException">It is damaged, or for another machine.</exception>
    public static BareElf Parse(ReadOnlySpan<byte> file, string name)
    {
        if (file.Length < HeaderSize || file[4] != 2 || file[5] != 1)
            throw new BootException($"'{name}' is not a 64-bit little-endian ELF file");
        if (BinaryPrimitives.ReadUInt16LittleEndian(file[18..]) != MachineRiscV)
            throw new BootException($"'{name}' is an ELF file for another processor than riscv64");
        ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(file[24..]);
        ulong headers = BinaryPrimitives.ReadUInt64LittleEndian(file[32..]);
        int count = BinaryPrimitives.ReadUInt16LittleEndian(file[56..]);
        if (BinaryPrimitives.ReadUInt16LittleEndian(file[54..]) != ProgramHeaderSize || headers > (ulong)file.Length || (ulong)(count * ProgramHeaderSize) > (ulong)file.Length - headers)
            throw new BootException($"'{name}' is damaged: its program headers lie beyond its end");
        var segments = new List<Segment>();
        ulong physicalEntry = entry;
        for (int i = 0; i < count; i++)
        {
            var header = file.Slice((int)headers + i * ProgramHeaderSize, ProgramHeaderSize);
            if (BinaryPrimitives.ReadUInt32LittleEndian(header) != Load)
                continue;
            ulong Field(ReadOnlySpan<byte> h, int at) => BinaryPrimitives.ReadUInt64LittleEndian(h[at..]);
            ulong offset = Field(header, 8), virtualAddress = Field(header, 16), address = Field(header, 24), fileSize = Field(header, 32), memorySize = Field(header, 40);
            if (memorySize == 0)
                continue;
            if (offset > (ulong)file.Length || fileSize > (ulong)file.Length - offset || fileSize > memorySize)
                throw new BootException($"'{name}' is damaged: a segment lies beyond its end");
            if (entry - virtualAddress < memorySize)
                physicalEntry = address + (entry - virtualAddress); // kernels enter by a virtual address
            segments.Add(new Segment(address, offset, fileSize, memorySize));
        }

        if (segments.Count == 0)
            throw new BootException($"'{name}' has nothing to load");
        return new BareElf(physicalEntry, segments);
    }
}
