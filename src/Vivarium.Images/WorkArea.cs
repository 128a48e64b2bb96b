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
        foreach (string left in System.IO.Directory.EnumerateDirectories(store.Work))
        {
            using var dead = FileLock.TryAcquire(Path.Combine(left, "lock"), shared: false);
            if (dead is not null)
                HostFiles.RemoveTree(left);
        }

        string directory = Path.Combine(store.Work, $"{Environment.ProcessId}-{Guid.NewGuid():N}");
        System.IO.Directory.CreateDirectory(directory);
        return new WorkArea(directory, FileLock.Acquire(Path.Combine(directory, "lock"), shared: false));
    }

    public void Dispose()
    {
        try
        {
            HostFiles.RemoveTree(Directory);
        }
        catch (ImageException)
        {
            // What stays is removed by the next work: the lock goes with this process.
        }

        _lock.Dispose();
    }
}
