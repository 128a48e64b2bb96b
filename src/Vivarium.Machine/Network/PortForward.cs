using System.Globalization;
using System.Net;

namespace Vivarium.Machine.Network;

/// <summary>A TCP port of the host that leads to a port of the guest.</summary>
/// <param name="Address">Where the host listens.</param>
/// <param name="HostPort">The host's port; 0 lets the host choose.</param>
/// <param name="GuestPort">The guest's port.</param>
public sealed record PortForward(IPAddress Address, int HostPort, int GuestPort)
{
    /// <summary>Parses <c>HOSTPORT:GUESTPORT</c> (which listens on 127.0.0.1 only) or <c>ADDRESS:HOSTPORT:GUESTPORT</c>.</summary>
    public static bool TryParse(string text, out PortForward? forward)
    {
        forward = null;
        var guest = text.LastIndexOf(':');
        if (guest <= 0) return false;
        var host = text.LastIndexOf(':', guest - 1);
        var address = IPAddress.Loopback;
        if (host >= 0 && !IPAddress.TryParse(text.AsSpan(0, host).Trim("[]"), out address!)) return false;
        if (!TryPort(text.AsSpan(host + 1, guest - host - 1), 0, out var hostPort) || !TryPort(text.AsSpan(guest + 1), 1, out var guestPort)) return false;
        forward = new PortForward(address, hostPort, guestPort);
        return true;
    }

    private static bool TryPort(ReadOnlySpan<char> text, int least, out int port) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port >= least && port <= ushort.MaxValue;
}

/// <summary>The network cannot be set up; the message is one line for people.</summary>
public sealed class NetworkException(string message) : Exception(message);
