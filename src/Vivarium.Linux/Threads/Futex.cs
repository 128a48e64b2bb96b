using Vivarium.Host;

namespace Vivarium.Linux.Threads;

/// <summary>Futexes. Plain ones are the host's own on the window's memory; PI futexes and robust lists hold guest thread ids and are emulated.</summary>
public static class Futex
{
    private const int FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_REQUEUE = 3, FUTEX_CMP_REQUEUE = 4, FUTEX_WAKE_OP = 5, FUTEX_LOCK_PI = 6, FUTEX_UNLOCK_PI = 7,
        FUTEX_TRYLOCK_PI = 8, FUTEX_WAIT_BITSET = 9, FUTEX_WAKE_BITSET = 10, FUTEX_WAIT_REQUEUE_PI = 11, FUTEX_CMP_REQUEUE_PI = 12, FUTEX_LOCK_PI2 = 13;

    private const int PrivateFlag = 128, ClockRealtime = 256;
    private const uint Waiters = 0x80000000, OwnerDied = 0x40000000, TidMask = 0x3fffffff;

    /// <summary>The futex syscall.</summary>
    public static long Call(GuestThread thread, in SyscallArgs args)
    {
        int operation = (int)args.A1 & ~(PrivateFlag | ClockRealtime);
        bool isPrivate = (args.A1 & PrivateFlag) != 0, realtime = (args.A1 & ClockRealtime) != 0;
        var window = thread.Window;
        ulong address = args.A0;
        if (address % 4 != 0) return -Errno.EINVAL;
        switch (operation)
        {
            case FUTEX_WAKE:
                return HostFutex.Wake(window, address, (int)args.A2, isPrivate: isPrivate);
            case FUTEX_WAKE_BITSET:
                return (uint)args.A5 == 0 ? -Errno.EINVAL : HostFutex.Wake(window, address, (int)args.A2, (uint)args.A5, isPrivate);
            case FUTEX_WAIT or FUTEX_WAIT_BITSET:
            {
                uint bitset = operation == FUTEX_WAIT ? HostFutex.AnyBit : (uint)args.A5;
                if (bitset == 0) return -Errno.EINVAL;
                long error = ReadDeadline(thread, args.A3, operation == FUTEX_WAIT, out long deadline);
                if (error < 0) return error;
                return Wait(thread, address, (uint)args.A2, deadline, realtime && operation == FUTEX_WAIT_BITSET, bitset, isPrivate);
            }
            case FUTEX_REQUEUE:
                return HostFutex.Requeue(window, address, args.A4, (int)args.A2, (int)args.A3, null, isPrivate);
            case FUTEX_CMP_REQUEUE:
                return HostFutex.Requeue(window, address, args.A4, (int)args.A2, (int)args.A3, (uint)args.A5, isPrivate);
            case FUTEX_WAKE_OP:
                return HostFutex.WakeOp(window, address, args.A4, (int)args.A2, (int)args.A3, (uint)args.A5, isPrivate);
            case FUTEX_LOCK_PI or FUTEX_LOCK_PI2:
            {
                long error = ReadDeadline(thread, args.A3, false, out long deadline);
                return error < 0 ? error : LockPi(thread, address, deadline, operation == FUTEX_LOCK_PI || realtime, isPrivate);
            }
            case FUTEX_TRYLOCK_PI:
                return TryLockPi(thread, address, 0);
            case FUTEX_UNLOCK_PI:
                return UnlockPi(thread, address, isPrivate);
            case FUTEX_WAIT_REQUEUE_PI:
            {
                if (address == args.A4 || args.A4 % 4 != 0) return -Errno.EINVAL;
                long error = ReadDeadline(thread, args.A3, false, out long deadline);
                if (error < 0) return error;
                long result = Wait(thread, address, (uint)args.A2, deadline, realtime, HostFutex.AnyBit, isPrivate);
                // Others may have been moved with this one: whoever unlocks must come to the kernel.
                return result < 0 ? result : LockPi(thread, args.A4, deadline, realtime, isPrivate, Waiters);
            }
            case FUTEX_CMP_REQUEUE_PI:
                return RequeuePi(thread, address, args.A4, (int)args.A2, (int)args.A3, (uint)args.A5, isPrivate);
            default:
                return -Errno.ENOSYS;
        }
    }

    private static long ReadDeadline(GuestThread thread, ulong address, bool relative, out long deadline)
    {
        deadline = HostFutex.Forever;
        if (address == 0) return 0;
        if (!thread.Window.TryRead(address, out Timespec timeout)) return -Errno.EFAULT;
        if (!timeout.IsValid) return -Errno.EINVAL;
        deadline = timeout.ToNanoseconds();
        if (relative) deadline = thread.Deadline(deadline);
        if (deadline == long.MaxValue) deadline = HostFutex.Forever;
        return 0;
    }

    private static long Wait(GuestThread thread, ulong address, uint expected, long deadline, bool realtime, uint bitset, bool isPrivate)
    {
        if (thread.Patience.SeesChange(thread.Window, address, expected)) return -Errno.EAGAIN;
        long result = HostFutex.Wait(thread.HostThread!, thread.Window, address, expected, deadline, realtime, bitset, isPrivate);
        if (result != -Errno.EINTR) return result;
        return deadline == HostFutex.Forever ? -Errno.ERESTARTSYS : -Errno.ERESTARTNOHAND;
    }

    /// <summary>Wakes waiters of a word, private and shared ones (the kernel's own wakes at thread exit are shared).</summary>
    internal static void Wake(MemoryWindow window, ulong address, int count)
    {
        HostFutex.Wake(window, address, count, isPrivate: false);
        HostFutex.Wake(window, address, count, isPrivate: true);
    }

    private static long TryLockPi(GuestThread thread, ulong address, uint extra)
    {
        for (;;)
        {
            if (!thread.Window.TryLoad32(address, out uint value)) return -Errno.EFAULT;
            uint owner = value & TidMask;
            if (owner == (uint)thread.Tid) return -Errno.EDEADLK;
            if (owner != 0) return -Errno.EAGAIN;
            // OWNER_DIED stays set, so that the new owner learns of it.
            uint desired = (uint)thread.Tid | value & (OwnerDied | Waiters) | extra;
            if (!thread.Window.TryCompareExchange32(address, value, desired, out uint observed)) return -Errno.EFAULT;
            if (observed == value) return 0;
        }
    }

    private static long LockPi(GuestThread thread, ulong address, long deadline, bool realtime, bool isPrivate, uint extra = 0)
    {
        for (;;)
        {
            long result = TryLockPi(thread, address, extra);
            if (result != -Errno.EAGAIN) return result;
            if (!thread.Window.TryLoad32(address, out uint value)) return -Errno.EFAULT;
            if ((value & TidMask) == 0) continue;
            if (!thread.Process.Realm.Threads.ContainsKey((int)(value & TidMask))) return -Errno.ESRCH;
            if ((value & Waiters) == 0)
            {
                if (!thread.Window.TryCompareExchange32(address, value, value | Waiters, out uint observed)) return -Errno.EFAULT;
                if (observed != value) continue;
                value |= Waiters;
            }
            // Having waited, others may wait too: take the lock with the waiters bit set, so that unlock comes to us.
            extra = Waiters;
            result = HostFutex.Wait(thread.HostThread!, thread.Window, address, value, deadline, realtime, HostFutex.AnyBit, isPrivate);
            if (result == -Errno.EINTR) return -Errno.ERESTARTSYS;
            if (result is not (0 or -Errno.EAGAIN)) return result;
        }
    }

    /// <summary>FUTEX_CMP_REQUEUE_PI: who waits for a word waits for the PI futex from now on, and the first of them has it where it is free. Nobody is woken
    /// to wait again.</summary>
    private static long RequeuePi(GuestThread thread, ulong address, ulong to, int wake, int move, uint expected, bool isPrivate)
    {
        var window = thread.Window;
        if (wake != 1 || move < 0 || to % 4 != 0 || to == address) return -Errno.EINVAL;
        bool isFree;
        for (;;)
        {
            // Before any is there: whoever unlocks has to wake the next.
            if (!window.TryLoad32(to, out uint value)) return -Errno.EFAULT;
            isFree = (value & TidMask) == 0;
            if ((value & Waiters) != 0) break;
            if (!window.TryCompareExchange32(to, value, value | Waiters, out uint observed)) return -Errno.EFAULT;
            if (observed == value) break;
        }
        long result = HostFutex.Requeue(window, address, to, isFree ? 1 : 0, (int)Math.Min((long)move + (isFree ? 0 : 1), int.MaxValue), expected, isPrivate);
        // Unlocked meanwhile, perhaps before they were there: one of them takes it.
        if (!isFree && result > 0 && window.TryLoad32(to, out uint now) && (now & TidMask) == 0) HostFutex.Wake(window, to, 1, isPrivate: isPrivate);
        return result;
    }

    /// <summary>The futex_waitv syscall.</summary>
    public static long WaitForAny(GuestThread thread, in SyscallArgs args)
    {
        const int entrySize = 24, wordSize32 = 2, clockRealtime = 0, clockMonotonic = 1;
        var (address, count, clock) = (args.A0, (uint)args.A1, (int)args.A4);
        if ((uint)args.A2 != 0 || count is 0 or > HostFutex.MostWords || address == 0) return -Errno.EINVAL;
        long deadline = HostFutex.Forever;
        if (args.A3 != 0)
        {
            if (clock is not (clockRealtime or clockMonotonic)) return -Errno.EINVAL;
            long error = ReadDeadline(thread, args.A3, false, out deadline);
            if (error < 0) return error;
        }
        Span<HostFutex.Word> words = stackalloc HostFutex.Word[(int)count];
        for (int i = 0; i < words.Length; i++)
        {
            ulong entry = address + (ulong)(i * entrySize);
            if (!thread.Window.TryLoad64(entry, out ulong value) || !thread.Window.TryLoad64(entry + 8, out ulong word) || !thread.Window.TryLoad64(entry + 16, out ulong flags)) return -Errno.EFAULT;
            if (flags >> 32 != 0 || (flags & ~(ulong)PrivateFlag) != wordSize32 || word % 4 != 0 || value >> 32 != 0) return -Errno.EINVAL;
            words[i] = new HostFutex.Word(word, (uint)value, (flags & PrivateFlag) != 0);
        }
        long result = HostFutex.WaitForAny(thread.HostThread!, thread.Window, words, deadline, clock == clockRealtime);
        if (result != -Errno.EINTR) return result;
        return deadline == HostFutex.Forever ? -Errno.ERESTARTSYS : -Errno.ERESTARTNOHAND;
    }

    private static long UnlockPi(GuestThread thread, ulong address, bool isPrivate)
    {
        for (;;)
        {
            if (!thread.Window.TryLoad32(address, out uint value)) return -Errno.EFAULT;
            if ((value & TidMask) != (uint)thread.Tid) return -Errno.EPERM;
            if (!thread.Window.TryCompareExchange32(address, value, 0, out uint observed)) return -Errno.EFAULT;
            if (observed != value) continue;
            HostFutex.Wake(thread.Window, address, 1, isPrivate: isPrivate);
            return 0;
        }
    }

    /// <summary>At a thread's end: marks the robust mutexes that it holds as orphaned and wakes one waiter of each.</summary>
    internal static void ReleaseRobustList(GuestThread thread)
    {
        const int Limit = 2048;
        var window = thread.Window;
        ulong head = thread.RobustList;
        if (head == 0 || !window.TryLoad64(head, out ulong entry) || !window.TryLoad64(head + 8, out ulong offset) ||
            !window.TryLoad64(head + 16, out ulong pending))
            return;
        for (int i = 0; i < Limit && (entry & ~1UL) != head; i++)
        {
            if (!window.TryLoad64(entry & ~1UL, out ulong next)) return;
            if (entry != pending) ReleaseDead(thread, (entry & ~1UL) + offset);
            entry = next;
        }
        if (pending != 0) ReleaseDead(thread, (pending & ~1UL) + offset);
    }

    private static void ReleaseDead(GuestThread thread, ulong address)
    {
        for (;;)
        {
            if (!thread.Window.TryLoad32(address, out uint value) || (value & TidMask) != (uint)thread.Tid) return;
            if (!thread.Window.TryCompareExchange32(address, value, value & Waiters | OwnerDied, out uint observed)) return;
            if (observed != value) continue;
            if ((value & Waiters) != 0) Wake(thread.Window, address, 1);
            return;
        }
    }
}
