using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>Descriptors that stand for events: eventfd, signalfd, timerfd, inotify.</summary>
internal static class EventSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(19, "eventfd2", "uint flags:open", EventFd),
        new(26, "inotify_init1", "flags:open", INotifyInit),
        new(27, "inotify_add_watch", "fd path hex", INotifyAdd),
        new(28, "inotify_rm_watch", "fd int", INotifyRemove),
        new(74, "signalfd4", "fd ptr size flags:open", EventSignalFd.Create),
        new(85, "timerfd_create", "int flags:open", TimerCreate),
        new(86, "timerfd_settime", "fd hex ptr ptr", TimerSet),
        new(87, "timerfd_gettime", "fd ptr", TimerGet),
    ];

    private const int CloseOnExec = OpenFlags.CloseOnExec;

    private static long EventFd(GuestThread thread, in SyscallArgs args) =>
        thread.Install(HostSyscall.Invoke(HostCall.EventFd2, (uint)args.A0, (int)args.A1 | CloseOnExec), (args.A1 & CloseOnExec) != 0);

    private static long INotifyInit(GuestThread thread, in SyscallArgs args) =>
        thread.Install(HostSyscall.Invoke(HostCall.INotifyInit1, (int)args.A0 | CloseOnExec), (args.A0 & CloseOnExec) != 0);

    private static long INotifyAdd(GuestThread thread, in SyscallArgs args)
    {
        const uint DoNotFollow = 0x02000000, OnlyDirectory = 0x01000000;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        uint mask = (uint)args.A2;
        var request = new PathRequest(PathIntent.Handle, (mask & DoNotFollow) == 0)
        {
            Flags = (mask & OnlyDirectory) != 0 ? OpenFlags.Directory : 0,
            Caller = thread.Process,
            Watches = true,
            Needs = Access.Read,
        };
        var resolved = ResolvedPath.Of(thread, unchecked((ulong)At.FdCwd), args.A1, request);
        long status = resolved.Status;
        if (status >= 0)
        {
            using var name = HostScratch.Rent(32);
            HostPaths.WriteLinkName(resolved.Result.Descriptor, name.Span);
            // Nothing ever happens in a synthetic tree, but a watch there is no error.
            status = resolved.Result.Node != null ? int.MaxValue : HostSyscall.Invoke(HostCall.INotifyAddWatch, file.HostDescriptor, name.Address, mask & ~DoNotFollow);
        }
        resolved.Dispose();
        file.Release();
        return status;
    }

    private static long INotifyRemove(GuestThread thread, in SyscallArgs args) => FileSyscalls.Plain(thread, HostCall.INotifyRmWatch, args.A0, args.A1);

    private static long TimerCreate(GuestThread thread, in SyscallArgs args) =>
        thread.Install(HostSyscall.Invoke(HostCall.TimerFdCreate, (int)args.A0, (int)args.A1 | CloseOnExec), (args.A1 & CloseOnExec) != 0);

    // struct itimerspec is the same on both sides.
    private static long TimerSet(GuestThread thread, in SyscallArgs args)
    {
        if (!thread.TryHost(args.A2, 32, out long value) || !thread.TryHostOrNull(args.A3, 32, out long old)) return -Errno.EFAULT;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long status = HostSyscall.Invoke(HostCall.TimerFdSetTime, file.HostDescriptor, (int)args.A1, value, old);
        file.Release();
        return status;
    }

    private static long TimerGet(GuestThread thread, in SyscallArgs args)
    {
        if (!thread.TryHost(args.A1, 32, out long value)) return -Errno.EFAULT;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long status = HostSyscall.Invoke(HostCall.TimerFdGetTime, file.HostDescriptor, value);
        file.Release();
        return status;
    }
}
