using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>Which guest descriptors an epoll set watches. Linux keeps them by descriptor number and file; the host knows only one descriptor per
/// file, so a further number for the same file gets a duplicate of the host descriptor.</summary>
/// <remarks>Thread-safe; its lock is held over the host's epoll_ctl, which does not block.</remarks>
internal sealed class EPollSet
{
    private const int Add = 1, Delete = 2, DuplicateCloseOnExec = 1030;

    private readonly Lock _lock = new();
    private readonly Dictionary<int, (OpenFile File, int Host)> _watched = [];

    /// <summary>epoll_ctl with a host event at <paramref name="record"/>: 0 or negative errno.</summary>
    public long Control(int set, int operation, int fd, OpenFile file, long record)
    {
        lock (_lock)
        {
            // A number that was closed and means another file now is not watched any more.
            bool known = _watched.TryGetValue(fd, out var watched) && ReferenceEquals(watched.File, file);
            if (operation != Add)
            {
                if (!known) return -Errno.ENOENT;
                long status = HostSyscall.Invoke(HostCall.EPollCtl, set, operation, watched.Host, record);
                if (operation == Delete) Forget(fd, watched);
                return status;
            }
            if (known) return -Errno.EEXIST;
            int host = file.HostDescriptor;
            long added = HostSyscall.Invoke(HostCall.EPollCtl, set, Add, host, record);
            if (added == -Errno.EEXIST)
            {
                host = (int)HostSyscall.Invoke(HostCall.FCntl, host, DuplicateCloseOnExec, 3);
                if (host < 0) return host;
                added = HostSyscall.Invoke(HostCall.EPollCtl, set, Add, host, record);
                if (added < 0) HostSyscall.Invoke(HostCall.Close, host);
                else file.AddDuplicate(host);
            }
            if (added == 0) _watched[fd] = (file, host);
            return added;
        }
    }

    private void Forget(int fd, (OpenFile File, int Host) watched)
    {
        _watched.Remove(fd);
        if (watched.Host != watched.File.HostDescriptor) watched.File.CloseDuplicate(watched.Host);
    }
}
