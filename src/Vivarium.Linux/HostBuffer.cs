using System.Runtime.InteropServices;

namespace Vivarium.Linux;

/// <summary>Pinned memory of our own for structures that host syscalls read or write (timespec, stat, signal sets).</summary>
/// <remarks>Not thread-safe: one per thread; see <see cref="Current"/>.</remarks>
public sealed class HostBuffer
{
    /// <summary>Bytes in a thread's scratch buffer.</summary>
    public const int Size = 8192;

    [ThreadStatic]
    private static HostBuffer? t_current;

    private readonly byte[] _bytes;

    public HostBuffer(int size = Size)
    {
        _bytes = GC.AllocateArray<byte>(size, pinned: true);
        Address = Marshal.UnsafeAddrOfPinnedArrayElement(_bytes, 0);
    }

    /// <summary>The calling thread's scratch buffer: contents do not survive the next user's use.</summary>
    public static HostBuffer Current => t_current ??= new HostBuffer();

    /// <summary>Host address of the first byte.</summary>
    public long Address { get; }

    public Span<byte> Bytes => _bytes;

    /// <summary>The bytes at <paramref name="offset"/> seen as a <typeparamref name="T"/>.</summary>
    public ref T At<T>(int offset) where T : unmanaged => ref MemoryMarshal.AsRef<T>(_bytes.AsSpan(offset));
}
