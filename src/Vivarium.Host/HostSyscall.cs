using System.Runtime.CompilerServices;

namespace Vivarium.Host;

/// <summary>Raw x86-64 Linux syscalls: result or negative errno, no libc state involved. What may block for long and has to be
/// interruptible goes through <see cref="HostThread.BlockingSyscall"/>.</summary>
public static unsafe class HostSyscall
{
    /// <summary>Any syscall that does not wait for events (file I/O included). The GC is not held up by it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Invoke(long number, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0) =>
        // SAFETY: the stub has exactly this signature; what the kernel does with the arguments is the caller's business.
        ((delegate* unmanaged<long, long, long, long, long, long, long, long>)StubPage.Syscalls.Plain)(number, a0, a1, a2, a3, a4, a5);

    /// <summary>A syscall that always returns within microseconds (clocks, ids): no transition to native mode, so the GC waits for it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long InvokeFast(long number, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0) =>
        // SAFETY: as above.
        ((delegate* unmanaged[SuppressGCTransition]<long, long, long, long, long, long, long, long>)StubPage.Syscalls.Plain)(number, a0, a1, a2, a3, a4, a5);
}
