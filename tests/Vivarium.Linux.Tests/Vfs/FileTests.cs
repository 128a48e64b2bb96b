using System.Buffers.Binary;
using System.Text;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Tests.Vfs;

/// <summary>Layouts the guest sees, faults in buffers, directories, synthetic files.</summary>
public class FileTests : IDisposable
{
    private readonly TemporaryDirectory _root = new();
    private readonly Guest _guest;
    private const ulong Low = Guest.Low, End = Guest.Low + Guest.Size;

    public FileTests()
    {
        _root.File("data", new string('x', 10000));
        _guest = new Guest(_root.Path);
    }

    public void Dispose()
    {
        _guest.Dispose();
        _root.Dispose();
    }

    [Fact]
    public void Scheduling_classes_are_kept()
    {
        const int Fifo = 1, ResetOnFork = 0x40000000;
        _guest.Thread.Process.Credentials = Credentials.Of(0, 0);
        Assert.Equal(-Errno.EINVAL, _guest.Call(119, 0, Fifo, new byte[4]));
        Assert.Equal(0, _guest.Call(119, 0, Fifo | ResetOnFork, new byte[] { 7, 0, 0, 0 }));
        Assert.Equal(Fifo | ResetOnFork, _guest.Call(120, 0));
        Assert.Equal(0, _guest.Call(121, 0, Guest.Low + 0x9000));
        Assert.Equal(7u, _guest.Get32(Guest.Low + 0x9000));
        Assert.Equal(0u, _guest.Thread.Scheduling.Inherited.Policy);
        _guest.Thread.Process.Credentials = Credentials.Of(33, 44);
        Assert.Equal(-Errno.EPERM, _guest.Call(119, 0, Fifo | ResetOnFork, new byte[] { 8, 0, 0, 0 }));
        Assert.Equal(-Errno.EPERM, _guest.Call(119, 0, 0, new byte[4]));
        Assert.Equal(0, _guest.Call(118, 0, new byte[] { 6, 0, 0, 0 }));
    }

    // Signals about files would come to viv as a whole and end it: the host must never hear of them.
    [Fact]
    public void What_makes_the_host_signal_stays_with_the_guest()
    {
        Assert.Equal(0, _guest.WriteAll("/watched", "x"));
        long fd = _guest.Open("/watched"), directory = _guest.Open("/", 0x10000);
        const int SetSig = 10, GetSig = 11, SetOwnEx = 15, GetOwnEx = 16, SetLease = 1024, GetLease = 1025, Notify = 1026;
        Assert.Equal(0, _guest.Call(25, fd, SetSig, 35));
        Assert.Equal(35, _guest.Call(25, fd, GetSig, 0));
        Assert.Equal(-Errno.EINVAL, _guest.Call(25, fd, SetSig, 65));
        Assert.Equal(-Errno.EINVAL, _guest.Call(25, directory, Notify, unchecked((int)0x80000007)));
        Assert.Equal(-Errno.EAGAIN, _guest.Call(25, fd, SetLease, 0));
        Assert.Equal(2, _guest.Call(25, fd, GetLease, 0));
        Assert.Equal(0, _guest.Call(25, fd, SetOwnEx, new byte[] { 2, 0, 0, 0, 77, 0, 0, 0 }));
        Assert.Equal(0, _guest.Call(25, fd, GetOwnEx, Guest.Low + 0x9000));
        Assert.Equal((2u, 77u), (_guest.Get32(Guest.Low + 0x9000), _guest.Get32(Guest.Low + 0x9004)));
        var file = _guest.Files.Acquire((int)fd)!;
        Assert.Equal(0, Vivarium.Host.HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, GetSig));
        Assert.Equal(0, Vivarium.Host.HostSyscall.Invoke(HostCall.FCntl, file.HostDescriptor, 9 /* F_GETOWN */));
        file.Release();
        Assert.Equal(0, _guest.WriteAll("/watched", "y"));
    }

    [Fact]
    public void Stat_has_the_layout_of_asm_generic()
    {
        // Offsets printed by a program compiled with riscv64-linux-gnu-gcc: dev 0, ino 8, mode 16, nlink 20, uid 24, gid 28, rdev 32, size 48,
        // blksize 56 (4 bytes), blocks 64, atim 72, mtim 88, ctim 104; 128 bytes in all.
        var host = new byte[FileStat.HostSize];
        for (int i = 0; i < host.Length; i++) host[i] = (byte)(i + 1);
        host.AsSpan(20, 4).Clear();
        host.AsSpan(60, 4).Clear();
        var guest = new byte[FileStat.GuestSize];
        FileStat.FromHost(host).ToGuest(guest);
        void Same(int guestAt, int hostAt, int size) => Assert.Equal(host.AsSpan(hostAt, size).ToArray(), guest.AsSpan(guestAt, size).ToArray());
        Same(0, 0, 8);
        Same(8, 8, 8);
        Same(16, 24, 4);
        Same(20, 16, 4);
        Same(24, 28, 4);
        Same(28, 32, 4);
        Same(32, 40, 8);
        Same(48, 48, 8);
        Same(56, 56, 4);
        Same(64, 64, 8);
        Same(72, 72, 16);
        Same(88, 88, 16);
        Same(104, 104, 16);
        Assert.Equal(new byte[8], guest.AsSpan(40, 8).ToArray());
        Assert.Equal(new byte[4], guest.AsSpan(60, 4).ToArray());
        Assert.Equal(new byte[8], guest.AsSpan(120, 8).ToArray());

        var direct = new byte[FileStat.GuestSize];
        FileStat.HostToGuest(host, direct);
        Assert.Equal(guest, direct);
    }

    [Fact]
    public void Stat_of_a_file_by_all_calls()
    {
        long fd = _guest.Open("/data");
        Assert.Equal(0, _guest.Call(80, fd, Low));
        var first = _guest.Get(Low, 128);
        Assert.Equal(10000, BinaryPrimitives.ReadInt64LittleEndian(first.AsSpan(48)));
        Assert.Equal(0x8000u, BinaryPrimitives.ReadUInt32LittleEndian(first.AsSpan(16)) & 0xF000);
        Assert.Equal(1u, BinaryPrimitives.ReadUInt32LittleEndian(first.AsSpan(20)));
        Assert.Equal(0, _guest.Call(79, Guest.AtFdCwd, "/data", Low, 0));
        Assert.Equal(first, _guest.Get(Low, 128));
        Assert.Equal(0, _guest.Call(79, fd, "", Low, 0x1000));
        Assert.Equal(first, _guest.Get(Low, 128));
        Assert.Equal(0, _guest.Call(291, Guest.AtFdCwd, "/data", 0, 0x7FF, Low));
        Assert.Equal(10000ul, _guest.Get64(Low + 40));
        Assert.Equal(-Errno.EFAULT, _guest.Call(79, Guest.AtFdCwd, "/data", End - 64, 0));
        Assert.Equal(-Errno.EINVAL, _guest.Call(79, Guest.AtFdCwd, "/data", Low, 0x8000));
        Assert.Equal(-Errno.EBADF, _guest.Call(80, 77, Low));
        Assert.Equal(0, _guest.Call(44, fd, Low));
        Assert.Equal(0, _guest.Call(43, "/proc", Low));
        Assert.Equal(0x9FA0ul, _guest.Get64(Low));
    }

    [Fact]
    public void Faults_in_buffers_are_exact()
    {
        long fd = _guest.Open("/data");
        Assert.Equal(-Errno.EFAULT, _guest.Call(63, fd, 0x100, 10));
        Assert.Equal(-Errno.EFAULT, _guest.Call(63, fd, End, 10));
        Assert.Equal(-Errno.EFAULT, _guest.Call(63, fd, ulong.MaxValue - 10, 100));
        Assert.Equal(-Errno.EFAULT, _guest.Call(63, fd, (ulong)(16 << 20) - 4, 100));
        // What fits before the fault is transferred.
        Assert.Equal(0, _guest.Call(62, fd, 0, 0));
        Assert.Equal(100, _guest.Call(63, fd, End - 100, 5000));
        Assert.Equal(100, _guest.Call(62, fd, 0, 1));
        Assert.Equal(-Errno.EINVAL, _guest.Call(63, fd, Low, -1L));

        var vectors = new byte[48];
        void Vector(int i, ulong address, ulong length)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(vectors.AsSpan(i * 16), address);
            BinaryPrimitives.WriteUInt64LittleEndian(vectors.AsSpan(i * 16 + 8), length);
        }
        Vector(0, Low + 0x8000, 10);
        Vector(1, End - 8, 20);
        Vector(2, Low + 0x9000, 10);
        Assert.Equal(18, _guest.Call(65, fd, vectors, 3));
        Vector(1, 1UL << 40, 20);
        Assert.Equal(-Errno.EFAULT, _guest.Call(65, fd, vectors, 3));
        Vector(1, Low, 1UL << 63);
        Assert.Equal(-Errno.EINVAL, _guest.Call(65, fd, vectors, 3));
        Assert.Equal(-Errno.EINVAL, _guest.Call(65, fd, vectors, 1025));
        Assert.Equal(0, _guest.Call(65, fd, vectors, 0));
        Assert.Equal(-Errno.EFAULT, _guest.Call(65, fd, 0x100, 1));
        Assert.Equal(-Errno.EFAULT, _guest.Call(56, Guest.AtFdCwd, 0x100, 0, 0));
        Assert.Equal(-Errno.ENAMETOOLONG, _guest.Open(new string('a', 5000)));
        Assert.Equal(-Errno.ENAMETOOLONG, _guest.Open("/" + new string('a', 300)));
    }

    [Fact]
    public void Positions_vectors_and_truncation()
    {
        long fd = _guest.Open("/new", 0x42, 0x1A4);
        Assert.Equal(5, _guest.Call(64, fd, "hello"u8.ToArray(), 5));
        Assert.Equal(3, _guest.Call(68, fd, "XYZ"u8.ToArray(), 3, 1));
        Assert.Equal(0, _guest.Call(62, fd, 0, 0));
        Assert.Equal(5, _guest.Call(63, fd, Low, 100));
        Assert.Equal("hXYZo", Encoding.ASCII.GetString(_guest.Get(Low, 5)));
        Assert.Equal(0, _guest.Call(63, fd, Low, 100));
        Assert.Equal(2, _guest.Call(67, fd, Low, 2, 3));
        Assert.Equal("Zo", Encoding.ASCII.GetString(_guest.Get(Low, 2)));
        Assert.Equal(0, _guest.Call(46, fd, 2));
        Assert.Equal(0, _guest.Call(45, "/new", 7));
        Assert.Equal(7, new FileInfo(Path.Combine(_root.Path, "new")).Length);
        Assert.Equal(-Errno.EISDIR, _guest.Call(45, "/", 7));
        Assert.Equal(0, _guest.Call(82, fd));
        Assert.Equal(-Errno.EBADF, _guest.Call(64, _guest.Open("/new"), "x"u8.ToArray(), 1));
    }

    [Fact]
    public void Umask_and_modes()
    {
        Assert.Equal(0x12, _guest.Call(166, 0x3F));
        Assert.True(_guest.Open("/m", 0x41, 0x1FF) >= 0);
        Assert.Equal(0x1FF & ~0x3F, Mode("/m"));
        Assert.Equal(0, _guest.Call(53, Guest.AtFdCwd, "/m", 0x1ED));
        Assert.Equal(0x1ED, Mode("/m"));
        Assert.Equal(0x3F, _guest.Call(166, 0x12));
        Assert.Equal(0, _guest.Call(34, Guest.AtFdCwd, "/d", 0x1FF));
        Assert.Equal(0x1ED, Mode("/d"));
        Assert.Equal(-Errno.EOPNOTSUPP, _guest.Call(36, "x", Guest.AtFdCwd, "/s") + _guest.Call(452, Guest.AtFdCwd, "/s", 0x1FF, 0x100));
    }

    private int Mode(string path)
    {
        Assert.Equal(0, _guest.Call(79, Guest.AtFdCwd, path, Low, 0));
        return (int)_guest.Get32(Low + 16) & 0xFFF;
    }

    [Fact]
    public void Large_directories_are_read_completely()
    {
        var expected = new HashSet<string> { ".", ".." };
        Directory.CreateDirectory(Path.Combine(_root.Path, "many"));
        for (int i = 0; i < 1500; i++)
        {
            string name = $"entry-with-a-name-{i}";
            File.WriteAllBytes(Path.Combine(_root.Path, "many", name), []);
            expected.Add(name);
        }
        var seen = Names("/many", 700);
        Assert.Equal(expected.Count, seen.Count);
        Assert.True(expected.SetEquals(seen));
    }

    private List<string> Names(string path, int size)
    {
        long fd = _guest.Open(path, 0x10000);
        Assert.True(fd >= 0, $"{path}: {fd}");
        var names = new List<string>();
        for (;;)
        {
            long got = _guest.Call(61, fd, Low + 0x20000, size);
            Assert.True(got >= 0, $"{path}: {got}");
            if (got == 0) break;
            var bytes = _guest.Get(Low + 0x20000, (int)got);
            for (int at = 0; at < got; at += BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at + 16)))
            {
                int end = Array.IndexOf(bytes, (byte)0, at + 19);
                names.Add(Encoding.UTF8.GetString(bytes.AsSpan(at + 19, end - at - 19)));
            }
        }
        _guest.Close(fd);
        return names;
    }

    [Fact]
    public void Synthetic_directories_and_links()
    {
        Assert.Superset(new HashSet<string> { ".", "..", "self", "cpuinfo", "41", "sys" }, Names("/proc", 256).ToHashSet());
        Assert.Superset(new HashSet<string> { "null", "zero", "fd", "stdin", "pts", "shm" }, Names("/dev", 4096).ToHashSet());
        long fd = _guest.Open("/data");
        Assert.Contains(fd.ToString(), Names("/proc/self/fd", 4096));
        Assert.Equal("41", _guest.ReadLink("/proc/self", out _));
        Assert.Equal("/data", _guest.ReadLink($"/proc/self/fd/{fd}", out _));
        _guest.ReadLink("/proc/cpuinfo", out long error);
        Assert.Equal(-Errno.EINVAL, error);
        Assert.Equal(10000, _guest.ReadAll($"/dev/fd/{fd}", out _)?.Length);
        Assert.StartsWith("processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdc", _guest.ReadAll("/proc/cpuinfo", out _));
        Assert.Matches("^0(-[0-9]+)?\n$", _guest.ReadAll("/sys/devices/system/cpu/online", out _));
        Assert.NotEqual(_guest.ReadAll("/proc/sys/kernel/random/uuid", out _), _guest.ReadAll("/proc/sys/kernel/random/uuid", out _));
        Assert.Equal(-Errno.EACCES, _guest.Open("/proc/cpuinfo", 1));
        Assert.Equal(-Errno.ENOENT, _guest.Open("/proc/nothing", 0x41));
        Assert.Equal(-Errno.EROFS, _guest.Open("/sys/nothing", 0x41));
        Assert.Equal(-Errno.ENOTDIR, _guest.Open("/proc/cpuinfo/x"));
        Assert.Equal(-Errno.EISDIR, _guest.Call(63, _guest.Open("/proc"), Low, 10));
    }

    [Fact]
    public void Devices_and_shared_memory()
    {
        long zero = _guest.Open("/dev/zero");
        Assert.Equal(16, _guest.Call(63, zero, Low, 16));
        Assert.Equal(4, _guest.Call(64, _guest.Open("/dev/null", 1), "gone"u8.ToArray(), 4));
        Assert.Equal(0, _guest.Call(79, Guest.AtFdCwd, "/dev/null", Low, 0));
        Assert.Equal(0x2000u, _guest.Get32(Low + 16) & 0xF000);
        Assert.Equal(0x103ul, _guest.Get64(Low + 32));
        long shm = _guest.Open("/dev/shm/mine", 0x42, 0x180);
        Assert.True(shm >= 0);
        Assert.Equal("/dev/shm/mine", _guest.ReadLink($"/proc/self/fd/{shm}", out _));
        Assert.Contains("mine", Names("/dev/shm", 4096));
        Assert.Equal(0, _guest.Call(35, Guest.AtFdCwd, "/dev/shm/mine", 0));
        Assert.Equal(-Errno.EROFS, _guest.Call(34, Guest.AtFdCwd, "/dev/new", 0x1ED));
        Assert.Equal(-Errno.EXDEV, _guest.Call(37, Guest.AtFdCwd, "/data", Guest.AtFdCwd, "/dev/shm/data", 0));
    }

    [Fact]
    public void Reading_and_writing_allocate_nothing()
    {
        long fd = _guest.Open("/data", 2);
        var handler = SyscallTable.Default.Find(67)!;
        var args = new SyscallArgs((ulong)fd, Low, 100, 0, 0, 0);
        for (int i = 0; i < 100; i++) handler(_guest.Thread, args);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++) handler(_guest.Thread, args);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Roots_and_working_directories_that_cannot_be()
    {
        Assert.Equal("cannot use '/none/such' as a directory: no such directory", Assert.Throws<IOException>(() => FsContext.Create("/none/such", null)).Message);
        Assert.Equal("cannot use '/etc/passwd' as a directory: not a directory", Assert.Throws<IOException>(() => FsContext.Create("/etc/passwd", null)).Message);
        Assert.Equal("cannot use '/none' as the working directory: no such directory", Assert.Throws<IOException>(() => FsContext.Create(_root.Path, "/none")).Message);
        Assert.Equal("cannot use 'data' as the working directory: not a directory", Assert.Throws<IOException>(() => FsContext.Create(_root.Path, "data")).Message);
    }

    [Fact]
    public void The_hosts_tree_is_seen_as_it_is()
    {
        using var guest = new Guest(null, _root.Path);
        Assert.Equal(10000, guest.ReadAll("data", out _)?.Length);
        Assert.Equal(_root.Path, guest.WorkingDirectory());
        Assert.Equal(File.ReadAllText("/etc/passwd"), guest.ReadAll("/etc/passwd", out _));
        Assert.Equal("41", guest.ReadLink("/proc/self", out _));
        Assert.Contains("rv64", guest.ReadAll("../../proc/cpuinfo", out _));
        Assert.Equal(0, guest.Call(49, "/"));
        Assert.Contains("rv64", guest.ReadAll("proc/cpuinfo", out _));
        Assert.Equal(-Errno.ENOENT, guest.Open($"/proc/{Environment.ProcessId}/maps"));
        Assert.Contains("Inter-", guest.ReadAll("/proc/net/dev", out _));
        Assert.Contains("TCP", guest.ReadAll("/proc/net/protocols", out _));
        Assert.True(guest.Open("/proc/irq/..") >= 0);
        long fd = guest.Open("/dev/null");
        Assert.Equal("/dev/null", guest.ReadLink($"/dev/fd/{fd}", out _));
    }
}
