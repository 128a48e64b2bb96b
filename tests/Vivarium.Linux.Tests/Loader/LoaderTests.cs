using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Loader;
using Vivarium.Linux.Memory;
using Vivarium.Linux.Vfs;
using Vivarium.RiscV.Interpreter;

namespace Vivarium.Linux.Tests.Loader;

/// <summary>What cannot be run is refused with one clear line; damaged ELF files never harm the host.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class LoaderTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("viv-loader-").FullName;

    public void Dispose() => Directory.Delete(_directory, true);

    private string Write(string name, byte[] bytes, bool executable = true)
    {
        string path = Path.Combine(_directory, name);
        File.WriteAllBytes(path, bytes);
        if (executable) File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return path;
    }

    private static byte[] Hello => File.ReadAllBytes(TestFiles.Path("samples/bin/hello"));

    private static (int Status, string Errors) Run(string program, params string[] arguments)
    {
        var errors = new StringWriter();
        int status = ProcessRunner.Run(new RunOptions
        {
            Program = program, Arguments = [program, .. arguments], Errors = errors, Executor = ExecutorKind.Interpreter,
        });
        return (status, errors.ToString());
    }

    private static void Refused(string program, int expectedStatus, string reason)
    {
        var (status, errors) = Run(program);
        Assert.Equal(expectedStatus, status);
        Assert.Equal($"viv: cannot run '{program}': {reason}\n", errors);
    }

    [Fact]
    public void NoSuchFile() => Refused(Path.Combine(_directory, "none"), 127, "no such file");

    [Fact]
    public void ADirectory() => Refused(_directory, 126, "is a directory");

    [Fact]
    public void NotExecutable() => Refused(Write("plain", Hello, executable: false), 126, "permission denied");

    [Fact]
    public void AnEmptyFile() => Refused(Write("empty", []), 126, "empty file");

    [Fact]
    public void AText() => Refused(Write("text", Encoding.ASCII.GetBytes("hello\n")), 126, "not an ELF file");

    [Fact]
    public void ALongText() => Refused(Write("text", Encoding.ASCII.GetBytes(new string('x', 5000))), 126, "not an ELF file");

    [Fact]
    public void AnotherMachine() => Refused("/bin/true", 126, "ELF for x86-64, not for riscv64");

    [Theory]
    [InlineData(10, "truncated ELF file: the header is cut off")]
    [InlineData(100, "truncated ELF file: program headers are cut off")]
    [InlineData(5000, "truncated ELF file: a segment reaches beyond the end of the file")]
    public void ATruncatedFile(int length, string reason) => Refused(Write("short", Hello[..length]), 126, reason);

    [Fact]
    public void OverlappingSegments()
    {
        byte[] bytes = Hello;
        int table = BitConverter.ToInt32(bytes, 32), count = BitConverter.ToInt16(bytes, 56);
        var loads = Enumerable.Range(0, count).Select(i => table + i * 56).Where(at => BitConverter.ToInt32(bytes, at) == 1).ToArray();
        // The second segment moves onto the first.
        ulong address = BitConverter.ToUInt64(bytes, loads[0] + 16) + (BitConverter.ToUInt64(bytes, loads[1] + 8) & 4095);
        BitConverter.TryWriteBytes(bytes.AsSpan(loads[1] + 16), address & ~4095UL | BitConverter.ToUInt64(bytes, loads[1] + 8) & 4095);
        Refused(Write("overlap", bytes), 126, "bad ELF segments: they overlap or are out of order");
    }

    [Fact]
    public void AMissingInterpreter()
    {
        string program = Write("dynamic", WithInterpreter("/no/such/ld.so"));
        Refused(program, 127, "its interpreter /no/such/ld.so: no such file");
    }

    private static byte[] WithInterpreter(string name)
    {
        byte[] bytes = File.ReadAllBytes(TestFiles.Path("samples/bin/hello-dynamic"));
        int table = BitConverter.ToInt32(bytes, 32), count = BitConverter.ToInt16(bytes, 56);
        for (int at = table; at < table + count * 56; at += 56)
        {
            if (BitConverter.ToInt32(bytes, at) != 3) continue;
            int offset = BitConverter.ToInt32(bytes, at + 8);
            Encoding.ASCII.GetBytes(name + "\0").CopyTo(bytes, offset);
            BitConverter.TryWriteBytes(bytes.AsSpan(at + 32), (long)name.Length + 1);
        }
        return bytes;
    }

    [Fact]
    public void AScriptRunsItsInterpreter()
    {
        string kernel = TestFiles.Path("tests/guest/bin/kernel");
        // argv becomes: kernel exit SCRIPT, and atoi of a path is 0; with an argument of its own the program refuses four words.
        string script = Write("script", Encoding.ASCII.GetBytes($"#!{kernel} exit\n"));
        Assert.Equal((0, ""), Run(script));
        Assert.Equal(1, Run(script, "more").Status);
    }

    [Fact]
    public void AScriptOfItselfEnds()
    {
        string script = Path.Combine(_directory, "loop");
        Write("loop", Encoding.ASCII.GetBytes($"#!{script}\n"));
        Refused(script, 126, "too many scripts that interpret scripts");
        string none = Write("none.sh", "#!\n"u8.ToArray());
        Refused(none, 126, "the #! line names no interpreter");
    }

    [Fact]
    public void TooManyArgumentsAreRefused()
    {
        string program = TestFiles.Path("samples/bin/hello");
        var errors = new StringWriter();
        int status = ProcessRunner.Run(new RunOptions
        {
            Program = program, Arguments = [program, new string('x', 3 << 20)], Errors = errors, Executor = ExecutorKind.Interpreter,
        });
        Assert.Equal(126, status);
        Assert.Contains("too large", errors.ToString());
    }

    /// <summary>Real files with damaged headers: each is loaded or refused, in an address space of its own.</summary>
    [Theory]
    [InlineData("samples/bin/hello", 1)]
    [InlineData("samples/bin/hello-dynamic", 2)]
    [InlineData("tests/guest/bin/kernel", 3)]
    public void DamagedFilesAreLoadedOrRefused(string sample, int seed)
    {
        byte[] original = File.ReadAllBytes(TestFiles.Path(sample));
        var random = new Random(seed);
        int loaded = 0, refused = 0;
        var fs = FsContext.Create(null, null);
        for (int round = 0; round < 400; round++)
        {
            byte[] bytes = (byte[])original.Clone();
            int changes = random.Next(1, 6);
            for (int i = 0; i < changes; i++)
            {
                // Mostly the headers, where it hurts.
                int at = random.Next(4) == 0 ? random.Next(bytes.Length) : random.Next(64 + 56 * 12);
                bytes[at] = random.Next(3) switch { 0 => 0xff, 1 => 0, _ => (byte)random.Next(256) };
            }
            if (random.Next(8) == 0) bytes = bytes[..random.Next(bytes.Length)];
            string path = Write("mutant", bytes);
            using var window = MemoryWindow.Reserve(AddressSpace.WindowSize);
            using var memory = new AddressSpace(window, new ReferenceInterpreter(), new LibraryPlacement());
            try
            {
                using var prepared = ProgramLoader.Prepare(fs, path, [path]);
                ProgramLoader.Load(prepared, memory, [], path, Credentials.Of(1, 1), ResourceLimits.FromHost());
                loaded++;
            }
            catch (LoadException failure)
            {
                Assert.NotEmpty(failure.Message);
                Assert.DoesNotContain('\n', failure.Message);
                refused++;
            }
        }
        Assert.True(refused > 20, $"{loaded} loaded, {refused} refused");
    }
}
