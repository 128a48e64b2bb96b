using System.Buffers.Binary;
using System.Text;

namespace Vivarium.RiscV.Elf;

/// <summary>
/// Reads ELF64 little-endian files: header, program headers, sections, symbols. Never trusts the file: each offset and size is checked
/// against its bytes, and the only exception is <see cref="ElfFormatException"/>.
/// </summary>
/// <remarks>
/// <see cref="Parse(ReadOnlyMemory{byte}, long)"/> reads the header and the program headers; sections and symbols are read when first
/// asked for, so that a loader may pass only the beginning of a file. Safe for concurrent use.
/// </remarks>
public sealed class ElfImage
{
    private const int HeaderSize = 64, SegmentSize = 56, SectionSize = 64, SymbolSize = 24;

    private readonly ReadOnlyMemory<byte> _bytes;
    private readonly Lazy<ElfSection[]> _sections;
    private readonly Lazy<ElfSymbol[]> _symbols;
    private readonly Lazy<ElfSymbol[]> _dynamicSymbols;
    private readonly Lazy<ElfSymbol[]> _byAddress;

    private ElfImage(ReadOnlyMemory<byte> bytes, ElfHeader header, ElfSegment[] segments)
    {
        _bytes = bytes;
        Header = header;
        Segments = segments;
        _sections = new(ReadSections);
        _symbols = new(() => ReadSymbols(SectionType.SymbolTable));
        _dynamicSymbols = new(() => ReadSymbols(SectionType.DynamicSymbols));
        _byAddress = new(SortSymbols);
    }

    public ElfHeader Header { get; }

    /// <summary>The program headers, in file order, unchecked but for lying in the file.</summary>
    public IReadOnlyList<ElfSegment> Segments { get; }

    /// <summary>The sections, index 0 included; empty when the file has none.</summary>
    /// <exception cref="ElfFormatException">The section headers are damaged.</exception>
    public IReadOnlyList<ElfSection> Sections => _sections.Value;

    /// <summary>The symbols of <c>.symtab</c>, without the null symbol; empty in stripped files.</summary>
    /// <exception cref="ElfFormatException">The section headers are damaged.</exception>
    public IReadOnlyList<ElfSymbol> Symbols => _symbols.Value;

    /// <summary>The symbols of <c>.dynsym</c>, without the null symbol, with versions.</summary>
    /// <exception cref="ElfFormatException">The section headers are damaged.</exception>
    public IReadOnlyList<ElfSymbol> DynamicSymbols => _dynamicSymbols.Value;

    /// <summary>The bytes that the image was made from.</summary>
    public ReadOnlyMemory<byte> Bytes => _bytes;

    /// <summary>Reads the whole of <paramref name="stream"/> and parses it.</summary>
    /// <exception cref="ElfFormatException">Not an ELF64 little-endian file, or a damaged one.</exception>
    public static ElfImage Parse(Stream stream)
    {
        using var buffer = new MemoryStream();
        stream.CopyTo(buffer);
        return Parse(buffer.GetBuffer().AsMemory(0, (int)buffer.Length));
    }

    /// <summary>Parses a file's bytes, or its beginning when that holds the program headers.</summary>
    /// <param name="bytes">The file, or its first bytes (then <see cref="Sections"/> are likely to be out of reach).</param>
    /// <param name="fileLength">The file's length where <paramref name="bytes"/> is only its beginning.</param>
    /// <exception cref="ElfFormatException">Not an ELF64 little-endian file, or a damaged one.</exception>
    public static ElfImage Parse(ReadOnlyMemory<byte> bytes, long fileLength = -1)
    {
        ReadOnlySpan<byte> file = bytes.Span;
        if (fileLength < file.Length) fileLength = file.Length;
        if (file.Length < 4 || !file[..4].SequenceEqual("\u007fELF"u8)) throw new ElfFormatException("not an ELF file");
        if (file.Length < HeaderSize) throw new ElfFormatException("ELF header cut off");
        if (file[4] != 2) throw new ElfFormatException(file[4] == 1 ? "32-bit ELF; only 64-bit programs run" : "damaged ELF header (class)");
        if (file[5] != 1) throw new ElfFormatException(file[5] == 2 ? "big-endian ELF; only little-endian programs run" : "damaged ELF header (data encoding)");
        if (file[6] != 1) throw new ElfFormatException("damaged ELF header (version)");

        ulong segmentOffset = U64(file, 32);
        int segmentCount = U16(file, 56);
        var header = new ElfHeader((ElfType)U16(file, 16), (ElfMachine)U16(file, 18), U32(file, 48), U64(file, 24),
            segmentOffset, U64(file, 40), file[7], segmentCount);
        var segments = Array.Empty<ElfSegment>();
        if (segmentCount > 0)
        {
            if (U16(file, 54) != SegmentSize) throw new ElfFormatException($"program headers of {U16(file, 54)} bytes, not {SegmentSize}");
            ulong size = (ulong)segmentCount * SegmentSize;
            if (segmentOffset > (ulong)fileLength || size > (ulong)fileLength - segmentOffset) throw new ElfFormatException("program headers lie outside the file");
            if (segmentOffset > (ulong)file.Length || size > (ulong)file.Length - segmentOffset)
                throw new ElfFormatException("program headers lie too far from the beginning of the file");
            segments = new ElfSegment[segmentCount];
            for (int i = 0; i < segmentCount; i++)
            {
                ReadOnlySpan<byte> s = file.Slice((int)segmentOffset + i * SegmentSize, SegmentSize);
                segments[i] = new ElfSegment((SegmentType)U32(s, 0), (SegmentFlags)U32(s, 4), U64(s, 8), U64(s, 16), U64(s, 32), U64(s, 40), U64(s, 48));
            }
        }
        return new ElfImage(bytes, header, segments);
    }

    /// <summary>The first section called <paramref name="name"/>.</summary>
    public ElfSection? FindSection(string name)
    {
        foreach (ElfSection section in Sections)
        {
            if (section.Name == name) return section;
        }
        return null;
    }

    /// <summary>A section's bytes in the file; what lies beyond its end, and all of a NOBITS section, is left out.</summary>
    public ReadOnlyMemory<byte> SectionData(in ElfSection section)
    {
        ulong length = (ulong)_bytes.Length;
        if (section.Type is SectionType.NoBits or SectionType.Null || section.Offset >= length) return default;
        return _bytes.Slice((int)section.Offset, (int)Math.Min(section.Size, length - section.Offset));
    }

    /// <summary>The symbol that <paramref name="address"/> (as linked) belongs to: the nearest function, object or label at or below it in
    /// the same section, if it has no size or its size reaches that far.</summary>
    /// <returns>False when there is none.</returns>
    public bool FindSymbol(ulong address, out string name, out ulong offset)
    {
        ElfSymbol[] sorted = _byAddress.Value;
        int low = 0, high = sorted.Length;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (sorted[middle].Value <= address) low = middle + 1; else high = middle;
        }
        // Bounded: a sized symbol may hide behind smaller ones that ended before the address.
        for (int i = low - 1, tries = 0; i >= 0 && tries < 64; i--, tries++)
        {
            ElfSymbol symbol = sorted[i];
            if (symbol.Size != 0 && address - symbol.Value >= symbol.Size) continue;
            if (symbol.Size == 0 && !InSection(symbol.Section, address)) continue;
            name = symbol.Name;
            offset = address - symbol.Value;
            return true;
        }
        name = "";
        offset = 0;
        return false;
    }

    private bool InSection(int index, ulong address)
    {
        ElfSection[] sections = _sections.Value;
        return (uint)index < (uint)sections.Length && address - sections[index].Address < sections[index].Size;
    }

    private ElfSymbol[] SortSymbols()
    {
        ElfSymbol[] source = _symbols.Value.Length > 0 ? _symbols.Value : _dynamicSymbols.Value;
        ElfSymbol[] kept = [.. source.Where(s => s.Name.Length > 0 && s.Section != ElfSymbol.Undefined && s.Section < 0xff00 && s.Name[0] != '$'
            && s.Type is SymbolType.None or SymbolType.Object or SymbolType.Function or SymbolType.IndirectFunction)];
        // Of several at one address the last is found first: functions, then global names, then the shortest.
        Array.Sort(kept, static (a, b) =>
        {
            int order = a.Value.CompareTo(b.Value);
            if (order == 0) order = (a.Type == SymbolType.Function).CompareTo(b.Type == SymbolType.Function);
            if (order == 0) order = (a.Binding == SymbolBinding.Global).CompareTo(b.Binding == SymbolBinding.Global);
            if (order == 0) order = b.Name.Length.CompareTo(a.Name.Length);
            return order != 0 ? order : string.CompareOrdinal(b.Name, a.Name);
        });
        return kept;
    }

    private ElfSection[] ReadSections()
    {
        ReadOnlySpan<byte> file = _bytes.Span;
        ulong offset = Header.SectionHeaderOffset;
        if (offset == 0) return [];
        if (U16(file, 58) != SectionSize) throw new ElfFormatException($"section headers of {U16(file, 58)} bytes, not {SectionSize}");
        if (offset > (ulong)file.Length || (ulong)file.Length - offset < SectionSize) throw new ElfFormatException("section headers lie outside the file");
        ulong count = U16(file, 60);
        uint nameIndex = U16(file, 62);
        ReadOnlySpan<byte> first = file.Slice((int)offset, SectionSize);
        if (count == 0) count = U64(first, 32);
        if (nameIndex == 0xffff) nameIndex = U32(first, 40);
        if (count > ((ulong)file.Length - offset) / SectionSize) throw new ElfFormatException("section headers lie outside the file");

        var sections = new ElfSection[count];
        var nameOffsets = new uint[count];
        for (int i = 0; i < sections.Length; i++)
        {
            ReadOnlySpan<byte> s = file.Slice((int)offset + i * SectionSize, SectionSize);
            nameOffsets[i] = U32(s, 0);
            sections[i] = new ElfSection(i, "", (SectionType)U32(s, 4), (SectionFlags)U64(s, 8), U64(s, 16), U64(s, 24), U64(s, 32), U32(s, 40), U32(s, 44), U64(s, 56));
        }
        ReadOnlySpan<byte> names = nameIndex < sections.Length ? SectionData(sections[nameIndex]).Span : default;
        for (int i = 0; i < sections.Length; i++) sections[i] = sections[i] with { Name = Text(names, nameOffsets[i]) };
        return sections;
    }

    private ElfSymbol[] ReadSymbols(SectionType type)
    {
        ElfSection[] sections = _sections.Value;
        int index = Array.FindIndex(sections, s => s.Type == type);
        if (index < 0) return [];
        ElfSection table = sections[index];
        ReadOnlySpan<byte> data = SectionData(table).Span;
        ReadOnlySpan<byte> names = table.Link < sections.Length ? SectionData(sections[table.Link]).Span : default;
        ElfVersions versions = type == SectionType.DynamicSymbols ? ElfVersions.Read(this) : ElfVersions.None;
        int count = data.Length / SymbolSize;
        if (count < 2) return [];
        var symbols = new ElfSymbol[count - 1];
        long characters = 0;
        for (int i = 1; i < count; i++)
        {
            ReadOnlySpan<byte> s = data.Slice(i * SymbolSize, SymbolSize);
            int section = U16(s, 6);
            string version = versions.Of(i, section == ElfSymbol.Undefined, out bool isDefault);
            symbols[i - 1] = new ElfSymbol(Text(names, U32(s, 0)), version, isDefault, U64(s, 8), U64(s, 16),
                (SymbolType)(s[4] & 15), (SymbolBinding)(s[4] >> 4), section);
            // Names of a damaged table may overlap and add up to far more than the file.
            characters += symbols[i - 1].Name.Length;
            if (characters > 2L * _bytes.Length + 0x100000) throw new ElfFormatException("symbol names do not end");
        }
        return symbols;
    }

    /// <summary>The string at <paramref name="offset"/> of a string table, or what there is of it; at most 64 KiB.</summary>
    internal static string Text(ReadOnlySpan<byte> table, uint offset)
    {
        if (offset >= (uint)table.Length) return "";
        ReadOnlySpan<byte> tail = table[(int)offset..];
        if (tail.Length > 0x10000) tail = tail[..0x10000];
        int end = tail.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? tail : tail[..end]);
    }

    internal static ushort U16(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[offset..]);
    internal static uint U32(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[offset..]);
    internal static ulong U64(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[offset..]);
}
