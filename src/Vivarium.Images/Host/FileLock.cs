namespace Vivarium.Images.Host;

/// <summary>A lock between processes on a file of its own (flock): gone with the process, so never stale.</summary>
internal sealed class FileLock : IDisposable
{
    private readonly Descriptor _file;

    private FileLock(Descriptor file) => _file = file;

    /// <summary>Waits for the lock.</summary>
    public static FileLock Acquire(string path, bool shared) => Acquire(path, shared, wait: true)!;

    /// <summary>Takes the lock where nobody else has it.</summary>
    public static FileLock? TryAcquire(string path, bool shared) => Acquire(path, shared, wait: false);

    public void Dispose() => _file.Dispose();

    private static FileLock? Acquire(string path, bool shared, bool wait)
    {
        var file = Descriptor.Open(path, Libc.O_RDWR | Libc.O_CREAT, 0x1a4);
        int operation = (shared ? Libc.LOCK_SH : Libc.LOCK_EX) | (wait ? 0 : Libc.LOCK_NB);
        while (Libc.FLock(file.Number, operation) < 0)
        {
            int errno = Libc.Errno;
            if (errno == Libc.EINTR)
                continue;
            file.Dispose();
            if (errno == Libc.EWOULDBLOCK)
                return null;
            throw new ImageException($"cannot lock '{path}': {Libc.Message(errno)}");
        }

        return new FileLock(file);
    }
}
