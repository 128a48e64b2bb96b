using System.Globalization;
using System.Text;
using Vivarium.RiscV.Elf;
using Vivarium.RiscV.Isa;
using Decoder = Vivarium.RiscV.Isa.Decoder;

namespace Vivarium.RiscV.Disassembly;

/// <summary>Writes the code of an ELF file in the format of <c>objdump -d</c>.</summary>
public static class ElfDisassembler
{
    private const int SkipZeroes = 8, SkipZeroesAtEnd = 3, BytesPerLine = 8;

    /// <summary>Writes all executable sections, or what of them lies in a range of addresses.</summary>
    /// <param name="image">The file.</param>
    /// <param name="writer">Where to; lines end in <c>\n</c>.</param>
    /// <param name="start">First address.</param>
    /// <param name="end">First address after the range.</param>
    /// <param name="fileName">The name in the first line; null leaves the heading out.</param>
    /// <param name="style">Whose spelling.</param>
    /// <exception cref="ElfFormatException">The section headers are damaged.</exception>
    public static void Write(ElfImage image, TextWriter writer, ulong start = 0, ulong end = ulong.MaxValue, string? fileName = null,
        DisassemblyStyle style = default)
    {
        if (fileName != null) writer.Write($"\n{fileName}:     file format elf64-littleriscv\n\n");
        var symbols = new DisassemblySymbols(image);
        var extensions = BuildAttributes.Architecture(image) is { } isa ? ExtensionSet.Parse(isa) : ExtensionSet.Rv64gc;
        var disassembler = new Disassembler(extensions, symbols.AppendAddress, style) { GlobalPointer = symbols.GlobalPointer };
        foreach (ElfSection section in image.Sections)
        {
            if ((section.Flags & SectionFlags.Execute) == 0 || section.Type == SectionType.NoBits || section.Size == 0) continue;
            ReadOnlyMemory<byte> data = image.SectionData(section);
            ulong first = Math.Max(start, section.Address);
            ulong last = Math.Min(end, section.Address + (ulong)data.Length);
            if (first >= last) continue;
            disassembler.Extensions = extensions;
            new SectionWriter(image, section, data, symbols, disassembler, writer).Write((int)(first - section.Address), (int)(last - section.Address));
        }
    }

    private sealed class SectionWriter(
        ElfImage image, ElfSection section, ReadOnlyMemory<byte> bytes, DisassemblySymbols symbols, Disassembler disassembler, TextWriter writer)
    {
        private readonly (int Offset, bool Data, ExtensionSet? Extensions)[] _mapping = ReadMapping(image, section);
        private readonly ExtensionSet _extensions = disassembler.Extensions;
        private readonly StringBuilder _line = new();
        private int _addressWidth;

        public void Write(int start, int stop)
        {
            symbols.Enter(section.Index);
            writer.Write($"\nDisassembly of section {section.Name}:\n");
            // Leading zeros go in groups of four, as many as the section's end allows.
            _addressWidth = 16;
            string last = (section.Address + section.Size).ToString("x16", CultureInfo.InvariantCulture);
            for (int at = 0; at + 5 <= 16 && last.AsSpan(at, 5).SequenceEqual("00000"); at += 4) _addressWidth -= 4;

            int place = symbols.FindInSection(section.Address + (ulong)start);
            int offset = start;
            DisassemblySymbols.Symbol? symbol = place < 0 ? null : symbols[place];
            while (offset < stop)
            {
                ulong address = section.Address + (ulong)offset;
                _line.Clear().Append('\n').Append(address.ToString("x16", CultureInfo.InvariantCulture));
                if (symbol == null) _line.Append(" <").Append(section.Name).Append(offset == 0 ? "" : $"+0x{offset:x}").Append('>');
                else DisassemblySymbols.AppendName(_line, symbol, address);
                writer.Write(_line.Append(":\n"));

                DisassemblySymbols.Symbol? next = symbol;
                if (symbol != null && symbol.Value <= address)
                {
                    do place++;
                    while (place < symbols.Count && !(symbols[place].Section == section.Index && symbols[place].Value > symbol.Value));
                    next = place < symbols.Count ? symbols[place] : null;
                }
                int until = stop;
                if (next != null && next.Value - section.Address is var distance && distance > (ulong)offset && distance < (ulong)stop) until = (int)distance;

                bool data = symbol != null && symbol.Section == section.Index && symbol.Value <= address && symbol.Type == SymbolType.Object;
                if (data) WriteDump(offset, until);
                else WriteInstructions(offset, until);
                offset = until;
                symbol = next;
            }
        }

        private void WriteInstructions(int offset, int until)
        {
            ReadOnlySpan<byte> data = bytes.Span;
            while (offset < until)
            {
                if (SkipZeroRun(ref offset, until)) continue;
                int length = AppendItem(data, offset, until, out int chunk, out string text);
                WriteLine(data, offset, length, chunk, text);
                offset += length;
            }
        }

        /// <summary>Objects in executable sections: sixteen bytes a line, in pairs, and as text.</summary>
        private void WriteDump(int offset, int until)
        {
            ReadOnlySpan<byte> data = bytes.Span;
            while (offset < until)
            {
                if (SkipZeroRun(ref offset, until)) continue;
                int length = Math.Min(16, until - offset);
                AppendLinePrefix(offset);
                for (int i = 0; i < length; i += 2)
                {
                    if (i + 1 < length) _line.Append(data[offset + i + 1].ToString("x2"));
                    _line.Append(data[offset + i].ToString("x2")).Append(' ');
                }
                for (int i = (length + 1) / 2; i < 8; i++) _line.Append("     ");
                _line.Append("    ");
                for (int i = 0; i < length; i++) _line.Append(data[offset + i] is >= 0x20 and < 0x7f ? (char)data[offset + i] : '.');
                writer.Write(_line.Append('\n'));
                offset += length;
            }
        }

        /// <summary>Long runs of zeros, and short ones before a symbol, become one line with dots.</summary>
        private bool SkipZeroRun(ref int offset, int until)
        {
            ReadOnlySpan<byte> rest = bytes.Span[offset..until];
            int run = rest.IndexOfAnyExcept((byte)0);
            if (run < 0) run = rest.Length;
            if (run < SkipZeroes && !(run == rest.Length && run < SkipZeroesAtEnd)) return false;
            if (run < rest.Length) run &= ~3;
            writer.Write("\t...\n");
            offset += run;
            return true;
        }

        /// <summary>Disassembles one instruction or datum. Returns its length; <paramref name="chunk"/> is how its bytes are grouped.</summary>
        private int AppendItem(ReadOnlySpan<byte> data, int offset, int until, out int chunk, out string text)
        {
            _line.Clear();
            ulong address = section.Address + (ulong)offset;
            if (MappingAt(offset, out int mappingEnd))
            {
                int size = Math.Min(4, Math.Min(mappingEnd, data.Length) - offset);
                if (size == 3) size = 2;
                chunk = size;
                text = size switch
                {
                    4 => $".word\t0x{ElfImage.U32(data, offset):x8}",
                    2 => $".short\t0x{ElfImage.U16(data, offset):x4}",
                    _ => $".byte\t0x{data[offset]:x2}",
                };
                return size;
            }
            int available = data.Length - offset;
            if (available == 1)
            {
                chunk = 1;
                text = $".byte\t0x{data[offset]:x2}";
                return 1;
            }
            uint low = ElfImage.U16(data, offset);
            int length = LengthOf(low);
            if (length > available)
            {
                // Cut off by the section's end: the halfwords on their own.
                length = 2;
                chunk = 2;
                disassembler.AppendRaw(_line, low, 2);
                text = _line.ToString();
                return 2;
            }
            if (length <= 4)
            {
                uint bits = length == 2 ? low : ElfImage.U32(data, offset);
                if (length == 2 && (low & 3) == 3) disassembler.AppendRaw(_line, low, 2);
                else disassembler.Append(_line, Decoder.Decode(bits), address);
                chunk = length;
            }
            else
            {
                AppendLong(data.Slice(offset, length));
                chunk = length % 4 == 0 ? 4 : 2;
            }
            text = _line.ToString();
            return length;
        }

        /// <summary>Encodings longer than 32 bits: nothing is defined there.</summary>
        private void AppendLong(ReadOnlySpan<byte> instruction)
        {
            if (disassembler.Style == DisassemblyStyle.Binutils240 && instruction.Length is 4 or 8)
            {
                _line.Append(CultureInfo.InvariantCulture, $".{instruction.Length}byte\t0x");
                int start = _line.Length;
                for (int i = instruction.Length - 1; i >= 0; i--) _line.Append(instruction[i].ToString("x2"));
                while (_line.Length - start > 1 && _line[start] == '0') _line.Remove(start, 1);
                return;
            }
            if (disassembler.Style == DisassemblyStyle.Binutils240)
            {
                _line.Append(".byte\t");
                for (int i = 0; i < instruction.Length; i++) _line.Append(i == 0 ? "" : ", ").Append("0x").Append(instruction[i].ToString("x2"));
                return;
            }
            _line.Append(CultureInfo.InvariantCulture, $".insn\t{instruction.Length}, 0x");
            Disassembler.AppendHalfwords(_line, instruction);
        }

        /// <summary>The instruction length that the lowest halfword announces (ISA manual, "Expanded Instruction-Length Encoding").</summary>
        private static int LengthOf(uint low) => (low & 3) != 3 ? 2 : (low & 0x1f) != 0x1f ? 4 : (low & 0x3f) == 0x1f ? 6 : (low & 0x7f) == 0x3f ? 8
            : (low >> 12 & 7) != 7 ? 10 + 2 * (int)(low >> 12 & 7) : 2;

        private void AppendLinePrefix(int offset)
        {
            string address = (section.Address + (ulong)offset).ToString("x", CultureInfo.InvariantCulture);
            _line.Clear().Append(' ', Math.Max(0, _addressWidth - address.Length)).Append(address).Append(":\t");
        }

        private void WriteLine(ReadOnlySpan<byte> data, int offset, int length, int chunk, string text)
        {
            AppendLinePrefix(offset);
            int done = AppendChunks(data, offset, Math.Min(length, BytesPerLine), chunk);
            _line.Append('\t').Append(text).Append('\n');
            while (done < length)
            {
                writer.Write(_line);
                AppendLinePrefix(offset + done);
                done += AppendChunks(data, offset + done, Math.Min(length - done, BytesPerLine), chunk, pad: false);
                _line.Append('\n');
            }
            writer.Write(_line);
        }

        private int AppendChunks(ReadOnlySpan<byte> data, int offset, int length, int chunk, bool pad = true)
        {
            for (int i = 0; i < length; i += chunk)
            {
                for (int j = chunk - 1; j >= 0; j--) _line.Append(data[offset + i + j].ToString("x2"));
                _line.Append(' ');
            }
            // Single bytes get a narrower column, as in objdump.
            for (int i = length; pad && i < (chunk == 1 ? 6 : BytesPerLine); i += chunk) _line.Append(' ', chunk * 2 + 1);
            return length;
        }

        private bool MappingAt(int offset, out int end)
        {
            end = int.MaxValue;
            bool data = false;
            int low = 0, high = _mapping.Length;
            while (low < high)
            {
                int middle = (low + high) >>> 1;
                if (_mapping[middle].Offset <= offset) low = middle + 1; else high = middle;
            }
            if (low > 0)
            {
                data = _mapping[low - 1].Data;
                disassembler.Extensions = _mapping[low - 1].Extensions ?? _extensions;
            }
            if (low < _mapping.Length) end = _mapping[low].Offset;
            return data;
        }

        private static (int, bool, ExtensionSet?)[] ReadMapping(ElfImage image, ElfSection section)
        {
            var list = new List<(int Offset, bool Data, ExtensionSet? Extensions)>();
            foreach (ElfSymbol symbol in image.Symbols)
            {
                if (symbol.Section != section.Index || !DisassemblySymbols.IsMapping(symbol.Name) || symbol.Value - section.Address >= section.Size) continue;
                ExtensionSet? extensions = symbol.Name.StartsWith("$xr", StringComparison.Ordinal) ? ExtensionSet.Parse(symbol.Name[2..]) : null;
                list.Add(((int)Math.Min(symbol.Value - section.Address, int.MaxValue), symbol.Name[1] == 'd', extensions));
            }
            list.Sort((a, b) => a.Offset.CompareTo(b.Offset));
            return [.. list];
        }
    }
}
