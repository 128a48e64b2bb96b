using System.Runtime.InteropServices;

namespace Vivarium.Linux.Signals;

/// <summary>Hands signals that people and shells send to the host process on to the realm: what a terminal sends, to the foreground process
/// group; the rest, to the first process.</summary>
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
                Forward(process, signal);
            }));
        }
    }

    private static void Forward(GuestProcess first, int signal)
    {
        var info = SigInfo.From(signal, SigInfo.SI_USER, 0, 0);
        int group = first.Realm.Foreground;
        bool any = false;
        if (group != 0 && signal is Signal.SIGINT or Signal.SIGQUIT or Signal.SIGTSTP or Signal.SIGWINCH)
        {
            foreach (var process in first.Realm.Processes.Values)
            {
                if (process.ProcessGroup != group || process.HasEnded) continue;
                process.Queue(null, info);
                any = true;
            }
        }
        if (!any) first.Queue(null, info);
    }

    public void Dispose()
    {
        foreach (var registration in _registrations) registration.Dispose();
    }
}
