namespace Vivarium.Machine.Network;

/// <summary>A queue of bytes in a circular array that grows up to a limit. Not thread-safe.</summary>
internal sealed class ByteRing(int limit)
{
    private const int FirstSize = 16 * 1024;

    private byte[] _bytes = [];
    private int _head;

    /// <summary>Bytes held.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes that may still be added.</summary>
    public int Room => limit - Count;

    /// <summary>A contiguous piece of free space, to be filled from its start and then <see cref="Commit"/>ted; empty only at the limit.</summary>
    public Span<byte> Free(int wanted = FirstSize)
    {
        if (Count == 0) _head = 0;
        wanted = Math.Min(wanted, Room);
        if (_bytes.Length - Count < wanted) Grow(Count + wanted);
        var tail = _head + Count;
        if (tail >= _bytes.Length) tail -= _bytes.Length;
        var length = Math.Min(tail >= _head && Count < _bytes.Length ? _bytes.Length - tail : _head - tail, Room);
        return _bytes.AsSpan(tail, Math.Max(length, 0));
    }

    /// <summary>Adds what was put into <see cref="Free"/>.</summary>
    public void Commit(int count) => Count += count;

    /// <summary>Adds as much as fits; returns how much.</summary>
    public int Add(ReadOnlySpan<byte> bytes)
    {
        var done = 0;
        while (done < bytes.Length)
        {
            var free = Free(bytes.Length - done);
            if (free.IsEmpty) break;
            var take = Math.Min(free.Length, bytes.Length - done);
            bytes.Slice(done, take).CopyTo(free);
            Commit(take);
            done += take;
        }
        return done;
    }

    /// <summary>The first bytes, as far as they are contiguous.</summary>
    public ReadOnlySpan<byte> First => _bytes.AsSpan(_head, Math.Min(Count, _bytes.Length - _head));

    /// <summary>Copies from the middle.</summary>
    public void Copy(int offset, Span<byte> destination)
    {
        var from = _head + offset;
        if (from >= _bytes.Length) from -= _bytes.Length;
        var first = Math.Min(destination.Length, _bytes.Length - from);
        _bytes.AsSpan(from, first).CopyTo(destination);
        _bytes.AsSpan(0, destination.Length - first).CopyTo(destination[first..]);
    }

    /// <summary>Takes the first bytes away.</summary>
    public void Drop(int count)
    {
        Count -= count;
        _head += count;
        if (_head >= _bytes.Length) _head -= _bytes.Length;
    }

    private void Grow(int needed)
    {
        var size = Math.Max(_bytes.Length, FirstSize);
        while (size < needed) size *= 2;
        if (size == _bytes.Length) return;
        var bytes = new byte[Math.Min(size, Math.Max(limit, needed))];
        if (Count > 0) Copy(0, bytes.AsSpan(0, Count));
        (_bytes, _head) = (bytes, 0);
    }
}
