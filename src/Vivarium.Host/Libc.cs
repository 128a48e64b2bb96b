using System.Runtime.InteropServices;

namespace Vivarium.Host;

/// <summary>The two libc calls that bring up the stub page; everything after that goes through <see cref="HostSyscall"/>.</summary>
internal static partial class Libc
{
    [LibraryImport("libc", EntryPoint = "mmap")]
    public static partial nint Mmap(nint address, nuint length, int protection, int flags, int fileDescriptor, long offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    public static partial int Mprotect(nint address, nuint length, int protection);
}
