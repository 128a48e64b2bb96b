using System.Runtime.InteropServices;

namespace Vivarium.Translation.Persistence;

/// <summary>All that is known of one guest file at one address: what its cache file holds, and the new blocks of this run.</summary>
/// <param name="store">Where the file is.</param>
/// <param name="key">What it is valid for.</param>
/// <param name="replaces">A new record takes the place of a stored one; else what is there stays.</param>
/// <remarks>Thread-safe.</remarks>
internal sealed class StoredBlocks(TranslationStore store, TranslationKey key, bool replaces = false)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<uint, int> _newRecords = [];
    private byte[] _new = [];
    private int _newLength;
    private int _added, _saved, _savedLength; // how many were added, and how much of that is in the file already
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

    /// <summary>The file offsets of all records, unordered.</summary>
    public List<uint> Offsets()
    {
        lock (_lock)
        {
            if (!_isOpen) Open();
            var offsets = new HashSet<uint>(_newRecords.Keys);
            for (int i = 0; i < (_file?.Count ?? 0); i++) offsets.Add(_file!.OffsetAt(i));
            return [.. offsets];
        }
    }

    /// <summary>Keeps a block of this run.</summary>
    public void Add(ReadOnlySpan<byte> record)
    {
        bool isWorthSaving;
        lock (_lock)
        {
            if (_newLength + record.Length > TranslationFile.MaxPayload) return;
            // Another process has shown meanwhile that it runs often.
            if (IsQuick(record) && _newRecords.ContainsKey(MemoryMarshal.Read<StoredHead>(record).FileOffset)) return;
            if (_newLength + record.Length > _new.Length) Array.Resize(ref _new, Math.Max(32 << 10, _new.Length * 2));
            record.CopyTo(_new.AsSpan(_newLength));
            _newRecords[MemoryMarshal.Read<StoredHead>(record).FileOffset] = _newLength;
            _newLength += record.Length;
            _added++;
            isWorthSaving = IsWorthSavingLocked();
        }
        if (isWorthSaving) store.HasNewBlocks();
    }

    /// <summary>Whether a record is a block of the quick path, in whose place one of the full pipeline may come.</summary>
    private bool IsQuick(ReadOnlySpan<byte> record) => !replaces && MemoryMarshal.Read<StoredHead>(record).IsQuick;

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

    /// <summary>Blocks that no file holds yet.</summary>
    public int Unsaved
    {
        get { lock (_lock) return _added - _saved; }
    }

    /// <summary>Whether enough is new: a handful of blocks is not worth writing a big file again.</summary>
    public bool IsWorthSaving
    {
        get { lock (_lock) return IsWorthSavingLocked(); }
    }

    private bool IsWorthSavingLocked() => _added - _saved is > 0 and var unsaved && (_file == null || unsaved * 64 >= _file.Count);

    /// <summary>Blocks that are new in this run or in the file that it began with.</summary>
    public int Known
    {
        get { lock (_lock) return _newRecords.Count + (_file?.Count ?? 0); }
    }

    /// <summary>Writes a file that holds what the present one holds and the new blocks; the number of these. The store is locked. Translating
    /// threads do not wait for it.</summary>
    public int Save()
    {
        var fresh = new List<(uint FileOffset, int At)>();
        byte[] newRecords;
        int newLength, known;
        lock (_lock)
        {
            known = _added;
            if (!IsWorthSavingLocked()) return 0;
            // In the order of translation: what runs together stands together.
            foreach ((uint fileOffset, int at) in _newRecords)
            {
                if (at >= _savedLength) fresh.Add((fileOffset, at));
            }
            (newRecords, newLength) = (_new, _newLength); // only appended to
        }
        // Others may have replaced the file since this process opened it.
        using TranslationFile? present = TranslationFile.Open(store.PathOf(key.FileName), key, out _);
        int room = Math.Min(TranslationFile.MaxPayload, newLength + (present?.PayloadLength ?? 0));
        var payload = new byte[room];
        var records = new List<(uint FileOffset, uint Record)>();
        int length = 0, added = 0;
        // Of offsets whose quick block is in the file, those that have a block of the full pipeline now.
        HashSet<uint> better = [.. fresh.Where(f => !replaces && !IsQuick(newRecords.AsSpan(f.At))).Select(f => f.FileOffset)], replaced = [];
        for (int i = 0; i < (present?.Count ?? 0); i++)
        {
            ReadOnlySpan<byte> record = present!.At(i);
            if (present.IsDamaged)
            {
                store.Refused(key.FileName);
                break;
            }
            uint offset = MemoryMarshal.Read<StoredHead>(record).FileOffset;
            if (replaces && fresh.Exists(f => f.FileOffset == offset)) continue;
            if (better.Contains(offset) && IsQuick(record))
            {
                replaced.Add(offset);
                continue;
            }
            Append(record);
        }
        foreach ((uint fileOffset, int at) in fresh)
        {
            if (!replaces && present != null && present.Contains(fileOffset) && !replaced.Contains(fileOffset)) continue;
            if (Append(newRecords.AsSpan(at, (int)MemoryMarshal.Read<StoredHead>(newRecords.AsSpan(at)).Length))) added++;
        }
        if (added != 0)
        {
            records.Sort(static (a, b) => a.FileOffset.CompareTo(b.FileOffset));
            store.Replace(key, payload.AsSpan(0, length), records);
        }
        lock (_lock) (_saved, _savedLength) = (known, newLength);
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
