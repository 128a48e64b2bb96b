namespace Vivarium.Linux.Syscalls;

/// <summary>Syscalls of the socket subsystem.</summary>
public static class SocketSyscalls
{
    public static readonly SyscallRow[] Rows = [];
}
