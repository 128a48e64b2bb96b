namespace Vivarium.Machine.Network;

/// <summary>Answers DHCP (RFC 2131, 2132) for the one guest of a <see cref="UserNetwork"/>: always the same address.</summary>
internal static class DhcpServer
{
    private const int FixedPart = 236, MagicCookie = 0x63825363, MinimumReply = 300;
    private const byte OptionMask = 1, OptionRouter = 3, OptionNameServer = 6, OptionRequested = 50, OptionLease = 51, OptionType = 53,
        OptionServer = 54, OptionMtu = 26, OptionEnd = 255;
    private const byte Discover = 1, Offer = 2, Request = 3, Decline = 4, Acknowledge = 5, Refuse = 6, Inform = 8;
    private const uint LeaseSeconds = 86400;

    /// <summary>Writes the answer to a message of a client; returns its length, 0 for none.</summary>
    public static int Answer(ReadOnlySpan<byte> message, Span<byte> reply, uint gateway, uint nameServer, uint guest, uint mask)
    {
        if (message.Length < FixedPart + 4 || message[0] != 1 || Frames.Read32(message, FixedPart) != MagicCookie) return 0;
        byte type = 0;
        uint requested = 0, server = 0;
        for (var at = FixedPart + 4; at < message.Length && message[at] != OptionEnd;)
        {
            if (message[at] == 0)
            {
                at++;
                continue;
            }
            if (at + 1 >= message.Length || at + 2 + message[at + 1] > message.Length) return 0;
            var value = message.Slice(at + 2, message[at + 1]);
            switch (message[at])
            {
                case OptionType when value.Length == 1: type = value[0]; break;
                case OptionRequested when value.Length == 4: requested = Frames.Read32(value, 0); break;
                case OptionServer when value.Length == 4: server = Frames.Read32(value, 0); break;
            }
            at += 2 + value.Length;
        }
        if (server != 0 && server != gateway) return 0; // it chose another server
        if (requested == 0) requested = Frames.Read32(message, 12); // ciaddr of a renewal
        var answer = type switch
        {
            Discover => Offer,
            Request => requested == guest ? Acknowledge : Refuse,
            Inform => Acknowledge,
            _ => (byte)0, // DECLINE and RELEASE want no answer
        };
        if (answer == 0) return 0;

        reply[..MinimumReply].Clear();
        message[..FixedPart].CopyTo(reply); // htype, hlen, xid, flags, giaddr, chaddr as they came
        reply[0] = 2;
        reply[3] = 0;
        reply[8..12].Clear();
        if (answer == Refuse || type == Inform) Frames.Write32(reply, 16, 0);
        else Frames.Write32(reply, 16, guest);
        if (answer == Refuse) Frames.Write32(reply, 12, 0);
        Frames.Write32(reply, 20, gateway);
        reply[44..FixedPart].Clear();
        Frames.Write32(reply, FixedPart, MagicCookie);
        var end = FixedPart + 4;
        reply[end++] = OptionType;
        reply[end++] = 1;
        reply[end++] = answer;
        Put(reply, ref end, OptionServer, gateway);
        if (answer != Refuse)
        {
            Put(reply, ref end, OptionMask, mask);
            Put(reply, ref end, OptionRouter, gateway);
            Put(reply, ref end, OptionNameServer, nameServer);
            if (type != Inform) Put(reply, ref end, OptionLease, LeaseSeconds);
            reply[end++] = OptionMtu;
            reply[end++] = 2;
            Frames.Write16(reply, end, Frames.Mtu);
            end += 2;
        }
        reply[end++] = OptionEnd;
        return Math.Max(end, MinimumReply);
    }

    private static void Put(Span<byte> reply, ref int end, byte option, uint value)
    {
        reply[end] = option;
        reply[end + 1] = 4;
        Frames.Write32(reply, end + 2, value);
        end += 6;
    }
}
