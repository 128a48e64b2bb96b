using System.IO.Compression;
using System.Text;
using Vivarium.Images.Archives;

namespace Vivarium.Images.Tests;

/// <summary>Makes small archives in memory.</summary>
internal sealed class Archive
{
    private readonly MemoryStream _stream = new();
    private readonly TarWriter _writer;

    public Archive() => _writer = new TarWriter(_stream);

    public Archive File(string name, string content = "content", uint mode = 0x1a4) => Add(TarKind.File, name, content: content, mode: mode);

    public Archive Dir(string name, uint mode = 0x1ed) => Add(TarKind.Directory, name, mode: mode);

    public Archive Link(string name, string target) => Add(TarKind.SymbolicLink, name, target);

    public Archive HardLink(string name, string target) => Add(TarKind.HardLink, name, target);

    public Archive Add(TarKind kind, string name, string link = "", string content = "", uint mode = 0x1a4)
    {
        byte[] data = Encoding.UTF8.GetBytes(content);
        _writer.WriteHeader(new TarEntry
        {
            Kind = kind,
            Name = Encoding.UTF8.GetBytes(name),
            LinkName = Encoding.UTF8.GetBytes(link),
            Mode = mode,
            Size = data.Length,
            ModifySeconds = 1_700_000_000,
            Uid = (uint)Host.Libc.EffectiveUser(),
            DeviceMajor = 1,
            DeviceMinor = 3,
        });
        _writer.WriteData(data);
        _writer.EndData(data.Length);
        return this;
    }

    /// <summary>The finished archive.</summary>
    public byte[] Bytes()
    {
        _writer.End();
        return _stream.ToArray();
    }

    /// <summary>Writes the finished archive to a file.</summary>
    public string Save(string path)
    {
        System.IO.File.WriteAllBytes(path, Bytes());
        return path;
    }

    public static byte[] Gzip(byte[] plain)
    {
        var output = new MemoryStream();
        using (var gzip = new GZipStream(output, CompressionLevel.Fastest))
            gzip.Write(plain);
        return output.ToArray();
    }

    public static byte[] Zstd(byte[] plain)
    {
        var output = new MemoryStream();
        using (var zstd = new ZstdSharp.CompressionStream(output))
        {
            zstd.SetParameter(ZstdSharp.Unsafe.ZSTD_cParameter.ZSTD_c_checksumFlag, 1);
            zstd.Write(plain);
        }

        return output.ToArray();
    }

    /// <summary>An .xz container whose LZMA2 chunks are stored: made here because the library only reads xz.</summary>
    public static byte[] Xz(byte[] plain)
    {
        var output = new MemoryStream();
        byte[] flags = [0, 1]; // check: CRC32
        output.Write([0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0, .. flags, .. Crc(flags)]);
        // Block header: size 12 bytes ((2 + 1) * 4), one filter, LZMA2 (0x21) with a dictionary of 8 MiB.
        byte[] block = [2, 0, 0x21, 1, 22, 0, 0, 0];
        output.Write([.. block, .. Crc(block)]);
        long start = output.Length;
        for (int at = 0; at < plain.Length; at += 0x10000)
        {
            int size = Math.Min(0x10000, plain.Length - at);
            output.Write([(byte)(at == 0 ? 1 : 2), (byte)((size - 1) >> 8), (byte)(size - 1), .. plain.AsSpan(at, size)]);
        }

        output.WriteByte(0);
        long unpadded = 12 + output.Length - start + 4;
        output.Write(new byte[-(output.Length - start) & 3]);
        output.Write(Crc(plain));
        var index = new MemoryStream();
        index.Write([0, 1, .. Vli(unpadded), .. Vli(plain.Length)]);
        index.Write(new byte[-index.Length & 3]);
        byte[] indexBytes = index.ToArray();
        output.Write([.. indexBytes, .. Crc(indexBytes)]);
        byte[] footer = [.. BitConverter.GetBytes((uint)(indexBytes.Length + 4) / 4 - 1), .. flags];
        output.Write([.. Crc(footer), .. footer, (byte)'Y', (byte)'Z']);
        return output.ToArray();
    }

    private static byte[] Vli(long value)
    {
        var bytes = new List<byte>();
        for (; value > 0x7f; value >>= 7)
            bytes.Add((byte)(value | 0x80));
        bytes.Add((byte)value);
        return [.. bytes];
    }

    private static byte[] Crc(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in data)
        {
            crc ^= value;
            for (int i = 0; i < 8; i++)
                crc = (crc >> 1) ^ (0xedb88320 & (uint)-(int)(crc & 1));
        }

        return BitConverter.GetBytes(~crc);
    }
}
