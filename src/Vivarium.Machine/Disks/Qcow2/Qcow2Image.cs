using System.Buffers.Binary;
using System.IO.Compression;
using Vivarium.Host;

namespace Vivarium.Machine.Disks.Qcow2;

/// <summary>A qcow2 image (versions 2 and 3): a disk of clusters that are found through two levels of tables, over an optional backing image.</summary>
/// <remarks>
/// What may be lost is what the guest has not flushed; what is on disk is consistent at any moment. Data and reference counts go out first; a table
/// that names a cluster is written after both are durable, the L1 entry after its L2 table is, and a cluster is given back after nothing on disk
/// names it any more. So a crash can only leave clusters that are counted but not used. See <see cref="Flush"/>.
/// <para>Clusters without the COPIED flag are shared with a snapshot and are copied before they are written. Nothing here trusts the file: offsets
/// are checked where they are used, and a wrong one is an I/O error.</para>
/// </remarks>
public sealed class Qcow2Image : DiskImage
{
    internal const ulong OffsetMask = 0x00ff_ffff_ffff_fe00, TableOffsetMask = ~0x1ffUL;
    private const ulong Copied = 1UL << 63, Compressed = 1UL << 62, Zero = 1;
    private const int EIo = 5, EReadOnly = 30;
    private const int TableCacheBytes = 16 << 20, DeepestChain = 16;

    private sealed class L2Table(ulong[] entries)
    {
        public readonly ulong[] Entries = entries;
        public ulong Offset, LastUse;
        public bool Unlinked; // the L1 table on disk does not name it yet
        public int DirtyFrom = int.MaxValue, DirtyTo = -1;

        public bool IsDirty => DirtyTo >= 0;

        public void Set(int index, ulong entry)
        {
            Entries[index] = entry;
            (DirtyFrom, DirtyTo) = (Math.Min(DirtyFrom, index), Math.Max(DirtyTo, index));
        }
    }

    private readonly ImageFile _file;
    private readonly Qcow2Header _header;
    private readonly DiskImage? _backing;
    private readonly Refcounts? _refcounts; // null: read-only
    private readonly ulong[] _l1;
    private readonly Dictionary<int, L2Table> _tables = [];
    private readonly List<(ulong Offset, bool Punch)> _released = [];
    private readonly int _mostTables, _entriesPerTable;
    private readonly byte[] _cluster, _packed;
    private ulong _unpackedEntry, _clock;
    private readonly byte[] _unpacked;

    private Qcow2Image(ImageFile file, Qcow2Header header, DiskImage? backing, Refcounts? refcounts, ulong[] l1)
    {
        (_file, _header, _backing, _refcounts, _l1) = (file, header, backing, refcounts, l1);
        _entriesPerTable = header.ClusterSize / 8;
        _mostTables = Math.Max(TableCacheBytes / header.ClusterSize, 8);
        _cluster = new byte[header.ClusterSize];
        _packed = new byte[2 * header.ClusterSize];
        _unpacked = new byte[header.ClusterSize];
    }

    public override ulong Length => _header.Size;

    public override bool IsReadOnly => _refcounts == null;

    /// <summary>Opens an image with all its backing images, which are only read.</summary>
    /// <exception cref="DiskException">It cannot be used; the message says why.</exception>
    public static Qcow2Image Open(string path, bool readOnly) => Open(path, readOnly, 0);

    internal static Qcow2Image Open(string path, bool readOnly, int depth, Func<HostFile, ImageFile>? wrap = null)
    {
        if (depth > DeepestChain) throw new DiskException($"cannot open disk '{path}': more than {DeepestChain} backing files");
        var host = DiskFile.Open(path, readOnly);
        var file = wrap?.Invoke(host) ?? new ImageFile(host);
        DiskImage? backing = null;
        try
        {
            var header = Qcow2Header.Read(file, path, !readOnly);
            backing = OpenBacking(header, path, depth);
            var bytes = new byte[header.L1Size * 8];
            var result = bytes.Length == 0 ? 0 : file.Read(header.L1Offset, bytes);
            Refcounts? refcounts = null;
            if (result == 0 && !readOnly) result = Refcounts.Open(file, header, out refcounts);
            // Whoever writes without knowing an autoclear feature says so by clearing it.
            if (result == 0 && !readOnly && header.Autoclear != 0) result = file.Write(Qcow2Header.AutoclearField, stackalloc byte[8]);
            if (result != 0) throw DiskException.FromErrno("read", path, result);
            var l1 = new ulong[header.L1Size];
            for (var index = 0; index < l1.Length; index++) l1[index] = BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(index * 8));
            return new Qcow2Image(file, header, backing, refcounts, l1);
        }
        catch
        {
            backing?.Dispose();
            file.Dispose();
            throw;
        }
    }

    private static DiskImage? OpenBacking(Qcow2Header header, string path, int depth)
    {
        if (header.BackingFile is not { } name) return null;
        DiskException Refuse(string reason) => new($"cannot open disk '{path}': {reason}");
        if (name.StartsWith("json:", StringComparison.Ordinal) || (name.Contains(':') && name.IndexOf(':') < (name.IndexOf('/') is >= 0 and var slash ? slash : int.MaxValue)))
            throw Refuse($"its backing file '{name}' is not a file name");
        var target = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, name);
        return header.BackingFormat switch
        {
            "raw" => RawImage.Open(target, true),
            "qcow2" => Open(target, true, depth + 1),
            // Guessing would let a guest that writes a raw disk choose which file of the host is read.
            null => throw Refuse($"it does not say the format of its backing file '{name}'; add it with 'qemu-img rebase -u -b FILE -F FORMAT'"),
            { } other => throw Refuse($"backing files of format '{other}' are not supported"),
        };
    }

    /// <summary>Makes an empty image (version 3, clusters of 64 KiB).</summary>
    /// <param name="path">A file that does not exist yet.</param>
    /// <param name="size">Bytes of the disk.</param>
    /// <exception cref="DiskException">It cannot be made.</exception>
    public static void Create(string path, ulong size)
    {
        const int bits = 16, cluster = 1 << bits;
        var l1 = (size + (1UL << (2 * bits - 3)) - 1) >> (2 * bits - 3);
        var l1Clusters = (l1 * 8 + cluster - 1) / cluster;
        if (l1 * 8 > 32 << 20) throw new DiskException($"cannot make disk '{path}': {size} bytes are too many for a qcow2 image");
        // Header, reference count table, its first block, L1 table.
        var bytes = new byte[(3 + l1Clusters) * cluster];
        void Word(int at, uint value) => BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(at), value);
        void Long(int at, ulong value) => BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(at), value);
        Word(0, Qcow2Header.Magic);
        Word(4, 3);
        Word(20, bits);
        Long(24, size);
        Word(36, (uint)l1);
        Long(40, 3 * cluster);
        Long(48, cluster);
        Word(56, 1);
        Word(96, 4);
        Word(100, Qcow2Header.LengthV3);
        Long(cluster, 2 * cluster);
        for (var index = 0; index < (int)(3 + l1Clusters); index++) BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(2 * cluster + 2 * index), 1);
        var result = HostFile.Open(path, true, out var file, createNew: true);
        using (file)
        {
            if (result == 0) result = file!.Write(0, bytes);
            if (result == 0) result = file!.SyncAll();
        }
        if (result != 0) throw DiskException.FromErrno("make", path, result);
    }

    // Reading.

    public override int Read(ulong offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var result = Lookup(offset, out var entry);
            if (result != 0) return result;
            var within = offset & ((ulong)_header.ClusterSize - 1);
            var length = (int)Math.Min((ulong)destination.Length, (ulong)_header.ClusterSize - within);
            if (IsData(entry))
            {
                // Clusters that follow each other in the file are read at once.
                var start = entry & OffsetMask;
                while (length < destination.Length && Lookup(offset + (ulong)length, out var next) == 0 && IsData(next)
                    && (next & OffsetMask) == start + within + (ulong)length)
                    length = (int)Math.Min((ulong)destination.Length, (ulong)length + (ulong)_header.ClusterSize);
                result = start % (ulong)_header.ClusterSize != 0 ? -EIo : _file.Read(start + within, destination[..length]);
            }
            else result = ReadOther(offset, entry, destination[..length]);
            if (result != 0) return result;
            destination = destination[length..];
            offset += (ulong)length;
        }
        return 0;
    }

    private bool IsData(ulong entry) => (entry & Compressed) == 0 && !IsZero(entry) && (entry & OffsetMask) != 0;

    // Version 2 has no such flag.
    private bool IsZero(ulong entry) => (entry & (Zero | Compressed)) == Zero && _header.Version >= 3;

    // Within one cluster that is no plain data.
    private int ReadOther(ulong offset, ulong entry, Span<byte> destination)
    {
        if ((entry & Compressed) != 0)
        {
            var result = Unpack(entry);
            if (result == 0) _unpacked.AsSpan((int)(offset & ((ulong)_header.ClusterSize - 1)), destination.Length).CopyTo(destination);
            return result;
        }
        destination.Clear();
        if (IsZero(entry) || _backing == null || offset >= _backing.Length) return 0;
        return _backing.Read(offset, destination[..(int)Math.Min((ulong)destination.Length, _backing.Length - offset)]);
    }

    private (ulong Offset, int Length) CompressedPlace(ulong entry)
    {
        var bits = 62 - (_header.ClusterBits - 8);
        var offset = entry & ((1UL << bits) - 1);
        var sectors = (int)(entry >> bits & ((1UL << (_header.ClusterBits - 8)) - 1)) + 1;
        return (offset, sectors * 512 - (int)(offset & 511));
    }

    private int Unpack(ulong entry)
    {
        if (_unpackedEntry == entry) return 0;
        var (offset, length) = CompressedPlace(entry);
        var packed = _packed.AsSpan(0, Math.Min(length, _packed.Length));
        var result = _file.Read(offset, packed);
        if (result != 0) return result;
        _unpackedEntry = 0;
        try
        {
            using var source = new MemoryStream(_packed, 0, packed.Length);
            using Stream stream = _header.Zstandard ? new ZstdSharp.DecompressionStream(source) : new DeflateStream(source, CompressionMode.Decompress);
            stream.ReadExactly(_unpacked);
        }
        catch (Exception error) when (error is InvalidDataException or EndOfStreamException or ZstdSharp.ZstdException)
        {
            return -EIo;
        }
        _unpackedEntry = entry;
        return 0;
    }

    // Tables.

    private int Lookup(ulong offset, out ulong entry)
    {
        entry = 0;
        var result = FindTable(offset, false, out var table);
        if (result == 0 && table != null) entry = table.Entries[EntryIndex(offset)];
        return result;
    }

    private int EntryIndex(ulong offset) => (int)(offset >> _header.ClusterBits) & (_entriesPerTable - 1);

    private int TableIndex(ulong offset) => (int)(offset >> (2 * _header.ClusterBits - 3));

    // For writing, the table is made where there is none, and copied where it is shared with a snapshot.
    private int FindTable(ulong offset, bool writing, out L2Table? table)
    {
        var index = TableIndex(offset);
        if (_tables.TryGetValue(index, out table))
        {
            table.LastUse = ++_clock;
            if (!writing || (_l1[index] & Copied) != 0 || table.Unlinked) return 0;
        }
        var place = _l1[index] & OffsetMask;
        if (table == null)
        {
            if (place == 0 && !writing) return 0;
            if (place % (ulong)_header.ClusterSize != 0) return -EIo;
            var made = MakeRoom();
            if (made != 0) return made;
            table = new L2Table(new ulong[_entriesPerTable]) { Offset = place, LastUse = ++_clock };
            if (place != 0)
            {
                var read = _file.Read(place, _cluster);
                if (read != 0) return read;
                for (var at = 0; at < _entriesPerTable; at++) table.Entries[at] = BinaryPrimitives.ReadUInt64BigEndian(_cluster.AsSpan(at * 8));
            }
        }
        if (writing && (place == 0 || (_l1[index] & Copied) == 0))
        {
            var result = _refcounts!.Allocate(out var copy);
            if (result != 0) return result;
            if (place != 0) _released.Add((place, false));
            (table.Offset, table.Unlinked, table.DirtyFrom, table.DirtyTo) = (copy, true, 0, _entriesPerTable - 1);
        }
        _tables[index] = table;
        return 0;
    }

    private int MakeRoom()
    {
        if (_tables.Count < _mostTables) return 0;
        var (index, oldest) = _tables.MinBy(pair => pair.Value.LastUse);
        if (oldest.IsDirty || oldest.Unlinked)
        {
            var result = Flush();
            if (result != 0) return result;
        }
        _tables.Remove(index);
        return 0;
    }

    // Writing.

    public override int Write(ulong offset, ReadOnlySpan<byte> source)
    {
        if (_refcounts == null) return -EReadOnly;
        while (!source.IsEmpty)
        {
            var within = (int)(offset & ((ulong)_header.ClusterSize - 1));
            var length = Math.Min(source.Length, _header.ClusterSize - within);
            var result = Lookup(offset, out var entry);
            if (result != 0) return result;
            if (IsData(entry) && (entry & Copied) != 0)
            {
                var start = entry & OffsetMask;
                while (length < source.Length && Lookup(offset + (ulong)length, out var next) == 0 && IsData(next) && (next & Copied) != 0
                    && (next & OffsetMask) == start + (ulong)within + (ulong)length)
                    length = (int)Math.Min((long)source.Length, (long)length + _header.ClusterSize);
                result = start % (ulong)_header.ClusterSize != 0 ? -EIo : _file.Write(start + (ulong)within, source[..length]);
            }
            else result = WriteNew(offset, within, entry, source[..length]);
            if (result != 0) return result;
            source = source[length..];
            offset += (ulong)length;
        }
        return 0;
    }

    // Into a cluster that has no place of its own yet.
    private int WriteNew(ulong offset, int within, ulong entry, ReadOnlySpan<byte> source)
    {
        var data = source;
        if (data.Length != _header.ClusterSize)
        {
            // The rest of the cluster comes from where it comes from now.
            var start = offset - (ulong)within;
            var read = IsData(entry) ? _file.Read(entry & OffsetMask, _cluster) : ReadOther(start, entry, _cluster);
            if (read != 0) return read;
            source.CopyTo(_cluster.AsSpan(within));
            data = _cluster;
        }
        // A zero cluster may have a place already.
        var place = entry & OffsetMask;
        var reuse = IsZero(entry) && place != 0 && (entry & Copied) != 0 && place % (ulong)_header.ClusterSize == 0;
        var result = reuse ? 0 : _refcounts!.Allocate(out place);
        if (result == 0) result = _file.Write(place, data);
        L2Table? table = null;
        if (result == 0) result = FindTable(offset, true, out table);
        if (result != 0) return result;
        table!.Set(EntryIndex(offset), place | Copied);
        if (!reuse) Release(entry);
        return 0;
    }

    // The clusters of an entry that nothing uses any more; counted down when that is on disk.
    private void Release(ulong entry)
    {
        var size = (ulong)_header.ClusterSize;
        if ((entry & Compressed) != 0)
        {
            var (offset, length) = CompressedPlace(entry);
            for (var at = offset & ~(size - 1); at < offset + (ulong)length; at += size) _released.Add((at, false));
        }
        else if ((entry & OffsetMask) != 0) _released.Add((entry & OffsetMask, true));
    }

    /// <inheritdoc/>
    public override int Flush()
    {
        if (_refcounts == null) return 0;
        var result = _refcounts.Write(out _);
        if (result != 0) return result;
        var dirty = _tables.Where(pair => pair.Value.IsDirty).ToArray();
        if (dirty.Length == 0)
        {
            result = _file.Sync();
            return result != 0 ? result : GiveBack();
        }
        // 1. Data and reference counts, 2. the tables that use them, 3. what names new tables.
        result = _file.Sync();
        if (result != 0) return result;
        foreach (var (_, table) in dirty)
        {
            var bytes = _cluster.AsSpan(table.DirtyFrom * 8, (table.DirtyTo - table.DirtyFrom + 1) * 8);
            for (var index = table.DirtyFrom; index <= table.DirtyTo; index++)
                BinaryPrimitives.WriteUInt64BigEndian(_cluster.AsSpan(index * 8), table.Entries[index]);
            result = _file.Write(table.Offset + (ulong)table.DirtyFrom * 8, bytes);
            if (result != 0) return result;
        }
        result = _file.Sync();
        if (result != 0) return result;
        var linked = false;
        Span<byte> entry = stackalloc byte[8];
        foreach (var (index, table) in dirty)
        {
            (table.DirtyFrom, table.DirtyTo) = (int.MaxValue, -1);
            if (!table.Unlinked) continue;
            BinaryPrimitives.WriteUInt64BigEndian(entry, table.Offset | Copied);
            result = _file.Write(_header.L1Offset + (ulong)index * 8, entry);
            if (result != 0) return result;
            (_l1[index], table.Unlinked, linked) = (table.Offset | Copied, false, true);
        }
        if (linked) result = _file.Sync();
        return result != 0 ? result : GiveBack();
    }

    // Now nothing on disk names these clusters. A crash from here on leaves them counted and unused, at worst.
    private int GiveBack()
    {
        if (_released.Count == 0) return 0;
        foreach (var (offset, punch) in _released)
        {
            var result = _refcounts!.Release(offset, out var free);
            if (result != 0) return result;
            if (free && punch) _file.PunchHole(offset, (ulong)_header.ClusterSize);
        }
        _released.Clear();
        _unpackedEntry = 0; // its place may get other contents
        return _refcounts!.Write(out _);
    }

    public override int Discard(ulong offset, ulong length)
    {
        if (_refcounts == null) return -EReadOnly;
        var size = (ulong)_header.ClusterSize;
        var start = (offset + size - 1) & ~(size - 1);
        // The last cluster may be cut by the end of the disk.
        var end = offset + length == Length ? (Length + size - 1) & ~(size - 1) : (offset + length) & ~(size - 1);
        return start >= end || (_header.Version < 3 && _backing != null) ? 0 : Empty(start, end, keep: false);
    }

    public override int WriteZeroes(ulong offset, ulong length, bool mayDiscard)
    {
        if (_refcounts == null) return -EReadOnly;
        var size = (ulong)_header.ClusterSize;
        var start = (offset + size - 1) & ~(size - 1);
        var end = offset + length == Length ? (Length + size - 1) & ~(size - 1) : (offset + length) & ~(size - 1);
        if (start >= end || _header.Version < 3) return WriteZeroesSlowly(offset, length);
        var result = start > offset ? WriteZeroesSlowly(offset, start - offset) : 0;
        if (result == 0 && end < offset + length) result = WriteZeroesSlowly(end, offset + length - end);
        return result != 0 ? result : Empty(start, end, keep: !mayDiscard);
    }

    // Makes whole clusters read as zero.
    private int Empty(ulong start, ulong end, bool keep)
    {
        for (; start < end; start += (ulong)_header.ClusterSize)
        {
            var result = Lookup(start, out var entry);
            if (result != 0) return result;
            var kept = keep && (entry & Compressed) == 0 && (entry & Copied) != 0 ? entry & (OffsetMask | Copied) : 0;
            var target = kept | (_header.Version >= 3 && (kept != 0 || _backing != null) ? Zero : 0);
            if (target == entry || (kept == 0 && entry == 0 && _backing == null)) continue;
            result = FindTable(start, true, out var table);
            if (result != 0) return result;
            table!.Set(EntryIndex(start), target);
            if (kept == 0) Release(entry);
        }
        return 0;
    }

    protected override void Dispose(bool disposing)
    {
        if (_refcounts != null)
        {
            Flush();
            _file.Sync();
        }
        _backing?.Dispose();
        _file.Dispose();
    }
}
