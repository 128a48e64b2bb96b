using System.Buffers.Binary;
using Vivarium.RiscV.Elf;

namespace Vivarium.RiscV.Tests.Elf;

public class ElfImageTests
{
    // Any ELF64 file does for the parser: the program that runs the tests is one.
    private static readonly byte[] Sample = File.ReadAllBytes(SamplePath());

    private static string SamplePath()
    {
        foreach (string path in new[] { "/bin/true", "/usr/bin/env", Environment.ProcessPath! })
        {
            if (File.Exists(path)) return path;
        }
        throw new InvalidOperationException("no ELF file to test with");
    }

    [Fact]
    public void Reads_a_real_file()
    {
        ElfImage image = ElfImage.Parse(Sample);
        Assert.Contains(image.Segments, s => s.Type == SegmentType.Load && (s.Flags & SegmentFlags.Execute) != 0);
        Assert.Contains(image.Sections, s => s.Name == ".text");
        Assert.Contains(image.DynamicSymbols, s => s.Name == "__libc_start_main" && s.Version.StartsWith("GLIBC", StringComparison.Ordinal));
        ElfSection interp = image.FindSection(".interp")!.Value;
        Assert.Equal(0, image.SectionData(interp).Span[^1]);
    }

    [Fact]
    public void The_beginning_of_a_file_is_enough_for_a_loader()
    {
        ElfImage image = ElfImage.Parse(Sample.AsMemory(0, 4096), Sample.Length);
        Assert.NotEmpty(image.Segments);
        Assert.Throws<ElfFormatException>(() => image.Sections);
    }

    [Theory]
    [InlineData(new byte[0], "not an ELF file")]
    [InlineData(new byte[] { (byte)'#', (byte)'!', (byte)'/', (byte)'b' }, "not an ELF file")]
    [InlineData(new byte[] { 0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1 }, "ELF header cut off")]
    public void Says_what_is_wrong(byte[] bytes, string message)
        => Assert.Equal(message, Assert.Throws<ElfFormatException>(() => ElfImage.Parse(bytes)).Message);

    [Fact]
    public void Program_headers_must_lie_in_the_file()
    {
        byte[] bytes = [.. Sample[..4096]];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(32), ulong.MaxValue - 10);
        Assert.Equal("program headers lie outside the file", Assert.Throws<ElfFormatException>(() => ElfImage.Parse(bytes)).Message);
    }

    [Fact]
    public void Finds_the_symbol_of_an_address()
    {
        ElfImage image = ElfImage.Parse(File.ReadAllBytes("/proc/self/exe"));
        ElfSymbol? found = image.DynamicSymbols.Concat(image.Symbols).Cast<ElfSymbol?>()
            .FirstOrDefault(s => s!.Value.Type == SymbolType.Function && s.Value.Size > 8 && s.Value.Section != 0);
        if (found is not { } symbol)
        {
            Console.WriteLine("SKIPPED: the host program has no defined function symbols to look up");
            return;
        }
        Assert.True(image.FindSymbol(symbol.Value + 4, out _, out ulong offset));
        Assert.InRange(offset, 0UL, 0x10000UL);
    }

    [Fact]
    public void Damaged_files_never_do_worse_than_ElfFormatException()
    {
        var random = new Random(2);
        for (int round = 0; round < 1500; round++)
        {
            byte[] bytes = (byte[])Sample.Clone();
            if (random.Next(4) == 0) bytes = bytes[..random.Next(bytes.Length)];
            int sectionHeaders = (int)Math.Min((ulong)Math.Max(bytes.Length - 8, 0), BinaryPrimitives.ReadUInt64LittleEndian(Sample.AsSpan(40)));
            for (int n = random.Next(1, 12); n > 0 && bytes.Length > 8; n--)
            {
                // Mostly where structure is: the header, program headers, section headers.
                int at = random.Next(4) switch
                {
                    0 => random.Next(4, Math.Min(64, bytes.Length)),
                    1 => random.Next(Math.Min(0x400, bytes.Length)),
                    2 => Math.Min(bytes.Length - 1, sectionHeaders + random.Next(Math.Max(1, bytes.Length - sectionHeaders))),
                    _ => random.Next(bytes.Length),
                };
                bytes[at] = random.Next(3) switch { 0 => 0xff, 1 => 0, _ => (byte)random.Next(256) };
            }
            try
            {
                ElfImage image = ElfImage.Parse(bytes);
                foreach (ElfSection section in image.Sections) _ = image.SectionData(section).Length;
                _ = image.Symbols.Count + image.DynamicSymbols.Count;
                image.FindSymbol((ulong)random.NextInt64(), out _, out _);
                image.FindSymbol(image.Header.Entry, out _, out _);
            }
            catch (ElfFormatException e)
            {
                Assert.NotEmpty(e.Message);
            }
        }
    }
}
