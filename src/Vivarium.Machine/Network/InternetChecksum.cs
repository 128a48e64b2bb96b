using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Vivarium.Machine.Network;

/// <summary>The checksum of IP, ICMP, UDP and TCP (RFC 1071), summed in the host's byte order, which gives the same bytes in the end.</summary>
internal static class InternetChecksum
{
    /// <summary>Adds bytes to a sum. All pieces but the last have an even length.</summary>
    public static ulong Add(ulong sum, ReadOnlySpan<byte> bytes)
    {
        var words = MemoryMarshal.Cast<byte, ulong>(bytes);
        foreach (var word in words)
        {
            sum += word;
            if (sum < word) sum++;
        }
        bytes = bytes[(words.Length * 8)..];
        if (bytes.IsEmpty) return sum;
        ulong last = 0;
        for (var index = 0; index < bytes.Length; index++) last |= (ulong)bytes[index] << (8 * index);
        sum += last;
        return sum < last ? sum + 1 : sum;
    }

    /// <summary>Adds the pseudo-header of UDP and TCP over IPv4.</summary>
    public static ulong AddPseudoHeader(ulong sum, uint source, uint destination, byte protocol, int length)
    {
        Span<byte> header = stackalloc byte[12];
        BinaryPrimitives.WriteUInt32BigEndian(header, source);
        BinaryPrimitives.WriteUInt32BigEndian(header[4..], destination);
        header[8] = 0;
        header[9] = protocol;
        BinaryPrimitives.WriteUInt16BigEndian(header[10..], (ushort)length);
        return Add(sum, header);
    }

    /// <summary>The sum in 16 bits, to be stored little-endian as it is (partial checksums) or complemented.</summary>
    public static ushort Fold(ulong sum)
    {
        sum = (sum & 0xffff_ffff) + (sum >> 32);
        sum = (sum & 0xffff_ffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        return (ushort)sum;
    }

    /// <summary>The checksum of one piece, to be stored little-endian.</summary>
    public static ushort Of(ReadOnlySpan<byte> bytes) => (ushort)~Fold(Add(0, bytes));
}
