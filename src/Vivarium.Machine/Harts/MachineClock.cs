using System.Diagnostics;

namespace Vivarium.Machine.Harts;

/// <summary>The machine's <c>mtime</c>: 10 MHz from the host's monotonic clock, starting at 0 when the machine is made.</summary>
/// <remarks>Thread-safe.</remarks>
public sealed class MachineClock
{
    /// <summary>Ticks per second.</summary>
    public const ulong Frequency = 10_000_000;

    internal const long NanosecondsPerTick = 100;

    private long _origin = Stopwatch.GetTimestamp() / NanosecondsPerTick * NanosecondsPerTick; // CLOCK_MONOTONIC in nanoseconds on Linux: whole ticks

    /// <summary><c>mtime</c> now.</summary>
    public ulong Ticks
    {
        get => (ulong)(Stopwatch.GetTimestamp() / NanosecondsPerTick - Volatile.Read(ref _origin) / NanosecondsPerTick);
        set => Volatile.Write(ref _origin, (Stopwatch.GetTimestamp() / NanosecondsPerTick - (long)value) * NanosecondsPerTick);
    }

    /// <summary>CLOCK_MONOTONIC in ticks when <see cref="Ticks"/> was 0. Ticks are that clock's less this. May be negative.</summary>
    public ulong Origin => (ulong)(Volatile.Read(ref _origin) / NanosecondsPerTick);

    /// <summary>CLOCK_MONOTONIC at which <see cref="Ticks"/> reaches a value; <see cref="long.MaxValue"/> where that is beyond all time.</summary>
    public long NanosecondsAt(ulong ticks)
    {
        var origin = Volatile.Read(ref _origin);
        return ticks > (ulong)(long.MaxValue - origin) / NanosecondsPerTick ? long.MaxValue : origin + (long)ticks * NanosecondsPerTick;
    }
}
