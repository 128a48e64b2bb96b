using System.Runtime.InteropServices;

namespace Vivarium.Images.Host;

/// <summary>What the store does to files so that a crash at any moment leaves the old or the new.</summary>
internal static class HostFiles
{
    /// <summary>Replaces a file: the bytes are on the disk before the name is, and the name before this returns.</summary>
    public static void Replace(string path, string temporary, ReadOnlySpan<byte> content)
    {
        using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        {
            stream.Write(content);
            stream.Flush(flushToDisk: true);
        }

        Rename(temporary, path);
    }

    /// <summary>Renames a file or a directory, replacing a file, and makes the new name durable.</summary>
    public static void Rename(string from, string to)
    {
        if (Libc.RenameAt(Libc.AT_FDCWD, HostPath.Zero(from), Libc.AT_FDCWD, HostPath.Zero(to)) < 0)
            throw new ImageException($"cannot rename '{from}' to '{to}': {Libc.Message(Libc.Errno)}");
        using var directory = Descriptor.Open(Path.GetDirectoryName(to)!, Libc.O_RDONLY | Libc.O_DIRECTORY);
        Libc.FSync(directory.Number);
    }

    /// <summary>Writes all that a file system holds in memory to the disk: thousands of small files at once.</summary>
    public static void SyncFileSystem(string path)
    {
        using var directory = Descriptor.Open(path, Libc.O_RDONLY | Libc.O_DIRECTORY);
        if (Libc.SyncFs(directory.Number) < 0)
            throw new ImageException($"cannot write '{path}' to the disk: {Libc.Message(Libc.Errno)}");
    }

    /// <summary>Removes a file or a whole tree, also where directories forbid it. Symlinks are not followed. Does nothing where there is none.</summary>
    public static void RemoveTree(string path)
    {
        string parent = Path.GetDirectoryName(Path.GetFullPath(path))!;
        using var directory = Descriptor.TryOpenAt(Libc.AT_FDCWD, HostPath.Zero(parent), Libc.O_RDONLY | Libc.O_DIRECTORY);
        if (directory is not null)
            RemoveAt(directory.Number, HostPath.Zero(Path.GetFileName(path)));
    }

    /// <summary>As <see cref="RemoveTree"/>, relative to a directory.</summary>
    public static void RemoveAt(int directory, byte[] name)
    {
        if (Libc.UnlinkAt(directory, name, 0) == 0)
            return;
        switch (Libc.Errno)
        {
            case Libc.ENOENT:
                return;
            case Libc.EISDIR or Libc.EPERM:
                break;
            default:
                throw new ImageException($"cannot remove '{HostPath.Show(name)}': {Libc.Message(Libc.Errno)}");
        }

        var child = Descriptor.TryOpenAt(directory, name, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW);
        if (child is null && Libc.Errno == Libc.EACCES && Libc.ChModAt(directory, name, 0x1c0, 0) == 0)
            child = Descriptor.TryOpenAt(directory, name, Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW);
        if (child is null)
            throw new ImageException($"cannot remove '{HostPath.Show(name)}': {Libc.Message(Libc.Errno)}");
        using (child)
        {
            Libc.ChMod(child.Number, 0x1c0);
            foreach (byte[] entry in child.ReadNames())
                RemoveAt(child.Number, entry);
        }

        if (Libc.UnlinkAt(directory, name, Libc.AT_REMOVEDIR) < 0)
            throw new ImageException($"cannot remove '{HostPath.Show(name)}': {Libc.Message(Libc.Errno)}");
    }

    /// <summary>What went wrong in words, without the path that .NET puts before it.</summary>
    public static string Reason(Exception e) => e switch
    {
        // .NET keeps the errno in HResult on Unix.
        IOException { HResult: > 0 and < 4096 } => Marshal.GetPInvokeErrorMessage(e.HResult),
        FileNotFoundException or DirectoryNotFoundException => "No such file or directory",
        UnauthorizedAccessException => "Permission denied",
        _ => e.Message,
    };
}
