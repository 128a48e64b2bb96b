namespace Vivarium.Linux.Tests.Vfs;

/// <summary>Directories that are kept open change nothing about what paths mean, whoever changes the tree.</summary>
public sealed class DirectoryCacheTests : IDisposable
{
    private readonly TemporaryDirectory _root = new();
    private readonly Guest _guest;

    public DirectoryCacheTests()
    {
        _root.File("a/b/c/file", "one");
        _root.File("a/b/c/other", "x");
        _root.File("z/b/c/file", "twenty");
        _guest = new Guest(_root.Path);
    }

    public void Dispose()
    {
        _guest.Dispose();
        _root.Dispose();
    }

    private string Host(string path) => Path.Combine(_root.Path, path);

    // By stat, statx, access and a new name: each has its own way to the directory.
    private long Look(string path)
    {
        long size = -1;
        for (int i = 0; i < 40; i++)
        {
            var stat = _guest.Stat(path, out long status);
            size = stat == null ? status : (long)stat.Size;
            Assert.Equal(status, _guest.Call(48, Guest.AtFdCwd, path, 0));
            Assert.Equal(status == 0 ? -Errno.EEXIST : status, _guest.Call(34, Guest.AtFdCwd, path + (status == 0 ? "" : "/none/x"), 0x1ED));
        }
        return size;
    }

    [Fact]
    public void Renames_on_the_host_are_seen_at_once()
    {
        for (int round = 0; round < 5; round++)
        {
            Assert.Equal(3, Look("/a/b/c/file"));
            Directory.Move(Host("a/b"), Host("kept"));
            Assert.Equal(-Errno.ENOENT, Look("/a/b/c/file"));
            Directory.Move(Host("z/b"), Host("a/b"));
            Assert.Equal(6, Look("/a/b/c/file"));
            Directory.Move(Host("a/b"), Host("z/b"));
            Directory.Move(Host("kept"), Host("a/b"));
        }
        Assert.Equal(3, Look("/a/b/c/file"));
        Directory.Move(Host("a"), Host("moved"));
        Directory.Move(Host("z"), Host("a"));
        Assert.Equal(6, Look("/a/b/c/file"));
    }

    [Fact]
    public void Directories_that_are_removed_and_made_again_are_other_ones()
    {
        Assert.Equal(3, Look("/a/b/c/file"));
        Directory.Delete(Host("a"), recursive: true);
        Assert.Equal(-Errno.ENOENT, Look("/a/b/c/file"));
        _root.File("a/b/c/file", "four");
        Assert.Equal(4, Look("/a/b/c/file"));
        Directory.Delete(Host("a"), recursive: true);
        _root.File("a/b/c/file", "seven77");
        Assert.Equal(0, _guest.Call(34, Guest.AtFdCwd, "/a/b/c/made", 0x1ED));
        Assert.True(Directory.Exists(Host("a/b/c/made")));
        Assert.Equal(7, Look("/a/b/c/file"));
    }

    [Fact]
    public void Removed_directories_are_let_go()
    {
        int Kept() => Directory.EnumerateFileSystemEntries("/proc/self/fd").Count(f => new FileInfo(f).LinkTarget is { } to && to.StartsWith(_root.Path, StringComparison.Ordinal) && to.EndsWith(" (deleted)", StringComparison.Ordinal));

        int most = 0;
        for (int n = 0; n < 100; n++)
        {
            _root.File($"d{n}/file", "one");
            Assert.Equal(3, Look($"/d{n}/file"));
            Directory.Delete(Host($"d{n}"), recursive: true);
            most = Math.Max(most, Kept());
        }
        Assert.InRange(most, 1, 16); // at least 1: that they are kept at all is seen
    }

    [Fact]
    public void Links_in_the_place_of_directories_lead_where_the_guest_sees_them()
    {
        Assert.Equal(3, Look("/a/b/c/file"));
        Directory.Move(Host("a/b"), Host("kept"));
        Directory.CreateSymbolicLink(Host("a/b"), "/z/b");
        Assert.Equal(6, Look("/a/b/c/file"));
        File.Delete(Host("a/b"));
        Directory.CreateSymbolicLink(Host("a/b"), _root.Path + "/kept");
        Assert.Equal(-Errno.ENOENT, Look("/a/b/c/file"));
    }

    [Fact]
    public void The_guests_own_renames_and_links_count_too()
    {
        Assert.Equal(3, Look("/a/b/c/file"));
        Assert.Equal(0, _guest.Call(38, Guest.AtFdCwd, "/a/b/c", Guest.AtFdCwd, "/a/b/d"));
        Assert.Equal(-Errno.ENOENT, Look("/a/b/c/file"));
        Assert.Equal(3, Look("/a/b/d/file"));
        Assert.Equal(0, _guest.Call(36, "d", Guest.AtFdCwd, "/a/b/c"));
        Assert.Equal(3, Look("/a/b/c/file"));
        Assert.Equal(0, _guest.Call(36, "file", Guest.AtFdCwd, "/a/b/d/link"));
        Assert.Equal(0x8000u, _guest.StatFollowing("/a/b/d/link").Mode & 0xF000);
        Assert.Equal(4, Look("/a/b/d/link"));
        Assert.Equal(-Errno.ENOTDIR, Look("/a/b/d/file/"));
    }

    [Fact]
    public void Many_directories_fit_or_are_forgotten()
    {
        for (int i = 0; i < 1200; i++) _root.File($"many/{i}/f", new string('x', i));
        for (int round = 0; round < 3; round++)
        {
            for (int i = 0; i < 1200; i++)
            {
                for (int again = 0; again < 4; again++) Assert.Equal((ulong)i, (ulong)_guest.Stat($"/many/{i}/f", out _)!.Size);
            }
        }
    }
}
