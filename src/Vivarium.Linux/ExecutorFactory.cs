using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;

namespace Vivarium.Linux;

/// <summary>The one place that knows which executors there are.</summary>
public static class ExecutorFactory
{
    /// <summary>Makes an executor for one guest address space.</summary>
    public static Executor Create(ExecutorKind kind, MemoryWindow window) => kind switch
    {
        ExecutorKind.Interpreter => new ReferenceInterpreter(),
        _ => throw new NotSupportedException("the translator has not landed yet"),
    };
}
