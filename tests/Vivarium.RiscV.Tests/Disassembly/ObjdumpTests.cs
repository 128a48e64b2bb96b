using System.Buffers.Binary;
using System.ComponentModel;
using System.Diagnostics;
using Vivarium.RiscV.Disassembly;
using Vivarium.RiscV.Elf;

namespace Vivarium.RiscV.Tests.Disassembly;

/// <summary>Line by line against the installed <c>riscv64-linux-gnu-objdump</c>; skipped, with a message, where there is none.</summary>
public class ObjdumpTests
{
    private const string Objdump = "riscv64-linux-gnu-objdump", Assembler = "riscv64-linux-gnu-as", Strip = "riscv64-linux-gnu-strip";
    private const string Extensions = "rv64gc_zba_zbb_zbc_zbs_zicbom_zicbop_zicboz_zihintpause_zawrs";

    /// <summary>
    /// All 49,152 compressed encodings. One differs: c.addi16sp with immediate 0, which the manual reserves and objdump writes as an
    /// addition.
    /// </summary>
    [Fact]
    public void All_compressed_halfwords()
    {
        var bytes = new MemoryStream();
        for (int half = 0; half < 0x10000; half++)
        {
            if ((half & 3) != 3) bytes.Write([(byte)half, (byte)(half >> 8)]);
        }
        string[] differences = CompareBytes("rv64gc", bytes.ToArray());
        Assert.All(differences, d => Assert.Contains("6101", d));
        Assert.True(differences.Length <= 1);
    }

    [Fact]
    public void Random_words()
    {
        uint[] majors = [0x03, 0x07, 0x0f, 0x13, 0x17, 0x1b, 0x23, 0x27, 0x2f, 0x33, 0x37, 0x3b, 0x43, 0x47, 0x4b, 0x4f, 0x53, 0x63, 0x67, 0x6f, 0x73];
        uint[] funct7 = [0, 0x20, 1, 5, 4, 0x10, 0x30, 0x24, 0x34, 0x14, 0x50, 0x51, 0x60, 0x61, 0x68, 0x69, 0x70, 0x71, 0x78, 0x79, 0x2c, 0x2d, 0x11, 0x15, 8, 9, 12, 13];
        uint[] csrs = [1, 2, 3, 0xc00, 0xc01, 0xc02, 0x300, 0x180];
        var random = new Random(4);
        var bytes = new byte[4 * 60_000];
        for (int i = 0; i < bytes.Length; i += 4)
        {
            uint major = majors[random.Next(majors.Length)];
            uint word = ((uint)random.NextInt64(1L << 32) & ~0x7fu) | major;
            if (major is 0x33 or 0x3b or 0x53 && random.Next(4) != 0) word = (word & 0x01ff_ffff) | funct7[random.Next(funct7.Length)] << 25;
            if (major == 0x73) word = (word & 0x000f_ffff) | csrs[random.Next(csrs.Length)] << 20;
            foreach (int field in new[] { 7, 15, 20 })
            {
                // Registers that aliases look at come up often. CSR numbers stay.
                if (random.Next(4) == 0 && !(field == 20 && major == 0x73)) word = (word & ~(31u << field)) | (uint)random.Next(3) << field;
            }
            // Newer than this objdump may be: Zacas, Zicond, Zfa.
            Vivarium.RiscV.Isa.Instruction decoded = Vivarium.RiscV.Isa.Decoder.Decode(word);
            Vivarium.RiscV.Isa.Extension extension = Vivarium.RiscV.Isa.InstructionTable.Rows[decoded.Row].Extension;
            if (extension is Vivarium.RiscV.Isa.Extension.Zacas or Vivarium.RiscV.Isa.Extension.Zicond or Vivarium.RiscV.Isa.Extension.Zfa) word = 0x13;
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(i), word);
        }
        Assert.Empty(CompareBytes(Extensions, bytes));
    }

    /// <summary>A whole library: the cross compiler's libc, or what VIVARIUM_DISASM_SAMPLES names (files, separated by colons).</summary>
    [Fact]
    public void Whole_files()
    {
        string[] files = (Environment.GetEnvironmentVariable("VIVARIUM_DISASM_SAMPLES") ?? "/usr/riscv64-linux-gnu/lib/libm.so.6").Split(':');
        foreach (string file in files)
        {
            if (!File.Exists(file))
            {
                Console.WriteLine($"SKIPPED: disassembly of {file}: no such file");
                continue;
            }
            if (Run(Objdump, "-d", file) is { } expected) Assert.Empty(Differences(expected, Ours(file)));
        }
    }

    private static string[] CompareBytes(string isa, byte[] bytes)
    {
        DirectoryInfo directory = Directory.CreateTempSubdirectory("vivarium-disasm");
        try
        {
            string binary = Path.Combine(directory.FullName, "bytes"), source = binary + ".s", file = binary + ".o";
            File.WriteAllBytes(binary, bytes);
            File.WriteAllText(source, $".text\n.incbin \"{binary}\"\n");
            // Without symbols nothing says that it is data.
            if (Run(Assembler, "-march=" + isa, source, "-o", file) == null || Run(Strip, file) == null || Run(Objdump, "-d", file) is not { } expected) return [];
            return Differences(expected, Ours(file));
        }
        finally
        {
            directory.Delete(true);
        }
    }

    private static string Ours(string file)
    {
        string version = Run(Objdump, "--version")!.Split('\n')[0];
        bool legacy = version[(version.LastIndexOf('.') + 1)..].Trim() is var minor && int.TryParse(minor, out int number) && number <= 40;
        var text = new StringWriter();
        ElfDisassembler.Write(ElfImage.Parse(File.ReadAllBytes(file)), text, fileName: file, style: legacy ? DisassemblyStyle.Binutils240 : DisassemblyStyle.Binutils244);
        return text.ToString();
    }

    private static string[] Differences(string expected, string actual)
    {
        string[] left = expected.Split('\n'), right = actual.Split('\n');
        var found = new List<string>();
        for (int i = 0; i < Math.Max(left.Length, right.Length) && found.Count < 20; i++)
        {
            string l = i < left.Length ? left[i] : "(end)", r = i < right.Length ? right[i] : "(end)";
            if (l != r) found.Add($"line {i + 1}\nobjdump:  {l}\nvivarium: {r}\n");
        }
        return [.. found];
    }

    private static string? Run(string program, params string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{program} failed with {process.ExitCode}");
        }
        catch (Win32Exception)
        {
            Console.WriteLine($"SKIPPED: comparison with objdump: {program} is not installed");
            return null;
        }
    }
}
