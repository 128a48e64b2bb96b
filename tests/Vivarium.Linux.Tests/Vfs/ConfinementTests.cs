namespace Vivarium.Linux.Tests.Vfs;

/// <summary>With a root directory nothing outside it can be reached, whatever links, dots and races say.</summary>
public class ConfinementTests : IDisposable
{
    private readonly TemporaryDirectory _outside = new();
    private readonly TemporaryDirectory _root = new();
    private readonly Guest _guest;

    public ConfinementTests()
    {
        _outside.File("secret", "SECRET");
        _root.File("etc/passwd", "guest passwd");
        _root.File("usr/lib/libx.so", "library");
        _root.File("home/me/file", "mine");
        _root.Link("lib", "usr/lib");
        _root.Link("absolute", "/etc/passwd");
        _root.Link("climbing", "../../../../../../../../etc/passwd");
        _root.Link("home/up", "..");
        _root.Link("loop", "loop");
        _root.Link("a", "b");
        _root.Link("b", "a");
        _root.Link("out", _outside.Path);
        _root.Link("dangling", "/nowhere/at/all");
        _root.Link("tomounts", "/proc/self/mounts");
        _root.Link("etc/mtab", "../proc/self/mounts");
        _guest = new Guest(_root.Path);
    }

    public void Dispose()
    {
        _guest.Dispose();
        _root.Dispose();
        _outside.Dispose();
    }

    [Theory]
    [InlineData("/etc/passwd", "guest passwd")]
    [InlineData("//etc//passwd", "guest passwd")]
    [InlineData("etc/passwd", "guest passwd")]
    [InlineData("/absolute", "guest passwd")]
    [InlineData("absolute", "guest passwd")]
    [InlineData("/climbing", "guest passwd")]
    [InlineData("climbing", "guest passwd")]
    [InlineData("../../../../etc/passwd", "guest passwd")]
    [InlineData("/../../etc/./passwd", "guest passwd")]
    [InlineData("/usr/../etc/passwd", "guest passwd")]
    [InlineData("/lib/libx.so", "library")]
    [InlineData("/lib/../../etc/passwd", "guest passwd")]
    [InlineData("/lib/../lib/libx.so", "library")]
    [InlineData("/home/up/up/etc/passwd", null, Errno.ENOENT)]
    [InlineData("/home/up/home/up/etc/passwd", "guest passwd")]
    [InlineData("/home/me/../../../../../etc/passwd", "guest passwd")]
    [InlineData("/loop", null, Errno.ELOOP)]
    [InlineData("/a", null, Errno.ELOOP)]
    [InlineData("/loop/x", null, Errno.ELOOP)]
    [InlineData("/dangling", null, Errno.ENOENT)]
    [InlineData("/out/secret", null, Errno.ENOENT)]
    [InlineData("/etc/passwd/", null, Errno.ENOTDIR)]
    [InlineData("/etc/passwd/x", null, Errno.ENOTDIR)]
    [InlineData("/absolute/", null, Errno.ENOTDIR)]
    [InlineData("", null, Errno.ENOENT)]
    [InlineData("/etc", null, Errno.EISDIR)]
    public void Paths(string path, string? expected, int errno = 0)
    {
        Assert.Equal(expected, _guest.ReadAll(path, out long error));
        Assert.Equal(-errno, error);
    }

    [Theory]
    [InlineData("/tomounts")]
    [InlineData("/etc/mtab")]
    [InlineData("/proc/mounts")]
    [InlineData("/proc/self/../self/mounts")]
    [InlineData("/proc/41/mounts")]
    [InlineData("/usr/../proc/self/mounts")]
    [InlineData("proc/self/mounts")]
    [InlineData("/lib/../../proc/self/mounts")]
    public void Links_lead_into_synthetic_trees(string path)
    {
        Assert.Contains("proc /proc proc", _guest.ReadAll(path, out _));
    }

    [Fact]
    public void Leaving_a_synthetic_tree_comes_back_to_the_root()
    {
        Assert.Equal("guest passwd", _guest.ReadAll("/proc/../etc/passwd", out _));
        Assert.Equal("guest passwd", _guest.ReadAll("/proc/self/root/etc/passwd", out _));
        Assert.Equal("guest passwd", _guest.ReadAll("/proc/self/cwd/etc/passwd", out _));
        Assert.Equal("guest passwd", _guest.ReadAll("/dev/fd/../../../etc/passwd", out _));
    }

    [Fact]
    public void The_hosts_proc_is_not_there()
    {
        Assert.Equal(-Errno.ENOENT, _guest.Open("/proc/1/root"));
        Assert.Null(_guest.ReadAll($"/proc/{Environment.ProcessId}/environ", out long error));
        Assert.Equal(-Errno.ENOENT, error);
    }

    [Fact]
    public void Descriptors_of_directories_do_not_let_out()
    {
        long directory = _guest.Open("/home/me", 0x10000);
        Assert.True(directory >= 0);
        long fd = _guest.Call(56, directory, "../../../../../etc/passwd", 0, 0);
        Assert.True(fd >= 0);
        Assert.Equal("/etc/passwd", _guest.ReadLink($"/proc/self/fd/{fd}", out _));
        Assert.Equal(-Errno.ENOENT, _guest.Call(56, directory, "../../out/secret", 0, 0));
        long path = _guest.Call(437, directory, "../me/file", new byte[24], 24);
        Assert.True(path >= 0);
        Assert.Equal(-Errno.ENOTDIR, _guest.Call(56, path, "x", 0, 0));
    }

    [Fact]
    public void Names_are_made_and_removed_inside()
    {
        Assert.Equal(0, _guest.Call(34, Guest.AtFdCwd, "/../new", 0x1ED));
        Assert.True(Directory.Exists(Path.Combine(_root.Path, "new")));
        Assert.True(_guest.Open("/lib/made", 0x41, 0x1A4) >= 0);
        Assert.True(File.Exists(Path.Combine(_root.Path, "usr/lib/made")));
        Assert.Equal(0, _guest.Call(276, Guest.AtFdCwd, "/lib/made", Guest.AtFdCwd, "/new/../new/moved", 0));
        Assert.True(File.Exists(Path.Combine(_root.Path, "new/moved")));
        Assert.Equal(0, _guest.Call(37, Guest.AtFdCwd, "/new/moved", Guest.AtFdCwd, "/hard", 0));
        Assert.Equal(0, _guest.Call(36, "/new/moved", Guest.AtFdCwd, "soft"));
        Assert.Equal("/new/moved", _guest.ReadLink("/soft", out _));
        Assert.Equal(0, _guest.Call(35, Guest.AtFdCwd, "/soft", 0));
        Assert.True(File.Exists(Path.Combine(_root.Path, "new/moved")));
        Assert.Equal(0, _guest.Call(35, Guest.AtFdCwd, "/../../new/moved", 0));
        Assert.Equal(0, _guest.Call(35, Guest.AtFdCwd, "/new/", 0x200));
        Assert.Equal(-Errno.ENOENT, _guest.Call(34, Guest.AtFdCwd, "/out/made", 0x1ED));
        Assert.Equal(["secret"], Directory.GetFileSystemEntries(_outside.Path).Select(Path.GetFileName));
        // A dangling link is created through, inside.
        Assert.Equal(-Errno.ENOENT, _guest.Open("/dangling", 0x41));
        Assert.Equal(-Errno.EEXIST, _guest.Open("/dangling", 0xC1));
        Assert.Equal(-Errno.ELOOP, _guest.Open("/absolute", 0x20000));
        Assert.True(_guest.Open("/absolute", 0x220000) >= 0);
    }

    [Fact]
    public void Devices_of_the_guest_lead_to_no_device_of_the_host()
    {
        Assert.Equal(0, _guest.Call(33, Guest.AtFdCwd, "/disk", 0x61B6, 0x800));
        Assert.Equal(0, _guest.Call(33, Guest.AtFdCwd, "/mem", 0x21B6, 0x101));
        Assert.Equal(-Errno.ENXIO, _guest.Open("/disk"));
        Assert.Equal(-Errno.ENXIO, _guest.Open("/mem", 2));
        Assert.Equal((0x61A4u, 0x800ul), (_guest.Stat("/disk", out _)!.Mode, _guest.Stat("/disk", out _)!.RawDevice));
        Assert.Equal(0, new FileInfo(Path.Combine(_root.Path, "disk")).Length);
        Assert.Equal(0, _guest.Call(33, Guest.AtFdCwd, "/fifo", 0x11B6, 0));
        Assert.Equal(-Errno.EEXIST, _guest.Call(33, Guest.AtFdCwd, "/fifo", 0x81B6, 0));
    }

    [Fact]
    public void Working_directory_follows_and_is_named_from_the_root()
    {
        Assert.Equal("/", _guest.WorkingDirectory());
        Assert.Equal(0, _guest.Call(49, "/lib"));
        Assert.Equal("/usr/lib", _guest.WorkingDirectory());
        Assert.Equal("library", _guest.ReadAll("libx.so", out _));
        Assert.Equal(0, _guest.Call(49, ".."));
        Assert.Equal("/usr", _guest.WorkingDirectory());
        Assert.Equal(0, _guest.Call(49, "../../.."));
        Assert.Equal("/", _guest.WorkingDirectory());
        Assert.Equal(-Errno.ENOTDIR, _guest.Call(49, "/etc/passwd"));
        Assert.Equal(-Errno.ENOENT, _guest.Call(49, "/out"));
        Assert.Equal(0, _guest.Call(49, "/proc/self"));
        Assert.Equal("/proc/41", _guest.WorkingDirectory());
        Assert.Contains("proc /proc", _guest.ReadAll("mounts", out _));
        Assert.Equal("guest passwd", _guest.ReadAll("../../etc/passwd", out _));
        Assert.Equal(0, _guest.Call(49, "/home/me"));
        Directory.Move(Path.Combine(_root.Path, "home"), Path.Combine(_root.Path, "house"));
        Assert.Equal("/house/me", _guest.WorkingDirectory());
        Assert.Equal(-Errno.ENOENT, _guest.Call(51, "/home"));
    }

    [Fact]
    public void Racing_renames_never_let_out()
    {
        // "swing" is now a directory with a harmless file, now a link to the outside; a walk may fail but must never read the secret.
        string swing = Path.Combine(_root.Path, "swing"), spare = Path.Combine(_root.Path, "spare"), link = Path.Combine(_root.Path, "sl");
        _root.File("swing/secret", "harmless");
        _root.File("swing/deep/secret", "harmless");
        File.CreateSymbolicLink(link, _outside.Path);
        using var stop = new CancellationTokenSource();
        var racer = new Thread(() =>
        {
            while (!stop.IsCancellationRequested)
            {
                Directory.Move(swing, spare);
                Directory.Move(link, swing);
                Directory.Move(swing, link);
                Directory.Move(spare, swing);
            }
        });
        racer.Start();
        int harmless = 0;
        for (int i = 0; i < 3000; i++)
        {
            foreach (var path in (ReadOnlySpan<string>)["/swing/secret", "/swing/deep/../secret", "swing/deep/../../swing/secret"])
            {
                string? text = _guest.ReadAll(path, out long error);
                if (text == "harmless") harmless++;
                else Assert.True(text == null && error is -Errno.ENOENT or -Errno.ELOOP or -Errno.ENOTDIR or -Errno.EAGAIN, $"{text} {error}");
            }
        }
        stop.Cancel();
        racer.Join();
        Assert.True(harmless > 0);
    }
}
