namespace Vivarium.Host;

/// <summary>Raw x86-64 Linux syscalls that do not block for long: result or negative errno, no libc state involved.</summary>
public static class HostSyscall
{
    public static long Invoke(long number, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0) => throw new NotImplementedException();
}
