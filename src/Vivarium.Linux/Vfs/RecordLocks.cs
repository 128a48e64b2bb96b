namespace Vivarium.Linux.Vfs;

/// <summary>Record locks of fcntl (POSIX "advisory record locking"): ranges of a file owned by guest processes. The host's would belong to
/// viv as a whole, so the name space keeps them.</summary>
/// <remarks>Thread-safe; its lock is a leaf. Processes outside the realm do not see these locks (OFD locks and flock are the host's).</remarks>
internal sealed class RecordLocks
{
    /// <summary>A locked range; <paramref name="End"/> is the last byte.</summary>
    public readonly record struct Range(long Start, long End, bool Exclusive, GuestProcess Owner);

    private sealed class LockedFile
    {
        public readonly List<Range> Ranges = [];
        public readonly List<GuestThread> Waiters = [];
    }

    private readonly Lock _lock = new();
    private readonly Dictionary<(ulong Device, ulong Inode), LockedFile> _files = [];
    private readonly Dictionary<GuestProcess, GuestProcess> _waitsFor = [];

    /// <summary>The first lock of another process in the way of <paramref name="wanted"/>.</summary>
    public Range? Conflict((ulong, ulong) file, in Range wanted)
    {
        lock (_lock) return _files.TryGetValue(file, out var locked) ? Conflict(locked, wanted) : null;
    }

    private static Range? Conflict(LockedFile file, in Range wanted)
    {
        // The one that begins first, as F_GETLK tells it.
        Range? first = null;
        foreach (var range in file.Ranges)
        {
            if (range.Owner != wanted.Owner && range.Start <= wanted.End && wanted.Start <= range.End && (range.Exclusive || wanted.Exclusive)
                && !(first?.Start <= range.Start)) first = range;
        }
        return first;
    }

    /// <summary>Sets a lock: 0, -EAGAIN (somebody else's is in the way), -EDEADLK, or, when it may wait and a signal came, -ERESTARTSYS.</summary>
    public long Set(GuestThread thread, (ulong, ulong) key, in Range wanted, bool wait)
    {
        for (;;)
        {
            lock (_lock)
            {
                if (!_files.TryGetValue(key, out var file)) _files[key] = file = new LockedFile();
                file.Waiters.Remove(thread);
                if (Conflict(file, wanted) is not { } other)
                {
                    _waitsFor.Remove(wanted.Owner);
                    Replace(file, key, wanted.Owner, wanted.Start, wanted.End, wanted);
                    return 0;
                }
                if (!wait)
                {
                    Forget(key, file);
                    return -Errno.EAGAIN;
                }
                for (var owner = other.Owner; _waitsFor.TryGetValue(owner, out var next); owner = next)
                {
                    if (next == wanted.Owner) return -Errno.EDEADLK;
                }
                _waitsFor[wanted.Owner] = other.Owner;
                file.Waiters.Add(thread);
            }
            if (thread.Park() != -Errno.EINTR) continue;
            lock (_lock)
            {
                _waitsFor.Remove(wanted.Owner);
                if (_files.TryGetValue(key, out var file)) file.Waiters.Remove(thread);
            }
            return -Errno.ERESTARTSYS;
        }
    }

    /// <summary>Gives back what <paramref name="owner"/> has locked from start to end.</summary>
    public void Unset((ulong, ulong) key, GuestProcess owner, long start, long end)
    {
        lock (_lock) if (_files.TryGetValue(key, out var file)) Replace(file, key, owner, start, end, null);
    }

    /// <summary>The process is gone.</summary>
    public void ReleaseAll(GuestProcess owner)
    {
        if (Volatile.Read(ref owner.LockedFiles) == 0) return;
        lock (_lock)
        {
            foreach (var (key, file) in _files.ToArray()) Replace(file, key, owner, 0, long.MaxValue, null);
        }
    }

    // Cuts the owner's ranges out of start..end and puts a new one there, joined with its neighbours of the same kind.
    private void Replace(LockedFile file, (ulong, ulong) key, GuestProcess owner, long start, long end, Range? added)
    {
        bool had = false, freed = false;
        for (int i = file.Ranges.Count - 1; i >= 0; i--)
        {
            var range = file.Ranges[i];
            if (range.Owner != owner) continue;
            had = true;
            bool joins = added is { } one && one.Exclusive == range.Exclusive && (range.End == long.MaxValue || range.End + 1 >= one.Start) && (one.End == long.MaxValue || range.Start <= one.End + 1);
            if (joins)
            {
                added = added!.Value with { Start = Math.Min(added.Value.Start, range.Start), End = Math.Max(added.Value.End, range.End) };
                file.Ranges.RemoveAt(i);
                continue;
            }
            if (range.Start > end || range.End < start) continue;
            file.Ranges.RemoveAt(i);
            if (range.Start < start) file.Ranges.Add(range with { End = start - 1 });
            if (range.End > end) file.Ranges.Add(range with { Start = end + 1 });
            freed = true;
        }
        if (added is { } range2) file.Ranges.Add(range2);
        bool has = file.Ranges.Exists(range => range.Owner == owner);
        if (has != had) Interlocked.Add(ref owner.LockedFiles, has ? 1 : -1);
        if (freed) foreach (var waiter in file.Waiters) waiter.Unpark();
        Forget(key, file);
    }

    private void Forget((ulong, ulong) key, LockedFile file)
    {
        if (file.Ranges.Count == 0 && file.Waiters.Count == 0) _files.Remove(key);
    }
}
