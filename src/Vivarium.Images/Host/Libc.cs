using System.Runtime.InteropServices;

namespace Vivarium.Images.Host;

/// <summary>The file calls of Linux relative to directory descriptors, with names as bytes: what .NET's own file API lacks.
/// Every name ends in a zero byte.</summary>
internal static partial class Libc
{
    public const int AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200;
    public const int O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0x40, O_EXCL = 0x80, O_DIRECTORY = 0x10000, O_NOFOLLOW = 0x20000, O_CLOEXEC = 0x80000, O_PATH = 0x200000;
    public const uint S_IFMT = 0xf000, S_IFSOCK = 0xc000, S_IFLNK = 0xa000, S_IFREG = 0x8000, S_IFBLK = 0x6000, S_IFDIR = 0x4000, S_IFCHR = 0x2000, S_IFIFO = 0x1000;
    public const int EPERM = 1, ENOENT = 2, EINTR = 4, EACCES = 13, EEXIST = 17, ENOTDIR = 20, EISDIR = 21, EMFILE = 24, EFBIG = 27, ENOSPC = 28, EWOULDBLOCK = 11, ENOSYS = 38, ENAMETOOLONG = 36, ELOOP = 40, ENOTSUP = 95, EXDEV = 18;
    public const int LOCK_SH = 1, LOCK_EX = 2, LOCK_NB = 4;

    [StructLayout(LayoutKind.Sequential)]
    public struct Stat
    {
        public ulong Device, Inode, Links;
        public uint Mode, Uid, Gid, Pad;
        public ulong SpecialDevice;
        public long Size, BlockSize, Blocks, AccessSeconds, AccessNanoseconds, ModifySeconds, ModifyNanoseconds, ChangeSeconds, ChangeNanoseconds;
        private readonly long _unused1, _unused2, _unused3;

        public readonly uint Type => Mode & S_IFMT;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct OpenHow
    {
        public ulong Flags, Mode, Resolve;
    }

    /// <summary>Symlinks and <c>..</c> stay below the directory, which is their root.</summary>
    public const ulong RESOLVE_IN_ROOT = 0x10, RESOLVE_NO_MAGICLINKS = 0x02, RESOLVE_NO_SYMLINKS = 0x04;

    [StructLayout(LayoutKind.Sequential)]
    public struct TimeSpec
    {
        public long Seconds, Nanoseconds;
    }

    [LibraryImport("libc", EntryPoint = "openat", SetLastError = true)]
    public static partial int OpenAt(int directory, byte[] name, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int descriptor);

    /// <summary>openat2 has no function of its own in libc: number 437 on x86-64.</summary>
    public static int OpenAt2(int directory, byte[] name, in OpenHow how) => (int)OpenAt2(437, directory, name, how, 24);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint OpenAt2(nint number, nint directory, byte[] name, in OpenHow how, nint size);

    [LibraryImport("libc", EntryPoint = "fstatat", SetLastError = true)]
    public static partial int StatAt(int directory, byte[] name, out Stat stat, int flags);

    [LibraryImport("libc", EntryPoint = "fstat", SetLastError = true)]
    public static partial int StatDescriptor(int descriptor, out Stat stat);

    [LibraryImport("libc", EntryPoint = "mkdirat", SetLastError = true)]
    public static partial int MkDirAt(int directory, byte[] name, uint mode);

    [LibraryImport("libc", EntryPoint = "symlinkat", SetLastError = true)]
    public static partial int SymLinkAt(byte[] target, int directory, byte[] name);

    [LibraryImport("libc", EntryPoint = "linkat", SetLastError = true)]
    public static partial int LinkAt(int oldDirectory, byte[] oldName, int newDirectory, byte[] newName, int flags);

    [LibraryImport("libc", EntryPoint = "unlinkat", SetLastError = true)]
    public static partial int UnlinkAt(int directory, byte[] name, int flags);

    [LibraryImport("libc", EntryPoint = "renameat", SetLastError = true)]
    public static partial int RenameAt(int oldDirectory, byte[] oldName, int newDirectory, byte[] newName);

    [LibraryImport("libc", EntryPoint = "mknodat", SetLastError = true)]
    public static partial int MkNodAt(int directory, byte[] name, uint mode, ulong device);

    [LibraryImport("libc", EntryPoint = "readlinkat", SetLastError = true)]
    public static partial nint ReadLinkAt(int directory, byte[] name, Span<byte> buffer, nuint size);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    public static partial int ChMod(int descriptor, uint mode);

    [LibraryImport("libc", EntryPoint = "fchmodat", SetLastError = true)]
    public static partial int ChModAt(int directory, byte[] name, uint mode, int flags);

    [LibraryImport("libc", EntryPoint = "fchownat", SetLastError = true)]
    public static partial int ChOwnAt(int directory, byte[] name, uint uid, uint gid, int flags);

    [LibraryImport("libc", EntryPoint = "fchown", SetLastError = true)]
    public static partial int ChOwn(int descriptor, uint uid, uint gid);

    [LibraryImport("libc", EntryPoint = "utimensat", SetLastError = true)]
    public static partial int UTimeNsAt(int directory, byte[] name, TimeSpec[] accessAndModify, int flags);

    [LibraryImport("libc", EntryPoint = "futimens", SetLastError = true)]
    public static partial int FUTimeNs(int descriptor, TimeSpec[] accessAndModify);

    [LibraryImport("libc", EntryPoint = "fsetxattr", SetLastError = true)]
    public static partial int SetXattr(int descriptor, byte[] name, byte[] value, nuint size, int flags);

    [LibraryImport("libc", EntryPoint = "flistxattr", SetLastError = true)]
    public static partial nint ListXattr(int descriptor, Span<byte> names, nuint size);

    [LibraryImport("libc", EntryPoint = "fgetxattr", SetLastError = true)]
    public static partial nint GetXattr(int descriptor, byte[] name, Span<byte> value, nuint size);

    [LibraryImport("libc", EntryPoint = "getdents64", SetLastError = true)]
    public static partial nint GetDents(int descriptor, Span<byte> buffer, nuint size);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    public static partial nint Read(int descriptor, Span<byte> buffer, nuint size);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    public static partial nint Write(int descriptor, ReadOnlySpan<byte> buffer, nuint size);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    public static partial int FSync(int descriptor);

    [LibraryImport("libc", EntryPoint = "syncfs", SetLastError = true)]
    public static partial int SyncFs(int descriptor);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    public static partial int FLock(int descriptor, int operation);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    public static partial uint EffectiveUser();

    /// <summary>The last call's errno.</summary>
    public static int Errno => Marshal.GetLastPInvokeError();

    /// <summary>The errno's text, as in <c>No space left on device</c>.</summary>
    public static string Message(int errno) => Marshal.GetPInvokeErrorMessage(errno);
}
