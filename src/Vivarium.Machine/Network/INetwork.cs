namespace Vivarium.Machine.Network;

/// <summary>What goes with a frame whose checksum or segmentation is left to the other side (the fields of virtio_net_hdr; virtio 1.2, 5.1.6).</summary>
public struct FrameOffload
{
    /// <summary>The checksum from <see cref="ChecksumStart"/> on has still to be computed; its field holds the pseudo-header's sum.</summary>
    public const byte NeedsChecksum = 1;

    /// <summary>TCP over IPv4, to be cut into segments of <see cref="SegmentSize"/>.</summary>
    public const byte TcpV4 = 1;

    public byte Flags, SegmentationType;
    public ushort HeaderLength, SegmentSize, ChecksumStart, ChecksumOffset;
}

/// <summary>A guest's network card, as a network sees it. Used within <see cref="Turn"/> only.</summary>
public interface IGuestPort
{
    /// <summary>Calls <paramref name="turn"/> while the guest can neither reset nor change the card; false, without calling, while there is no
    /// driver. The driver hears of everything when it returns.</summary>
    bool Turn(Action turn);

    /// <summary>Takes the next frame that the guest sent.</summary>
    bool TryReceive(Span<byte> buffer, out int length, out FrameOffload offload);

    /// <summary>Sends a frame to the guest; false where it has no buffer for it, and the network is woken when it has.</summary>
    bool TrySend(ReadOnlySpan<byte> frame, in FrameOffload offload);

    /// <summary>Whether the guest takes frames without a checksum.</summary>
    bool TakesPartialChecksums { get; }

    /// <summary>Whether the guest takes TCP segments of up to 64 KiB.</summary>
    bool TakesLargeSegments { get; }
}

/// <summary>What a guest's network card is plugged into. It works on a thread of its own.</summary>
public interface INetwork : IDisposable
{
    /// <summary>Plugs the card in and starts. Once.</summary>
    void Start(IGuestPort port);

    /// <summary>The guest sent something, has room again, or came up. Any thread; cheap.</summary>
    void Wake();

    /// <summary>CPU time of its thread.</summary>
    TimeSpan CpuTime { get; }
}
