using System.Buffers.Binary;

namespace Vivarium.Machine.Disks.Qcow2;

/// <summary>How often each cluster of the file is used: a table of blocks of counters. Free clusters are found here. Changes stay in memory until
/// <see cref="Write"/>, but for new blocks, which are linked at once.</summary>
internal sealed class Refcounts
{
    private const int EIo = 5, ENoSpace = 28;

    private sealed class Block(byte[] bytes)
    {
        public readonly byte[] Bytes = bytes;
        public bool Dirty;
    }

    private readonly ImageFile _file;
    private readonly int _clusterBits, _order;
    private readonly ulong _entriesPerBlock;
    private readonly Dictionary<ulong, Block> _blocks = [];
    private ulong[] _table;
    private ulong _tableOffset, _hint = 1; // cluster 0 is the header's

    private Refcounts(ImageFile file, Qcow2Header header, ulong[] table)
    {
        (_file, _clusterBits, _order, _table, _tableOffset) = (file, header.ClusterBits, header.RefcountOrder, table, header.RefcountTableOffset);
        _entriesPerBlock = (ulong)header.ClusterSize * 8 >> _order;
    }

    public static int Open(ImageFile file, Qcow2Header header, out Refcounts? refcounts)
    {
        refcounts = null;
        var bytes = new byte[header.RefcountTableClusters << header.ClusterBits];
        var result = file.Read(header.RefcountTableOffset, bytes);
        if (result != 0) return result;
        var table = new ulong[bytes.Length / 8];
        for (var index = 0; index < table.Length; index++) table[index] = BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(index * 8));
        refcounts = new Refcounts(file, header, table);
        return 0;
    }

    private ulong ClusterSize => 1UL << _clusterBits;

    /// <summary>Takes a free cluster; its offset in the file.</summary>
    public int Allocate(out ulong offset)
    {
        offset = 0;
        for (var cluster = _hint; ; cluster++)
        {
            if (cluster >= 1UL << (56 - _clusterBits)) return -ENoSpace;
            var result = Find(cluster, true, out var block);
            if (result < 0) return result;
            if (Get(block!, cluster) != 0) continue; // also what a new block has just taken for itself
            Set(block!, cluster, 1);
            _hint = cluster + 1;
            offset = cluster << _clusterBits;
            return 0;
        }
    }

    /// <summary>One use less of the cluster at an offset; whether it is free now.</summary>
    public int Release(ulong offset, out bool free)
    {
        free = false;
        var cluster = offset >> _clusterBits;
        var result = Find(cluster, false, out var block);
        if (result < 0 || block == null) return result;
        var count = Get(block, cluster);
        if (count == 0) return 0; // the image was inconsistent before
        Set(block, cluster, count - 1);
        free = count == 1;
        if (free && cluster < _hint) _hint = Math.Max(cluster, 1);
        return 0;
    }

    /// <summary>Writes what changed.</summary>
    public int Write(out bool any)
    {
        any = false;
        foreach (var (index, block) in _blocks)
        {
            if (!block.Dirty) continue;
            any = true;
            var result = _file.Write(_table[index] & Qcow2Image.TableOffsetMask, block.Bytes);
            if (result != 0) return result;
            block.Dirty = false;
        }
        return 0;
    }

    private int Find(ulong cluster, bool make, out Block? block)
    {
        var index = cluster / _entriesPerBlock;
        if (_blocks.TryGetValue(index, out block)) return 0;
        if (index >= (ulong)_table.Length) return make ? Grow(cluster, index, out block) : 0;
        var offset = _table[index] & Qcow2Image.TableOffsetMask;
        if (offset == 0) return make ? Add(cluster, index, out block) : 0;
        if (offset % ClusterSize != 0) return -EIo;
        var bytes = new byte[ClusterSize];
        var result = _file.Read(offset, bytes);
        if (result != 0) return result;
        _blocks[index] = block = new Block(bytes);
        return 0;
    }

    // The new block lies in the cluster that was asked for, and counts itself. Its contents are on disk before the table names it.
    private int Add(ulong cluster, ulong index, out Block? block)
    {
        block = new Block(new byte[ClusterSize]);
        Set(block, cluster, 1);
        var result = _file.Write(cluster << _clusterBits, block.Bytes);
        if (result == 0) result = _file.Sync();
        if (result == 0) result = WriteLong(_tableOffset + index * 8, cluster << _clusterBits);
        if (result != 0) return result;
        block.Dirty = false;
        _table[index] = cluster << _clusterBits;
        _blocks[index] = block;
        return 0;
    }

    // A larger table, behind everything: the block for its own place, then the table. The header names it when all of it is on disk.
    private int Grow(ulong cluster, ulong index, out Block? block)
    {
        block = new Block(new byte[ClusterSize]);
        var entriesPerCluster = ClusterSize / 8;
        var clusters = ((ulong)_table.Length * 3 / 2 + index + entriesPerCluster) / entriesPerCluster;
        var first = index * _entriesPerBlock;
        if (cluster > first) first = cluster;
        if (first + clusters + 1 > (index + 1) * _entriesPerBlock || clusters * ClusterSize > 8 << 20) return -ENoSpace;
        for (ulong used = 0; used <= clusters; used++) Set(block, first + used, 1);
        var table = new ulong[clusters * entriesPerCluster];
        _table.CopyTo(table, 0);
        table[index] = first << _clusterBits;
        var bytes = new byte[table.Length * 8];
        for (var at = 0; at < table.Length; at++) BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(at * 8), table[at]);
        var tableOffset = (first + 1) << _clusterBits;
        var result = _file.Write(first << _clusterBits, block.Bytes);
        if (result == 0) result = _file.Write(tableOffset, bytes);
        if (result == 0) result = _file.Sync();
        Span<byte> field = stackalloc byte[12];
        BinaryPrimitives.WriteUInt64BigEndian(field, tableOffset);
        BinaryPrimitives.WriteUInt32BigEndian(field[8..], (uint)clusters);
        if (result == 0) result = _file.Write(Qcow2Header.RefcountTableField, field);
        if (result == 0) result = _file.Sync();
        if (result != 0) return result;
        block.Dirty = false;
        var (oldOffset, oldClusters) = (_tableOffset, (ulong)_table.Length / entriesPerCluster);
        (_table, _tableOffset) = (table, tableOffset);
        _blocks[index] = block;
        for (ulong old = 0; old < oldClusters; old++) Release(oldOffset + old * ClusterSize, out _);
        return 0;
    }

    private int WriteLong(ulong offset, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        return _file.Write(offset, bytes);
    }

    private ulong Get(Block block, ulong cluster)
    {
        var entry = (int)(cluster % _entriesPerBlock);
        return _order switch
        {
            < 3 => (ulong)(block.Bytes[entry << _order >> 3] >> ((entry << _order) & 7)) & ((1UL << (1 << _order)) - 1),
            3 => block.Bytes[entry],
            4 => BinaryPrimitives.ReadUInt16BigEndian(block.Bytes.AsSpan(entry * 2)),
            5 => BinaryPrimitives.ReadUInt32BigEndian(block.Bytes.AsSpan(entry * 4)),
            _ => BinaryPrimitives.ReadUInt64BigEndian(block.Bytes.AsSpan(entry * 8)),
        };
    }

    private void Set(Block block, ulong cluster, ulong value)
    {
        block.Dirty = true;
        var entry = (int)(cluster % _entriesPerBlock);
        switch (_order)
        {
            case < 3:
                ref var packed = ref block.Bytes[entry << _order >> 3];
                var (shift, mask) = ((entry << _order) & 7, (1 << (1 << _order)) - 1);
                packed = (byte)((packed & ~(mask << shift)) | ((int)value << shift));
                break;
            case 3: block.Bytes[entry] = (byte)value; break;
            case 4: BinaryPrimitives.WriteUInt16BigEndian(block.Bytes.AsSpan(entry * 2), (ushort)value); break;
            case 5: BinaryPrimitives.WriteUInt32BigEndian(block.Bytes.AsSpan(entry * 4), (uint)value); break;
            default: BinaryPrimitives.WriteUInt64BigEndian(block.Bytes.AsSpan(entry * 8), value); break;
        }
    }
}
