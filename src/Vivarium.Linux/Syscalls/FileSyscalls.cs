using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>Descriptors and the data behind them: read and write in all forms, seek, dup, close, fcntl.</summary>
public static class FileSyscalls
{
    /// <summary>All rows of the file subsystem.</summary>
    public static readonly SyscallRow[] Rows =
    [
        new(23, "dup", "fd", Dup),
        new(24, "dup3", "fd fd flags:open", Dup3),
        new(25, "fcntl", "fd fcntl hex", FCntl),
        new(32, "flock", "fd hex", FLock),
        new(57, "close", "fd", Close),
        new(59, "pipe2", "ptr flags:open", Pipe2),
        new(62, "lseek", "fd int uint", LSeek),
        new(63, "read", "fd buf:ret size", Read),
        new(64, "write", "fd buf:a2 size", Write),
        new(65, "readv", "fd ptr uint", ReadV),
        new(66, "writev", "fd ptr uint", WriteV),
        new(67, "pread64", "fd buf:ret size int", PRead),
        new(68, "pwrite64", "fd buf:a2 size int", PWrite),
        new(69, "preadv", "fd ptr uint int int", PReadV),
        new(70, "pwritev", "fd ptr uint int int", PWriteV),
        new(71, "sendfile", "fd fd ptr size", SendFile),
        new(75, "vmsplice", "fd ptr uint hex", VmSplice),
        new(76, "splice", "fd ptr fd ptr size hex", Splice),
        new(77, "tee", "fd fd size hex", Tee),
        new(46, "ftruncate", "fd int", FTruncate),
        new(47, "fallocate", "fd hex int int", FAllocate),
        new(81, "sync", "", Sync),
        new(82, "fsync", "fd", FSync),
        new(83, "fdatasync", "fd", FDataSync),
        new(84, "sync_file_range", "fd int int hex", SyncFileRange),
        new(213, "readahead", "fd int size", ReadAhead),
        new(223, "fadvise64", "fd int int int", FAdvise),
        new(267, "syncfs", "fd", SyncFs),
        new(279, "memfd_create", "str hex", MemFdCreate),
        new(285, "copy_file_range", "fd ptr fd ptr size hex", CopyFileRange),
        new(286, "preadv2", "fd ptr uint int int hex", PReadV2),
        new(287, "pwritev2", "fd ptr uint int int hex", PWriteV2),
        new(436, "close_range", "uint uint hex", CloseRange),
        .. FilePathSyscalls.Rows,
        .. FileAttributeSyscalls.Rows,
        .. DirectorySyscalls.Rows,
        .. TerminalSyscalls.Rows,
    ];

    /// <summary>The most one read or write moves (MAX_RW_COUNT).</summary>
    internal const ulong MaximumTransfer = 0x7FFF_F000;

    // ---- read and write ----

    private static long Read(GuestThread thread, in SyscallArgs args) => Transfer(thread, HostCall.Read, args.A0, args.A1, args.A2, 0, false);
    private static long Write(GuestThread thread, in SyscallArgs args) => Transfer(thread, HostCall.Write, args.A0, args.A1, args.A2, 0, true);
    private static long PRead(GuestThread thread, in SyscallArgs args) => Transfer(thread, HostCall.PRead64, args.A0, args.A1, args.A2, args.A3, false);
    private static long PWrite(GuestThread thread, in SyscallArgs args) => Transfer(thread, HostCall.PWrite64, args.A0, args.A1, args.A2, args.A3, true);

    private static long Transfer(GuestThread thread, long call, ulong fd, ulong buffer, ulong length, ulong offset, bool writes)
    {
        var file = thread.Process.Files.Acquire((int)fd);
        if (file == null) return -Errno.EBADF;
        long result;
        if (file.Node is { IsDirectory: true }) result = writes ? -Errno.EBADF : -Errno.EISDIR;
        else if ((long)length < 0) result = -Errno.EINVAL;
        else if (file.Node is Ptrace.ProcessMemoryFile memory)
            result = memory.Transfer(thread, file, writes, call is HostCall.PRead64 or HostCall.PWrite64 ? (long)offset : null, buffer, Math.Min(length, MaximumTransfer));
        else if (writes && file.Node is { TakesWrites: true } settings) result = Accept(thread, file, settings, buffer, length);
        else if (file.Signals != null) result = writes || call == HostCall.PRead64 ? -Errno.EINVAL : file.Signals.Read(thread, buffer, length);
        else
        {
            length = Math.Min(length, MaximumTransfer);
            result = writes ? FileSizeLimit.Clamp(thread, file, call == HostCall.PWrite64 ? (long)offset : -1, length) : 0;
            if (writes && result >= 0) length = (ulong)result;
            if (result < 0) { }
            else if (!thread.TryHost(buffer, length, out long host)) result = -Errno.EFAULT;
            else if (file.Terminal != null) result = TerminalSyscalls.Transfer(thread, file, call, buffer, host, length, offset, writes);
            else result = thread.Block(call, file.HostDescriptor, host, (long)length, (long)offset);
        }
        file.Release();
        if (result == -Errno.EPIPE && writes) GuestAccess.BrokenPipe(thread);
        return result;
    }

    // A file of /proc that changes something: one write is one value.
    private static long Accept(GuestThread thread, OpenFile file, SyntheticNode settings, ulong buffer, ulong length)
    {
        Span<byte> text = stackalloc byte[(int)Math.Min(length, 1024)];
        if ((HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, GetFl) & OpenFlags.AccessMode) == OpenFlags.ReadOnly) return -Errno.EBADF;
        if (!thread.Window.TryReadBytes(buffer, text)) return -Errno.EFAULT;
        long status = settings.Accept(thread.Process, System.Text.Encoding.Latin1.GetString(text));
        return status < 0 ? status : (long)length;
    }

    private static long ReadV(GuestThread thread, in SyscallArgs args) => Vector(thread, HostCall.ReadV, args.A0, args.A1, args.A2, 0, 0, 0, false);
    private static long WriteV(GuestThread thread, in SyscallArgs args) => Vector(thread, HostCall.WriteV, args.A0, args.A1, args.A2, 0, 0, 0, true);

    // On a 64-bit kernel pos_l holds the whole offset; pos_h is shifted out.
    private static long PReadV(GuestThread thread, in SyscallArgs args) =>
        (long)args.A3 < 0 ? -Errno.EINVAL : Vector(thread, HostCall.PReadV2, args.A0, args.A1, args.A2, args.A3, 0, 0, false);

    private static long PWriteV(GuestThread thread, in SyscallArgs args) =>
        (long)args.A3 < 0 ? -Errno.EINVAL : Vector(thread, HostCall.PWriteV2, args.A0, args.A1, args.A2, args.A3, 0, 0, true);

    private static long PReadV2(GuestThread thread, in SyscallArgs args) => Vector(thread, HostCall.PReadV2, args.A0, args.A1, args.A2, args.A3, 0, args.A5, false);
    private static long PWriteV2(GuestThread thread, in SyscallArgs args) => Vector(thread, HostCall.PWriteV2, args.A0, args.A1, args.A2, args.A3, 0, args.A5, true);

    private static long Vector(GuestThread thread, long call, ulong fd, ulong vectors, ulong count, ulong low, ulong high, ulong flags, bool writes)
    {
        var file = thread.Process.Files.Acquire((int)fd);
        if (file == null) return -Errno.EBADF;
        long result;
        if (file.Node is { IsDirectory: true }) result = writes ? -Errno.EBADF : -Errno.EISDIR;
        else if (writes && count == 1 && file.Node is { TakesWrites: true } settings)
            result = thread.Window.TryLoad64(vectors, out ulong start) && thread.Window.TryLoad64(vectors + 8, out ulong size) ? Accept(thread, file, settings, start, size) : -Errno.EFAULT;
        else
        {
            result = HostVectors.Read(thread, vectors, count, out var host);
            if (result == 0 && file.Terminal != null) result = TerminalSyscalls.Check(thread, file, writes);
            if (result == 0 && writes)
            {
                result = FileSizeLimit.Clamp(thread, file, call == HostCall.WriteV || (long)low < 0 ? -1 : (long)low, host.Total);
                if (result >= 0)
                {
                    host.Shorten((ulong)result);
                    result = 0;
                }
            }
            if (result == 0) result = thread.Block(call, file.HostDescriptor, host.Address, host.Count, (long)low, (long)high, (long)flags);
            host.Dispose();
        }
        file.Release();
        if (result == -Errno.EPIPE && writes) GuestAccess.BrokenPipe(thread);
        return result;
    }

    private static long LSeek(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long result = file.ListsEntries
            ? DirectorySyscalls.SeekEntries(file, (long)args.A1, (int)args.A2)
            : HostSyscall.Invoke(HostCall.LSeek, file.HostDescriptor, (long)args.A1, (long)args.A2);
        file.Release();
        return result;
    }

    // ---- moving data between descriptors ----

    private static long SendFile(GuestThread thread, in SyscallArgs args) => Two(thread, HostCall.SendFile, args.A0, 0, args.A1, args.A2, args.A3, 0, sendFile: true);
    private static long Splice(GuestThread thread, in SyscallArgs args) => Two(thread, HostCall.Splice, args.A0, args.A1, args.A2, args.A3, args.A4, args.A5);
    private static long CopyFileRange(GuestThread thread, in SyscallArgs args) => Two(thread, HostCall.CopyFileRange, args.A0, args.A1, args.A2, args.A3, args.A4, args.A5);

    private static long Two(GuestThread thread, long call, ulong first, ulong firstOffset, ulong second, ulong secondOffset, ulong length, ulong flags, bool sendFile = false)
    {
        var files = thread.Process.Files;
        var a = files.Acquire((int)first);
        if (a == null) return -Errno.EBADF;
        var b = files.Acquire((int)second);
        long result;
        if (b == null) result = -Errno.EBADF;
        else if (!thread.TryHostOrNull(firstOffset, 8, out long offsetA) || !thread.TryHostOrNull(secondOffset, 8, out long offsetB)) result = -Errno.EFAULT;
        else if ((sendFile ? FileSizeLimit.SpaceOf(a) : call == HostCall.Tee ? null : FileSizeLimit.SpaceOf(b)) is { } space && length != 0 && (length = space.Take(Math.Min(length, MaximumTransfer))) == 0) result = -Errno.ENOSPC;
        else if (sendFile) result = thread.Block(call, a.HostDescriptor, b.HostDescriptor, offsetB, (long)length);
        else result = thread.Block(call, a.HostDescriptor, offsetA, b.HostDescriptor, offsetB, (long)length, (long)flags);
        a.Release();
        b?.Release();
        if (result == -Errno.EPIPE) GuestAccess.BrokenPipe(thread);
        return result;
    }

    private static long Tee(GuestThread thread, in SyscallArgs args)
    {
        var files = thread.Process.Files;
        var a = files.Acquire((int)args.A0);
        if (a == null) return -Errno.EBADF;
        var b = files.Acquire((int)args.A1);
        long result = b == null ? -Errno.EBADF : thread.Block(HostCall.Tee, a.HostDescriptor, b.HostDescriptor, (long)args.A2, (long)args.A3);
        a.Release();
        b?.Release();
        if (result == -Errno.EPIPE) GuestAccess.BrokenPipe(thread);
        return result;
    }

    private static long VmSplice(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long result = HostVectors.Read(thread, args.A1, args.A2, out var host);
        if (result == 0) result = thread.Block(HostCall.VmSplice, file.HostDescriptor, host.Address, host.Count, (long)args.A3);
        host.Dispose();
        file.Release();
        if (result == -Errno.EPIPE) GuestAccess.BrokenPipe(thread);
        return result;
    }

    // ---- whole-file operations on a descriptor ----

    private static long FTruncate(GuestThread thread, in SyscallArgs args) =>
        FileSizeLimit.Check(thread, (long)args.A1 < 0 ? 0 : args.A1) is < 0 and var error ? error : Plain(thread, HostCall.FTruncate, args.A0, args.A1);
    private static long FSync(GuestThread thread, in SyscallArgs args) => Plain(thread, HostCall.FSync, args.A0);
    private static long FDataSync(GuestThread thread, in SyscallArgs args) => Plain(thread, HostCall.FDataSync, args.A0);
    private static long SyncFs(GuestThread thread, in SyscallArgs args) => Plain(thread, HostCall.SyncFs, args.A0);
    private static long SyncFileRange(GuestThread thread, in SyscallArgs args) => Plain(thread, HostCall.SyncFileRange, args.A0, args.A1, args.A2, args.A3);
    private static long ReadAhead(GuestThread thread, in SyscallArgs args) => Plain(thread, HostCall.ReadAhead, args.A0, args.A1, args.A2);
    private static long FAdvise(GuestThread thread, in SyscallArgs args) => Plain(thread, HostCall.FAdvise64, args.A0, args.A1, args.A2, args.A3);
    private static long FAllocate(GuestThread thread, in SyscallArgs args) =>
        (args.A1 & ~1UL) == 0 && (long)args.A3 > 0 && !HasSpace(thread, args.A0, args.A3) ? -Errno.ENOSPC :
        (args.A1 & 1) == 0 && (long)args.A2 >= 0 && (long)args.A3 > 0 && FileSizeLimit.Check(thread, args.A2 + args.A3) is < 0 and var error ? error
            : Plain(thread, HostCall.FAllocate, args.A0, args.A1, args.A2, args.A3);
    private static bool HasSpace(GuestThread thread, ulong fd, ulong bytes)
    {
        var file = thread.Process.Files.Acquire((int)fd);
        if (file == null) return true;
        bool fits = FileSizeLimit.SpaceOf(file) is not { } space || space.Take(bytes) == bytes;
        file.Release();
        return fits;
    }

    private static long FLock(GuestThread thread, in SyscallArgs args) => Plain(thread, HostCall.FLock, args.A0, args.A1);

    /// <summary>A host syscall whose first argument is a descriptor and the others numbers.</summary>
    internal static long Plain(GuestThread thread, long call, ulong fd, ulong a1 = 0, ulong a2 = 0, ulong a3 = 0)
    {
        var file = thread.Process.Files.Acquire((int)fd);
        if (file == null) return -Errno.EBADF;
        long result = thread.Block(call, file.HostDescriptor, (long)a1, (long)a2, (long)a3);
        file.Release();
        return result;
    }

    private static long Sync(GuestThread thread, in SyscallArgs args)
    {
        thread.Block(HostCall.Sync);
        return 0;
    }

    // ---- making and copying descriptors ----

    private static long Pipe2(GuestThread thread, in SyscallArgs args)
    {
        int flags = (int)args.A1;
        using var pair = HostScratch.Rent(8);
        long status = HostSyscall.Invoke(HostCall.Pipe2, pair.Address, flags | OpenFlags.CloseOnExec);
        if (status < 0) return status;
        return InstallPair(thread, pair.Span, (flags & OpenFlags.CloseOnExec) != 0, args.A0);
    }

    /// <summary>Installs two host descriptors and writes their numbers for the guest: all or nothing.</summary>
    internal static long InstallPair(GuestThread thread, ReadOnlySpan<byte> hostPair, bool closeOnExec, ulong address, Action<GuestProcess, OpenFile, OpenFile>? installed = null)
    {
        int second = BinaryPrimitives.ReadInt32LittleEndian(hostPair[4..]);
        long a = thread.Install(BinaryPrimitives.ReadInt32LittleEndian(hostPair), closeOnExec);
        if (a < 0)
        {
            HostSyscall.Invoke(HostCall.Close, second);
            return a;
        }
        long b = thread.Install(second, closeOnExec);
        Span<byte> numbers = stackalloc byte[8];
        BinaryPrimitives.WriteInt32LittleEndian(numbers, (int)a);
        BinaryPrimitives.WriteInt32LittleEndian(numbers[4..], (int)b);
        long status = b < 0 ? b : thread.Put(address, numbers);
        if (status == 0)
        {
            if (installed != null && thread.Process.Files.Acquire((int)a) is { } first)
            {
                if (thread.Process.Files.Acquire((int)b) is { } other)
                {
                    installed(thread.Process, first, other);
                    other.Release();
                }
                first.Release();
            }
            return 0;
        }
        thread.Process.Files.Close((int)a);
        if (b >= 0) thread.Process.Files.Close((int)b);
        return status;
    }

    private static long MemFdCreate(GuestThread thread, in SyscallArgs args)
    {
        using var name = HostScratch.Rent(256);
        int length = thread.Window.ReadCString(args.A0, name.Span);
        if (length < 0) return length == -Errno.ENAMETOOLONG ? -Errno.EINVAL : length;
        if (length > 249) return -Errno.EINVAL;
        name.Span[length] = 0;
        return thread.Install(HostSyscall.Invoke(HostCall.MemFdCreate, name.Address, (long)args.A1 | 1), (args.A1 & 1) != 0, thread.Process.Fs.Space);
    }

    private static long Close(GuestThread thread, in SyscallArgs args)
    {
        if (thread.Process.LockedFiles != 0) FileLockSyscalls.Closing(thread.Process, (int)args.A0);
        return thread.Process.Files.Close((int)args.A0);
    }

    private static long CloseRange(GuestThread thread, in SyscallArgs args)
    {
        const ulong Unshare = 2, OnlyMark = 4;
        if ((uint)args.A0 > (uint)args.A1 || (args.A2 & ~(Unshare | OnlyMark)) != 0) return -Errno.EINVAL;
        // Threads of a process share its table for good; from other processes it is parted.
        if ((args.A2 & Unshare) != 0) thread.Process.UnshareFiles();
        if (thread.Process.LockedFiles != 0 && (args.A2 & OnlyMark) == 0)
        {
            foreach (int fd in thread.Process.Files.Numbers()) if ((uint)fd >= (uint)args.A0 && (uint)fd <= (uint)args.A1) FileLockSyscalls.Closing(thread.Process, fd);
        }
        thread.Process.Files.CloseRange((uint)args.A0, (uint)args.A1, (args.A2 & OnlyMark) != 0);
        return 0;
    }

    private static long Dup(GuestThread thread, in SyscallArgs args) => Duplicate(thread, args.A0, 0, false);

    private static long Duplicate(GuestThread thread, ulong fd, int minimum, bool closeOnExec)
    {
        var file = thread.Process.Files.Acquire((int)fd);
        if (file == null) return -Errno.EBADF;
        ulong limit = thread.Process.Limits.Soft(ResourceLimits.OpenFiles);
        int copy = thread.Process.Files.Install(file, closeOnExec, limit, minimum);
        if (copy < 0) file.Release();
        return copy;
    }

    private static long Dup3(GuestThread thread, in SyscallArgs args)
    {
        if (args.A0 == args.A1 || ((int)args.A2 & ~OpenFlags.CloseOnExec) != 0) return -Errno.EINVAL;
        int target = (int)args.A1;
        if ((uint)target >= Math.Min(thread.Process.Limits.Soft(ResourceLimits.OpenFiles), FileTable.Maximum)) return -Errno.EBADF;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        if (thread.Process.LockedFiles != 0) FileLockSyscalls.Closing(thread.Process, target);
        thread.Process.Files.Set(target, file, (args.A2 & OpenFlags.CloseOnExec) != 0);
        return target;
    }

    // ---- fcntl ----

    private const ulong Async = 0x2000;
    private const int DupFd = 0, GetFd = 1, SetFd = 2, GetFl = 3, SetFl = 4, GetLk = 5, SetLk = 6, SetLkW = 7, SetOwn = 8, GetOwn = 9, SetSig = 10, GetSig = 11,
        SetOwnEx = 15, GetOwnEx = 16, OfdGetLk = 36, OfdSetLk = 37, OfdSetLkW = 38, SetLease = 1024, GetLease = 1025, Notify = 1026, DupFdQuery = 1027, CreatedQuery = 1028,
        DupFdCloExec = 1030, SetPipeSize = 1031, GetPipeSize = 1032, AddSeals = 1033, GetSeals = 1034, GetRwHint = 1035, SetFileRwHint = 1038;

    private static long FCntl(GuestThread thread, in SyscallArgs args)
    {
        var files = thread.Process.Files;
        int fd = (int)args.A0, command = (int)args.A1;
        switch (command)
        {
            case DupFd:
            case DupFdCloExec:
                if (args.A2 >= Math.Min(thread.Process.Limits.Soft(ResourceLimits.OpenFiles), FileTable.Maximum)) return -Errno.EINVAL;
                return Duplicate(thread, args.A0, (int)args.A2, command == DupFdCloExec);
            case GetFd:
                return files.IsCloseOnExec(fd) is { } marked ? marked ? 1 : 0 : -Errno.EBADF;
            case SetFd:
                return files.SetCloseOnExec(fd, (args.A2 & 1) != 0) ? 0 : -Errno.EBADF;
        }

        var file = files.Acquire(fd);
        if (file == null) return -Errno.EBADF;
        long result = OnFile(thread, file, command, args.A2);
        if (command == SetFl && result == 0 && ((args.A2 & Async) != 0) != (file.AsyncKey != 0)) thread.Process.Realm.AsyncFiles.Change(file, fd, (args.A2 & Async) != 0);
        file.Release();
        return result;
    }

    private static long OnFile(GuestThread thread, OpenFile file, int command, ulong argument)
    {
        switch (command)
        {
            case GetFl:
                // A synthetic directory's place holder is an O_PATH descriptor.
                if (file.Node is { IsDirectory: true }) return OpenFlags.Directory | OpenFlags.LargeFile;
                return HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, command);
            case SetSig:
                // Nothing that makes the host signal viv may reach the host: such a signal would end viv.
                if (argument > Signals.Signal.Count) return -Errno.EINVAL;
                file.OwnerSignal = (int)argument;
                return 0;
            case GetSig:
                return file.OwnerSignal;
            case SetLease:
                // As where somebody else has the file open.
                return argument == 2 /* F_UNLCK */ ? 0 : argument > 2 ? -Errno.EINVAL : -Errno.EAGAIN;
            case GetLease:
                return 2;
            case Notify:
                return -Errno.EINVAL; // a kernel without CONFIG_DNOTIFY
            case SetFl:
            case CreatedQuery:
            case SetPipeSize:
            case GetPipeSize:
            case AddSeals:
            case GetSeals:
                return HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, command, (long)argument);
            case GetLk:
            case SetLk:
            case SetLkW:
                return FileLockSyscalls.Control(thread, file, command, argument);
            case OfdGetLk:
            case OfdSetLk:
            case OfdSetLkW:
                // struct flock is the same on both sides.
                if (!thread.TryHost(argument, 32, out long host)) return -Errno.EFAULT;
                return thread.Block(HostCall.FCntl, file.HostDescriptor, command, host);
            case >= GetRwHint and <= SetFileRwHint:
                return thread.TryHost(argument, 8, out long hint) ? HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, command, hint) : -Errno.EFAULT;
            case DupFdQuery:
                var other = thread.Process.Files.Acquire((int)argument);
                if (other == null) return -Errno.EBADF;
                bool same = ReferenceEquals(other, file);
                other.Release();
                return same ? 1 : 0;
            case GetOwn:
                return file.Owner;
            case SetOwn:
                (file.Owner, file.OwnerIsThread, file.OwnerSetBy) = ((int)argument, false, thread.Process.Credentials.EffectiveUid);
                return 0;
            case SetOwnEx:
            {
                // struct f_owner_ex: type (0 thread, 1 process, 2 group), id.
                if (!thread.Window.TryLoad32(argument, out uint kind) || !thread.Window.TryLoad32(argument + 4, out uint id)) return -Errno.EFAULT;
                if (kind > 2) return -Errno.EINVAL;
                file.Owner = kind == 2 ? -(int)id : (int)id;
                (file.OwnerIsThread, file.OwnerSetBy) = (kind == 0, thread.Process.Credentials.EffectiveUid);
                return 0;
            }
            case GetOwnEx:
            {
                uint kind = file.Owner < 0 ? 2u : file.OwnerIsThread ? 0u : 1u;
                return thread.Window.TryStore32(argument, kind) && thread.Window.TryStore32(argument + 4, (uint)Math.Abs(file.Owner)) ? 0 : -Errno.EFAULT;
            }
            default:
                return -Errno.EINVAL;
        }
    }
}
