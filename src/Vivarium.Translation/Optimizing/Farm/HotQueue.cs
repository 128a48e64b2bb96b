namespace Vivarium.Translation.Optimizing.Farm;

/// <summary>What is hot and waits to be compiled, in the order that the policy wants.</summary>
/// <remarks>Thread-safe. Heat decays by half every <see cref="HalfLife"/> seconds, so that it says what is hot now. Nothing is handed out while
/// <paramref name="mayCompile"/> says no: what waits then is weighed again when it says yes.</remarks>
internal sealed class HotQueue(JitPolicy policy, FarmStatistics statistics, Func<bool> mayCompile, TimeProvider? time = null)
{
    public const double HalfLife = 0.2, Cold = 0.25; // seconds

    private const int MaxRefusals = 6;
    private const double Steady = 3; // thresholds of samples over any time that make a block hot, too
    private const int BudgetMilliseconds = 20; // between looks whether there is time to spend again

    // Compiling a region takes about as long as if it had this many instructions more than it has.
    private const double FixedSize = 40;

    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private readonly object _lock = new();
    private readonly Dictionary<(IRegionEngine, CodePlace), Candidate> _known = [];
    private readonly List<Candidate> _waiting = []; // in the order in which they became hot
    private readonly HashSet<(IRegionEngine, CodePlace, long)> _tried = [];
    private double _meanSize = 60; // of regions so far
    private long _lengthChanged;
    private bool _closed;

    /// <summary>One more sample of a block, which counts for <paramref name="weight"/>; queues it when it has become hot.</summary>
    public void Heat(IRegionEngine engine, CodePlace place, double weight, int threshold)
    {
        lock (_lock)
        {
            long now = _time.GetTimestamp();
            if (!_known.TryGetValue((engine, place), out Candidate? c)) _known.Add((engine, place), c = new Candidate(engine, place) { FirstSample = now, LastSample = now });
            // What was cold for long became hot now, not when it was first seen.
            if (IsCold(c, now)) (c.FirstSample, c.Samples) = (now, 0);
            c.Heat = Now(c, now) + weight;
            c.Total += weight;
            c.Samples++;
            c.LastSample = now;
            // A request that came to nothing is made again when the block is much hotter: more of the loop may have run by then.
            if (c.IsQueued || c.IsCompiling || c.Refusals > MaxRefusals || (c.Heat < threshold * (1 << c.Refusals) * 0.9 && c.Total < threshold * (1 << c.Refusals) * Steady)) return;
            c.Queued = now;
            c.HeatWhenQueued = c.Heat / Math.Clamp(Seconds(c.FirstSample, now), 0.001, HalfLife);
            Enqueue(c, _waiting.Count, now);
            statistics.Requests++;
            statistics.LongestQueue = Math.Max(statistics.LongestQueue, _waiting.Count);
            Monitor.Pulse(_lock);
        }
    }

    /// <summary>Whether it has had no sample for long, for what it is: in a few percent of the time they come seldom.</summary>
    private bool IsCold(Candidate c, long now) =>
        Seconds(c.LastSample, now) > (c.Samples < 4 ? Cold : Math.Max(Cold, 6 * Seconds(c.FirstSample, c.LastSample) / c.Samples));

    private double Seconds(long from, long to) => (to - from) / (double)_time.TimestampFrequency;

    private double Now(Candidate c, long now) => c.Heat * Math.Pow(2, -Seconds(c.LastSample, now) / HalfLife);

    /// <summary>Samples that compiling it makes faster, for each unit of time that it takes.</summary>
    private double Worth(double heat, int size) => heat / ((size == 0 ? _meanSize : size) + FixedSize);

    private double Priority(Candidate c, long now) => policy switch
    {
        JitPolicy.HeatAtDispatch => c.HeatWhenQueued,
        JitPolicy.Continuous => Worth(Now(c, now), c.Size),
        _ => 0, // the first one waits longest
    };

    private void Enqueue(Candidate c, int at, long now)
    {
        CountLength(now);
        c.IsQueued = true;
        _waiting.Insert(at, c);
    }

    private void CountLength(long now)
    {
        statistics.LengthTicks += _waiting.Count * (now - _lengthChanged);
        statistics.QueueTicks += _lengthChanged == 0 ? 0 : now - _lengthChanged;
        _lengthChanged = now;
    }

    private int RemoveWhere(Predicate<Candidate> predicate, long now)
    {
        CountLength(now);
        return _waiting.RemoveAll(c => predicate(c) && !(c.IsQueued = false));
    }

    /// <summary>The next one to compile; null when the farm closes.</summary>
    public Candidate? Take(ManualResetEventSlim stop)
    {
        lock (_lock)
        {
            while (!_closed && !stop.IsSet)
            {
                if (TryTake(out bool spent) is { } next) return next;
                if (spent) Monitor.Wait(_lock, BudgetMilliseconds);
                else Monitor.Wait(_lock);
            }
            return null;
        }
    }

    /// <summary>The next one to compile now; null where nothing waits, or compilers have had their share.</summary>
    /// <param name="spent">It is the share.</param>
    public Candidate? TryTake(out bool spent)
    {
        lock (_lock)
        {
            spent = false;
            long now = _time.GetTimestamp();
            if (policy == JitPolicy.Continuous) statistics.Dropped += RemoveWhere(c => IsCold(c, now), now);
            if (_waiting.Count == 0) return null;
            if (spent = !mayCompile()) return null;
            Candidate best = _waiting[0];
            double most = Priority(best, now);
            foreach (Candidate c in _waiting)
            {
                double priority = Priority(c, now);
                if (priority > most) (best, most) = (c, priority);
            }
            if (best != _waiting[0]) statistics.Reordered++;
            CountLength(now);
            _waiting.Remove(best);
            best.IsQueued = false;
            best.IsCompiling = true;
            best.Started = now;
            return best;
        }
    }

    /// <summary>A candidate's region is known now, and so how much work it is and what else waits for it. False where something else had better come first: then
    /// the candidate waits again.</summary>
    public bool GoesFirst(Candidate c, int size, Func<Candidate, bool> isCovered)
    {
        lock (_lock)
        {
            c.Size = size;
            _meanSize += (size - _meanSize) / 8;
            if (policy != JitPolicy.Continuous) return true;
            long now = _time.GetTimestamp();
            double heat = Now(c, now), best = 0;
            foreach (Candidate other in _waiting)
            {
                if (other.Engine == c.Engine && isCovered(other)) heat += Now(other, now);
                else best = Math.Max(best, Priority(other, now));
            }
            if (Worth(heat, size) >= best) return true;
            c.IsCompiling = false;
            int at = _waiting.FindIndex(w => w.Queued > c.Queued);
            Enqueue(c, at < 0 ? _waiting.Count : at, now);
            statistics.PutBack++;
            return false;
        }
    }

    /// <summary>Whether what is being compiled has become cold meanwhile, with all that waits and is covered by its region.</summary>
    public bool HasCooled(Candidate c, Func<Candidate, bool> isCovered)
    {
        if (policy != JitPolicy.Continuous) return false;
        lock (_lock)
        {
            long now = _time.GetTimestamp();
            return Seconds(c.LastSample, now) > Cold && !_waiting.Exists(w => w.Engine == c.Engine && Seconds(w.LastSample, now) <= Cold && isCovered(w));
        }
    }

    /// <summary>A compilation was given up. The candidate is queued again when it is hot again.</summary>
    public void Cancel(Candidate c)
    {
        lock (_lock)
        {
            c.IsCompiling = false;
            c.Size = 0;
            statistics.Cancelled++;
        }
    }

    /// <summary>A compilation has ended. What its region covers need not wait any longer.</summary>
    public void Done(Candidate c, bool installed, Func<Candidate, bool>? isCovered = null)
    {
        lock (_lock)
        {
            long now = _time.GetTimestamp();
            c.IsCompiling = false;
            c.Heat = c.Total = 0;
            c.Size = 0;
            if (!installed)
            {
                c.Refusals++;
                return;
            }
            // If the block goes on being hot, the region's head is not reached: take an inner loop next time.
            c.Level++;
            statistics.WaitTicks += c.Started - c.Queued;
            statistics.LongestWaitTicks = Math.Max(statistics.LongestWaitTicks, c.Started - c.Queued);
            statistics.InstallTicks += now - c.Queued;
            statistics.Installed++;
            if (isCovered != null) statistics.Covered += RemoveWhere(w => w.Engine == c.Engine && isCovered(w) && (w.Heat = 0) == 0, now);
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
            statistics.Cancelled += RemoveWhere(c => c.Engine == engine, _time.GetTimestamp());
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
