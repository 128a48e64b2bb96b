using System.Reflection;
using Vivarium.Bench;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Farm;

namespace Vivarium.QueueModel;

/// <summary>A program of phases as the compile farm sees it: loops with a share of the work, a gain when they are optimised, and a time that this takes. Each
/// millisecond one sample hits a loop by the share of the time that it has now.</summary>
internal sealed class Model
{
    private const int LineOfCode = 64; // guest address space of a loop

    private readonly Random _random;
    private readonly int _threads;
    private readonly double[] _gain, _cost;
    private readonly int[] _size;
    private readonly List<(int[] Loops, double[] Shares, double Work)> _phases = [];

    /// <param name="program">Its phases.</param>
    /// <param name="seed">What is drawn.</param>
    /// <param name="compile">Milliseconds that a region of the mean size takes.</param>
    /// <param name="threads">Compiling threads.</param>
    public Model(PhaseProgram program, int seed, double compile, int threads)
    {
        _random = new Random(seed * 1000 + program.Name.Length * 17 + program.Phases);
        _threads = threads;
        int n = program.Loops;
        (_gain, _cost, _size) = (new double[n], new double[n], new int[n]);
        for (int f = 0; f < n; f++)
        {
            // As measured of the generated loops: those that can be vectorised gain much, and take longer.
            int kind = _random.Next(10);
            _gain[f] = kind < 4 ? 7 : kind < 8 ? 5 : kind < 9 ? 1.2 : 1.05;
            _size[f] = 8 + 2 * _random.Next(Math.Max(4, program.Statements / 3), program.Statements + 1);
            _cost[f] = (kind < 8 ? 1.2 : 0.5) * (_size[f] + 20);
        }
        double mean = _cost.Average();
        for (int f = 0; f < n; f++) _cost[f] *= compile / mean;
        int[] core = Draw(program.Core, []);
        for (int p = 0; p < program.Phases; p++)
        {
            int[] others = Draw(program.Others, core);
            if (program.Opening > 0) _phases.Add((others, [.. others.Select(_ => 1.0 / others.Length)], program.Work * program.Opening / 100.0));
            double share = program.Share / 100.0;
            _phases.Add(([.. core, .. others], [.. core.Select(_ => share / core.Length), .. others.Select(_ => (1 - share) / others.Length)], program.Work * (100 - program.Opening) / 100.0));
            if (program.Shift == 0) core = Draw(program.Core, []);
            for (int s = 0; s < program.Shift; s++) core[_random.Next(core.Length)] = Draw(1, core)[0];
        }

        int[] Draw(int count, int[] not) => [.. Enumerable.Range(0, n).Where(f => !not.Contains(f)).OrderBy(_ => _random.Next()).Take(count)];
    }

    /// <summary>Milliseconds that the program takes, and the longest that the queue was.</summary>
    public (double Time, long Queue) Run(JitPolicy policy, int threshold)
    {
        var clock = new Clock();
        var statistics = new FarmStatistics();
        var queue = new HotQueue(policy, statistics, static () => true, clock);
        IRegionEngine engine = DispatchProxy.Create<IRegionEngine, NoEngine>();
        var speed = new double[_gain.Length];
        Array.Fill(speed, 1);
        var working = new (Candidate? On, double Left)[_threads];
        double time = 0;
        foreach ((int[] loops, double[] shares, double work) in _phases)
        {
            for (double left = work; left > 0;)
            {
                double total = 0;
                for (int i = 0; i < loops.Length; i++) total += shares[i] / speed[loops[i]];
                double done = 1 / total;
                time += Math.Min(1, left / done);
                left -= done;
                clock.Advance(1);
                double at = _random.NextDouble() * total;
                int hit = 0;
                while (hit < loops.Length - 1 && (at -= shares[hit] / speed[loops[hit]]) > 0) hit++;
                int f = loops[hit];
                // Large loops are several blocks.
                if (speed[f] == 1) queue.Heat(engine, new CodePlace((ulong)(f * LineOfCode + _random.Next(1 + _size[f] / 32)), 0), 1, threshold);
                for (int t = 0; t < working.Length; t++) Work(queue, ref working[t], speed);
            }
        }
        return (time, statistics.LongestQueue);
    }

    /// <summary>A millisecond of a compiling thread.</summary>
    private void Work(HotQueue queue, ref (Candidate? On, double Left) thread, double[] speed)
    {
        for (double left = 1; left > 0;)
        {
            if (thread.On == null)
            {
                if (queue.TryTake(out _) is not { } next) return;
                left -= 0.1; // growing a region
                int f = Loop(next);
                if (speed[f] != 1) queue.Done(next, false);
                else if (queue.GoesFirst(next, _size[f], other => Loop(other) == f)) thread = (next, _cost[f]);
                continue;
            }
            double used = Math.Min(left, thread.Left);
            left -= used;
            thread.Left -= used;
            if (thread.Left > 0) return;
            int loop = Loop(thread.On);
            speed[loop] = _gain[loop];
            queue.Done(thread.On, true, other => Loop(other) == loop);
            thread.On = null;
        }

        static int Loop(Candidate c) => (int)(c.Place.Pc / LineOfCode);
    }

    private sealed class Clock : TimeProvider
    {
        private long _ticks = 1;

        public override long GetTimestamp() => _ticks;
        public void Advance(int milliseconds) => _ticks += milliseconds * TimestampFrequency / 1000;
    }

    /// <summary>The queue only tells engines apart.</summary>
    public class NoEngine : DispatchProxy
    {
        protected override object? Invoke(MethodInfo? method, object?[]? arguments) => throw new NotSupportedException(method?.Name);
    }
}
