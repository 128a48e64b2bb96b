using Vivarium.Host;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using Vivarium.Testing;
using Xunit.Abstractions;

namespace Vivarium.RiscV.Tests.Interpreter;

/// <summary>Every instruction over a table of operands, in the interpreter and in every QEMU that is installed: the same bytes.</summary>
public sealed class QemuOpcodeTests(ITestOutputHelper output)
{
    private const int OperandSets = 3000;

    public static TheoryData<string> Extensions =>
        new("I", "M", "A", "F", "D", "Zba", "Zbb", "Zbc", "Zbs", "Zicond", "Zfa", "Zacas");

    [Theory]
    [MemberData(nameof(Extensions))]
    public void SameAsQemu(string name)
    {
        var extension = Enum.Parse<Extension>(name);
        var program = new OpcodeProgram(OperandSets, (int)extension);
        var cases = OpcodeProgram.CasesOf(extension);
        Assert.NotEmpty(cases);
        var elf = program.Build(cases);

        using var window = MemoryWindow.Reserve(1UL << 30);
        using var interpreter = new ReferenceInterpreter();
        Assert.Equal(0, MiniLinux.Run(elf, interpreter, window, out var ours));

        if (Qemu.Installed.Count == 0) Say($"SKIPPED: no qemu-riscv64 to compare {name} with");
        var path = elf.Save(Path.Combine(Path.GetTempPath(), $"viv-{Environment.ProcessId}-{name}"));
        try
        {
            foreach (var qemu in Qemu.Installed)
            {
                var (status, theirs) = qemu.Run(path, TimeSpan.FromMinutes(2));
                if (status == 132)
                {
                    Say($"not compared: QEMU {qemu.Version} (-cpu {qemu.Cpu}) lacks {name}");
                    continue;
                }
                Assert.Equal(0, status);
                var difference = program.Difference(cases, ours, theirs,
                    (c, operands) => qemu.Version.StartsWith("7.", StringComparison.Ordinal) && IsKnownMistakeOfQemu7(c, operands));
                Assert.True(difference is null, $"QEMU {qemu.Version}: {difference}");
                output.WriteLine($"{name}: {cases.Count} cases x {OperandSets} operand sets: the same as QEMU {qemu.Version}");
            }
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>QEMU 7.2 looks into the upper half when ctzw's word is zero; the manual says 32.</summary>
    private static bool IsKnownMistakeOfQemu7(OpcodeProgram.Case c, ulong[] operands) => c.Name == "ctzw" && (uint)operands[0] == 0;

    private void Say(string line)
    {
        output.WriteLine(line);
        Console.WriteLine(line);
    }
}
