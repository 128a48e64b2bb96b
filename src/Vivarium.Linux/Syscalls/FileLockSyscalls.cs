using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>F_GETLK, F_SETLK, F_SETLKW: from struct flock to <see cref="RecordLocks"/>.</summary>
internal static class FileLockSyscalls
{
    private const int GetLk = 5, SetLkW = 7;
    private const short ReadLock = 0, WriteLock = 1, Unlock = 2;

    public static long Control(GuestThread thread, OpenFile file, int command, ulong argument)
    {
        // struct flock: type 0 (2), whence 2 (2), start 8, len 16, pid 24; 32 bytes.
        Span<byte> flock = stackalloc byte[32];
        if (thread.Get(argument, flock) < 0) return -Errno.EFAULT;
        short type = BinaryPrimitives.ReadInt16LittleEndian(flock), whence = BinaryPrimitives.ReadInt16LittleEndian(flock[2..]);
        long start = BinaryPrimitives.ReadInt64LittleEndian(flock[8..]), length = BinaryPrimitives.ReadInt64LittleEndian(flock[16..]);
        if (type is not (ReadLock or WriteLock or Unlock)) return -Errno.EINVAL;
        long status = FileStat.OfDescriptor(file.HostDescriptor, out var stat);
        if (status < 0) return status;

        long from = whence switch { 0 => 0, 1 => HostSyscall.Invoke(HostCall.LSeek, file.HostDescriptor, 0, 1), 2 => stat.Size, _ => -1 };
        if (from < 0) return whence is 1 ? from : -Errno.EINVAL;
        if (start > 0 && from > long.MaxValue - start) return -Errno.EOVERFLOW;
        start += from;
        if (start < 0) return -Errno.EINVAL;
        long end = long.MaxValue;
        if (length > 0)
        {
            if (start > long.MaxValue - (length - 1)) return -Errno.EOVERFLOW;
            end = start + length - 1;
        }
        else if (length < 0)
        {
            if (start + length < 0) return -Errno.EINVAL;
            end = start - 1;
            start += length;
        }

        var key = (stat.Device, stat.Inode);
        var locks = thread.Process.Fs.Space.Locks;
        var wanted = new RecordLocks.Range(start, end, type == WriteLock, thread.Process);
        if (command == GetLk)
        {
            if (type == Unlock) return -Errno.EINVAL;
            if (locks.Conflict(key, wanted) is not { } other)
            {
                BinaryPrimitives.WriteInt16LittleEndian(flock, Unlock);
                return thread.Put(argument, flock);
            }
            BinaryPrimitives.WriteInt16LittleEndian(flock, other.Exclusive ? WriteLock : ReadLock);
            BinaryPrimitives.WriteInt16LittleEndian(flock[2..], 0);
            BinaryPrimitives.WriteInt64LittleEndian(flock[8..], other.Start);
            BinaryPrimitives.WriteInt64LittleEndian(flock[16..], other.End == long.MaxValue ? 0 : other.End - other.Start + 1);
            BinaryPrimitives.WriteInt32LittleEndian(flock[24..], other.Owner.Pid);
            return thread.Put(argument, flock);
        }
        if (type == Unlock)
        {
            locks.Unset(key, thread.Process, start, end);
            return 0;
        }
        // The descriptor must be open for what the lock protects.
        int access = (int)HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, 3) & OpenFlags.AccessMode;
        if (type == ReadLock && access == OpenFlags.WriteOnly || type == WriteLock && access == OpenFlags.ReadOnly) return -Errno.EBADF;
        return locks.Set(thread, key, wanted, command == SetLkW);
    }

    /// <summary>POSIX: closing any descriptor of a file gives back all locks that the process has on it.</summary>
    public static void Closing(GuestProcess process, int fd)
    {
        var file = process.Files.Acquire(fd);
        if (file == null) return;
        if (FileStat.OfDescriptor(file.HostDescriptor, out var stat) == 0) process.Fs.Space.Locks.Unset((stat.Device, stat.Inode), process, 0, long.MaxValue);
        file.Release();
    }
}
