using System.Globalization;
using Vivarium.Host;

namespace Vivarium.Linux.Vfs;

/// <summary>How much a bounded tmpfs may hold (<c>size=</c>). Writes take from what was free when the tree was last counted; it is counted again
/// when that is used up.</summary>
/// <remarks>Thread-safe. Memory written through a mapping is not held up, but counted; files without a name are not.</remarks>
internal sealed class TemporarySpace(ulong size, string directory)
{
    private readonly Lock _lock = new();
    private ulong _free;

    /// <summary>Bytes.</summary>
    public ulong Size { get; } = size;

    /// <summary>How many of <paramref name="bytes"/> may be written now; 0 is ENOSPC.</summary>
    public ulong Take(ulong bytes)
    {
        lock (_lock)
        {
            if (_free < bytes) _free = CountFree();
            ulong taken = Math.Min(bytes, _free);
            _free -= taken;
            return taken;
        }
    }

    /// <summary>Bytes that are free.</summary>
    public ulong CountFree()
    {
        ulong used = 0;
        var seen = new HashSet<ulong>();
        Count(directory, ref used, seen);
        return used < Size ? Size - used : 0;
    }

    private static void Count(string path, ref ulong used, HashSet<ulong> seen)
    {
        string[] names;
        try
        {
            names = Directory.GetFileSystemEntries(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return; // gone meanwhile
        }
        foreach (string name in names)
        {
            using var host = HostName.Of(System.Text.Encoding.UTF8.GetBytes(name));
            if (FileStat.OfPath(At.FdCwd, host.Address, At.SymlinkNoFollow, out var stat) < 0) continue;
            if ((stat.Mode & FileType.Mask) == FileType.Directory) Count(name, ref used, seen);
            else if (stat.Links == 1 || seen.Add(stat.Inode)) used += (ulong)stat.Blocks * 512;
        }
    }

    /// <summary>The value of <c>size=</c> among mount options: bytes, with k, m, g or a percentage of the host's memory; null for none or 0 (no bound).
    /// False where it is no size.</summary>
    public static bool TryParse(string options, out ulong? size)
    {
        size = null;
        foreach (string option in options.Split(','))
        {
            if (!option.StartsWith("size=", StringComparison.Ordinal)) continue;
            string text = option[5..];
            if (text.Length == 0) return false;
            char unit = char.ToLowerInvariant(text[^1]);
            int shift = unit switch { 'k' => 10, 'm' => 20, 'g' => 30, _ => 0 };
            if (!ulong.TryParse(shift != 0 || unit == '%' ? text[..^1] : text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong number)) return false;
            if (number > ulong.MaxValue >> 30) return false;
            ulong bytes = unit == '%' ? (ulong)GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 100 * number : number << shift;
            size = bytes == 0 ? null : (bytes + 4095) & ~4095UL;
        }
        return true;
    }
}
