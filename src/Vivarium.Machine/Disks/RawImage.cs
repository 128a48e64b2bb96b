using Vivarium.Host;

namespace Vivarium.Machine.Disks;

/// <summary>A raw image: a regular file or a block device whose bytes are the disk's.</summary>
public sealed class RawImage : DiskImage
{
    private const int ENotSup = 95, ENoSys = 38, EInval = 22, EReadOnly = 30;

    private readonly HostFile _file;
    private bool _noHoles, _noZeroRange;

    private RawImage(HostFile file, ulong length) => (_file, Length) = (file, length);

    public override ulong Length { get; }

    public override bool IsReadOnly => !_file.IsWritable;

    /// <summary>Opens one and locks it: several readers, or one writer.</summary>
    /// <exception cref="DiskException">It cannot be opened, or another machine uses it.</exception>
    public static RawImage Open(string path, bool readOnly)
    {
        var file = DiskFile.Open(path, readOnly);
        var length = file.Length;
        if (length >= 0) return new RawImage(file, (ulong)length);
        file.Dispose();
        throw DiskException.FromErrno("size", path, (int)length);
    }

    public override int Read(ulong offset, Span<byte> destination) => _file.Read(offset, destination);

    public override int Write(ulong offset, ReadOnlySpan<byte> source) => IsReadOnly ? -EReadOnly : _file.Write(offset, source);

    public override int Flush() => IsReadOnly ? 0 : _file.Sync();

    public override int Discard(ulong offset, ulong length)
    {
        if (IsReadOnly) return -EReadOnly;
        if (_noHoles || length == 0) return 0;
        var result = _file.PunchHole(offset, length);
        if (result is not (-ENotSup or -ENoSys or -EInval)) return result;
        _noHoles = true; // the file system cannot: a discard is only advice
        return 0;
    }

    public override int WriteZeroes(ulong offset, ulong length, bool mayDiscard)
    {
        if (IsReadOnly) return -EReadOnly;
        if (length == 0) return 0;
        // A hole in a file reads as zero; a discarded range of a block device may not.
        if (mayDiscard && !_noHoles && !_file.IsBlockDevice && _file.PunchHole(offset, length) == 0) return 0;
        if (!_noZeroRange)
        {
            var result = _file.ZeroRange(offset, length);
            if (result is not (-ENotSup or -ENoSys or -EInval)) return result;
            _noZeroRange = true;
        }
        return WriteZeroesSlowly(offset, length);
    }

    protected override void Dispose(bool disposing) => _file.Dispose();
}

/// <summary>Opening of image files.</summary>
internal static class DiskFile
{
    public static HostFile Open(string path, bool readOnly)
    {
        var result = HostFile.Open(path, !readOnly, out var file);
        if (result == -22) throw new DiskException($"cannot open disk '{path}': neither a file nor a block device");
        if (file == null) throw DiskException.FromErrno("open", path, result);
        if (file.TryLock(exclusive: !readOnly) != -11) return file; // file systems without locks do without
        file.Dispose();
        throw new DiskException($"cannot open disk '{path}': another machine uses it");
    }
}
