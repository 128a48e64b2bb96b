using System.Runtime.InteropServices;
using Vivarium.Host;

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
            InheritIgnored(process, signal);
            // Positive numbers are the host's own signal numbers.
            _registrations.Add(PosixSignalRegistration.Create((PosixSignal)signal, context =>
            {
                context.Cancel = true;
                Forward(process, signal);
            }));
        }
    }

    // What viv was started to ignore (nohup, jobs in the background of a script) its guest starts with ignored. The runtime leaves such a signal ignored on
    // the host, so a guest that asks for it later does not get those from outside.
    private static void InheritIgnored(GuestProcess process, int signal)
    {
        const long RtSigaction = 13, SignalSetSize = 8;
        var action = HostBuffer.Current;
        action.Bytes[..32].Clear();
        if (HostSyscall.Invoke(RtSigaction, signal, 0, action.Address, SignalSetSize) != 0 || action.At<ulong>(0) != SignalAction.Ignore) return;
        lock (process.Sync) process.Actions[signal] = new SignalAction(SignalAction.Ignore, 0, 0);
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
