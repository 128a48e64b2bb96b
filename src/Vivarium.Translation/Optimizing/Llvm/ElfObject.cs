using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Vivarium.Translation.Optimizing.Llvm;

/// <summary>A relocatable x86-64 object in memory: lays out its sections one behind the other and applies its relocations at a place.</summary>
internal sealed class ElfObject
{
    private const int SectionProgbits = 1, SectionSymbols = 2, SectionRela = 4, FlagAllocate = 2;
    private const uint Absolute64 = 1, Relative32 = 2, Plt32 = 4, Relative64 = 24;

    private readonly byte[] _file;
    private readonly Section[] _sections;

    private readonly record struct Section(uint Name, int Type, ulong Flags, int Offset, int Size, int Link, int Info, int Alignment, int Place);

    /// <exception cref="InvalidOperationException">Not such an object.</exception>
    public ElfObject(byte[] file)
    {
        _file = file;
        if (file.Length < 64 || Read32(0) != 0x464C457F || Read16(16) != 1 || Read16(18) != 62) throw new InvalidOperationException("not an x86-64 object");
        int headers = (int)Read64(40), count = Read16(60);
        _sections = new Section[count];
        int place = 0;
        for (int i = 0; i < count; i++)
        {
            int at = headers + i * 64;
            var section = new Section((uint)Read32(at), Read32(at + 4), Read64(at + 8), (int)Read64(at + 24), (int)Read64(at + 32), Read32(at + 40), Read32(at + 44), (int)Read64(at + 48), -1);
            string name = NameOf(Read16(62), section.Name, headers);
            if ((section.Flags & FlagAllocate) != 0 && section.Type == SectionProgbits && section.Size > 0 && !name.StartsWith(".eh_frame", StringComparison.Ordinal))
            {
                place = (place + section.Alignment - 1) & -Math.Max(1, section.Alignment);
                section = section with { Place = place };
                place += section.Size;
                if (section.Alignment > 64) throw new InvalidOperationException("alignment beyond a cache line");
            }
            _sections[i] = section;
        }
        Size = place;
    }

    private readonly List<RegionLink> _links = [];

    /// <summary>Bytes of all sections that are loaded.</summary>
    public int Size { get; }

    /// <summary>Once loaded, its bytes would run as well anywhere else that is aligned as well.</summary>
    public bool IsPositionIndependent { get; private set; } = true;

    /// <summary>Once loaded, its jumps to exits, which lead nowhere yet; offsets count from where it was loaded.</summary>
    public RegionLink[] Links => [.. _links];

    /// <summary>Copies the sections to <paramref name="target"/>, which lies at <paramref name="address"/> (64-byte aligned), and relocates them.</summary>
    /// <returns>The address of <paramref name="function"/>, and the bytes of its code.</returns>
    /// <exception cref="InvalidOperationException">It needs something from outside.</exception>
    public (ulong Address, int Length) Load(Span<byte> target, ulong address, string function)
    {
        target.Clear();
        foreach (Section section in _sections)
        {
            if (section.Place >= 0) _file.AsSpan(section.Offset, section.Size).CopyTo(target[section.Place..]);
        }
        (ulong, int) found = default;
        foreach (Section section in _sections)
        {
            if (section.Type == SectionRela && _sections[section.Info].Place >= 0) Relocate(section, target, address);
            if (section.Type != SectionSymbols) continue;
            for (int at = section.Offset; at < section.Offset + section.Size; at += 24)
            {
                if (Text(_sections[section.Link].Offset + Read32(at)) != function) continue;
                found = (SymbolAddress(section, at, address), (int)Read64(at + 16));
            }
        }
        return found.Item1 != 0 ? found : throw new InvalidOperationException("the object lacks its function");
    }

    private void Relocate(Section table, Span<byte> target, ulong address)
    {
        Section symbols = _sections[table.Link];
        int section = _sections[table.Info].Place;
        for (int at = table.Offset; at < table.Offset + table.Size; at += 24)
        {
            int place = section + (int)Read64(at);
            uint type = (uint)Read32(at + 8);
            if (type is Relative32 or Plt32 && ExitOf(symbols, symbols.Offset + Read32(at + 12) * 24) is { } exit && (long)Read64(at + 16) == -4)
            {
                _links.Add(new RegionLink(place, exit));
                continue;
            }
            ulong value = SymbolAddress(symbols, symbols.Offset + Read32(at + 12) * 24, address) + Read64(at + 16);
            switch (type)
            {
                case Absolute64:
                    IsPositionIndependent = false;
                    BinaryPrimitives.WriteUInt64LittleEndian(target[place..], value);
                    break;
                case Relative64:
                    BinaryPrimitives.WriteUInt64LittleEndian(target[place..], value - (address + (ulong)place));
                    break;
                case Relative32 or Plt32:
                    BinaryPrimitives.WriteInt32LittleEndian(target[place..], (int)(value - (address + (ulong)place)));
                    break;
                default: throw new InvalidOperationException($"relocation of type {type}");
            }
        }
    }

    /// <summary>The index of the exit that an undefined symbol stands for; null for others.</summary>
    private int? ExitOf(Section symbols, int at)
    {
        if (Read16(at + 6) != 0) return null;
        string name = Text(_sections[symbols.Link].Offset + Read32(at));
        return name.StartsWith(RegionConvention.ExitName, StringComparison.Ordinal)
            && int.TryParse(name.AsSpan(RegionConvention.ExitName.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int index) ? index : null;
    }

    private ulong SymbolAddress(Section symbols, int at, ulong address)
    {
        int section = Read16(at + 6);
        if (section == 0 || section >= _sections.Length || _sections[section].Place < 0)
            throw new InvalidOperationException($"it needs '{Text(_sections[symbols.Link].Offset + Read32(at))}'");
        return address + (ulong)_sections[section].Place + Read64(at + 8);
    }

    private string NameOf(int names, uint name, int headers) => Text((int)Read64(headers + names * 64 + 24) + (int)name);

    private string Text(int at)
    {
        ReadOnlySpan<byte> rest = _file.AsSpan(at);
        return Encoding.ASCII.GetString(rest[..rest.IndexOf((byte)0)]);
    }

    private int Read16(int at) => BinaryPrimitives.ReadUInt16LittleEndian(_file.AsSpan(at));
    private int Read32(int at) => BinaryPrimitives.ReadInt32LittleEndian(_file.AsSpan(at));
    private ulong Read64(int at) => BinaryPrimitives.ReadUInt64LittleEndian(_file.AsSpan(at));
}
