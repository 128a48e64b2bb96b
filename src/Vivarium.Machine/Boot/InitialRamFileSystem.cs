using System.Globalization;
using System.IO.Compression;
using System.Text;

namespace Vivarium.Machine.Boot;

/// <summary>Writes initial RAM file systems: cpio archives in the "newc" format (the kernel's <c>initramfs-buffer-format</c>), everything owned by root.</summary>
public sealed class InitialRamFileSystem(Stream output)
{
    private const uint TypeMask = 0xf000, Directory = 0x4000, Regular = 0x8000, Link = 0xa000, CharacterDevice = 0x2000;
    private uint _inode = 1;

    /// <summary>Packs the tree below <paramref name="directory"/> into <paramref name="file"/>, compressed with gzip, with the <c>/dev/console</c> that a
    /// kernel opens for its first process.</summary>
    public static void Pack(string directory, string file)
    {
        using var stream = File.Create(file);
        using var gzip = new GZipStream(stream, CompressionLevel.Fastest);
        var archive = new InitialRamFileSystem(gzip);
        archive.AddTree(directory);
        if (!System.IO.Directory.Exists(Path.Combine(directory, "dev")))
            archive.AddDirectory("dev", 0x1ed);
        if (!File.Exists(Path.Combine(directory, "dev/console")))
            archive.AddDevice("dev/console", 0x180, 5, 1);
        archive.Finish();
    }

    public void AddDirectory(string path, uint mode) => Entry(path, Directory | mode, 0, 0, 0);

    public void AddLink(string path, string target) => Data(path, Link | 0x1ff, Encoding.UTF8.GetBytes(target));

    public void AddFile(string path, uint mode, ReadOnlySpan<byte> content) => Data(path, Regular | mode, content);

    public void AddDevice(string path, uint mode, uint major, uint minor) => Entry(path, CharacterDevice | mode, 0, major, minor);

    /// <summary>Adds what lies below a directory of the host, sorted by name: directories, files and links; the rest is left out.</summary>
    public void AddTree(string directory, string prefix = "")
    {
        foreach (string path in System.IO.Directory.EnumerateFileSystemEntries(directory).Order(StringComparer.Ordinal))
        {
            string name = prefix + Path.GetFileName(path);
            var info = new FileInfo(path);
            if (info.LinkTarget is { } target)
            {
                AddLink(name, target);
            }
            else if ((info.Attributes & FileAttributes.Directory) != 0)
            {
                AddDirectory(name, Mode(path));
                AddTree(path, name + "/");
            }
            else if (info.Exists && (info.Attributes & FileAttributes.Device) == 0)
            {
                AddFile(name, Mode(path), File.ReadAllBytes(path));
            }
        }
    }

    /// <summary>Ends the archive.</summary>
    public void Finish() => Header("TRAILER!!!", 0, 0, 0, 0, 0);

    private static uint Mode(string path) => OperatingSystem.IsLinux() ? (uint)File.GetUnixFileMode(path) : 0x1ed;

    private void Data(string path, uint mode, ReadOnlySpan<byte> content)
    {
        Entry(path, mode, (uint)content.Length, 0, 0);
        output.Write(content);
        Pad(content.Length);
    }

    private void Entry(string path, uint mode, uint size, uint major, uint minor) => Header(path, _inode++, mode, size, major, minor);

    /// <summary>"070701" and thirteen numbers of eight hexadecimal digits, then the name; everything is padded to 4 bytes.</summary>
    private void Header(string path, uint inode, uint mode, uint size, uint major, uint minor)
    {
        byte[] name = Encoding.UTF8.GetBytes(path + "\0");
        uint links = (mode & TypeMask) == Directory ? 2u : 1;
        var header = new StringBuilder("070701", 110);
        foreach (uint field in (ReadOnlySpan<uint>)[inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, (uint)name.Length, 0])
            header.Append(field.ToString("X8", CultureInfo.InvariantCulture));
        output.Write(Encoding.ASCII.GetBytes(header.ToString()));
        output.Write(name);
        Pad(110 + name.Length);
    }

    private void Pad(int length)
    {
        ReadOnlySpan<byte> zeroes = [0, 0, 0];
        output.Write(zeroes[..(-length & 3)]);
    }
}
