using System.Runtime.InteropServices;

namespace Vivarium.Translation.Persistence;

/// <summary>All that is known of one guest file at one address: what its cache file holds, and the new blocks of this run.</summary>
/// <remarks>Thread-safe.</remarks>
internal sealed class StoredBlocks(TranslationStore store, TranslationKey key)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<uint, int> _newRecords = [];
    private byte[] _new = [];
    private int _newLength;
    private TranslationFile? _file;
    private bool _isOpen;

    /// <summary>Copies the record of the block at a file offset to <paramref name="buffer"/>, as an in-process or stored translation made it;
    /// its length, or 0 where there is none.</summary>
    public int Find(uint fileOffset, ref byte[] buffer)
    {
        lock (_lock)
        {
            if (!_isOpen) Open();
            ReadOnlySpan<byte> record = default;
            if (_newRecords.TryGetValue(fileOffset, out int at))
                record = _new.AsSpan(at, (int)MemoryMarshal.Read<StoredHead>(_new.AsSpan(at)).Length);
            else if (_file != null)
            {
                record = _file.Find(fileOffset);
                if (_file.IsDamaged) RefuseLocked();
            }
            if (record.Length > buffer.Length) buffer = new byte[record.Length];
            record.CopyTo(buffer);
            return record.Length;
        }
    }

    /// <summary>Keeps a block of this run.</summary>
    public void Add(ReadOnlySpan<byte> record)
    {
        lock (_lock)
        {
            if (_newLength + record.Length > TranslationFile.MaxPayload) return;
            if (_newLength + record.Length > _new.Length) Array.Resize(ref _new, Math.Max(256 << 10, _new.Length * 2));
            record.CopyTo(_new.AsSpan(_newLength));
            _newRecords[MemoryMarshal.Read<StoredHead>(record).FileOffset] = _newLength;
            _newLength += record.Length;
        }
    }

    /// <summary>A record makes no sense although its checksum is right: the file goes.</summary>
    public void Refuse()
    {
        lock (_lock) RefuseLocked();
    }

    private void RefuseLocked()
    {
        if (_file == null) return;
        _file.Dispose();
        _file = null;
        store.Refused(key.FileName);
    }

    private void Open()
    {
        _isOpen = true;
        _file = TranslationFile.Open(store.PathOf(key.FileName), key, out bool refused);
        if (refused) store.Refused(key.FileName);
        else if (_file != null) store.Used(key.FileName);
    }

    /// <summary>Writes a file that holds what the present one holds and the new blocks; the number of these. The store is locked.</summary>
    public int Save()
    {
        lock (_lock)
        {
            // A handful of new blocks is not worth writing a big file again.
            if (_newRecords.Count == 0 || _file != null && _newRecords.Count * 64 < _file.Count) return 0;
            // Others may have replaced the file since this process opened it.
            using TranslationFile? present = TranslationFile.Open(store.PathOf(key.FileName), key, out _);
            int room = Math.Min(TranslationFile.MaxPayload, _newLength + (present?.PayloadLength ?? 0));
            var payload = new byte[room];
            var records = new List<(uint FileOffset, uint Record)>();
            int length = 0, added = 0;
            for (int i = 0; i < (present?.Count ?? 0); i++)
            {
                ReadOnlySpan<byte> record = present!.At(i);
                if (present.IsDamaged)
                {
                    store.Refused(key.FileName);
                    break;
                }
                Append(record);
            }
            // In the order of translation: what runs together stands together.
            foreach ((uint fileOffset, int at) in _newRecords)
            {
                if (present != null && present.Contains(fileOffset)) continue;
                if (Append(_new.AsSpan(at, (int)MemoryMarshal.Read<StoredHead>(_new.AsSpan(at)).Length))) added++;
            }
            if (added == 0) return 0;
            records.Sort(static (a, b) => a.FileOffset.CompareTo(b.FileOffset));
            store.Replace(key, payload.AsSpan(0, length), records);
            _newRecords.Clear();
            _newLength = 0;
            _file?.Dispose();
            _file = null;
            _isOpen = false;
            return added;

            bool Append(ReadOnlySpan<byte> record)
            {
                if (record.Length > payload.Length - length) return false;
                records.Add((MemoryMarshal.Read<StoredHead>(record).FileOffset, (uint)length));
                record.CopyTo(payload.AsSpan(length));
                length += record.Length;
                return true;
            }
        }
    }
}
