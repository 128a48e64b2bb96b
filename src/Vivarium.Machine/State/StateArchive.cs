using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;

namespace Vivarium.Machine.State;

/// <summary>
/// The saved sections of a machine as one stream:
/// <code>
/// magic "VIVSTATE", u32 format version, u32 number of sections
/// per section: u32 name length, name, u32 section version, u32 content length, content, u32 CRC-32C of all of the section before it
/// </code>
/// Everything is little-endian. What is damaged, cut off or unknown is refused with a <see cref="StateException"/> before any part has changed; only a
/// part that does not fit inside (another number of harts) is found later.
/// </summary>
public static class StateArchive
{
    private const int FormatVersion = 1;
    private const int MaximumNameLength = 255;

    private static ReadOnlySpan<byte> Magic => "VIVSTATE"u8;

    /// <summary>Writes the state of <paramref name="parts"/>.</summary>
    public static void Save(Stream output, IReadOnlyCollection<IStateful> parts)
    {
        Span<byte> header = stackalloc byte[16];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], FormatVersion);
        BinaryPrimitives.WriteInt32LittleEndian(header[12..], parts.Count);
        output.Write(header);
        var names = new HashSet<string>();
        foreach (var part in parts)
        {
            if (!names.Add(part.SectionName))
                throw new InvalidOperationException($"two parts of a machine save as '{part.SectionName}'");
            var content = new StateWriter();
            part.Save(content);
            var section = new StateWriter();
            section.Write(part.SectionName);
            section.Write(part.SectionVersion);
            section.WriteBytes(content.Content);
            section.Write(Checksum(section.Content));
            output.Write(section.Content);
        }
    }

    /// <summary>Reads a saved state into <paramref name="parts"/>: each finds its section, and no section is left over.</summary>
    /// <param name="input">Stands behind the archive afterwards.</param>
    /// <param name="parts">They load in this order.</param>
    /// <param name="before">Called when all sections are read and known, before the first part loads.</param>
    /// <exception cref="StateException">The stream is damaged, or is of another machine.</exception>
    public static void Load(Stream input, IReadOnlyCollection<IStateful> parts, Action? before = null)
    {
        var sections = ReadSections(input);
        foreach (var part in parts)
        {
            if (!sections.ContainsKey(part.SectionName))
                throw new StateException($"the saved machine has no '{part.SectionName}'");
        }

        if (sections.Count != parts.Count)
        {
            var known = parts.Select(p => p.SectionName).ToHashSet();
            throw new StateException($"the saved machine has a '{sections.Keys.First(n => !known.Contains(n))}' that this one lacks");
        }

        before?.Invoke();
        foreach (var part in parts)
        {
            var reader = sections[part.SectionName];
            reader.RequireVersion(part.SectionVersion);
            part.Load(reader);
            if (reader.Remaining != 0)
                throw new StateException($"section '{part.SectionName}' is {reader.Remaining} bytes longer than it should be");
        }
    }

    private static Dictionary<string, StateReader> ReadSections(Stream input)
    {
        Span<byte> header = stackalloc byte[16];
        ReadExactly(input, header);
        if (!header[..8].SequenceEqual(Magic))
            throw new StateException("this is not a saved machine");
        int version = BinaryPrimitives.ReadInt32LittleEndian(header[8..]);
        if (version != FormatVersion)
            throw new StateException($"the saved machine has format {version}; this program reads {FormatVersion}");
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(header[12..]);
        var sections = new Dictionary<string, StateReader>();
        for (uint i = 0; i < count; i++)
        {
            uint checksum = 0;
            byte[] name = ReadBlock(input, MaximumNameLength, ref checksum);
            int sectionVersion = ReadInt32(input, ref checksum);
            byte[] content = ReadBlock(input, Array.MaxLength, ref checksum);
            uint unused = 0;
            if ((uint)ReadInt32(input, ref unused) != checksum)
                throw new StateException($"section '{Encoding.UTF8.GetString(name)}' is damaged (its checksum differs)");
            string text = Encoding.UTF8.GetString(name);
            if (!sections.TryAdd(text, new StateReader(text, sectionVersion, content)))
                throw new StateException($"section '{text}' is there twice");
        }

        return sections;
    }

    private static byte[] ReadBlock(Stream input, int maximum, ref uint checksum)
    {
        int length = ReadInt32(input, ref checksum);
        if (length < 0 || length > maximum)
            throw new StateException("the saved machine is damaged (a length out of range)");
        // In pieces: a damaged length must not allocate what the stream does not have.
        var content = new MemoryStream();
        byte[] piece = new byte[Math.Min(length, 1 << 16)];
        for (int left = length; left > 0;)
        {
            var part = piece.AsSpan(0, Math.Min(left, piece.Length));
            ReadExactly(input, part);
            content.Write(part);
            left -= part.Length;
        }

        byte[] block = content.ToArray();
        checksum = Checksum(block, checksum);
        return block;
    }

    private static int ReadInt32(Stream input, ref uint checksum)
    {
        Span<byte> bytes = stackalloc byte[4];
        ReadExactly(input, bytes);
        checksum = Checksum(bytes, checksum);
        return BinaryPrimitives.ReadInt32LittleEndian(bytes);
    }

    private static void ReadExactly(Stream input, Span<byte> bytes)
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

    /// <summary>CRC-32C (Castagnoli), as the host's instruction computes it. Independent of how the bytes are cut into calls.</summary>
    internal static uint Checksum(ReadOnlySpan<byte> bytes, uint crc = 0)
    {
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(bytes))
            crc = BitOperations.Crc32C(crc, word);
        foreach (byte value in bytes[(bytes.Length & ~7)..])
            crc = BitOperations.Crc32C(crc, value);
        return crc;
    }
}
