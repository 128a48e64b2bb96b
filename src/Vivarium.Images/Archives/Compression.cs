using System.IO.Compression;

namespace Vivarium.Images.Archives;

/// <summary>How an archive is compressed; told by its first bytes, never by its name.</summary>
internal enum CompressionKind
{
    None,
    Gzip,
    Zstd,
    Xz,
}

internal static class Compression
{
    /// <summary>Bytes of an archive that <see cref="Detect"/> wants to see.</summary>
    public const int HeadLength = 6;

    private static ReadOnlySpan<byte> XzMagic => [0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0];

    public static CompressionKind Detect(ReadOnlySpan<byte> head) =>
        head.StartsWith<byte>([0x1f, 0x8b]) ? CompressionKind.Gzip
        : head.StartsWith<byte>([0x28, 0xb5, 0x2f, 0xfd]) ? CompressionKind.Zstd
        : head.StartsWith(XzMagic) ? CompressionKind.Xz
        : CompressionKind.None;

    /// <summary>The plain bytes of a compressed stream. Whatever is wrong with them throws <see cref="InvalidDataException"/>.</summary>
    public static Stream Decompress(Stream stream, CompressionKind kind) => kind switch
    {
        CompressionKind.Gzip => new DecompressorStream(new GZipStream(stream, CompressionMode.Decompress, leaveOpen: true)),
        CompressionKind.Zstd => new DecompressorStream(new ZstdSharp.DecompressionStream(stream, leaveOpen: true)),
        CompressionKind.Xz => new DecompressorStream(new SharpCompress.Compressors.Xz.XZStream(stream)),
        _ => stream,
    };

    /// <summary>The OCI media type of a layer that is stored so.</summary>
    public static string LayerMediaType(CompressionKind kind) => kind switch
    {
        CompressionKind.Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        CompressionKind.Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        _ => "application/vnd.oci.image.layer.v1.tar",
    };
}
