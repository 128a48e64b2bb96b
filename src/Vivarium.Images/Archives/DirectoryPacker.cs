using Vivarium.Images.Host;

namespace Vivarium.Images.Archives;

/// <summary>Packs a directory of the host as a layer. The same tree gives the same bytes: names come in byte order.</summary>
internal sealed class DirectoryPacker
{
    /// <summary>Deeper trees would run out of descriptors; Linux's own path limit allows not much more.</summary>
    public const int MaxDepth = 256;

    private readonly TarWriter _writer;
    private readonly Dictionary<(ulong Device, ulong Inode), byte[]> _linked = [];
    private readonly byte[] _buffer = new byte[256 * 1024];
    private readonly Action<long>? _progress;
    private ulong _device;

    private DirectoryPacker(TarWriter writer, Action<long>? progress)
    {
        _writer = writer;
        _progress = progress;
    }

    /// <summary>What was left out, for people.</summary>
    public List<string> Notes { get; } = [];

    /// <summary>Entries written.</summary>
    public long Count { get; private set; }

    /// <summary>Writes the archive of <paramref name="directory"/> to <paramref name="output"/>.</summary>
    public static DirectoryPacker Pack(string directory, Stream output, Action<long>? progress = null)
    {
        var writer = new TarWriter(output);
        var packer = new DirectoryPacker(writer, progress);
        using var root = Descriptor.Open(directory, Libc.O_RDONLY | Libc.O_DIRECTORY);
        Libc.StatDescriptor(root.Number, out var stat);
        packer._device = stat.Device;
        packer.AddDirectory(root, stat, [], 0);
        writer.End();
        return packer;
    }

    private void AddDirectory(Descriptor directory, in Libc.Stat stat, byte[] path, int depth)
    {
        if (depth > MaxDepth)
            throw new ImageException($"cannot pack '{HostPath.Show(path)}': more than {MaxDepth} directories deep");
        Write(Entry(TarKind.Directory, [.. path.Length == 0 ? "."u8 : path, (byte)'/'], stat) with { Xattrs = Xattrs(directory) });
        if (stat.Device != _device)
        {
            Notes.Add($"'{HostPath.Show(path)}' is another file system: packed as an empty directory");
            return;
        }

        foreach (byte[] name in directory.ReadNames())
        {
            byte[] child = path.Length == 0 ? name[..^1] : [.. path, (byte)'/', .. name[..^1]];
            if (Libc.StatAt(directory.Number, name, out var childStat, Libc.AT_SYMLINK_NOFOLLOW) < 0)
                throw Cannot(child);
            Add(directory, name, child, childStat, depth);
        }
    }

    private void Add(Descriptor parent, byte[] name, byte[] path, in Libc.Stat stat, int depth)
    {
        if (stat.Type != Libc.S_IFDIR && stat.Links > 1)
        {
            if (_linked.TryGetValue((stat.Device, stat.Inode), out byte[]? first))
            {
                Write(Entry(TarKind.HardLink, path, stat) with { LinkName = first });
                return;
            }

            _linked.Add((stat.Device, stat.Inode), path);
        }

        switch (stat.Type)
        {
            case Libc.S_IFDIR:
                using (var directory = Descriptor.TryOpenAt(parent.Number, name, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW) ?? throw Cannot(path))
                    AddDirectory(directory, stat, path, depth + 1);
                break;
            case Libc.S_IFREG:
                AddFile(parent, name, path);
                break;
            case Libc.S_IFLNK:
                int length = (int)Libc.ReadLinkAt(parent.Number, name, _buffer, 4096);
                if (length < 0)
                    throw Cannot(path);
                Write(Entry(TarKind.SymbolicLink, path, stat) with { LinkName = _buffer.AsSpan(0, length).ToArray() });
                break;
            case Libc.S_IFCHR or Libc.S_IFBLK:
                Write(Entry(stat.Type == Libc.S_IFCHR ? TarKind.CharacterDevice : TarKind.BlockDevice, path, stat) with
                {
                    DeviceMajor = (uint)((stat.SpecialDevice >> 8) & 0xfff),
                    DeviceMinor = (uint)((stat.SpecialDevice & 0xff) | ((stat.SpecialDevice >> 12) & 0xfff00)),
                });
                break;
            case Libc.S_IFIFO:
                Write(Entry(TarKind.Fifo, path, stat));
                break;
            default:
                Notes.Add($"'{HostPath.Show(path)}' is a socket: left out");
                break;
        }
    }

    private void AddFile(Descriptor parent, byte[] name, byte[] path)
    {
        using var file = Descriptor.TryOpenAt(parent.Number, name, Libc.O_RDONLY | Libc.O_NOFOLLOW) ?? throw Cannot(path);
        if (Libc.StatDescriptor(file.Number, out var stat) < 0)
            throw Cannot(path);
        Write(Entry(TarKind.File, path, stat) with { Size = stat.Size, Xattrs = Xattrs(file) });
        for (long left = stat.Size; left > 0;)
        {
            int count = (int)Libc.Read(file.Number, _buffer, (nuint)Math.Min(_buffer.Length, left));
            if (count < 0)
                throw Cannot(path);
            if (count == 0)
                throw new ImageException($"cannot pack '{HostPath.Show(path)}': it became shorter meanwhile");
            _writer.WriteData(_buffer.AsSpan(0, count));
            left -= count;
        }

        _writer.EndData(stat.Size);
    }

    private void Write(TarEntry entry)
    {
        _writer.WriteHeader(entry);
        _progress?.Invoke(++Count);
    }

    private static TarEntry Entry(TarKind kind, byte[] name, in Libc.Stat stat) => new()
    {
        Kind = kind,
        Name = name,
        Mode = stat.Mode & 0xfff,
        Uid = stat.Uid,
        Gid = stat.Gid,
        ModifySeconds = stat.ModifySeconds,
        ModifyNanoseconds = stat.ModifyNanoseconds,
    };

    private List<(byte[], byte[])> Xattrs(Descriptor file)
    {
        var found = new List<(byte[], byte[])>();
        int size = (int)Libc.ListXattr(file.Number, _buffer, (nuint)_buffer.Length);
        if (size <= 0)
            return found;
        byte[] names = _buffer.AsSpan(0, size).ToArray();
        for (int at = 0; at < size;)
        {
            int end = Array.IndexOf(names, (byte)0, at);
            byte[] name = names[at..(end + 1)];
            at = end + 1;
            int length = (int)Libc.GetXattr(file.Number, name, _buffer, (nuint)_buffer.Length);
            if (length >= 0)
                found.Add((name[..^1], _buffer.AsSpan(0, length).ToArray()));
        }

        return found;
    }

    private static ImageException Cannot(byte[] path) => new($"cannot pack '{HostPath.Show(path)}': {Libc.Message(Libc.Errno)}");
}
