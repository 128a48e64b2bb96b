using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Memory;

/// <summary>A guest address space: the window, its executor and the table of mappings.</summary>
/// <remarks>
/// Thread-safe. Lock order of the memory subsystem: realm, process, <c>AddressSpace</c>, executor. Nothing blocks on guest input with the
/// address space's lock held.
/// </remarks>
public sealed partial class AddressSpace : IDisposable
{
    /// <summary>Sv39 user space.</summary>
    public const ulong WindowSize = 256UL << 30;

    public AddressSpace(MemoryWindow window, Executor executor)
    {
        Window = window;
        Executor = executor;
    }

    /// <summary>The memory itself.</summary>
    public MemoryWindow Window { get; }

    /// <summary>What executes the code in this address space.</summary>
    public Executor Executor { get; }

    /// <summary>Writes <c>/proc/self/maps</c>.</summary>
    public void WriteMaps(TextWriter writer) => throw new NotImplementedException();

    public void Dispose()
    {
        Executor.Dispose();
        Window.Dispose();
    }
}
