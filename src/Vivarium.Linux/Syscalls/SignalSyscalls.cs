namespace Vivarium.Linux.Syscalls;

/// <summary>Syscalls of the signal subsystem.</summary>
public static class SignalSyscalls
{
    public static readonly SyscallRow[] Rows = [];
}
