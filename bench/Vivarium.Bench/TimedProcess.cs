using System.Diagnostics;
using System.Globalization;

namespace Vivarium.Bench;

/// <summary>What one run of a command cost.</summary>
/// <param name="WallSeconds">From spawn to exit.</param>
/// <param name="CpuSeconds">User and system time of the process and of its waited-for children.</param>
/// <param name="PeakKiB">Largest resident set of a single process, KiB.</param>
/// <param name="ExitCode">Exit status, or 128 + signal.</param>
/// <param name="Output">Standard output.</param>
/// <param name="Probe">Seconds that the processor took for a fixed piece of work meanwhile, on average; 0 where that was not looked at.</param>
internal sealed record Sample(double WallSeconds, double CpuSeconds, long PeakKiB, int ExitCode, string Output, double Probe = 0)
{
    // Above this something else has slowed the processor down.
    public const double MostSlowness = 1.08;

    /// <summary>How much longer than at its best the processor took for the same work.</summary>
    public double Slowness => Probe == 0 ? 1 : Probe / TimedProcess.BestProbe;

    /// <summary>Nothing else on the machine is known to have disturbed the run.</summary>
    public bool IsQuiet => Slowness <= MostSlowness;
}

/// <summary>Runs a command as a whole process through bench/measure.c, which reads the kernel's own account of it (wait4's rusage).</summary>
internal static class TimedProcess
{
    /// <summary>The built bench/measure.c.</summary>
    public static string Measure { get; set; } = "measure";

    /// <summary>The processor that everything measured stays on, and whose speed is watched; null for any.</summary>
    public static int? Pin { get; private set; }

    /// <summary>The least that the probe has taken so far, seconds.</summary>
    public static double BestProbe { get; private set; }

    /// <summary>Has all runs from now on stay on one processor.</summary>
    public static void PinTo(int processor)
    {
        Pin = processor;
        using var probe = Process.Start(new ProcessStartInfo(Measure, ["-p", processor.ToString(CultureInfo.InvariantCulture)]) { RedirectStandardOutput = true })!;
        var answer = probe.StandardOutput.ReadToEnd();
        probe.WaitForExit();
        if (probe.ExitCode != 0) throw new ArgumentException($"cannot pin to processor {processor}");
        BestProbe = double.Parse(answer, CultureInfo.InvariantCulture);
    }

    public static Sample Run(IReadOnlyList<string> command, IReadOnlyDictionary<string, string>? environment, string scratch)
    {
        // Output goes to files: a pipe would need a reader that competes for the cores.
        var result = Path.Combine(scratch, "result");
        var output = Path.Combine(scratch, "stdout");
        File.Delete(result);
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        foreach (var a in (string[])["-c", "exec \"$@\" </dev/null >\"$VIV_BENCH_SCRATCH/stdout\" 2>\"$VIV_BENCH_SCRATCH/stderr\"", "sh", Measure, .. Pin is { } pin ? (string[])["-p", pin.ToString(CultureInfo.InvariantCulture)] : [], result, .. command]) start.ArgumentList.Add(a);
        start.Environment["VIV_BENCH_SCRATCH"] = scratch;
        if (environment is not null) foreach (var (k, v) in environment) start.Environment[k] = v;
        using (var process = Process.Start(start)!) process.WaitForExit();
        if (!File.Exists(result)) throw new InvalidOperationException($"cannot run '{command[0]}': {StandardError(scratch)}");
        var fields = File.ReadAllText(result).Split(' ');
        double Number(int i) => double.Parse(fields[i], CultureInfo.InvariantCulture);
        var sample = new Sample(Number(0), Number(1), (long)Number(2), (int)Number(3), File.ReadAllText(output), Number(4));
        if (sample.Probe != 0) BestProbe = Math.Min(BestProbe, sample.Probe);
        return sample;
    }

    public static string StandardError(string scratch) => File.ReadAllText(Path.Combine(scratch, "stderr"));
}
