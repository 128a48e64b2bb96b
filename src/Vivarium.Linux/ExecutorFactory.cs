using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux;

/// <summary>The one place that knows which executors there are.</summary>
public static class ExecutorFactory
{
    /// <summary>Makes an executor for one guest address space.</summary>
    public static Executor Create(ExecutorKind kind, MemoryWindow window) => kind switch
    {
        ExecutorKind.Interpreter => throw new NotSupportedException("the interpreter has not landed yet"),
        _ => throw new NotSupportedException("the translator has not landed yet"),
    };
}
