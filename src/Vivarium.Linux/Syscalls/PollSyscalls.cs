namespace Vivarium.Linux.Syscalls;

/// <summary>Syscalls of the poll subsystem.</summary>
public static class PollSyscalls
{
    public static readonly SyscallRow[] Rows = [];
}
