using Vivarium.Host;

namespace Vivarium.Machine.Disks;

/// <summary>A disk whose changes go to a nameless temporary file and vanish with the machine; the image below is only read.</summary>
/// <remarks>The temporary file is sparse and has the disk's layout; a bitmap says which blocks of 4 KiB come from it.</remarks>
public sealed class ThrowAwayOverlay : DiskImage
{
    private const int BlockSize = 4096;

    private readonly DiskImage _below;
    private readonly HostFile _changes;
    private readonly ulong[] _changed;
    private readonly byte[] _block = new byte[BlockSize];

    /// <param name="below">The image, which is closed with this one.</param>
    /// <param name="directory">Where the temporary file goes; the host's usual place for those by default.</param>
    /// <exception cref="DiskException">No temporary file can be made.</exception>
    public ThrowAwayOverlay(DiskImage below, string? directory = null)
    {
        _below = below;
        directory ??= Path.GetTempPath();
        var result = HostFile.OpenTemporary(directory, out var file);
        if (file == null)
        {
            // Some file systems have no O_TMPFILE.
            var name = Path.Combine(directory, $"viv-overlay-{Guid.NewGuid():N}");
            result = HostFile.Open(name, true, out file, createNew: true);
            if (result == 0) File.Delete(name);
        }
        _changes = file ?? throw DiskException.FromErrno("make a temporary file for the changes of", directory, result);
        _changed = new ulong[(below.Length / BlockSize / 64) + 1];
    }

    public override ulong Length => _below.Length;

    public override bool IsReadOnly => false;

    public override int Read(ulong offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var (changed, length) = Run(offset, (ulong)destination.Length);
            var piece = destination[..(int)length];
            var result = changed ? _changes.Read(offset, piece) : _below.Read(offset, piece);
            if (result != 0) return result;
            offset += length;
            destination = destination[(int)length..];
        }
        return 0;
    }

    public override int Write(ulong offset, ReadOnlySpan<byte> source)
    {
        if (source.IsEmpty) return 0;
        var end = offset + (ulong)source.Length;
        var result = FillEdges(offset, end);
        if (result == 0) result = _changes.Write(offset, source);
        if (result == 0) Mark(offset, end);
        return result;
    }

    public override int Flush() => 0; // nothing of it outlives this process

    public override int Discard(ulong offset, ulong length) => WriteZeroes(offset, length, true);

    public override int WriteZeroes(ulong offset, ulong length, bool mayDiscard)
    {
        if (length == 0) return 0;
        var result = FillEdges(offset, offset + length);
        if (result != 0) return result;
        if (_changes.PunchHole(offset, length) != 0) return WriteZeroesSlowly(offset, length);
        Mark(offset, offset + length);
        return 0;
    }

    // Blocks that a write touches only in part first get the rest from below.
    private int FillEdges(ulong start, ulong end)
    {
        var result = start % BlockSize != 0 ? Fill(start / BlockSize) : 0;
        if (result == 0 && end % BlockSize != 0) result = Fill(end / BlockSize);
        return result;
    }

    private int Fill(ulong block)
    {
        if (IsChanged(block)) return 0;
        var offset = block * BlockSize;
        var bytes = _block.AsSpan(0, (int)Math.Min(BlockSize, Length - offset));
        var result = _below.Read(offset, bytes);
        if (result == 0) result = _changes.Write(offset, bytes);
        if (result == 0) _changed[block / 64] |= 1UL << (int)(block % 64);
        return result;
    }

    private void Mark(ulong start, ulong end)
    {
        for (var block = start / BlockSize; block <= (end - 1) / BlockSize; block++) _changed[block / 64] |= 1UL << (int)(block % 64);
    }

    private (bool Changed, ulong Length) Run(ulong offset, ulong most)
    {
        var changed = IsChanged(offset / BlockSize);
        var length = Math.Min(most, BlockSize - offset % BlockSize);
        while (length < most && IsChanged((offset + length) / BlockSize) == changed) length = Math.Min(most, length + BlockSize);
        return (changed, length);
    }

    private bool IsChanged(ulong block) => (_changed[block / 64] >> (int)(block % 64) & 1) != 0;

    protected override void Dispose(bool disposing)
    {
        _changes.Dispose();
        _below.Dispose();
    }
}
