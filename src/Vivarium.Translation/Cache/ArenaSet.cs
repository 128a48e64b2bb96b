using System.Collections.Concurrent;

namespace Vivarium.Translation.Cache;

/// <summary>The arenas that hold one engine's code: they go back to the cache when its address space does (a process ends or executes).</summary>
/// <remarks>Thread-safe.</remarks>
internal sealed class ArenaSet(CodeCache cache) : IDisposable
{
    private readonly ConcurrentBag<CodeArena> _open = [];
    private readonly List<CodeArena> _all = [];
    private bool _disposed;

    /// <summary>An arena for one thread to fill, with at least <paramref name="room"/> bytes; null when the cache is full.</summary>
    public CodeArena? Take(int room)
    {
        while (_open.TryTake(out CodeArena? open))
        {
            if (open.Remaining < room) continue;
            open.IsFilling = true;
            return open;
        }
        CodeArena? fresh = cache.TakeArena();
        if (fresh == null) return null;
        fresh.IsFilling = true;
        lock (_all)
        {
            fresh.IsFirst = _all.Count == 0;
            _all.Add(fresh);
        }
        return fresh;
    }

    /// <summary>Some arena waits to be filled.</summary>
    public bool HasRoom => !_open.IsEmpty;

    /// <summary>Takes the oldest eighth of the full arenas out of the set: nothing new goes into them.</summary>
    public List<CodeArena> TakeOldest()
    {
        lock (_all)
        {
            List<CodeArena> oldest = [];
            foreach (CodeArena arena in _all)
            {
                if (arena.IsFilling || _open.Contains(arena)) continue;
                oldest.Add(arena);
                if (oldest.Count * 8 >= _all.Count) break;
            }
            return oldest;
        }
    }

    /// <summary>An arena that <see cref="TakeOldest"/> gave out is empty again: it becomes the youngest.</summary>
    public void Reopen(CodeArena arena)
    {
        lock (_all)
        {
            if (_disposed) return;
            _all.Remove(arena);
            _all.Add(arena);
            _open.Add(arena);
        }
    }

    /// <summary>The thread fills another engine's arena now.</summary>
    public void Return(CodeArena arena)
    {
        lock (_all)
        {
            // After Dispose the arena may be another set's already.
            if (_disposed) return;
            arena.IsFilling = false;
            _open.Add(arena);
        }
    }

    /// <summary>Gives everything back. No thread runs code of this engine any more.</summary>
    public void Dispose()
    {
        lock (_all)
        {
            if (_disposed) return;
            _disposed = true;
            foreach (CodeArena arena in _all)
            {
                arena.IsFilling = false;
                cache.GiveBack(arena);
            }
            _all.Clear();
        }
    }
}
