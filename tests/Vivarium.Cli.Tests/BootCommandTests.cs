using System.Buffers.Binary;

namespace Vivarium.Cli.Tests;

/// <summary><c>viv boot</c> as its user meets it: settings from options and machine files, what is wrong with them, and small guests.</summary>
public sealed class BootCommandTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("viv-boot-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private string Write(string name, byte[] content)
    {
        string path = Path.Combine(_directory, name);
        File.WriteAllBytes(path, content);
        return path;
    }

    private string Write(string name, string content) => Write(name, System.Text.Encoding.UTF8.GetBytes(content));

    /// <summary>A kernel image: the header's first instruction jumps to these, behind it.</summary>
    private string Kernel(params ReadOnlySpan<uint> code)
    {
        byte[] image = new byte[4096];
        BinaryPrimitives.WriteUInt32LittleEndian(image, 0x0400006f); // j +0x40
        BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(8), 0x20_0000);
        BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(16), (ulong)image.Length);
        "RSC\u0005"u8.CopyTo(image.AsSpan(0x38));
        for (int i = 0; i < code.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(0x40 + i * 4), code[i]);
        return Write("kernel", image);
    }

    /// <summary>Writes 'A' to the serial port and a word to the reset controller.</summary>
    private string PowerOffKernel(uint word) => Kernel(
        0x100002b7, // lui t0, 0x10000
        0x04100313, // li t1, 'A'
        0x00628023, // sb t1, 0(t0)
        0x001002b7, // lui t0, 0x100
        (word + 0x800 & 0xfffff000) | 0x00000337, // lui t1, %hi(word)
        (word & 0xfff) << 20 | 0x0003031b, // addiw t1, t1, %lo(word)
        0x0062a023, // sw t1, 0(t0)
        0x0000006f); // j .

    private static void Refused(string reason, params string[] arguments)
    {
        var result = Viv.Run(["boot", .. arguments]);
        Assert.Equal("", result.Output);
        Assert.Matches(@"^viv: cannot boot: [^\n]+\n$", result.Error);
        Assert.Contains(reason, result.Error);
        Assert.Equal(125, result.ExitCode);
    }

    [Theory]
    [InlineData("neither a kernel nor firmware is given")]
    [InlineData("'/none' does not exist", "--kernel", "/none")]
    [InlineData("another processor", "--kernel", "/bin/ls")]
    [InlineData("--cpus is 1 to 64, not '0'", "--cpus", "0")]
    [InlineData("--memory needs a size such as 512M, not '1X'", "--memory", "1X")]
    [InlineData("--tier is interp, 1 or 2", "--tier", "9")]
    [InlineData("--net is user or none", "--net", "tap")]
    [InlineData("--forward needs", "--forward", "80")]
    [InlineData("--disk knows ro, temporary and format=raw|qcow2 after the file", "--disk", "x,rw")]
    [InlineData("--console is uart or virtio, not 'vga'", "--console", "vga")]
    [InlineData("cannot read the saved machine '/none.viv': no such file", "--load", "/none.viv")]
    [InlineData("this is not a saved machine", "--load", "/bin/ls")]
    [InlineData("unknown option '--bogus'", "--bogus")]
    [InlineData("no such file", "/none.toml")]
    public void WhatIsWrongIsSaidInOneLine(string reason, params string[] arguments) => Refused(reason, arguments);

    [Theory]
    [InlineData(2, "unknown key 'kernal' in [boot]; there are kernel, initrd", "[boot]\nkernal = 'x'\n")]
    [InlineData(1, "unknown table [bot]; there are [boot]", "[bot]\n")]
    [InlineData(1, "outside of a table", "kernel = 'x'\n")]
    [InlineData(3, "cpus is a number", "[machine]\n\ncpus = 'four'\n")]
    [InlineData(2, "minimal is true or false", "[machine]\nminimal = 1\n")]
    [InlineData(2, "memory needs a size", "[machine]\nmemory = '1X'\n")]
    [InlineData(2, "console is uart or virtio", "[devices]\nconsole = 'vga'\n")]
    [InlineData(3, "disks is a list of strings", "[devices]\n# some\ndisks = 5\n")]
    [InlineData(2, "kernel is a string", "[boot]\nkernel = true\n")]
    [InlineData(1, "[[boot]] is not an array of tables here", "[[boot]]\n")]
    [InlineData(2, "forward needs", "[devices]\nforward = ['2222:22', 'x']\n")]
    [InlineData(2, "", "[boot]\nkernel = \n")]
    public void WhatIsWrongInAMachineFileIsSaidWithItsLine(int line, string reason, string content)
    {
        string file = Write("machine.toml", content);
        Refused($"'{file}' line {line}: ", "--check", file);
        Refused(reason, "--check", file);
    }

    [Fact]
    public void AMachineFileNamesItsFilesFromWhereItIsAndOptionsComeOnTop()
    {
        PowerOffKernel(0x5555);
        Write("disk.img", new byte[4096]);
        string file = Write("machine.toml", "[machine]\ncpus = 2\nmemory = '64M'\n[boot]\nkernel = 'kernel'\nappend = 'quiet'\n[devices]\ndisks = ['disk.img,temporary']\n");
        var result = Viv.Run("boot", "--check", file);
        Assert.Equal((0, "", ""), (result.ExitCode, result.Output, result.Error));
        result = Viv.Run("boot", file, "--cpus", "1");
        Assert.Equal((0, "A", ""), (result.ExitCode, result.Output, result.Error));
    }

    [Theory]
    [InlineData(0x5555u, 0)]
    [InlineData(0x2a3333u, 42)]
    [InlineData(0x3333u, 1)]
    public void TheGuestsEndIsTheExitStatus(uint word, int status)
    {
        var result = Viv.Run("boot", "--memory", "64M", "--kernel", PowerOffKernel(word));
        Assert.Equal((status, "A", ""), (result.ExitCode, result.Output, result.Error));
    }

    /// <summary>Writes this many 'A' to the serial port before it switches off; 0 is without end.</summary>
    private string TalkativeKernel(uint bytes) => Kernel(
        0x100002b7, // lui t0, 0x10000
        0x04100313, // li t1, 'A'
        (bytes + 0x800 & 0xfffff000) | 0x000003b7, // lui t2, %hi(bytes)
        (bytes & 0xfff) << 20 | 0x0003839b, // addiw t2, t2, %lo(bytes)
        0x00628023, // 1: sb t1, 0(t0)
        0xfff38393, // addi t2, t2, -1
        0xfe039ce3, // bnez t2, 1b
        0x001002b7, // lui t0, 0x100
        0x00005337, // lui t1, 5
        0x5553031b, // addiw t1, t1, 0x555
        0x0062a023, // sw t1, 0(t0)
        0x0000006f); // j .

    [Fact]
    public void AReaderOfAPipeThatIsSlowGetsEverything()
    {
        const int bytes = 300_000; // more than the pipe and viv hold
        string boot = $"'{Viv.Binary}' boot --memory 64M --kernel '{TalkativeKernel(bytes)}' </dev/null";
        var result = Viv.RunProgram("/bin/bash", ["-c", $"set -o pipefail; {boot} | (sleep 1; wc -c)"]);
        Assert.Equal((0, $"{bytes}\n", ""), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public void AnOutputThatIsClosedEndsTheMachine()
    {
        string boot = $"'{Viv.Binary}' boot --memory 64M --kernel '{TalkativeKernel(0)}' </dev/null";
        var result = Viv.RunProgram("/bin/bash", ["-c", $"set -o pipefail; {boot} | head -c 3"]);
        Assert.Equal((141, "AAA", ""), (result.ExitCode, result.Output, result.Error));
    }

    /// <summary>CoreCLR's handler for SIGABRT returned, and the machine lived on.</summary>
    [Fact]
    public void AnAbortSignalEndsIt()
    {
        string boot = $"'{Viv.Binary}' boot --memory 64M --kernel '{TalkativeKernel(0)}' </dev/null";
        var result = Viv.RunProgram("/bin/bash", ["-c", $"ulimit -c 0; exec 3< <(exec {boot}); head -c 1 <&3; kill -ABRT $!; wait $!; echo $?"]);
        Assert.Equal((0, "A134\n"), (result.ExitCode, result.Output));
    }

    [Fact]
    public void ARebootEndsTheRunWhereItIsAskedTo()
    {
        var result = Viv.Run("boot", "--no-reboot", "--memory", "64M", "--kernel", PowerOffKernel(0x7777));
        Assert.Equal((0, "A", ""), (result.ExitCode, result.Output, result.Error));
    }

    /// <summary>Firmware starts in M-mode with its hart's number and the device tree; it finds the next stage by a2 (fw_dynamic_info).</summary>
    [Fact]
    public void FirmwareRunsInMachineModeAndKnowsTheNextStage()
    {
        byte[] firmware = new byte[64];
        ReadOnlySpan<uint> code =
        [
            0xf1402573, // csrr a0, mhartid: illegal outside of M-mode
            0x01063283, // ld t0, 16(a2): the next address
            0x00028067, // jr t0
        ];
        for (int i = 0; i < code.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(firmware.AsSpan(i * 4), code[i]);
        var result = Viv.Run("boot", "--memory", "64M", "--firmware", Write("firmware", firmware), "--kernel", PowerOffKernel(0x5555));
        Assert.Equal((0, "A", ""), (result.ExitCode, result.Output, result.Error));
    }
}
