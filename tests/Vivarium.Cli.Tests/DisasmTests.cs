namespace Vivarium.Cli.Tests;

public sealed class DisasmTests
{
    private static readonly string Samples = Path.Combine(Viv.Repository, "tests/Vivarium.RiscV.Tests/Disassembly");

    [Fact]
    public void Writes_a_file_as_objdump_does()
    {
        RunResult result = Viv.RunProgram(Viv.Binary, ["disasm", "sample.o"], workingDirectory: Samples);
        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        Assert.Equal(File.ReadAllText(Path.Combine(Samples, "sample.txt")), result.Output);
    }

    [Fact]
    public void Writes_a_range()
    {
        RunResult result = Viv.RunProgram(Viv.Binary, ["disasm", "sample.o", "--range", "0x0:2"], workingDirectory: Samples);
        Assert.EndsWith("<main>:\n   0:\t1101                \taddi\tsp,sp,-32\n", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/bin/true", "viv: cannot disassemble '/bin/true': ELF for x86-64, not for riscv64\n")]
    [InlineData("/etc/passwd", "viv: cannot disassemble '/etc/passwd': not an ELF file\n")]
    [InlineData("/nonexistent", "viv: cannot disassemble '/nonexistent': no such file\n")]
    [InlineData("/usr", "viv: cannot disassemble '/usr': is a directory\n")]
    public void Says_why_not(string file, string message)
    {
        RunResult result = Viv.Run("disasm", file);
        Assert.Equal((1, "", message), (result.ExitCode, result.Output, result.Error));
    }
}
