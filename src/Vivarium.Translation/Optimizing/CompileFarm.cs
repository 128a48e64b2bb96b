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
    private const int CompilerNice = 10;

    private readonly OptimizerOptions _options;
    private readonly LlvmLibrary _llvm;
    private readonly List<TranslationEngine> _engines = [];
    private readonly HotQueue _queue;
    private readonly List<Thread> _threads = [];
    private readonly ThreadLocal<(LlvmCompiler Compiler, RegionBuilder Builder)> _tools;
    private readonly ManualResetEventSlim _stop = new();
    private readonly Dictionary<TranslationEngine, List<RegionTrial>> _trials = []; // the sampler's alone
    private readonly List<(TranslationEngine Engine, InstalledRegion Region)> _newTrials = [];
    private double _weight = 1; // of a sample in this tick
    private bool _started;

    private CompileFarm(OptimizerOptions options, LlvmLibrary llvm)
    {
        _options = options;
        _llvm = llvm;
        _queue = new HotQueue(options.Policy, Statistics);
        Statistics.Say = options.DumpRegion ? options.DumpSink : null;
        _tools = new(() => (new LlvmCompiler(_llvm), new RegionBuilder()), trackAllValues: true);
    }

    /// <summary>A farm, or null (and why) where LLVM is not there.</summary>
    public static CompileFarm? TryCreate(OptimizerOptions options, out string problem)
    {
        LlvmLibrary? llvm = LlvmLibrary.TryGet(out problem);
        return llvm == null ? null : new CompileFarm(options, llvm);
    }

    public FarmStatistics Statistics { get; } = new();

    /// <summary>Without threads of its own the farm compiles on the guest's, at once: for tests.</summary>
    internal bool IsSynchronous => _options.Threads == 0;

    internal void Add(TranslationEngine engine)
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

    internal void Remove(TranslationEngine engine)
    {
        lock (_engines) _engines.Remove(engine);
        _queue.Remove(engine);
    }

    private void Start(Action body, string name, int nice)
    {
        var thread = new Thread(() =>
        {
            if (nice != 0) HostThread.AddNice(nice);
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
        var engines = new List<TranslationEngine>();
        HostThread self = HostThread.Current;
        Action<TranslationEngine, ulong> queue = (engine, pc) => _queue.Heat(engine, pc, _weight, _options.Threshold);
        long last = Stopwatch.GetTimestamp();
        while (!_stop.Wait(_options.SampleMilliseconds))
        {
            // On a busy machine ticks come late, and a sample stands for more.
            long now = Stopwatch.GetTimestamp();
            _weight = Math.Clamp(Stopwatch.GetElapsedTime(last, now).TotalMilliseconds / _options.SampleMilliseconds, 1, 8);
            last = now;
            engines.Clear();
            lock (_engines) engines.AddRange(_engines);
            Statistics.SamplerTime = self.ProcessorTime;
            foreach (TranslationEngine gone in _trials.Keys.Except(engines).ToList()) _trials.Remove(gone);
            foreach (TranslationEngine engine in engines)
            {
                if (!engine.CanOptimize) continue;
                found.Clear();
                engine.Sample(found);
                Statistics.Samples += found.Count;
                if (!_trials.TryGetValue(engine, out List<RegionTrial>? trials)) _trials.Add(engine, trials = []);
                lock (_newTrials)
                {
                    foreach ((TranslationEngine owner, InstalledRegion region) in _newTrials)
                    {
                        if (owner == engine) trials.Add(new RegionTrial(region));
                    }
                    _newTrials.RemoveAll(t => t.Engine == engine);
                }
                engine.Count(found, trials, queue, Statistics);
            }
        }
    }

    private void Work()
    {
        HostThread self = HostThread.Current;
        while (_queue.Take(_stop) is { } candidate)
        {
            long before = self.ProcessorTime;
            (LlvmCompiler compiler, RegionBuilder builder) = _tools.Value;
            bool installed = Compile(compiler, builder, candidate.Engine, candidate.Pc, candidate.Level, false);
            _queue.Done(candidate, installed);
            Interlocked.Add(ref Statistics.CompilerTime, self.ProcessorTime - before);
        }
    }

    /// <summary>Compiles on the calling thread what is around <paramref name="pc"/>, taking everything for warm.</summary>
    internal void CompileNow(TranslationEngine engine, ulong pc)
    {
        (LlvmCompiler compiler, RegionBuilder builder) = _tools.Value;
        if (_queue.FirstTime(engine, pc)) Compile(compiler, builder, engine, pc, 0, true);
    }

    private bool Compile(LlvmCompiler compiler, RegionBuilder builder, TranslationEngine engine, ulong pc, int level, bool everything)
    {
        long started = Stopwatch.GetTimestamp();
        if (!LlvmLibrary.Enter()) return false;
        try
        {
            GuestRegion? region = engine.CanOptimize ? engine.Grow(builder, pc, level, everything) : null;
            if (region == null || (!everything && engine.Knows(region)) || engine.HashOf(region) is not { } hash)
            {
                Statistics.Refused++;
                return false;
            }
            bool dump = _options.DumpSink != null && region.Head >= _options.DumpStart && region.Head < _options.DumpEnd;
            RegionLowering lowering = RegionLowering.Lower(region, out string text);
            if (dump && _options.DumpRegion) _options.DumpSink!(region.Dump());
            if (dump && _options.DumpLlvm) _options.DumpSink!(text);
            ElfObject code = compiler.Compile(text, _options.Pipeline, dump && _options.DumpLlvm ? _options.DumpSink : null);
            (ulong function, int length) = engine.Regions.Load(code, "region");
            if (function == 0 || engine.Install(region, lowering, CodeAt(function, length), hash) is not { } installed)
            {
                Statistics.Lost++;
                return false;
            }
            if (!IsSynchronous && _options.Trials && installed.IsComparable)
            {
                lock (_newTrials) _newTrials.Add((engine, installed));
            }
            if (dump && _options.Disassemble is { } disassemble) _options.DumpSink!(disassemble(CodeAt(function, length), function));
            Statistics.Regions++;
            Statistics.Instructions += region.Instructions;
            Statistics.CodeBytes += code.Size;
            return true;
        }
        catch (InvalidOperationException e)
        {
            Statistics.Refused++;
            _options.DumpSink?.Invoke($"region around 0x{pc:x} refused: {e.Message}");
            return false;
        }
        finally
        {
            LlvmLibrary.Leave();
            Interlocked.Add(ref Statistics.CompileTicks, Stopwatch.GetTimestamp() - started);
        }
    }

    // SAFETY: loaded code of that length, which stays where it is.
    private static unsafe ReadOnlySpan<byte> CodeAt(ulong address, int length) => new((void*)address, length);

    /// <summary>Ends the process at once if LLVM is compiling: its threads must not see the library's destructors. Else returns.</summary>
    public static void EndProcessIfCompiling(int status)
    {
        if (!LlvmLibrary.IsBusyAtEnd()) return;
        Console.Out.Flush();
        Console.Error.Flush();
        HostThread.EndProcess(status);
    }

    /// <summary>Stops the threads; waits for a compilation in progress.</summary>
    public void Dispose()
    {
        _stop.Set();
        _queue.Close();
        foreach (Thread thread in _threads) thread.Join();
        foreach ((LlvmCompiler compiler, _) in _tools.Values) compiler.Dispose();
        _tools.Dispose();
        _stop.Dispose();
    }
}
