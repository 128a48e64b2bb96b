using System.Globalization;

namespace Vivarium.Bench;

/// <summary>How long kernels run until they reach 90 % of their final speed: with tier 1 alone, with the optimising tier and a cold cache, and with one that a
/// run before has filled. Time is the processor time of the guest's thread since its first round; instructions are those it has executed by then.</summary>
internal static class TimeToPeak
{
    private const string Seconds = "3";
    private static readonly string[] Names = ["tier 1", "tier 2, cold", "tier 2, warm"];

    private sealed record Way(double Milliseconds, double Instructions, double Final);

    public static int Measure(Options options, string scratch)
    {
        var rows = Suite.Steady(options.Bin).Where(r => options.Filter is null || r.Name.Contains(options.Filter, StringComparison.Ordinal)).ToList();
        var table = new System.Text.StringBuilder("kernel\t" + string.Join('\t', Names.Select(n => $"{n}: ms\t10^6 instructions\tms per call at the end")) + "\n");
        var all = new List<Way[]>();
        foreach (Row row in rows)
        {
            Console.Error.WriteLine($"peak: {row.Name}");
            double instructions = double.Parse(Run(["--tier", "interp"], "0", "count").Output, CultureInfo.InvariantCulture);
            var best = new Way?[Names.Length];
            for (int round = 0; round < options.Runs; round++)
            {
                string cache = Path.Combine(scratch, "cache");
                Keep(0, ["--tier", "1", "--no-cache"]);
                Keep(1, ["--tier", "2", "--cache", cache]);
                Keep(2, ["--tier", "2", "--cache", cache]);
                Directory.Delete(cache, true);
            }

            all.Add(best!);
            table.Append(row.Name);
            foreach (Way? way in best) table.Append(CultureInfo.InvariantCulture, $"\t{way!.Milliseconds:F0}\t{way.Instructions / 1e6:F1}\t{way.Final:F3}");
            table.Append('\n');

            void Keep(int column, string[] how)
            {
                Run(how, Seconds, "trace");
                Way way = Read(TimedProcess.StandardError(scratch), instructions);
                if (best[column] is not { } old || way.Milliseconds < old.Milliseconds) best[column] = way;
            }

            Sample Run(string[] how, params string[] arguments)
            {
                Sample s = TimedProcess.Run([options.Viv, "run", .. how, .. options.VivOptions, row.Guest[0], .. arguments], null, scratch);
                return s.ExitCode == 0 ? s : throw new InvalidOperationException($"{row.Name}: exit status {s.ExitCode}: {TimedProcess.StandardError(scratch)}");
            }
        }

        table.Append("geometric mean");
        for (int n = 0; n < Names.Length; n++)
            table.Append(CultureInfo.InvariantCulture, $"\t{Report.GeometricMean(all.Select(w => Math.Max(1, w[n].Milliseconds))):F0}\t{Report.GeometricMean(all.Select(w => Math.Max(1, w[n].Instructions / 1e6))):F1}\t{Report.GeometricMean(all.Select(w => w[n].Final / w[0].Final)):F3} of tier 1");
        table.Append('\n');
        Console.Write(table);
        Directory.CreateDirectory(options.Out);
        File.WriteAllText(Path.Combine(options.Out, "peak.tsv"), table.ToString());
        Console.WriteLine($"Until two of three calls in a row took no more than 1/0.9 of what the fastest tenth takes; the shortest way of {options.Runs} runs; {Environment.ProcessorCount} CPUs. Table in {options.Out}");
        return 0;
    }

    /// <summary>Lines "start length" of calls in nanoseconds; between two of them lies a shorter call.</summary>
    private static Way Read(string trace, double instructionsPerLine)
    {
        var calls = trace.Split('\n').Select(l => l.Split(' ')).Where(f => f.Length == 2 && f.All(x => long.TryParse(x, out _)))
            .Select(f => (Start: double.Parse(f[0], CultureInfo.InvariantCulture), Length: double.Parse(f[1], CultureInfo.InvariantCulture))).ToList();
        // What else runs on the machine disturbs single calls: a tenth may be faster, and one of three slower.
        double fastest = calls.Select(c => c.Length).Order().ElementAt(calls.Count / 10);
        int at = 0;
        while (at + 3 < calls.Count && calls.Skip(at).Take(3).Count(c => c.Length > fastest / 0.9) > 1) at++;
        return new Way(calls[at].Start / 1e6, at * instructionsPerLine, fastest / 1e6);
    }
}
