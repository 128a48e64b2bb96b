using System.Text;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Tests.Vfs;

/// <summary>The guest's root owns its tree, whoever viv is on the host: in a plain root and in an overlay, with and without root of the host.</summary>
public sealed class OwnershipTests : IDisposable
{
    private readonly TemporaryDirectory _root = new(), _upper = new();
    private Guest? _guest;

    public void Dispose()
    {
        _guest?.Dispose();
        _root.Dispose();
        _upper.Dispose();
    }

    // "Not privileged" is what another user's viv does, but for the right to read everything.
    private Guest Start(bool overlay, bool real)
    {
        _guest?.Dispose();
        if (!Directory.Exists(Path.Combine(_root.Path, "d")))
        {
            _root.File("d/file", "text");
            // The umask of this process is not ours alone: tests of umask run beside this one.
            if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(Path.Combine(_root.Path, "d/file"), (UnixFileMode)0x1A4);
        }
        _guest = new Guest(new TreeOptions { Root = _root.Path, Upper = overlay ? _upper.Path : null });
        if (!real) _guest.Thread.Process.Fs.Space.Owners!.Real = false;
        return _guest;
    }

    private static (uint Uid, uint Gid, uint Mode) Of(Guest guest, string path)
    {
        var stat = guest.Stat(path, out long status);
        Assert.True(stat != null, $"{path}: {status}");
        return (stat.Uid, stat.Gid, stat.Mode);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Owners_modes_and_devices_are_kept(bool overlay, bool real)
    {
        var guest = Start(overlay, real);
        Assert.Equal((0u, 0u, 0x81A4u), Of(guest, "/d/file"));
        Assert.Equal(0, guest.Call(54, Guest.AtFdCwd, "/d/file", 12, 34, 0));
        Assert.Equal(0, guest.Call(53, Guest.AtFdCwd, "/d/file", 0x9ED));
        Assert.Equal((12u, 34u, 0x89EDu), Of(guest, "/d/file"));
        Assert.Equal(0, guest.Call(54, Guest.AtFdCwd, "/d/file", -1, 35, 0));
        Assert.Equal((12u, 35u, 0x81EDu), Of(guest, "/d/file"));
        Assert.Equal(0, guest.Call(54, Guest.AtFdCwd, "/d", 5, 6, 0));
        Assert.Equal(0, guest.Call(53, Guest.AtFdCwd, "/d", 0));
        Assert.Equal((5u, 6u, 0x4000u), Of(guest, "/d"));
        Assert.Equal(0, guest.Call(53, Guest.AtFdCwd, "/d", 0x3FF));

        Assert.Equal(0, guest.Call(33, Guest.AtFdCwd, "/d/null", 0x21B6, 0x103));
        Assert.Equal(0, guest.Call(33, Guest.AtFdCwd, "/d/disk", 0x61B0, 0x801));
        Assert.Equal(0, guest.Call(53, Guest.AtFdCwd, "/d/null", 0x1B6));
        Assert.Equal(0, guest.Call(54, Guest.AtFdCwd, "/d/disk", 0, 6, 0));
        Assert.Equal(0, guest.WriteAll("/d/null", "nothing", 0x201));
        Assert.Equal("", guest.ReadAll("/d/null", out _));
        Assert.Equal(-Errno.ENXIO, guest.Open("/d/disk"));

        Assert.Equal(0, guest.Call(37, Guest.AtFdCwd, "/d/file", Guest.AtFdCwd, "/d/hard", 0));
        Assert.Equal(0, guest.Call(276, Guest.AtFdCwd, "/d/file", Guest.AtFdCwd, "/d/moved", 0));

        // Everything is there in the next run.
        guest = Start(overlay, real);
        Assert.Equal((12u, 35u, 0x81EDu), Of(guest, "/d/hard"));
        Assert.Equal((12u, 35u, 0x81EDu), Of(guest, "/d/moved"));
        Assert.Equal((5u, 6u, 0x43FFu), Of(guest, "/d"));
        var disk = guest.Stat("/d/disk", out _)!;
        Assert.Equal((0u, 6u, 0x6000u, 0x801ul), (disk.Uid, disk.Gid, disk.Mode & 0xF000, disk.RawDevice));
        Assert.Equal("text", guest.ReadAll("/d/moved", out _));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void New_files_belong_to_who_makes_them(bool overlay, bool real)
    {
        var guest = Start(overlay, real);
        Assert.Equal(0, guest.Call(53, Guest.AtFdCwd, "/d", 0x3FF));
        guest.Thread.Process.Credentials = Credentials.Of(33, 44);
        Assert.Equal(0, guest.WriteAll("/d/mine", "x"));
        Assert.Equal(0, guest.WriteAll("/d/mine", "y"));
        Assert.Equal(0, guest.Call(34, Guest.AtFdCwd, "/d/dir", 0x1C0));
        Assert.Equal((33u, 44u, 0x81A4u), Of(guest, "/d/mine"));
        Assert.Equal((33u, 44u, 0x41C0u), Of(guest, "/d/dir"));
        // Others may not change what is not theirs.
        Assert.Equal(-Errno.EPERM, guest.Call(54, Guest.AtFdCwd, "/d/mine", 0, 0, 0));
        Assert.Equal(-Errno.EPERM, guest.Call(53, Guest.AtFdCwd, "/d/file", 0x1FF));
        Assert.Equal(0, guest.Call(53, Guest.AtFdCwd, "/d/mine", 0x180));
        Assert.Equal(-Errno.EPERM, guest.Call(33, Guest.AtFdCwd, "/d/null", 0x21B6, 0x103));
    }

    // Linux gives a new file its owner before anybody can see it: nobody is told of a change, and a directory's set-group-id works.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_new_file_is_its_makers_from_the_start(bool overlay)
    {
        var guest = Start(overlay, real: true);
        if (!guest.Thread.Process.Fs.Space.Owners!.Real)
        {
            Console.WriteLine("SKIPPED A_new_file_is_its_makers_from_the_start: root of the host is wanted");
            return;
        }
        Assert.Equal(0, guest.Call(34, Guest.AtFdCwd, "/shared", 0x1FF));
        Assert.Equal(0, guest.Call(54, Guest.AtFdCwd, "/shared", 0, 77, 0));
        Assert.Equal(0, guest.Call(53, Guest.AtFdCwd, "/shared", 0x5FF));
        long events = guest.Call(26, 0x800);
        Assert.True(guest.Call(27, events, "/shared", 0x104 /* IN_ATTRIB, IN_CREATE */) > 0);
        guest.Thread.Process.Credentials = Credentials.Of(33, 44);
        Assert.Equal(0, guest.WriteAll("/shared/file", "x"));
        Assert.Equal(0, guest.Call(34, Guest.AtFdCwd, "/shared/dir", 0x1C0));
        Assert.Equal(0, guest.Call(36, "file", Guest.AtFdCwd, "/shared/link"));
        Assert.Equal(0, guest.Call(33, Guest.AtFdCwd, "/shared/fifo", 0x1180, 0));
        Assert.Equal((33u, 77u, 0x81A4u), Of(guest, "/shared/file"));
        Assert.Equal((33u, 77u, 0x45C0u), Of(guest, "/shared/dir"));
        Assert.Equal((33u, 77u), (Of(guest, "/shared/link").Uid, Of(guest, "/shared/fifo").Gid));
        long length = guest.Call(63, events, Guest.Low + 0x8000, 4096);
        Assert.True(length > 0, $"inotify: {length}");
        var bytes = guest.Get(Guest.Low + 0x8000, (int)length);
        for (int at = 0; at < bytes.Length; at += 16 + BitConverter.ToInt32(bytes, at + 12)) Assert.Equal(0u, BitConverter.ToUInt32(bytes, at + 4) & 4);
        // And what root makes then is root's.
        guest.Thread.Process.Credentials = Credentials.Of(0, 0);
        Assert.Equal(0, guest.WriteAll("/d/roots", "x"));
        Assert.Equal((0u, 0u, 0x81A4u), Of(guest, "/d/roots"));
    }

    [Fact]
    public void Directories_list_device_nodes_as_what_they_are()
    {
        var guest = Start(overlay: false, real: true);
        Assert.Equal(0, guest.Call(34, Guest.AtFdCwd, "/e", 0x1FF));
        Assert.Equal(0, guest.Call(34, Guest.AtFdCwd, "/f", 0x1FF));
        Assert.Equal(0, guest.Call(33, Guest.AtFdCwd, "/d/null", 0x21B6, 0x103));
        Assert.Equal(0, guest.Call(33, Guest.AtFdCwd, "/d/disk", 0x61B0, 0x801));
        Assert.Equal(0, guest.Call(37, Guest.AtFdCwd, "/d/null", Guest.AtFdCwd, "/e/linked", 0));
        Assert.Equal(0, guest.Call(276, Guest.AtFdCwd, "/d/disk", Guest.AtFdCwd, "/f/moved", 0));
        Assert.Equal(["file 8", "null 2"], guest.Types("/d"));
        Assert.Equal(["linked 2"], guest.Types("/e"));
        Assert.Equal(["moved 6"], guest.Types("/f"));
        guest = Start(overlay: false, real: true);
        Assert.Equal(["moved 6"], guest.Types("/f"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Files_without_permissions_stay_open_to_root(bool overlay)
    {
        var guest = Start(overlay, real: false);
        long fd = guest.Open("/secret", 0xC1, 0);
        Assert.Equal((0u, 0u, 0x8000u), Of(guest, "/secret"));
        Assert.Equal(0, guest.Call(52, fd, 0x9ED));
        Assert.Equal((0u, 0u, 0x89EDu), Of(guest, "/secret"));
        guest.Thread.Process.Fs.Umask = 0x1FF;
        Assert.True(guest.Open("/masked", 0xC1, 0x1B6) >= 0);
        Assert.Equal((0u, 0u, 0x8000u), Of(guest, "/masked"));
        Assert.True((new FileInfo(Path.Combine(overlay ? Path.Combine(_upper.Path, "upper") : _root.Path, "masked")).UnixFileMode & UnixFileMode.UserWrite) != 0);
        string host = Path.Combine(overlay ? Path.Combine(_upper.Path, "upper") : _root.Path, "secret");
        var mode = new FileInfo(host).UnixFileMode;
        Assert.True(mode.HasFlag(UnixFileMode.UserRead | UnixFileMode.UserWrite) && (mode & (UnixFileMode.SetUser | UnixFileMode.SetGroup)) == 0, mode.ToString());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Attributes_of_root_are_kept_and_our_own_are_hidden(bool real)
    {
        var guest = Start(overlay: true, real);
        Assert.Equal(0, guest.Call(54, Guest.AtFdCwd, "/d/file", 1, 2, 0));
        Assert.Equal(0, guest.Call(5, "/d/file", "user.note", Encoding.ASCII.GetBytes("hello"), 5, 0));
        Assert.Equal(0, guest.Call(5, "/d/file", "trusted.x", Encoding.ASCII.GetBytes("world!"), 6, 0));
        Assert.Equal(6, guest.Call(8, "/d/file", "trusted.x", Guest.Low + 0x9000, 64));
        Assert.Equal(-Errno.ENODATA, guest.Call(8, "/d/file", FileRecord.Attribute, Guest.Low + 0x9000, 64));
        Assert.Equal(-Errno.EPERM, guest.Call(5, "/d/file", FileRecord.Attribute, new byte[4], 4, 0));
        long length = guest.Call(11, "/d/file", Guest.Low + 0x9000, 256);
        Assert.True(length > 0);
        var names = Encoding.ASCII.GetString(guest.Get(Guest.Low + 0x9000, (int)length)).Split('\0', StringSplitOptions.RemoveEmptyEntries).Order();
        Assert.Equal(["trusted.x", "user.note"], names);
        Assert.Equal(length, guest.Call(11, "/d/file", 0, 0));
        Assert.Equal(0, guest.Call(14, "/d/file", "trusted.x"));
        Assert.Equal(-Errno.ENODATA, guest.Call(8, "/d/file", "trusted.x", Guest.Low + 0x9000, 64));
    }

    [Fact]
    public void Devices_of_the_host_stay_as_they_are()
    {
        var guest = Start(overlay: false, real: true);
        var before = (File.GetLastWriteTimeUtc("/dev/null"), new FileInfo("/dev/null").UnixFileMode, guest.Stat("/dev/null", out _)!.Uid);
        Assert.Equal(0, guest.Call(53, Guest.AtFdCwd, "/dev/null", 0x180));
        Assert.Equal(0, guest.Call(54, Guest.AtFdCwd, "/dev/null", 7, 7, 0));
        long fd = guest.Open("/dev/null", 2);
        Assert.Equal(0, guest.Call(52, fd, 0x180));
        Assert.Equal(0, guest.Call(55, fd, 7, 7));
        Assert.Equal(0, guest.Call(88, fd, 0, new byte[32], 0));
        Assert.Equal(0, guest.Call(88, Guest.AtFdCwd, "/dev/null", new byte[32], 0));
        Assert.Equal(-Errno.EPERM, guest.Call(5, "/dev/null", "trusted.x", new byte[1], 1, 0));
        Assert.Equal(-Errno.EPERM, guest.Call(7, fd, "trusted.x", new byte[1], 1, 0));
        Assert.Equal(before, (File.GetLastWriteTimeUtc("/dev/null"), new FileInfo("/dev/null").UnixFileMode, guest.Stat("/dev/null", out _)!.Uid));
    }

    [Theory]
    [InlineData("1:2:100644:0:7", true)]
    [InlineData("0:0:20666:259:0", true)]
    [InlineData("", false)]
    [InlineData("1:2:3:4", false)]
    [InlineData("1:2:9:4:5", false)]
    [InlineData("1:2:3:4:5:6", false)]
    [InlineData("a:2:3:4:5", false)]
    [InlineData("99999999999999999999999:2:3:4:5", false)]
    public void Records_read_what_they_wrote(string text, bool good)
    {
        Assert.Equal(good, FileRecord.TryParse(Encoding.ASCII.GetBytes(text), out var record));
        if (good) Assert.Equal(text, record.ToString());
    }
}
