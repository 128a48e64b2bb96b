using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>Permissions, owners, times and extended attributes.</summary>
internal static class FileAttributeSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(5, "setxattr", "path str ptr size hex", (GuestThread t, in SyscallArgs a) => SetXAttr(t, a, true)),
        new(6, "lsetxattr", "path str ptr size hex", (GuestThread t, in SyscallArgs a) => SetXAttr(t, a, false)),
        new(7, "fsetxattr", "fd str ptr size hex", FSetXAttr),
        new(8, "getxattr", "path str ptr size", (GuestThread t, in SyscallArgs a) => GetXAttr(t, a, true)),
        new(9, "lgetxattr", "path str ptr size", (GuestThread t, in SyscallArgs a) => GetXAttr(t, a, false)),
        new(10, "fgetxattr", "fd str ptr size", FGetXAttr),
        new(11, "listxattr", "path ptr size", (GuestThread t, in SyscallArgs a) => ListXAttr(t, a, true)),
        new(12, "llistxattr", "path ptr size", (GuestThread t, in SyscallArgs a) => ListXAttr(t, a, false)),
        new(13, "flistxattr", "fd ptr size", FListXAttr),
        new(14, "removexattr", "path str", (GuestThread t, in SyscallArgs a) => RemoveXAttr(t, a, true)),
        new(15, "lremovexattr", "path str", (GuestThread t, in SyscallArgs a) => RemoveXAttr(t, a, false)),
        new(16, "fremovexattr", "fd str", FRemoveXAttr),
        new(52, "fchmod", "fd mode", FChMod),
        new(53, "fchmodat", "atfd path mode", FChModAt),
        new(452, "fchmodat2", "atfd path mode flags:at", FChModAt2),
        new(54, "fchownat", "atfd path int int flags:at", FChOwnAt),
        new(55, "fchown", "fd int int", FChOwn),
        new(88, "utimensat", "atfd path ptr flags:at", UTimeNsAt),
        new(166, "umask", "mode", UMask),
    ];

    private static long UMask(GuestThread thread, in SyscallArgs args)
    {
        int old = thread.Process.Fs.Umask;
        thread.Process.Fs.Umask = (int)args.A0;
        return old;
    }

    // ---- permissions and owners ----

    private static long FChMod(GuestThread thread, in SyscallArgs args)
    {
        if (thread.Process.Fs.Space.Owners is not { } owners) return FileSyscalls.Plain(thread, HostCall.FChMod, args.A0, args.A1 & 0xFFF);
        uint mode = (uint)args.A1;
        return OnDescriptor(thread, args.A0, descriptor => owners.ChangeMode(descriptor, mode, thread.Process.Credentials));
    }

    private static long OnDescriptor(GuestThread thread, ulong fd, Func<int, long> change)
    {
        var file = thread.Process.Files.Acquire((int)fd);
        if (file == null) return -Errno.EBADF;
        long status = file.Node != null ? -Errno.EPERM : file.PrepareChange(thread.Process);
        if (status >= 0 && (HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, 3) & OpenFlags.Path) != 0) status = -Errno.EBADF;
        if (status >= 0) status = change(file.HostDescriptor);
        file.Release();
        return status;
    }

    private static long FChModAt(GuestThread thread, in SyscallArgs args) => ChMod(thread, args.A0, args.A1, args.A2, 0);
    private static long FChModAt2(GuestThread thread, in SyscallArgs args) => ChMod(thread, args.A0, args.A1, args.A2, (int)args.A3);

    private static long ChMod(GuestThread thread, ulong directory, ulong path, ulong mode, int flags)
    {
        if ((flags & ~(At.SymlinkNoFollow | At.EmptyPath)) != 0) return -Errno.EINVAL;
        var resolved = ResolvedPath.Of(thread, directory, path, Handle(thread, (flags & At.SymlinkNoFollow) == 0, modifies: true), (flags & At.EmptyPath) != 0);
        long status = resolved.Status;
        if (status >= 0)
        {
            using var name = HostScratch.Rent(32);
            HostPaths.WriteLinkName(resolved.Result.Descriptor, name.Span);
            // A link has no permissions of its own: the kernel, too, says EOPNOTSUPP.
            status = resolved.Result.Node != null ? -Errno.EPERM : IsLink(resolved.Result.Descriptor) ? -Errno.EOPNOTSUPP
                : thread.Process.Fs.Space.Owners is { } owners ? owners.ChangeMode(resolved.Result.Descriptor, (uint)mode, thread.Process.Credentials)
                : HostSyscall.Invoke(HostCall.Chmod, name.Address, (long)(mode & 0xFFF));
        }
        resolved.Dispose();
        return status;
    }

    private static bool IsLink(int descriptor) => FileStat.OfDescriptor(descriptor, out var stat) >= 0 && (stat.Mode & FileType.Mask) == FileType.Link;

    private static PathRequest Handle(GuestThread thread, bool follow, bool modifies = false) => new(PathIntent.Handle, follow) { Caller = thread.Process, Modifies = modifies };

    private static long FChOwn(GuestThread thread, in SyscallArgs args)
    {
        if (thread.Process.Fs.Space.Owners is not { } owners) return FileSyscalls.Plain(thread, HostCall.FChOwn, args.A0, (uint)args.A1, (uint)args.A2);
        uint uid = (uint)args.A1, gid = (uint)args.A2;
        return OnDescriptor(thread, args.A0, descriptor => owners.ChangeOwner(descriptor, uid, gid, thread.Process.Credentials));
    }

    private static long FChOwnAt(GuestThread thread, in SyscallArgs args)
    {
        int flags = (int)args.A4;
        if ((flags & ~(At.SymlinkNoFollow | At.EmptyPath)) != 0) return -Errno.EINVAL;
        var resolved = ResolvedPath.Of(thread, args.A0, args.A1, new PathRequest(PathIntent.At, (flags & At.SymlinkNoFollow) == 0) { Caller = thread.Process, Modifies = true }, (flags & At.EmptyPath) != 0);
        ref var at = ref resolved.Result;
        long status = resolved.Status < 0 ? resolved.Status : at.Node != null ? -Errno.EPERM
            : thread.Process.Fs.Space.Owners is { } owners ? owners.ChangeOwner(at.Descriptor, (uint)args.A2, (uint)args.A3, thread.Process.Credentials)
            : HostSyscall.Invoke(HostCall.FChOwnAt, at.Descriptor, at.Leaf, (long)(uint)args.A2, (long)(uint)args.A3, at.AtFlags);
        resolved.Dispose();
        return status;
    }

    // The host's devices are everybody's.
    private static bool IsOthers(GuestThread thread, int descriptor) => thread.Process.Fs.Space.Confined && Ownership.IsHostDevice(descriptor);

    // ---- times ----

    private static long UTimeNsAt(GuestThread thread, in SyscallArgs args)
    {
        int flags = (int)args.A3;
        if ((flags & ~(At.SymlinkNoFollow | At.EmptyPath)) != 0) return -Errno.EINVAL;
        if (!thread.TryHostOrNull(args.A2, 32, out long times)) return -Errno.EFAULT;
        if (args.A1 == 0)
        {
            // futimens: a NULL path means the descriptor.
            if ((int)args.A0 == At.FdCwd) return -Errno.EFAULT;
            var file = thread.Process.Files.Acquire((int)args.A0);
            if (file == null) return -Errno.EBADF;
            long result = file.Node != null ? -Errno.EPERM : file.PrepareChange(thread.Process) is < 0 and var refused ? refused : IsOthers(thread, file.HostDescriptor) ? 0
                : MayTouch(thread, file.HostDescriptor, args.A2) is < 0 and var forbidden ? forbidden : HostSyscall.Invoke(HostCall.UTimeNsAt, file.HostDescriptor, 0, times, 0);
            file.Release();
            return result;
        }
        var resolved = ResolvedPath.Of(thread, args.A0, args.A1, new PathRequest(PathIntent.At, (flags & At.SymlinkNoFollow) == 0) { Caller = thread.Process, Modifies = true }, (flags & At.EmptyPath) != 0);
        long status = resolved.Status;
        if (status >= 0)
        {
            ref var at = ref resolved.Result;
            status = at.Node != null ? -Errno.EPERM : IsOthers(thread, at.Descriptor) ? 0 : MayTouch(thread, at.Descriptor, args.A2) is < 0 and var refused ? refused : HostSyscall.Invoke(HostCall.UTimeNsAt, at.Descriptor, at.Leaf, times, at.AtFlags);
        }
        resolved.Dispose();
        return status;
    }

    // Who may write may set the times to now, only the owner to anything else.
    private static long MayTouch(GuestThread thread, int descriptor, ulong times)
    {
        const long Now = 0x3fffffff, Omit = 0x3ffffffe;
        var space = thread.Process.Fs.Space;
        var who = thread.Process.Credentials;
        if (!space.Restricts(who) || Permissions.Of(descriptor, space.Owners, out var permissions) < 0 || !permissions.Known || permissions.Uid == who.FsUid) return 0;
        if (times == 0) return permissions.Allow(who, Vfs.Access.Write) ? 0 : -Errno.EACCES;
        if (!thread.Window.TryLoad64(times + 8, out ulong access) || !thread.Window.TryLoad64(times + 24, out ulong modify)) return -Errno.EFAULT;
        if (access == (ulong)Omit && modify == (ulong)Omit) return 0;
        return access != (ulong)Now || modify != (ulong)Now ? -Errno.EPERM : permissions.Allow(who, Vfs.Access.Write) ? 0 : -Errno.EACCES;
    }

    // user.* attributes are read and written like contents.
    private static long MayUseAttribute(GuestThread thread, int descriptor, long call, ulong? name)
    {
        var space = thread.Process.Fs.Space;
        var who = thread.Process.Credentials;
        if (name == null || !space.Restricts(who)) return 0;
        Span<byte> start = stackalloc byte[5];
        if (thread.Get(name.Value, start) < 0 || !start.SequenceEqual("user."u8)) return 0;
        bool reads = call is HostCall.GetXAttr or HostCall.FGetXAttr;
        return Permissions.Of(descriptor, space.Owners, out var permissions) < 0 || permissions.Allow(who, reads ? Vfs.Access.Read : Vfs.Access.Write) ? 0 : -Errno.EACCES;
    }

    // ---- extended attributes ----

    private const int NameMaximum = 256;

    private static long SetXAttr(GuestThread thread, in SyscallArgs args, bool follow) => OnPath(thread, args.A0, follow, HostCall.SetXAttr, args.A1, args.A2, args.A3, (long)args.A4);
    private static long GetXAttr(GuestThread thread, in SyscallArgs args, bool follow) => OnPath(thread, args.A0, follow, HostCall.GetXAttr, args.A1, args.A2, args.A3, 0);
    private static long RemoveXAttr(GuestThread thread, in SyscallArgs args, bool follow) => OnPath(thread, args.A0, follow, HostCall.RemoveXAttr, args.A1, 0, 0, 0);
    private static long ListXAttr(GuestThread thread, in SyscallArgs args, bool follow) => OnPath(thread, args.A0, follow, HostCall.ListXAttr, null, args.A1, args.A2, 0);
    private static long FSetXAttr(GuestThread thread, in SyscallArgs args) => OnFile(thread, args.A0, HostCall.FSetXAttr, args.A1, args.A2, args.A3, (long)args.A4);
    private static long FGetXAttr(GuestThread thread, in SyscallArgs args) => OnFile(thread, args.A0, HostCall.FGetXAttr, args.A1, args.A2, args.A3, 0);
    private static long FRemoveXAttr(GuestThread thread, in SyscallArgs args) => OnFile(thread, args.A0, HostCall.FRemoveXAttr, args.A1, 0, 0, 0);
    private static long FListXAttr(GuestThread thread, in SyscallArgs args) => OnFile(thread, args.A0, HostCall.FListXAttr, null, args.A1, args.A2, 0);

    private static long OnPath(GuestThread thread, ulong path, bool follow, long call, ulong? name, ulong value, ulong size, long flags)
    {
        var resolved = ResolvedPath.Of(thread, unchecked((ulong)At.FdCwd), path, Handle(thread, follow, call is HostCall.SetXAttr or HostCall.RemoveXAttr));
        long status = resolved.Status;
        if (status >= 0)
        {
            using var link = HostScratch.Rent(32);
            HostPaths.WriteLinkName(resolved.Result.Descriptor, link.Span);
            // The name leads to the object itself, be it a link. What is synthetic has no attributes.
            status = resolved.Result.Node != null
                ? call == HostCall.ListXAttr ? 0 : call == HostCall.SetXAttr ? -Errno.EPERM : -Errno.ENODATA
                : call is HostCall.SetXAttr or HostCall.RemoveXAttr && IsOthers(thread, resolved.Result.Descriptor) ? -Errno.EPERM
                : MayUseAttribute(thread, resolved.Result.Descriptor, call, name) is < 0 and var refused ? refused
                : Call(thread, call, link.Address, name, value, size, flags);
        }
        resolved.Dispose();
        return status;
    }

    private static long OnFile(GuestThread thread, ulong fd, long call, ulong? name, ulong value, ulong size, long flags)
    {
        var file = thread.Process.Files.Acquire((int)fd);
        if (file == null) return -Errno.EBADF;
        long status = call is HostCall.FSetXAttr or HostCall.FRemoveXAttr ? file.PrepareChange(thread.Process) : 0;
        if (status >= 0 && call is HostCall.FSetXAttr or HostCall.FRemoveXAttr && IsOthers(thread, file.HostDescriptor)) status = -Errno.EPERM;
        if (status >= 0) status = Call(thread, call, file.HostDescriptor, name, value, size, flags);
        file.Release();
        return status;
    }

    private static long Call(GuestThread thread, long call, long target, ulong? name, ulong value, ulong size, long flags)
    {
        if (!thread.TryHostOrNull(value, size, out long buffer)) return -Errno.EFAULT;
        var owners = thread.Process.Fs.Space.Owners;
        if (name is not { } address) return owners == null ? HostSyscall.Invoke(call, target, buffer, (long)size) : List(thread, call, target, value, size);
        using var text = HostScratch.Rent(NameMaximum);
        int length = thread.Window.ReadCString(address, text.Span);
        if (length < 0) return length == -Errno.ENAMETOOLONG ? -Errno.ERANGE : length;
        if (length >= NameMaximum) return -Errno.ERANGE;
        text.Span[length] = 0;
        if (owners != null)
        {
            if (ExtendedAttributes.IsHidden(text.Span[..length])) return call is HostCall.SetXAttr or HostCall.FSetXAttr ? -Errno.EPERM : -Errno.ENODATA;
            if (ExtendedAttributes.IsPrivileged(text.Span[..length])) return Privileged(thread, owners, call, target, text.Span[..length], text.Address, buffer, size, flags);
        }
        return HostSyscall.Invoke(call, target, text.Address, buffer, (long)size, flags);
    }

    // security.* and trusted.*: as root of the host they are what they are; else under a name of ours.
    private static long Privileged(GuestThread thread, Ownership owners, long call, long target, ReadOnlySpan<byte> name, long address, long buffer, ulong size, long flags)
    {
        bool changes = call is HostCall.SetXAttr or HostCall.FSetXAttr or HostCall.RemoveXAttr or HostCall.FRemoveXAttr;
        if (changes && thread.Process.Credentials.EffectiveUid != 0) return -Errno.EPERM;
        if (owners.Real)
        {
            long real = HostSyscall.Invoke(call, target, address, buffer, (long)size, flags);
            if (real is not (-Errno.EPERM or -Errno.EOPNOTSUPP or -Errno.ENODATA)) return real;
        }
        using var other = HostScratch.Rent(NameMaximum);
        if (ExtendedAttributes.WriteStandIn(name, other.Span) < 0) return -Errno.ERANGE;
        return HostSyscall.Invoke(call, target, other.Address, buffer, (long)size, flags);
    }

    private static long List(GuestThread thread, long call, long target, ulong value, ulong size)
    {
        using var names = HostScratch.Rent(65536);
        long length = HostSyscall.Invoke(call, target, names.Address, names.Length);
        if (length <= 0) return length;
        length = ExtendedAttributes.Filter(names.Span[..(int)length]);
        if (size == 0) return length;
        if (size < (ulong)length) return -Errno.ERANGE;
        return thread.Put(value, names.Span[..(int)length]) < 0 ? -Errno.EFAULT : length;
    }
}
