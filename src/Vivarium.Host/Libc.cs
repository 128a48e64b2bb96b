using System.Runtime.InteropServices;

namespace Vivarium.Host;

/// <summary>The libc calls that bring up the stub page, and what is no syscall; everything else goes through <see cref="HostSyscall"/>.</summary>
internal static partial class Libc
{
    [LibraryImport("libc", EntryPoint = "mmap")]
    public static partial nint Mmap(nint address, nuint length, int protection, int flags, int fileDescriptor, long offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    public static partial int Mprotect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "getauxval")]
    public static partial ulong GetAuxiliaryValue(ulong type);

    [LibraryImport("libc", EntryPoint = "mallopt")]
    public static partial int MallOpt(int parameter, int value);
}
