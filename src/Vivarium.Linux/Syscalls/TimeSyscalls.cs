using System.Runtime.InteropServices;
using Vivarium.Linux.Time;

namespace Vivarium.Linux.Syscalls;

/// <summary>Time: clocks, sleeping, timers.</summary>
public static class TimeSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(101, "nanosleep", "timespec ptr", Nanosleep),
        new(102, "getitimer", "int ptr", GetItimer),
        new(103, "setitimer", "int itimerval ptr", SetItimer),
        new(107, "timer_create", "clock ptr ptr", TimerCreate),
        new(108, "timer_gettime", "int ptr", TimerGetTime),
        new(109, "timer_getoverrun", "int", (thread, in args) => ProcessTimers.Of(thread.Process).Find((int)args.A0)?.Overrun ?? -Errno.EINVAL),
        new(110, "timer_settime", "int hex ptr ptr", TimerSetTime),
        new(111, "timer_delete", "int", (thread, in args) => ProcessTimers.Of(thread.Process).Delete((int)args.A0) ? 0 : -Errno.EINVAL),
        new(112, "clock_settime", "clock timespec", (_, in _) => -Errno.EPERM),
        new(113, "clock_gettime", "clock ptr", ClockGetTime),
        new(114, "clock_getres", "clock ptr", ClockGetResolution),
        new(115, "clock_nanosleep", "clock int timespec ptr", ClockNanosleep),
        new(153, "times", "ptr", Times),
        new(169, "gettimeofday", "ptr ptr", GetTimeOfDay),
        new(170, "settimeofday", "ptr ptr", (_, in _) => -Errno.EPERM),
        new(171, "adjtimex", "ptr", (thread, in args) => Adjust(thread, Clocks.Realtime, args.A0)),
        new(266, "clock_adjtime", "clock ptr", (thread, in args) => Adjust(thread, (int)args.A0, args.A1)),
    ];

    // struct timex is the same on both sides; its first field says what to change. The host's clock is not the guest's to set.
    private static long Adjust(GuestThread thread, int clock, ulong address)
    {
        if (clock != Clocks.Realtime) return Clocks.TryRead(thread, clock, out _) ? -Errno.EOPNOTSUPP : -Errno.EINVAL;
        if (!thread.Window.TryLoad32(address, out uint modes) || !thread.Window.TryGetHostAddress(address, 208, out long host)) return -Errno.EFAULT;
        return modes != 0 ? -Errno.EPERM : Host.HostSyscall.Invoke(159 /* adjtimex */, host);
    }

    private static long ClockGetTime(GuestThread thread, in SyscallArgs args)
    {
        if (!Clocks.TryRead(thread, (int)args.A0, out var time)) return -Errno.EINVAL;
        return thread.Window.TryWrite(args.A1, time) ? 0 : -Errno.EFAULT;
    }

    private static long ClockGetResolution(GuestThread thread, in SyscallArgs args)
    {
        int clock = (int)args.A0;
        if (!Clocks.TryRead(thread, clock, out _)) return -Errno.EINVAL;
        long resolution = clock is Clocks.RealtimeCoarse or Clocks.MonotonicCoarse ? 4_000_000 : 1;
        return args.A1 != 0 && !thread.Window.TryWrite(args.A1, new Timespec(0, resolution)) ? -Errno.EFAULT : 0;
    }

    private static long GetTimeOfDay(GuestThread thread, in SyscallArgs args)
    {
        if (args.A0 != 0)
        {
            long now = Clocks.Now(Clocks.Realtime);
            if (!thread.Window.TryWrite(args.A0, new Timespec(now / 1_000_000_000, now % 1_000_000_000 / 1000))) return -Errno.EFAULT;
        }
        return args.A1 != 0 && !thread.Window.TryStore64(args.A1, 0) ? -Errno.EFAULT : 0;
    }

    private static long Nanosleep(GuestThread thread, in SyscallArgs args) =>
        Sleep(thread, Clocks.Monotonic, false, args.A0, args.A1);

    private static long ClockNanosleep(GuestThread thread, in SyscallArgs args)
    {
        int clock = (int)args.A0;
        if (clock == Clocks.ThreadCpu || clock is Clocks.MonotonicRaw or Clocks.RealtimeCoarse or Clocks.MonotonicCoarse || !Clocks.TryRead(thread, clock, out _))
            return -Errno.EINVAL;
        return Sleep(thread, clock, (args.A1 & 1) != 0, args.A2, args.A3);
    }

    private static long Sleep(GuestThread thread, int clock, bool absolute, ulong request, ulong remaining)
    {
        if (!thread.Window.TryRead(request, out Timespec time)) return -Errno.EFAULT;
        if (!time.IsValid) return -Errno.EINVAL;
        // Relative sleeps are on CLOCK_MONOTONIC whatever the clock (a realtime one must not be moved by settimeofday).
        int hostClock = absolute && clock is Clocks.Realtime or Clocks.Tai or Clocks.BootTime ? clock : Clocks.Monotonic;
        long deadline = absolute ? time.ToNanoseconds() : thread.Deadline(time.ToNanoseconds());
        var buffer = HostBuffer.Current;
        buffer.At<Timespec>(0) = Timespec.FromNanoseconds(deadline);
        long result = thread.HostThread!.BlockingSyscall(230 /* clock_nanosleep */, hostClock, 1, buffer.Address, 0);
        if (result != -Errno.EINTR) return result;
        if (!absolute && remaining != 0)
        {
            var left = Timespec.FromNanoseconds(Math.Max(0, deadline - GuestThread.MonotonicNow()));
            if (!thread.Window.TryWrite(remaining, left)) return -Errno.EFAULT;
        }
        return -Errno.ERESTARTNOHAND;
    }

    /// <summary><c>struct itimerval</c> and <c>itimerspec</c>: interval, then value.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private record struct Pair(Timespec Interval, Timespec Value);

    private static long FromTimeval(Timespec time) => time.Seconds > 9_000_000_000 ? long.MaxValue / 2 : time.Seconds * 1_000_000_000 + time.Nanoseconds * 1000;

    private static Timespec ToTimeval(long nanoseconds) => new(nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 / 1000);

    private static long GetItimer(GuestThread thread, in SyscallArgs args)
    {
        if (args.A0 > 2) return -Errno.EINVAL;
        var (value, interval) = ProcessTimers.Of(thread.Process).GetInterval((int)args.A0);
        return thread.Window.TryWrite(args.A1, new Pair(ToTimeval(interval), ToTimeval(value))) ? 0 : -Errno.EFAULT;
    }

    private static long SetItimer(GuestThread thread, in SyscallArgs args)
    {
        if (args.A0 > 2) return -Errno.EINVAL;
        Pair wanted = default;
        if (args.A1 != 0 && !thread.Window.TryRead(args.A1, out wanted)) return -Errno.EFAULT;
        if (wanted.Value.Seconds < 0 || wanted.Interval.Seconds < 0 || (ulong)wanted.Value.Nanoseconds >= 1_000_000 || (ulong)wanted.Interval.Nanoseconds >= 1_000_000)
            return -Errno.EINVAL;
        var (value, interval) = ProcessTimers.Of(thread.Process).SetInterval((int)args.A0, FromTimeval(wanted.Value), FromTimeval(wanted.Interval));
        return args.A2 != 0 && !thread.Window.TryWrite(args.A2, new Pair(ToTimeval(interval), ToTimeval(value))) ? -Errno.EFAULT : 0;
    }

    /// <summary><c>struct sigevent</c> up to the thread id.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private record struct SigEvent(ulong Value, int Signal, int Notify, int Tid, int Padding);

    private static long TimerCreate(GuestThread thread, in SyscallArgs args)
    {
        var request = new SigEvent(0, Signals.Signal.SIGALRM, 0, 0, 0);
        if (args.A1 != 0 && !thread.Window.TryRead(args.A1, out request)) return -Errno.EFAULT;
        long id = ProcessTimers.Of(thread.Process).Create(thread, (int)args.A0, request.Notify, request.Signal, args.A1 == 0 ? null : request.Value, request.Tid);
        if (id < 0) return id;
        return thread.Window.TryStore32(args.A2, (uint)id) ? 0 : -Errno.EFAULT;
    }

    private static long TimerGetTime(GuestThread thread, in SyscallArgs args)
    {
        var timer = ProcessTimers.Of(thread.Process).Find((int)args.A0);
        if (timer == null) return -Errno.EINVAL;
        var (value, interval) = timer.Remaining();
        return thread.Window.TryWrite(args.A1, new Pair(Timespec.FromNanoseconds(interval), Timespec.FromNanoseconds(value))) ? 0 : -Errno.EFAULT;
    }

    private static long TimerSetTime(GuestThread thread, in SyscallArgs args)
    {
        if (args.A2 == 0) return -Errno.EINVAL;
        if (!thread.Window.TryRead(args.A2, out Pair wanted)) return -Errno.EFAULT;
        if (!wanted.Value.IsValid || !wanted.Interval.IsValid) return -Errno.EINVAL;
        var timer = ProcessTimers.Of(thread.Process).Find((int)args.A0);
        if (timer == null) return -Errno.EINVAL;
        var (value, interval) = timer.Remaining();
        long deadline = wanted.Value.ToNanoseconds();
        if (deadline != 0 && (args.A1 & 1) == 0) deadline = timer.Now() + Math.Min(deadline, long.MaxValue / 2);
        timer.Arm(deadline, Math.Min(wanted.Interval.ToNanoseconds(), long.MaxValue / 2));
        return args.A3 != 0 && !thread.Window.TryWrite(args.A3, new Pair(Timespec.FromNanoseconds(interval), Timespec.FromNanoseconds(value))) ? -Errno.EFAULT : 0;
    }

    private static long Times(GuestThread thread, in SyscallArgs args)
    {
        const long Tick = 10_000_000;
        if (args.A0 != 0)
        {
            var (own, children) = (thread.Process.CpuTimes(), thread.Process.ChildrenCpu);
            Span<long> times = [own.User / Tick, own.System / Tick, children.User / Tick, children.System / Tick];
            if (!thread.Window.TryWriteBytes(args.A0, MemoryMarshal.AsBytes(times))) return -Errno.EFAULT;
        }
        return GuestThread.MonotonicNow() / Tick;
    }
}
