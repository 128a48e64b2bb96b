using System.Diagnostics;
using System.Globalization;

namespace Vivarium.Bench;

/// <summary>What one run of a command cost.</summary>
/// <param name="WallSeconds">From spawn to exit.</param>
/// <param name="CpuSeconds">User and system time of the process and of its waited-for children.</param>
/// <param name="PeakKiB">Largest resident set of a single process, KiB.</param>
/// <param name="ExitCode">Exit status, or 128 + signal.</param>
/// <param name="Output">Standard output.</param>
internal sealed record Sample(double WallSeconds, double CpuSeconds, long PeakKiB, int ExitCode, string Output);

/// <summary>Runs a command as a whole process through bench/measure.c, which reads the kernel's own account of it (wait4's rusage).</summary>
internal static class TimedProcess
{
    /// <summary>The built bench/measure.c.</summary>
    public static string Measure { get; set; } = "measure";

    public static Sample Run(IReadOnlyList<string> command, IReadOnlyDictionary<string, string>? environment, string scratch)
    {
        // Output goes to files: a pipe would need a reader that competes for the cores.
        var result = Path.Combine(scratch, "result");
        var output = Path.Combine(scratch, "stdout");
        File.Delete(result);
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        foreach (var a in (string[])["-c", "exec \"$@\" </dev/null >\"$VIV_BENCH_SCRATCH/stdout\" 2>\"$VIV_BENCH_SCRATCH/stderr\"", "sh", Measure, result, .. command]) start.ArgumentList.Add(a);
        start.Environment["VIV_BENCH_SCRATCH"] = scratch;
        if (environment is not null) foreach (var (k, v) in environment) start.Environment[k] = v;
        using (var process = Process.Start(start)!) process.WaitForExit();
        if (!File.Exists(result)) throw new InvalidOperationException($"cannot run '{command[0]}': {StandardError(scratch)}");
        var fields = File.ReadAllText(result).Split(' ');
        double Number(int i) => double.Parse(fields[i], CultureInfo.InvariantCulture);
        return new Sample(Number(0), Number(1), (long)Number(2), (int)Number(3), File.ReadAllText(output));
    }

    public static string StandardError(string scratch) => File.ReadAllText(Path.Combine(scratch, "stderr"));
}
