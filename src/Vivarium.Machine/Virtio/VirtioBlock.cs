using System.Buffers.Binary;
using System.Text;
using Vivarium.Machine.Buses;
using Vivarium.Machine.Disks;

namespace Vivarium.Machine.Virtio;

/// <summary>virtio-blk (virtio 1.2, section 5.2): one queue, and one host thread that does the I/O, so that harts never wait for the host's disk.</summary>
public sealed class VirtioBlock : VirtioDevice
{
    private const ulong SegmentsFeature = 1UL << 2, ReadOnlyFeature = 1UL << 5, BlockSizeFeature = 1UL << 6, FlushFeature = 1UL << 9,
        TopologyFeature = 1UL << 10, DiscardFeature = 1UL << 13, WriteZeroesFeature = 1UL << 14;
    private const uint TypeIn = 0, TypeOut = 1, TypeFlush = 4, TypeGetId = 8, TypeDiscard = 11, TypeWriteZeroes = 13;
    private const byte StatusOk = 0, StatusIoError = 1, StatusUnsupported = 2;
    private const int SectorSize = 512, HeaderSize = 16, IdSize = 20, RangeSize = 16, MostRanges = 32;
    private const uint MostRangeSectors = 1U << 22; // 2 GiB a range: a hart never waits long for one
    private const ushort QueueSize = 256;

    private readonly DiskImage _image;
    private readonly byte[] _id = new byte[IdSize];
    private readonly DescriptorChain _chain;
    private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(1 << 20, pinned: true);
    private readonly DeviceThread _thread;

    /// <param name="memory">The machine's RAM.</param>
    /// <param name="image">The disk; closed with the device.</param>
    /// <param name="serial">At most 20 bytes of ASCII, which the guest sees as the disk's serial number.</param>
    /// <param name="name">Name of the state section and the thread.</param>
    public VirtioBlock(PhysicalMemory memory, DiskImage image, string serial = "", string name = "virtio-blk") : base(memory, name, 2, QueueSize)
    {
        _image = image;
        Encoding.ASCII.GetBytes(serial.AsSpan(0, Math.Min(serial.Length, IdSize)), _id);
        _chain = new DescriptorChain(memory);
        _thread = new DeviceThread(name, Service);
        _thread.Start();
    }

    private ulong Sectors => _image.Length / SectorSize;

    public override TimeSpan CpuTime => _thread.CpuTime;

    public override uint PciClass => 0x010000;

    protected override ulong DeviceFeatures => SegmentsFeature | BlockSizeFeature | FlushFeature | TopologyFeature
        | (_image.IsReadOnly ? ReadOnlyFeature : DiscardFeature | WriteZeroesFeature);

    protected override bool NeedsVersion1 => false;

    public override int ConfigurationSize => 60;

    protected override void FillConfiguration(Span<byte> space)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(space, Sectors);
        BinaryPrimitives.WriteUInt32LittleEndian(space[12..], QueueSize - 2); // seg_max: header and status take one each
        BinaryPrimitives.WriteUInt32LittleEndian(space[20..], SectorSize);
        space[24] = 3; // 8 logical blocks make a physical one
        BinaryPrimitives.WriteUInt16LittleEndian(space[26..], 8);
        BinaryPrimitives.WriteUInt32LittleEndian(space[28..], 128); // 64 KiB, the cluster size of images
        BinaryPrimitives.WriteUInt16LittleEndian(space[34..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(space[36..], MostRangeSectors);
        BinaryPrimitives.WriteUInt32LittleEndian(space[40..], MostRanges);
        BinaryPrimitives.WriteUInt32LittleEndian(space[44..], 8);
        BinaryPrimitives.WriteUInt32LittleEndian(space[48..], MostRangeSectors);
        BinaryPrimitives.WriteUInt32LittleEndian(space[52..], MostRanges);
        space[56] = 1; // write_zeroes_may_unmap
    }

    protected override void Wake() => _thread.Wake();

    protected override void Process()
    {
        var queue = Queues[0];
        do
        {
            queue.DisableNotifications();
            while (queue.TryPop(_chain))
            {
                if (!TryServe(out var written))
                {
                    AskForReset(); // no header or no room for the status: there is no way to answer
                    return;
                }
                queue.Push(_chain, written);
                Signal(); // now, not at the end: the guest works on it while the next one is read
            }
        }
        while (!queue.EnableNotifications());
    }

    private bool TryServe(out ulong written)
    {
        Span<byte> header = stackalloc byte[HeaderSize];
        written = 0;
        if (_chain.WritableLength == 0 || _chain.Read(0, header) != HeaderSize) return false;
        var type = BinaryPrimitives.ReadUInt32LittleEndian(header);
        var sector = BinaryPrimitives.ReadUInt64LittleEndian(header[8..]);
        var room = _chain.WritableLength - 1;
        var data = _chain.ReadableLength - HeaderSize;
        var status = type switch
        {
            TypeIn => Read(sector, room, out written),
            TypeOut => Write(sector, data),
            TypeFlush => Code(_image.Flush()),
            TypeGetId => GetId(room, out written),
            TypeDiscard or TypeWriteZeroes when !_image.IsReadOnly => Ranges(type, data),
            _ => StatusUnsupported,
        };
        _chain.Write(room, [status]);
        written++;
        return true;
    }

    private bool InRange(ulong sector, ulong bytes) => bytes % SectorSize == 0 && sector <= Sectors && bytes / SectorSize <= Sectors - sector;

    private byte Read(ulong sector, ulong bytes, out ulong written)
    {
        written = 0;
        if (!InRange(sector, bytes)) return StatusIoError;
        while (written < bytes)
        {
            var piece = _buffer.AsSpan(0, (int)Math.Min((ulong)_buffer.Length, bytes - written));
            if (_image.Read(sector * SectorSize + written, piece) != 0) return StatusIoError;
            _chain.Write(written, piece);
            written += (ulong)piece.Length;
        }
        return StatusOk;
    }

    private byte Write(ulong sector, ulong bytes)
    {
        if (!InRange(sector, bytes) || _image.IsReadOnly) return StatusIoError;
        for (ulong done = 0; done < bytes;)
        {
            var piece = _buffer.AsSpan(0, (int)Math.Min((ulong)_buffer.Length, bytes - done));
            _chain.Read(HeaderSize + done, piece);
            if (_image.Write(sector * SectorSize + done, piece) != 0) return StatusIoError;
            done += (ulong)piece.Length;
        }
        // 5.2.6.2: a driver that does not know of flushing expects writes to be durable.
        return Has(FlushFeature) ? StatusOk : Code(_image.Flush());
    }

    private byte GetId(ulong room, out ulong written)
    {
        written = Math.Min(room, IdSize);
        _chain.Write(0, _id.AsSpan(0, (int)written));
        return StatusOk;
    }

    private byte Ranges(uint type, ulong bytes)
    {
        if (bytes % RangeSize != 0 || bytes > MostRanges * RangeSize) return StatusUnsupported;
        Span<byte> range = stackalloc byte[RangeSize];
        for (ulong at = 0; at < bytes; at += RangeSize)
        {
            _chain.Read(HeaderSize + at, range);
            var sector = BinaryPrimitives.ReadUInt64LittleEndian(range);
            var sectors = BinaryPrimitives.ReadUInt32LittleEndian(range[8..]);
            var flags = BinaryPrimitives.ReadUInt32LittleEndian(range[12..]);
            if ((flags & ~1U) != 0 || (type == TypeDiscard && flags != 0)) return StatusUnsupported; // 5.2.6.2
            if (sectors > MostRangeSectors || !InRange(sector, (ulong)sectors * SectorSize)) return StatusIoError;
            var (offset, length) = (sector * SectorSize, (ulong)sectors * SectorSize);
            var result = type == TypeDiscard ? _image.Discard(offset, length) : _image.WriteZeroes(offset, length, (flags & 1) != 0);
            if (result != 0) return StatusIoError;
        }
        return Has(FlushFeature) ? StatusOk : Code(_image.Flush());
    }

    private static byte Code(int result) => result == 0 ? StatusOk : StatusIoError;

    protected override void Dispose(bool disposing)
    {
        _thread.Dispose();
        _image.Dispose();
    }
}
