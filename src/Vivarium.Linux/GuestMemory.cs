using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Vivarium.Host;

namespace Vivarium.Linux;

/// <summary>A kernel <c>timespec</c>; the same on riscv64 and x86-64.</summary>
[StructLayout(LayoutKind.Sequential)]
public record struct Timespec(long Seconds, long Nanoseconds)
{
    /// <summary>Whether the kernel would accept it.</summary>
    public readonly bool IsValid => Seconds >= 0 && (ulong)Nanoseconds < 1_000_000_000;

    /// <summary>In nanoseconds, saturated at <see cref="long.MaxValue"/>.</summary>
    public readonly long ToNanoseconds() =>
        Seconds > 9_223_372_035 ? long.MaxValue : Seconds * 1_000_000_000 + Nanoseconds;

    public static Timespec FromNanoseconds(long nanoseconds) => new(nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
}

/// <summary>Structures and strings in guest memory. Every failure to access is a <c>false</c> or a negative errno.</summary>
public static class GuestMemory
{
    public static bool TryRead<T>(this MemoryWindow window, ulong address, out T value) where T : unmanaged
    {
        Unsafe.SkipInit(out value);
        var bytes = MemoryMarshal.AsBytes(new Span<T>(ref value));
        if (window.Read(address, bytes) == bytes.Length) return true;
        value = default;
        return false;
    }

    public static bool TryWrite<T>(this MemoryWindow window, ulong address, in T value) where T : unmanaged
    {
        var bytes = MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value));
        return window.Write(address, bytes) == bytes.Length;
    }

    public static bool TryWriteBytes(this MemoryWindow window, ulong address, ReadOnlySpan<byte> bytes) =>
        window.Write(address, bytes) == bytes.Length;

    public static bool TryReadBytes(this MemoryWindow window, ulong address, Span<byte> bytes) =>
        window.Read(address, bytes) == bytes.Length;

    /// <summary>A NUL-terminated string of at most <paramref name="limit"/> bytes; null where memory faults or it is longer
    /// (<paramref name="error"/> is the negative errno).</summary>
    public static string? ReadString(this MemoryWindow window, ulong address, int limit, out int error)
    {
        byte[] buffer = new byte[Math.Min(limit, 256)];
        for (;;)
        {
            int length = window.ReadCString(address, buffer);
            if (length >= 0)
            {
                error = 0;
                return Encoding.Latin1.GetString(buffer, 0, length);
            }
            if (length != -Errno.ENAMETOOLONG || buffer.Length >= limit)
            {
                error = length;
                return null;
            }
            buffer = new byte[Math.Min(limit, buffer.Length * 8)];
        }
    }
}
