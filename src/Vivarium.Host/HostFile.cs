using System.Text;

namespace Vivarium.Host;

/// <summary>An open regular file or block device of the host, for disks: positioned reads and writes that are complete or fail. Results are 0 (or
/// a count where said) or a negative errno. Thread-safe but for <see cref="Dispose"/>.</summary>
public sealed unsafe class HostFile : IDisposable
{
    private const int SysClose = 3, SysFstat = 5, SysLseek = 8, SysIoctl = 16, SysPread = 17, SysPwrite = 18, SysFsync = 74, SysFdatasync = 75,
        SysFcntl = 72, SysFtruncate = 77, SysOpenat = 257, SysFallocate = 285;
    private const int AtCurrentDirectory = -100, CloseOnExec = 0x80000, ReadWriteFlag = 2, CreateFlag = 0x40, ExclusiveFlag = 0x80, TemporaryFlag = 0x410000;
    private const int EIntr = 4, EIo = 5, EInval = 22, ENotSup = 95;
    private const int KeepSize = 1, PunchHoleMode = 2, ZeroRangeMode = 16;
    private const int BlockDiscard = 0x1277, BlockZeroOut = 0x127f, BlockSize64 = unchecked((int)0x80081272);
    private const uint TypeMask = 0xf000, TypeBlock = 0x6000, TypeRegular = 0x8000, TypeDirectory = 0x4000;

    private int _descriptor;
    private bool _isLocked;

    private HostFile(int descriptor, bool isBlockDevice, bool writable) => (_descriptor, IsBlockDevice, IsWritable) = (descriptor, isBlockDevice, writable);

    /// <summary>Opens a file; what is neither a regular file nor a block device is -EINVAL.</summary>
    /// <returns>0 or a negative errno.</returns>
    public static int Open(string path, bool writable, out HostFile? file, bool createNew = false) =>
        Adopt(OpenAt(path, CloseOnExec | (writable ? ReadWriteFlag : 0) | (createNew ? CreateFlag | ExclusiveFlag : 0)), writable, out file);

    /// <summary>A file without a name in <paramref name="directory"/>, gone with its descriptor.</summary>
    public static int OpenTemporary(string directory, out HostFile? file) =>
        Adopt(OpenAt(directory, CloseOnExec | ReadWriteFlag | TemporaryFlag), true, out file);

    private static long OpenAt(string path, int flags)
    {
        var bytes = Encoding.UTF8.GetBytes(path + '\0');
        // SAFETY: pinned and NUL-terminated for the call.
        fixed (byte* pinned = bytes) return HostSyscall.Invoke(SysOpenat, AtCurrentDirectory, (long)pinned, flags, 0x180);
    }

    private static int Adopt(long descriptor, bool writable, out HostFile? file)
    {
        file = null;
        if (descriptor < 0) return (int)descriptor;
        var status = stackalloc byte[144]; // struct stat; st_mode at 24
        var result = HostSyscall.Invoke(SysFstat, descriptor, (long)status);
        var type = *(uint*)(status + 24) & TypeMask;
        if (result == 0 && type is TypeRegular or TypeBlock)
        {
            file = new HostFile((int)descriptor, type == TypeBlock, writable);
            return 0;
        }
        HostSyscall.Invoke(SysClose, descriptor);
        return result < 0 ? (int)result : type == TypeDirectory ? -21 : -EInval;
    }

    /// <summary>Whether it is a block device and not a regular file.</summary>
    public bool IsBlockDevice { get; }

    /// <summary>Whether it was opened for writing.</summary>
    public bool IsWritable { get; }

    /// <summary>Bytes of the file or device, or a negative errno.</summary>
    public long Length
    {
        get
        {
            if (!IsBlockDevice) return HostSyscall.Invoke(SysLseek, _descriptor, 0, 2);
            ulong size;
            var result = HostSyscall.Invoke(SysIoctl, _descriptor, BlockSize64 & 0xffffffffL, (long)&size);
            return result < 0 ? result : (long)size;
        }
    }

    /// <summary>Fills the destination from <paramref name="offset"/> on; what lies behind the end reads as zero.</summary>
    public int Read(ulong offset, Span<byte> destination)
    {
        fixed (byte* pinned = destination)
        {
            var done = 0;
            while (done < destination.Length)
            {
                var count = HostSyscall.Invoke(SysPread, _descriptor, (long)(pinned + done), destination.Length - done, (long)offset + done);
                if (count == -EIntr) continue;
                if (count < 0) return (int)count;
                if (count == 0) { destination[done..].Clear(); break; }
                done += (int)count;
            }
            return 0;
        }
    }

    /// <summary>Writes all of the source.</summary>
    public int Write(ulong offset, ReadOnlySpan<byte> source)
    {
        fixed (byte* pinned = source) return Transfer(SysPwrite, offset, (long)pinned, source.Length);
    }

    /// <summary>Writes from guest memory, without a copy on the way.</summary>
    public int Write(ulong offset, MemoryWindow window, ulong windowOffset, int length) =>
        window.TryGetHostAddress(windowOffset, (ulong)length, out var address) ? Transfer(SysPwrite, offset, address, length) : -14;

    /// <summary>Reads into guest memory, without a copy on the way; what lies behind the end reads as zero.</summary>
    public int Read(ulong offset, MemoryWindow window, ulong windowOffset, int length)
    {
        if (!window.TryGetHostAddress(windowOffset, (ulong)length, out var address)) return -14;
        var done = 0;
        while (done < length)
        {
            var count = HostSyscall.Invoke(SysPread, _descriptor, address + done, length - done, (long)offset + done);
            if (count == -EIntr) continue;
            if (count < 0) return (int)count;
            if (count == 0)
            {
                window.Clear(windowOffset + (ulong)done, (ulong)(length - done));
                break;
            }
            done += (int)count;
        }
        return 0;
    }

    private int Transfer(int number, ulong offset, long address, int length)
    {
        var done = 0;
        while (done < length)
        {
            var count = HostSyscall.Invoke(number, _descriptor, address + done, length - done, (long)offset + done);
            if (count == -EIntr) continue;
            if (count <= 0) return count < 0 ? (int)count : -EIo;
            done += (int)count;
        }
        return 0;
    }

    /// <summary>fdatasync: what was written before survives a crash of the host when it returns 0.</summary>
    public int Sync() => Retry(SysFdatasync);

    /// <summary>fsync: as <see cref="Sync"/>, with all attributes.</summary>
    public int SyncAll() => Retry(SysFsync);

    private int Retry(int number)
    {
        long result;
        do result = HostSyscall.Invoke(number, _descriptor);
        while (result == -EIntr);
        return (int)result;
    }

    /// <summary>Gives the range back to the host; it reads as zero afterwards where 0 is returned (block devices: as anything). -EOPNOTSUPP
    /// where the host cannot.</summary>
    public int PunchHole(ulong offset, ulong length) => IsBlockDevice
        ? BlockRange(BlockDiscard, offset, length)
        : (int)HostSyscall.Invoke(SysFallocate, _descriptor, KeepSize | PunchHoleMode, (long)offset, (long)length);

    /// <summary>Makes the range read as zero and keeps its space; -EOPNOTSUPP where the host cannot do that better than by writing zeroes.</summary>
    public int ZeroRange(ulong offset, ulong length) => IsBlockDevice
        ? BlockRange(BlockZeroOut, offset, length)
        : (int)HostSyscall.Invoke(SysFallocate, _descriptor, KeepSize | ZeroRangeMode, (long)offset, (long)length);

    private int BlockRange(int request, ulong offset, ulong length)
    {
        var range = stackalloc ulong[2];
        (range[0], range[1]) = (offset, length);
        var result = (int)HostSyscall.Invoke(SysIoctl, _descriptor, request, (long)range);
        return result == -EInval ? -ENotSup : result;
    }

    /// <summary>Sets the length of a regular file.</summary>
    public int SetLength(ulong length) => (int)HostSyscall.Invoke(SysFtruncate, _descriptor, (long)length);

    /// <summary>Takes an advisory lock on the whole file for this open file (F_OFD_SETLK), so that no second machine writes to it: 0, or -EAGAIN
    /// where another holds one.</summary>
    public int TryLock(bool exclusive)
    {
        var result = SetLock(_descriptor, exclusive ? 1 : 0);
        _isLocked |= result == 0;
        return result == -13 ? -11 : result;
    }

    private static int SetLock(int descriptor, int type)
    {
        const int setLock = 37;
        var request = stackalloc byte[32]; // struct flock: l_type, l_whence, l_start, l_len, l_pid
        new Span<byte>(request, 32).Clear();
        *(short*)request = (short)type;
        return (int)HostSyscall.Invoke(SysFcntl, descriptor, setLock, (long)request);
    }

    /// <summary>For tests.</summary>
    internal int Descriptor => _descriptor;

    /// <summary>Closes it. Its lock is gone when this returns: a child that this process is just starting may have the open file for a moment longer.</summary>
    public void Dispose()
    {
        const int unlock = 2;
        var descriptor = Interlocked.Exchange(ref _descriptor, -1);
        if (descriptor < 0) return;
        if (_isLocked) SetLock(descriptor, unlock);
        HostSyscall.Invoke(SysClose, descriptor);
    }
}
