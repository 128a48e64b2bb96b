using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.Linux.Threads;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Syscalls;

/// <summary>Threads: clone, exit, futex, scheduling.</summary>
public static class ThreadSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(93, "exit", "int", Exit),
        new(94, "exit_group", "int", ExitGroup),
        new(96, "set_tid_address", "ptr", SetTidAddress),
        new(98, "futex", "ptr futex int ptr ptr hex", Futex.Call),
        new(99, "set_robust_list", "ptr size", SetRobustList),
        new(100, "get_robust_list", "int ptr ptr", GetRobustList),
        new(118, "sched_setparam", "int ptr", SetParameter),
        new(119, "sched_setscheduler", "int int ptr", SetScheduler),
        new(120, "sched_getscheduler", "int", (thread, in args) => (int)args.A0 < 0 ? -Errno.EINVAL : Find(thread, args.A0) == null ? -Errno.ESRCH : 0),
        new(121, "sched_getparam", "int ptr", GetParameter),
        new(122, "sched_setaffinity", "int size ptr", SetAffinity),
        new(123, "sched_getaffinity", "int size ptr", GetAffinity),
        new(124, "sched_yield", "", Yield),
        new(125, "sched_get_priority_max", "int", (_, in args) => args.A0 is 1 or 2 ? 99 : args.A0 is 0 or 3 or 5 ? 0 : -Errno.EINVAL),
        new(126, "sched_get_priority_min", "int", (_, in args) => args.A0 is 1 or 2 ? 1 : args.A0 is 0 or 3 or 5 ? 0 : -Errno.EINVAL),
        new(127, "sched_rr_get_interval", "int ptr", (thread, in args) => thread.Window.TryWrite(args.A1, new Timespec(0, 100_000_000)) ? 0 : -Errno.EFAULT),
        new(168, "getcpu", "ptr ptr ptr", GetCpu),
        new(178, "gettid", "", (thread, in _) => thread.Tid),
        new(220, "clone", "flags:clone ptr ptr ptr ptr", Clone),
        new(274, "sched_setattr", "int ptr hex", SetAttributes),
        new(275, "sched_getattr", "int ptr uint hex", GetAttributes),
        new(435, "clone3", "ptr size", Clone3),
    ];

    private static long Exit(GuestThread thread, in SyscallArgs args)
    {
        thread.ExitStatus = thread.Process.LastThreadStatus = ((int)args.A0 & 0xff) << 8;
        thread.ExitThread();
        return 0;
    }

    private static long ExitGroup(GuestThread thread, in SyscallArgs args)
    {
        thread.Process.BeginExit(((int)args.A0 & 0xff) << 8);
        return 0;
    }

    private static long SetTidAddress(GuestThread thread, in SyscallArgs args)
    {
        thread.ClearChildTid = args.A0;
        return thread.Tid;
    }

    private static long SetRobustList(GuestThread thread, in SyscallArgs args)
    {
        if (args.A1 != 24) return -Errno.EINVAL;
        thread.RobustList = args.A0;
        return 0;
    }

    private static long GetRobustList(GuestThread thread, in SyscallArgs args)
    {
        var target = thread;
        if (args.A0 != 0 && !thread.Process.Realm.Threads.TryGetValue((int)args.A0, out target)) return -Errno.ESRCH;
        var (mine, its) = (thread.Process.Credentials, target.Process.Credentials);
        if (target.Process != thread.Process && mine.EffectiveUid != 0 && mine.Uid != its.Uid) return -Errno.EPERM;
        return thread.Window.TryStore64(args.A1, target.RobustList) && thread.Window.TryStore64(args.A2, 24) ? 0 : -Errno.EFAULT;
    }

    private static long Clone(GuestThread thread, in SyscallArgs args) =>
        Cloning.Clone(thread, new CloneRequest
        {
            Flags = (CloneFlags)args.A0 & ~CloneFlags.SignalMask & (CloneFlags)uint.MaxValue,
            ExitSignal = (int)args.A0 & 0xff,
            Stack = args.A1,
            ParentTid = args.A2,
            Pidfd = args.A2,
            Tls = args.A3,
            ChildTid = args.A4,
        });

    /// <summary><c>struct clone_args</c> up to set_tid_size.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private record struct CloneArguments(
        ulong Flags, ulong Pidfd, ulong ChildTid, ulong ParentTid, ulong ExitSignal, ulong Stack, ulong StackSize, ulong Tls);

    private static long Clone3(GuestThread thread, in SyscallArgs args)
    {
        if (args.A1 < 64) return -Errno.EINVAL;
        if (args.A1 > 4096) return -Errno.E2BIG;
        if (!thread.Window.TryRead(args.A0, out CloneArguments a)) return -Errno.EFAULT;
        // What is longer than we know must be zero.
        const int Known = 88;
        for (ulong at = Known; at < args.A1; at++)
        {
            if (!thread.Window.TryLoad8(args.A0 + at, out byte more)) return -Errno.EFAULT;
            if (more != 0) return -Errno.E2BIG;
        }
        if ((a.Flags & (ulong)CloneFlags.SignalMask) != 0 || (a.Stack == 0) != (a.StackSize == 0) || a.ExitSignal > 64) return -Errno.EINVAL;
        return Cloning.Clone(thread, new CloneRequest
        {
            Flags = (CloneFlags)a.Flags,
            ExitSignal = (int)a.ExitSignal,
            Stack = a.Stack == 0 ? 0 : a.Stack + a.StackSize,
            ParentTid = a.ParentTid,
            Pidfd = a.Pidfd,
            Tls = a.Tls,
            ChildTid = a.ChildTid,
        });
    }

    private static GuestThread? Find(GuestThread thread, ulong tid)
    {
        if (tid == 0) return thread;
        return thread.Process.Realm.Threads.GetValueOrDefault((int)tid);
    }

    /// <summary>Only priority 0 goes with the classes that there are.</summary>
    private static long SetParameter(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || args.A1 == 0) return -Errno.EINVAL;
        if (!thread.Window.TryLoad32(args.A1, out uint priority)) return -Errno.EFAULT;
        if (Find(thread, args.A0) == null) return -Errno.ESRCH;
        return priority == 0 ? 0 : -Errno.EINVAL;
    }

    private static long SetAttributes(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || args.A1 == 0 || args.A2 != 0) return -Errno.EINVAL;
        // struct sched_attr: size, policy.
        if (!thread.Window.TryLoad32(args.A1, out uint size) || !thread.Window.TryLoad32(args.A1 + 4, out uint policy)) return -Errno.EFAULT;
        if (size is > 0 and < 48 or > 4096) return -Errno.E2BIG;
        if (Find(thread, args.A0) == null) return -Errno.ESRCH;
        return policy switch { 0 or 3 or 5 => 0, 1 or 2 or 6 => -Errno.EPERM, _ => -Errno.EINVAL };
    }

    private static long SetScheduler(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || (int)args.A1 < 0 || args.A2 == 0) return -Errno.EINVAL;
        if (Find(thread, args.A0) == null) return -Errno.ESRCH;
        // Real-time classes need a privilege that the guest's user does not have on the host.
        return (args.A1 & 0xff) switch { 0 or 3 or 5 => 0, 1 or 2 => -Errno.EPERM, _ => -Errno.EINVAL };
    }

    private static long GetParameter(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || args.A1 == 0) return -Errno.EINVAL;
        if (Find(thread, args.A0) == null) return -Errno.ESRCH;
        return thread.Window.TryStore32(args.A1, 0) ? 0 : -Errno.EFAULT;
    }

    private static long GetAttributes(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || args.A1 == 0) return -Errno.EINVAL;
        if (Find(thread, args.A0) == null) return -Errno.ESRCH;
        if (args.A2 < 48) return -Errno.EINVAL;
        Span<byte> attributes = stackalloc byte[48];
        attributes.Clear();
        attributes[0] = 48;
        return thread.Window.TryWriteBytes(args.A1, attributes) ? 0 : -Errno.EFAULT;
    }

    private static long SetAffinity(GuestThread thread, in SyscallArgs args)
    {
        var target = Find(thread, args.A0);
        if (target?.HostThread == null) return -Errno.ESRCH;
        if (!thread.Window.TryGetHostAddress(args.A2, args.A1, out long mask)) return -Errno.EFAULT;
        return HostSyscall.Invoke(203, target.HostThread.Id, (long)args.A1, mask);
    }

    private static long GetAffinity(GuestThread thread, in SyscallArgs args)
    {
        var target = Find(thread, args.A0);
        if (target?.HostThread == null) return -Errno.ESRCH;
        if (!thread.Window.TryGetHostAddress(args.A2, args.A1, out long mask)) return -Errno.EFAULT;
        return HostSyscall.Invoke(204, target.HostThread.Id, (long)args.A1, mask);
    }

    // The host is asked at most every few microseconds: where others wait for this processor that gives it to them all the same, and where nobody does
    // (the call came back at once) loops that yield cost a third. Who yields more rarely is never put off.
    private const ulong YieldInterval = 4_000;

    private static long Yield(GuestThread thread, in SyscallArgs args)
    {
        const long SchedYield = 24;
        ulong now = HostClock.Nanoseconds(1 /* CLOCK_MONOTONIC */);
        if (now - thread.LastYield < YieldInterval) return 0;
        HostSyscall.Invoke(SchedYield);
        thread.LastYield = now;
        return 0;
    }

    private static long GetCpu(GuestThread thread, in SyscallArgs args)
    {
        if (args.A0 != 0 && !thread.Window.TryStore32(args.A0, (uint)Thread.GetCurrentProcessorId())) return -Errno.EFAULT;
        return args.A1 != 0 && !thread.Window.TryStore32(args.A1, 0) ? -Errno.EFAULT : 0;
    }
}
