using System.Buffers.Binary;
using System.Text;

namespace Vivarium.Linux.Tests.Vfs;

/// <summary>Sockets, control messages, waiting.</summary>
public class SocketTests : IDisposable
{
    private readonly TemporaryDirectory _root = new();
    private readonly Guest _guest;
    private const ulong Low = Guest.Low;

    public SocketTests()
    {
        Directory.CreateDirectory(Path.Combine(_root.Path, "run"));
        _root.Link("var", "/run");
        _guest = new Guest(_root.Path);
    }

    public void Dispose()
    {
        _guest.Dispose();
        _root.Dispose();
    }

    private (long A, long B) Pair(int type = 1)
    {
        Assert.Equal(0, _guest.Call(199, 1, type, 0, Low));
        return (_guest.Get32(Low), _guest.Get32(Low + 4));
    }

    private static byte[] Unix(string path)
    {
        var bytes = new byte[2 + Encoding.UTF8.GetByteCount(path) + 1];
        bytes[0] = 1;
        Encoding.UTF8.GetBytes(path, bytes.AsSpan(2));
        return bytes;
    }

    [Fact]
    public void Unix_addresses_are_paths_of_the_guest()
    {
        long server = _guest.Call(198, 1, 1, 0);
        var address = Unix("/var/server");
        Assert.Equal(0, _guest.Call(200, server, address, address.Length));
        Assert.True(File.Exists(Path.Combine(_root.Path, "run/server")) || new FileInfo(Path.Combine(_root.Path, "run/server")).Exists);
        Assert.Equal(0, _guest.Call(201, server, 5));
        Assert.Equal(-Errno.EADDRINUSE, _guest.Call(200, _guest.Call(198, 1, 1, 0), address, address.Length));

        // Named from its own directory, and through a link; too long a name is refused, a stranger's is not there.
        Assert.Equal(0, _guest.Call(49, "/run"));
        foreach (var name in (ReadOnlySpan<string>)["server", "../var/server", "/run/server"])
        {
            long client = _guest.Call(198, 1, 1, 0);
            Assert.Equal(0, _guest.Call(203, client, Unix(name), Unix(name).Length));
            BinaryPrimitives.WriteUInt32LittleEndian(new byte[4], 0);
            _guest.Put(Low, [110, 0, 0, 0]);
            Assert.Equal(0, _guest.Call(205, client, Low + 16, Low));
            Assert.Equal((uint)address.Length, _guest.Get32(Low));
            Assert.Equal(address, _guest.Get(Low + 16, address.Length));
            _guest.Put(Low, [110, 0, 0, 0]);
            Assert.True(_guest.Call(242, server, Low + 16, Low, 0x80000) >= 0);
        }
        Assert.Equal(-Errno.ENOENT, _guest.Call(203, _guest.Call(198, 1, 1, 0), Unix("/nobody"), Unix("/nobody").Length));
        Assert.Equal(-Errno.EINVAL, _guest.Call(203, server, new byte[200], 200));
    }

    private byte[] Message(ulong vectors, int count, ulong control, ulong controlLength)
    {
        var message = new byte[56];
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(16), vectors);
        BinaryPrimitives.WriteInt64LittleEndian(message.AsSpan(24), count);
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(32), control);
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(40), controlLength);
        return message;
    }

    [Fact]
    public void Descriptors_travel_through_sockets()
    {
        _root.File("sent", "over the wire");
        var (a, b) = Pair();
        long file = _guest.Open("/sent");
        const ulong Vector = Low + 0x4000, Control = Low + 0x4100, Data = Low + 0x4200;
        var vector = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(vector, Data);
        BinaryPrimitives.WriteUInt64LittleEndian(vector.AsSpan(8), 3);
        _guest.Put(Vector, vector);
        _guest.Put(Data, "fd!"u8);
        var control = new byte[24];
        BinaryPrimitives.WriteUInt64LittleEndian(control, 20);
        BinaryPrimitives.WriteInt32LittleEndian(control.AsSpan(8), 1);
        BinaryPrimitives.WriteInt32LittleEndian(control.AsSpan(12), 1);
        BinaryPrimitives.WriteInt32LittleEndian(control.AsSpan(16), (int)file);
        _guest.Put(Control, control);
        Assert.Equal(3, _guest.Call(211, a, Message(Vector, 1, Control, 24), 0));
        _guest.Put(Control, new byte[64]);
        _guest.Put(Data, new byte[3]);
        _guest.Put(Low + 0x5000, Message(Vector, 1, Control, 64));
        Assert.Equal(3, _guest.Call(212, b, Low + 0x5000, 0x40000000));
        Assert.Equal("fd!"u8.ToArray(), _guest.Get(Data, 3));
        long received = _guest.Get32(Control + 16);
        Assert.NotEqual(file, received);
        Assert.Equal(true, _guest.Files.IsCloseOnExec((int)received));
        Assert.Equal(13, _guest.Call(63, received, Low, 100));
        Assert.Equal("over the wire", Encoding.ASCII.GetString(_guest.Get(Low, 13)));
        Assert.Equal("/sent", _guest.ReadLink($"/proc/self/fd/{received}", out _));
        BinaryPrimitives.WriteInt32LittleEndian(control.AsSpan(16), 99);
        _guest.Put(Control, control);
        Assert.Equal(-Errno.EBADF, _guest.Call(211, a, Message(Vector, 1, Control, 24), 0));
    }

    [Fact]
    public void Epoll_events_have_sixteen_bytes()
    {
        var (a, b) = Pair();
        long set = _guest.Call(20, 0x80000);
        var first = new byte[16];
        BinaryPrimitives.WriteUInt32LittleEndian(first, 1);
        BinaryPrimitives.WriteUInt64LittleEndian(first.AsSpan(8), 0x1122334455667788);
        Assert.Equal(0, _guest.Call(21, set, 1, b, first));
        Assert.Equal(-Errno.EEXIST, _guest.Call(21, set, 1, b, first));
        long timer = _guest.Call(19, 1, 0);
        BinaryPrimitives.WriteUInt64LittleEndian(first.AsSpan(8), 0x99AABBCCDDEEFF00);
        Assert.Equal(0, _guest.Call(21, set, 1, timer, first));
        Assert.Equal(1, _guest.Call(22, set, Low, 8, 0, 0, 8));
        Assert.Equal(2, _guest.Call(64, a, "xx"u8.ToArray(), 2));
        Assert.Equal(2, _guest.Call(22, set, Low, 8, -1, 0, 8));
        var data = new[] { _guest.Get64(Low + 8), _guest.Get64(Low + 24) };
        Assert.Equal([0x1122334455667788ul, 0x99AABBCCDDEEFF00ul], data.Order());
        Assert.Equal(1u, _guest.Get32(Low));
        Assert.Equal(0u, _guest.Get32(Low + 4));
        Assert.Equal(-Errno.EINVAL, _guest.Call(22, set, Low, 0, 0, 0, 8));
        Assert.Equal(-Errno.EINVAL, _guest.Call(21, set, 1, set, first));
        Assert.Equal(0, _guest.Call(21, set, 2, b, 0));
        Assert.Equal(0, _guest.Call(21, set, 2, timer, 0));
        Assert.Equal(0, _guest.Call(22, set, Low, 8, 1, 0, 8));
    }

    [Fact]
    public void Epoll_tells_duplicates_apart()
    {
        var (a, b) = Pair();
        long copy = _guest.Call(23, b);
        long set = _guest.Call(20, 0);
        var record = new byte[16];
        record[0] = 1;
        record[8] = 11;
        Assert.Equal(0, _guest.Call(21, set, 1, b, record));
        record[8] = 22;
        Assert.Equal(-Errno.ENOENT, _guest.Call(21, set, 2, copy, 0));
        Assert.Equal(0, _guest.Call(21, set, 1, copy, record));
        Assert.Equal(-Errno.EEXIST, _guest.Call(21, set, 1, copy, record));
        Assert.Equal(1, _guest.Call(64, a, "x"u8.ToArray(), 1));
        Assert.Equal(2, _guest.Call(22, set, Low, 8, 0, 0, 8));
        Assert.Equal([11ul, 22ul], new[] { _guest.Get64(Low + 8), _guest.Get64(Low + 24) }.Order());
        Assert.Equal(0, _guest.Call(21, set, 2, copy, 0));
        Assert.Equal(1, _guest.Call(22, set, Low, 8, 0, 0, 8));
        Assert.Equal(0, _guest.Call(21, set, 1, copy, record));
        Assert.Equal(0, _guest.Close(b));
        Assert.Equal(2, _guest.Call(22, set, Low, 8, 0, 0, 8));
        Assert.Equal(0, _guest.Close(copy));
        Assert.Equal(0, _guest.Call(22, set, Low, 8, 0, 0, 8));
        // The number means another file now.
        var (_, d) = Pair();
        Assert.Equal(b, d == b ? d : _guest.Call(24, d, b, 0));
        Assert.Equal(-Errno.ENOENT, _guest.Call(21, set, 3, b, record));
        Assert.Equal(0, _guest.Call(21, set, 1, b, record));
        Assert.Equal(-Errno.EINVAL, _guest.Call(21, a, 1, b, record));
    }

    [Fact]
    public void Poll_and_select_know_the_guests_numbers()
    {
        var (a, b) = Pair();
        // Numbers unlike the host's: b moves to 200.
        Assert.Equal(200, _guest.Call(24, b, 200, 0));
        var fds = new byte[32];
        void Fd(int i, long fd, short events)
        {
            BinaryPrimitives.WriteInt32LittleEndian(fds.AsSpan(i * 8), (int)fd);
            BinaryPrimitives.WriteInt16LittleEndian(fds.AsSpan(i * 8 + 4), events);
        }
        Fd(0, 200, 1);
        Fd(1, a, 4);
        Fd(2, 77, 1);
        Fd(3, -1, 1);
        _guest.Put(Low, fds);
        Assert.Equal(2, _guest.Call(73, Low, 4, 0, 0, 8));
        Assert.Equal(0u, _guest.Get32(Low + 4) >> 16);
        Assert.Equal(4u, _guest.Get32(Low + 12) >> 16);
        Assert.Equal(32u, _guest.Get32(Low + 20) >> 16);
        Assert.Equal(0u, _guest.Get32(Low + 28) >> 16);

        var time = new byte[16];
        BinaryPrimitives.WriteInt64LittleEndian(time.AsSpan(8), 1_000_000);
        var set = new byte[32];
        set[200 / 8] = 1 << (200 % 8);
        _guest.Put(Low, set);
        Assert.Equal(0, _guest.Call(72, 201, Low, 0, 0, time, 0));
        Assert.Equal(new byte[32], _guest.Get(Low, 32));
        Assert.Equal(1, _guest.Call(64, a, "x"u8.ToArray(), 1));
        _guest.Put(Low, set);
        Assert.Equal(1, _guest.Call(72, 201, Low, 0, 0, 0, 0));
        Assert.Equal(set, _guest.Get(Low, 32));
        set[5] = 0x80;
        _guest.Put(Low, set);
        Assert.Equal(-Errno.EBADF, _guest.Call(72, 201, Low, 0, 0, 0, 0));
        Assert.Equal(-Errno.EINVAL, _guest.Call(73, Low, 5000, 0, 0, 8));
    }

    [Fact]
    public void Descriptor_calls()
    {
        Assert.Equal(0, _guest.Call(59, Low, 0x80000));
        long read = _guest.Get32(Low), write = _guest.Get32(Low + 4);
        Assert.Equal(1, _guest.Call(25, read, 1, 0));
        long copy = _guest.Call(25, write, 0, 50);
        Assert.Equal(50, copy);
        Assert.Equal(0, _guest.Call(25, copy, 1, 0));
        Assert.Equal(-Errno.EINVAL, _guest.Call(25, write, 0, 5000));
        Assert.Equal(-Errno.EINVAL, _guest.Call(24, write, write, 0));
        Assert.Equal(3, _guest.Call(64, copy, "abc"u8.ToArray(), 3));
        Assert.Equal(0, _guest.Call(29, read, 0x541B, Low));
        Assert.Equal(3u, _guest.Get32(Low));
        Assert.Equal(-Errno.ENOTTY, _guest.Call(29, read, 0x5401, Low));
        Assert.Equal(-Errno.ENOTTY, _guest.Call(29, read, 0x12345678, Low));
        Assert.StartsWith("pipe:[", _guest.ReadLink($"/proc/self/fd/{read}", out _));
        Assert.Equal(0, _guest.Call(436, 10, 100, 0));
        Assert.Equal(-Errno.EBADF, _guest.Call(57, copy));
        Assert.Equal(0, _guest.Call(57, write));
        Assert.Equal(3, _guest.Call(63, read, Low, 10));
        Assert.Equal(0, _guest.Call(63, read, Low, 10));
        long memory = _guest.Call(279, "name", 0);
        Assert.Equal(5, _guest.Call(64, memory, "12345"u8.ToArray(), 5));
        Assert.Equal(0, _guest.Call(62, memory, 0, 0));
        long target = _guest.Open("/copied", 0x42, 0x1A4);
        Assert.Equal(5, _guest.Call(71, target, memory, 0, 100));
        Assert.Equal("12345", File.ReadAllText(Path.Combine(_root.Path, "copied")));
        _guest.Thread.Process.Limits.Set(ResourceLimits.OpenFiles, 10, 10);
        long last = 0;
        while (last >= 0) last = _guest.Open("/copied");
        Assert.Equal(-Errno.EMFILE, last);
    }
}
