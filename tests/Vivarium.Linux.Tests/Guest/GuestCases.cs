using System.Diagnostics;

namespace Vivarium.Linux.Tests.Guest;

/// <summary>Runs cases of tests/guest/bin/guest-tests in viv, each in a host process of its own, with a time-out.</summary>
internal static class GuestCases
{
    private static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(60);

    private static string Repository { get; } = FindRepository();

    private static string Program { get; } = Path.Combine(Repository, "tests/guest/bin/guest-tests");

    // The native binary that ./test publishes, or the framework-dependent build: whichever is newer.
    private static (string File, string[] Arguments) Viv { get; } = FindViv();

    /// <summary>Name and expected exit status of every case.</summary>
    public static IReadOnlyDictionary<string, int> All { get; } = List();

    /// <summary>Runs one case and fails with its output unless it ends with the status it announces.</summary>
    public static void Run(string name, string tier, int scale)
    {
        var (status, output) = Execute(scale, "run", "--tier", tier, Program, name);
        Assert.True(status == All[name], $"{name} on tier {tier} ended with {status?.ToString() ?? "a time-out"}, not {All[name]}:\n{output}");
    }

    private static Dictionary<string, int> List()
    {
        var (status, output) = Execute(100, "run", "--tier", "interp", Program, "--list");
        if (status != 0) throw new InvalidOperationException($"guest-tests --list ended with {status}: {output}");
        return output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(words => !words.Contains("internal"))
            .ToDictionary(words => words[0], words => words.Where(w => w.StartsWith("exit=", StringComparison.Ordinal)).Select(w => int.Parse(w[5..])).FirstOrDefault());
    }

    private static (int? Status, string Output) Execute(int scale, params string[] arguments)
    {
        var start = new ProcessStartInfo(Viv.File)
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Path.GetTempPath(),
        };
        foreach (string argument in Viv.Arguments.Concat(arguments)) start.ArgumentList.Add(argument);
        start.Environment["GUEST_TESTS_SCALE"] = Environment.GetEnvironmentVariable("GUEST_TESTS_SCALE") ?? scale.ToString();
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEndAsync();
        bool ended = process.WaitForExit(TimeLimit);
        if (!ended)
        {
            process.Kill();
            process.WaitForExit();
        }

        return (ended ? process.ExitCode : null, output.GetAwaiter().GetResult() + errors.GetAwaiter().GetResult());
    }

    private static (string, string[]) FindViv()
    {
        string native = Path.Combine(Repository, "artifacts/publish/Vivarium.Cli/release_linux-x64/viv");
        string managed = Path.Combine(Repository, "artifacts/bin/Vivarium.Cli/release/viv.dll");
        if (File.Exists(native) && (!File.Exists(managed) || File.GetLastWriteTimeUtc(native) >= NewestManaged(managed))) return (native, []);
        if (File.Exists(managed)) return ("dotnet", [managed]);
        throw new InvalidOperationException("build src/Vivarium.Cli first: neither the native viv nor viv.dll is there");
    }

    private static DateTime NewestManaged(string managed) =>
        Directory.GetFiles(Path.GetDirectoryName(managed)!, "*.dll").Max(File.GetLastWriteTimeUtc);

    private static string FindRepository()
    {
        for (string? directory = AppContext.BaseDirectory; directory is not null; directory = Path.GetDirectoryName(directory))
            if (File.Exists(Path.Combine(directory, "Vivarium.slnx"))) return directory;
        throw new InvalidOperationException("the tests do not run inside the repository");
    }
}

/// <summary>The cases that are expected to pass on a tier.</summary>
internal static class GuestCaseData
{
    public static TheoryData<string> For(string tier)
    {
        var data = new TheoryData<string>();
        foreach (string name in GuestCases.All.Keys.Order(StringComparer.Ordinal))
            if (KnownFailures.Reason(tier, name) is null) data.Add(name);
        return data;
    }
}

/// <summary>Every case of guest-tests on the reference interpreter, with small iteration counts.</summary>
public sealed class GuestTestsOnInterpreter
{
    public static TheoryData<string> Cases => GuestCaseData.For("interp");

    [Theory]
    [MemberData(nameof(Cases))]
    public void Passes(string name) => GuestCases.Run(name, "interp", scale: 2);
}

/// <summary>Every case of guest-tests on translated code.</summary>
public sealed class GuestTestsOnTranslator
{
    public static TheoryData<string> Cases => GuestCaseData.For("1");

    [Theory]
    [MemberData(nameof(Cases))]
    public void Passes(string name) => GuestCases.Run(name, "1", scale: 5);
}
