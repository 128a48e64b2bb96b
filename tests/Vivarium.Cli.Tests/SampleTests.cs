namespace Vivarium.Cli.Tests;

/// <summary>Our own prebuilt programs: what the README starts with.</summary>
public sealed class SampleTests
{
    public static TheoryData<string> Tiers => [.. Guests.Tiers];

    [Theory]
    [MemberData(nameof(Tiers))]
    public void Hello(string tier)
    {
        var result = Viv.Run("run", "--tier", tier, Guests.Sample("hello"));
        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        Assert.StartsWith("Hello from riscv64", result.Output);
    }

    [Theory]
    [MemberData(nameof(Tiers))]
    public void The_tour_passes(string tier)
    {
        var result = Viv.Run("run", "--tier", tier, Guests.Sample("tour"));
        Assert.True(result.ExitCode == 0, result.Output + result.Error);
    }

    [Theory]
    [InlineData("null", 139, "SIGSEGV")]
    [InlineData("jump", 139, "SIGSEGV")]
    [InlineData("stack", 139, "SIGSEGV")]
    [InlineData("illegal", 132, "SIGILL")]
    [InlineData("abort", 134, "SIGABRT")]
    public void A_crash_is_reported_in_one_line(string kind, int exitCode, string signal)
    {
        foreach (string tier in Guests.Tiers)
        {
            var result = Viv.Run("run", "--tier", tier, Guests.Sample("crash"), kind);
            Assert.Equal(exitCode, result.ExitCode);
            Assert.Matches($@"^viv: crash: {signal} at pc 0x[0-9a-f]+.*\n$", result.Error);
        }
    }

    [Fact]
    public void Guests_arguments_are_theirs()
    {
        // Options after the program are not viv's, even those that viv knows.
        var result = Viv.Run("run", Guests.Sample("hello"), "--help", "--root", "/nowhere");
        Assert.Equal(0, result.ExitCode);
    }

    [Fact]
    public void Strace_shows_calls_and_the_end()
    {
        var result = Viv.Run("run", "--strace", Guests.Sample("hello"));
        Assert.Equal(0, result.ExitCode);
        Assert.Contains("write(1, \"Hello", result.Error);
        Assert.Contains("exit_group(0)", result.Error);
        string file = Path.GetTempFileName();
        try
        {
            var quiet = Viv.Run("run", "--strace=" + file, Guests.Sample("hello"));
            Assert.Equal("", quiet.Error);
            Assert.Contains("exit_group(0)", File.ReadAllText(file));
        }
        finally
        {
            File.Delete(file);
        }
    }
}
