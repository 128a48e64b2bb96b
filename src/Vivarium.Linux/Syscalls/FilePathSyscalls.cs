using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>A path argument of a syscall, resolved. The one door between guest paths and the host.</summary>
internal ref struct ResolvedPath
{
    private PathBuffer _buffer;
    private OpenFile? _directory;
    public PathResult Result;

    /// <summary>Negative errno when there is nothing to use.</summary>
    public long Status;

    /// <summary>The path from the realm's root, where the request wanted it.</summary>
    public readonly ReadOnlySpan<byte> Canonical => _buffer.Canonical[..Result.CanonicalLength];

    /// <summary>Reads the path at <paramref name="address"/> and walks it from <paramref name="directory"/> (AT_FDCWD or a descriptor). With
    /// <paramref name="emptyPath"/> an empty path names the directory descriptor itself (AT_EMPTY_PATH).</summary>
    public static ResolvedPath Of(GuestThread thread, ulong directory, ulong address, in PathRequest request, bool emptyPath = false)
    {
        var resolved = new ResolvedPath();
        resolved.Resolve(thread, directory, address, request, emptyPath);
        return resolved;
    }

    /// <summary>The same in place, where calls are many.</summary>
    public void Resolve(GuestThread thread, ulong directory, ulong address, in PathRequest request, bool emptyPath = false)
    {
        long status = address == 0 && emptyPath ? Empty(out _buffer) : PathBuffer.Read(thread.Window, address, out _buffer);
        if (status < 0)
        {
            Status = status;
            return;
        }
        var process = thread.Process;
        bool absolute = _buffer.Length > 0 && _buffer.Path[0] == '/';
        if (!absolute || (request.Resolve & ResolveFlags.InRoot) != 0) _directory = (int)directory == At.FdCwd ? process.Fs.AcquireWorkingDirectory() : process.Files.Acquire((int)directory);
        if (!absolute && _directory == null) Status = _buffer.Length == 0 && !emptyPath ? -Errno.ENOENT : -Errno.EBADF;
        else if (_buffer.Length == 0 && emptyPath) Itself(request);
        else Status = process.Fs.Space.Walk(_directory, _buffer, request, ref Result);
    }

    private static long Empty(out PathBuffer buffer)
    {
        buffer = PathBuffer.From([]);
        return 0;
    }

    // The directory descriptor is the object.
    private void Itself(in PathRequest request)
    {
        if (request.Modifies && (Status = _directory!.PrepareChange(request.Caller!)) < 0) return;
        Result.Layer = _directory!.Layer;
        Result.Descriptor = _directory!.HostDescriptor;
        Result.Node = _directory.Node;
        Result.Leaf = _buffer.Address;
        Result.AtFlags = At.EmptyPath;
    }

    public void Dispose()
    {
        Result.Dispose();
        _directory?.Release();
        _buffer.Dispose();
    }
}

/// <summary>Syscalls that name files: open, stat, access, readlink, and those that make, remove and rename names.</summary>
internal static class FilePathSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(33, "mknodat", "atfd path mode hex", MkNodAt),
        new(34, "mkdirat", "atfd path mode", MkDirAt),
        new(35, "unlinkat", "atfd path flags:at", UnlinkAt),
        new(36, "symlinkat", "path atfd path", SymlinkAt),
        new(37, "linkat", "atfd path atfd path flags:at", LinkAt),
        new(38, "renameat", "atfd path atfd path", RenameAt),
        new(276, "renameat2", "atfd path atfd path hex", RenameAt2),
        new(48, "faccessat", "atfd path mode", FAccessAt),
        new(439, "faccessat2", "atfd path mode flags:at", FAccessAt2),
        new(56, "openat", "atfd path flags:open mode", OpenAt),
        new(437, "openat2", "atfd path ptr size", OpenAt2),
        new(78, "readlinkat", "atfd path ptr size", ReadLinkAt),
        new(79, "newfstatat", "atfd path ptr flags:at", NewFStatAt),
        new(80, "fstat", "fd ptr", FStat),
        new(291, "statx", "atfd path flags:at hex ptr", StatX),
        new(43, "statfs", "path ptr", StatFs),
        new(44, "fstatfs", "fd ptr", FStatFs),
        new(45, "truncate", "path int", Truncate),
    ];

    // ---- open ----

    private static long OpenAt(GuestThread thread, in SyscallArgs args)
    {
        int flags = (int)args.A2;
        // O_CREAT|O_DIRECTORY has been an error since 6.4; O_TMPFILE without write access always was.
        if ((flags & (OpenFlags.Create | OpenFlags.Directory)) == (OpenFlags.Create | OpenFlags.Directory) && (flags & OpenFlags.Path) == 0) return -Errno.EINVAL;
        return Open(thread, args.A0, args.A1, flags, (uint)args.A3 & 0xFFF, 0);
    }

    private static long OpenAt2(GuestThread thread, in SyscallArgs args)
    {
        const int Size0 = 24;
        if (args.A3 < Size0) return -Errno.EINVAL;
        if (args.A3 > 4096) return -Errno.E2BIG;
        Span<byte> how = stackalloc byte[(int)args.A3];
        if (thread.Get(args.A2, how) < 0) return -Errno.EFAULT;
        if (how[Size0..].ContainsAnyExcept((byte)0)) return -Errno.E2BIG;
        ulong flags = BinaryPrimitives.ReadUInt64LittleEndian(how), mode = BinaryPrimitives.ReadUInt64LittleEndian(how[8..]), resolve = BinaryPrimitives.ReadUInt64LittleEndian(how[16..]);
        if ((flags & ~(ulong)OpenFlags.Known) != 0 || (resolve & ~ResolveFlags.All) != 0) return -Errno.EINVAL;
        bool creates = (flags & (OpenFlags.Create | OpenFlags.TmpFileBit)) != 0;
        if (creates ? (mode & ~0xFFFUL) != 0 : mode != 0) return -Errno.EINVAL;
        if ((resolve & ResolveFlags.Beneath) != 0 && (resolve & ResolveFlags.InRoot) != 0) return -Errno.EINVAL;
        return Open(thread, args.A0, args.A1, (int)flags, (uint)mode, resolve);
    }

    private static long Open(GuestThread thread, ulong directory, ulong path, int flags, uint mode, ulong resolve)
    {
        bool exclusive = (flags & (OpenFlags.Create | OpenFlags.Exclusive)) == (OpenFlags.Create | OpenFlags.Exclusive);
        var process = thread.Process;
        if ((flags & (OpenFlags.Create | OpenFlags.TmpFileBit)) != 0) HostUmask.Apply(process.Fs.Umask);
        var request = new PathRequest(PathIntent.Open, (flags & OpenFlags.NoFollow) == 0 && !exclusive)
        {
            Flags = flags & OpenFlags.Known,
            Mode = mode,
            Resolve = resolve,
            Caller = process,
        };
        var resolved = new ResolvedPath();
        resolved.Resolve(thread, directory, path, request);
        long result = resolved.Status;
        if (result >= 0)
        {
            var node = resolved.Result.Node;
            var space = process.Fs.Space;
            if (space.Owners != null && node == null && !resolved.Result.IsDevice && (flags & (OpenFlags.Path | OpenFlags.Directory)) == 0) result = OpenDevice(ref resolved.Result, flags);
            if (result >= 0)
            {
                var layer = space.LayerOf(resolved.Result);
                result = thread.Install(resolved.Result.Take(), (flags & OpenFlags.CloseOnExec) != 0, space, node, layer);
            }
            if (result >= 0 && (resolved.Result.IsDevice || TerminalSyscalls.NamesHostTerminal(thread, path))) TerminalSyscalls.Opened(thread, (int)result, (flags & OpenFlags.NoCtty) == 0);
        }
        resolved.Dispose();
        return GuestAccess.Restartable(result);
    }

    // A device node of the guest's tree is an empty file with a record: what it stands for is opened instead.
    private static long OpenDevice(ref PathResult result, int flags)
    {
        if (FileStat.OfDescriptor(result.Descriptor, out var stat) < 0 || !Ownership.IsDevice(result.Descriptor, stat, out var record)) return 0;
        if (Ownership.HostDevice(record) is not { } device) return -Errno.ENXIO;
        using var name = HostName.Of(System.Text.Encoding.ASCII.GetBytes(device));
        long fd = HostThread.Current.BlockingSyscall(HostCall.OpenAt, At.FdCwd, name.Address, flags & ~(OpenFlags.Create | OpenFlags.Exclusive | OpenFlags.Truncate) | OpenFlags.CloseOnExec);
        if (fd < 0) return fd;
        result.Dispose();
        result.Descriptor = (int)fd;
        result.Owned = true;
        result.IsDevice = true;
        result.FileSystem = null;
        return 0;
    }

    // ---- stat ----

    private static long FStat(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        using var buffer = HostScratch.Rent(FileStat.HostSize);
        long status = file.Node != null ? 0 : HostSyscall.Invoke(HostCall.FStat, file.HostDescriptor, buffer.Address);
        if (status >= 0 && file.Node == null) thread.Process.Fs.Space.Owners?.Adjust(buffer.Span, file.HostDescriptor);
        if (status >= 0) status = file.Node != null ? PutStat(thread, args.A1, file.Node.Stat(thread.Process)) : PutHostStat(thread, args.A1, buffer.Span);
        file.Release();
        return status;
    }

    private static long PutHostStat(GuestThread thread, ulong address, ReadOnlySpan<byte> host)
    {
        Span<byte> bytes = stackalloc byte[FileStat.GuestSize];
        FileStat.HostToGuest(host, bytes);
        return thread.Put(address, bytes);
    }

    private static long PutStat(GuestThread thread, ulong address, in FileStat stat)
    {
        Span<byte> bytes = stackalloc byte[FileStat.GuestSize];
        stat.ToGuest(bytes);
        return thread.Put(address, bytes);
    }

    private static long NewFStatAt(GuestThread thread, in SyscallArgs args)
    {
        int flags = (int)args.A3;
        if ((flags & ~(At.SymlinkNoFollow | At.NoAutomount | At.EmptyPath)) != 0) return -Errno.EINVAL;
        return NewFStatAt(thread, args, flags, probe: true) ?? NewFStatAt(thread, args, flags, probe: false)!.Value;
    }

    // Null: a probe that does not do.
    private static long? NewFStatAt(GuestThread thread, in SyscallArgs args, int flags, bool probe)
    {
        var resolved = new ResolvedPath();
        resolved.Resolve(thread, args.A0, args.A1, Request(thread, PathIntent.At, flags, probe), (flags & At.EmptyPath) != 0);
        long status = resolved.Status;
        bool again = false;
        if (status >= 0)
        {
            ref var at = ref resolved.Result;
            using var buffer = HostScratch.Rent(FileStat.HostSize);
            if (at.Node != null) status = PutStat(thread, args.A2, at.Node.Stat(thread.Process));
            else if ((status = HostSyscall.Invoke(HostCall.NewFStatAt, at.Descriptor, at.Leaf, buffer.Address, at.AtFlags)) == 0)
            {
                again = at.MayBeLink && NeedsObject(BinaryPrimitives.ReadUInt32LittleEndian(buffer.Span[24..]), flags);
                if (!again)
                {
                    thread.Process.Fs.Space.Owners?.Adjust(buffer.Span, at.Descriptor);
                    status = PutHostStat(thread, args.A2, buffer.Span);
                }
            }
            else again = IsDoubtful(status, at);
        }
        resolved.Dispose();
        return again ? null : status;
    }

    // What a name without a descriptor of its object cannot tell: where a link leads, and the record of a file that has one.
    private static bool NeedsObject(uint mode, int flags) =>
        (mode & FileType.Mask) == FileType.Link && (flags & At.SymlinkNoFollow) == 0 || (mode & FileRecord.Mark) != 0;

    // Nothing was found in a directory that is there no more: it may have a successor.
    private static bool IsDoubtful(long status, in PathResult at) => status == -Errno.ENOENT && at is { MayBeLink: true, Lender: not null } && DirectoryCache.IsGone(at.Descriptor);

    private static PathRequest Request(GuestThread thread, PathIntent intent, int atFlags, bool probe = false) =>
        new(intent, (atFlags & At.SymlinkNoFollow) == 0) { Caller = thread.Process, Probe = probe };

    private static long StatX(GuestThread thread, in SyscallArgs args)
    {
        const int SyncType = 0x6000, Reserved = int.MinValue;
        int flags = (int)args.A2;
        if ((flags & ~(At.SymlinkNoFollow | At.NoAutomount | At.EmptyPath | SyncType)) != 0 || ((int)args.A3 & Reserved) != 0 || (flags & SyncType) == SyncType) return -Errno.EINVAL;
        return StatX(thread, args, flags, probe: true) ?? StatX(thread, args, flags, probe: false)!.Value;
    }

    private static long? StatX(GuestThread thread, in SyscallArgs args, int flags, bool probe)
    {
        const int SyncType = 0x6000;
        var resolved = new ResolvedPath();
        resolved.Resolve(thread, args.A0, args.A1, Request(thread, PathIntent.At, flags, probe), (flags & At.EmptyPath) != 0);
        long status = resolved.Status;
        if (status >= 0)
        {
            ref var at = ref resolved.Result;
            using var buffer = HostScratch.Rent(FileStat.StatXSize);
            if (at.Node != null) at.Node.Stat(thread.Process).ToStatX(buffer.Span);
            else
            {
                status = HostSyscall.Invoke(HostCall.StatX, at.Descriptor, at.Leaf, at.AtFlags | flags & (SyncType | At.NoAutomount), (long)args.A3 | 0x7, buffer.Address);
                if (status >= 0 && at.MayBeLink && NeedsObject(BinaryPrimitives.ReadUInt16LittleEndian(buffer.Span[28..]), flags) || IsDoubtful(status, at))
                {
                    resolved.Dispose();
                    return null;
                }
                if (status >= 0 && thread.Process.Fs.Space.Owners is { } owners)
                {
                    const uint MountIds = 0x1000 | 0x4000; // STATX_MNT_ID, STATX_MNT_ID_UNIQUE: the host's are none of the guest's
                    owners.AdjustStatX(buffer.Span, at.Descriptor);
                    BinaryPrimitives.WriteUInt32LittleEndian(buffer.Span, BinaryPrimitives.ReadUInt32LittleEndian(buffer.Span) & ~MountIds);
                    buffer.Span.Slice(144, 8).Clear();
                }
            }
            if (status >= 0) status = thread.Put(args.A4, buffer.Span);
        }
        resolved.Dispose();
        return status;
    }

    private const int StatFsSize = 120;

    private static long StatFs(GuestThread thread, in SyscallArgs args)
    {
        var resolved = ResolvedPath.Of(thread, unchecked((ulong)At.FdCwd), args.A0, Request(thread, PathIntent.Handle, 0));
        long status = resolved.Status < 0 ? resolved.Status : PutStatFs(thread, resolved.Result.Descriptor, resolved.Result.Node, (resolved.Result.FileSystem as HostFileSystem)?.Space, args.A1);
        resolved.Dispose();
        return status;
    }

    private static long FStatFs(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long status = PutStatFs(thread, file.HostDescriptor, file.Node, FileSizeLimit.SpaceOf(file), args.A1);
        file.Release();
        return status;
    }

    private static long PutStatFs(GuestThread thread, int descriptor, SyntheticNode? node, TemporarySpace? space, ulong address)
    {
        using var buffer = HostScratch.Rent(StatFsSize);
        if (node == null)
        {
            long status = HostSyscall.Invoke(HostCall.FStatFs, descriptor, buffer.Address);
            if (status == 0 && space != null)
            {
                // f_bsize at 8, f_blocks at 16, f_bfree at 24, f_bavail at 32.
                ulong block = BinaryPrimitives.ReadUInt64LittleEndian(buffer.Span[8..]), free = space.CountFree() / block;
                BinaryPrimitives.WriteUInt64LittleEndian(buffer.Span[16..], space.Size / block);
                BinaryPrimitives.WriteUInt64LittleEndian(buffer.Span[24..], free);
                BinaryPrimitives.WriteUInt64LittleEndian(buffer.Span[32..], free);
            }
            return status < 0 ? status : thread.Put(address, buffer.Span);
        }
        buffer.Span.Clear();
        // PROC_SUPER_MAGIC, SYSFS_MAGIC, TMPFS_MAGIC.
        ulong magic = node.Path.StartsWith("/proc", StringComparison.Ordinal) ? 0x9FA0UL : node.Path.StartsWith("/sys", StringComparison.Ordinal) ? 0x62656572UL : 0x01021994UL;
        BinaryPrimitives.WriteUInt64LittleEndian(buffer.Span, magic);
        BinaryPrimitives.WriteUInt64LittleEndian(buffer.Span[8..], 4096);
        BinaryPrimitives.WriteUInt64LittleEndian(buffer.Span[64..], 255);
        BinaryPrimitives.WriteUInt64LittleEndian(buffer.Span[72..], 4096);
        return thread.Put(address, buffer.Span);
    }

    // ---- access, readlink, truncate ----

    private static long FAccessAt(GuestThread thread, in SyscallArgs args) => Access(thread, args.A0, args.A1, (int)args.A2, 0);
    private static long FAccessAt2(GuestThread thread, in SyscallArgs args) => Access(thread, args.A0, args.A1, (int)args.A2, (int)args.A3);

    private static long Access(GuestThread thread, ulong directory, ulong path, int mode, int flags)
    {
        if ((mode & ~7) != 0 || (flags & ~(At.EAccess | At.SymlinkNoFollow | At.EmptyPath)) != 0) return -Errno.EINVAL;
        var own = thread.Process.Credentials;
        var (uid, gid) = (flags & At.EAccess) != 0 ? (own.EffectiveUid, own.EffectiveGid) : (own.Uid, own.Gid);
        if (uid != 0 && thread.Process.Fs.Space.Owners != null) return AccessOf(thread, own with { FsUid = uid, FsGid = gid }, directory, path, mode, flags);
        return Access(thread, directory, path, mode, flags, probe: true) ?? Access(thread, directory, path, mode, flags, probe: false)!.Value;
    }

    // For who is not root: by the owners and modes that the guest sees.
    private static long AccessOf(GuestThread thread, Credentials who, ulong directory, ulong path, int mode, int flags)
    {
        var request = new PathRequest(PathIntent.Handle, (flags & At.SymlinkNoFollow) == 0) { Caller = thread.Process, Who = who };
        var resolved = ResolvedPath.Of(thread, directory, path, request, (flags & At.EmptyPath) != 0);
        long status = resolved.Status;
        if (status >= 0)
        {
            ref var at = ref resolved.Result;
            if (at.Node != null) status = AccessOf(at.Node, mode);
            else if (!at.IsDevice && mode != 0)
            {
                status = Permissions.Of(at.Descriptor, thread.Process.Fs.Space.Owners, out var permissions);
                if (status == 0 && !permissions.Allow(who, mode)) status = -Errno.EACCES;
                if (status == 0 && (mode & Vfs.Access.Write) != 0 && at.FileSystem is HostFileSystem { ReadOnly: true }) status = -Errno.EROFS;
            }
        }
        resolved.Dispose();
        return status;
    }

    private static long AccessOf(SyntheticNode node, int mode) =>
        (mode & 2) != 0 && (node.Mode & 0x92) == 0 || (mode & 1) != 0 && (node.Mode & 0x49) == 0 ? -Errno.EACCES : 0;

    private static long? Access(GuestThread thread, ulong directory, ulong path, int mode, int flags, bool probe)
    {
        var resolved = new ResolvedPath();
        resolved.Resolve(thread, directory, path, Request(thread, PathIntent.At, flags, probe), (flags & At.EmptyPath) != 0);
        long status = resolved.Status;
        if (status >= 0)
        {
            ref var at = ref resolved.Result;
            if (at.MayBeLink)
            {
                status = FileStat.OfPath(at.Descriptor, at.Leaf, At.SymlinkNoFollow, out var stat);
                if (status >= 0 && NeedsObject(stat.Mode, flags) || IsDoubtful(status, at))
                {
                    resolved.Dispose();
                    return null;
                }
            }
            if (status < 0) { }
            else if ((mode & Vfs.Access.Write) != 0 && at.FileSystem is HostFileSystem { ReadOnly: true }) status = -Errno.EROFS;
            else if (at.Node != null) status = AccessOf(at.Node, mode);
            else if (mode != 0 && !probe && thread.Process.Fs.Space.Owners is { } owners && owners.Get(at.Descriptor, out var record, out _) > 0)
            {
                // The host's mode is not what the guest sees.
                status = new Permissions(record.Uid, record.Gid, record.Mode, true).Allow(Credentials.Of(0, 0), mode) ? 0 : -Errno.EACCES;
            }
            else
            {
                status = HostSyscall.Invoke(HostCall.FAccessAt2, at.Descriptor, at.Leaf, mode, at.AtFlags | flags & At.EAccess);
            }
        }
        resolved.Dispose();
        return status;
    }

    private static long ReadLinkAt(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A3 <= 0) return -Errno.EINVAL;
        // No walk follows the last link; an empty path names an O_PATH descriptor of a link.
        var request = new PathRequest(PathIntent.Handle, false) { Caller = thread.Process };
        var resolved = ResolvedPath.Of(thread, args.A0, args.A1, request, emptyPath: true);
        long status = resolved.Status;
        if (status >= 0)
        {
            ref var at = ref resolved.Result;
            using var buffer = HostScratch.Rent(PathBuffer.Maximum + 16);
            if (at.Node != null)
            {
                string? target = at.Node.IsLink ? at.Node.Target(thread.Process) : null;
                status = target == null ? at.Node.IsLink ? -Errno.ENOENT : -Errno.EINVAL : Math.Min(System.Text.Encoding.Latin1.GetBytes(target, buffer.Span), (int)args.A3);
            }
            else
            {
                buffer.Span[PathBuffer.Maximum] = 0;
                status = HostSyscall.Invoke(HostCall.ReadLinkAt, at.Descriptor, buffer.Address + PathBuffer.Maximum, buffer.Address, Math.Min((int)args.A3, PathBuffer.Maximum));
                // The kernel tells an empty path from a file that is no link.
                if (status is -Errno.ENOENT or -Errno.EINVAL) status = at.AtFlags == At.EmptyPath ? -Errno.ENOENT : -Errno.EINVAL;
            }
            if (status > 0 && thread.Put(args.A2, buffer.Span[..(int)status]) < 0) status = -Errno.EFAULT;
        }
        resolved.Dispose();
        return status;
    }

    private static long Truncate(GuestThread thread, in SyscallArgs args)
    {
        long length = (long)args.A1;
        if (length < 0) return -Errno.EINVAL;
        if (FileSizeLimit.Check(thread, args.A1) is < 0 and var error) return error;
        var resolved = ResolvedPath.Of(thread, unchecked((ulong)At.FdCwd), args.A0, new PathRequest(PathIntent.Handle) { Caller = thread.Process, Modifies = true, Needs = Vfs.Access.Write });
        long status = resolved.Status;
        if (status >= 0)
        {
            using var name = HostScratch.Rent(32);
            HostPaths.WriteLinkName(resolved.Result.Descriptor, name.Span);
            status = resolved.Result.Node != null ? resolved.Result.Node.IsDirectory ? -Errno.EISDIR : 0 : HostSyscall.Invoke(HostCall.Truncate, name.Address, length);
        }
        resolved.Dispose();
        return status;
    }

    // ---- names ----

    private static long MkNodAt(GuestThread thread, in SyscallArgs args)
    {
        uint mode = (uint)args.A2, type = mode & FileType.Mask;
        ulong device = args.A3;
        HostUmask.Apply(thread.Process.Fs.Umask);
        // A real device node would lead out of the tree where viv runs as root.
        if (thread.Process.Fs.Space.Confined && type is FileType.Block or FileType.Character)
        {
            if (thread.Process.Credentials.EffectiveUid != 0) return -Errno.EPERM;
            mode &= ~(uint)thread.Process.Fs.Umask;
            return OnParent(thread, args.A0, args.A1, type, (directory, leaf) => Ownership.MakeDevice(directory, leaf, mode, device));
        }
        return OnParent(thread, args.A0, args.A1, type == 0 ? FileType.Regular : type, (directory, leaf) => HostSyscall.Invoke(HostCall.MkNodAt, directory, leaf, mode, (long)device));
    }

    private static long MkDirAt(GuestThread thread, in SyscallArgs args)
    {
        HostUmask.Apply(thread.Process.Fs.Umask);
        long mode = (long)args.A2;
        return OnParent(thread, args.A0, args.A1, FileType.Directory, (directory, leaf) => HostSyscall.Invoke(HostCall.MkDirAt, directory, leaf, mode));
    }

    private static long UnlinkAt(GuestThread thread, in SyscallArgs args)
    {
        if (((int)args.A2 & ~At.RemoveDir) != 0) return -Errno.EINVAL;
        var resolved = ResolvedPath.Of(thread, args.A0, args.A1, new PathRequest(PathIntent.Parent) { Caller = thread.Process, Removes = true });
        long status = resolved.Status < 0 ? resolved.Status : resolved.Result.FileSystem!.RemoveName(resolved.Result, thread.Process, (int)args.A2);
        resolved.Dispose();
        return status == -Errno.EEXIST ? -Errno.EROFS : status;
    }

    private static long OnParent(GuestThread thread, ulong directory, ulong path, uint type, NameMaker maker)
    {
        var resolved = ResolvedPath.Of(thread, directory, path, new PathRequest(PathIntent.Parent) { Caller = thread.Process, Makes = true });
        long status = resolved.Status < 0 ? resolved.Status : resolved.Result.FileSystem!.MakeName(resolved.Result, thread.Process, type, maker);
        resolved.Dispose();
        return status;
    }

    private static long SymlinkAt(GuestThread thread, in SyscallArgs args)
    {
        // The text of a link is kept as it is: it is resolved in the guest's tree whenever it is followed.
        long status = PathBuffer.Read(thread.Window, args.A0, out var text);
        if (status < 0) return status;
        long address = text.Address;
        status = text.Length == 0 ? -Errno.ENOENT
            : OnParent(thread, args.A1, args.A2, FileType.Link, (directory, leaf) => HostSyscall.Invoke(HostCall.SymlinkAt, address, directory, leaf));
        text.Dispose();
        return status;
    }

    private static long LinkAt(GuestThread thread, in SyscallArgs args)
    {
        int flags = (int)args.A4;
        if ((flags & ~(At.SymlinkFollow | At.EmptyPath)) != 0) return -Errno.EINVAL;
        var old = ResolvedPath.Of(thread, args.A0, args.A1, new PathRequest(PathIntent.Handle, (flags & At.SymlinkFollow) != 0) { Caller = thread.Process, Modifies = true }, (flags & At.EmptyPath) != 0);
        var made = ResolvedPath.Of(thread, args.A2, args.A3, new PathRequest(PathIntent.Parent) { Caller = thread.Process, Makes = true });
        long status = old.Status < 0 ? old.Status : made.Status;
        if (status >= 0 && (old.Result.Node != null || old.Result.FileSystem is { } there && !there.SharesNames(made.Result.FileSystem!))) status = -Errno.EXDEV;
        var space = thread.Process.Fs.Space;
        if (status >= 0 && space.Restricts(thread.Process.Credentials) && Permissions.Of(old.Result.Descriptor, space.Owners, out var permissions) == 0
            && !permissions.AllowsLinks(thread.Process.Credentials)) status = -Errno.EPERM;
        if (status >= 0)
        {
            // The descriptor is the file itself; /proc/self/fd needs no privilege, AT_EMPTY_PATH does.
            using var name = HostName.OfDescriptor(old.Result.Descriptor);
            long address = name.Address;
            status = made.Result.FileSystem!.MakeName(made.Result, null, 0,
                (directory, leaf) => HostSyscall.Invoke(HostCall.LinkAt, At.FdCwd, address, directory, leaf, At.SymlinkFollow));
            if (status >= 0 && space.Owners != null && made.Result.FileSystem is HostFileSystem && FileStat.OfDescriptor(old.Result.Descriptor, out var stat) >= 0
                && Ownership.IsDevice(old.Result.Descriptor, stat, out _)) DeviceNames.Mark(made.Result.Descriptor);
        }
        made.Dispose();
        old.Dispose();
        return status;
    }

    private static long RenameAt(GuestThread thread, in SyscallArgs args) => Rename(thread, args.A0, args.A1, args.A2, args.A3, 0);
    private static long RenameAt2(GuestThread thread, in SyscallArgs args) => Rename(thread, args.A0, args.A1, args.A2, args.A3, args.A4);

    private static long Rename(GuestThread thread, ulong oldDirectory, ulong oldPath, ulong newDirectory, ulong newPath, ulong flags)
    {
        var old = ResolvedPath.Of(thread, oldDirectory, oldPath, new PathRequest(PathIntent.Parent) { Caller = thread.Process, Removes = true });
        var renamed = ResolvedPath.Of(thread, newDirectory, newPath, new PathRequest(PathIntent.Parent) { Caller = thread.Process, Makes = true, Removes = true });
        long status = old.Status < 0 ? old.Status == -Errno.EEXIST ? -Errno.EROFS : old.Status
            : renamed.Status < 0 ? renamed.Status == -Errno.EEXIST ? -Errno.EROFS : renamed.Status
            : !old.Result.FileSystem!.SharesNames(renamed.Result.FileSystem!) ? -Errno.EXDEV
            : old.Result.FileSystem.RenameName(old.Result, renamed.Result, thread.Process, flags);
        renamed.Dispose();
        old.Dispose();
        return status;
    }
}
