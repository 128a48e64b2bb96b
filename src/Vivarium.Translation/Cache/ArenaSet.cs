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
            if (open.Remaining >= room) return open;
        }
        CodeArena? fresh = cache.TakeArena();
        if (fresh == null) return null;
        lock (_all) _all.Add(fresh);
        return fresh;
    }

    /// <summary>The thread fills another engine's arena now.</summary>
    public void Return(CodeArena arena)
    {
        lock (_all)
        {
            if (!_disposed) _open.Add(arena);
        }
    }

    /// <summary>Gives everything back. No thread runs code of this engine any more.</summary>
    public void Dispose()
    {
        lock (_all)
        {
            if (_disposed) return;
            _disposed = true;
            foreach (CodeArena arena in _all) cache.GiveBack(arena);
            _all.Clear();
        }
    }
}
