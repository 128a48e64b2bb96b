using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Vivarium.Bench;

/// <summary>The optimising tier's queue policies next to each other and to tier 1 alone, with cold caches: programs with phases, generated and real.</summary>
internal static class Policies
{
    private static readonly string[] Names = ["fifo", "heat-at-dispatch", "continuous"];
    private static readonly (string Column, string Row)[] Shown =
        [("queue", "jit queue: longest"), ("mean queue / 1000", "jit queue: mean length in thousandths"), ("wait us", "jit queue: mean wait microseconds"),
         ("to service us", "jit queue: mean microseconds from hot to installed"), ("dropped", "jit queue: dropped as cold"), ("covered", "jit queue: covered by other regions"),
         ("put back", "jit queue: put back"), ("reordered", "jit queue: reordered"), ("regions", "regions compiled"), ("demoted", "regions demoted"),
         ("optimizer us", "processor microseconds: optimizer"), ("sampler us", "processor microseconds: sampler")];

    private sealed record Run(double Wall, double Slowness, Dictionary<string, long> Statistics, List<(double Seconds, double Work)> Progress);

    private const int MostAttempts = 3; // for each run that nothing disturbs

    public static int Compare(Options options, string scratch)
    {
        string sources = Path.Combine(options.Bin, "policies");
        Directory.CreateDirectory(sources);
        var rows = new List<Row>();
        foreach (PhaseProgram program in PhaseProgram.All)
        {
            string source = Path.Combine(sources, program.Name.Replace(' ', '-') + ".c"), binary = Path.ChangeExtension(source, null);
            File.WriteAllText(source, program.Source());
            Build("-o", binary, source);
            rows.Add(new Row("phases", program.Name, null, [binary]));
        }
        rows.Add(new Row("phases", "kernels in turn", null, [KernelsInTurn(sources)]));
        if (options.Tree is not null && options.NativeTree is not null) rows.AddRange(Suite.Programs(options.Tree, options.NativeTree).Append(new Row("programs", "crypto mix", null, ["/usr/bin/python3", "-S", "/bench-jobs/crypto.py"], options.Tree)));
        if (options.Suites.Contains("compute") && options.Tree is not null && options.NativeTree is not null) rows.AddRange(Suite.Compute(options.Tree, options.NativeTree));
        rows = rows.Where(r => options.Filter is null || r.Name.Contains(options.Filter, StringComparison.Ordinal)).ToList();
        string threads = options.JitThreads.ToString(CultureInfo.InvariantCulture), threshold = options.JitThreshold.ToString(CultureInfo.InvariantCulture);
        var table = new StringBuilder($"program\ttier 1 s\t{string.Join('\t', Names.Select(n => n + " s"))}\tfifo / continuous\t{string.Join('\t', Shown.Select(s => s.Column + " (fifo|heat|continuous)"))}\n");
        var gains = new List<(string Name, double Gain, long Queue)>();
        var plots = new List<(string Name, Dictionary<string, List<(double, double)>> Lines)>();
        foreach (Row row in rows)
        {
            Console.Error.WriteLine($"policies: {row.Name}");
            var runs = Names.Prepend("tier 1").ToDictionary(n => n, _ => new List<Run>());
            for (int round = 0; round < (TimedProcess.IsPinned ? MostAttempts : 1) * options.Runs; round++)
                foreach (string name in runs.Keys)
                {
                    if (runs[name].Count(static r => r.Slowness <= 1) == options.Runs) continue;
                    string[] tier = name == "tier 1" ? ["--tier", "1"] : ["--tier", "2", "--jit-policy", name, "--jit-threads", threads, "--jit-threshold", threshold];
                    Sample s = TimedProcess.Run([options.Viv, "run", "--no-cache", "--stats", .. tier, .. options.VivOptions, .. row.Root is null ? (string[])[] : ["--root", row.Root], .. row.Guest], null, scratch);
                    if (s.ExitCode != row.ExitStatus) throw new InvalidOperationException($"{row.Name} with {name}: exit status {s.ExitCode}: {TimedProcess.StandardError(scratch)}");
                    runs[name].Add(Read(s, TimedProcess.StandardError(scratch)));
                }
            // Disturbed ones where there is nothing better, and the least.
            Run Best(string name) => runs[name].MinBy(r => (r.Slowness, r.Wall))!;
            double gain = Best("fifo").Wall / Best("continuous").Wall;
            long queue = Names.Max(n => Value(Best(n), "jit queue: longest"));
            gains.Add((row.Name, gain, queue));
            if (Names.Max(n => Best(n).Slowness) is > 1 and var slowness) Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"policies: {row.Name}: disturbed, up to {slowness:F2} times as slow"));
            table.Append(CultureInfo.InvariantCulture, $"{row.Name}\t{Best("tier 1").Wall:F3}\t{string.Join('\t', Names.Select(n => Best(n).Wall.ToString("F3", CultureInfo.InvariantCulture)))}\t{gain:F2}\t");
            table.AppendJoin('\t', Shown.Select(s => string.Join('|', Names.Select(n => Value(Best(n), s.Row))))).Append('\n');
            if (Best("fifo").Progress.Count > 2) plots.Add((row.Name, runs.Keys.ToDictionary(n => n, n => Best(n).Progress)));
        }
        table.Append(CultureInfo.InvariantCulture, $"geometric mean fifo / continuous: {Report.GeometricMean(gains.Select(g => g.Gain)):F3}");
        var longQueues = gains.Where(g => g.Queue > 8).ToList();
        table.Append(CultureInfo.InvariantCulture, $"; of the {longQueues.Count} whose queue was ever longer than 8: {(longQueues.Count == 0 ? 1 : Report.GeometricMean(longQueues.Select(g => g.Gain))):F3}; least {gains.Min(g => g.Gain):F3}\n");
        Console.Write(table);
        Directory.CreateDirectory(options.Out);
        File.WriteAllText(Path.Combine(options.Out, "policies.tsv"), table.ToString());
        File.WriteAllText(Path.Combine(options.Out, "policies.svg"), Plot(plots));
        Console.WriteLine($"{options.Runs} runs of each, fastest shown; {threads} compiling thread(s), {threshold} samples make a block hot, no translation cache; {Environment.ProcessorCount} CPUs. Table and plot in {options.Out}");
        return 0;
    }

    private static void Build(params string[] arguments)
    {
        using var gcc = Process.Start("riscv64-linux-gnu-gcc", ["-O2", "-static", .. arguments]);
        gcc.WaitForExit();
        if (gcc.ExitCode != 0) throw new InvalidOperationException($"cannot build {arguments[^1]}");
    }

    /// <summary>A program of the suite's own kernels: groups of four take turns for a while, each group twice.</summary>
    private static string KernelsInTurn(string directory)
    {
        // Rounds of a few milliseconds each.
        (string Name, int Rounds)[] kernels =
        [
            ("sha256", 10), ("matmul", 2), ("lz", 3), ("sieve", 1), ("bigint", 800), ("spectral", 3), ("json", 2), ("stream", 1), ("fft", 15), ("mix", 30), ("hashmap", 10), ("lu", 3),
            ("crc32", 20), ("nbody", 18000), ("qsort", 1), ("raytrace", 12), ("matmulf", 2), ("switchvm", 40), ("regex", 1), ("dijkstra", 1),
        ];
        string source = Path.Combine(directory, "kernels-in-turn.c"), binary = Path.ChangeExtension(source, null);
        var objects = new List<string>();
        foreach ((string name, _) in kernels)
        {
            objects.Add(Path.Combine(directory, name + ".o"));
            Build("-c", $"-Dmain=run_{name}", "-o", objects[^1], $"bench/kernels/{name}.c");
        }
        File.WriteAllText(source, $$"""
            #include <stdio.h>
            {{string.Join('\n', kernels.Select(k => $"int run_{k.Name}(int argc, char **argv);"))}}
            static struct { int (*run)(int, char **); char *rounds; } kernels[] = { {{string.Join(", ", kernels.Select(k => $"{{run_{k.Name}, \"{k.Rounds}\"}}"))}} };
            int main(void)
            {
                const int count = sizeof kernels / sizeof *kernels;
                for (int turn = 0; turn < 2; turn++)
                    for (int group = 0; group < count; group += 4)
                        for (int n = 0; n < 12; n++)
                            for (int k = group; k < group + 4; k++) kernels[k].run(2, (char *[]){"", kernels[k].rounds});
                return 0;
            }

            """);
        Build(["-o", binary, source, .. objects, "-lm"]);
        return binary;
    }

    private static long Value(Run run, string row) => run.Statistics.GetValueOrDefault(row);

    private static Run Read(Sample sample, string error)
    {
        var statistics = new Dictionary<string, long>();
        var progress = new List<(double, double)>();
        foreach (string line in error.Split('\n'))
        {
            if (line.StartsWith("viv: ", StringComparison.Ordinal) && line.LastIndexOf(": ", StringComparison.Ordinal) is > 5 and var colon && long.TryParse(line[(colon + 2)..], out long value))
                statistics[line[5..colon]] = value;
            else if (line.StartsWith('@') && line[1..].Split(' ') is [var time, var work])
                progress.Add((long.Parse(time, CultureInfo.InvariantCulture) / 1e9, double.Parse(work, CultureInfo.InvariantCulture)));
        }
        return new Run(sample.WallSeconds, sample.IsQuiet ? 1 : sample.Slowness, statistics, progress);
    }

    /// <summary>One panel per program: units of work per millisecond over time, smoothed over 8 points.</summary>
    private static string Plot(List<(string Name, Dictionary<string, List<(double Seconds, double Work)>> Lines)> plots)
    {
        const int Width = 520, Height = 200, Columns = 2;
        string[] colours = ["#888888", "#d62728", "#ff7f0e", "#1f77b4"];
        int rows = (plots.Count + Columns - 1) / Columns;
        var svg = new StringBuilder(string.Create(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{Width * Columns}\" height=\"{Height * Math.Max(rows, 1) + 20}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"));
        for (int p = 0; p < plots.Count; p++)
        {
            int left = p % Columns * Width + 45, top = p / Columns * Height + 30;
            const int W = Width - 60, H = Height - 50;
            var speeds = plots[p].Lines.ToDictionary(l => l.Key, l => Speed(l.Value));
            double longest = Math.Max(1e-3, speeds.Values.SelectMany(s => s).Select(s => s.X).DefaultIfEmpty().Max()), fastest = Math.Max(1e-3, speeds.Values.SelectMany(s => s).Select(s => s.Y).DefaultIfEmpty().Max());
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{left}\" y=\"{top - 8}\">{plots[p].Name}: units of work per ms (up to {fastest:F0}) over {longest:F2} s</text>\n<rect x=\"{left}\" y=\"{top}\" width=\"{W}\" height=\"{H}\" fill=\"none\" stroke=\"#ccc\"/>\n");
            int n = 0;
            foreach ((string name, List<(double X, double Y)> line) in speeds)
            {
                string points = string.Join(' ', line.Select(s => string.Create(CultureInfo.InvariantCulture, $"{left + s.X / longest * W:F1},{top + H - s.Y / fastest * H:F1}")));
                svg.Append(CultureInfo.InvariantCulture, $"<polyline fill=\"none\" stroke=\"{colours[n]}\" points=\"{points}\"/>\n<text x=\"{left + 10 + n * 110}\" y=\"{top + H + 14}\" fill=\"{colours[n++]}\">{name}</text>\n");
            }
        }
        return svg.Append("</svg>\n").ToString();

        static List<(double X, double Y)> Speed(List<(double Seconds, double Work)> progress)
        {
            var result = new List<(double, double)>();
            for (int i = 8; i < progress.Count; i++)
            {
                double span = progress[i].Seconds - progress[i - 8].Seconds;
                if (span > 0) result.Add((progress[i].Seconds, (progress[i].Work - progress[i - 8].Work) / span / 1000));
            }
            return result;
        }
    }
}
