using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

/// <summary>Reserved address space for emitted code, committed piecewise. Readable, writable and executable once committed.</summary>
/// <remarks>The reservation is contiguous so that rel32 jumps reach everywhere: at most 2 GiB - 64 KiB. Thread-safe save for
/// <see cref="Dispose"/>.</remarks>
public sealed class CodeMemory : IDisposable
{
    /// <summary>Largest reservation in bytes.</summary>
    public const ulong MaxSize = (2UL << 30) - (64UL << 10);

    private bool _disposed;

    private CodeMemory(ulong start, ulong size) => (Base, Size) = (start, size);

    /// <summary>Reserves <paramref name="size"/> bytes (rounded up to pages).</summary>
    /// <exception cref="OutOfMemoryException">The host has no such range left.</exception>
    public static CodeMemory Reserve(ulong size)
    {
        ArgumentOutOfRangeException.ThrowIfZero(size);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(size, MaxSize);
        size = (size + PageSize - 1) & ~(PageSize - 1);
        var start = HostSyscall.Invoke(SysMmap, 0, (long)size, 0, MapPrivate | MapAnonymous | MapNoReserve, -1, 0);
        if (start < 0) throw new OutOfMemoryException($"cannot reserve {size >> 20} MiB for emitted code: errno {-start}");
        return new CodeMemory((ulong)start, size);
    }

    /// <summary>Host address of the first byte.</summary>
    public ulong Base { get; }

    /// <summary>Bytes reserved.</summary>
    public ulong Size { get; }

    /// <summary>Makes the pages of the range usable; they read zero until written. Again is harmless.</summary>
    /// <exception cref="NotSupportedException">The host forbids memory that is writable and executable.</exception>
    /// <exception cref="OutOfMemoryException">The host has no memory for it.</exception>
    public void Commit(ulong offset, ulong length)
    {
        var (start, bytes) = Pages(offset, length);
        var result = HostSyscall.Invoke(SysMprotect, (long)start, (long)bytes, ProtRead | ProtWrite | ProtExec);
        if (result == 0) return;
        if (result == -ENoMem) throw new OutOfMemoryException($"cannot commit {bytes >> 10} KiB for emitted code: no memory");
        throw new NotSupportedException(
            $"cannot commit memory for emitted code: this host forbids memory that is writable and executable (mprotect: errno {-result})");
    }

    /// <summary>Drops the contents (MADV_DONTNEED) but keeps the reservation: the pages read zero and stay usable.</summary>
    public void Decommit(ulong offset, ulong length)
    {
        var (start, bytes) = Pages(offset, length);
        HostSyscall.Invoke(SysMadvise, (long)start, (long)bytes, MadvDontNeed);
    }

    /// <summary>Makes all pages of committed host memory between two page-aligned addresses present, for half of what as many page faults cost.
    /// Only a wish: where the kernel does not know how (before 5.14), or has no memory, they come when they are touched.</summary>
    public static void Populate(ulong start, ulong end)
    {
        if (end > start) HostSyscall.Invoke(SysMadvise, (long)start, (long)(end - start), MadvPopulateWrite);
    }

    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        HostSyscall.Invoke(SysMunmap, (long)Base, (long)Size);
    }

    /// <summary>The pages that the range touches.</summary>
    private (ulong Start, ulong Bytes) Pages(ulong offset, ulong length)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, Size);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Size - offset);
        var first = offset & ~(PageSize - 1);
        var end = (offset + length + PageSize - 1) & ~(PageSize - 1);
        return (Base + first, end - first);
    }
}
