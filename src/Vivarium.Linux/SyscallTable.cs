namespace Vivarium.Linux;

/// <summary>The six argument registers a0..a5 of a syscall.</summary>
public readonly record struct SyscallArgs(ulong A0, ulong A1, ulong A2, ulong A3, ulong A4, ulong A5);

/// <summary>One syscall: returns the value for a0, errors as negative errno (see <see cref="Errno"/>).</summary>
public delegate long SyscallHandler(GuestThread thread, in SyscallArgs args);

/// <summary>A row of the syscall table (numbers of asm-generic/unistd.h).</summary>
/// <param name="Number">What the guest puts into a7.</param>
/// <param name="Name">The kernel's name.</param>
/// <param name="Arguments">How strace shows the arguments, one word each: <c>fd path flags:open mode int uint hex ptr size buf:a2 str
/// signal ...</c> (see <c>Strace</c>).</param>
/// <param name="Handler">What it does.</param>
public readonly record struct SyscallRow(int Number, string Name, string Arguments, SyscallHandler Handler);
