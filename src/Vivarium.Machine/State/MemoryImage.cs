using System.Buffers;
using System.Buffers.Binary;
using Vivarium.Machine.Buses;

namespace Vivarium.Machine.State;

/// <summary>
/// RAM of a saved machine, behind its sections: <c>magic "VIVRAM\0\1", u64 base, u64 size</c>, then runs of pages that are not zero, each
/// <c>u64 offset, u32 length, content, u32 CRC-32C of all that</c>, and an empty run at the end. Everything is little-endian.
/// </summary>
internal static class MemoryImage
{
    private const int Page = 4096, MostBytes = 256 * Page, RunHeader = 12;

    private static ReadOnlySpan<byte> Magic => "VIVRAM\0\u0001"u8;

    /// <summary>Writes RAM; no hart and no device changes it meanwhile.</summary>
    public static void Save(Stream output, PhysicalMemory memory)
    {
        Span<byte> header = stackalloc byte[24];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt64LittleEndian(header[8..], memory.RamBase);
        BinaryPrimitives.WriteUInt64LittleEndian(header[16..], memory.RamSize);
        output.Write(header);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(MostBytes);
        try
        {
            for (ulong at = 0; at < memory.RamSize; at += MostBytes)
            {
                var piece = buffer.AsSpan(0, (int)Math.Min(MostBytes, memory.RamSize - at));
                if (!memory.TryReadBytes(memory.RamBase + at, piece))
                    throw new IOException("the guest's memory cannot be read");
                for (int start = 0; start < piece.Length;)
                {
                    if (IsZero(piece, start))
                    {
                        start += Page;
                        continue;
                    }

                    int end = start + Page;
                    while (end < piece.Length && !IsZero(piece, end))
                        end += Page;
                    WriteRun(output, at + (ulong)start, piece[start..end]);
                    start = end;
                }
            }

            WriteRun(output, 0, []);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Fills RAM, which is zero so far.</summary>
    /// <exception cref="StateException">It is damaged, or of another machine.</exception>
    public static void Load(Stream input, PhysicalMemory memory)
    {
        Span<byte> header = stackalloc byte[24];
        Read(input, header);
        if (!header[..8].SequenceEqual(Magic))
            throw new StateException("the saved machine is damaged (no memory behind its sections)");
        if (BinaryPrimitives.ReadUInt64LittleEndian(header[8..]) != memory.RamBase || BinaryPrimitives.ReadUInt64LittleEndian(header[16..]) is var size && size != memory.RamSize)
            throw new StateException($"the saved machine has {BinaryPrimitives.ReadUInt64LittleEndian(header[16..]) >> 20} MiB of memory, not {memory.RamSize >> 20} MiB");
        byte[] buffer = ArrayPool<byte>.Shared.Rent(RunHeader + MostBytes);
        Span<byte> sum = stackalloc byte[4];
        try
        {
            while (true)
            {
                Read(input, buffer.AsSpan(0, RunHeader));
                ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(buffer);
                uint length = BinaryPrimitives.ReadUInt32LittleEndian(buffer.AsSpan(8));
                if (length > MostBytes || offset > memory.RamSize || length > memory.RamSize - offset)
                    throw new StateException("the saved memory is damaged (a run out of range)");
                var run = buffer.AsSpan(0, RunHeader + (int)length);
                Read(input, run[RunHeader..]);
                Read(input, sum);
                if (BinaryPrimitives.ReadUInt32LittleEndian(sum) != StateArchive.Checksum(run))
                    throw new StateException("the saved memory is damaged (a checksum differs)");
                if (length == 0)
                    return;
                memory.TryWriteBytes(memory.RamBase + offset, run[RunHeader..]);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static bool IsZero(ReadOnlySpan<byte> piece, int at) => !piece.Slice(at, Math.Min(Page, piece.Length - at)).ContainsAnyExcept((byte)0);

    private static void WriteRun(Stream output, ulong offset, ReadOnlySpan<byte> content)
    {
        Span<byte> header = stackalloc byte[RunHeader];
        BinaryPrimitives.WriteUInt64LittleEndian(header, offset);
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], content.Length);
        output.Write(header);
        output.Write(content);
        Span<byte> sum = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(sum, StateArchive.Checksum(content, StateArchive.Checksum(header)));
        output.Write(sum);
    }

    private static void Read(Stream input, Span<byte> bytes)
    {
        try
        {
            input.ReadExactly(bytes);
        }
        catch (EndOfStreamException)
        {
            throw new StateException("the saved machine is cut off");
        }
    }
}
