using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>mount, umount2, chroot, pivot_root: a guest's root arranges the tree of its realm. Nothing of the host can be reached that was not
/// reachable before. All processes of a realm see the same mounts.</summary>
internal static class MountSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(39, "umount2", "path hex", Unmount),
        new(40, "mount", "path path str hex ptr", Mount),
        new(41, "pivot_root", "path path", PivotRoot),
        new(51, "chroot", "path", ChangeRoot),
    ];

    private const ulong ReadOnly = 1, NoSuid = 2, NoDev = 4, NoExec = 8, Remount = 32, Bind = 4096, Move = 8192, Recursive = 16384,
        Unbindable = 1 << 17, Private = 1 << 18, Slave = 1 << 19, Shared = 1 << 20, Relatime = 1 << 21;

    private static bool MayMount(GuestThread thread) => thread.Process.Fs.Space.Confined && thread.Process.Credentials.EffectiveUid == 0;

    // The path of an existing object from the realm's root, without links; and whether it is a directory.
    private static long Canonical(GuestThread thread, ulong address, bool follow, out byte[] canonical, out bool directory)
    {
        canonical = [];
        directory = false;
        var request = new PathRequest(PathIntent.Handle, follow) { Caller = thread.Process, WantsPath = true };
        var resolved = ResolvedPath.Of(thread, unchecked((ulong)At.FdCwd), address, request);
        long status = resolved.Status;
        if (status >= 0)
        {
            canonical = resolved.Canonical.Trim((byte)'/').ToArray();
            directory = resolved.Result.Node != null ? resolved.Result.Node.IsDirectory
                : FileStat.OfDescriptor(resolved.Result.Descriptor, out var stat) >= 0 && (stat.Mode & FileType.Mask) == FileType.Directory;
        }
        resolved.Dispose();
        return status;
    }

    private static long Mount(GuestThread thread, in SyscallArgs args)
    {
        if (!MayMount(thread)) return -Errno.EPERM;
        ulong flags = args.A3;
        if ((flags & 0xFFFF0000) == 0xC0ED0000) flags &= 0xFFFF;
        long status = Canonical(thread, args.A1, true, out var target, out bool directory);
        if (status < 0) return status;
        var space = thread.Process.Fs.Space;
        if ((flags & Remount) != 0) return target.Length == 0 || space.Mounts.SetOptions(target, Options(flags), (flags & Bind) == 0 ? (flags & ReadOnly) != 0 : null) ? 0 : -Errno.EINVAL;
        // All processes share the mounts already: how they spread makes no difference.
        if ((flags & (Unbindable | Private | Slave | Shared)) != 0) return 0;
        if ((flags & Bind) != 0)
        {
            status = Canonical(thread, args.A0, true, out var source, out bool sourceDirectory);
            if (status < 0) return status;
            if (directory != sourceDirectory) return -Errno.ENOTDIR;
            space.BindMount(source, target, (flags & Recursive) != 0);
            return 0;
        }
        if ((flags & Move) != 0)
        {
            status = Canonical(thread, args.A0, true, out var source, out _);
            if (status < 0) return status;
            var mount = space.Mounts.Remove(source, busyBelow: true, out bool busy);
            if (mount == null) return busy ? -Errno.EBUSY : -Errno.EINVAL;
            space.Mounts.Add(target, mount.FileSystem, mount.Type, mount.Source, mount.Options);
            return 0;
        }

        string? type = args.A2 == 0 ? "" : thread.Window.ReadString(args.A2, 256, out _);
        if (type == null) return -Errno.EFAULT;
        if (!directory) return -Errno.ENOTDIR;
        string data = args.A4 == 0 ? "" : thread.Window.ReadString(args.A4, 4096, out _) ?? "";
        string name = args.A0 == 0 ? type : thread.Window.ReadString(args.A0, 4096, out _) ?? type;
        string path = "/" + Encoding.Latin1.GetString(target);
        if (!TemporarySpace.TryParse(data, out ulong? size)) return -Errno.EINVAL;
        FileSystem? fileSystem = type switch
        {
            "proc" => new SyntheticFileSystem(ProcFileSystem.Create(hostTree: false)),
            "sysfs" => new SyntheticFileSystem(SysFileSystem.Create()),
            "devtmpfs" => new SyntheticFileSystem(DeviceFileSystem.Create(space)),
            "devpts" => new SyntheticFileSystem(DeviceFileSystem.Terminals(space)),
            "tmpfs" or "ramfs" or "mqueue" => new TemporaryFileSystem(space, path, ModeOf(data), size),
            _ => null,
        };
        if (fileSystem == null) return -Errno.ENODEV;
        if (fileSystem is TemporaryFileSystem temporary) temporary.ReadOnly = (flags & ReadOnly) != 0;
        space.Mounts.Add(target, fileSystem, type, name.Length == 0 ? "none" : name, Options(flags) + (size != null && type == "tmpfs" ? $",size={size / 1024}k" : ""));
        return 0;
    }

    private static uint ModeOf(string data)
    {
        foreach (string option in data.Split(','))
        {
            if (!option.StartsWith("mode=", StringComparison.Ordinal)) continue;
            try
            {
                return Convert.ToUInt32(option[5..], 8) & 0xFFF;
            }
            catch (Exception error) when (error is FormatException or OverflowException or ArgumentException)
            {
                break;
            }
        }
        return 0x3FF;
    }

    private static string Options(ulong flags)
    {
        var text = new StringBuilder((flags & ReadOnly) != 0 ? "ro" : "rw");
        foreach (var (bit, name) in (ReadOnlySpan<(ulong, string)>)[(NoSuid, ",nosuid"), (NoDev, ",nodev"), (NoExec, ",noexec"), (Relatime, ",relatime")])
        {
            if ((flags & bit) != 0) text.Append(name);
        }
        return text.ToString();
    }

    private static long Unmount(GuestThread thread, in SyscallArgs args)
    {
        const ulong force = 1, detach = 2, expire = 4, noFollow = 8;
        if ((args.A1 & ~(force | detach | expire | noFollow)) != 0) return -Errno.EINVAL;
        if (!MayMount(thread)) return -Errno.EPERM;
        long status = Canonical(thread, args.A0, (args.A1 & noFollow) == 0, out var path, out _);
        if (status < 0) return status;
        if (path.Length == 0) return -Errno.EBUSY;
        bool lazy = (args.A1 & detach) != 0;
        return thread.Process.Fs.Space.Mounts.Remove(path, busyBelow: !lazy, out bool busy) != null ? 0 : busy ? -Errno.EBUSY : -Errno.EINVAL;
    }

    private static long ChangeRoot(GuestThread thread, in SyscallArgs args)
    {
        long status = Canonical(thread, args.A0, true, out var path, out bool directory);
        if (status < 0) return status;
        if (!directory) return -Errno.ENOTDIR;
        if (!MayMount(thread)) return MaySearch(thread, args.A0) < 0 ? -Errno.EACCES : -Errno.EPERM;
        thread.Process.Fs.ChangeRoot(thread.Process.Fs.Space.At(path));
        return 0;
    }

    private static long MaySearch(GuestThread thread, ulong path)
    {
        var resolved = ResolvedPath.Of(thread, unchecked((ulong)At.FdCwd), path, new PathRequest(PathIntent.Handle) { Caller = thread.Process, Needs = Access.Execute });
        long status = resolved.Status;
        resolved.Dispose();
        return status;
    }

    // The old root is not moved: it is shown at the second path, and everybody else stays where he is.
    private static long PivotRoot(GuestThread thread, in SyscallArgs args)
    {
        if (!MayMount(thread)) return -Errno.EPERM;
        long status = Canonical(thread, args.A0, true, out var root, out bool isDirectory);
        if (status < 0) return status;
        status = Canonical(thread, args.A1, true, out var old, out bool oldIsDirectory);
        if (status < 0) return status;
        if (!isDirectory || !oldIsDirectory) return -Errno.ENOTDIR;
        var space = thread.Process.Fs.Space;
        if (root.Length == 0 || !old.AsSpan().StartsWith(root)) return root.Length == 0 ? -Errno.EBUSY : -Errno.EINVAL;
        if (old.Length > root.Length) space.BindMount([], old, recursive: false);
        thread.Process.Fs.ChangeRoot(space.At(root));
        return 0;
    }
}
