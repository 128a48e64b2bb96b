using System.Text;
using Vivarium.RiscV.Elf;

namespace Vivarium.RiscV.Disassembly;

/// <summary>Reads <c>Tag_RISCV_arch</c> from <c>.riscv.attributes</c> (psABI, "Attributes").</summary>
internal static class BuildAttributes
{
    private const int FileScope = 1, ArchitectureTag = 5;

    /// <summary>The ISA string that the file was built for, or null.</summary>
    public static string? Architecture(ElfImage image)
    {
        if (image.FindSection(".riscv.attributes") is not { } section) return null;
        ReadOnlySpan<byte> data = image.SectionData(section).Span;
        if (data.Length < 6 || data[0] != 'A') return null;
        data = data[5..]; // format version, length of the vendor's part
        int vendor = data.IndexOf((byte)0);
        if (vendor < 0 || !data[..vendor].SequenceEqual("riscv"u8)) return null;
        data = data[(vendor + 1)..];
        while (data.Length > 5)
        {
            uint length = ElfImage.U32(data, 1);
            if (length < 5 || length > data.Length) return null;
            if (data[0] == FileScope && Architecture(data[5..(int)length]) is { } found) return found;
            data = data[(int)length..];
        }
        return null;
    }

    private static string? Architecture(ReadOnlySpan<byte> data)
    {
        while (data.Length > 0)
        {
            int tag = (int)ReadNumber(ref data);
            if ((tag & 1) == 0)
            {
                ReadNumber(ref data);
                continue;
            }
            int end = data.IndexOf((byte)0);
            if (end < 0) return null;
            if (tag == ArchitectureTag) return Encoding.ASCII.GetString(data[..end]);
            data = data[(end + 1)..];
        }
        return null;
    }

    /// <summary>ULEB128.</summary>
    private static ulong ReadNumber(ref ReadOnlySpan<byte> data)
    {
        ulong value = 0;
        for (int shift = 0; data.Length > 0; shift += 7)
        {
            byte next = data[0];
            data = data[1..];
            if (shift < 63) value |= (ulong)(next & 0x7f) << shift;
            if (next < 0x80) break;
        }
        return value;
    }
}
