using System.Buffers.Binary;

namespace Vivarium.Machine.Network;

/// <summary>Offsets and numbers of Ethernet, ARP, IPv4, ICMP, UDP and TCP headers (RFC 826, 791, 792, 768, 9293).</summary>
internal static class Frames
{
    public const int EthernetHeader = 14, IpHeader = 20, UdpHeader = 8, TcpHeader = 20, IcmpHeader = 8;
    public const int Mtu = 1500;

    public const ushort TypeIp = 0x0800, TypeArp = 0x0806;
    public const byte ProtocolIcmp = 1, ProtocolTcp = 6, ProtocolUdp = 17;

    public const byte Fin = 1, Syn = 2, Rst = 4, Psh = 8, Ack = 16;

    public static ushort Read16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16BigEndian(bytes[at..]);

    public static uint Read32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32BigEndian(bytes[at..]);

    public static void Write16(Span<byte> bytes, int at, int value) => BinaryPrimitives.WriteUInt16BigEndian(bytes[at..], (ushort)value);

    public static void Write32(Span<byte> bytes, int at, uint value) => BinaryPrimitives.WriteUInt32BigEndian(bytes[at..], value);

    /// <summary>Stores a sum of <see cref="InternetChecksum"/>.</summary>
    public static void WriteSum(Span<byte> bytes, int at, ushort sum) => BinaryPrimitives.WriteUInt16LittleEndian(bytes[at..], sum);

    /// <summary>Fills an IPv4 header of 20 bytes.</summary>
    public static void WriteIpHeader(Span<byte> header, int totalLength, ushort id, ushort fragment, byte protocol, uint source, uint destination)
    {
        header[0] = 0x45;
        header[1] = 0;
        Write16(header, 2, totalLength);
        Write16(header, 4, id);
        Write16(header, 6, fragment);
        header[8] = 64;
        header[9] = protocol;
        Write16(header, 10, 0);
        Write32(header, 12, source);
        Write32(header, 16, destination);
        WriteSum(header, 10, InternetChecksum.Of(header[..IpHeader]));
    }
}
