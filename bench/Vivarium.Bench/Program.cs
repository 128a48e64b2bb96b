using System.Globalization;
using Vivarium.Bench;

// Times viv, the QEMUs and native code on the same jobs, interleaved: one round runs every column once, so that a drift of the machine's
// speed hits all of them. bench/run prepares the binaries and the trees and calls this.
Options options;
try
{
    options = Options.Parse(args);
}
catch (Exception e) when (e is ArgumentException or FormatException or OverflowException)
{
    Console.Error.WriteLine($"viv-bench: {e.Message}; the head of bench/run names the options");
    return 2;
}
TimedProcess.Measure = options.Measure;
var scratch = Directory.CreateTempSubdirectory("viv-bench").FullName;
try
{
    if (options.Pin is { } processors) TimedProcess.PinTo(processors);
    if (options.Suites.Contains("peak")) return TimeToPeak.Measure(options, scratch);
    if (options.Suites.Contains("policies")) return Policies.Compare(options, scratch);
    var runners = Peers.Find(options, scratch);
    var rows = new List<Row>();
    if (options.Suites.Contains("kernels")) rows.AddRange(Suite.Kernels(options.Bin));
    if (options.Suites.Contains("steady")) rows.AddRange(Suite.Steady(options.Bin));
    if (options.Suites.Contains("start-up")) rows.AddRange(Suite.StartUp(options.Samples, options.Bin, options.Tree));
    if (options.Suites.Contains("system")) rows.AddRange(Suite.System(options.Bin, options.Tree, options.NativeTree));
    if (options.Suites.Contains("programs"))
    {
        if (options.Tree is null || options.NativeTree is null) Console.Error.WriteLine("viv-bench: the programs need --tree and --native-tree: skipped");
        else rows.AddRange(Suite.Programs(options.Tree, options.NativeTree));
    }
    if (options.Suites.Contains("compute"))
    {
        if (options.Tree is null || options.NativeTree is null) Console.Error.WriteLine("viv-bench: the programs need --tree and --native-tree: skipped");
        else rows.AddRange(Suite.Compute(options.Tree, options.NativeTree));
    }
    rows = rows.Where(r => options.Filter is null || r.Name.Contains(options.Filter, StringComparison.Ordinal)).ToList();
    var cpu = File.ReadLines("/proc/cpuinfo").FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))?.Split(": ")[1] ?? "?";
    Directory.CreateDirectory(options.Out);
    var results = new List<Result>();
    for (var i = 0; i < rows.Count; i++)
    {
        var progress = $"[{i + 1}/{rows.Count}] {rows[i].Group}: {rows[i].Name}";
        if (Console.IsErrorRedirected) Console.Error.WriteLine(progress);
        else Console.Error.Write("\r\x1b[K" + progress);
        results.Add(Measure(rows[i], runners, options.Runs, scratch));
        // After every row, so that a run that is cut short leaves what it measured.
        Report.Json(results, runners, Path.Combine(options.Out, "results.json"), $"{cpu}, {Environment.ProcessorCount} CPUs, {options.Runs} runs");
    }
    if (!Console.IsErrorRedirected) Console.Error.Write("\r\x1b[K");
    Report.Table(results, runners);
    Report.Chart(results, runners, Path.Combine(options.Out, "results.svg"));
    if (TimedProcess.IsPinned)
    {
        var disturbed = results.SelectMany(r => r.Cells.Values.Append(r.Native)).OfType<Cell>().Where(c => c.Slowness > Sample.MostSlowness).ToList();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"All on one processor of {options.Pin}; {disturbed.Count} cells hold disturbed runs, up to {disturbed.Select(c => c.Slowness).DefaultIfEmpty(1).Max():F2} times as slow (\"slowness\" in the JSON)."));
    }
    Console.WriteLine($"{options.Runs} runs of each, medians of wall time; {cpu}, {Environment.ProcessorCount} CPUs. JSON and chart in {options.Out}");
    return results.Any(r => r.Failures.Count > 0) ? 1 : 0;
}
finally
{
    Directory.Delete(scratch, true);
}

static Result Measure(Row row, List<Runner> runners, int runs, string scratch)
{
    var columns = new List<(string Name, IReadOnlyList<string> Command, IReadOnlyDictionary<string, string>? Environment)>();
    if (row.Native is not null) columns.Add(("native", row.Native, row.Environment));
    foreach (var r in runners)
    {
        Dictionary<string, string>? environment = null;
        if (row.UsesHostExec && !r.IsOurs)
            environment = new() { ["PATH"] = row.Root + "/bench-bin", ["VIV_BENCH_QEMU"] = r.ExecPrefix, ["VIV_BENCH_TREE"] = row.Root! };
        columns.Add((r.Name, r.Wrap(row.Root, [.. row.Guest.Select(a => a == Suite.ExecPrefix ? r.ExecPrefix : a)]), environment));
    }
    const int MostAttempts = 4; // for each quiet run
    const double LongRun = 2; // seconds: what needs no warming up
    var samples = columns.ToDictionary(c => c.Name, _ => new List<Sample>());
    var failures = new List<string>();
    string? expected = null;
    var rounds = !TimedProcess.IsPinned ? runs : MostAttempts * runs;
    for (var round = 0; round <= rounds; round++) // round 0 warms up and checks
        foreach (var (name, command, environment) in columns)
        {
            var native = name == "native";
            if (samples[name].Count(s => s.IsQuiet) == runs) continue;
            if (failures.Any(f => f.StartsWith($"{row.Name}: {name}:", StringComparison.Ordinal))) continue;
            var s = row.Output == Compare.Memory ? MemoryOf.Run(command, environment) : TimedProcess.Run(command, environment, scratch);
            if (row.Output == Compare.Nanoseconds && s.ExitCode == 0) s = s with { WallSeconds = double.Parse(s.Output, CultureInfo.InvariantCulture) / 1e9 };
            if (s.ExitCode != row.ExitStatus)
            {
                var error = TimedProcess.StandardError(scratch).Split('\n')[0];
                failures.Add(string.Create(CultureInfo.InvariantCulture, $"{row.Name}: {name}: exit status {s.ExitCode}: {error}"));
                continue;
            }
            if (row.Output == Compare.All || (row.Output == Compare.Guests && !native))
            {
                // QEMU opens the host's paths, and some programs print the path they were given.
                var text = row.Root is null ? s.Output : s.Output.Replace(row.Root, "", StringComparison.Ordinal);
                if (row.Measured is { } measured) text = measured.Replace(text, "");
                expected ??= text;
                if (text != expected) { failures.Add($"{row.Name}: {name}: output differs from {(row.Output == Compare.All ? columns[0].Name : "the first guest's")}"); continue; }
            }
            if (round > 0 || (TimedProcess.IsPinned && s.WallSeconds > LongRun)) samples[name].Add(s);
        }
    // Where the processor was never quiet for long enough, those that were disturbed least count.
    foreach (var list in samples.Values)
    {
        list.Sort((a, b) => (a.IsQuiet ? 0 : a.Slowness).CompareTo(b.IsQuiet ? 0 : b.Slowness));
        if (list.Count > runs) list.RemoveRange(runs, list.Count - runs);
    }
    Cell? Cell(string name) => samples.TryGetValue(name, out var list) && list.Count > 0
        ? new Cell(Median(list.Select(s => s.WallSeconds)), list.Min(s => s.WallSeconds), list.Max(s => s.WallSeconds), Median(list.Select(s => s.CpuSeconds)), list.Max(s => s.PeakKiB), list.Max(s => s.Slowness))
        : null;
    return new Result(row, Cell("native"), runners.ToDictionary(r => r.Name, r => Cell(r.Name)), failures);
}

static double Median(IEnumerable<double> values)
{
    var sorted = values.Order().ToArray();
    return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[sorted.Length / 2 - 1] + sorted[sorted.Length / 2]) / 2;
}

/// <summary>Command-line options; bench/run passes them all.</summary>
internal sealed record Options
{
    public string Measure { get; init; } = "bench/out/bin/measure";
    public string Viv { get; init; } = "viv";
    public List<string> VivOptions { get; } = [];
    public List<string> Variants { get; } = [];
    public string? Qemu { get; init; }
    public string Bin { get; init; } = "bench/out/bin";
    public string Samples { get; init; } = "samples/bin";
    public string? Tree { get; init; }
    public string? NativeTree { get; init; }
    public string Out { get; init; } = "bench/out";
    public int Runs { get; init; } = 5;

    public bool HasQemu { get; init; } = true;

    /// <summary>The processors of which everything measured stays on one: runs that something else disturbed there are repeated.</summary>
    public string? Pin { get; init; }

    /// <summary>Compiling threads in the comparison of policies.</summary>
    public int JitThreads { get; init; } = 1;

    /// <summary>Samples that make a block hot there; the optimising tier's budget does not hold.</summary>
    public int JitThreshold { get; init; } = 2;
    public string? Filter { get; init; }
    public HashSet<string> Suites { get; } = [];

    public static Options Parse(string[] args)
    {
        var o = new Options();
        for (var i = 0; i < args.Length; i++)
        {
            string Value() => i + 1 < args.Length ? args[++i] : throw new ArgumentException($"{args[i]} needs a value");
            switch (args[i])
            {
                case "--measure": o = o with { Measure = Value() }; break;
                case "--viv": o = o with { Viv = Value() }; break;
                case "--viv-option": o.VivOptions.AddRange(Value().Split(' ', StringSplitOptions.RemoveEmptyEntries)); break;
                case "--viv-variant": o.Variants.Add(Value()); break;
                case "--qemu": o = o with { Qemu = Value() }; break;
                case "--bin": o = o with { Bin = Value() }; break;
                case "--samples": o = o with { Samples = Value() }; break;
                case "--tree": o = o with { Tree = Value() }; break;
                case "--native-tree": o = o with { NativeTree = Value() }; break;
                case "--out": o = o with { Out = Value() }; break;
                case "--runs": o = o with { Runs = int.Parse(Value(), CultureInfo.InvariantCulture) }; break;
                case "--no-qemu": o = o with { HasQemu = false }; break;
                case "--pin": o = o with { Pin = Value() }; break;
                case "--jit-threads": o = o with { JitThreads = int.Parse(Value(), CultureInfo.InvariantCulture) }; break;
                case "--jit-threshold": o = o with { JitThreshold = int.Parse(Value(), CultureInfo.InvariantCulture) }; break;
                case "--filter": o = o with { Filter = Value() }; break;
                case "--suite": o.Suites.Add(Value()); break;
                default: throw new ArgumentException($"unknown option {args[i]}");
            }
        }
        if (o.Suites.Count == 0) o.Suites.UnionWith(["kernels", "start-up", "programs"]);
        return o;
    }
}
