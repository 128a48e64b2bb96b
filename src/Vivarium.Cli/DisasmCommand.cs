using System.CommandLine;
using System.Globalization;
using System.Text;
using Vivarium.RiscV.Disassembly;
using Vivarium.RiscV.Elf;

namespace Vivarium.Cli;

/// <summary><c>viv disasm</c>: the code of a riscv64 ELF file in the format of <c>objdump -d</c>.</summary>
internal static class DisasmCommand
{
    public static Command Build()
    {
        var file = new Argument<string>("FILE") { Description = "A riscv64 ELF program, library or object" };
        var range = new Option<string?>("--range") { Description = "Only these addresses, in hexadecimal (END is the first not wanted)", HelpName = "START:END" };
        var disasm = new Command("disasm", "Disassemble a riscv64 ELF file, in the format of objdump -d") { file, range };
        disasm.SetAction(result => Run(result.GetRequiredValue(file), result.GetValue(range)));
        return disasm;
    }

    private static int Run(string path, string? range)
    {
        (ulong start, ulong end) = ParseRange(range);
        try
        {
            ElfImage image = ElfImage.Parse(File.ReadAllBytes(path));
            if (image.Header.Machine != ElfMachine.RiscV)
                throw new ElfFormatException($"ELF for {Name(image.Header.Machine)}, not for riscv64");
            using var output = new StreamWriter(new DescriptorStream(1), new UTF8Encoding(false), 1 << 16);
            ElfDisassembler.Write(image, output, start, end, path);
            return 0;
        }
        catch (Exception e) when (e is ElfFormatException or IOException or UnauthorizedAccessException)
        {
            string reason = e switch
            {
                FileNotFoundException or DirectoryNotFoundException => "no such file",
                UnauthorizedAccessException => Directory.Exists(path) ? "is a directory" : "permission denied",
                _ => e.Message,
            };
            throw new CommandException(ExitCodes.Failed, $"cannot disassemble '{path}': {reason}");
        }
    }

    private static (ulong Start, ulong End) ParseRange(string? range)
    {
        if (range == null) return (0, ulong.MaxValue);
        string[] parts = range.Split(':');
        if (parts.Length == 2 && TryAddress(parts[0], 0, out ulong start) && TryAddress(parts[1], ulong.MaxValue, out ulong end) && start < end) return (start, end);
        throw new CommandException(ExitCodes.Usage, $"--range needs START:END in hexadecimal with START below END, not '{range}'");
    }

    /// <summary>An address; left out, it is <paramref name="missing"/>.</summary>
    private static bool TryAddress(string text, ulong missing, out ulong address)
    {
        address = missing;
        if (text.Length == 0) return true;
        return ulong.TryParse(text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? text.AsSpan(2) : text, NumberStyles.AllowHexSpecifier,
            CultureInfo.InvariantCulture, out address);
    }

    private static string Name(ElfMachine machine) => machine switch
    {
        ElfMachine.X86_64 => "x86-64",
        ElfMachine.AArch64 => "arm64",
        ElfMachine.Arm => "arm",
        ElfMachine.I386 => "i386",
        ElfMachine.LoongArch => "loongarch",
        _ => $"machine {(int)machine}",
    };
}
