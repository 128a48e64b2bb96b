using System.Globalization;
using System.Text;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>
/// What a guest's root believes of a file and the host cannot or must not hold: owner, set-uid bits, device number, and the inode number
/// that a copied-up file had before. Kept in an extended attribute of the file, so that it lives as long as the inode, and follows renames,
/// hard links and copies of the tree.
/// </summary>
/// <remarks>A file with a record has the sticky bit on the host: files without it, nearly all, cost no look-up.</remarks>
internal record struct FileRecord(uint Uid, uint Gid, uint Mode, ulong Device, ulong Inode)
{
    /// <summary>Name of the attribute; its value is <c>uid:gid:mode:device:inode</c>, mode in octal with the file type.</summary>
    public const string Attribute = "user.viv.stat";

    /// <summary>The mark on the host (S_ISVTX).</summary>
    public const uint Mark = 0x200;

    private const int Maximum = 128;

    public readonly uint Type => Mode & FileType.Mask;

    public readonly bool IsDevice => Type is FileType.Character or FileType.Block;

    /// <summary>Reads the record of a descriptor (O_PATH too); false where it has none.</summary>
    public static bool TryRead(int descriptor, out FileRecord record)
    {
        using var name = HostName.OfDescriptor(descriptor);
        return TryRead(name.Address, out record);
    }

    private static bool TryRead(long path, out FileRecord record)
    {
        record = default;
        using var attribute = HostName.Of("user.viv.stat"u8);
        using var value = HostScratch.Rent(Maximum);
        long length = HostSyscall.Invoke(HostCall.GetXAttr, path, attribute.Address, value.Address, Maximum);
        return length > 0 && TryParse(value.Span[..(int)length], out record);
    }

    /// <summary>Writes the record and the mark: 0 or negative errno. <paramref name="hostMode"/> is the permission bits that the host shall have.</summary>
    public readonly long Write(int descriptor, uint hostMode)
    {
        using var name = HostName.OfDescriptor(descriptor);
        using var attribute = HostName.Of("user.viv.stat"u8);
        using var value = HostName.Of(Encoding.ASCII.GetBytes(ToString()));
        // The mode first: attributes can be set only where the host's owner may write.
        long status = HostSyscall.Invoke(HostCall.Chmod, name.Address, (long)(hostMode & 0x1FF | Mark));
        return status < 0 ? status : HostSyscall.Invoke(HostCall.SetXAttr, name.Address, attribute.Address, value.Address, ToString().Length, 0);
    }

    public override readonly string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Uid}:{Gid}:{Convert.ToString(Mode, 8)}:{Device}:{Inode}");

    internal static bool TryParse(ReadOnlySpan<byte> text, out FileRecord record)
    {
        record = default;
        Span<ulong> numbers = stackalloc ulong[5];
        int at = 0;
        foreach (byte c in text)
        {
            if (c == ':')
            {
                if (++at == numbers.Length) return false;
                continue;
            }
            uint digit = (uint)(c - '0'), radix = at == 2 ? 8u : 10u;
            if (digit >= radix || numbers[at] > (ulong.MaxValue - digit) / radix) return false;
            numbers[at] = numbers[at] * radix + digit;
        }
        if (at != numbers.Length - 1) return false;
        record = new FileRecord((uint)numbers[0], (uint)numbers[1], (uint)numbers[2], numbers[3], numbers[4]);
        return true;
    }
}
