using System.Globalization;
using Vivarium.Bench;
using Vivarium.QueueModel;
using Vivarium.Translation.Optimizing;

// Under which load the compile farm's policies differ: its real queue, with a clock of its own, and the programs of `bench/run --suite policies` played by a model of
// their loops. The same numbers on every machine, in seconds.
//   dotnet run -c Release --project bench/queue-model [-- THREADS]
int threads = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 1;
const int Seeds = 4;
int[] thresholds = [2, 4, 12], times = [2, 5, 10, 20, 40, 80];
Console.WriteLine($"fifo's time over continuous's and over heat-at-dispatch's, geometric mean of {PhaseProgram.All.Length} programs, and fifo's longest queue (mean); {threads} compiling thread(s)");
Console.WriteLine("hot after samples (ms)\t" + string.Join('\t', times.Select(t => $"{t} ms a region")));
foreach (int threshold in thresholds)
{
    Console.Write(threshold);
    foreach (int time in times)
    {
        var all = PhaseProgram.All.Select(p => Compare(p, threshold, time)).ToList();
        double Mean(JitPolicy policy) => Math.Exp(all.Average(a => Math.Log(a[JitPolicy.Fifo].Time / a[policy].Time)));
        Console.Write(FormattableString.Invariant($"\t{Mean(JitPolicy.Continuous):F2} {Mean(JitPolicy.HeatAtDispatch):F2} {all.Average(a => a[JitPolicy.Fifo].Queue):F0}"));
    }
    Console.WriteLine();
}
Console.WriteLine("\nprogram (hot after 2 ms, 20 ms a region)\ttier 1 ms\tfifo ms\theat-at-dispatch ms\tcontinuous ms\tfifo / continuous\tlongest queue of fifo");
foreach (PhaseProgram program in PhaseProgram.All)
{
    var r = Compare(program, 2, 20);
    Console.WriteLine(FormattableString.Invariant($"{program.Name}\t{program.Phases * program.Work}\t{r[JitPolicy.Fifo].Time:F0}\t{r[JitPolicy.HeatAtDispatch].Time:F0}\t{r[JitPolicy.Continuous].Time:F0}\t{r[JitPolicy.Fifo].Time / r[JitPolicy.Continuous].Time:F2}\t{r[JitPolicy.Fifo].Queue:F0}"));
}

Dictionary<JitPolicy, (double Time, double Queue)> Compare(PhaseProgram program, int threshold, double compile) => Enum.GetValues<JitPolicy>().ToDictionary(p => p, p =>
{
    var runs = Enumerable.Range(0, Seeds).Select(seed => new Model(program, seed, compile, threads).Run(p, threshold)).ToList();
    return (runs.Average(r => r.Time), runs.Average(r => (double)r.Queue));
});
