using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.Translation;
using Vivarium.Translation.Cache;

namespace Vivarium.Linux;

/// <summary>The one place that knows which executors there are.</summary>
public static class ExecutorFactory
{
    // One reservation for all address spaces of this host process, made when the first translator is: translated code is position-bound
    // to it, and fork must not reserve another quarter of a gigabyte per child.
    private static readonly Lazy<CodeCache> SharedCache = new(() => new CodeCache());

    /// <summary>Makes an executor for one guest address space.</summary>
    public static Executor Create(ExecutorKind kind, MemoryWindow window) => kind switch
    {
        ExecutorKind.Interpreter => new ReferenceInterpreter(),
        _ => new TranslationEngine(SharedCache.Value, TranslationOptions.FromEnvironment()),
    };
}
