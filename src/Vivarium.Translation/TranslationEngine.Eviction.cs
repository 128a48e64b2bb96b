using Vivarium.Translation.Dispatch;
using System.Diagnostics;
using Vivarium.Host;
using Vivarium.Translation.Cache;

namespace Vivarium.Translation;

// Room in a full code cache. The engine's oldest arenas are taken out of service block by block, and used again once every thread has
// been in the dispatcher since: only there does a thread hold no address inside an arena. Threads in long chains are kicked out.
public sealed unsafe partial class TranslationEngine
{
    private const int DrainMilliseconds = 200;

    /// <summary>One thread's presence in this engine.</summary>
    private sealed class RunSlot(TranslationEngine owner)
    {
        public readonly TranslationEngine Owner = owner;
        public readonly HostThread Host = HostThread.Current;
        public readonly Thread Thread = Thread.CurrentThread;

        /// <summary>The engine's epoch when the thread last held no address of translated code; 0 while it is not in the engine.</summary>
        public long Epoch;

        private readonly GuestPresence _presence = new();

        public ulong LeaveCell => _presence.LeaveCell;

        public void Stay() => _presence.Stay();

        public void Leave() => _presence.Leave();

        public void LeaveRegion() => _presence.LeaveRegion();

        public ulong Region => _presence.Region;

        public ulong Sample() => _presence.Sample(Host, ref Epoch);

        public void LeaveEngine() => _presence.LeaveEngine(ref Epoch);

        public void Free() => _presence.Free();
    }

    [ThreadStatic] private static RunSlot? t_slot;

    private readonly List<RunSlot> _slots = [];
    private readonly Lock _evictLock = new();
    private readonly List<(CodeArena Arena, long Epoch)> _draining = [];
    private long _epoch = 1;

    /// <summary>The calling thread's slot, entered.</summary>
    private RunSlot EnterSlot()
    {
        RunSlot? slot = t_slot;
        if (slot == null || slot.Owner != this) slot = NewSlot();
        // Whoever evicts makes all threads of the process pass a barrier: it sees this thread, or this thread sees what was taken out of service.
        Volatile.Write(ref slot.Epoch, Volatile.Read(ref _epoch));
        return slot;
    }

    private RunSlot NewSlot()
    {
        lock (_slots)
        {
            RunSlot? mine = _slots.Find(static s => s.Thread == Thread.CurrentThread);
            if (mine == null)
            {
                _slots.RemoveAll(static s =>
                {
                    if (s.Thread.IsAlive) return false;
                    s.Free();
                    return true;
                });
                _slots.Add(mine = new RunSlot(this));
            }
            return t_slot = mine;
        }
    }

    /// <summary>Makes room by dropping the oldest code. The calling thread must hold no address of translated code. False where nothing could be
    /// dropped, or where some thread did not leave the old code in time.</summary>
    private bool Evict()
    {
        RunSlot slot = t_slot!;
        Volatile.Write(ref slot.Epoch, 0);
        try
        {
            lock (_evictLock)
            {
                if (_arenas.HasRoom) return true; // somebody else did it
                if (_draining.Count == 0) RetireOldest();
                return Drain();
            }
        }
        finally
        {
            Interlocked.Exchange(ref slot.Epoch, Volatile.Read(ref _epoch));
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
                    if (block->Dead == 0) Kill(block);
                    pages.Add(block->Page0);
                    pages.Add(block->Page1);
                }
                Statistics.Evictions++;
            }
            foreach (ulong page in pages) DropInPage(page, 0, 0, static (_, _) => false);
        }
        long epoch = Interlocked.Increment(ref _epoch);
        foreach (CodeArena arena in victims) _draining.Add((arena, epoch));
    }

    /// <summary>Waits until no thread is inside the retired arenas, and opens them again.</summary>
    private bool Drain()
    {
        if (_draining.Count == 0) return false;
        long newest = _draining[^1].Epoch;
        Interlocked.MemoryBarrierProcessWide(); // stands for the fence that threads do without: see EnterSlot
        long deadline = Stopwatch.GetTimestamp() + Stopwatch.Frequency * DrainMilliseconds / 1000;
        long kickAgain = 0;
        while (true)
        {
            // Again from time to time: one that came while the thread was in the dispatcher, about to enter what it had just found, had no effect.
            long now = Stopwatch.GetTimestamp();
            bool kick = now >= kickAgain, quiet = true;
            lock (_slots)
            {
                foreach (RunSlot slot in _slots)
                {
                    long epoch = Volatile.Read(ref slot.Epoch);
                    if (epoch == 0 || epoch >= newest) continue;
                    quiet = false;
                    slot.Leave();
                    if (kick) slot.Host.Kick();
                }
            }
            if (quiet) break;
            if (kick) kickAgain = now + Stopwatch.Frequency / 50;
            if (now > deadline) return false;
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
