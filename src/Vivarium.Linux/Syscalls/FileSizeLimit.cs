using Vivarium.Host;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>What bounds files: the size of a tmpfs (ENOSPC), and RLIMIT_FSIZE: no regular file may be made longer. Who tries gets SIGXFSZ and EFBIG, unless a part still fits.</summary>
internal static class FileSizeLimit
{
    /// <summary>Bytes of a write that may be done, or a negative errno.</summary>
    /// <param name="thread">Who writes.</param>
    /// <param name="file">To what.</param>
    /// <param name="offset">Where; negative is the file's own position.</param>
    /// <param name="length">How much.</param>
    public static long Clamp(GuestThread thread, OpenFile file, long offset, ulong length)
    {
        if (length != 0 && SpaceOf(file) is { } space)
        {
            length = space.Take(length);
            if (length == 0) return -Errno.ENOSPC;
        }
        ulong limit = thread.Process.Limits.Soft(ResourceLimits.FileSize);
        if (limit == ulong.MaxValue || length == 0 || !IsRegular(file, out ulong size)) return (long)length;
        ulong position = offset >= 0 ? (ulong)offset : (ulong)Math.Max(0, HostSyscall.Invoke(8 /* lseek */, file.HostDescriptor, 0, 1 /* SEEK_CUR */));
        if (offset < 0 && (HostSyscall.Invoke(72 /* fcntl */, file.HostDescriptor, 3 /* F_GETFL */) & 0x400 /* O_APPEND */) != 0) position = size;
        return position < limit ? (long)Math.Min(length, limit - position) : Exceeded(thread);
    }

    /// <summary>Whether a file may have this length: 0, or a negative errno with the signal sent.</summary>
    public static long Check(GuestThread thread, ulong length) =>
        length <= thread.Process.Limits.Soft(ResourceLimits.FileSize) ? 0 : Exceeded(thread);

    /// <summary>The bounded tmpfs that a file is in, or null.</summary>
    public static TemporarySpace? SpaceOf(OpenFile file) => file.Layer?.FileSystem is HostFileSystem { Space: { } space } ? space : null;

    private static long Exceeded(GuestThread thread)
    {
        thread.RaiseSelf(Signal.SIGXFSZ);
        return -Errno.EFBIG;
    }

    private static bool IsRegular(OpenFile file, out ulong size)
    {
        bool known = Memory.MappedFile.Stat(file.HostDescriptor, out var identity, out bool regular) == 0;
        size = identity.Size;
        return known && regular;
    }
}
