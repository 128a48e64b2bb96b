using Vivarium.Host;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using Vivarium.Testing;
using Xunit.Abstractions;

namespace Vivarium.RiscV.Tests.Interpreter;

/// <summary>Random programs in the interpreter and in every QEMU that is installed.</summary>
public sealed class QemuProgramTests(ITestOutputHelper output)
{
    private const int Programs = 400;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void SameAsQemu(bool newExtensions)
    {
        // What QEMU 7.2 does not know, and ctzw (Zbb), which it gets wrong, only for later ones.
        var options = new RandomProgramOptions
        {
            CacheAndFences = false, // QEMU lets no user program use cbo
            BitManipulation = newExtensions,
            CompareAndSwap = newExtensions,
            // QEMU 11.1 drops fround and froundnx, flags and all, where a later instruction of the block overwrites their result.
            AdditionalFloat = false,
        };
        var programs = Enumerable.Range(newExtensions ? 1_000_000 : 2_000_000, Programs)
            .Select(seed => RandomProgram.Generate(seed, options)).Where(p => !HasCompareAndSwapToZero(p)).ToArray();
        var elf = RandomProgramElf.Build(programs);

        using var window = MemoryWindow.Reserve(1UL << 30);
        using var interpreter = new ReferenceInterpreter();
        Assert.Equal(0, MiniLinux.Run(elf, interpreter, window, out var ours));

        var compared = 0;
        var path = elf.Save(Path.Combine(Path.GetTempPath(), $"viv-{Environment.ProcessId}-random-{newExtensions}"));
        try
        {
            foreach (var qemu in Qemu.Installed)
            {
                if (newExtensions && qemu.Cpu != "max") continue;
                var (status, theirs) = qemu.Run(path, TimeSpan.FromMinutes(2));
                Assert.Equal(0, status);
                var difference = RandomProgramElf.Difference(programs, ours, theirs);
                Assert.True(difference is null, $"QEMU {qemu.Version}: {difference}");
                output.WriteLine($"{programs.Length} programs: the same as QEMU {qemu.Version}");
                compared++;
            }
        }
        finally
        {
            File.Delete(path);
        }
        if (compared == 0)
        {
            var line = $"SKIPPED: no qemu-riscv64 {(newExtensions ? "with the newer extensions " : "")}to compare random programs with";
            output.WriteLine(line);
            Console.WriteLine(line);
        }
    }

    /// <summary>QEMU 11.1 writes what an <c>amocas</c> with rd = x0 observed into its constant zero, which the rest of the block then uses
    /// (a later division kills QEMU itself with SIGFPE). The manual: writes to x0 are dropped.</summary>
    private static bool HasCompareAndSwapToZero(RandomProgram program)
    {
        for (var at = 0; at < program.Code.Length - 3;)
        {
            var instruction = Decoder.Decode(BitConverter.ToUInt32(program.Code, at));
            if (instruction is { Opcode: Opcode.AmocasW or Opcode.AmocasD or Opcode.AmocasQ, Rd: 0 }) return true;
            at += instruction.Length;
        }
        return false;
    }
}
