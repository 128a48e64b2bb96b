using System.Runtime.InteropServices;

namespace Vivarium.Machine.Disks;

/// <summary>What a block device shows: a number of bytes that can be read, written and made durable.</summary>
/// <remarks>Calls return 0 or a negative errno. Offsets and lengths are checked by the caller against <see cref="Length"/>. One thread at a time
/// (the device's).</remarks>
public abstract class DiskImage : IDisposable
{
    /// <summary>Bytes.</summary>
    public abstract ulong Length { get; }

    /// <summary>Whether writes are refused.</summary>
    public abstract bool IsReadOnly { get; }

    /// <summary>Reads all of the destination.</summary>
    public abstract int Read(ulong offset, Span<byte> destination);

    /// <summary>Writes all of the source; durable after the next <see cref="Flush"/>.</summary>
    public abstract int Write(ulong offset, ReadOnlySpan<byte> source);

    /// <summary>Makes everything that was written before survive a crash of the host.</summary>
    public abstract int Flush();

    /// <summary>The contents are not needed any more; reading gives zeroes or what was there. Doing nothing is allowed.</summary>
    public abstract int Discard(ulong offset, ulong length);

    /// <summary>Makes the range read as zero.</summary>
    /// <param name="offset">First byte.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="mayDiscard">The space behind it may be given back.</param>
    public abstract int WriteZeroes(ulong offset, ulong length, bool mayDiscard);

    /// <summary>Writes what is left to write and closes the files.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);

    /// <summary>Zeroes by writing them.</summary>
    protected int WriteZeroesSlowly(ulong offset, ulong length)
    {
        Span<byte> zeroes = new byte[(int)Math.Min(length, 1 << 20)];
        while (length > 0)
        {
            var piece = zeroes[..(int)Math.Min((ulong)zeroes.Length, length)];
            var result = Write(offset, piece);
            if (result != 0) return result;
            offset += (ulong)piece.Length;
            length -= (ulong)piece.Length;
        }
        return 0;
    }
}

/// <summary>A disk image that cannot be used; the message is one line for people.</summary>
public sealed class DiskException(string message) : Exception(message)
{
    internal static DiskException FromErrno(string action, string path, int errno) =>
        new($"cannot {action} disk '{path}': {Marshal.GetPInvokeErrorMessage(Math.Abs(errno))}");
}
