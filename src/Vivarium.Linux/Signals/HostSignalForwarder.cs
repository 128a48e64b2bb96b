using System.Runtime.InteropServices;

namespace Vivarium.Linux.Signals;

/// <summary>Hands signals that people and shells send to the host process on to the realm's first guest process.</summary>
internal sealed class HostSignalForwarder : IDisposable
{
    private static readonly int[] s_forwarded =
    [
        Signal.SIGHUP, Signal.SIGINT, Signal.SIGQUIT, Signal.SIGTERM, Signal.SIGUSR1, Signal.SIGUSR2, Signal.SIGCONT, Signal.SIGTSTP, Signal.SIGWINCH,
    ];

    private readonly List<PosixSignalRegistration> _registrations = [];

    public HostSignalForwarder(GuestProcess process)
    {
        foreach (int signal in s_forwarded)
        {
            // Positive numbers are the host's own signal numbers.
            _registrations.Add(PosixSignalRegistration.Create((PosixSignal)signal, context =>
            {
                context.Cancel = true;
                process.Queue(null, SigInfo.From(signal, SigInfo.SI_USER, 0, 0));
            }));
        }
    }

    public void Dispose()
    {
        foreach (var registration in _registrations) registration.Dispose();
    }
}
