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
            _registrations.Add(PosixSignalRegistration.Create((PosixSignal)RuntimeNumber(signal), context =>
            {
                context.Cancel = true;
                process.Queue(null, SigInfo.From(signal, SigInfo.SI_USER, 0, 0));
            }));
        }
    }

    /// <summary>The runtime names the common signals by negative numbers and takes the others raw.</summary>
    private static int RuntimeNumber(int signal) => signal switch
    {
        Signal.SIGHUP => (int)PosixSignal.SIGHUP,
        Signal.SIGINT => (int)PosixSignal.SIGINT,
        Signal.SIGQUIT => (int)PosixSignal.SIGQUIT,
        Signal.SIGTERM => (int)PosixSignal.SIGTERM,
        Signal.SIGCONT => (int)PosixSignal.SIGCONT,
        Signal.SIGTSTP => (int)PosixSignal.SIGTSTP,
        Signal.SIGWINCH => (int)PosixSignal.SIGWINCH,
        _ => signal,
    };

    public void Dispose()
    {
        foreach (var registration in _registrations) registration.Dispose();
    }
}
