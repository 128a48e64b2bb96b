namespace Vivarium.Host;

/// <summary>Reserved address space for emitted code, committed piecewise. Readable, writable and executable once committed.</summary>
/// <remarks>The reservation is contiguous so that rel32 jumps reach everywhere: at most 2 GiB - 64 KiB.</remarks>
public sealed class CodeMemory : IDisposable
{
    public static CodeMemory Reserve(ulong size) => throw new NotImplementedException();
    public ulong Base { get; }
    public ulong Size { get; }
    public void Commit(ulong offset, ulong length) => throw new NotImplementedException();
    /// <summary>Drops the contents (MADV_DONTNEED) but keeps the reservation.</summary>
    public void Decommit(ulong offset, ulong length) => throw new NotImplementedException();
    public void Dispose() { }
}
