namespace Vivarium.Linux.Signals;

/// <summary>A signal's disposition: <c>struct sigaction</c> of riscv64, which has no restorer.</summary>
public record struct SignalAction(ulong Handler, ulong Flags, ulong Mask)
{
    public const ulong Default = 0, Ignore = 1;
    public const ulong SA_NOCLDSTOP = 1, SA_NOCLDWAIT = 2, SA_SIGINFO = 4, SA_ONSTACK = 0x08000000, SA_RESTART = 0x10000000, SA_NODEFER = 0x40000000,
        SA_RESETHAND = 0x80000000;
}

/// <summary>The dispositions of a process (CLONE_SIGHAND shares them). Guarded by the process's lock.</summary>
public sealed class SignalActions
{
    private readonly SignalAction[] _actions = new SignalAction[Signal.Count + 1];

    public ref SignalAction this[int signal] => ref _actions[signal];

    /// <summary>Whether a signal would do nothing.</summary>
    public bool Ignores(int signal)
    {
        ulong handler = _actions[signal].Handler;
        return handler == SignalAction.Ignore || (handler == SignalAction.Default && Signal.Default(signal) == DefaultAction.Ignore);
    }

    public SignalActions Clone()
    {
        var copy = new SignalActions();
        _actions.CopyTo(copy._actions, 0);
        return copy;
    }

    /// <summary>A handler looks at memory faults, so their registers must be exact.</summary>
    public bool SeesFaults => _actions[Signal.SIGSEGV].Handler > SignalAction.Ignore || _actions[Signal.SIGBUS].Handler > SignalAction.Ignore;

    /// <summary>execve: handlers go back to default, ignored signals stay ignored.</summary>
    public void ResetHandlers()
    {
        for (int i = 1; i <= Signal.Count; i++)
            _actions[i] = new SignalAction(_actions[i].Handler == SignalAction.Ignore ? SignalAction.Ignore : SignalAction.Default, 0, 0);
    }
}
