using System.Buffers.Binary;
using System.IO.Compression;
using ZstdSharp;

namespace Vivarium.Machine.Boot;

/// <summary>What a file to boot is.</summary>
public enum BootImageKind
{
    /// <summary>A Linux kernel with the RISC-V image header (also a PE for EFI, which Debian ships).</summary>
    LinuxImage,

    /// <summary>An ELF executable; loaded where its program headers say.</summary>
    Elf,

    /// <summary>Bytes without a header: firmware.</summary>
    Raw,
}

/// <summary>
/// A kernel or firmware file, unpacked: gzip and zstd around it and EFI's self-extracting form (zboot) are taken off, in any nesting.
/// </summary>
public sealed class BootImage
{
    private const int MaximumSize = 1 << 30;
    private const int HeaderSize = 64;

    private BootImage(BootImageKind kind, byte[] bytes)
    {
        Kind = kind;
        Bytes = bytes;
        if (kind == BootImageKind.LinuxImage)
        {
            TextOffset = BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(8));
            MemorySize = Math.Max(BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(16)), (ulong)bytes.Length);
        }
        else
        {
            MemorySize = (ulong)bytes.Length;
        }
    }

    public BootImageKind Kind { get; }

    /// <summary>The file, unpacked.</summary>
    public byte[] Bytes { get; }

    /// <summary>Where a Linux image wants to lie, from the start of RAM (its <c>text_offset</c>).</summary>
    public ulong TextOffset { get; }

    /// <summary>Bytes that it needs where it lies, with what it clears itself (its <c>image_size</c>).</summary>
    public ulong MemorySize { get; }

    /// <summary>Reads a file.</summary>
    /// <exception cref="BootException">It cannot be read, or is for another machine.</exception>
    public static BootImage Load(string path) => Parse(ReadFile(path), path);

    /// <summary>Reads a file whole.</summary>
    /// <exception cref="BootException">It cannot be read.</exception>
    public static byte[] ReadFile(string path)
    {
        try
        {
            if (new FileInfo(path) is { Exists: true, Length: > MaximumSize })
                throw new BootException($"'{path}' is larger than {MaximumSize >> 20} MiB");
            return File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException(e is FileNotFoundException or DirectoryNotFoundException ? $"'{path}' does not exist" : $"'{path}' cannot be read: {e.Message}");
        }
    }

    /// <summary>Recognises and unpacks the content of a file.</summary>
    /// <param name="bytes">The file.</param>
    /// <param name="name">What errors call it.</param>
    public static BootImage Parse(byte[] bytes, string name)
    {
        for (int nesting = 0; nesting < 4; nesting++)
        {
            if (Starts(bytes, [0x1f, 0x8b]))
                bytes = Gunzip(bytes, name);
            else if (Starts(bytes, [0x28, 0xb5, 0x2f, 0xfd]))
                bytes = Unpack(new DecompressionStream(new MemoryStream(bytes)), "zstd", name);
            else if (Starts(bytes, "MZ"u8) && bytes.Length >= HeaderSize && bytes.AsSpan(4, 4).SequenceEqual("zimg"u8))
                bytes = ZbootPayload(bytes, name);
            else
                break;
        }

        if (Starts(bytes, "\u007fELF"u8))
            return new BootImage(BootImageKind.Elf, bytes);
        if (bytes.Length >= HeaderSize && bytes.AsSpan(0x38, 4).SequenceEqual("RSC\u0005"u8))
            return new BootImage(BootImageKind.LinuxImage, bytes);
        if (Starts(bytes, "MZ"u8))
            throw new BootException($"'{name}' is an EFI program, but not a riscv64 Linux kernel");
        if (bytes.Length >= 0x206 && bytes.AsSpan(0x202, 4).SequenceEqual("HdrS"u8))
            throw new BootException($"'{name}' is a Linux kernel for x86");
        return new BootImage(BootImageKind.Raw, bytes);
    }

    /// <summary>EFI zboot (the kernel's <c>drivers/firmware/efi/libstub/zboot-header.S</c>): the packed image's place at 8, its size at 12.</summary>
    private static byte[] ZbootPayload(byte[] bytes, string name)
    {
        uint at = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(8));
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(12));
        if (at > (uint)bytes.Length || size > (uint)bytes.Length - at)
            throw new BootException($"'{name}' is damaged: its packed image lies beyond its end");
        return bytes.AsSpan((int)at, (int)size).ToArray();
    }

    private static bool Starts(byte[] bytes, ReadOnlySpan<byte> magic) => bytes.AsSpan().StartsWith(magic);

    /// <summary>The runtime takes a file that is cut off for a shorter one; its last word, the length, tells them apart.</summary>
    private static byte[] Gunzip(byte[] packed, string name)
    {
        byte[] bytes = Unpack(new GZipStream(new MemoryStream(packed), CompressionMode.Decompress), "gzip", name);
        return packed.Length >= 18 && BinaryPrimitives.ReadUInt32LittleEndian(packed.AsSpan(packed.Length - 4)) == (uint)bytes.Length
            ? bytes
            : throw new BootException($"'{name}' is damaged: gzip cannot unpack it");
    }

    private static byte[] Unpack(Stream packed, string method, string name)
    {
        try
        {
            using (packed)
            {
                var output = new MemoryStream();
                byte[] piece = new byte[1 << 16];
                for (int read; (read = packed.Read(piece)) > 0;)
                {
                    if (output.Length + read > MaximumSize)
                        throw new BootException($"'{name}' unpacks to more than {MaximumSize >> 20} MiB");
                    output.Write(piece, 0, read);
                }

                return output.ToArray();
            }
        }
        catch (Exception e) when (e is InvalidDataException or ZstdException or EndOfStreamException or IOException)
        {
            throw new BootException($"'{name}' is damaged: {method} cannot unpack it");
        }
    }
}
