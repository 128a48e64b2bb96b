using System.Runtime.InteropServices;

namespace Vivarium.Linux.Syscalls;

/// <summary>A thread's scheduling class as guests set it, <c>struct sched_attr</c> without its size. Kept and told, without effect: the host schedules.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct Scheduling(uint Policy, ulong Flags, int Nice, uint Priority, ulong Runtime, ulong Deadline, ulong Period)
{
    public const uint Fifo = 1, RoundRobin = 2, ByDeadline = 6, ResetOnForkBit = 0x40000000;
    public const ulong ResetOnFork = 1;

    public static Scheduling Normal => default;

    /// <summary>What a new thread or process gets.</summary>
    public Scheduling Inherited => (Flags & ResetOnFork) == 0 ? this : Policy is Fifo or RoundRobin or ByDeadline ? Normal : this with { Flags = 0 };

    public bool IsRealTime => Policy is Fifo or RoundRobin;
}

/// <summary>sched_*: classes and priorities.</summary>
internal static class SchedulingSyscalls
{
    private const int CapSysNice = 23, AttributesSize = 48, LargestSize = 4096;

    public static readonly SyscallRow[] Rows =
    [
        new(118, "sched_setparam", "int ptr", SetParameter),
        new(119, "sched_setscheduler", "int int ptr", SetScheduler),
        new(120, "sched_getscheduler", "int", GetScheduler),
        new(121, "sched_getparam", "int ptr", GetParameter),
        new(125, "sched_get_priority_max", "int", (_, in args) => args.A0 is 1 or 2 ? 99 : args.A0 is 0 or 3 or 5 or 6 ? 0 : -Errno.EINVAL),
        new(126, "sched_get_priority_min", "int", (_, in args) => args.A0 is 1 or 2 ? 1 : args.A0 is 0 or 3 or 5 or 6 ? 0 : -Errno.EINVAL),
        new(127, "sched_rr_get_interval", "int ptr", GetInterval),
        new(274, "sched_setattr", "int ptr hex", SetAttributes),
        new(275, "sched_getattr", "int ptr uint hex", GetAttributes),
    ];

    private static long Target(GuestThread thread, ulong id, out GuestThread target)
    {
        target = thread;
        if ((int)id < 0) return -Errno.EINVAL;
        if (ThreadSyscalls.Find(thread, (uint)id) is not { } found) return -Errno.ESRCH;
        target = found;
        return 0;
    }

    // Who has ended and was not waited for is still there to be asked.
    private static bool IsZombie(GuestThread thread, ulong id) => thread.Process.Realm.Processes.ContainsKey((int)id);

    // 0, or why the caller may not put the target into such a class.
    private static long Set(GuestThread thread, GuestThread target, in Scheduling wanted)
    {
        bool realTime = wanted.Policy is Scheduling.Fifo or Scheduling.RoundRobin;
        if (wanted.Policy is not (0 or 3 or 5 or Scheduling.ByDeadline) && !realTime) return -Errno.EINVAL;
        if (realTime ? wanted.Priority is < 1 or > 99 : wanted.Priority != 0) return -Errno.EINVAL;
        if (wanted.Policy == Scheduling.ByDeadline && (wanted.Runtime < 1024 || wanted.Deadline < wanted.Runtime || wanted.Period != 0 && wanted.Period < wanted.Deadline)) return -Errno.EINVAL;
        var (mine, its) = (thread.Process.Credentials, target.Process.Credentials);
        if (!mine.Has(CapSysNice))
        {
            if (mine.EffectiveUid != its.Uid && mine.EffectiveUid != its.EffectiveUid || wanted.Policy == Scheduling.ByDeadline) return -Errno.EPERM;
            if (realTime && wanted.Priority > target.Process.Limits.Soft(ResourceLimits.RealTimePriority)
                && !(wanted.Policy == target.Scheduling.Policy && wanted.Priority <= target.Scheduling.Priority)) return -Errno.EPERM;
            if ((target.Scheduling.Flags & ~wanted.Flags & Scheduling.ResetOnFork) != 0) return -Errno.EPERM;
        }
        target.Scheduling = wanted;
        return 0;
    }

    private static long SetParameter(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || args.A1 == 0) return -Errno.EINVAL;
        if (!thread.Window.TryLoad32(args.A1, out uint priority)) return -Errno.EFAULT;
        long status = Target(thread, args.A0, out var target);
        return status < 0 ? status : Set(thread, target, target.Scheduling with { Priority = priority });
    }

    private static long SetScheduler(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || (int)args.A1 < 0 || args.A2 == 0) return -Errno.EINVAL;
        if (!thread.Window.TryLoad32(args.A2, out uint priority)) return -Errno.EFAULT;
        long status = Target(thread, args.A0, out var target);
        if (status < 0) return status;
        uint policy = (uint)args.A1 & ~Scheduling.ResetOnForkBit;
        if (policy == Scheduling.ByDeadline) return -Errno.EINVAL;
        ulong flags = ((uint)args.A1 & Scheduling.ResetOnForkBit) != 0 ? Scheduling.ResetOnFork : 0;
        return Set(thread, target, new Scheduling(policy, flags, target.Process.Nice, priority, 0, 0, 0));
    }

    private static long GetScheduler(GuestThread thread, in SyscallArgs args)
    {
        long status = Target(thread, args.A0, out var target);
        if (status == -Errno.ESRCH && IsZombie(thread, args.A0)) return 0;
        return status < 0 ? status : target.Scheduling.Policy | ((target.Scheduling.Flags & Scheduling.ResetOnFork) != 0 ? Scheduling.ResetOnForkBit : 0);
    }

    private static long GetParameter(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || args.A1 == 0) return -Errno.EINVAL;
        long status = Target(thread, args.A0, out var target);
        if (status == -Errno.ESRCH && IsZombie(thread, args.A0)) return thread.Window.TryStore32(args.A1, 0) ? 0 : -Errno.EFAULT;
        return status < 0 ? status : thread.Window.TryStore32(args.A1, target.Scheduling.Priority) ? 0 : -Errno.EFAULT;
    }

    private static long GetInterval(GuestThread thread, in SyscallArgs args)
    {
        long status = Target(thread, args.A0, out var target);
        if (status < 0) return status;
        long slice = target.Scheduling.Policy switch { Scheduling.Fifo or Scheduling.ByDeadline => 0, Scheduling.RoundRobin => 100_000_000, _ => 4_000_000 };
        return thread.Window.TryWrite(args.A1, new Timespec(0, slice)) ? 0 : -Errno.EFAULT;
    }

    private static long SetAttributes(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || args.A1 == 0 || args.A2 != 0) return -Errno.EINVAL;
        if (!thread.Window.TryLoad32(args.A1, out uint size)) return -Errno.EFAULT;
        if (size is > 0 and < AttributesSize or > LargestSize)
        {
            thread.Window.TryStore32(args.A1, AttributesSize);
            return -Errno.E2BIG;
        }
        // struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period.
        Span<byte> bytes = stackalloc byte[AttributesSize];
        if (!thread.Window.TryReadBytes(args.A1, bytes)) return -Errno.EFAULT;
        var words = MemoryMarshal.Cast<byte, uint>(bytes);
        var longs = MemoryMarshal.Cast<byte, ulong>(bytes);
        long status = Target(thread, args.A0, out var target);
        if (status < 0) return status;
        const ulong known = 0x7f;
        if ((longs[1] & ~known) != 0) return -Errno.EINVAL;
        bool isOther = words[1] is 0 or 3;
        if (isOther) target.Process.Nice = Math.Clamp((int)words[4], thread.Process.Credentials.Has(CapSysNice) ? -20 : Math.Min(target.Process.Nice, 19), 19);
        return Set(thread, target, new Scheduling(words[1], longs[1], (int)words[4], words[5], longs[3], longs[4], longs[5]));
    }

    private static long GetAttributes(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A0 < 0 || args.A1 == 0 || args.A2 is < AttributesSize or > LargestSize || args.A3 != 0) return -Errno.EINVAL;
        long status = Target(thread, args.A0, out var target);
        if (status < 0) return status;
        var of = target.Scheduling;
        Span<byte> bytes = stackalloc byte[AttributesSize];
        var words = MemoryMarshal.Cast<byte, uint>(bytes);
        var longs = MemoryMarshal.Cast<byte, ulong>(bytes);
        (words[0], words[1], longs[1]) = (AttributesSize, of.Policy, of.Flags);
        (words[4], words[5]) = (of.Policy is 0 or 3 ? (uint)target.Process.Nice : 0, of.Priority);
        (longs[3], longs[4], longs[5]) = (of.Runtime, of.Deadline, of.Period);
        return thread.Window.TryWriteBytes(args.A1, bytes) ? 0 : -Errno.EFAULT;
    }
}
