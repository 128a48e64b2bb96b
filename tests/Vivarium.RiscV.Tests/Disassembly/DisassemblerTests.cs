using System.Globalization;
using Vivarium.RiscV.Disassembly;
using Vivarium.RiscV.Elf;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Tests.Disassembly;

public class DisassemblerTests
{
    private static string Data(string name) => Path.Combine(AppContext.BaseDirectory, "Disassembly", name);

    /// <summary>One line for each form of each instruction, with what binutils 2.44 makes of it.</summary>
    [Fact]
    public void Writes_every_instruction_as_objdump_does()
    {
        int lines = 0;
        foreach (string line in File.ReadLines(Data("instructions.txt")))
        {
            if (line.StartsWith('#')) continue;
            string[] part = line.Split('\t', 3);
            ulong pc = ulong.Parse(part[0], NumberStyles.HexNumber);
            uint bits = uint.Parse(part[1], NumberStyles.HexNumber);
            Assert.Equal($"{part[1]} {part[2]}", $"{part[1]} {Disassembler.Format(Decoder.Decode(bits), pc)}");
            lines++;
        }
        Assert.True(lines > 380, $"only {lines} lines");
    }

    /// <summary>What this machine's objdump may be too old for, and aliases that are easy to get wrong.</summary>
    [Theory]
    [InlineData(0x00000013u, "nop")]
    [InlineData(0x00050513u, "mv\ta0,a0")]
    [InlineData(0xfff54513u, "not\ta0,a0")]
    [InlineData(0x0ff57513u, "zext.b\ta0,a0")]
    [InlineData(0x0005051bu, "sext.w\ta0,a0")]
    [InlineData(0x0805453bu, "zext.h\ta0,a0")]
    [InlineData(0x0805053bu, "zext.w\ta0,a0")]
    [InlineData(0xf0108553u, "fli.s\tfa0,min")]
    [InlineData(0xf21f0553u, "fli.d\tfa0,inf")]
    [InlineData(0xf21f8553u, "fli.d\tfa0,nan")]
    [InlineData(0xf2100553u, "fli.d\tfa0,-0x1p+0")]
    [InlineData(0xc2859553u, "fcvtmod.w.d\ta0,fa1,rtz")]
    [InlineData(0x4045f553u, "fround.s\tfa0,fa1")]
    [InlineData(0x4255f553u, "froundnx.d\tfa0,fa1")]
    [InlineData(0x28c5a52fu, "amocas.w\ta0,a2,(a1)")]
    [InlineData(0x2ec5c52fu, "amocas.q.aqrl\ta0,a2,(a1)")]
    [InlineData(0x00d00073u, "wrs.nto")]
    [InlineData(0x0100000fu, "pause")]
    [InlineData(0x0045200fu, "cbo.zero\t(a0)")]
    [InlineData(0x02156013u, "prefetch.r\t32(a0)")]
    [InlineData(0x0ec5d533u, "czero.eqz\ta0,a1,a2")]
    [InlineData(0xc0001073u, "unimp")]
    [InlineData(0x00008067u, "ret")]
    [InlineData(0x02c58553u, "fadd.d\tfa0,fa1,fa2,rne")]
    [InlineData(0x02c5f553u, "fadd.d\tfa0,fa1,fa2")]
    [InlineData(0x0000u, "unimp")]
    [InlineData(0x4001u, "c.li\tzero,0")]
    [InlineData(0x2001u, ".insn\t2, 0x2001")]
    public void Writes_extensions_and_aliases(uint bits, string expected) => Assert.Equal(expected, Disassembler.Format(Decoder.Decode(bits), 0));

    [Fact]
    public void Instructions_of_absent_extensions_are_raw_words()
    {
        var text = new System.Text.StringBuilder();
        var disassembler = new Disassembler(ExtensionSet.Rv64gc);
        disassembler.Append(text, Decoder.Decode(0x0ec5d533), 0);
        Assert.Equal(".insn\t4, 0x0ec5d533", text.ToString());
        text.Clear();
        disassembler.Append(text, Decoder.Decode(0x0100000f), 0);
        Assert.Equal("fence\tw,unknown", text.ToString());
    }

    [Fact]
    public void Writes_a_file_as_objdump_does()
    {
        var text = new StringWriter();
        ElfDisassembler.Write(ElfImage.Parse(File.ReadAllBytes(Data("sample.o"))), text, fileName: "sample.o");
        Assert.Equal(File.ReadAllText(Data("sample.txt")), text.ToString());
    }

    [Fact]
    public void Writes_only_the_range_asked_for()
    {
        var text = new StringWriter();
        ElfDisassembler.Write(ElfImage.Parse(File.ReadAllBytes(Data("sample.o"))), text, 2, 6);
        Assert.Equal("\nDisassembly of section .text:\n\n0000000000000002 <main+0x2>:\n   2:\tec06                \tsd\tra,24(sp)\n"
            + "   4:\t67c9                \tlui\ta5,0x12\n", text.ToString());
    }

    [Theory]
    [InlineData("rv64i2p1_m2p0_zicsr2p0_zba1p0", "I M Zicsr Zba")]
    [InlineData("rv64gc_zicond", "I M A F D Zca Zcd Zicsr Zifencei Zicntr Zicond")]
    [InlineData("rv64imac", "I M A Zca")]
    public void Reads_isa_strings(string isa, string expected)
    {
        ExtensionSet set = ExtensionSet.Parse(isa);
        string[] found = [.. Enum.GetValues<Extension>().Where(e => e is not (Extension.Reserved or Extension.Privileged) && set.Contains(e)).Select(e => e.ToString())];
        Assert.Equal(expected.Split(' ').Order(), found.Order());
    }

    [Fact]
    public void Damaged_files_never_do_worse_than_ElfFormatException()
    {
        byte[] sample = File.ReadAllBytes(Data("sample.o"));
        var random = new Random(3);
        for (int round = 0; round < 3000; round++)
        {
            byte[] bytes = (byte[])sample.Clone();
            if (random.Next(6) == 0) bytes = bytes[..random.Next(bytes.Length)];
            for (int n = random.Next(1, 16); n > 0 && bytes.Length > 7; n--)
                bytes[random.Next(7, bytes.Length)] = random.Next(4) switch { 0 => 0xff, 1 => 0, 2 => 4, _ => (byte)random.Next(256) };
            try
            {
                ElfDisassembler.Write(ElfImage.Parse(bytes), TextWriter.Null);
            }
            catch (ElfFormatException e)
            {
                Assert.NotEmpty(e.Message);
            }
        }
    }
}
