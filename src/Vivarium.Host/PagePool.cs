using System.Collections.Concurrent;
using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

/// <summary>Pieces of memory of one size, straight from the host, for what would tear holes into the C library's heap. Some that come back are kept for the
/// next who asks, the others are the host's again.</summary>
/// <remarks>Thread-safe.</remarks>
/// <param name="bytes">Size of a piece: whole pages.</param>
/// <param name="keep">How many pieces are kept.</param>
/// <param name="cleared">Pieces are given out zeroed.</param>
public sealed unsafe class PagePool(int bytes, int keep, bool cleared) : IDisposable
{
    private readonly ConcurrentStack<nint> _kept = new();
    private int _count;

    /// <summary>Bytes of a piece.</summary>
    public int Size => bytes;

    /// <summary>A piece.</summary>
    /// <exception cref="OutOfMemoryException">The host has no memory left.</exception>
    public nint Rent()
    {
        if (_kept.TryPop(out nint piece))
        {
            Interlocked.Decrement(ref _count);
            // SAFETY: a piece of ours that nobody uses. Faults for its pages, given back and taken again, cost four times what this does.
            if (cleared) System.Runtime.InteropServices.NativeMemory.Clear((void*)piece, (nuint)bytes);
            return piece;
        }
        long mapped = HostSyscall.Invoke(SysMmap, 0, bytes, ProtRead | ProtWrite, MapPrivate | MapAnonymous | MapNoReserve, -1, 0);
        if (mapped < 0) throw new OutOfMemoryException($"cannot map {bytes >> 10} KiB: errno {-mapped}");
        return (nint)mapped;
    }

    /// <summary>Takes back what <see cref="Rent"/> gave.</summary>
    public void Return(nint piece)
    {
        if (Interlocked.Increment(ref _count) <= keep)
        {
            _kept.Push(piece);
            return;
        }
        Interlocked.Decrement(ref _count);
        HostSyscall.Invoke(SysMunmap, piece, bytes);
    }

    /// <summary>Frees what is kept. Pieces that are given back later are kept no more.</summary>
    public void Dispose()
    {
        Interlocked.Add(ref _count, int.MaxValue / 2);
        while (_kept.TryPop(out nint piece)) HostSyscall.Invoke(SysMunmap, piece, bytes);
    }
}
