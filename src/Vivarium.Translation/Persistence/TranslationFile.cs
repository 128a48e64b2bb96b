using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Vivarium.Translation.Persistence;

/// <summary>
/// A file of the persistent cache, open for reading: header, index (sorted by file offset), checksums of the chunks, chunks of records.
/// Chunks are read and checked when something in them is first asked for. Nothing in the file is trusted.
/// </summary>
/// <remarks>Not thread-safe. Files are never changed in place, only replaced; and they are read, not mapped, so that even one that
/// somebody cuts short cannot do harm.</remarks>
internal sealed unsafe class TranslationFile : IDisposable
{
    public const string Extension = ".vtc";

    /// <summary>Most bytes of records in one file.</summary>
    public const int MaxPayload = 64 << 20;

    private const int ChunkSize = 64 << 10;
    private const ulong Magic = 0x31_4C_53_4E_52_54_56_56; // "VVTRNSL1"

    [StructLayout(LayoutKind.Sequential)]
    private struct Header
    {
        public ulong Magic;
        public TranslationKey Key;
        public uint Count, ChunkSize;
        public ulong PayloadLength, TablesChecksum, HeaderChecksum;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct IndexEntry
    {
        public uint FileOffset, Record;
    }

    private readonly SafeFileHandle _handle;
    private readonly IndexEntry[] _index;
    private readonly ulong[] _checksums;
    private readonly bool[] _present;
    private readonly byte* _payload;
    private readonly int _payloadLength;
    private readonly long _payloadStart;
    private bool _isDamaged;

    private TranslationFile(SafeFileHandle handle, IndexEntry[] index, ulong[] checksums, int payloadLength, long payloadStart)
    {
        (_handle, _index, _checksums, _payloadLength, _payloadStart) = (handle, index, checksums, payloadLength, payloadStart);
        _present = new bool[checksums.Length];
        _payload = (byte*)NativeMemory.Alloc((nuint)Math.Max(payloadLength, 1)); // untouched pages cost nothing
    }

    ~TranslationFile() => NativeMemory.Free(_payload);

    public int Count => _index.Length;
    public int PayloadLength => _payloadLength;

    /// <summary>Something in it does not match its checksum or its bounds.</summary>
    public bool IsDamaged => _isDamaged;

    /// <summary>Opens a file; null where there is none, or where it is not a whole and valid file for <paramref name="key"/> (then
    /// <paramref name="refused"/>).</summary>
    public static TranslationFile? Open(string path, in TranslationKey key, out bool refused)
    {
        refused = false;
        SafeFileHandle handle;
        try
        {
            handle = File.OpenHandle(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
        try
        {
            TranslationFile? file = Read(handle, key);
            if (file != null) return file;
        }
        catch (IOException)
        {
            // As good as damaged.
        }
        handle.Dispose();
        refused = true;
        return null;
    }

    private static TranslationFile? Read(SafeFileHandle handle, in TranslationKey key)
    {
        Header header = default;
        Span<byte> bytes = MemoryMarshal.AsBytes(new Span<Header>(ref header));
        if (!ReadWhole(handle, bytes, 0)) return null;
        if (header.Magic != Magic || header.HeaderChecksum != Checksum.Of(bytes[..^8]) || header.Key != key) return null;
        if (header.ChunkSize != ChunkSize || header.PayloadLength > MaxPayload || header.Count > header.PayloadLength / (ulong)sizeof(StoredHead)) return null;
        int chunks = (int)((header.PayloadLength + ChunkSize - 1) / ChunkSize);
        var index = new IndexEntry[header.Count];
        var checksums = new ulong[chunks];
        long payloadStart = sizeof(Header) + index.Length * (long)sizeof(IndexEntry) + chunks * 8L;
        if (RandomAccess.GetLength(handle) != payloadStart + (long)header.PayloadLength) return null;
        Span<byte> indexBytes = MemoryMarshal.AsBytes(index.AsSpan()), checksumBytes = MemoryMarshal.AsBytes(checksums.AsSpan());
        if (!ReadWhole(handle, indexBytes, sizeof(Header)) || !ReadWhole(handle, checksumBytes, sizeof(Header) + indexBytes.Length)) return null;
        if (Checksum.Of(checksumBytes, Checksum.Of(indexBytes)) != header.TablesChecksum) return null;
        return new TranslationFile(handle, index, checksums, (int)header.PayloadLength, payloadStart);
    }

    private static bool ReadWhole(SafeFileHandle handle, Span<byte> bytes, long offset)
    {
        while (bytes.Length != 0)
        {
            int n = RandomAccess.Read(handle, bytes, offset);
            if (n <= 0) return false;
            bytes = bytes[n..];
            offset += n;
        }
        return true;
    }

    public bool Contains(uint fileOffset) => Search(fileOffset) >= 0;

    /// <summary>The record of the block at a file offset; empty where there is none. Valid as long as this object.</summary>
    public ReadOnlySpan<byte> Find(uint fileOffset)
    {
        int i = Search(fileOffset);
        return i < 0 ? default : At(i);
    }

    private int Search(uint fileOffset)
    {
        int low = 0, high = _index.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            uint at = _index[middle].FileOffset;
            if (at == fileOffset) return middle;
            if (at < fileOffset) low = middle + 1;
            else high = middle - 1;
        }
        return -1;
    }

    /// <summary>The file offset of the record with index <paramref name="i"/>.</summary>
    public uint OffsetAt(int i) => _index[i].FileOffset;

    /// <summary>The record with index <paramref name="i"/>; empty where the file is damaged.</summary>
    public ReadOnlySpan<byte> At(int i)
    {
        uint start = _index[i].Record;
        if (_isDamaged || start % 8 != 0 || start > (uint)_payloadLength - (uint)sizeof(StoredHead) || !Load(start, (uint)sizeof(StoredHead))) return Damaged();
        uint length = ((StoredHead*)(_payload + start))->Length;
        if (length < sizeof(StoredHead) || length % 8 != 0 || length > (uint)_payloadLength - start || !Load(start, length)) return Damaged();
        if (((StoredHead*)(_payload + start))->FileOffset != _index[i].FileOffset) return Damaged();
        return new ReadOnlySpan<byte>(_payload + start, (int)length);
    }

    private ReadOnlySpan<byte> Damaged()
    {
        _isDamaged = true;
        return default;
    }

    /// <summary>Sees to the chunks of a range inside the payload.</summary>
    private bool Load(uint start, uint length)
    {
        for (uint chunk = start / ChunkSize; chunk <= (start + length - 1) / ChunkSize; chunk++)
        {
            if (_present[chunk]) continue;
            int offset = (int)chunk * ChunkSize;
            // SAFETY: start + length <= _payloadLength, so the chunk begins inside the payload and is cut at its end.
            var bytes = new Span<byte>(_payload + offset, Math.Min(ChunkSize, _payloadLength - offset));
            try
            {
                if (!ReadWhole(_handle, bytes, _payloadStart + offset)) return false;
            }
            catch (IOException)
            {
                return false;
            }
            if (Checksum.Of(bytes) != _checksums[chunk]) return false;
            _present[chunk] = true;
        }
        return true;
    }

    /// <summary>Writes a new file. <paramref name="records"/>: offsets in <paramref name="payload"/> by file offset, in order.</summary>
    public static void Write(string path, in TranslationKey key, ReadOnlySpan<byte> payload, List<(uint FileOffset, uint Record)> records)
    {
        var index = new IndexEntry[records.Count];
        for (int i = 0; i < index.Length; i++) index[i] = new IndexEntry { FileOffset = records[i].FileOffset, Record = records[i].Record };
        var checksums = new ulong[(payload.Length + ChunkSize - 1) / ChunkSize];
        for (int i = 0; i < checksums.Length; i++)
            checksums[i] = Checksum.Of(payload.Slice(i * ChunkSize, Math.Min(ChunkSize, payload.Length - i * ChunkSize)));
        Span<byte> indexBytes = MemoryMarshal.AsBytes(index.AsSpan()), checksumBytes = MemoryMarshal.AsBytes(checksums.AsSpan());
        var header = new Header
        {
            Magic = Magic, Key = key, Count = (uint)index.Length, ChunkSize = ChunkSize, PayloadLength = (ulong)payload.Length,
            TablesChecksum = Checksum.Of(checksumBytes, Checksum.Of(indexBytes)),
        };
        Span<byte> headerBytes = MemoryMarshal.AsBytes(new Span<Header>(ref header));
        header.HeaderChecksum = Checksum.Of(headerBytes[..^8]);
        using var handle = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write);
        RandomAccess.Write(handle, headerBytes, 0);
        RandomAccess.Write(handle, indexBytes, headerBytes.Length);
        RandomAccess.Write(handle, checksumBytes, headerBytes.Length + indexBytes.Length);
        RandomAccess.Write(handle, payload, headerBytes.Length + indexBytes.Length + checksumBytes.Length);
    }

    public void Dispose()
    {
        _handle.Dispose();
        _isDamaged = true; // the bytes stay until nobody holds this object
    }
}
