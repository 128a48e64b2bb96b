namespace Vivarium.Cli.Tests;

/// <summary>What cannot be run: one line that names the file and the reason, and the exit status of a shell.</summary>
public sealed class BadInputTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("viv-test-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private string Make(string name, byte[] content, bool executable = true)
    {
        string path = Path.Combine(_directory, name);
        File.WriteAllBytes(path, content);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | (executable ? UnixFileMode.UserExecute : 0));
        return path;
    }

    private static byte[] Hello() => File.ReadAllBytes(Guests.Sample("hello"));

    private static void Refused(int exitCode, string reason, params string[] arguments)
    {
        var result = Viv.Run(["run", .. arguments]);
        Assert.Equal("", result.Output);
        Assert.Matches(@"^viv: cannot [^\n]+\n$", result.Error);
        Assert.Contains(reason, result.Error);
        Assert.Contains(arguments[^1], result.Error);
        Assert.Equal(exitCode, result.ExitCode);
    }

    [Fact]
    public void A_missing_program() => Refused(127, "no such file", Path.Combine(_directory, "none"));

    [Fact]
    public void A_program_that_PATH_lacks() => Refused(127, "not found", "no-such-program-anywhere");

    [Fact]
    public void A_directory() => Refused(126, "directory", _directory);

    [Fact]
    public void A_file_that_is_not_executable() => Refused(126, "permission denied", Make("f", Hello(), executable: false));

    [Fact]
    public void Not_an_ELF_file() => Refused(126, "not an ELF file", Make("f", "hello\n"u8.ToArray()));

    [Fact]
    public void An_empty_file() => Refused(126, "", Make("f", []));

    [Fact]
    public void A_program_of_the_host() => Refused(126, "ELF for x86-64, not for riscv64", "/bin/ls");

    [Fact]
    public void A_truncated_header() => Refused(126, "truncated", Make("f", Hello()[..40]));

    [Fact]
    public void Truncated_program_headers() => Refused(126, "truncated", Make("f", Hello()[..100]));

    [Fact]
    public void Truncated_contents() => Refused(126, "truncated", Make("f", Hello()[..5000]));

    [Fact]
    public void Overlapping_segments()
    {
        byte[] elf = Hello();
        int headers = (int)BitConverter.ToUInt64(elf, 32), size = BitConverter.ToUInt16(elf, 54), count = BitConverter.ToUInt16(elf, 56);
        var loads = Enumerable.Range(0, count).Select(i => headers + i * size).Where(at => BitConverter.ToUInt32(elf, at) == 1).ToArray();
        elf.AsSpan(loads[0] + 16, 8).CopyTo(elf.AsSpan(loads[1] + 16)); // the second segment's address becomes the first's
        Refused(126, "segment", Make("f", elf));
    }

    [Fact]
    public void A_missing_interpreter() => Refused(127, "ld-linux-riscv64-lp64d.so.1", Guests.Sample("hello-dynamic"));

    [DebianFact]
    public void A_missing_library()
    {
        string root = Path.Combine(_directory, "root");
        Directory.CreateDirectory(Path.Combine(root, "lib"));
        File.Copy(Path.Combine(Guests.DebianTree!, "usr/lib/riscv64-linux-gnu/ld-linux-riscv64-lp64d.so.1"), Path.Combine(root, "lib/ld-linux-riscv64-lp64d.so.1"));
        File.Copy(Guests.Sample("hello-dynamic"), Path.Combine(root, "hello"));
        // The program's own dynamic linker says it, as on any Linux.
        var result = Viv.Run("run", "--root", root, "/hello");
        Assert.Equal(127, result.ExitCode);
        Assert.Matches("^/hello: error while loading shared libraries: libc.so.6: [^\n]+\n$", result.Error);
    }

    [Fact]
    public void A_root_that_is_not_there()
    {
        var result = Viv.Run("run", "--root", "/no/such/root", "prog");
        Assert.Equal((125, "viv: cannot use '/no/such/root' as a root: no such directory\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public void A_working_directory_that_is_not_there()
    {
        var result = Viv.Run("run", "--workdir", "/no/such", Guests.Sample("hello"));
        Assert.Equal(125, result.ExitCode);
        Assert.Matches("^viv: cannot use '/no/such' as the working directory[^\n]*\n$", result.Error);
    }

    [Theory]
    [InlineData("unknown option '--teir'", "--teir", "1", "x")]
    [InlineData("--tier is interp, 1 or 2, not '9'", "--tier", "9", "x")]
    [InlineData("--root needs DIR", "--root")]
    [InlineData("--stats takes no value", "--stats=1", "x")]
    [InlineData("--root and --image exclude each other", "--root", "/", "--image", "i", "x")]
    [InlineData("--code-cache needs a size such as 64M, not '1Q'", "--code-cache", "1Q", "x")]
    [InlineData("no program given")]
    public void A_wrong_command_line(string message, params string[] arguments)
    {
        var result = Viv.Run(["run", .. arguments]);
        Assert.Equal((125, ""), (result.ExitCode, result.Output));
        Assert.Matches("^viv: [^\n]+\n$", result.Error);
        Assert.Contains(message, result.Error);
    }

    [Fact]
    public void A_mistyped_command()
    {
        var result = Viv.Run("rn");
        Assert.Equal(2, result.ExitCode);
        Assert.Matches("^viv: [^\n]*'rn'[^\n]*\n$", result.Error);
    }

    [Fact]
    public void Mutated_programs_never_harm_the_host()
    {
        var random = new Random(17);
        byte[] hello = Hello();
        for (int round = 0; round < 60; round++)
        {
            byte[] mutated = (byte[])hello.Clone();
            for (int count = random.Next(1, 6); count > 0; count--)
                mutated[random.Next(round % 2 == 0 ? 400 : mutated.Length)] = (byte)random.Next(256);
            if (random.Next(4) == 0)
                mutated = mutated[..random.Next(1, mutated.Length)];
            RunResult result;
            try
            {
                result = Viv.RunProgram(Viv.Binary, ["run", Make("mutant", mutated)], seconds: 5);
            }
            catch (TimeoutException)
            {
                continue; // A mutant may well loop for ever: that is its right.
            }

            Assert.DoesNotContain("internal error", result.Error);
            Assert.DoesNotContain("   at ", result.Error);
        }
    }
}
