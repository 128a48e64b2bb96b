namespace Vivarium.Linux.Syscalls;

/// <summary>Syscalls of the time subsystem.</summary>
public static class TimeSyscalls
{
    public static readonly SyscallRow[] Rows = [];
}
