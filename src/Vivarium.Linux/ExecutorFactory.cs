using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.Translation;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Persistence;

namespace Vivarium.Linux;

/// <summary>The one place that knows which executors there are. A realm has one; its translators share a code cache.</summary>
public sealed class ExecutorFactory(RunOptions options) : IDisposable
{
    // Made with the first translator. One reservation serves every address space of the realm: a fork must not reserve another quarter
    // of a gigabyte.
    private readonly Lazy<CodeCache> _cache = new(() => new CodeCache(options.CodeCacheSize ?? CodeCache.DefaultSize) { Store = OpenStore(options) });
    private readonly Lazy<CompileFarm?> _farm = new(() => OpenFarm(options));
    private readonly TranslationOptions _translation = options.Translation ?? TranslationOptions.FromEnvironment();

    /// <summary>Makes an executor for one guest address space.</summary>
    public Executor Create() => options.Executor switch
    {
        ExecutorKind.Interpreter => new ReferenceInterpreter(),
        _ => new TranslationEngine(_cache.Value, _farm.Value is { } farm ? _translation with { Farm = farm } : _translation),
    };

    /// <summary>Keeps this run's translations for later ones, where the options say so.</summary>
    public void SaveTranslations()
    {
        if (_cache.IsValueCreated) _cache.Value.Store?.Save();
    }

    private static CompileFarm? OpenFarm(RunOptions options)
    {
        if (options.Optimizer is not { } optimizer) return null;
        CompileFarm? farm = CompileFarm.TryCreate(optimizer, out string problem);
        if (farm == null) (options.Errors ?? Console.Error).WriteLine($"viv: cannot optimise, tier 1 runs alone: {problem}");
        return farm;
    }

    private static TranslationStore? OpenStore(RunOptions options)
    {
        // Dumps show translations being made.
        if (options.TranslationCache is not { } directory || options.Translation?.DumpSink != null) return null;
        try
        {
            return new TranslationStore(directory, options.Translation ?? TranslationOptions.FromEnvironment());
        }
        catch (IOException) when (options.TranslationCacheIsOptional)
        {
            return null;
        }
        catch (IOException e)
        {
            throw new IOException($"cannot use '{directory}' as a translation cache: {e.Message}", e);
        }
    }

    /// <summary>What the realm's translators did; empty without any.</summary>
    public IEnumerable<(string Name, long Value)> StatisticsRows() => _cache.IsValueCreated ? _cache.Value.Statistics.Rows().Concat(_farm.Value?.Statistics.Rows() ?? []) : [];

    /// <summary>Frees the code cache. No guest thread may run any more.</summary>
    public void Dispose()
    {
        // A program that has ended does not wait for regions that nobody will run: its process goes, and the code cache with it.
        if (_farm.IsValueCreated && _farm.Value is { } farm)
        {
            if (options.EndsProcess && !farm.TryStop()) return;
            farm.Dispose();
        }
        if (_cache.IsValueCreated) _cache.Value.Dispose();
    }
}
