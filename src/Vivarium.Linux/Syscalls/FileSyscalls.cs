namespace Vivarium.Linux.Syscalls;

/// <summary>Syscalls of the file subsystem.</summary>
public static class FileSyscalls
{
    public static readonly SyscallRow[] Rows = [];
}
