using System.Diagnostics;

namespace Vivarium.Translation.Optimizing.Farm;

/// <summary>A block that was seen running often.</summary>
internal sealed class Candidate(IRegionEngine engine, CodePlace place)
{
    public IRegionEngine Engine => engine;
    public CodePlace Place => place;

    /// <summary>Samples since it was last compiled, halved now and then, and when the last one came.</summary>
    public double Heat { get; set; }
    public long LastSample { get; set; }

    /// <summary>Which loop around the block to compile next: 0 the outermost.</summary>
    public int Level { get; set; }
    public int Refusals { get; set; }
    public bool IsQueued { get; set; }
    public bool IsCompiling { get; set; }
    public double HeatWhenQueued { get; set; }
    public long Queued { get; set; }
    public long Number { get; set; }
    public long Started { get; set; }
}

/// <summary>What is hot and waits to be compiled, in the order that the policy wants.</summary>
/// <remarks>Thread-safe. Heat decays by half every <see cref="HalfLife"/>, so that it says what is hot now. Nothing is handed out while
/// <paramref name="mayCompile"/> says no: what waits then is weighed again when it says yes.</remarks>
internal sealed class HotQueue(JitPolicy policy, FarmStatistics statistics, Func<bool> mayCompile)
{
    private const int MaxRefusals = 6;
    private const int BudgetMilliseconds = 20; // between looks whether there is time to spend again
    private static readonly double HalfLife = Stopwatch.Frequency * 0.2;
    private static readonly long Cold = Stopwatch.Frequency / 4;

    private readonly object _lock = new();
    private readonly Dictionary<(IRegionEngine, CodePlace), Candidate> _known = [];
    private readonly List<Candidate> _waiting = [];
    private readonly HashSet<(IRegionEngine, CodePlace, long)> _tried = [];
    private long _number;
    private bool _closed;

    /// <summary>One more sample of a block, which counts for <paramref name="weight"/>; queues it when it has become hot.</summary>
    public void Heat(IRegionEngine engine, CodePlace place, double weight, int threshold)
    {
        lock (_lock)
        {
            if (!_known.TryGetValue((engine, place), out Candidate? c)) _known.Add((engine, place), c = new Candidate(engine, place));
            long now = Stopwatch.GetTimestamp();
            c.Heat = Now(c, now) + weight;
            c.LastSample = now;
            // A request that came to nothing is made again when the block is much hotter: more of the loop may have run by then.
            if (c.IsQueued || c.IsCompiling || c.Refusals > MaxRefusals || c.Heat < threshold * (1 << c.Refusals) * 0.9) return;
            c.IsQueued = true;
            c.Queued = now;
            c.HeatWhenQueued = c.Heat;
            c.Number = _number++;
            _waiting.Add(c);
            statistics.Requests++;
            statistics.LongestQueue = Math.Max(statistics.LongestQueue, _waiting.Count);
            Monitor.Pulse(_lock);
        }
    }

    private static double Now(Candidate c, long now) => c.Heat * Math.Pow(2, -(now - c.LastSample) / HalfLife);

    /// <summary>The next one to compile; null when the farm closes.</summary>
    public Candidate? Take(ManualResetEventSlim stop)
    {
        lock (_lock)
        {
            while (true)
            {
                if (_closed || stop.IsSet) return null;
                long now = Stopwatch.GetTimestamp();
                if (policy == JitPolicy.Continuous)
                    statistics.Dropped += _waiting.RemoveAll(c => now - c.LastSample > Cold && (c.IsQueued = false) == false);
                if (_waiting.Count == 0)
                {
                    Monitor.Wait(_lock);
                    continue;
                }
                if (!mayCompile())
                {
                    Monitor.Wait(_lock, BudgetMilliseconds);
                    continue;
                }
                Candidate best = _waiting[0];
                foreach (Candidate c in _waiting)
                {
                    if (policy == JitPolicy.HeatAtDispatch ? c.HeatWhenQueued > best.HeatWhenQueued : policy == JitPolicy.Continuous && Now(c, now) > Now(best, now)) best = c;
                }
                if (best != _waiting[0]) statistics.Reordered++;
                _waiting.Remove(best);
                best.IsQueued = false;
                best.IsCompiling = true;
                best.Started = now;
                return best;
            }
        }
    }

    /// <summary>A compilation has ended.</summary>
    public void Done(Candidate c, bool installed)
    {
        lock (_lock)
        {
            long now = Stopwatch.GetTimestamp();
            c.IsCompiling = false;
            c.Heat = 0;
            if (!installed)
            {
                c.Refusals++;
                return;
            }
            // If the block goes on being hot, the region's head is not reached: take an inner loop next time.
            c.Level++;
            statistics.WaitTicks += c.Started - c.Queued;
            statistics.InstallTicks += now - c.Queued;
            statistics.Installed++;
        }
    }

    /// <summary>Whether nobody has asked for this block since code changed.</summary>
    public bool FirstTime(IRegionEngine engine, CodePlace place)
    {
        lock (_lock) return _tried.Add((engine, place, engine.Generation));
    }

    /// <summary>Forgets what belongs to an engine.</summary>
    public void Remove(IRegionEngine engine)
    {
        lock (_lock)
        {
            _waiting.RemoveAll(c => c.Engine == engine);
            foreach ((IRegionEngine, CodePlace) key in _known.Keys.Where(k => k.Item1 == engine).ToList()) _known.Remove(key);
            _tried.RemoveWhere(k => k.Item1 == engine);
        }
    }

    public void Close()
    {
        lock (_lock)
        {
            _closed = true;
            Monitor.PulseAll(_lock);
        }
    }
}
