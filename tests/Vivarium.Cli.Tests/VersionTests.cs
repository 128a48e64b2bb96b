namespace Vivarium.Cli.Tests;

public sealed class VersionTests
{
    [Fact]
    public void The_version_is_one_line()
    {
        var result = Viv.Run("--version");
        Assert.Equal(0, result.ExitCode);
        Assert.Matches(@"^viv \d+\.\d+\.\d+.*\n$", result.Output);
        Assert.Equal("", result.Error);
    }
}
