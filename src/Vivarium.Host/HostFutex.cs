using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

/// <summary>Futexes on words of a <see cref="MemoryWindow"/>, by the host's own futex syscall (futex(2)): the kernel compares, so a
/// remapped or unmapped word is its EFAULT. Results are the kernel's, or a negative errno.</summary>
/// <remarks>Private futexes are keyed by host address, so windows never meet; shared ones by the mapped object, so guests that map the
/// same memory in two windows do.</remarks>
public static unsafe class HostFutex
{
    private const int WakeOperation = 1, RequeueOperation = 3, CompareRequeueOperation = 4, WakeOpOperation = 5, WaitBitset = 9, WakeBitset = 10,
        PrivateFlag = 128, ClockRealtime = 256;

    /// <summary>Matches every waiter (FUTEX_BITSET_MATCH_ANY).</summary>
    public const uint AnyBit = uint.MaxValue;

    /// <summary>No deadline.</summary>
    public const long Forever = -1;

    /// <summary>Sleeps while the word is <paramref name="expected"/>: 0 woken, -11 EAGAIN another value, -110 ETIMEDOUT, -4 EINTR kicked (or any
    /// host signal), -14 EFAULT. The GC is not held up.</summary>
    /// <param name="thread">The calling thread.</param>
    /// <param name="window">Where the word is.</param>
    /// <param name="offset">Its offset; a multiple of 4.</param>
    /// <param name="expected">The value to sleep on.</param>
    /// <param name="deadlineNanoseconds">Absolute time on the clock, or <see cref="Forever"/>.</param>
    /// <param name="realtime">CLOCK_REALTIME instead of CLOCK_MONOTONIC.</param>
    /// <param name="bitset">Which wakes wake it; not 0.</param>
    /// <param name="isPrivate">Only threads that use the same window take part.</param>
    public static int Wait(HostThread thread, MemoryWindow window, ulong offset, uint expected, long deadlineNanoseconds = Forever,
        bool realtime = false, uint bitset = AnyBit, bool isPrivate = true)
    {
        if (!window.TryGetHostAddress(offset, sizeof(uint), out var address)) return -EFault;
        var operation = WaitBitset | (isPrivate ? PrivateFlag : 0) | (realtime ? ClockRealtime : 0);
        var timespec = stackalloc long[2];
        if (deadlineNanoseconds >= 0) (timespec[0], timespec[1]) = Math.DivRem(deadlineNanoseconds, 1_000_000_000);
        // A full fence: who wakes sees this sleeper, or the kernel's comparison sees what was stored before the wake.
        if (isPrivate) Interlocked.Increment(ref *Sleepers(address));
        var result = (int)thread.BlockingSyscall(SysFutex, address, operation, expected, deadlineNanoseconds < 0 ? 0 : (long)timespec, 0, bitset);
        if (isPrivate) Interlocked.Decrement(ref *Sleepers(address));
        return result;
    }

    /// <summary>A word that <see cref="WaitForAny"/> sleeps on.</summary>
    /// <param name="Offset">Where it is; a multiple of 4.</param>
    /// <param name="Expected">The value to sleep on.</param>
    /// <param name="IsPrivate">Only threads that use the same window take part.</param>
    public readonly record struct Word(ulong Offset, uint Expected, bool IsPrivate);

    /// <summary>The most words that <see cref="WaitForAny"/> takes.</summary>
    public const int MostWords = 128;

    /// <summary>futex_waitv: sleeps until one of several words is woken, and returns which; errors as <see cref="Wait"/>.</summary>
    public static int WaitForAny(HostThread thread, MemoryWindow window, ReadOnlySpan<Word> words, long deadlineNanoseconds = Forever, bool realtime = false)
    {
        const int wordSize32 = 2, clockRealtime = 0, clockMonotonic = 1;
        if (words.Length is 0 or > MostWords) return -EInval;
        var waiters = stackalloc ulong[words.Length * 3]; // struct futex_waitv: value, address, flags and nothing
        for (var i = 0; i < words.Length; i++)
        {
            if (!window.TryGetHostAddress(words[i].Offset, sizeof(uint), out var address)) return -EFault;
            (waiters[i * 3], waiters[i * 3 + 1], waiters[i * 3 + 2]) = (words[i].Expected, (ulong)address, (ulong)(wordSize32 | (words[i].IsPrivate ? PrivateFlag : 0)));
        }
        var timespec = stackalloc long[2];
        if (deadlineNanoseconds >= 0) (timespec[0], timespec[1]) = Math.DivRem(deadlineNanoseconds, 1_000_000_000);
        for (var i = 0; i < words.Length; i++) if (words[i].IsPrivate) Interlocked.Increment(ref *Sleepers((long)waiters[i * 3 + 1]));
        var result = (int)thread.BlockingSyscall(SysFutexWaitV, (long)waiters, words.Length, 0, deadlineNanoseconds < 0 ? 0 : (long)timespec, realtime ? clockRealtime : clockMonotonic);
        for (var i = 0; i < words.Length; i++) if (words[i].IsPrivate) Interlocked.Decrement(ref *Sleepers((long)waiters[i * 3 + 1]));
        return result;
    }

    // SAFETY: native memory for the process's life; the index is within it. Each bucket counts the private sleepers at the addresses that share it, so that
    // wakes of nobody, which are many, need no syscall. Private ones never meet shared ones: the kernel keys them apart.
    private static readonly int* s_sleepers = (int*)System.Runtime.InteropServices.NativeMemory.AllocZeroed(Buckets * BucketSize * sizeof(int));
    private const int Buckets = 2048, BucketSize = 4;

    // Some moved here from another word (requeue), which nobody counts: the bucket is never empty again.
    private const int Moved = 1 << 30;

    private static int* Sleepers(long address) => s_sleepers + (int)((ulong)(address >> 2) * 0x9E3779B97F4A7C15 >> 53) * BucketSize;

    private static bool MaySleep(long address)
    {
        Interlocked.MemoryBarrier();
        return Volatile.Read(ref *Sleepers(address)) != 0;
    }

    /// <summary>Wakes at most <paramref name="count"/> sleepers whose bitset meets <paramref name="bitset"/>; returns how many.</summary>
    public static int Wake(MemoryWindow window, ulong offset, int count, uint bitset = AnyBit, bool isPrivate = true)
    {
        if (!window.TryGetHostAddress(offset, sizeof(uint), out var address)) return -EFault;
        if (isPrivate && !MaySleep(address)) return 0;
        return bitset == AnyBit
            ? (int)HostSyscall.Invoke(SysFutex, address, WakeOperation | (isPrivate ? PrivateFlag : 0), count)
            : (int)HostSyscall.Invoke(SysFutex, address, WakeBitset | (isPrivate ? PrivateFlag : 0), count, 0, 0, bitset);
    }

    /// <summary>Wakes some sleepers of one word and moves others to a second; with <paramref name="expected"/> only while the first word has that
    /// value (FUTEX_CMP_REQUEUE; otherwise -11 EAGAIN). Returns how many were woken (and, with expected, moved).</summary>
    public static int Requeue(MemoryWindow window, ulong offset, ulong toOffset, int wake, int move, uint? expected, bool isPrivate = true)
    {
        if (!window.TryGetHostAddress(offset, sizeof(uint), out var address)) return -EFault;
        if (!window.TryGetHostAddress(toOffset, sizeof(uint), out var to)) return -EFault;
        if (isPrivate && move > 0) Interlocked.Or(ref *Sleepers(to), Moved);
        var operation = (expected is null ? RequeueOperation : CompareRequeueOperation) | (isPrivate ? PrivateFlag : 0);
        return (int)HostSyscall.Invoke(SysFutex, address, operation, wake, move, to, expected.GetValueOrDefault());
    }

    /// <summary>FUTEX_WAKE_OP: changes the second word as <paramref name="encodedOperation"/> says and wakes sleepers of both.</summary>
    public static int WakeOp(MemoryWindow window, ulong offset, ulong secondOffset, int wake, int wakeSecond, uint encodedOperation, bool isPrivate = true)
    {
        if (!window.TryGetHostAddress(offset, sizeof(uint), out var address)) return -EFault;
        if (!window.TryGetHostAddress(secondOffset, sizeof(uint), out var second)) return -EFault;
        return (int)HostSyscall.Invoke(SysFutex, address, WakeOpOperation | (isPrivate ? PrivateFlag : 0), wake, wakeSecond, second, encodedOperation);
    }
}
