using System.Buffers.Binary;
using System.Text;

namespace Vivarium.Machine.Disks.Qcow2;

/// <summary>The header of a qcow2 image, versions 2 and 3, with everything in it checked (numbers are big-endian).</summary>
internal sealed class Qcow2Header
{
    public const uint Magic = 0x514649fb; // "QFI", 0xfb
    public const int LengthV2 = 72, LengthV3 = 104, RefcountTableField = 48, AutoclearField = 88;
    private const ulong Dirty = 1, Corrupt = 2, ExternalData = 4, OtherCompression = 8, ExtendedEntries = 16;
    private const uint ExtensionBackingFormat = 0xe2792aca, ExtensionEnd = 0;
    private const int MostL1Bytes = 32 << 20, MostRefcountTableBytes = 8 << 20, LongestName = 1023;

    public required uint Version { get; init; }

    public required int ClusterBits { get; init; }

    public required ulong Size { get; init; }

    public required int L1Size { get; init; }

    public required ulong L1Offset { get; init; }

    public required ulong RefcountTableOffset { get; init; }

    public required int RefcountTableClusters { get; init; }

    public required int RefcountOrder { get; init; }

    public required ulong Autoclear { get; init; }

    public required bool Zstandard { get; init; }

    public required string? BackingFile { get; init; }

    public required string? BackingFormat { get; init; }

    public int ClusterSize => 1 << ClusterBits;

    /// <summary>Reads the header.</summary>
    /// <param name="file">The image.</param>
    /// <param name="path">For messages.</param>
    /// <param name="writing">Images that may be read but not written safely are refused.</param>
    /// <exception cref="DiskException">It is none, or one that this program cannot use; one line that says why.</exception>
    public static Qcow2Header Read(ImageFile file, string path, bool writing)
    {
        DiskException Refuse(string reason) => new($"cannot open disk '{path}': {reason}");
        var bytes = new byte[Math.Max(LengthV3, 112)];
        var length = file.Length;
        if (length < LengthV2) throw Refuse("not a qcow2 image");
        if (file.Read(0, bytes) is var error and < 0) throw DiskException.FromErrno("read", path, error);
        uint Word(int at) => BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(at));
        ulong Long(int at) => BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(at));

        if (Word(0) != Magic) throw Refuse("not a qcow2 image");
        var version = Word(4);
        if (version is not (2 or 3)) throw Refuse($"qcow2 version {version}; this program knows 2 and 3");
        var clusterBits = Word(20);
        if (clusterBits is < 9 or > 21) throw Refuse($"damaged qcow2 header: clusters of 2^{clusterBits} bytes");
        var cluster = 1UL << (int)clusterBits;
        if (Word(32) != 0) throw Refuse("encrypted images are not supported");

        ulong incompatible = 0, autoclear = 0;
        uint order = 4, headerLength = LengthV2;
        var zstandard = false;
        if (version == 3)
        {
            (incompatible, autoclear, order, headerLength) = (Long(72), Long(AutoclearField), Word(96), Word(100));
            if (headerLength < LengthV3 || headerLength > cluster || headerLength % 8 != 0) throw Refuse($"damaged qcow2 header: it is {headerLength} bytes long");
            if (order > 6) throw Refuse($"damaged qcow2 header: reference counts of 2^{order} bits");
            if (headerLength > LengthV3 && bytes[104] != 0)
            {
                if (bytes[104] != 1 || (incompatible & OtherCompression) == 0) throw Refuse($"compression type {bytes[104]} is not supported");
                zstandard = true;
            }
            if ((incompatible & ExternalData) != 0) throw Refuse("images with an external data file are not supported");
            if ((incompatible & ExtendedEntries) != 0) throw Refuse("extended L2 entries are not supported");
            var unknown = incompatible & ~(Dirty | Corrupt | ExternalData | OtherCompression | ExtendedEntries);
            if (unknown != 0) throw Refuse($"unknown qcow2 features {unknown:x}");
            if (writing && (incompatible & Corrupt) != 0) throw Refuse("the image is marked as corrupt; repair it with 'qemu-img check -r all', or open it read-only");
            if (writing && (incompatible & Dirty) != 0)
                throw Refuse("its reference counts were not written back; repair it with 'qemu-img check -r all', or open it read-only");
        }

        var size = Long(24);
        var entriesPerL2 = cluster / 8;
        if (size > 1UL << 56) throw Refuse($"damaged qcow2 header: a disk of {size} bytes");
        var neededL1 = (size + cluster * entriesPerL2 - 1) / (cluster * entriesPerL2);
        var l1 = Word(36);
        if (l1 > MostL1Bytes / 8 || l1 < neededL1) throw Refuse($"damaged qcow2 header: {l1} L1 entries for a disk of {size} bytes");
        var (l1Offset, tableOffset, tableClusters) = (Long(40), Long(48), Word(56));
        bool Fits(ulong offset, ulong count) => offset % cluster == 0 && offset <= (ulong)length && count <= (ulong)length - offset;
        if (l1 > 0 && (l1Offset == 0 || !Fits(l1Offset, l1 * 8UL))) throw Refuse("damaged qcow2 header: the L1 table lies outside the file");
        if (tableClusters == 0 || tableClusters > MostRefcountTableBytes / cluster || tableOffset == 0 || tableOffset % cluster != 0
            || (writing && !Fits(tableOffset, 8)))
            throw Refuse("damaged qcow2 header: the reference count table lies outside the file");

        var (backing, format) = ReadBacking(file, path, Long(8), Word(16), headerLength, cluster, Refuse);
        return new Qcow2Header
        {
            Version = version, ClusterBits = (int)clusterBits, Size = size, L1Size = (int)l1, L1Offset = l1Offset, RefcountTableOffset = tableOffset,
            RefcountTableClusters = (int)tableClusters, RefcountOrder = (int)order, Autoclear = autoclear, Zstandard = zstandard, BackingFile = backing,
            BackingFormat = format,
        };
    }

    private static (string? Name, string? Format) ReadBacking(
        ImageFile file, string path, ulong offset, uint length, uint headerLength, ulong cluster, Func<string, DiskException> refuse)
    {
        if (offset == 0) return (null, null);
        if (length is 0 or > LongestName || offset > cluster || offset + length > cluster) throw refuse("damaged qcow2 header: the backing file's name");
        var name = new byte[length];
        if (file.Read(offset, name) is var error and < 0) throw DiskException.FromErrno("read", path, error);
        string? format = null;
        var extension = new byte[8];
        for (ulong at = headerLength; at + 8 <= offset;)
        {
            if (file.Read(at, extension) < 0) break;
            var type = BinaryPrimitives.ReadUInt32BigEndian(extension);
            var size = BinaryPrimitives.ReadUInt32BigEndian(extension.AsSpan(4));
            if (type == ExtensionEnd) break;
            if (size > cluster || at + 8 + size > offset) throw refuse("damaged qcow2 header: an extension that is too long");
            if (type == ExtensionBackingFormat)
            {
                var text = new byte[Math.Min(size, 64)];
                if (file.Read(at + 8, text) < 0) break;
                format = Encoding.UTF8.GetString(text);
            }
            at += 8 + ((size + 7UL) & ~7UL);
        }
        return (Encoding.UTF8.GetString(name), format);
    }
}
