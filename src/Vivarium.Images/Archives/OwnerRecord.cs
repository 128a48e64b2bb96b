using System.Globalization;
using System.Text;
using Vivarium.Images.Host;

namespace Vivarium.Images.Archives;

/// <summary>Owner, mode and device number of a file where the host cannot hold them: an extended attribute that <c>viv run</c> shows to guests
/// (docs/files.md, "Owners"). A file that has one carries the sticky bit.</summary>
internal static class OwnerRecord
{
    private const uint Sticky = 0x200, SetId = 0xc00;
    private static readonly byte[] _name = HostPath.Zero("user.viv.stat");

    /// <summary>Whether viv, not being root, must remember something of a file or directory.</summary>
    public static bool IsNeeded(TarEntry entry) => entry.Uid != 0 || entry.Gid != 0 || (entry.Mode & SetId) != 0 || (HostMode(entry) & 0x1ff) != (entry.Mode & 0x1ff);

    /// <summary>Writes the record and sets the host's mode: false where the file system has no such attributes (the mode is set then all the same).</summary>
    public static bool Write(int file, TarEntry entry, ulong device)
    {
        uint type = entry.Kind switch
        {
            TarKind.Directory => Libc.S_IFDIR,
            TarKind.CharacterDevice => Libc.S_IFCHR,
            TarKind.BlockDevice => Libc.S_IFBLK,
            _ => Libc.S_IFREG,
        };
        string text = string.Create(CultureInfo.InvariantCulture, $"{entry.Uid}:{entry.Gid}:{Convert.ToString(type | (entry.Mode & 0xfff), 8)}:{device}:0");
        byte[] value = Encoding.ASCII.GetBytes(text);
        bool written = Libc.SetXattr(file, _name, value, (nuint)value.Length, 0) == 0;
        Libc.ChMod(file, written ? (HostMode(entry) & 0x1ff) | Sticky : entry.Mode & ~SetId);
        return written;
    }

    private static uint HostMode(TarEntry entry) => entry.Mode | (entry.Kind == TarKind.Directory ? 0x1c0u : 0x180u);
}
