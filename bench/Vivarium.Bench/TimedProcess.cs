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

    /// <summary>In a command pinned to one processor: another one.</summary>
    public const string OtherProcessor = "{other}";

    private static string[] s_processors = [];

    /// <summary>Every run stays on one of the processors chosen, whose speed is watched.</summary>
    public static bool IsPinned => s_processors.Length > 0;

    /// <summary>The least that the probe has taken so far, seconds.</summary>
    public static double BestProbe { get; private set; } = double.PositiveInfinity;

    /// <summary>Has each run from now on stay on that one of these processors that is fastest when it begins.</summary>
    /// <param name="processors">Comma-separated numbers.</param>
    public static void PinTo(string processors)
    {
        s_processors = processors.Split(',');
        // They may be slow now, and fast later: runs tell, too.
        for (var i = 0; i < 20; i++) _ = Fastest();
    }

    /// <summary>The processors, fastest first.</summary>
    private static string[] Fastest()
    {
        using var probe = Process.Start(new ProcessStartInfo(Measure, ["-p", .. s_processors]) { RedirectStandardOutput = true })!;
        var times = probe.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' '))
            .Select(f => (Processor: f[0], Time: double.Parse(f[1], CultureInfo.InvariantCulture))).OrderBy(p => p.Time).ToList();
        probe.WaitForExit();
        if (probe.ExitCode != 0) throw new ArgumentException($"cannot pin to the processors {string.Join(',', s_processors)}");
        BestProbe = Math.Min(BestProbe, times[0].Time);
        return [.. times.Select(t => t.Processor)];
    }

    public static Sample Run(IReadOnlyList<string> command, IReadOnlyDictionary<string, string>? environment, string scratch)
    {
        // Output goes to files: a pipe would need a reader that competes for the cores.
        var result = Path.Combine(scratch, "result");
        var output = Path.Combine(scratch, "stdout");
        File.Delete(result);
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        if (IsPinned)
        {
            var processors = Fastest();
            command = ["-p", processors[0], result, .. command.Select(a => a == OtherProcessor ? processors.Length > 1 ? processors[1] : processors[0] == "0" ? "1" : "0" : a)];
        }
        else command = [result, .. command];
        foreach (var a in (string[])["-c", "exec \"$@\" </dev/null >\"$VIV_BENCH_SCRATCH/stdout\" 2>\"$VIV_BENCH_SCRATCH/stderr\"", "sh", Measure, .. command]) start.ArgumentList.Add(a);
        start.Environment["VIV_BENCH_SCRATCH"] = scratch;
        if (environment is not null) foreach (var (k, v) in environment) start.Environment[k] = v;
        using (var process = Process.Start(start)!) process.WaitForExit();
        if (!File.Exists(result)) throw new InvalidOperationException($"cannot run '{string.Join(' ', command)}': {StandardError(scratch)}");
        var fields = File.ReadAllText(result).Split(' ');
        double Number(int i) => double.Parse(fields[i], CultureInfo.InvariantCulture);
        var sample = new Sample(Number(0), Number(1), (long)Number(2), (int)Number(3), File.ReadAllText(output), Number(4));
        if (sample.Probe != 0) BestProbe = Math.Min(BestProbe, sample.Probe);
        return sample;
    }

    public static string StandardError(string scratch) => File.ReadAllText(Path.Combine(scratch, "stderr"));
}
