using Vivarium.Host;

namespace Vivarium.Linux;

/// <summary>A process's RLIMIT_* pairs, soft and hard; <see cref="ulong.MaxValue"/> is infinity. Kept per guest, enforced by our own code.</summary>
/// <remarks>Single entries are read and written without a lock, as prlimit64 of another process races in Linux too.</remarks>
public sealed class ResourceLimits
{
    public const int Cpu = 0, FileSize = 1, Data = 2, Stack = 3, Core = 4, Rss = 5, Processes = 6, OpenFiles = 7, LockedMemory = 8,
        AddressSpace = 9, Locks = 10, SignalsPending = 11, MessageQueue = 12, Nice = 13, RealTimePriority = 14, RealTimeTime = 15, Count = 16;

    private readonly ulong[] _soft = new ulong[Count];
    private readonly ulong[] _hard = new ulong[Count];

    public ulong Soft(int resource) => Volatile.Read(ref _soft[resource]);
    public ulong Hard(int resource) => Volatile.Read(ref _hard[resource]);

    public void Set(int resource, ulong soft, ulong hard)
    {
        Volatile.Write(ref _soft[resource], soft);
        Volatile.Write(ref _hard[resource], hard);
    }

    public ResourceLimits Clone()
    {
        var copy = new ResourceLimits();
        for (int i = 0; i < Count; i++) copy.Set(i, Soft(i), Hard(i));
        return copy;
    }

    /// <summary>What a login shell sees: everything unlimited but the stack (8 MiB), core files (none) and descriptors (1024 of 1048576).</summary>
    public static ResourceLimits FromHost()
    {
        var limits = new ResourceLimits();
        for (int i = 0; i < Count; i++) limits.Set(i, ulong.MaxValue, ulong.MaxValue);
        limits.Set(Stack, 8 << 20, ulong.MaxValue);
        limits.Set(Core, 0, ulong.MaxValue);
        limits.Set(OpenFiles, 1024, 1 << 20);
        limits.Set(LockedMemory, 8 << 20, 8 << 20);
        limits.Set(MessageQueue, 819200, 819200);
        limits.Set(Nice, 0, 0);
        limits.Set(RealTimePriority, 0, 0);
        return limits;
    }
}
