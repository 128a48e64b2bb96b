using System.Globalization;
using System.Text;

namespace Vivarium.Images.Archives;

/// <summary>Writes a tar archive: ustar, with pax headers for what ustar cannot say.</summary>
internal sealed class TarWriter(Stream stream)
{
    private const int BlockSize = 512;
    private static readonly byte[] _zeros = new byte[BlockSize];

    /// <summary>Writes an entry's headers; its <see cref="TarEntry.Size"/> bytes of data come next through <see cref="WriteData"/>,
    /// then <see cref="EndData"/>.</summary>
    public void WriteHeader(TarEntry entry)
    {
        var extended = new MemoryStream();
        if (entry.Name.Length > 100)
            Record(extended, "path"u8, entry.Name);
        if (entry.LinkName.Length > 100)
            Record(extended, "linkpath"u8, entry.LinkName);
        if (entry.Size > 0x1_ffff_ffff)
            Record(extended, "size"u8, Digits(entry.Size));
        if (entry.Uid > 0x1f_ffff)
            Record(extended, "uid"u8, Digits(entry.Uid));
        if (entry.Gid > 0x1f_ffff)
            Record(extended, "gid"u8, Digits(entry.Gid));
        if (entry.ModifyNanoseconds != 0 || entry.ModifySeconds is < 0 or > 0x1_ffff_ffff)
            Record(extended, "mtime"u8, Encoding.ASCII.GetBytes(Time(entry)));
        foreach (var (name, value) in entry.Xattrs)
            Record(extended, [.. "SCHILY.xattr."u8, .. name], value);

        if (extended.Length > 0)
        {
            var pax = new TarEntry { Kind = TarKind.File, Name = "././@PaxHeader"u8.ToArray(), Mode = 0x1a4, Size = extended.Length };
            WriteBlock(pax, 'x');
            stream.Write(extended.GetBuffer(), 0, (int)extended.Length);
            EndData(extended.Length);
        }

        WriteBlock(entry, entry.Kind switch
        {
            TarKind.File => '0',
            TarKind.HardLink => '1',
            TarKind.SymbolicLink => '2',
            TarKind.CharacterDevice => '3',
            TarKind.BlockDevice => '4',
            TarKind.Directory => '5',
            _ => '6',
        });
    }

    public void WriteData(ReadOnlySpan<byte> data) => stream.Write(data);

    /// <summary>Fills the last block of an entry of this size.</summary>
    public void EndData(long size) => stream.Write(_zeros, 0, (int)(-size & (BlockSize - 1)));

    /// <summary>Writes the end mark.</summary>
    public void End()
    {
        stream.Write(_zeros);
        stream.Write(_zeros);
    }

    private void WriteBlock(TarEntry entry, char type)
    {
        Span<byte> block = stackalloc byte[BlockSize];
        block.Clear();
        entry.Name.AsSpan(0, Math.Min(entry.Name.Length, 100)).CopyTo(block);
        Octal(block.Slice(100, 8), entry.Mode);
        Octal(block.Slice(108, 8), entry.Uid > 0x1f_ffff ? 0 : entry.Uid);
        Octal(block.Slice(116, 8), entry.Gid > 0x1f_ffff ? 0 : entry.Gid);
        Octal(block.Slice(124, 12), entry.Size > 0x1_ffff_ffff ? 0 : entry.Size);
        Octal(block.Slice(136, 12), entry.ModifySeconds is < 0 or > 0x1_ffff_ffff ? 0 : entry.ModifySeconds);
        block[156] = (byte)type;
        entry.LinkName.AsSpan(0, Math.Min(entry.LinkName.Length, 100)).CopyTo(block[157..]);
        "ustar\0"u8.CopyTo(block[257..]);
        "00"u8.CopyTo(block[263..]);
        Octal(block.Slice(329, 8), entry.DeviceMajor);
        Octal(block.Slice(337, 8), entry.DeviceMinor);
        block.Slice(148, 8).Fill((byte)' ');
        long sum = 0;
        foreach (byte value in block)
            sum += value;
        Octal(block.Slice(148, 7), sum);
        stream.Write(block);
    }

    private static void Octal(Span<byte> field, long value)
    {
        field[^1] = 0;
        for (int i = field.Length - 2; i >= 0; i--, value >>= 3)
            field[i] = (byte)('0' + (value & 7));
    }

    /// <summary>The length at a record's start counts itself.</summary>
    private static void Record(MemoryStream extended, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        int rest = key.Length + value.Length + 3;
        int length = rest + Digits(rest).Length;
        if (rest + Digits(length).Length != length)
            length++;
        extended.Write(Digits(length));
        extended.WriteByte((byte)' ');
        extended.Write(key);
        extended.WriteByte((byte)'=');
        extended.Write(value);
        extended.WriteByte((byte)'\n');
    }

    private static byte[] Digits(long value) => Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture));

    private static string Time(TarEntry entry)
    {
        decimal time = entry.ModifySeconds + entry.ModifyNanoseconds / 1_000_000_000m;
        return time.ToString("0.#########", CultureInfo.InvariantCulture);
    }
}
