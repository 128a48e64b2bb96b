namespace Vivarium.Linux.Syscalls;

/// <summary>Syscalls of the process subsystem.</summary>
public static class ProcessSyscalls
{
    public static readonly SyscallRow[] Rows = [];
}
