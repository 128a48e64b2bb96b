namespace Vivarium.Host;

/// <summary>What may be done with mapped memory; values are the kernel's PROT_* bits.</summary>
[Flags]
public enum Protection
{
    None = 0,
    Read = 1,
    Write = 2,
    Execute = 4,
}

/// <summary>
/// A reserved range of host addresses in which somebody else's memory lives, addressed by offset. Nothing here dereferences the
/// contents from C#: every access goes through emitted copy stubs with fault fix-up or through host syscalls (which answer EFAULT), so an
/// unmapped or protected page is a <c>false</c>, never a crash.
/// </summary>
/// <remarks>Thread-safe; what concurrent remapping does to a concurrent access is what the hardware would do.</remarks>
public sealed class MemoryWindow : IDisposable
{
    /// <summary>Reserves <paramref name="size"/> bytes (multiple of 4096) with inaccessible guard space on both sides.</summary>
    /// <exception cref="OutOfMemoryException">The host has no such range left.</exception>
    public static MemoryWindow Reserve(ulong size) => throw new NotImplementedException();

    /// <summary>Bytes in the window; offsets are 0..Size-1.</summary>
    public ulong Size { get; }

    /// <summary>Host address of offset 0. For emitted code only.</summary>
    public ulong HostBase { get; }

    // Mapping. Offsets and lengths are page multiples; the result is 0 or a negative errno.
    public int MapAnonymous(ulong offset, ulong length, Protection protection, bool shared = false) => throw new NotImplementedException();
    public int MapFile(ulong offset, ulong length, Protection protection, int fileDescriptor, ulong fileOffset, bool shared) => throw new NotImplementedException();

    /// <summary>Gives the range back to the reservation: inaccessible, contents dropped.</summary>
    public int Unmap(ulong offset, ulong length) => throw new NotImplementedException();
    public int Protect(ulong offset, ulong length, Protection protection) => throw new NotImplementedException();
    /// <summary>madvise with the kernel's advice number.</summary>
    public int Advise(ulong offset, ulong length, int advice) => throw new NotImplementedException();
    public int Sync(ulong offset, ulong length, int flags) => throw new NotImplementedException();

    /// <summary>Moves mapped pages (mremap MAYMOVE|FIXED); the old range returns to the reservation.</summary>
    public int Move(ulong offset, ulong length, ulong newOffset, ulong newLength) => throw new NotImplementedException();

    // Access. Offsets are any 64-bit number: outside the window is a fault like any other.
    public bool TryLoad8(ulong offset, out byte value) => throw new NotImplementedException();
    public bool TryLoad16(ulong offset, out ushort value) => throw new NotImplementedException();
    public bool TryLoad32(ulong offset, out uint value) => throw new NotImplementedException();
    public bool TryLoad64(ulong offset, out ulong value) => throw new NotImplementedException();
    public bool TryStore8(ulong offset, byte value) => throw new NotImplementedException();
    public bool TryStore16(ulong offset, ushort value) => throw new NotImplementedException();
    public bool TryStore32(ulong offset, uint value) => throw new NotImplementedException();
    public bool TryStore64(ulong offset, ulong value) => throw new NotImplementedException();

    /// <summary>Sequentially consistent compare-and-exchange; <paramref name="observed"/> is the old value. The offset must be
    /// naturally aligned (the caller checks; misaligned split locks still work but are slow).</summary>
    public bool TryCompareExchange32(ulong offset, uint expected, uint desired, out uint observed) => throw new NotImplementedException();
    public bool TryCompareExchange64(ulong offset, ulong expected, ulong desired, out ulong observed) => throw new NotImplementedException();
    public bool TryCompareExchange128(ulong offset, UInt128 expected, UInt128 desired, out UInt128 observed) => throw new NotImplementedException();

    /// <summary>Copies out of the window; returns the bytes copied, less than asked where a fault stopped it.</summary>
    public int Read(ulong offset, Span<byte> destination) => throw new NotImplementedException();

    /// <summary>Copies into the window; returns the bytes copied.</summary>
    public int Write(ulong offset, ReadOnlySpan<byte> source) => throw new NotImplementedException();

    /// <summary>Fills with zero; returns the bytes done.</summary>
    public ulong Clear(ulong offset, ulong length) => throw new NotImplementedException();

    /// <summary>Length of the NUL-terminated string at <paramref name="offset"/> copied (without NUL) into the buffer; -14 (EFAULT) where
    /// memory faults, -36 (ENAMETOOLONG) where the buffer is full first.</summary>
    public int ReadCString(ulong offset, Span<byte> buffer) => throw new NotImplementedException();

    public void Dispose() { }
}
