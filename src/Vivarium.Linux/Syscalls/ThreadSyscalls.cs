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
        new(449, "futex_waitv", "ptr uint hex timespec clock", Futex.WaitForAny),
        new(99, "set_robust_list", "ptr size", SetRobustList),
        new(100, "get_robust_list", "int ptr ptr", GetRobustList),
        new(122, "sched_setaffinity", "int size ptr", SetAffinity),
        new(123, "sched_getaffinity", "int size ptr", GetAffinity),
        new(124, "sched_yield", "", Yield),
        new(168, "getcpu", "ptr ptr ptr", GetCpu),
        new(178, "gettid", "", (thread, in _) => thread.Tid),
        new(220, "clone", "flags:clone ptr ptr ptr ptr", Clone),
        new(435, "clone3", "ptr size", Clone3),
        .. SchedulingSyscalls.Rows,
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

    internal static GuestThread? Find(GuestThread thread, ulong tid)
    {
        if (tid == 0) return thread;
        return thread.Process.Realm.Threads.GetValueOrDefault((int)tid);
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
