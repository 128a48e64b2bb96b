namespace Vivarium.Linux.Syscalls;

/// <summary>Syscalls of the memory subsystem.</summary>
public static class MemorySyscalls
{
    public static readonly SyscallRow[] Rows = [];
}
