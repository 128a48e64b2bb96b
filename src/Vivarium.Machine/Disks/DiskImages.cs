using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Machine.Disks.Qcow2;

namespace Vivarium.Machine.Disks;

/// <summary>Formats of disk images.</summary>
public enum DiskFormat
{
    /// <summary>By the name: <c>.qcow2</c> is qcow2, everything else raw.</summary>
    ByName,
    Raw,
    Qcow2,
}

/// <summary>Opens disk images.</summary>
public static class DiskImages
{
    /// <summary>Opens an image.</summary>
    /// <param name="path">A file or block device.</param>
    /// <param name="format">Its format. A file that looks like qcow2 but is not called so is refused with <see cref="DiskFormat.ByName"/>: a guest that
    /// writes to a raw disk could make it look like anything.</param>
    /// <param name="readOnly">The guest cannot write.</param>
    /// <param name="temporary">What the guest writes is thrown away with the machine.</param>
    /// <exception cref="DiskException">It cannot be used; the message is one line that says why.</exception>
    public static DiskImage Open(string path, DiskFormat format = DiskFormat.ByName, bool readOnly = false, bool temporary = false)
    {
        var qcow2 = format == DiskFormat.Qcow2 || (format == DiskFormat.ByName && path.EndsWith(".qcow2", StringComparison.OrdinalIgnoreCase));
        if (format == DiskFormat.ByName && !qcow2 && LooksLikeQcow2(path))
            throw new DiskException($"cannot open disk '{path}': it looks like a qcow2 image; say format=qcow2 or format=raw");
        DiskImage image = qcow2 ? Qcow2Image.Open(path, readOnly || temporary) : RawImage.Open(path, readOnly || temporary);
        if (!temporary || readOnly) return image;
        try
        {
            return new ThrowAwayOverlay(image);
        }
        catch
        {
            image.Dispose();
            throw;
        }
    }

    private static bool LooksLikeQcow2(string path)
    {
        if (HostFile.Open(path, false, out var file) != 0) return false;
        using (file)
        {
            Span<byte> magic = stackalloc byte[4];
            return file!.Read(0, magic) == 0 && BinaryPrimitives.ReadUInt32BigEndian(magic) == Qcow2Header.Magic;
        }
    }
}
