using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Tests.Vfs;

/// <summary>Volumes, mounts that a guest makes, chroot; over a plain root and over an overlay.</summary>
public sealed class MountTests : IDisposable
{
    private const ulong Bind = 4096, Recursive = 16384, Remount = 32, Private = 1 << 18;

    private readonly TemporaryDirectory _root = new(), _upper = new(), _host = new();
    private Guest? _guest;

    public MountTests()
    {
        _root.File("etc/passwd", "root");
        _root.File("target/etc/passwd", "inner");
        _root.File("target/bin/tool", "tool");
        _root.Link("target/absolute", "/etc/passwd");
        _root.Link("target/up", "../../../etc/passwd");
        Directory.CreateDirectory(Path.Combine(_root.Path, "target/proc"));
        Directory.CreateDirectory(Path.Combine(_root.Path, "mnt"));
        _host.File("shared/file", "shared");
        _host.File("single", "one file");
    }

    public void Dispose()
    {
        _guest?.Dispose();
        _root.Dispose();
        _upper.Dispose();
        _host.Dispose();
    }

    private Guest Start(bool overlay, params Volume[] volumes)
    {
        _guest = new Guest(new TreeOptions { Root = _root.Path, Upper = overlay ? _upper.Path : null, Volumes = volumes, TemporaryDirectories = ["/run"] });
        _guest.Thread.Process.Credentials = Credentials.Of(0, 0);
        return _guest;
    }

    private static long Mount(Guest guest, string source, string target, string type, ulong flags = 0, string data = "") => guest.Call(40, source, target, type, flags, data);
    private static long Unmount(Guest guest, string target, int flags = 0) => guest.Call(39, target, flags);

    // openat2's RESOLVE_* hold in a guest's tree too.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Openat2_keeps_to_what_it_is_told(bool overlay)
    {
        const ulong NoXDev = 1, NoMagicLinks = 2, NoSymlinks = 4, Beneath = 8, InRoot = 16;
        var guest = Start(overlay);
        long target = guest.Open("/target", 0x10000);
        long Open2(string path, ulong resolve)
        {
            var how = new byte[24];
            BitConverter.TryWriteBytes(how.AsSpan(16), resolve);
            long fd = guest.Call(437, target, path, how, 24);
            if (fd >= 0) guest.Close(fd);
            return Math.Min(fd, 0);
        }

        Assert.Equal(0, Open2("/etc/passwd", 0));
        Assert.Equal(0, Open2("etc/passwd", Beneath));
        Assert.Equal(0, Open2("etc/../etc/passwd", Beneath));
        Assert.Equal(-Errno.EXDEV, Open2("/etc/passwd", Beneath));
        Assert.Equal(-Errno.EXDEV, Open2("../etc/passwd", Beneath));
        Assert.Equal(-Errno.EXDEV, Open2("absolute", Beneath));
        Assert.Equal(-Errno.EXDEV, Open2("up", Beneath));
        Assert.Equal(0, Open2("/bin/tool", InRoot));
        Assert.Equal(0, Open2("../../bin/tool", InRoot));
        Assert.Equal(0, Open2("absolute", InRoot));
        Assert.Equal(0, Open2("up", InRoot));
        Assert.Equal(-Errno.ELOOP, Open2("absolute", NoSymlinks));
        Assert.Equal(0, Open2("absolute", NoXDev));
        Assert.Equal(-Errno.EXDEV, Open2("/proc/version", NoXDev));
        Assert.Equal(-Errno.ELOOP, Open2("/proc/self/cwd", NoMagicLinks));
        Assert.Equal(0, Open2("/proc/version", NoMagicLinks));
    }

    [Fact]
    public void A_tmpfs_can_be_made_read_only_and_writable_again()
    {
        var guest = Start(overlay: false);
        Assert.Equal(0, Mount(guest, "tmpfs", "/mnt", "tmpfs"));
        Assert.Equal(0, guest.WriteAll("/mnt/file", "x"));
        Assert.Equal(0, Mount(guest, "none", "/mnt", "", Remount | 1));
        Assert.Contains(" /mnt tmpfs ro", guest.ReadAll("/proc/self/mounts", out _));
        Assert.Equal("x", guest.ReadAll("/mnt/file", out _));
        Assert.Equal(-Errno.EROFS, guest.WriteAll("/mnt/file", "y"));
        Assert.Equal(-Errno.EROFS, guest.WriteAll("/mnt/new", "y"));
        Assert.Equal(-Errno.EROFS, guest.Call(34, Guest.AtFdCwd, "/mnt/dir", 0x1FF));
        Assert.Equal(-Errno.EROFS, guest.Call(53, Guest.AtFdCwd, "/mnt/file", 0x1FF));
        Assert.Equal(-Errno.EROFS, guest.Call(48, Guest.AtFdCwd, "/mnt/file", 2));
        Assert.Equal(-Errno.EROFS, guest.Call(35, Guest.AtFdCwd, "/mnt/file", 0));
        Assert.Equal(0, Mount(guest, "none", "/mnt", "", Remount));
        Assert.Equal(0, guest.WriteAll("/mnt/file", "y"));
        Assert.Equal(0, Unmount(guest, "/mnt"));
        Assert.Equal(0, Mount(guest, "tmpfs", "/mnt", "tmpfs", 1));
        Assert.Equal(-Errno.EROFS, guest.WriteAll("/mnt/file", "y"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Volumes_show_the_host(bool overlay)
    {
        var guest = Start(overlay, new Volume(Path.Combine(_host.Path, "shared"), "/srv/data", false), new Volume(Path.Combine(_host.Path, "shared"), "/ro", true),
            new Volume(Path.Combine(_host.Path, "single"), "/etc/single", true));
        Assert.Equal("shared", guest.ReadAll("/srv/data/file", out _));
        Assert.Equal("one file", guest.ReadAll("/etc/single", out _));
        Assert.Equal(["data"], guest.List("/srv")!);
        Assert.Equal(["passwd", "single"], guest.List("/etc")!);
        Assert.Equal(0, guest.WriteAll("/srv/data/new", "from the guest"));
        Assert.Equal("from the guest", File.ReadAllText(Path.Combine(_host.Path, "shared/new")));
        Assert.Equal(-Errno.EROFS, guest.WriteAll("/ro/new2", "x"));
        Assert.Equal(-Errno.EROFS, guest.WriteAll("/ro/file", "x"));
        Assert.Equal(-Errno.EROFS, guest.WriteAll("/etc/single", "x", 1));
        Assert.Equal(-Errno.EROFS, guest.Call(34, Guest.AtFdCwd, "/ro/dir", 0x1ED));
        Assert.Equal(-Errno.EEXIST, guest.Call(34, Guest.AtFdCwd, "/ro/file", 0x1ED));
        Assert.Equal(-Errno.EROFS, guest.Call(35, Guest.AtFdCwd, "/ro/file", 0));
        Assert.Equal(-Errno.EROFS, guest.Call(53, Guest.AtFdCwd, "/ro/file", 0x1FF));
        Assert.Equal(-Errno.EROFS, guest.Call(52, guest.Open("/ro/file"), 0x1FF));
        Assert.Equal(-Errno.EROFS, guest.Open($"/proc/self/fd/{guest.Open("/ro/file")}", 1));
        Assert.Equal(-Errno.EXDEV, guest.Call(276, Guest.AtFdCwd, overlay ? "/etc/passwd" : "/proc/../etc/passwd", Guest.AtFdCwd, "/dev/shm/x", 0));
        Assert.Equal(0, guest.Call(49, "/srv/data"));
        Assert.Equal("/srv/data", guest.WorkingDirectory());
        Assert.Equal("shared", guest.ReadAll("file", out _));
        Assert.Equal("root", guest.ReadAll("../../etc/passwd", out _));
        Assert.Equal("shared", guest.ReadAll("../data/file", out _));
        string mounts = guest.ReadAll("/proc/mounts", out _)!;
        Assert.Contains(" /ro ext4 ro,", mounts);
        Assert.Contains(" /run tmpfs ", mounts);
    }

    [Fact]
    public void A_bounded_tmpfs_becomes_full()
    {
        var guest = Start(false);
        Assert.Equal(-Errno.EINVAL, Mount(guest, "tmpfs", "/mnt", "tmpfs", 2, "size=many"));
        Assert.Equal(0, Mount(guest, "tmpfs", "/mnt", "tmpfs", 2, "size=64k"));
        long file = guest.Open("/mnt/a", 0x42);
        var block = new byte[40 << 10];
        Assert.Equal(40 << 10, guest.Call(64, file, block, block.Length));
        Assert.Equal(24 << 10, guest.Call(64, file, block, block.Length));
        Assert.Equal(-Errno.ENOSPC, guest.Call(64, file, block, block.Length));
        Assert.Equal(-Errno.ENOSPC, guest.Call(47, file, 0, 0, 4096));
        ulong address = Guest.Low + 0x80000;
        Assert.Equal(0, guest.Call(43, "/mnt", address));
        var stat = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(guest.Get(address, 120));
        Assert.Equal(64UL << 10, stat[1] * stat[2]);
        Assert.Equal(0UL, stat[3]);
        // What is overwritten or cut off makes room.
        Assert.Equal(0, guest.Call(46, file, 4096));
        Assert.Equal(0, guest.Call(43, "/mnt", address));
        Assert.Equal(60UL << 10, System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(guest.Get(address, 120))[3] * stat[1]);
        Assert.Equal(40 << 10, guest.Call(68, file, block, block.Length, 4096));
        Assert.Equal(20 << 10, guest.Call(68, file, block, block.Length, 45056));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_guest_mounts_and_unmounts(bool overlay)
    {
        var guest = Start(overlay);
        Assert.Equal(0, Mount(guest, "tmpfs", "/mnt", "tmpfs", 2, "size=1M,mode=0750"));
        Assert.Equal(0x41E8u, guest.Stat("/mnt", out _)!.Mode);
        Assert.Equal(0, guest.WriteAll("/mnt/f", "in memory"));
        Assert.Equal("in memory", guest.ReadAll("mnt/f", out _));
        Assert.Contains("tmpfs /mnt tmpfs rw,nosuid,size=1024k 0 0", guest.ReadAll("/proc/self/mounts", out _));
        Assert.Contains(" /mnt rw,nosuid - tmpfs tmpfs rw,size=1024k\n", guest.ReadAll("/proc/self/mountinfo", out _));
        Assert.Equal(0, guest.Call(34, Guest.AtFdCwd, "/mnt/etc", 0x1ED));
        Assert.Equal(0, Mount(guest, "/etc", "/mnt/etc", "", Bind));
        Assert.Equal("root", guest.ReadAll("/mnt/etc/passwd", out _));
        Assert.Equal(0, guest.WriteAll("/mnt/etc/made", "x"));
        Assert.Equal("x", guest.ReadAll("/etc/made", out _));
        Assert.Equal(["made", "passwd"], guest.List("/mnt/etc")!);
        Assert.Equal(-Errno.EBUSY, Unmount(guest, "/mnt"));
        Assert.Equal(0, Unmount(guest, "/mnt/etc"));
        Assert.Equal([], guest.List("/mnt/etc")!);
        Assert.Equal(0, Mount(guest, "", "/mnt", "", Remount | 1));
        Assert.Equal(0, Mount(guest, "", "/", "", Private | Recursive));
        Assert.Equal(0, Unmount(guest, "/mnt"));
        Assert.Equal([], guest.List("/mnt")!);
        Assert.Equal(-Errno.EINVAL, Unmount(guest, "/mnt"));
        Assert.Equal(-Errno.ENODEV, Mount(guest, "none", "/mnt", "btrfs"));
        Assert.Equal(-Errno.ENOENT, Mount(guest, "none", "/nowhere", "tmpfs"));
        guest.Thread.Process.Credentials = Credentials.Of(1, 1);
        Assert.Equal(-Errno.EPERM, Mount(guest, "none", "/mnt", "tmpfs"));
        Assert.Equal(-Errno.EPERM, guest.Call(51, "/target"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Chroot_confines_paths(bool overlay)
    {
        var guest = Start(overlay);
        Assert.Equal(0, Mount(guest, "proc", "/target/proc", "proc"));
        long outside = guest.Open("/etc", 0x10000);
        Assert.Equal(-Errno.ENOTDIR, guest.Call(51, "/etc/passwd"));
        Assert.Equal(0, guest.Call(51, "/target"));
        Assert.Equal(0, guest.Call(49, "/"));
        Assert.Equal("/", guest.WorkingDirectory());
        Assert.Equal("inner", guest.ReadAll("/etc/passwd", out _));
        Assert.Equal("inner", guest.ReadAll("/../../etc/passwd", out _));
        Assert.Equal("inner", guest.ReadAll("../../etc/passwd", out _));
        Assert.Equal("inner", guest.ReadAll("/absolute", out _));
        Assert.Equal("inner", guest.ReadAll("/up", out _));
        Assert.Equal("inner", guest.ReadAll("/bin/../../etc/passwd", out _));
        Assert.Equal("inner", guest.ReadAll("/proc/self/root/etc/passwd", out _));
        Assert.Contains(" /proc proc", guest.ReadAll("/proc/self/mounts", out _));
        Assert.Equal(0, guest.Call(49, "bin"));
        Assert.Equal("/bin", guest.WorkingDirectory());
        Assert.Equal("tool", guest.ReadAll("tool", out _));
        Assert.Equal(0, guest.WriteAll("/new", "n"));
        // As on Linux, a descriptor from before leads out: chroot is no jail.
        Assert.True(guest.Call(56, outside, "passwd", 0, 0) >= 0);
        Assert.Equal(0, Unmount(guest, "/proc"));
        Assert.Equal([], guest.List("/proc")!);
    }

    [Fact]
    public void A_read_only_root_takes_no_changes()
    {
        _guest = new Guest(new TreeOptions { Root = _root.Path, ReadOnly = true, TemporaryDirectories = ["/mnt"] });
        Assert.Equal("root", _guest.ReadAll("/etc/passwd", out _));
        Assert.Equal(-Errno.EROFS, _guest.WriteAll("/etc/passwd", "x"));
        Assert.Equal(-Errno.EROFS, _guest.WriteAll("/etc/new", "x"));
        Assert.Equal(-Errno.EEXIST, _guest.Open("/etc/passwd", 0xC1));
        Assert.Equal(-Errno.ENOENT, _guest.Open("/none/x", 0x41));
        Assert.Equal(-Errno.EISDIR, _guest.Open("/etc", 1));
        Assert.Equal(-Errno.EROFS, _guest.Call(276, Guest.AtFdCwd, "/etc/passwd", Guest.AtFdCwd, "/etc/y", 0));
        Assert.Equal(-Errno.EEXIST, _guest.Call(34, Guest.AtFdCwd, "/mnt", 0x1ED));
        Assert.Equal(0, _guest.WriteAll("/mnt/f", "x"));
        Assert.Equal(0, _guest.WriteAll("/dev/null", "x", 1));
        Assert.Equal("root", File.ReadAllText(Path.Combine(_root.Path, "etc/passwd")));
    }
}
