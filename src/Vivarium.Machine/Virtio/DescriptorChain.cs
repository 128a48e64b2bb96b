using Vivarium.Machine.Buses;

namespace Vivarium.Machine.Virtio;

/// <summary>One request of the driver: buffers that the device reads, then buffers that it writes, all checked to lie in RAM. Filled by
/// <see cref="Virtqueue.TryPop"/> and reused, so that a running queue allocates nothing.</summary>
public sealed class DescriptorChain(PhysicalMemory memory)
{
    /// <summary>Longest chain a device takes; drivers stay far below it.</summary>
    public const int MostSegments = 1024;

    /// <summary>A piece of guest memory.</summary>
    public readonly record struct Segment(ulong Address, uint Length);

    private Segment[] _segments = new Segment[16];
    private int _count;

    /// <summary>The descriptor that names the chain in the used ring.</summary>
    public ushort Head { get; private set; }

    /// <summary>Bytes of the buffers that the device reads.</summary>
    public ulong ReadableLength { get; private set; }

    /// <summary>Bytes of the buffers that the device writes.</summary>
    public ulong WritableLength { get; private set; }

    /// <summary>The buffers that the device reads.</summary>
    public ReadOnlySpan<Segment> Readable => _segments.AsSpan(0, _readable);

    /// <summary>The buffers that the device writes.</summary>
    public ReadOnlySpan<Segment> Writable => _segments.AsSpan(_readable, _count - _readable);

    private int _readable;

    internal void Start(ushort head)
    {
        Head = head;
        ReadableLength = WritableLength = 0;
        _count = _readable = 0;
    }

    /// <summary>False where the chain is malformed: too long, a readable buffer behind a writable one, or not in RAM.</summary>
    internal bool TryAdd(ulong address, uint length, bool writable)
    {
        if (length == 0) return true;
        if (_count == MostSegments || !memory.IsRam(address, length) || (!writable && _count != _readable)) return false;
        if (_count == _segments.Length) Array.Resize(ref _segments, _count * 2);
        _segments[_count++] = new Segment(address, length);
        if (writable) WritableLength += length;
        else
        {
            ReadableLength += length;
            _readable++;
        }
        return true;
    }

    /// <summary>Copies from the readable buffers, from <paramref name="offset"/> on; returns the bytes copied.</summary>
    public int Read(ulong offset, Span<byte> destination)
    {
        var done = 0;
        foreach (var segment in Readable)
        {
            if (done == destination.Length) break;
            if (offset >= segment.Length)
            {
                offset -= segment.Length;
                continue;
            }
            var take = (int)Math.Min(segment.Length - offset, (ulong)(destination.Length - done));
            if (!memory.TryReadBytes(segment.Address + offset, destination.Slice(done, take))) break;
            done += take;
            offset = 0;
        }
        return done;
    }

    /// <summary>Copies into the writable buffers, from <paramref name="offset"/> on; returns the bytes copied.</summary>
    public int Write(ulong offset, ReadOnlySpan<byte> source)
    {
        var done = 0;
        foreach (var segment in Writable)
        {
            if (done == source.Length) break;
            if (offset >= segment.Length)
            {
                offset -= segment.Length;
                continue;
            }
            var take = (int)Math.Min(segment.Length - offset, (ulong)(source.Length - done));
            if (!memory.TryWriteBytes(segment.Address + offset, source.Slice(done, take))) break;
            done += take;
            offset = 0;
        }
        return done;
    }
}
