using static Vivarium.Machine.Network.Frames;

namespace Vivarium.Machine.Network;

/// <summary>A TCP segment of the guest, taken apart (RFC 9293, 3.1).</summary>
internal readonly ref struct TcpSegment
{
    public ushort SourcePort { get; private init; }

    public ushort DestinationPort { get; private init; }

    public uint Sequence { get; private init; }

    public uint Acknowledgement { get; private init; }

    public byte Flags { get; private init; }

    public ushort Window { get; private init; }

    public ReadOnlySpan<byte> Options { get; private init; }

    public ReadOnlySpan<byte> Data { get; private init; }

    /// <summary>Sequence numbers that it takes.</summary>
    public uint Length => (uint)Data.Length + ((Flags & Syn) != 0 ? 1u : 0) + ((Flags & Fin) != 0 ? 1u : 0);

    public static bool TryParse(ReadOnlySpan<byte> bytes, out TcpSegment segment)
    {
        segment = default;
        if (bytes.Length < TcpHeader) return false;
        var header = (bytes[12] >> 4) * 4;
        if (header < TcpHeader || header > bytes.Length) return false;
        segment = new TcpSegment
        {
            SourcePort = Read16(bytes, 0),
            DestinationPort = Read16(bytes, 2),
            Sequence = Read32(bytes, 4),
            Acknowledgement = Read32(bytes, 8),
            Flags = bytes[13],
            Window = Read16(bytes, 14),
            Options = bytes[TcpHeader..header],
            Data = bytes[header..],
        };
        return true;
    }

    /// <summary>The options of a SYN that matter here: the largest segment it takes, and its window scale (-1: none).</summary>
    public (int SegmentSize, int WindowScale) SynOptions()
    {
        const byte end = 0, nothing = 1, segmentSize = 2, windowScale = 3;
        var (size, scale) = (536, -1);
        for (var at = 0; at < Options.Length && Options[at] != end;)
        {
            if (Options[at] == nothing)
            {
                at++;
                continue;
            }
            if (at + 1 >= Options.Length || Options[at + 1] < 2 || at + Options[at + 1] > Options.Length) break;
            if (Options[at] == segmentSize && Options[at + 1] == 4) size = Math.Clamp((int)Read16(Options, at + 2), 64, Mtu - IpHeader - TcpHeader);
            if (Options[at] == windowScale && Options[at + 1] == 3) scale = Math.Min((int)Options[at + 2], 14);
            at += Options[at + 1];
        }
        return (size, scale);
    }
}
