using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Tests.Vfs;

/// <summary>Two layers: the lower one never changes, and guests get overlayfs's answers.</summary>
public sealed class OverlayTests : IDisposable
{
    private const int RemoveDir = 0x200, Directory_ = 0x10000;

    private readonly TemporaryDirectory _lower = new(), _upper = new();
    private readonly Dictionary<string, string> _before;
    private Guest _guest;

    public OverlayTests()
    {
        _lower.File("etc/passwd", "root");
        _lower.File("etc/group", "wheel");
        _lower.File("usr/lib/libx.so", "library");
        _lower.File("data/a", "A");
        _lower.File("data/b", "B");
        _lower.File("data/sub/c", "C");
        _lower.Link("lib", "usr/lib");
        _lower.Link("etc/alias", "passwd");
        Directory.CreateDirectory(Path.Combine(_lower.Path, "empty"));
        _before = Snapshot();
        _guest = Start();
    }

    private Guest Start() => new(new TreeOptions { Root = _lower.Path, Upper = _upper.Path });

    public void Dispose()
    {
        _guest.Dispose();
        Assert.Equal(_before, Snapshot());
        _lower.Dispose();
        _upper.Dispose();
    }

    // Names, contents, modes and times of the lower layer.
    private Dictionary<string, string> Snapshot() => Directory.EnumerateFileSystemEntries(_lower.Path, "*", SearchOption.AllDirectories).ToDictionary(path => path, path =>
    {
        var file = new FileInfo(path);
        string content = file.LinkTarget ?? (Directory.Exists(path) ? "/" : File.ReadAllText(path));
        return $"{content} {file.LastWriteTimeUtc:O}";
    });

    private void Restart()
    {
        _guest.Dispose();
        _guest = Start();
    }

    private string? Read(string path) => _guest.ReadAll(path, out _);

    private long Unlink(string path, int flags = 0) => _guest.Call(35, Guest.AtFdCwd, path, flags);
    private long MkDir(string path) => _guest.Call(34, Guest.AtFdCwd, path, 0x1ED);
    private long Rename(string from, string to, int flags = 0) => _guest.Call(276, Guest.AtFdCwd, from, Guest.AtFdCwd, to, flags);
    private long Link(string from, string to) => _guest.Call(37, Guest.AtFdCwd, from, Guest.AtFdCwd, to, 0);

    [Theory]
    [InlineData("/etc/passwd", "root")]
    [InlineData("/lib/libx.so", "library")]
    [InlineData("/lib/../lib/libx.so", "library")]
    [InlineData("/etc/alias", "root")]
    [InlineData("etc/../etc/./alias", "root")]
    [InlineData("/nothing", null, Errno.ENOENT)]
    [InlineData("/etc/passwd/x", null, Errno.ENOTDIR)]
    [InlineData("/etc", null, Errno.EISDIR)]
    public void Lower_files_show_through(string path, string? expected, int errno = 0)
    {
        Assert.Equal(expected, _guest.ReadAll(path, out long error));
        Assert.Equal(-errno, error);
    }

    [Theory]
    [InlineData("/etc/passwd", 0x1)]
    [InlineData("/etc/passwd", 0x2)]
    [InlineData("/etc/passwd", 0x241)]
    [InlineData("/etc/passwd", 0x401)]
    [InlineData("/etc/alias", 0x1)]
    [InlineData("/lib/../../etc/alias", 0x41)]
    public void Writing_copies_up(string path, int flags)
    {
        Assert.Equal(0, _guest.WriteAll(path, "new!", flags));
        Assert.Equal((flags & 0x400) != 0 ? "rootnew!" : "new!", Read("/etc/passwd"));
        Restart();
        Assert.Equal((flags & 0x400) != 0 ? "rootnew!" : "new!", Read("/etc/passwd"));
        Assert.Equal(["alias", "group", "passwd"], _guest.List("/etc")!);
    }

    [Fact]
    public void Files_appear_and_directories_show_both_layers()
    {
        Assert.Equal(0, _guest.WriteAll("/data/new", "N"));
        Assert.Equal(0, _guest.WriteAll("/lib/liby.so", "Y"));
        Assert.Equal(["a", "b", "new", "sub"], _guest.List("/data")!);
        Assert.Equal(["libx.so", "liby.so"], _guest.List("/usr/lib")!);
        Assert.Equal("Y", Read("/usr/lib/liby.so"));
        Assert.Equal(-Errno.EEXIST, _guest.Open("/data/new", 0xC1));
        Assert.Equal(-Errno.EEXIST, _guest.Open("/data/a", 0xC1));
        Assert.Equal(-Errno.EEXIST, MkDir("/data"));
        Assert.Equal(-Errno.ENOENT, MkDir("/none/x"));
        Assert.Equal(-Errno.ENOTDIR, MkDir("/data/a/x"));
        Assert.Equal(-Errno.ENOENT, _guest.WriteAll("/none/x", "x"));
        Assert.Equal(0, MkDir("/data/made/"));
        Assert.Equal(0, _guest.WriteAll("/data/made/x", "x"));
        Restart();
        Assert.Equal(["a", "b", "made", "new", "sub"], _guest.List("/data")!);
        Assert.Equal("x", Read("/data/made/x"));
    }

    [Fact]
    public void Removed_names_stay_removed_and_can_be_made_again()
    {
        Assert.Equal(0, Unlink("/data/a"));
        Assert.Null(Read("/data/a"));
        Assert.Equal(-Errno.ENOENT, Unlink("/data/a"));
        Assert.Equal(["b", "sub"], _guest.List("/data")!);
        Assert.Equal(-Errno.ENOTEMPTY, Unlink("/data", RemoveDir));
        Assert.Equal(-Errno.EISDIR, Unlink("/data/sub"));
        Assert.Equal(-Errno.ENOTDIR, Unlink("/data/b", RemoveDir));
        Restart();
        Assert.Null(Read("/data/a"));
        Assert.Equal(0, _guest.WriteAll("/data/a", "again", 0xC1));
        Assert.Equal("again", Read("/data/a"));
        Assert.Equal(0, Unlink("/data/a"));
        Assert.Equal(0, Unlink("/data/b"));
        Assert.Equal(0, Unlink("/data/sub/c"));
        Assert.Equal(0, Unlink("/data/sub", RemoveDir));
        Assert.Equal(0, Unlink("/data/", RemoveDir));
        Assert.Null(_guest.List("/data"));
        Assert.Equal(0, Unlink("/empty", RemoveDir));
        // A new directory under an old name shows nothing of the old one.
        Assert.Equal(0, MkDir("/data"));
        Assert.Equal([], _guest.List("/data")!);
        Assert.Null(Read("/data/sub/c"));
        Restart();
        Assert.Equal([], _guest.List("/data")!);
        Assert.Null(_guest.List("/empty"));
    }

    [Fact]
    public void Renames_have_overlayfs_answers()
    {
        Assert.Equal(0, Rename("/data/a", "/data/b"));
        Assert.Equal("A", Read("/data/b"));
        Assert.Equal(["b", "sub"], _guest.List("/data")!);
        Assert.Equal(-Errno.EXDEV, Rename("/data/sub", "/data/other"));
        Assert.Equal(-Errno.EEXIST, Rename("/data/b", "/etc/passwd", 1));
        Assert.Equal(-Errno.EISDIR, Rename("/data/b", "/data/sub"));
        Assert.Equal(-Errno.ENOENT, Rename("/data/a", "/data/x"));
        Assert.Equal(0, Rename("/data/b", "/etc/passwd"));
        Assert.Equal("A", Read("/etc/alias"));
        Assert.Equal(0, Rename("/etc/passwd", "/etc/group", 2));
        Assert.Equal(("wheel", "A"), (Read("/etc/passwd"), Read("/etc/group")));
        Assert.Equal(0, MkDir("/mine"));
        Assert.Equal(0, _guest.WriteAll("/mine/f", "f"));
        Assert.Equal(-Errno.ENOTEMPTY, Rename("/mine", "/data"));
        Assert.Equal(0, Unlink("/data/sub/c"));
        Assert.Equal(0, Rename("/mine", "/data/sub"));
        Assert.Equal(["f"], _guest.List("/data/sub")!);
        Assert.Equal(-Errno.EINVAL, Rename("/data/sub", "/data/sub/x"));
        Assert.Equal(0, Rename("/data/sub", "/moved"));
        Assert.Null(Read("/data/sub/c"));
        Restart();
        Assert.Equal("f", Read("/moved/f"));
        Assert.Equal([], _guest.List("/data")!);
        Assert.Equal(["alias", "group", "passwd"], _guest.List("/etc")!);
    }

    [Fact]
    public void Directories_that_are_open_follow_a_rename_of_them()
    {
        Assert.Equal(0, MkDir("/mine"));
        Assert.Equal(0, _guest.WriteAll("/mine/f", "f"));
        long fd = _guest.Open("/mine", Directory_);
        Assert.Equal(0, Rename("/mine", "/yours"));
        Assert.True(_guest.Call(56, fd, "f", 0, 0) >= 0);
        Assert.Equal("/yours", _guest.ReadLink($"/proc/self/fd/{fd}", out _));
        Assert.Equal(0, _guest.Call(50, fd));
        Assert.Equal("/yours", _guest.WorkingDirectory());
        Assert.Equal("f", Read("f"));
        Assert.Equal("root", Read("../etc/passwd"));
    }

    [Fact]
    public void Hard_links_share_after_the_copy()
    {
        Assert.Equal(0, Link("/etc/passwd", "/etc/second"));
        Assert.Equal(0, _guest.WriteAll("/etc/second", "both", 0x201));
        Assert.Equal("both", Read("/etc/passwd"));
        Assert.Equal(2u, _guest.Stat("/etc/passwd", out _)!.Links);
        Assert.Equal(-Errno.EEXIST, Link("/etc/passwd", "/etc/group"));
        Assert.Equal(0, Rename("/etc/passwd", "/etc/second"));
        Assert.Equal("both", Read("/etc/passwd"));
        Assert.Equal(0, Unlink("/etc/second"));
        Assert.Equal("both", Read("/etc/passwd"));
    }

    [Fact]
    public void Readers_see_what_is_written_after_them()
    {
        long fd = _guest.Open("/etc/passwd");
        Assert.Equal(2, _guest.Call(63, fd, Guest.Low + 0x9000, 2));
        var before = _guest.StatDescriptor(fd, out _)!;
        Assert.Equal(0, _guest.WriteAll("/etc/passwd", "RO2345", 0x1));
        Assert.Equal(4, _guest.Call(63, fd, Guest.Low + 0x9000, 16));
        Assert.Equal("2345"u8.ToArray(), _guest.Get(Guest.Low + 0x9000, 4));
        Assert.Equal(before.Inode, _guest.StatDescriptor(fd, out _)!.Inode);
        Assert.Equal(before.Inode, _guest.Stat("/etc/passwd", out _)!.Inode);
        Restart();
        Assert.Equal(before.Inode, _guest.Stat("/etc/passwd", out _)!.Inode);
    }

    [Fact]
    public void Attributes_copy_up_by_path_and_by_descriptor()
    {
        var before = _guest.Stat("/data", out _)!;
        Assert.Equal(0, _guest.Call(53, Guest.AtFdCwd, "/etc/passwd", 0x180));
        Assert.Equal(0x8180u, _guest.Stat("/etc/passwd", out _)!.Mode);
        long fd = _guest.Open("/etc/group");
        Assert.Equal(0, _guest.Call(52, fd, 0x9C0));
        Assert.Equal(0x89C0u, _guest.Stat("/etc/group", out _)!.Mode);
        Assert.Equal(0, _guest.Call(55, fd, 33, 44));
        Assert.Equal((33u, 44u), (_guest.StatDescriptor(fd, out _)!.Uid, _guest.StatDescriptor(fd, out _)!.Gid));
        long lower = _guest.Open("/data/a");
        Assert.Equal(0, _guest.Call(88, lower, 0, new byte[32], 0));
        Assert.True(_guest.Call(56, Guest.AtFdCwd, $"/proc/self/fd/{_guest.Open("/data/b")}", 0x201, 0) >= 0);
        Assert.Equal("", Read("/data/b"));
        Assert.Equal(0, _guest.Call(45, "/data/sub/c", 0));
        Assert.Equal("", Read("/data/sub/c"));
        Assert.Equal(before.Inode, _guest.Stat("/data", out _)!.Inode);
        Assert.Equal("wheel", Read("/etc/group"));
    }

    [Fact]
    public void Reading_a_directory_starts_again_with_what_is_there_now()
    {
        long fd = _guest.Open("/data", Directory_);
        Assert.Equal(["a", "b", "sub"], _guest.ListDescriptor(fd));
        Assert.Equal(0, _guest.WriteAll("/data/z", "z"));
        Assert.Equal(0, Unlink("/data/a"));
        Assert.Equal(0, _guest.Call(62, fd, 0, 0));
        Assert.Equal(["b", "sub", "z"], _guest.ListDescriptor(fd));
        Assert.Equal(0, _guest.Call(62, fd, 0, 0));
        Assert.Equal(["b", "sub", "z"], _guest.ListDescriptor(fd));
        Assert.True(_guest.Call(56, fd, "z", 0, 0) >= 0);
        Assert.Equal(-Errno.ENOENT, _guest.Call(56, fd, "a", 0, 0));
    }

    [Fact]
    public void Temporary_files_and_sockets_have_names()
    {
        long fd = _guest.Open("/data", 0x410002, 0x180);
        Assert.True(fd >= 0);
        Assert.Equal(0, _guest.Call(37, Guest.AtFdCwd, $"/proc/self/fd/{fd}", Guest.AtFdCwd, "/data/linked", 0x400));
        Assert.Equal("", Read("/data/linked"));
        long socket = _guest.Call(198, 1, 1, 0);
        var address = new byte[] { 1, 0 }.Concat("/data/socket\0"u8.ToArray()).ToArray();
        Assert.Equal(0, _guest.Call(200, socket, address, address.Length));
        Assert.Equal(["a", "b", "linked", "socket", "sub"], _guest.List("/data")!);
        Assert.Equal(-Errno.EADDRINUSE, _guest.Call(200, _guest.Call(198, 1, 1, 0), address, address.Length));
        Assert.Equal(0, Unlink("/data/socket"));
    }

    [Fact]
    public void Guests_work_at_the_same_time()
    {
        Parallel.For(0, 8, worker =>
        {
            // Each has its own descriptors and memory; the tree is one.
            for (int i = 0; i < 50; i++)
            {
                lock (_guest) Assert.Equal(0, _guest.WriteAll($"/data/w{worker}-{i}", "x"));
                lock (_guest) Assert.Equal(0, Rename($"/data/w{worker}-{i}", $"/data/v{worker}"));
            }
        });
        Assert.Equal(3 + 8, _guest.List("/data")!.Length);
    }
}
