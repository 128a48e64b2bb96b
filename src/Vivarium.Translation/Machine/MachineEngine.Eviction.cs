using System.Diagnostics;
using System.Runtime.InteropServices;
using Vivarium.Translation.Cache;

namespace Vivarium.Translation.Machine;

// Room in a full code cache, as in process mode: the oldest arenas are taken out of service block by block, and used again once every hart has been in the
// dispatcher since. Only there does a hart's thread hold no address inside an arena.
public sealed unsafe partial class MachineEngine
{
    private const int DrainMilliseconds = 200;

    private readonly Lock _evictLock = new();
    private readonly List<(CodeArena Arena, long Epoch)> _draining = [];
    private long _epoch = 1;

    /// <summary>Makes room by dropping the oldest code. The calling thread must hold no address of translated code. False where nothing could be dropped, or
    /// where some hart did not leave the old code in time.</summary>
    private bool Evict(HartCode code)
    {
        Volatile.Write(ref code.Epoch, 0);
        try
        {
            lock (_evictLock)
            {
                if (_arenas.HasRoom) return true; // another hart did it
                if (_draining.Count == 0) RetireOldest();
                return Drain();
            }
        }
        finally
        {
            Interlocked.Exchange(ref code.Epoch, Volatile.Read(ref _epoch));
        }
    }

    private void RetireOldest()
    {
        List<CodeArena> victims = _arenas.TakeOldest();
        if (victims.Count == 0) return;
        lock (_lock)
        {
            var pages = new HashSet<ulong>();
            foreach (CodeArena arena in victims)
            {
                foreach (nint pointer in arena.Blocks)
                {
                    var block = (BlockHeader*)pointer;
                    if (block->Dead != 0) continue;
                    Kill(block);
                    if (block->Fallback != null) continue; // a region, which is in no page's list
                    pages.Add(block->Physical - _bus.RamBase >> 12);
                }
                Statistics.Evictions++;
            }
            foreach (ulong page in pages) ForgetDead(page);
        }
        long epoch = Interlocked.Increment(ref _epoch);
        foreach (CodeArena arena in victims) _draining.Add((arena, epoch));
    }

    /// <summary>Takes dead blocks out of their page's list. Stores to the page go on dropping what is left.</summary>
    private void ForgetDead(ulong page)
    {
        ref nint head = ref CollectionsMarshal.GetValueRefOrNullRef(_pages, page);
        if (System.Runtime.CompilerServices.Unsafe.IsNullRef(ref head)) return;
        nint alive = 0;
        for (var block = (BlockHeader*)head; block != null;)
        {
            BlockHeader* next = block->NextInPage0;
            if (block->Dead == 0)
            {
                block->NextInPage0 = (BlockHeader*)alive;
                alive = (nint)block;
            }
            block = next;
        }
        head = alive;
        if (alive == 0) _pages.Remove(page);
    }

    /// <summary>Waits until no hart is inside the retired arenas, and opens them again.</summary>
    private bool Drain()
    {
        if (_draining.Count == 0) return false;
        long newest = _draining[^1].Epoch;
        Interlocked.MemoryBarrierProcessWide(); // stands for the fence that harts do without when they come in
        long deadline = Stopwatch.GetTimestamp() + Stopwatch.Frequency * DrainMilliseconds / 1000;
        for (bool kicked = false; ; kicked = true)
        {
            bool quiet = true;
            foreach (HartCode hart in Volatile.Read(ref _harts))
            {
                long epoch = Volatile.Read(ref hart.Epoch);
                if (epoch == 0 || epoch >= newest) continue;
                quiet = false;
                hart.Presence.Leave();
                if (!kicked) hart.Host?.Kick();
            }
            if (quiet) break;
            if (Stopwatch.GetTimestamp() > deadline) return false;
            Thread.Yield();
        }
        foreach ((CodeArena arena, _) in _draining)
        {
            arena.Clear();
            _arenas.Reopen(arena);
        }
        _draining.Clear();
        return true;
    }
}
