using Vivarium.Images.Host;

namespace Vivarium.Images.Archives;

/// <summary>Unpacks the layers of an image, lowest first, into one directory.</summary>
/// <remarks>
/// An archive may be hostile. Every name is resolved by the kernel with the directory as its root (openat2, RESOLVE_IN_ROOT), so that
/// absolute names, <c>..</c> and symlinks that an earlier entry made cannot lead out; the last component is never followed. The
/// directory must be private to this process meanwhile. Whiteouts follow the OCI image layer specification.
/// </remarks>
internal sealed class LayerUnpacker : IDisposable
{
    private const uint OwnerAll = 0x1c0; // rwx for the owner, while a directory is being filled
    private const int MaxName = 255;

    private readonly Descriptor _root;
    private readonly bool _privileged = Libc.EffectiveUser() == 0;
    private readonly byte[] _buffer = new byte[256 * 1024];
    private readonly Dictionary<string, TarEntry> _directories = new(StringComparer.Ordinal);
    private readonly Action<long>? _progress;
    private HashSet<string>? _ofThisLayer;
    private string? _parentPath;
    private Descriptor? _parent;
    private int _layer;
    private long _skippedDevices;
    private bool _ownershipFailed;
    private bool _xattrFailed;

    public LayerUnpacker(string directory, Action<long>? progress = null)
    {
        _root = Descriptor.Open(directory, Libc.O_RDONLY | Libc.O_DIRECTORY);
        _progress = progress;
    }

    /// <summary>What could not be kept, for people.</summary>
    public IEnumerable<string> Notes
    {
        get
        {
            if (_skippedDevices > 0)
                yield return $"{_skippedDevices} device node(s) left out (the file system has no extended attributes to keep them in)";
            if (_ownershipFailed)
                yield return "owners of files were not kept";
            if (_xattrFailed)
                yield return "some extended attributes were not kept";
        }
    }

    /// <summary>Unpacks one layer.</summary>
    /// <exception cref="InvalidDataException">The archive is damaged.</exception>
    /// <exception cref="ImageException">The host refuses a file.</exception>
    public void Unpack(TarReader archive)
    {
        // Only an opaque directory asks what this layer itself brought, and in the lowest layer it hides nothing.
        _ofThisLayer = _layer++ > 0 ? new HashSet<string>(StringComparer.Ordinal) : null;
        while (archive.Next() is { } entry)
        {
            Add(entry, archive);
            _progress?.Invoke(archive.Count);
        }
    }

    /// <summary>Gives directories their modes and times, after everything is in them.</summary>
    public void Finish()
    {
        DropParent();
        // Deepest first: a directory's time changes with its children.
        foreach (var (path, entry) in _directories.OrderByDescending(pair => pair.Key.Length))
        {
            using var directory = path.Length == 0
                ? Descriptor.TryOpenAt(_root.Number, HostPath.Dot, Libc.O_RDONLY | Libc.O_DIRECTORY)
                : Descriptor.TryOpenBelow(_root.Number, Latin1Zero(path), Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW, Libc.RESOLVE_IN_ROOT | Libc.RESOLVE_NO_SYMLINKS);
            if (directory is null)
                continue; // A later entry replaced it.
            SetAttributes(directory, entry);
        }

        _directories.Clear();
    }

    public void Dispose()
    {
        _parent?.Dispose();
        _root.Dispose();
    }

    private void Add(TarEntry entry, TarReader archive)
    {
        var parts = Split(entry.Name);
        if (parts.Count == 0)
        {
            if (entry.Kind != TarKind.Directory)
                throw new InvalidDataException("an entry would replace the root directory");
            _directories[""] = entry;
            return;
        }

        byte[] name = parts[^1];
        string parentPath = Join(parts, parts.Count - 1);
        var parent = OpenParent(parentPath, parts);
        if (name.AsSpan().StartsWith(".wh."u8))
        {
            WhiteOut(parent, parentPath, name);
            return;
        }

        string path = parentPath.Length == 0 ? Latin1(name) : parentPath + "/" + Latin1(name);
        _ofThisLayer?.Add(path);
        byte[] zeroName = HostPath.Zero(name);
        bool isDirectory = entry.Kind == TarKind.Directory;
        if (Libc.StatAt(parent.Number, zeroName, out var old, Libc.AT_SYMLINK_NOFOLLOW) == 0 && !(isDirectory && old.Type == Libc.S_IFDIR))
        {
            if (entry.Kind == TarKind.HardLink && IsSameFile(entry, old))
                return; // A link to itself; removing it first would lose the file.
            Remove(parent, zeroName);
            parent = OpenParent(parentPath, parts);
        }

        switch (entry.Kind)
        {
            case TarKind.Directory:
                if (Libc.MkDirAt(parent.Number, zeroName, OwnerAll) < 0 && Libc.Errno != Libc.EEXIST)
                    throw Cannot(entry.Name);
                _directories[path] = entry;
                break;
            case TarKind.File:
                AddFile(parent, zeroName, entry, archive);
                break;
            case TarKind.SymbolicLink:
                if (entry.LinkName.Length == 0)
                    throw new InvalidDataException("a symbolic link points at nothing");
                if (Libc.SymLinkAt(HostPath.Zero(entry.LinkName), parent.Number, zeroName) < 0)
                    throw Cannot(entry.Name);
                SetAttributesOfLink(parent, zeroName, entry);
                break;
            case TarKind.HardLink:
                AddHardLink(parent, zeroName, entry);
                break;
            case TarKind.Fifo:
                MakeNode(parent, zeroName, entry, Libc.S_IFIFO, 0);
                break;
            case TarKind.CharacterDevice or TarKind.BlockDevice:
                ulong device = (entry.DeviceMinor & 0xff) | ((entry.DeviceMajor & 0xfffUL) << 8) | ((entry.DeviceMinor & 0xfff00UL) << 12);
                MakeNode(parent, zeroName, entry, entry.Kind == TarKind.CharacterDevice ? Libc.S_IFCHR : Libc.S_IFBLK, device);
                break;
        }
    }

    private void AddFile(Descriptor parent, byte[] name, TarEntry entry, TarReader archive)
    {
        using var file = Descriptor.TryOpenAt(parent.Number, name, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_NOFOLLOW, 0x180) ?? throw Cannot(entry.Name);
        for (int count; (count = archive.Read(_buffer)) > 0;)
        {
            for (var rest = _buffer.AsSpan(0, count); rest.Length > 0;)
            {
                int written = (int)Libc.Write(file.Number, rest, (nuint)rest.Length);
                if (written < 0 && Libc.Errno != Libc.EINTR)
                    throw Cannot(entry.Name);
                rest = rest[Math.Max(written, 0)..];
            }
        }

        SetAttributes(file, entry);
    }

    private void AddHardLink(Descriptor parent, byte[] name, TarEntry entry)
    {
        var target = Split(entry.LinkName);
        if (target.Count == 0)
            throw new InvalidDataException("a hard link points at the root directory");
        using var targetParent = OpenBelow(Join(target, target.Count - 1));
        if (targetParent is null || Libc.LinkAt(targetParent.Number, HostPath.Zero(target[^1]), parent.Number, name, 0) < 0)
        {
            throw targetParent is null || Libc.Errno == Libc.ENOENT
                ? new InvalidDataException($"'{HostPath.Show(entry.Name)}' is a hard link to '{HostPath.Show(entry.LinkName)}', which is not there")
                : Cannot(entry.Name);
        }
    }

    private bool IsSameFile(TarEntry link, in Libc.Stat old)
    {
        var target = Split(link.LinkName);
        if (target.Count == 0)
            return false;
        using var targetParent = OpenBelow(Join(target, target.Count - 1));
        return targetParent is not null && Libc.StatAt(targetParent.Number, HostPath.Zero(target[^1]), out var stat, Libc.AT_SYMLINK_NOFOLLOW) == 0
            && (stat.Device, stat.Inode) == (old.Device, old.Inode);
    }

    private void MakeNode(Descriptor parent, byte[] name, TarEntry entry, uint type, ulong device)
    {
        if (type != Libc.S_IFIFO)
        {
            // Real ones would lead out of the image.
            using var file = Descriptor.TryOpenAt(parent.Number, name, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_NOFOLLOW, 0x180) ?? throw Cannot(entry.Name);
            if (OwnerRecord.Write(file.Number, entry, device))
            {
                Libc.FUTimeNs(file.Number, Times(entry));
                return;
            }

            Libc.UnlinkAt(parent.Number, name, 0);
            _skippedDevices++;
            return;
        }

        if (Libc.MkNodAt(parent.Number, name, type | (entry.Mode & 0xfff), 0) < 0)
            throw Cannot(entry.Name);

        SetAttributesOfLink(parent, name, entry);
        Libc.ChModAt(parent.Number, name, entry.Mode, 0);
    }

    /// <summary><c>.wh.NAME</c> hides NAME of the layers below, <c>.wh..wh..opq</c> all that they have in the directory.</summary>
    private void WhiteOut(Descriptor parent, string parentPath, byte[] name)
    {
        if (_ofThisLayer is null)
            return;
        if (!name.AsSpan().SequenceEqual(".wh..wh..opq"u8))
        {
            byte[] hidden = name[4..];
            if (hidden.Length == 0 || hidden is [(byte)'.'] or [(byte)'.', (byte)'.'])
                throw new InvalidDataException("a whiteout names no file");
            Remove(parent, HostPath.Zero(hidden));
            return;
        }

        RemoveLower(parent, parentPath);
        DropParent();
    }

    private void RemoveLower(Descriptor directory, string path)
    {
        using var listed = Descriptor.TryOpenAt(directory.Number, HostPath.Dot, Libc.O_RDONLY | Libc.O_DIRECTORY) ?? throw Cannot("."u8.ToArray());
        foreach (byte[] name in listed.ReadNames())
        {
            string child = (path.Length == 0 ? "" : path + "/") + Latin1(name[..^1]);
            bool kept = _ofThisLayer!.Contains(child);
            bool holdsKept = kept || _ofThisLayer.Any(p => p.StartsWith(child + "/", StringComparison.Ordinal));
            if (!holdsKept)
            {
                HostFiles.RemoveAt(directory.Number, name);
            }
            else if (Descriptor.TryOpenAt(directory.Number, name, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW) is { } inner)
            {
                using (inner)
                    RemoveLower(inner, child);
            }
        }
    }

    private void Remove(Descriptor parent, byte[] name)
    {
        HostFiles.RemoveAt(parent.Number, name);
        DropParent();
    }

    /// <summary>The directory of an entry, made where the archive does not name it. Kept open: neighbours come one after another.</summary>
    private Descriptor OpenParent(string path, List<byte[]> parts)
    {
        if (_parent is not null && _parentPath == path)
            return _parent;
        DropParent();
        var found = OpenBelow(path);
        if (found is null && Libc.Errno == Libc.ENOENT)
        {
            for (int depth = 1; depth < parts.Count; depth++)
            {
                string directory = Join(parts, depth);
                using (var there = OpenBelow(directory))
                {
                    if (there is not null)
                        continue;
                }

                using var above = OpenBelow(Join(parts, depth - 1)) ?? throw Cannot(parts[depth - 1]);
                if (Libc.MkDirAt(above.Number, HostPath.Zero(parts[depth - 1]), 0x1ed) < 0)
                    throw Cannot(parts[depth - 1]);
            }

            found = OpenBelow(path);
        }

        _parent = found ?? throw Cannot(Latin1Zero(path));
        _parentPath = path;
        return _parent;
    }

    private Descriptor? OpenBelow(string path)
    {
        var found = Descriptor.TryOpenBelow(_root.Number, path.Length == 0 ? HostPath.Dot : Latin1Zero(path), Libc.O_RDONLY | Libc.O_DIRECTORY);
        return found is null && Libc.Errno == Libc.ENOSYS ? throw new ImageException("cannot unpack: this needs Linux 5.6 or newer (openat2)") : found;
    }

    private void DropParent()
    {
        _parent?.Dispose();
        _parent = null;
        _parentPath = null;
    }

    private void SetAttributes(Descriptor file, TarEntry entry)
    {
        bool owned = _privileged && Libc.ChOwn(file.Number, entry.Uid, entry.Gid) == 0;
        foreach (var (name, value) in entry.Xattrs)
        {
            if (Libc.SetXattr(file.Number, HostPath.Zero(name), value, (nuint)value.Length, 0) < 0)
                _xattrFailed = true;
        }

        // After the owner: a change of owner clears set-uid.
        if (!owned && OwnerRecord.IsNeeded(entry))
            _ownershipFailed |= !OwnerRecord.Write(file.Number, entry, 0);
        else if (Libc.ChMod(file.Number, entry.Mode) < 0)
            throw Cannot(entry.Name);
        Libc.FUTimeNs(file.Number, Times(entry));
    }

    private void SetAttributesOfLink(Descriptor parent, byte[] name, TarEntry entry)
    {
        if (_privileged && Libc.ChOwnAt(parent.Number, name, entry.Uid, entry.Gid, Libc.AT_SYMLINK_NOFOLLOW) < 0)
            _ownershipFailed = true;
        Libc.UTimeNsAt(parent.Number, name, Times(entry), Libc.AT_SYMLINK_NOFOLLOW);
    }

    private static Libc.TimeSpec[] Times(TarEntry entry)
    {
        var time = new Libc.TimeSpec { Seconds = entry.ModifySeconds, Nanoseconds = entry.ModifyNanoseconds };
        return [time, time];
    }

    /// <summary>The components of a name. A leading slash means nothing; <c>..</c> is refused.</summary>
    private static List<byte[]> Split(byte[] name)
    {
        var parts = new List<byte[]>();
        foreach (var range in name.AsSpan().Split((byte)'/'))
        {
            var part = name.AsSpan(range);
            if (part.IsEmpty || part.SequenceEqual("."u8))
                continue;
            if (part.SequenceEqual(".."u8))
                throw new InvalidDataException($"the name '{HostPath.Show(name)}' leads out of the image");
            if (part.Length > MaxName)
                throw new InvalidDataException($"the name '{HostPath.Show(name)}' is too long");
            parts.Add(part.ToArray());
        }

        return parts.Count <= DirectoryPacker.MaxDepth
            ? parts
            : throw new InvalidDataException($"the name '{HostPath.Show(name)}' is more than {DirectoryPacker.MaxDepth} directories deep");
    }

    // Paths serve as keys: one char per byte keeps every name distinct.
    private static string Latin1(ReadOnlySpan<byte> name) => System.Text.Encoding.Latin1.GetString(name);

    private static byte[] Latin1Zero(string path) => HostPath.Zero(System.Text.Encoding.Latin1.GetBytes(path));

    private static string Join(List<byte[]> parts, int count) => string.Join('/', parts.Take(count).Select(part => Latin1(part)));

    private static ImageException Cannot(byte[] name) => new($"cannot unpack '{HostPath.Show(name)}': {Libc.Message(Libc.Errno)}");
}
