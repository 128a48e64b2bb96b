namespace Vivarium.Linux.Threads;

/// <summary>New processes: fork and vfork.</summary>
internal static class Forking
{
    public static long NewProcess(GuestThread parent, in CloneRequest request) => -Errno.ENOSYS;
}
