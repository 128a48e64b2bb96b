using Vivarium.Images.Host;

namespace Vivarium.Images;

/// <summary>A directory for unfinished work, removed at the end, or by the next one where its process died.</summary>
internal sealed class WorkArea : IDisposable
{
    private readonly FileLock _lock;

    private WorkArea(string directory, FileLock held)
    {
        Directory = directory;
        _lock = held;
    }

    public string Directory { get; }

    public string PathOf(string name) => Path.Combine(Directory, name);

    /// <summary>Begins work and removes what dead processes left. Takes the store's lock.</summary>
    public static WorkArea Begin(StoreLayout store)
    {
        using var held = FileLock.Acquire(store.LockFile, shared: false);
        var left = System.IO.Directory.EnumerateDirectories(store.Work)
            .Concat(System.IO.Directory.EnumerateFiles(store.Work, "*.lock").Select(file => file[..^".lock".Length])).Distinct().ToList();
        foreach (string old in left)
        {
            using var dead = FileLock.TryAcquire(old + ".lock", shared: false);
            if (dead is null)
                continue;
            HostFiles.RemoveTree(old);
            File.Delete(old + ".lock");
        }

        string directory = Path.Combine(store.Work, $"{Environment.ProcessId}-{Guid.NewGuid():N}");
        var mine = FileLock.Acquire(directory + ".lock", shared: false);
        System.IO.Directory.CreateDirectory(directory);
        return new WorkArea(directory, mine);
    }

    public void Dispose()
    {
        try
        {
            // The lock's file goes last: a directory without one counts as left by the dead.
            HostFiles.RemoveTree(Directory);
            File.Delete(Directory + ".lock");
        }
        catch (Exception e) when (e is ImageException or IOException or UnauthorizedAccessException)
        {
            // What stays is removed by the next work: the lock goes with this process.
        }

        _lock.Dispose();
    }
}
