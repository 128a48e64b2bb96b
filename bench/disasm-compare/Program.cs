// Compares Vivarium's disassembly of every riscv64 ELF file under some paths with objdump's, line by line.
// usage: dotnet run -c Release --project bench/disasm-compare -- [--objdump PROGRAM] [--show N] PATH...
using System.Diagnostics;
using System.Text.RegularExpressions;
using Vivarium.RiscV.Disassembly;
using Vivarium.RiscV.Elf;

string objdump = "riscv64-linux-gnu-objdump";
int show = 10;
var paths = new List<string>();
for (int i = 0; i < args.Length; i++)
{
    if (args[i] == "--objdump") objdump = args[++i];
    else if (args[i] == "--show") show = int.Parse(args[++i]);
    else paths.Add(args[i]);
}
if (paths.Count == 0)
{
    Console.Error.WriteLine("usage: disasm-compare [--objdump PROGRAM] [--show N] PATH...");
    return 2;
}

string version = Start("--version").StandardOutput.ReadLine() ?? "";
Match number = Regex.Match(version, @"(\d+)\.(\d+)\D*$");
DisassemblyStyle style = number.Success && int.Parse(number.Groups[2].Value) <= 40 ? DisassemblyStyle.Binutils240 : DisassemblyStyle.Binutils244;
Console.WriteLine($"{version}; style {style}");

long totalLines = 0, totalDifferences = 0, files = 0;
foreach (string path in paths.SelectMany(p => Directory.Exists(p) ? Directory.EnumerateFiles(p, "*", SearchOption.AllDirectories).Order() : new[] { p }.AsEnumerable()))
{
    if (new FileInfo(path).LinkTarget != null) continue;
    ElfImage image;
    try
    {
        using FileStream file = File.OpenRead(path);
        byte[] magic = new byte[4];
        if (file.Read(magic) < 4 || !magic.AsSpan().SequenceEqual("\u007fELF"u8)) continue;
        image = ElfImage.Parse(File.ReadAllBytes(path));
    }
    catch (ElfFormatException)
    {
        continue;
    }
    if (image.Header.Machine != ElfMachine.RiscV) continue;

    using Process reference = Start("-d", path);
    var ours = new LinesOf(image, path, style);
    long lines = 0, differences = 0;
    int expected = 0;
    while (reference.StandardOutput.ReadLine() is { } line)
    {
        string? mine = expected < ours.Lines.Length ? ours.Lines[expected++] : null;
        lines++;
        if (mine == line) continue;
        if (differences++ < show) Console.WriteLine($"  objdump: {line}\n  vivarium:{mine}");
    }
    differences += ours.Lines.Length - expected;
    reference.WaitForExit();
    Console.WriteLine($"{differences,8} of {lines,9} lines differ: {path}");
    files++;
    totalLines += lines;
    totalDifferences += differences;
}
Console.WriteLine($"{totalDifferences} of {totalLines} lines differ in {files} files");
return totalDifferences == 0 ? 0 : 1;

Process Start(params string[] arguments) => Process.Start(new ProcessStartInfo(objdump, arguments) { RedirectStandardOutput = true })!;

/// <summary>Our disassembly as lines.</summary>
internal sealed class LinesOf
{
    public LinesOf(ElfImage image, string name, DisassemblyStyle style)
    {
        var text = new StringWriter();
        ElfDisassembler.Write(image, text, fileName: name, style: style);
        string all = text.ToString();
        Lines = (all.EndsWith('\n') ? all[..^1] : all).Split('\n');
    }

    public string[] Lines { get; }
}
