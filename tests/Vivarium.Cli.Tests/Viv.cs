using System.Diagnostics;

namespace Vivarium.Cli.Tests;

/// <summary>What a run of a program left behind.</summary>
/// <param name="ExitCode">Exit status; 128+signal where a signal ended the program.</param>
/// <param name="Output">All of standard output.</param>
/// <param name="Error">All of standard error.</param>
public sealed record RunResult(int ExitCode, string Output, string Error);

/// <summary>Runs the published viv binary, the one that users get, and programs to compare with.</summary>
public static class Viv
{
    /// <summary>The root of the repository.</summary>
    public static string Repository { get; } = FindRepository();

    /// <summary>The NativeAOT binary that <c>./test</c> published.</summary>
    public static string Binary { get; } =
        Path.Combine(Repository, "artifacts/publish/Vivarium.Cli/release_linux-x64/viv");

    /// <summary>Runs viv with these arguments.</summary>
    public static RunResult Run(params string[] arguments) => RunProgram(Binary, arguments);

    /// <summary>Runs a host program; kills it after <paramref name="seconds"/>.</summary>
    public static RunResult RunProgram(
        string program,
        IEnumerable<string> arguments,
        string? input = null,
        string? workingDirectory = null,
        IEnumerable<KeyValuePair<string, string>>? environment = null,
        int seconds = 120)
    {
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = workingDirectory ?? Repository,
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        foreach (var (name, value) in environment ?? [])
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        try
        {
            process.StandardInput.Write(input ?? "");
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // The program ended without reading its input: its result says enough.
        }

        if (!process.WaitForExit(TimeSpan.FromSeconds(seconds)))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{program} {string.Join(' ', start.ArgumentList)} did not end within {seconds} s");
        }

        return new RunResult(process.ExitCode, output.GetAwaiter().GetResult(), error.GetAwaiter().GetResult());
    }

    private static string FindRepository()
    {
        for (var directory = AppContext.BaseDirectory; directory is not null; directory = Path.GetDirectoryName(directory))
        {
            if (File.Exists(Path.Combine(directory, "Vivarium.slnx")))
                return directory;
        }

        throw new InvalidOperationException("the tests do not run inside the repository");
    }
}
