using System.Runtime.CompilerServices;
using Vivarium.Host;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Syscalls;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Threads;

/// <summary>
/// pidfds: a host eventfd that becomes readable when the process ends, so that the host's poll and epoll see it, and a note which process it
/// stands for. Unlike Linux's it is also writable; nobody asks.
/// </summary>
internal sealed class PidFds
{
    private const int SysEventFd2 = 290, SysWrite = 1, SysClose = 3, SysFcntl = 72;
    private const int F_DUPFD_CLOEXEC = 1030, NonBlocking = 0x800, CloseOnExec = 0x80000;

    private readonly ConditionalWeakTable<OpenFile, GuestProcess> _processes = [];

    public static readonly SyscallRow[] Rows =
    [
        new(424, "pidfd_send_signal", "fd signal ptr hex", SendSignal),
        new(434, "pidfd_open", "int flags:open", Open),
        new(438, "pidfd_getfd", "fd fd hex", GetFd),
    ];

    /// <summary>A descriptor in the caller's table for <paramref name="process"/>, or a negative errno.</summary>
    public int Create(GuestThread thread, GuestProcess process, int flags)
    {
        long host = HostSyscall.Invoke(SysEventFd2, 0, CloseOnExec | (flags & NonBlocking));
        if (host < 0) return (int)host;
        var file = new OpenFile((int)host);
        _processes.Add(file, process);
        // The process keeps a copy of its own: the guest may close the other first, and the number would be another file's.
        int copy = (int)HostSyscall.Invoke(SysFcntl, host, F_DUPFD_CLOEXEC, 3);
        if (copy >= 0) process.AddEndEvent(copy);
        int fd = thread.Process.Files.Install(file, true, thread.Process.Limits.Soft(ResourceLimits.OpenFiles));
        if (fd < 0) file.Release();
        return fd;
    }

    /// <summary>Makes an end event readable and gives it up.</summary>
    public static void Signal(int hostEvent)
    {
        var buffer = HostBuffer.Current;
        buffer.At<long>(0) = 1;
        HostSyscall.Invoke(SysWrite, hostEvent, buffer.Address, 8);
        HostSyscall.Invoke(SysClose, hostEvent);
    }

    /// <summary>The process behind a descriptor of the caller; null where it is none.</summary>
    public GuestProcess? Find(GuestThread thread, int fd)
    {
        var file = thread.Process.Files.Acquire(fd);
        if (file == null) return null;
        if (!_processes.TryGetValue(file, out var process) && file.Node is { IsDirectory: true } node && node.Path.StartsWith("/proc/", StringComparison.Ordinal)
            && int.TryParse(node.Path.AsSpan(6), out int pid))
            thread.Process.Realm.Processes.TryGetValue(pid, out process); // pidfd_send_signal(2): a descriptor of /proc/PID will do
        file.Release();
        return process;
    }

    private static long Open(GuestThread thread, in SyscallArgs args)
    {
        if (((int)args.A1 & ~NonBlocking) != 0 || (int)args.A0 <= 0) return -Errno.EINVAL;
        if (!thread.Process.Realm.Processes.TryGetValue((int)args.A0, out var process))
            return thread.Process.Realm.Threads.ContainsKey((int)args.A0) ? -Errno.EINVAL : -Errno.ESRCH;
        return thread.Process.Realm.PidFds.Create(thread, process, (int)args.A1);
    }

    private static long SendSignal(GuestThread thread, in SyscallArgs args)
    {
        if (args.A3 != 0 || args.A1 > Signals.Signal.Count) return -Errno.EINVAL;
        var target = thread.Process.Realm.PidFds.Find(thread, (int)args.A0);
        if (target == null) return -Errno.EBADF;
        if (target.HasEnded) return -Errno.ESRCH;
        var info = SigInfo.From((int)args.A1, SigInfo.SI_USER, thread.Process.Pid, thread.Process.Credentials.Uid);
        if (args.A2 != 0)
        {
            if (!thread.Window.TryRead(args.A2, out info)) return -Errno.EFAULT;
            if (info.Signal != (int)args.A1) return -Errno.EINVAL;
            if (info.Code >= 0 && target != thread.Process) return -Errno.EPERM;
        }
        return SignalSyscalls.Send(thread.Process, target, info);
    }

    private static long GetFd(GuestThread thread, in SyscallArgs args)
    {
        if (args.A2 != 0) return -Errno.EINVAL;
        var target = thread.Process.Realm.PidFds.Find(thread, (int)args.A0);
        if (target == null) return -Errno.EBADF;
        if (target.HasEnded) return -Errno.ESRCH;
        if (thread.Process.Credentials.EffectiveUid != 0 && target.Credentials.Uid != thread.Process.Credentials.EffectiveUid) return -Errno.EPERM;
        var file = target.Files.Acquire((int)args.A1);
        if (file == null) return -Errno.EBADF;
        int fd = thread.Process.Files.Install(file, true, thread.Process.Limits.Soft(ResourceLimits.OpenFiles));
        if (fd < 0) file.Release();
        return fd;
    }
}
