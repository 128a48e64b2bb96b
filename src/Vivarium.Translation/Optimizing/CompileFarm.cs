using System.Diagnostics;
using Vivarium.Host;
using Vivarium.Translation.Optimizing.Farm;
using Vivarium.Translation.Optimizing.Llvm;
using Vivarium.Translation.Optimizing.Lowering;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing;

/// <summary>
/// Watches what the engines' threads run, and compiles what stays hot on threads of its own, by LLVM. The guest never waits: a region
/// takes its block's place when it is ready.
/// </summary>
/// <remarks>Thread-safe. Serves all engines of a realm; disposed after them.</remarks>
public sealed class CompileFarm : IDisposable
{
    private const int LargeRegion = 400; // instructions: looking for vectors in straight code takes LLVM most of its time then
    private const int CompilerNice = 10, ObservationTime = 4; // ms, in which the guest executes some ten thousand instructions in the interpreter
    private const int Never = 1 << 24;

    private readonly OptimizerOptions _options;
    private readonly List<IRegionEngine> _engines = [];
    private readonly HotQueue _queue;
    private readonly List<Thread> _threads = [];
    private readonly ThreadLocal<Tools> _tools = new(static () => new Tools(), trackAllValues: true);
    private readonly ManualResetEventSlim _stop = new(false, spinCount: 0); // the sampler waits a thousand times a second
    private readonly Dictionary<IRegionEngine, List<RegionTrial>> _trials = []; // the sampler's alone
    private readonly List<(IRegionEngine Engine, InstalledRegion Region)> _newTrials = [];
    private double _weight = 1; // of a sample in this tick
    private double _guestTime;  // what the guest has run so far, in ticks
    private bool _started;

    // How the sampler slows down: requests seen so far, and when the last one came, in ticks of the guest's time.
    private const double CalmAfter = 200;
    private long _requests;
    private double _lastNews;

    /// <summary>One compiling thread's.</summary>
    private sealed class Tools
    {
        public readonly RegionBuilder Builder = new();
        public LlvmCompiler? Compiler;
    }

    private CompileFarm(OptimizerOptions options)
    {
        _options = options;
        _queue = new HotQueue(options.Policy, Statistics, MayCompile);
        Statistics.Say = options.DumpRegion ? options.DumpSink : null;
    }

    /// <summary>A farm, or null (and why) where LLVM is not there. The library is loaded when there is a region to compile.</summary>
    public static CompileFarm? TryCreate(OptimizerOptions options, out string problem) => LlvmLibrary.IsThere(out problem) ? new CompileFarm(options) : null;

    public FarmStatistics Statistics { get; } = new();

    /// <summary>Tells apart what makes regions: they are kept from run to run.</summary>
    internal static ulong CompilerIdentity => LlvmLibrary.Identity;

    /// <summary>Without threads of its own the farm compiles on the guest's, at once: for tests.</summary>
    internal bool IsSynchronous => _options.Threads == 0;

    internal void Add(IRegionEngine engine)
    {
        lock (_engines)
        {
            _engines.Add(engine);
            if (_started || IsSynchronous) return;
            _started = true;
        }
        Start(Watch, "viv sampler", 0);
        for (int i = 0; i < _options.Threads; i++) Start(Work, "viv optimizer", CompilerNice);
    }

    internal void Remove(IRegionEngine engine)
    {
        lock (_engines) _engines.Remove(engine);
        _queue.Remove(engine);
    }

    private void Start(Action body, string name, int nice)
    {
        var thread = new Thread(() =>
        {
            if (nice != 0) HostThread.StayBehind(nice);
            HostThread.StayOn(_options.Processors);
            try
            {
                body();
            }
            catch (OperationCanceledException)
            {
                // The farm closes.
            }
        }, 8 << 20) { IsBackground = true, Name = name };
        _threads.Add(thread);
        thread.Start();
    }

    /// <summary>The sampler: each tick finds out which block every running thread is in.</summary>
    private void Watch()
    {
        var found = new List<ulong>();
        var engines = new List<IRegionEngine>();
        HostThread self = HostThread.Current;
        Action<IRegionEngine, CodePlace> queue = (engine, place) => _queue.Heat(engine, place, _weight, Threshold());
        long last = Stopwatch.GetTimestamp();
        while (!_stop.Wait(NextSample()))
        {
            // On a busy machine ticks come late, and a sample stands for more.
            long now = Stopwatch.GetTimestamp();
            _weight = Math.Clamp(Stopwatch.GetElapsedTime(last, now).TotalMilliseconds / _options.SampleMilliseconds, 1, 8);
            last = now;
            engines.Clear();
            lock (_engines) engines.AddRange(_engines);
            Statistics.SamplerTime = self.ProcessorTime;
            if (_trials.Count > engines.Count)
            {
                foreach (IRegionEngine gone in _trials.Keys.Except(engines).ToList()) _trials.Remove(gone);
            }
            foreach (IRegionEngine engine in engines)
            {
                if (!engine.CanOptimize) continue;
                found.Clear();
                engine.Sample(found);
                Statistics.Samples += found.Count;
                _guestTime += found.Count * _weight * _options.SampleMilliseconds;
                engine.InstallStored(this);
                if (!_trials.TryGetValue(engine, out List<RegionTrial>? trials)) _trials.Add(engine, trials = []);
                lock (_newTrials)
                {
                    foreach ((IRegionEngine owner, InstalledRegion region) in _newTrials)
                    {
                        if (owner == engine) trials.Add(new RegionTrial(region));
                    }
                    _newTrials.RemoveAll(t => t.Engine == engine);
                }
                engine.Count(found, trials, queue, Statistics);
            }
        }
    }

    /// <summary>
    /// Milliseconds until the next sample. Trials need many; while blocks become hot a few must do; a guest whose profile has not changed for a
    /// while, or that has not run for long enough to be compiled at all, is interrupted seldom.
    /// </summary>
    private int NextSample()
    {
        if (_options.WarmUp == 0) return _options.SampleMilliseconds;
        bool inTrial = false;
        foreach (List<RegionTrial> trials in _trials.Values) inTrial |= trials.Count > 0;
        lock (_newTrials) inTrial |= _newTrials.Count > 0;
        if (inTrial) return _options.TrialSampleMilliseconds;
        if (Statistics.Requests != _requests) (_requests, _lastNews) = (Statistics.Requests, _guestTime);
        bool calm = _guestTime < _options.WarmUp || _guestTime - _lastNews > CalmAfter;
        return Math.Max(_options.SampleMilliseconds, calm ? _options.RareSampleMilliseconds : _options.RareSampleMilliseconds / 2);
    }

    /// <summary>Whether compilers have not had their share of processor time yet; any thread may ask.</summary>
    private bool MayCompile() =>
        _options.WarmUp == 0 || Interlocked.Read(ref Statistics.CompilerTime) * 1e-6 <= _options.CompileGrant + _options.CompileShare * Volatile.Read(ref _guestTime);

    /// <summary>Samples that make a block hot. Loading the library must pay, too.</summary>
    private int Threshold() =>
        _guestTime < _options.WarmUp ? Never : _options.WarmUp == 0 || LlvmLibrary.IsLoaded ? _options.Threshold : 2 * _options.Threshold;

    private void Work()
    {
        HostThread self = HostThread.Current;
        while (_queue.Take(_stop) is { } candidate)
        {
            long before = self.ProcessorTime;
            Compile(candidate.Engine, candidate.Place, candidate.Level, candidate);
            Interlocked.Add(ref Statistics.CompilerTime, self.ProcessorTime - before);
        }
    }

    /// <summary>Compiles on the calling thread what is around <paramref name="place"/>, taking everything for warm.</summary>
    internal void CompileNow(IRegionEngine engine, CodePlace place)
    {
        if (_queue.FirstTime(engine, place)) Compile(engine, place, 0, null);
    }

    /// <summary>Compiles what is around a place: for a candidate of the queue, which hears what comes of it, or without one at once.</summary>
    private void Compile(IRegionEngine engine, CodePlace place, int level, Candidate? candidate)
    {
        bool everything = candidate == null;
        long started = Stopwatch.GetTimestamp();
        Tools tools = _tools.Value!;
        GuestRegion? region = engine.CanOptimize ? engine.Grow(tools.Builder, place, level, everything) : null;
        // An interpreter's operations show themselves one after the other.
        while (!everything && region != null && !engine.Knows(region) && engine.ObserveMore(region) && !_stop.Wait(ObservationTime)) region = engine.Grow(tools.Builder, place, level, false);
        // A loop that was too short for a region may be worth it with its callers'.
        if (!everything && region != null && engine.Knows(region) && engine.CanOptimize)
            region = engine.Grow(tools.Builder, place, RegionBuilder.Callers, false) is { } outer && !engine.Knows(outer) ? outer : region;
        // What cannot grow past an indirect jump is grown again when somebody has seen where that leads.
        if (!everything && tools.Builder.UnknownJumps > 0 && (region == null || region.HasWays || engine.Knows(region)) && engine.ObserveTargets() && region is { HasWays: true }) region = null;
        bool installed = false;
        try
        {
            if (region == null || (!everything && engine.Knows(region)) || engine.HashOf(region) != region.Hash)
            {
                Statistics.Refused++;
                if (_options.DumpSink is { } say && _options.DumpRegion && place.Pc >= _options.DumpStart && place.Pc < _options.DumpEnd)
                    say($"no region around 0x{place.Pc:x}: {(!engine.CanOptimize ? "the process has none" : region == null ? tools.Builder.Reason : engine.Knows(region) ? "it is there, or lost against tier 1" : "its code is changing")}\n");
                return;
            }
            if (candidate != null && !_queue.GoesFirst(candidate, region.Instructions, c => IsCovered(region, place, c.Place)))
            {
                candidate = null;
                return;
            }
            // From here on LLVM is used, and nothing before: a run whose regions are all known does not load it.
            if (!LlvmLibrary.Enter()) return;
            try
            {
                installed = Compile(engine, region, tools, place, ref candidate);
            }
            finally
            {
                LlvmLibrary.Leave();
                Interlocked.Add(ref Statistics.CompileTicks, Stopwatch.GetTimestamp() - started);
            }
        }
        finally
        {
            if (candidate != null) _queue.Done(candidate, installed, region == null ? null : c => IsCovered(region, place, c.Place));
        }
    }

    /// <summary>Whether a place lies in the region around <paramref name="hot"/> of the same engine.</summary>
    private static bool IsCovered(GuestRegion region, CodePlace hot, CodePlace place)
    {
        if (!region.Covers(place.Pc)) return false;
        if (region.Pages == null) return true;
        ulong OffsetIn(CodePlace p) => Array.Find(region.Pages, page => page.Virtual == (p.Pc & ~4095UL)).Offset + (p.Pc & 4095);
        return place.Physical - OffsetIn(place) == hot.Physical - OffsetIn(hot);
    }

    /// <summary>Compiles a region and puts it in service. Where it gives up, the candidate is null afterwards.</summary>
    private bool Compile(IRegionEngine engine, GuestRegion region, Tools tools, CodePlace place, ref Candidate? candidate)
    {
        Candidate? queued = candidate;
        if (!engine.BeginCompiling(region))
        {
            Statistics.Refused++; // another thread is at it
            return false;
        }
        try
        {
            tools.Compiler ??= new LlvmCompiler(LlvmLibrary.TryGet(out string problem) ?? throw new InvalidOperationException(problem));
            region.LoopOfTierOne = engine.LoopOfTierOne(region);
            bool dump = _options.DumpSink != null && region.Head >= _options.DumpStart && region.Head < _options.DumpEnd;
            bool exact = engine.NeedsExactFaults;
            RegionLowering lowering = RegionLowering.Lower(region, out string text, exact);
            if (dump && _options.DumpRegion) _options.DumpSink!(region.Dump());
            if (dump && _options.DumpLlvm) _options.DumpSink!(text);
            // Not worth the rest of the work: the guest has ended, has other code now, or does something else.
            bool IsPointless() => _stop.IsSet || !engine.CanOptimize || engine.HashOf(region) != region.Hash
                || (queued != null && _queue.HasCooled(queued, c => IsCovered(region, place, c.Place)));
            if (tools.Compiler.Compile(text, _options.Pipeline, dump && _options.DumpLlvm ? _options.DumpSink : null, IsPointless, straight: region.Instructions <= LargeRegion) is not { } code)
            {
                if (candidate == null) Statistics.Cancelled++;
                else _queue.Cancel(candidate);
                candidate = null;
                return false;
            }
            RegionCode loaded = engine.Regions.Load(code, "region");
            if (loaded.Place == 0)
            {
                Statistics.Lost++;
                return false;
            }
            RegionShape shape = RegionShape.Of(region, lowering, tools.Compiler.VectorsIn(loaded.FunctionBytes), code.Links, exact);
            if (engine.Install(shape, loaded, region.Hash) is not { } installed)
            {
                Statistics.Lost++;
                return false;
            }
            if (code.IsPositionIndependent) engine.Keep(installed, shape, loaded, region.Hash);
            Try(engine, installed);
            if (dump && _options.Disassemble is { } disassemble) _options.DumpSink!(disassemble(loaded.FunctionBytes, loaded.Function));
            Statistics.Regions++;
            Statistics.Instructions += region.Instructions;
            Statistics.CodeBytes += code.Size;
            return true;
        }
        catch (InvalidOperationException e)
        {
            Statistics.Refused++;
            _options.DumpSink?.Invoke($"region around 0x{place.Pc:x} refused: {e.Message}");
            return false;
        }
        finally
        {
            engine.EndCompiling(region);
        }
    }

    /// <summary>A region is in service that has not been compared with tier 1 yet.</summary>
    internal void Try(IRegionEngine engine, InstalledRegion installed)
    {
        if (IsSynchronous || !_options.Trials) return;
        lock (_newTrials) _newTrials.Add((engine, installed));
    }

    /// <summary>Ends the process at once if LLVM is loaded: compiling threads must not see the library's destructors. Else returns.</summary>
    public static void EndProcessIfCompiling(int status)
    {
        if (!LlvmLibrary.IsLoadedAtEnd()) return;
        Console.Out.Flush();
        Console.Error.Flush();
        HostThread.EndProcess(status);
    }

    /// <summary>Stops the threads without waiting. False where one is in the midst of a compilation: then the code cache must stay, and the process end by
    /// <see cref="EndProcessIfCompiling"/>.</summary>
    public bool TryStop()
    {
        _stop.Set();
        _queue.Close();
        bool all = true;
        foreach (Thread thread in _threads) all &= thread.Join(2);
        return all;
    }

    /// <summary>Stops the threads; waits for a compilation in progress.</summary>
    public void Dispose()
    {
        _stop.Set();
        _queue.Close();
        foreach (Thread thread in _threads) thread.Join();
        foreach (Tools tools in _tools.Values) tools.Compiler?.Dispose();
        _tools.Dispose();
        _stop.Dispose();
    }
}
