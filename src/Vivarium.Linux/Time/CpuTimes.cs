using System.Buffers.Binary;
using System.Buffers.Text;
using Vivarium.Host;

namespace Vivarium.Linux.Time;

/// <summary>CPU time in nanoseconds, as the host divides it: a guest's code and our own on its behalf are user time, the host's kernel is
/// system time.</summary>
public readonly record struct CpuTimes(long User, long System)
{
    private const long Tick = 10_000_000;

    public long Total => User + System;

    public static CpuTimes operator +(CpuTimes a, CpuTimes b) => new(a.User + b.User, a.System + b.System);

    /// <summary>The calling host thread's.</summary>
    public static CpuTimes OfCurrentThread()
    {
        var buffer = HostBuffer.Current;
        HostSyscall.InvokeFast(98 /* getrusage */, 1 /* RUSAGE_THREAD */, buffer.Address);
        long At(int offset) => BinaryPrimitives.ReadInt64LittleEndian(buffer.Bytes[offset..]);
        return new CpuTimes(At(0) * 1_000_000_000 + At(8) * 1000, At(16) * 1_000_000_000 + At(24) * 1000);
    }

    /// <summary>System time of another host thread of this process, to the clock tick; 0 when it is gone.</summary>
    public static long SystemOf(int hostThread)
    {
        var text = Read(hostThread);
        // state is field 3, stime field 15.
        for (int field = 3; field < 15; field++) text = text[(text.IndexOf((byte)' ') + 1)..];
        return Utf8Parser.TryParse(text, out long ticks, out _) ? ticks * Tick : 0;
    }

    /// <summary>The letter for what it does (proc_pid_stat(5)): R, S, D...; 'R' when it is gone.</summary>
    public static char StateOf(int hostThread) => Read(hostThread) is { IsEmpty: false } text ? (char)text[0] : 'R';

    // /proc/self/task/TID/stat behind the name in parentheses, which may hold anything. Valid until the buffer is used again.
    private static ReadOnlySpan<byte> Read(int hostThread)
    {
        var buffer = HostBuffer.Current;
        Span<byte> path = buffer.Bytes[..64];
        "/proc/self/task/"u8.CopyTo(path);
        Utf8Formatter.TryFormat(hostThread, path[16..], out int digits);
        "/stat\0"u8.CopyTo(path[(16 + digits)..]);
        long descriptor = HostSyscall.Invoke(2 /* open */, buffer.Address, 0x80000 /* O_CLOEXEC */);
        if (descriptor < 0) return default;
        long length = HostSyscall.Invoke(0 /* read */, descriptor, buffer.Address, HostBuffer.Size);
        HostSyscall.Invoke(3 /* close */, descriptor);
        if (length <= 0) return default;
        ReadOnlySpan<byte> text = buffer.Bytes[..(int)length];
        return text[Math.Min(text.Length, text.LastIndexOf((byte)')') + 2)..];
    }
}
