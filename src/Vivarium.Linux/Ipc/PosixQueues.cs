using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Ipc;

/// <summary>A POSIX message queue that a guest has open: what the host does not know of it.</summary>
internal sealed class PosixQueue
{
    /// <summary>Threads in mq_receive.</summary>
    public int Receivers;

    /// <summary>Who is told of the next message to the empty queue (mq_notify); null for nobody. Guarded by this object.</summary>
    public QueueRegistration? Registration;

    public volatile bool HasRegistration;
}

/// <summary>Who wants to know of a message: a signal (0 for none), or a line on a socket that a thread of the guest's C library waits at (SIGEV_THREAD).</summary>
internal sealed record QueueRegistration(GuestProcess Process, int Signal, ulong Value)
{
    /// <summary>struct sigevent's cookie; its last byte says what happened.</summary>
    public const int CookieSize = 32;
    public const byte WokenUp = 1, Removed = 2;

    public OpenFile? Socket { get; init; }

    /// <summary>The host's descriptor at the other end of the socket.</summary>
    public int Sender { get; init; }

    public byte[] Cookie { get; init; } = [];

    /// <summary>Sends the cookie and lets the socket go.</summary>
    public void Tell(byte what)
    {
        if (Socket == null) return;
        const int DontWait = 0x40, NoSignal = 0x4000;
        Cookie[^1] = what;
        using var text = HostScratch.Rent(CookieSize);
        Cookie.CopyTo(text.Span);
        HostSyscall.Invoke(HostCall.SendTo, Sender, text.Address, CookieSize, DontWait | NoSignal);
        Socket.Release();
    }
}

/// <summary>
/// POSIX message queues of a realm. A queue is a queue of the host, under a name that only this realm uses, so that blocking, priorities and poll are
/// the kernel's; notification is ours, since the host would signal viv. The host's limits hold for all guests together.
/// </summary>
/// <remarks>Thread-safe.</remarks>
internal sealed class PosixQueues : IDisposable
{
    private readonly string _prefix = $"viv-{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..8]}-";
    private readonly ConcurrentDictionary<string, byte> _names = new();
    private readonly ConcurrentDictionary<ulong, PosixQueue> _byInode = new();

    public HostName HostName(string name) => Vfs.HostName.Of(Encoding.Latin1.GetBytes(name.Contains('/') ? name : _prefix + name));

    public void Opened(string name) => _names[name] = 0;

    public void Unlinked(string name) => _names.TryRemove(name, out _);

    public PosixQueue Of(ulong inode) => _byInode.GetOrAdd(inode, static _ => new PosixQueue());

    /// <summary>The realm is gone: so are its queues.</summary>
    public void Dispose()
    {
        foreach (string name in _names.Keys)
        {
            using var host = HostName(name);
            HostSyscall.Invoke(PosixQueueSyscalls.HostUnlink, host.Address);
        }
    }
}

/// <summary>mq_open and its kin.</summary>
internal static class PosixQueueSyscalls
{
    private const long HostOpen = 240, HostSend = 242, HostReceive = 243, HostAttributes = 245;
    internal const long HostUnlink = 241;
    private const int CreateFlag = 0x40, NameMaximum = 255, AttributesSize = 64;
    private const int SIGEV_SIGNAL = 0, SIGEV_NONE = 1, SIGEV_THREAD = 2;

    public static readonly SyscallRow[] Rows =
    [
        new(180, "mq_open", "str flags:open mode ptr", Open),
        new(181, "mq_unlink", "str", Unlink),
        new(182, "mq_timedsend", "int buf:a2 size uint timespec", Send),
        new(183, "mq_timedreceive", "int ptr size ptr timespec", Receive),
        new(184, "mq_notify", "int ptr", Notify),
        new(185, "mq_getsetattr", "int ptr ptr", Attributes),
    ];

    private static long Open(GuestThread thread, in SyscallArgs args)
    {
        string? name = thread.Window.ReadString(args.A0, NameMaximum, out int error);
        if (name == null) return error;
        if (name.Length == 0) return -Errno.ENOENT;
        bool creates = (args.A1 & CreateFlag) != 0;
        long attributes = 0;
        if (creates && !thread.TryHostOrNull(args.A3, AttributesSize, out attributes)) return -Errno.EFAULT;
        var process = thread.Process;
        var queues = process.Realm.PosixQueues;
        HostUmask.Apply(process.Fs.Umask);
        long descriptor;
        using (var host = queues.HostName(name))
        using (process.Fs.Space.Owners is { Real: true } ? HostOwner.As(process.Credentials, rights: false) : default) descriptor = HostSyscall.Invoke(HostOpen, host.Address, (long)args.A1, (long)args.A2, attributes);
        if (descriptor < 0) return descriptor;
        if (creates) queues.Opened(name);
        FileStat.OfDescriptor((int)descriptor, out var stat);
        var file = new OpenFile((int)descriptor) { Queue = queues.Of(stat.Inode) };
        int fd = process.Files.Install(file, closeOnExec: true, process.Limits.Soft(ResourceLimits.OpenFiles));
        if (fd < 0) file.Release();
        return fd;
    }

    private static long Unlink(GuestThread thread, in SyscallArgs args)
    {
        string? name = thread.Window.ReadString(args.A0, NameMaximum, out int error);
        if (name == null) return error;
        if (name.Length == 0) return -Errno.ENOENT;
        var queues = thread.Process.Realm.PosixQueues;
        using var owner = thread.Process.Fs.Space.Owners is { Real: true } ? HostOwner.As(thread.Process.Credentials, rights: false) : default;
        using var host = queues.HostName(name);
        long status = HostSyscall.Invoke(HostUnlink, host.Address);
        if (status == 0) queues.Unlinked(name);
        return status;
    }

    private static long Send(GuestThread thread, in SyscallArgs args)
    {
        if (!thread.TryHost(args.A1, args.A2, out long text) || !thread.TryHostOrNull(args.A4, 16, out long timeout)) return -Errno.EFAULT;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        var queue = file.Queue;
        bool tells = queue is { HasRegistration: true } && Volatile.Read(ref queue.Receivers) == 0 && IsEmpty(file.HostDescriptor);
        long result = thread.Block(HostSend, file.HostDescriptor, text, (long)args.A2, (long)args.A3, timeout);
        if (result == 0 && tells) Tell(thread, queue!);
        file.Release();
        return result;
    }

    private static long Receive(GuestThread thread, in SyscallArgs args)
    {
        if (!thread.TryHost(args.A1, args.A2, out long text) || !thread.TryHostOrNull(args.A3, 4, out long priority)
            || !thread.TryHostOrNull(args.A4, 16, out long timeout)) return -Errno.EFAULT;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        if (file.Queue is { } queue) Interlocked.Increment(ref queue.Receivers);
        long result = thread.Block(HostReceive, file.HostDescriptor, text, (long)args.A2, priority, timeout);
        if (file.Queue is { } left) Interlocked.Decrement(ref left.Receivers);
        file.Release();
        return result;
    }

    private static bool IsEmpty(int descriptor)
    {
        using var buffer = HostScratch.Rent(AttributesSize);
        // struct mq_attr: flags, maxmsg, msgsize, curmsgs.
        return HostSyscall.Invoke(HostAttributes, descriptor, 0, buffer.Address) == 0 && MemoryMarshal.Read<long>(buffer.Span[24..]) == 0;
    }

    private static void Tell(GuestThread sender, PosixQueue queue)
    {
        QueueRegistration registration;
        lock (queue)
        {
            if (queue.Registration is not { } found) return;
            registration = found;
            queue.Registration = null;
            queue.HasRegistration = false;
        }
        registration.Tell(QueueRegistration.WokenUp);
        if (registration.Signal == 0 || registration.Process.HasEnded) return;
        var who = sender.Process;
        registration.Process.Queue(null, SigInfo.From(registration.Signal, SigInfo.SI_MESGQ, who.Pid, who.Credentials.Uid) with { Field1 = registration.Value });
    }

    private static long Notify(GuestThread thread, in SyscallArgs args)
    {
        // struct sigevent: value, signal, kind.
        ulong value = 0, kinds = 0;
        if (args.A1 != 0 && !(thread.Window.TryLoad64(args.A1, out value) && thread.Window.TryLoad64(args.A1 + 8, out kinds))) return -Errno.EFAULT;
        int signal = (int)kinds, kind = (int)(kinds >> 32);
        if (args.A1 != 0 && (kind is not (SIGEV_SIGNAL or SIGEV_NONE or SIGEV_THREAD) || kind == SIGEV_SIGNAL && !Signal.IsValid(signal))) return -Errno.EINVAL;
        QueueRegistration? made = null;
        if (args.A1 != 0 && kind != SIGEV_THREAD) made = new QueueRegistration(thread.Process, kind == SIGEV_SIGNAL ? signal : 0, value);
        else if (args.A1 != 0 && WithThread(thread, signal, value, out made) is < 0 and var error) return error;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null)
        {
            made?.Socket?.Release();
            return -Errno.EBADF;
        }
        long result = 0;
        if (file.Queue is not { } queue) result = -Errno.EBADF;
        else
        {
            lock (queue)
            {
                bool taken = queue.Registration is { } other && !other.Process.HasEnded;
                if (made == null)
                {
                    if (taken && queue.Registration!.Process == thread.Process)
                    {
                        queue.Registration.Tell(QueueRegistration.Removed);
                        queue.Registration = null;
                    }
                }
                else if (taken) result = -Errno.EBUSY;
                else
                {
                    queue.Registration?.Socket?.Release();
                    (queue.Registration, made) = (made, null);
                }
                queue.HasRegistration = queue.Registration != null;
            }
        }
        file.Release();
        made?.Socket?.Release();
        return result;
    }

    /// <summary>SIGEV_THREAD: <paramref name="fd"/> is a netlink socket that a thread reads cookies from. No host sends them there for us, so a pair of sockets
    /// takes its place; who reads already begins anew.</summary>
    private static long WithThread(GuestThread thread, int fd, ulong cookieAddress, out QueueRegistration? registration)
    {
        const int AF_UNIX = 1, AF_NETLINK = 16, Datagram = 2 | 0x80000, SOL_SOCKET = 1, SO_DOMAIN = 39;
        registration = null;
        var cookie = new byte[QueueRegistration.CookieSize];
        if (thread.Get(cookieAddress, cookie) < 0) return -Errno.EFAULT;
        var files = thread.Process.Files;
        var socket = files.Acquire(fd);
        if (socket == null) return -Errno.EBADF;
        if (socket.Notices < 0)
        {
            using var buffer = HostScratch.Rent(16);
            MemoryMarshal.Write(buffer.Span[8..], 4);
            long status = HostSyscall.Invoke(HostCall.GetSockOpt, socket.HostDescriptor, SOL_SOCKET, SO_DOMAIN, buffer.Address, buffer.Address + 8);
            if (status == 0 && MemoryMarshal.Read<int>(buffer.Span) != AF_NETLINK) status = -Errno.EINVAL;
            if (status == 0) status = HostSyscall.Invoke(HostCall.SocketPair, AF_UNIX, Datagram, 0, buffer.Address);
            socket.Release();
            if (status < 0) return status;
            socket = new OpenFile(MemoryMarshal.Read<int>(buffer.Span)) { Notices = MemoryMarshal.Read<int>(buffer.Span[4..]) };
            socket.AddDuplicate(socket.Notices);
            socket.TryAcquire();
            files.Set(fd, socket, files.IsCloseOnExec(fd) ?? true);
            foreach (var other in thread.Process.Threads()) if (other != thread) other.Nudge();
        }
        registration = new QueueRegistration(thread.Process, 0, 0) { Socket = socket, Sender = socket.Notices, Cookie = cookie };
        return 0;
    }

    private static long Attributes(GuestThread thread, in SyscallArgs args)
    {
        if (!thread.TryHostOrNull(args.A1, AttributesSize, out long wanted) || !thread.TryHostOrNull(args.A2, AttributesSize, out long old)) return -Errno.EFAULT;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long result = HostSyscall.Invoke(HostAttributes, file.HostDescriptor, wanted, old);
        file.Release();
        return result;
    }
}
