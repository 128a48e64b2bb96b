namespace Vivarium.Linux.Syscalls;

/// <summary>Syscalls of the thread subsystem.</summary>
public static class ThreadSyscalls
{
    public static readonly SyscallRow[] Rows = [];
}
