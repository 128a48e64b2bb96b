using System.Numerics;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>A process's descriptors: small numbers for open file descriptions, each with its close-on-exec flag.</summary>
/// <remarks>
/// Thread-safe. Look-ups take no lock and allocate nothing: a slot is read, its file acquired, and the slot read again. Changes take
/// the table's lock, which is a leaf: nothing blocks or calls out with it held.
/// </remarks>
public sealed partial class FileTable
{
    /// <summary>fs.nr_open: no RLIMIT_NOFILE allows more.</summary>
    public const int Maximum = 1 << 20;

    private readonly Lock _lock = new();
    private OpenFile?[] _files = new OpenFile?[64];
    private ulong[] _used = new ulong[1];
    private ulong[] _closeOnExec = new ulong[1];

    /// <summary>0, 1 and 2 are the host process's.</summary>
    public static FileTable CreateWithStandardStreams()
    {
        var table = new FileTable();
        for (int fd = 0; fd < 3; fd++)
        {
            // A copy, so that a guest that closes its stdout leaves viv's own standing. F_DUPFD_CLOEXEC.
            long copy = HostSyscall.Invoke(HostCall.FCntl, fd, 1030, 3);
            if (copy >= 0) table.Set(fd, new OpenFile((int)copy), false);
        }
        return table;
    }

    /// <summary>The file behind <paramref name="fd"/> with a reference for the caller (who calls <see cref="OpenFile.Release"/>), or null.</summary>
    public OpenFile? Acquire(int fd)
    {
        for (;;)
        {
            var files = Volatile.Read(ref _files);
            if ((uint)fd >= (uint)files.Length) return null;
            var file = Volatile.Read(ref files[fd]);
            if (file == null) return null;
            if (!file.TryAcquire()) continue;
            if (ReferenceEquals(Volatile.Read(ref Volatile.Read(ref _files)[fd]), file)) return file;
            file.Release();
        }
    }

    /// <summary>Gives <paramref name="file"/> (the caller's reference moves into the slot) the lowest free number from <paramref name="minimum"/>
    /// on; -EMFILE when that is not below <paramref name="limit"/> (the reference stays the caller's then).</summary>
    public int Install(OpenFile file, bool closeOnExec, ulong limit, int minimum = 0)
    {
        int end = (int)Math.Min(limit, Maximum);
        lock (_lock)
        {
            int fd = FirstFree(minimum);
            if (fd >= end) return -Errno.EMFILE;
            Grow(fd);
            Put(fd, file, closeOnExec);
            return fd;
        }
    }

    /// <summary>Puts <paramref name="file"/> (the reference moves) at a given number, which must be below <see cref="Maximum"/>. What was there is
    /// released.</summary>
    public void Set(int fd, OpenFile file, bool closeOnExec)
    {
        OpenFile? old;
        lock (_lock)
        {
            Grow(fd);
            old = _files[fd];
            Put(fd, file, closeOnExec);
        }
        old?.Release();
    }

    /// <summary>Closes one descriptor: the host's result of the last close, 0, or -EBADF.</summary>
    public long Close(int fd)
    {
        OpenFile? old;
        lock (_lock)
        {
            if ((uint)fd >= (uint)_files.Length || (old = _files[fd]) == null) return -Errno.EBADF;
            Remove(fd);
        }
        return old.Release();
    }

    /// <summary>close_range: closes, or marks close-on-exec, all descriptors from first to last.</summary>
    public void CloseRange(uint first, uint last, bool onlyMark)
    {
        for (long fd = first; fd <= last && fd < Volatile.Read(ref _files).Length; fd++)
        {
            if (onlyMark) SetCloseOnExec((int)fd, true);
            else Close((int)fd);
        }
    }

    /// <summary>FD_CLOEXEC, or null for a bad descriptor.</summary>
    public bool? IsCloseOnExec(int fd)
    {
        lock (_lock)
        {
            if ((uint)fd >= (uint)_files.Length || _files[fd] == null) return null;
            return (_closeOnExec[fd >> 6] >> fd & 1) != 0;
        }
    }

    /// <summary>Sets FD_CLOEXEC; false for a bad descriptor.</summary>
    public bool SetCloseOnExec(int fd, bool value)
    {
        lock (_lock)
        {
            if ((uint)fd >= (uint)_files.Length || _files[fd] == null) return false;
            if (value) _closeOnExec[fd >> 6] |= 1UL << fd;
            else _closeOnExec[fd >> 6] &= ~(1UL << fd);
            return true;
        }
    }

    /// <summary>The numbers in use, ascending.</summary>
    public List<int> Numbers()
    {
        var numbers = new List<int>();
        lock (_lock)
        {
            for (int fd = 0; fd < _files.Length; fd++) if (_files[fd] != null) numbers.Add(fd);
        }
        return numbers;
    }

    /// <summary>For mmap: the host descriptor behind <paramref name="fd"/> (borrowed), the guest path for /proc/self/maps and the open flags (O_ACCMODE); negative errno.</summary>
    public int HostDescriptor(int fd, out int openFlags, out string path)
    {
        openFlags = 0;
        path = "";
        var file = Acquire(fd);
        if (file == null) return -Errno.EBADF;
        openFlags = (int)HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, 3);
        path = file.Path;
        int host = file.HostDescriptor;
        file.Release();
        return (openFlags & OpenFlags.Path) != 0 ? -Errno.EBADF : host;
    }

    /// <summary>A copy for fork.</summary>
    public FileTable Clone()
    {
        var copy = new FileTable();
        lock (_lock)
        {
            copy._files = new OpenFile?[_files.Length];
            copy._used = (ulong[])_used.Clone();
            copy._closeOnExec = (ulong[])_closeOnExec.Clone();
            for (int fd = 0; fd < _files.Length; fd++)
            {
                var file = _files[fd];
                if (file == null) continue;
                file.TryAcquire();
                copy._files[fd] = file;
            }
        }
        return copy;
    }

    /// <summary>execve: closes what is close-on-exec.</summary>
    public void CloseOnExec()
    {
        for (int fd = 0; fd < Volatile.Read(ref _files).Length; fd++)
        {
            if (IsCloseOnExec(fd) == true) Close(fd);
        }
    }

    /// <summary>The process is gone.</summary>
    public void CloseAll() => CloseRange(0, uint.MaxValue, false);

    private int FirstFree(int minimum)
    {
        for (int word = minimum >> 6; word < _used.Length; word++)
        {
            ulong used = _used[word];
            if (word == minimum >> 6) used |= (1UL << minimum) - 1;
            if (used != ulong.MaxValue) return word * 64 + BitOperations.TrailingZeroCount(~used);
        }
        return Math.Max(minimum, _used.Length * 64);
    }

    private void Grow(int fd)
    {
        if (fd < _files.Length) return;
        int size = Math.Max(_files.Length * 2, (fd | 63) + 1);
        var files = new OpenFile?[size];
        Array.Copy(_files, files, _files.Length);
        Array.Resize(ref _used, size / 64);
        Array.Resize(ref _closeOnExec, size / 64);
        Volatile.Write(ref _files, files);
    }

    private void Put(int fd, OpenFile file, bool closeOnExec)
    {
        Volatile.Write(ref _files[fd], file);
        _used[fd >> 6] |= 1UL << fd;
        if (closeOnExec) _closeOnExec[fd >> 6] |= 1UL << fd;
        else _closeOnExec[fd >> 6] &= ~(1UL << fd);
    }

    private void Remove(int fd)
    {
        Volatile.Write(ref _files[fd], null);
        _used[fd >> 6] &= ~(1UL << fd);
        _closeOnExec[fd >> 6] &= ~(1UL << fd);
    }
}
