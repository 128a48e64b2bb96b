using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

// Copies. Up to a page without a GC transition; longer ones in native mode, because page faults on files may take milliseconds and a
// collection must not wait for them. SAFETY (all of this file): the window side is bounded by Size and faults are fixed up; the other side
// is a pinned span of at least that many bytes.
public sealed unsafe partial class MemoryWindow
{
    private const ulong DirectLimit = 4096;

    /// <summary>Copies out of the window; returns the bytes copied, less than asked where a fault stopped it.</summary>
    public int Read(ulong offset, Span<byte> destination) => Read(offset, destination, out _);

    /// <summary>As <see cref="Read(ulong, Span{byte})"/>, with the host signal of the fault that stopped it, or 0.</summary>
    public int Read(ulong offset, Span<byte> destination, out int signal)
    {
        var length = Bounded(offset, (ulong)destination.Length);
        fixed (byte* pinned = destination)
        {
            var result = Copy((ulong)pinned, _base + offset, length);
            signal = result.Signal == 0 && length < (ulong)destination.Length ? SigSegv : (int)result.Signal;
            return (int)result.Value;
        }
    }

    /// <summary>Copies into the window; returns the bytes copied.</summary>
    public int Write(ulong offset, ReadOnlySpan<byte> source) => Write(offset, source, out _);

    /// <summary>As <see cref="Write(ulong, ReadOnlySpan{byte})"/>, with the host signal of the fault that stopped it, or 0.</summary>
    public int Write(ulong offset, ReadOnlySpan<byte> source, out int signal)
    {
        var length = Bounded(offset, (ulong)source.Length);
        fixed (byte* pinned = source)
        {
            var result = Copy(_base + offset, (ulong)pinned, length);
            signal = result.Signal == 0 && length < (ulong)source.Length ? SigSegv : (int)result.Signal;
            return (int)result.Value;
        }
    }

    /// <summary>Copies to another window (or elsewhere in this one, where the ranges must not overlap); returns the bytes copied, less than
    /// asked where either side faulted.</summary>
    public ulong CopyTo(ulong offset, MemoryWindow destination, ulong destinationOffset, ulong length)
    {
        length = destination.Bounded(destinationOffset, Bounded(offset, length));
        return Copy(destination._base + destinationOffset, _base + offset, length).Value;
    }

    /// <summary>Fills with zero; returns the bytes done.</summary>
    public ulong Clear(ulong offset, ulong length)
    {
        length = Bounded(offset, length);
        if (length == 0) return 0;
        return length <= DirectLimit
            ? _stubs.Clear(_base + offset, length).Value
            : ((delegate* unmanaged<ulong, ulong, CopyStubs.Result>)_stubs.Clear)(_base + offset, length).Value;
    }

    /// <summary>Length of the NUL-terminated string at <paramref name="offset"/> copied (without NUL) into the buffer; -14 (EFAULT) where
    /// memory faults, -36 (ENAMETOOLONG) where no NUL is among the first buffer.Length bytes. The rest of the buffer may be overwritten.</summary>
    public int ReadCString(ulong offset, Span<byte> buffer)
    {
        var done = 0;
        var chunk = 64;
        while (done < buffer.Length)
        {
            var at = offset + (ulong)done;
            // Never past the page of a byte that is needed: what follows the string may be unmapped.
            var take = Math.Min(Math.Min(chunk, (int)(PageSize - (at & (PageSize - 1)))), buffer.Length - done);
            var piece = buffer.Slice(done, take);
            if (Read(at, piece) != take) return -EFault;
            var end = piece.IndexOf((byte)0);
            if (end >= 0) return done + end;
            done += take;
            chunk = 1024;
        }
        return -ENameTooLong;
    }

    private ulong Bounded(ulong offset, ulong length) => offset >= _size ? 0 : Math.Min(length, _size - offset);

    private CopyStubs.Result Copy(ulong to, ulong from, ulong length)
    {
        if (length == 0) return default;
        return length <= DirectLimit
            ? _stubs.Copy(to, from, length)
            : ((delegate* unmanaged<ulong, ulong, ulong, CopyStubs.Result>)_stubs.Copy)(to, from, length);
    }
}
