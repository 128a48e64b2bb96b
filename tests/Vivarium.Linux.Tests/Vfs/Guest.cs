using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Memory;
using Vivarium.Linux.Vfs;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;

namespace Vivarium.Linux.Tests.Vfs;

/// <summary>A guest process without a program: memory, descriptors and a name space to make syscalls with.</summary>
internal sealed class Guest : IDisposable
{
    public const ulong Low = 0x10000, Size = 1 << 20;

    /// <summary>A directory on the host that is the guest's root (or null).</summary>
    public string? Root { get; }

    public GuestThread Thread { get; }
    public MemoryWindow Window { get; }
    public FileTable Files => Thread.Process.Files;

    private readonly Hart _hart;

    public Guest(string? root = null, string? cwd = null) : this(new TreeOptions { Root = root, WorkingDirectory = cwd })
    {
    }

    public Guest(TreeOptions tree)
    {
        string? root = Root = tree.Root;
        Window = MemoryWindow.Reserve(16 << 20);
        Assert.Equal(0, Window.MapAnonymous(Low, Size, Protection.Read | Protection.Write));
        _hart = new Hart(Window);
        var realm = new Realm(new RunOptions { Program = "/none", Arguments = ["none"], Root = root });
        var process = new GuestProcess
        {
            Realm = realm,
            Pid = 41,
            Memory = new AddressSpace(Window, new ReferenceInterpreter()),
            Files = new FileTable(),
            Fs = FsContext.Create(tree),
        };
        Thread = new GuestThread { Process = process, Hart = _hart, Tid = 41 };
        SetHostThread(Thread, HostThread.Current);
        realm.Processes[41] = process;
        realm.Threads[41] = Thread;
    }

    private static void SetHostThread(GuestThread thread, HostThread host) => thread.HostThread = host;

    /// <summary>Makes the syscall; strings and byte arrays are put into guest memory one after the other.</summary>
    public long Call(int number, params ReadOnlySpan<object> arguments)
    {
        Span<ulong> values = stackalloc ulong[6];
        ulong next = Low + 0x1000;
        for (int i = 0; i < arguments.Length; i++)
        {
            switch (arguments[i])
            {
                case string text:
                    values[i] = next;
                    next += Put(next, Encoding.UTF8.GetBytes(text + "\0")) + 16 & ~15UL;
                    break;
                case byte[] bytes:
                    values[i] = next;
                    next += Put(next, bytes) + 16 & ~15UL;
                    break;
                case int value: values[i] = (ulong)value; break;
                case uint value: values[i] = value; break;
                case long value: values[i] = (ulong)value; break;
                case ulong value: values[i] = value; break;
                default: throw new ArgumentException("argument");
            }
        }
        var handler = SyscallTable.Default.Find((ulong)number) ?? throw new ArgumentException("no such syscall");
        return handler(Thread, new SyscallArgs(values[0], values[1], values[2], values[3], values[4], values[5]));
    }

    public ulong Put(ulong address, ReadOnlySpan<byte> bytes)
    {
        Assert.Equal(bytes.Length, Window.Write(address, bytes));
        return (ulong)bytes.Length;
    }

    public byte[] Get(ulong address, int length)
    {
        var bytes = new byte[length];
        Assert.Equal(length, Window.Read(address, bytes));
        return bytes;
    }

    public uint Get32(ulong address) => BinaryPrimitives.ReadUInt32LittleEndian(Get(address, 4));
    public ulong Get64(ulong address) => BinaryPrimitives.ReadUInt64LittleEndian(Get(address, 8));

    public const int AtFdCwd = -100;

    public long Open(string path, int flags = 0, int mode = 0x1B6) => Call(56, AtFdCwd, path, flags, mode);

    public long Close(long fd) => Call(57, fd);

    /// <summary>All of a file, or null with the errno.</summary>
    public string? ReadAll(string path, out long error)
    {
        long fd = Open(path);
        error = Math.Min(fd, 0);
        if (fd < 0) return null;
        var text = new StringBuilder();
        for (;;)
        {
            long got = Call(63, fd, Low + 0x8000, 4096);
            if (got < 0) error = got;
            if (got <= 0) break;
            text.Append(Encoding.UTF8.GetString(Get(Low + 0x8000, (int)got)));
        }
        Close(fd);
        return error < 0 ? null : text.ToString();
    }

    /// <summary>Makes or replaces a file: 0 or negative errno.</summary>
    public long WriteAll(string path, string text, int flags = 0x241, int mode = 0x1A4)
    {
        long fd = Open(path, flags, mode);
        if (fd < 0) return fd;
        long written = Call(64, fd, Encoding.UTF8.GetBytes(text), text.Length);
        Close(fd);
        return Math.Min(written, 0);
    }

    /// <summary>newfstatat without following links; null with an errno.</summary>
    public GuestStat? Stat(string path, out long status)
    {
        status = Call(79, AtFdCwd, path, Low + 0x8000, 0x100);
        return status < 0 ? null : GuestStat.From(Get(Low + 0x8000, 128));
    }

    public GuestStat StatFollowing(string path)
    {
        Assert.Equal(0, Call(79, AtFdCwd, path, Low + 0x8000, 0));
        return GuestStat.From(Get(Low + 0x8000, 128));
    }

    public GuestStat? StatDescriptor(long fd, out long status)
    {
        status = Call(80, fd, Low + 0x8000);
        return status < 0 ? null : GuestStat.From(Get(Low + 0x8000, 128));
    }

    /// <summary>Names in a directory with their types, sorted, without the dots; null with an errno.</summary>
    public string[]? List(string path)
    {
        long fd = Open(path, 0x10000);
        if (fd < 0) return null;
        var names = ListDescriptor(fd);
        Close(fd);
        return names;
    }

    /// <summary>Names in a directory, each with its d_type behind it, sorted, without the dots.</summary>
    public string[] Types(string path)
    {
        long fd = Open(path, 0x10000);
        var names = ListDescriptor(fd, types: true);
        Close(fd);
        return names;
    }

    public string[] ListDescriptor(long fd, bool types = false)
    {
        var names = new List<string>();
        for (;;)
        {
            long length = Call(61, fd, Low + 0x8000, 512);
            Assert.True(length >= 0, $"getdents64: {length}");
            if (length == 0) break;
            var bytes = Get(Low + 0x8000, (int)length);
            for (int at = 0; at < bytes.Length; at += BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at + 16)))
            {
                var name = bytes.AsSpan(at + 19);
                string text = Encoding.UTF8.GetString(name[..name.IndexOf((byte)0)]);
                if (text is not ("." or "..")) names.Add(types ? $"{text} {bytes[at + 18]}" : text);
            }
        }
        names.Sort(StringComparer.Ordinal);
        return [.. names];
    }

    /// <summary>readlinkat.</summary>
    public string? ReadLink(string path, out long status)
    {
        status = Call(78, AtFdCwd, path, Low + 0x8000, 4096);
        return status < 0 ? null : Encoding.UTF8.GetString(Get(Low + 0x8000, (int)status));
    }

    public string? WorkingDirectory()
    {
        long status = Call(17, Low + 0x8000, 4096);
        return status < 0 ? null : Encoding.UTF8.GetString(Get(Low + 0x8000, (int)status - 1));
    }

    public void Dispose()
    {
        // The calls ran on the test's own thread, which other tests and the children of this process come from.
        HostUmask.Apply(HostUmask.Initial);
        Files.CloseAll();
        Thread.Process.Fs.Space.Dispose();
        _hart.Dispose();
        Window.Dispose();
    }
}

/// <summary>The guest's struct stat.</summary>
internal sealed record GuestStat(ulong Device, ulong Inode, uint Mode, uint Links, uint Uid, uint Gid, ulong RawDevice, long Size)
{
    public static GuestStat From(ReadOnlySpan<byte> b) => new(BinaryPrimitives.ReadUInt64LittleEndian(b), BinaryPrimitives.ReadUInt64LittleEndian(b[8..]),
        BinaryPrimitives.ReadUInt32LittleEndian(b[16..]), BinaryPrimitives.ReadUInt32LittleEndian(b[20..]), BinaryPrimitives.ReadUInt32LittleEndian(b[24..]),
        BinaryPrimitives.ReadUInt32LittleEndian(b[28..]), BinaryPrimitives.ReadUInt64LittleEndian(b[32..]), BinaryPrimitives.ReadInt64LittleEndian(b[48..]));
}

/// <summary>A directory that is gone afterwards.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("viv-vfs-").FullName;

    public string File(string name, string text)
    {
        string path = System.IO.Path.Combine(Path, name);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        System.IO.File.WriteAllText(path, text);
        return path;
    }

    public void Link(string name, string target)
    {
        string path = System.IO.Path.Combine(Path, name);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        System.IO.File.CreateSymbolicLink(path, target);
    }

    public void Dispose()
    {
        try
        {
            Directory.Delete(Path, recursive: true);
        }
        catch (IOException)
        {
            // A test that left a file open has failed already.
        }
    }
}
