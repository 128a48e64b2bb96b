using Vivarium.Linux.Signals;
using Vivarium.Linux.Syscalls;

namespace Vivarium.Linux.Threads;

/// <summary>wait4 and waitid.</summary>
internal static class Waiting
{
    private const int WNOHANG = 1, WUNTRACED = 2, WEXITED = 4, WCONTINUED = 8, WNOWAIT = 0x01000000, WNOTHREAD = 0x20000000, WALL = 0x40000000,
        WCLONE = unchecked((int)0x80000000);

    private const int P_ALL = 0, P_PID = 1, P_PGID = 2, P_PIDFD = 3;

    /// <summary>What a wait found.</summary>
    private readonly record struct News(int Pid, uint Uid, int Status, Time.CpuTimes Cpu, ulong Peak);

    public static long Wait4(GuestThread thread, in SyscallArgs args)
    {
        int options = (int)args.A2;
        if ((options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE)) != 0) return -Errno.EINVAL;
        int pid = (int)args.A0;
        if (pid == int.MinValue) return -Errno.ESRCH;
        var (kind, id) = pid switch { > 0 => (P_PID, pid), -1 => (P_ALL, 0), 0 => (P_PGID, thread.Process.ProcessGroup), _ => (P_PGID, -pid) };
        long result = Wait(thread, kind, id, options | WEXITED, out var news);
        if (result <= 0) return result;
        if (args.A1 != 0 && !thread.Window.TryStore32(args.A1, (uint)news.Status)) return -Errno.EFAULT;
        if (args.A3 != 0 && !ProcessSyscalls.WriteUsage(thread, args.A3, news.Cpu, news.Peak)) return -Errno.EFAULT;
        return news.Pid;
    }

    public static long WaitId(GuestThread thread, in SyscallArgs args)
    {
        int options = (int)args.A3;
        if ((options & ~(WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | WNOTHREAD | WALL | WCLONE)) != 0 ||
            (options & (WEXITED | WUNTRACED | WCONTINUED)) == 0 || args.A0 > 3)
            return -Errno.EINVAL;
        var (kind, id) = ((int)args.A0, (int)args.A1);
        if (kind == P_PIDFD)
        {
            var target = thread.Process.Realm.PidFds.Find(thread, id);
            if (target == null) return -Errno.EBADF;
            (kind, id) = (P_PID, target.Pid);
        }
        if (kind == P_PGID && id == 0) id = thread.Process.ProcessGroup;
        long result = Wait(thread, kind, id, options, out var news);
        if (result < 0) return result;
        if (args.A2 != 0)
        {
            SigInfo info = default;
            if (result > 0)
            {
                int signal = news.Status & 0x7f;
                info = news.Status == 0xffff ? SigInfo.Child(SigInfo.CLD_CONTINUED, news.Pid, news.Uid, Signal.SIGCONT, 0, 0)
                    : signal == 0x7f ? SigInfo.Child(IsTracee(thread.Process, news.Pid) ? SigInfo.CLD_TRAPPED : SigInfo.CLD_STOPPED, news.Pid, news.Uid, news.Status >> 8, 0, 0)
                    : signal != 0 ? SigInfo.Child((news.Status & 0x80) != 0 ? SigInfo.CLD_DUMPED : SigInfo.CLD_KILLED, news.Pid, news.Uid, signal, 0, 0)
                    : SigInfo.Child(SigInfo.CLD_EXITED, news.Pid, news.Uid, news.Status >> 8 & 0xff, 0, 0);
            }
            if (!SignalSyscalls.WriteInfo(thread, args.A2, info)) return -Errno.EFAULT;
        }
        return args.A4 != 0 && result > 0 && !ProcessSyscalls.WriteUsage(thread, args.A4, news.Cpu, news.Peak) ? -Errno.EFAULT : 0;
    }

    private static bool IsTracee(GuestProcess process, int tid)
    {
        lock (process.Realm.Tree) return process.Tracees.Exists(thread => thread.Tid == tid);
    }

    /// <summary>The pid that news are of, 0 for none with WNOHANG, or a negative errno.</summary>
    private static long Wait(GuestThread thread, int kind, int id, int options, out News news)
    {
        var process = thread.Process;
        bool interrupted = false;
        process.AddWaiter(thread);
        try
        {
            for (;;)
            {
                bool any = false;
                lock (process.Realm.Tree)
                {
                    if (LookAtTracees(thread, kind, id, options, ref any, out news)) return news.Pid;
                    foreach (var child in process.Children)
                    {
                        if ((kind == P_PID && child.Pid != id) || (kind == P_PGID && child.ProcessGroup != id)) continue;
                        if ((options & (WALL | WCLONE)) == 0 && child.ExitSignal != Signal.SIGCHLD) continue;
                        any = true;
                        if (!Look(process, child, options, out news)) continue;
                        return news.Pid;
                    }
                }
                news = default;
                if (!any) return -Errno.ECHILD;
                if ((options & WNOHANG) != 0) return 0;
                // As the kernel does, look once more before a signal ends the wait: it may be the one that says that the child has ended.
                if (interrupted) return -Errno.ERESTARTSYS;
                interrupted = thread.Park() == -Errno.EINTR;
            }
        }
        finally
        {
            process.RemoveWaiter(thread);
        }
    }

    /// <summary>Ends and stops of what the process traces.</summary>
    private static bool LookAtTracees(GuestThread waiter, int kind, int id, int options, ref bool any, out News news)
    {
        var process = waiter.Process;
        bool keep = (options & WNOWAIT) != 0;
        for (int i = 0; i < process.EndedTracees.Count; i++)
        {
            var (tid, uid, status) = process.EndedTracees[i];
            if (kind == P_PID && tid != id || kind == P_PGID) continue;
            any = true;
            if ((options & WEXITED) == 0) continue;
            if (!keep) process.EndedTracees.RemoveAt(i);
            news = new News(tid, uid, status, default, 0);
            return true;
        }
        foreach (var thread in process.Tracees)
        {
            if (kind == P_PID && thread.Tid != id || kind == P_PGID && thread.Process.ProcessGroup != id) continue;
            if (thread.Tid != thread.Process.Pid && (options & (WALL | WCLONE)) == 0) continue;
            var tracee = thread.Tracee!;
            if ((options & WNOTHREAD) != 0 && tracee.By != waiter) continue;
            any = true;
            lock (tracee.Lock)
            {
                if (!tracee.Stopped || tracee.Reported || tracee.Listening) continue;
                if (!keep) tracee.Reported = true;
                news = new News(thread.Tid, thread.Process.Credentials.Uid, tracee.Status, tracee.Cpu, 0);
                return true;
            }
        }
        news = default;
        return false;
    }

    private static bool Look(GuestProcess parent, GuestProcess child, int options, out News news)
    {
        bool keep = (options & WNOWAIT) != 0;
        if (child.IsZombie)
        {
            news = new News(child.Pid, child.Credentials.Uid, child.WaitStatus, child.CpuTimes() + child.ChildrenCpu, Math.Max(child.PeakMemory, child.ChildrenPeak));
            if ((options & WEXITED) == 0) return false;
            if (!keep)
            {
                parent.ChildrenCpu += news.Cpu;
                parent.ChildrenPeak = Math.Max(parent.ChildrenPeak, news.Peak);
                parent.Children.Remove(child);
                parent.Realm.Processes.TryRemove(child.Pid, out _);
            }
            return true;
        }
        int state = child.StateNews;
        news = new News(child.Pid, child.Credentials.Uid, state, child.CpuTimes() + child.ChildrenCpu, 0);
        if (state == 0 || (options & (state == 0xffff ? WCONTINUED : WUNTRACED)) == 0) return false;
        if (!keep) child.StateNews = 0;
        return true;
    }
}
