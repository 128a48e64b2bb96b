using System.Text.RegularExpressions;

namespace Vivarium.Cli.Tests;

/// <summary>The persistent cache on the command line.</summary>
public sealed class CacheTests : IDisposable
{
    private readonly string _directory = Path.Combine(Path.GetTempPath(), "viv-cache-" + Guid.NewGuid().ToString("N"));

    private static long Counter(RunResult result, string name)
    {
        Match match = Regex.Match(result.Error, $"^viv: {Regex.Escape(name)}: ([0-9]+)$", RegexOptions.Multiline);
        Assert.True(match.Success, result.Error);
        return long.Parse(match.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture);
    }

    [Fact]
    public void The_second_run_translates_next_to_nothing()
    {
        string[] arguments = ["run", "--stats", "--cache", _directory, Guests.Sample("tour")];
        RunResult first = Viv.Run(arguments), second = Viv.Run(arguments);
        Assert.Equal((0, 0), (first.ExitCode, second.ExitCode));
        Assert.True(Counter(first, "persistent: stored") > 100, first.Error);
        Assert.True(Counter(second, "persistent: loaded") > 100, second.Error);
        Assert.True(Counter(second, "blocks translated") < Counter(first, "blocks translated") / 10, second.Error);
        Assert.Equal(0, Counter(second, "persistent: refused"));
    }

    [Fact]
    public void The_default_is_below_the_users_cache_directory()
    {
        string[] options = ["run", "--stats"];
        var environment = new Dictionary<string, string> { ["XDG_CACHE_HOME"] = _directory };
        RunResult off = Viv.RunProgram(Viv.Binary, [.. options, "--no-cache", Guests.Sample("hello")], environment: environment);
        Assert.Equal(0, Counter(off, "persistent: stored"));
        Assert.False(Directory.Exists(_directory));
        RunResult on = Viv.RunProgram(Viv.Binary, [.. options, Guests.Sample("hello")], environment: environment);
        Assert.True(Counter(on, "persistent: stored") > 100, on.Error);
        Assert.NotEmpty(Directory.GetFiles(Path.Combine(_directory, "vivarium/translations"), "*.vtc"));
    }

    [Fact]
    public void A_directory_that_cannot_be_used_is_an_error_only_where_it_was_asked_for()
    {
        string file = Path.GetTempFileName();
        try
        {
            RunResult asked = Viv.Run("run", "--cache", file, Guests.Sample("hello"));
            Assert.Equal(125, asked.ExitCode);
            Assert.Equal($"viv: cannot use '{file}' as a translation cache: not a directory\n", asked.Error);
            RunResult silent = Viv.RunProgram(Viv.Binary, ["run", Guests.Sample("hello")], environment: new Dictionary<string, string> { ["XDG_CACHE_HOME"] = file });
            Assert.Equal((0, ""), (silent.ExitCode, silent.Error));
        }
        finally
        {
            File.Delete(file);
        }
    }

    public void Dispose()
    {
        if (Directory.Exists(_directory)) Directory.Delete(_directory, recursive: true);
    }
}
