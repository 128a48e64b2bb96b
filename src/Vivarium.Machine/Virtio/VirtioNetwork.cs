using System.Buffers.Binary;
using Vivarium.Machine.Buses;
using Vivarium.Machine.Network;

namespace Vivarium.Machine.Virtio;

/// <summary>virtio-net (virtio 1.2, section 5.1): one pair of queues, checksum and TCP segmentation left to whoever does it best, and received frames
/// over several buffers, so that 64 KiB cross at once.</summary>
/// <remarks>The network's thread works on the queues; this class has none of its own.</remarks>
public sealed class VirtioNetwork : VirtioDevice, IGuestPort
{
    private const ulong ChecksumFeature = 1UL << 0, GuestChecksumFeature = 1UL << 1, MacFeature = 1UL << 5, GuestTso4Feature = 1UL << 7,
        HostTso4Feature = 1UL << 11, MergeFeature = 1UL << 15, StatusFeature = 1UL << 16;
    private const int HeaderSize = 12, LongestFrame = 65550, ReceiveQueue = 0, SendQueue = 1;

    private readonly INetwork _network;
    private readonly byte[] _mac;
    private readonly DescriptorChain _chain, _first;
    private bool _starving; // the network had more for the guest than it had buffers
    private Action? _turn;

    /// <param name="memory">The machine's RAM.</param>
    /// <param name="network">What the card is plugged into; closed with it.</param>
    /// <param name="mac">The hardware address; 52:54:00:12:34:56 by default.</param>
    /// <param name="name">Name of the state section.</param>
    public VirtioNetwork(PhysicalMemory memory, INetwork network, byte[]? mac = null, string name = "virtio-net") : base(memory, name, 1, 256, 256)
    {
        _network = network;
        _mac = mac ?? [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
        (_chain, _first) = (new DescriptorChain(memory), new DescriptorChain(memory));
        network.Start(this);
    }

    public override TimeSpan CpuTime => _network.CpuTime;

    public override uint PciClass => 0x020000;

    protected override ulong DeviceFeatures =>
        ChecksumFeature | GuestChecksumFeature | MacFeature | GuestTso4Feature | HostTso4Feature | MergeFeature | StatusFeature;

    public override int ConfigurationSize => 12;

    protected override void FillConfiguration(Span<byte> space)
    {
        _mac.CopyTo(space);
        space[6] = 1; // VIRTIO_NET_S_LINK_UP
        space[8] = 1; // one pair of queues
    }

    protected override void Wake() => _network.Wake();

    protected override void ResetDevice() => _starving = false;

    public bool TakesPartialChecksums => Has(GuestChecksumFeature);

    public bool TakesLargeSegments => Has(GuestChecksumFeature) && Has(GuestTso4Feature);

    /// <inheritdoc/>
    public bool Turn(Action turn)
    {
        _turn = turn;
        lock (Work)
        {
            if (!IsLive) return false;
            Process();
            Signal();
            return true;
        }
    }

    protected override void Process()
    {
        var (receive, send) = (Queues[ReceiveQueue], Queues[SendQueue]);
        _starving = false;
        receive.DisableNotifications();
        send.DisableNotifications();
        _turn?.Invoke();
        if (!send.EnableNotifications()) _network.Wake(); // more came, or the network left some for its next turn
        if (_starving && !receive.EnableNotifications()) _network.Wake(); // buffers came meanwhile
    }

    public bool TryReceive(Span<byte> buffer, out int length, out FrameOffload offload)
    {
        length = 0;
        offload = default;
        var queue = Queues[SendQueue];
        Span<byte> header = stackalloc byte[HeaderSize];
        while (queue.TryPop(_chain))
        {
            var total = _chain.ReadableLength;
            var taken = total >= HeaderSize && total - HeaderSize <= (ulong)Math.Min(buffer.Length, LongestFrame) && _chain.Read(0, header) == HeaderSize
                && _chain.Read(HeaderSize, buffer[..(int)(total - HeaderSize)]) == (int)(total - HeaderSize);
            queue.Push(_chain, 0);
            if (!taken) continue; // longer than any frame, or without its header: dropped like on a real cable
            length = (int)(total - HeaderSize);
            offload.Flags = header[0];
            offload.SegmentationType = header[1];
            offload.HeaderLength = BinaryPrimitives.ReadUInt16LittleEndian(header[2..]);
            offload.SegmentSize = BinaryPrimitives.ReadUInt16LittleEndian(header[4..]);
            offload.ChecksumStart = BinaryPrimitives.ReadUInt16LittleEndian(header[6..]);
            offload.ChecksumOffset = BinaryPrimitives.ReadUInt16LittleEndian(header[8..]);
            return true;
        }
        return false;
    }

    public bool TrySend(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        var queue = Queues[ReceiveQueue];
        if (!queue.TryPop(_first))
        {
            _starving = true;
            return false;
        }
        Span<byte> header = stackalloc byte[HeaderSize];
        header.Clear();
        header[0] = offload.Flags;
        header[1] = offload.SegmentationType;
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], offload.HeaderLength);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], offload.SegmentSize);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], offload.ChecksumStart);
        BinaryPrimitives.WriteUInt16LittleEndian(header[8..], offload.ChecksumOffset);
        BinaryPrimitives.WriteUInt16LittleEndian(header[10..], 1);

        var whole = _first.WritableLength;
        if (whole < HeaderSize || (!Has(MergeFeature) && whole < (ulong)(HeaderSize + frame.Length)))
        {
            // A buffer that no frame fits in: the frame is lost, as the driver wanted.
            queue.Push(_first, 0);
            return true;
        }
        var done = (int)Math.Min(whole - HeaderSize, (ulong)frame.Length);
        _first.Write(HeaderSize, frame[..done]);
        queue.PushUnpublished(_first.Head, (ulong)(HeaderSize + done), 0);
        var buffers = 1;
        while (done < frame.Length)
        {
            if (!queue.TryPop(_chain))
            {
                queue.Unpop(buffers);
                _starving = true;
                return false;
            }
            var piece = (int)Math.Min(_chain.WritableLength, (ulong)(frame.Length - done));
            _chain.Write(0, frame.Slice(done, piece));
            queue.PushUnpublished(_chain.Head, (ulong)piece, buffers++);
            done += piece;
            if (buffers > queue.Size) break;
        }
        BinaryPrimitives.WriteUInt16LittleEndian(header[10..], (ushort)buffers);
        _first.Write(0, header);
        queue.Publish(buffers);
        return true;
    }

    protected override void Dispose(bool disposing) => _network.Dispose();
}
