using System.Text.Json.Nodes;

namespace Vivarium.Cli.Tests;

public sealed class ImageCommandTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("viv-test-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private RunResult Image(params string[] arguments) =>
        Viv.RunProgram(Viv.Binary, ["image", .. arguments], environment: [new("VIV_STORE", Path.Combine(_directory, "store"))]);

    private RunResult Run(params string[] arguments) =>
        Viv.RunProgram(Viv.Binary, ["run", .. arguments], environment: [new("VIV_STORE", Path.Combine(_directory, "store"))]);

    private string Tree()
    {
        string tree = Path.Combine(_directory, "tree");
        Directory.CreateDirectory(Path.Combine(tree, "usr/bin"));
        File.Copy(Guests.Sample("hello"), Path.Combine(tree, "usr/bin/hello"), overwrite: true);
        File.SetUnixFileMode(Path.Combine(tree, "usr/bin/hello"), UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite);
        return tree;
    }

    [Fact]
    public void Import_list_run_inspect_and_remove()
    {
        var import = Image("import", Tree(), "small", "--cmd", "hello", "--env", "A=1");
        Assert.Equal((0, ""), (import.ExitCode, import.Error));
        Assert.Matches("^small sha256:[0-9a-f]{64}\n$", import.Output);
        Assert.Equal("small", JsonNode.Parse(Image("ls", "--json").Output)![0]!["name"]!.GetValue<string>());
        Assert.Equal("hello", JsonNode.Parse(Image("inspect", "small", "--json").Output)!["config"]!["config"]!["Cmd"]![0]!.GetValue<string>());
        Assert.Contains("env         A=1\n", Image("inspect", "small").Output);
        var run = Run("--image", "small");
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.StartsWith("Hello from riscv64", run.Output);
        Assert.StartsWith("Hello from riscv64", Run("--image", "small", "/usr/bin/hello").Output);
        Assert.Equal(0, Image("verify", "small").ExitCode);
        Assert.Equal(0, Image("rm", "small").ExitCode);
        Assert.Equal("", Image("ls").Output);
    }

    [Theory]
    [InlineData("cannot import '/no/such.tar': No such file or directory", "import", "/no/such.tar", "x")]
    [InlineData("cannot read archive '/dev/null': it is empty", "import", "/dev/null", "x")]
    [InlineData("cannot use '../x' as an image name", "import", "/dev/null", "../x")]
    [InlineData("cannot remove image 'x': there is none", "rm", "x")]
    [InlineData("cannot inspect image 'x': there is none", "inspect", "x")]
    public void A_failure_is_one_line(string message, params string[] arguments)
    {
        var result = Image(arguments);
        Assert.Equal((1, ""), (result.ExitCode, result.Output));
        Assert.Matches("^viv: [^\n]+\n$", result.Error);
        Assert.Contains(message, result.Error);
    }

    [Fact]
    public void Running_what_is_not_there()
    {
        var result = Run("--image", "none", "x");
        Assert.Equal((125, "viv: cannot run image 'none': there is none of that name (viv image ls)\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public void A_full_disk_leaves_nothing()
    {
        // A file size limit stands for the full disk: the same write fails the same way, and needs no root.
        string store = Path.Combine(_directory, "store");
        Assert.Equal(0, Image("import", Tree(), "before").ExitCode);
        File.WriteAllBytes(Path.Combine(Tree(), "big"), System.Security.Cryptography.RandomNumberGenerator.GetBytes(3 << 20));
        var result = Viv.RunProgram("/bin/sh", ["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh", Viv.Binary, "image", "--store", store, "import", Tree(), "big"]);
        Assert.Equal(1, result.ExitCode);
        Assert.Matches("^viv: cannot import '[^\n]+': File too large\n$", result.Error);
        Assert.Equal("before", Image("ls").Output.Split('\t')[0]);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(store, "tmp")));
        Assert.Equal(3, Directory.GetFiles(Path.Combine(store, "blobs/sha256")).Length);
    }
}
