using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Ptrace;

/// <summary><c>/proc/PID/mem</c>: a process's memory as a file, where offsets are addresses.</summary>
internal sealed class ProcessMemoryFile(string path, GuestProcess process) : SyntheticNode(path, FileType.Regular | 0x180)
{
    private const int Part = 4096;

    /// <summary>read, write, pread and pwrite of an open file: the bytes moved, or negative errno.</summary>
    public long Transfer(GuestThread thread, OpenFile file, bool writes, long? offset, ulong buffer, ulong length)
    {
        var (mine, its) = (thread.Process.Credentials, process.Credentials);
        if (mine.EffectiveUid != 0 && mine.Uid != its.Uid) return -Errno.EACCES;
        int access = (int)HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, 3 /* F_GETFL */) & OpenFlags.AccessMode;
        if (access == (writes ? OpenFlags.ReadOnly : OpenFlags.WriteOnly)) return -Errno.EBADF;
        // The host's file has nothing but the position.
        long position = offset ?? HostSyscall.Invoke(HostCall.LSeek, file.HostDescriptor, 0, 1);
        if (position < 0) return position;
        if (process.HasEnded) return 0;
        Span<byte> part = stackalloc byte[Part];
        ulong done = 0;
        while (done < length)
        {
            int count = (int)Math.Min(length - done, Part), moved;
            ulong address = (ulong)position + done;
            if (writes)
            {
                if (!thread.Window.TryReadBytes(buffer + done, part[..count])) return done > 0 ? (long)done : -Errno.EFAULT;
                moved = process.Memory.Poke(address, part[..count]);
            }
            else
            {
                moved = process.Memory.Peek(address, part[..count]);
                if (!thread.Window.TryWriteBytes(buffer + done, part[..moved])) return done > 0 ? (long)done : -Errno.EFAULT;
            }
            done += (ulong)moved;
            if (moved < count) break;
        }
        if (done == 0 && length > 0) return -Errno.EIO;
        if (offset == null) HostSyscall.Invoke(HostCall.LSeek, file.HostDescriptor, position + (long)done, 0);
        return (long)done;
    }
}
