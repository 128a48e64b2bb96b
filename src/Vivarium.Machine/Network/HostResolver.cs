using System.Net;

namespace Vivarium.Machine.Network;

/// <summary>The name server that the host uses (resolv.conf(5)), looked up again when it is some seconds old.</summary>
internal sealed class HostResolver(string path = "/etc/resolv.conf")
{
    private const long KeepMilliseconds = 5000;

    private IPEndPoint? _server;
    private long _read = long.MinValue / 2;

    /// <summary>Where queries go; null where the host has no name server.</summary>
    public IPEndPoint? Server
    {
        get
        {
            if (Environment.TickCount64 - _read < KeepMilliseconds) return _server;
            _read = Environment.TickCount64;
            _server = null;
            try
            {
                foreach (var line in File.ReadLines(path))
                {
                    var words = line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
                    if (words.Length < 2 || words[0] != "nameserver" || !IPAddress.TryParse(words[1], out var address)) continue;
                    _server = new IPEndPoint(address, 53);
                    break;
                }
            }
            catch (IOException)
            {
                // no file, no name server
            }
            catch (UnauthorizedAccessException)
            {
            }
            return _server;
        }
    }
}
