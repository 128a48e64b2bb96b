using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace Vivarium.Translation.Dispatch;

/// <summary>Words of a running thread that emitted code reads and signal handlers write: 64 bytes of native memory, which are used again but never
/// freed, because a sampling signal may come late.</summary>
internal static unsafe class SlotCells
{
    private static readonly ConcurrentBag<ulong> Free = [];

    public static ulong Take()
    {
        if (!Free.TryTake(out ulong cells)) cells = (ulong)NativeMemory.AlignedAlloc(64, 64);
        new Span<byte>((void*)cells, 64).Clear();
        return cells;
    }

    public static void Give(ulong cells) => Free.Add(cells);

    // SAFETY: cells come from Take.
    /// <summary>Non-zero asks regions to be left.</summary>
    public static ref long Leave(ulong cells) => ref *(long*)cells;

    /// <summary>What the last sample found; 0 for nothing.</summary>
    public static ref ulong HostPc(ulong cells) => ref *(ulong*)(cells + 8);

    /// <summary>Where a thread says in which region it is.</summary>
    public const int RegionOffset = 16;

    /// <summary>Address of <see cref="Cache.BlockHeader.Entries"/> of the region that the thread is in, or looks at; 0 for none.</summary>
    public static ref ulong Region(ulong cells) => ref *(ulong*)(cells + RegionOffset);

    public static ulong HostPcAddress(ulong cells) => cells + 8;
}
