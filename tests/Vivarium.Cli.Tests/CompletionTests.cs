namespace Vivarium.Cli.Tests;

public sealed class CompletionTests
{
    [Theory]
    [InlineData("bash", "complete -F")]
    [InlineData("zsh", "compdef")]
    [InlineData("fish", "complete -c viv")]
    public void Scripts(string shell, string contains) => Assert.Contains(contains, Viv.Run("completion", shell).Output);

    [Theory]
    [InlineData("viv r", "run")]
    [InlineData("viv image i", "import")]
    [InlineData("viv run --ti", "--tier")]
    [InlineData("viv run --tier ", "interp")]
    public void Suggestions(string line, string expected) =>
        Assert.Contains(expected, Viv.Run($"[suggest:{line.Length}]", line).Output.Split('\n'));
}
