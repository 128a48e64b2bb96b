using System.Buffers.Text;
using System.Text;

namespace Vivarium.Images.Archives;

/// <summary>Reads a tar archive (ustar, pax and GNU's long names) from a stream that cannot seek.</summary>
/// <remarks>
/// Everything read is untrusted: sizes are bounded before memory is taken, and whatever is wrong ends in
/// <see cref="InvalidDataException"/> with a reason for people. Names are kept as bytes, because Linux's names are.
/// </remarks>
internal sealed class TarReader(Stream stream)
{
    private const int BlockSize = 512;

    /// <summary>Bound of one extended header: names and attributes are far smaller.</summary>
    private const int MaxExtendedHeader = 1 << 20;

    private readonly byte[] _block = new byte[BlockSize];
    private long _remaining; // data of the current entry that is not read yet
    private int _padding;
    private bool _ended;

    /// <summary>Entries read so far.</summary>
    public long Count { get; private set; }

    /// <summary>The next entry, or null at the end of the archive. What is left of the last entry's data is skipped.</summary>
    public TarEntry? Next()
    {
        if (_ended)
            return null;
        SkipData();
        var pax = new Pax();
        byte[]? longName = null, longLink = null;
        for (;;)
        {
            if (!ReadHeader())
                return null;
            char type = (char)_block[156];
            long size = Number(124, 12, "size");
            switch (type)
            {
                case 'x':
                    pax.Parse(ReadExtended(size));
                    continue;
                case 'g':
                    ReadExtended(size); // Global attributes: archives of images carry none that matter (git's is a comment).
                    continue;
                case 'L':
                    longName = UpToZero(ReadExtended(size)).ToArray();
                    continue;
                case 'K':
                    longLink = UpToZero(ReadExtended(size)).ToArray();
                    continue;
                case 'V':
                    SetData(size);
                    SkipData();
                    continue;
                case 'S' or 'M':
                    throw new InvalidDataException(type == 'S' ? "it holds a sparse file, which is not supported (make it with tar without --sparse)" : "it is one of several volumes, which is not supported");
            }

            if (pax.Sparse)
                throw new InvalidDataException("it holds a sparse file, which is not supported (make it with tar without --sparse)");
            byte[] name = pax.Path ?? longName ?? HeaderName();
            if (name.Length == 0)
                throw new InvalidDataException("an entry has no name");
            var kind = type switch
            {
                '0' or '\0' or '7' => name[^1] == '/' ? TarKind.Directory : TarKind.File,
                '1' => TarKind.HardLink,
                '2' => TarKind.SymbolicLink,
                '3' => TarKind.CharacterDevice,
                '4' => TarKind.BlockDevice,
                '5' => TarKind.Directory,
                '6' => TarKind.Fifo,
                _ => throw new InvalidDataException($"an entry has an unknown type ({(int)type})"),
            };
            bool device = kind is TarKind.CharacterDevice or TarKind.BlockDevice;
            var entry = new TarEntry
            {
                Kind = kind,
                Name = name,
                LinkName = kind is TarKind.HardLink or TarKind.SymbolicLink ? pax.LinkPath ?? longLink ?? UpToZero(_block.AsSpan(157, 100)).ToArray() : [],
                Mode = (uint)(Number(100, 8, "mode") & 0xfff),
                Uid = (uint)(pax.Uid ?? Number(108, 8, "uid")),
                Gid = (uint)(pax.Gid ?? Number(116, 8, "gid")),
                Size = kind == TarKind.File ? pax.Size ?? size : 0,
                ModifySeconds = pax.ModifySeconds ?? Number(136, 12, "mtime", negative: true),
                ModifyNanoseconds = pax.ModifySeconds is null ? 0 : pax.ModifyNanoseconds,
                DeviceMajor = device ? (uint)Number(329, 8, "device") : 0,
                DeviceMinor = device ? (uint)Number(337, 8, "device") : 0,
                Xattrs = pax.Xattrs,
            };
            if (entry.Size < 0)
                throw new InvalidDataException("an entry has a negative size");
            SetData(entry.Size);
            Count++;
            return entry;
        }
    }

    /// <summary>Reads data of the current entry; 0 at its end.</summary>
    public int Read(Span<byte> buffer)
    {
        if (_remaining == 0)
            return 0;
        int count = stream.Read(buffer[..(int)Math.Min(buffer.Length, _remaining)]);
        if (count == 0)
            throw new InvalidDataException("it is truncated");
        _remaining -= count;
        return count;
    }

    /// <summary>Reads what stands after the archive's end, so that a digest covers all of it.</summary>
    public void Drain()
    {
        var buffer = new byte[64 * 1024];
        while (stream.Read(buffer) > 0)
        {
        }
    }

    private void SetData(long size)
    {
        _remaining = size;
        _padding = (int)(-size & (BlockSize - 1));
    }

    private void SkipData()
    {
        if (_remaining == 0 && _padding == 0)
            return;
        var buffer = new byte[(int)Math.Min(64 * 1024, _remaining + _padding)];
        while (_remaining > 0)
            Read(buffer);
        if (stream.ReadAtLeast(buffer.AsSpan(0, _padding), _padding, throwOnEndOfStream: false) < _padding)
            throw new InvalidDataException("it is truncated");
        _padding = 0;
    }

    /// <summary>Reads a header and checks its sum; false at the archive's end.</summary>
    private bool ReadHeader()
    {
        int count = stream.ReadAtLeast(_block, BlockSize, throwOnEndOfStream: false);
        if (count < BlockSize)
            throw new InvalidDataException(Count == 0 && count == 0 ? "it is empty" : Count == 0 ? "it is not a tar archive" : "it is truncated");
        if (!_block.AsSpan().ContainsAnyExcept((byte)0))
        {
            _ended = true;
            return false;
        }

        long stored = Number(148, 8, "checksum");
        long sum = 0, signed = 0;
        for (int i = 0; i < BlockSize; i++)
        {
            byte value = i is >= 148 and < 156 ? (byte)' ' : _block[i];
            sum += value;
            signed += (sbyte)value;
        }

        if (stored != sum && stored != signed)
            throw new InvalidDataException(Count == 0 ? "it is not a tar archive" : "a header's checksum is wrong");
        return true;
    }

    private byte[] ReadExtended(long size)
    {
        if (size is < 0 or > MaxExtendedHeader)
            throw new InvalidDataException("an extended header is too large");
        var data = new byte[size];
        SetData(size);
        for (int at = 0; at < data.Length;)
            at += Read(data.AsSpan(at));
        SkipData();
        return data;
    }

    /// <summary>ustar splits long names into prefix and name; GNU uses the prefix's place for other things.</summary>
    private byte[] HeaderName()
    {
        var name = UpToZero(_block.AsSpan(0, 100));
        bool ustar = _block.AsSpan(257, 6).SequenceEqual("ustar\0"u8);
        var prefix = ustar ? UpToZero(_block.AsSpan(345, 155)) : default;
        return prefix.IsEmpty ? name.ToArray() : [.. prefix, (byte)'/', .. name];
    }

    private static ReadOnlySpan<byte> UpToZero(ReadOnlySpan<byte> field)
    {
        int zero = field.IndexOf((byte)0);
        return zero < 0 ? field : field[..zero];
    }

    /// <summary>A numeric field: octal digits, or big-endian binary where the first bit is set (GNU, for large values).</summary>
    private long Number(int offset, int length, string what, bool negative = false)
    {
        var field = _block.AsSpan(offset, length);
        if ((field[0] & 0x80) != 0)
        {
            // Base 256: bit 6 of the first byte is the sign, as in two's complement.
            long value = (field[0] & 0x40) != 0 ? -1 : 0;
            value = (value << 6) | (uint)(field[0] & 0x3f);
            for (int i = 1; i < length; i++)
            {
                if (value is > long.MaxValue >> 8 or < long.MinValue >> 8)
                    throw new InvalidDataException($"an entry's {what} is too large");
                value = (value << 8) | field[i];
            }

            if (value < 0 && !negative)
                throw new InvalidDataException($"an entry's {what} is negative");
            return value;
        }

        long number = 0;
        bool any = false;
        foreach (byte c in field)
        {
            if (c is >= (byte)'0' and <= (byte)'7')
            {
                number = (number << 3) | (uint)(c - '0');
                any = true;
            }
            else if (c == ' ' && !any)
            {
                continue;
            }
            else if (c is 0 or (byte)' ')
            {
                break;
            }
            else
            {
                throw new InvalidDataException(Count == 0 ? "it is not a tar archive" : $"an entry's {what} is not a number");
            }
        }

        return number;
    }

    /// <summary>The records of one pax extended header: <c>LENGTH KEY=VALUE\n</c>.</summary>
    private sealed class Pax
    {
        public byte[]? Path { get; private set; }

        public byte[]? LinkPath { get; private set; }

        public long? Size { get; private set; }

        public long? Uid { get; private set; }

        public long? Gid { get; private set; }

        public long? ModifySeconds { get; private set; }

        public long ModifyNanoseconds { get; private set; }

        public bool Sparse { get; private set; }

        public List<(byte[] Name, byte[] Value)> Xattrs { get; } = [];

        public void Parse(ReadOnlySpan<byte> data)
        {
            while (data.Length > 0 && data[0] != 0)
            {
                if (!Utf8Parser.TryParse(data, out int length, out int digits) || length <= digits + 2 || length > data.Length || data[digits] != ' ' || data[length - 1] != '\n')
                    throw new InvalidDataException("an extended header is damaged");
                var record = data[(digits + 1)..(length - 1)];
                int equals = record.IndexOf((byte)'=');
                if (equals <= 0)
                    throw new InvalidDataException("an extended header is damaged");
                Set(Encoding.UTF8.GetString(record[..equals]), record[..equals], record[(equals + 1)..]);
                data = data[length..];
            }
        }

        private void Set(string key, ReadOnlySpan<byte> keyBytes, ReadOnlySpan<byte> value)
        {
            switch (key)
            {
                case "path":
                    Path = NoZero(value);
                    break;
                case "linkpath":
                    LinkPath = NoZero(value);
                    break;
                case "size":
                    Size = Whole(value);
                    break;
                case "uid":
                    Uid = Whole(value);
                    break;
                case "gid":
                    Gid = Whole(value);
                    break;
                case "mtime":
                    SetTime(value);
                    break;
                default:
                    if (key.StartsWith("GNU.sparse.", StringComparison.Ordinal))
                        Sparse = true;
                    else if (key.StartsWith("SCHILY.xattr.", StringComparison.Ordinal))
                        Xattrs.Add((NoZero(keyBytes["SCHILY.xattr.".Length..]), value.ToArray()));
                    break;
            }
        }

        private static byte[] NoZero(ReadOnlySpan<byte> value) =>
            value.Contains((byte)0) ? throw new InvalidDataException("an extended header is damaged") : value.ToArray();

        private static long Whole(ReadOnlySpan<byte> value) =>
            Utf8Parser.TryParse(value, out long number, out int used) && used == value.Length && number >= 0
                ? number
                : throw new InvalidDataException("an extended header is damaged");

        private void SetTime(ReadOnlySpan<byte> value)
        {
            int dot = value.IndexOf((byte)'.');
            var whole = dot < 0 ? value : value[..dot];
            if (!Utf8Parser.TryParse(whole, out long seconds, out int used) || used != whole.Length)
                throw new InvalidDataException("an extended header is damaged");
            long nanoseconds = 0;
            var fraction = dot < 0 ? default : value[(dot + 1)..];
            for (int i = 0; i < 9; i++)
            {
                int digit = i < fraction.Length ? fraction[i] - '0' : 0;
                if (digit is < 0 or > 9)
                    throw new InvalidDataException("an extended header is damaged");
                nanoseconds = nanoseconds * 10 + digit;
            }

            // -1.25 is 0.75 after -2.
            if (value.Length > 0 && value[0] == '-' && nanoseconds > 0)
                (seconds, nanoseconds) = (seconds - 1, 1_000_000_000 - nanoseconds);
            (ModifySeconds, ModifyNanoseconds) = (seconds, nanoseconds);
        }
    }
}
