using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>Waiting for descriptors: ppoll, pselect6 and epoll, with timeouts as deadlines and a signal mask for the time of the call.</summary>
public static class PollSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(20, "epoll_create1", "hex", EPollCreate),
        new(21, "epoll_ctl", "fd int fd ptr", EPollControl),
        new(22, "epoll_pwait", "fd ptr int int ptr size", EPollWait),
        new(441, "epoll_pwait2", "fd ptr int ptr ptr size", EPollWait2),
        new(72, "pselect6", "int ptr ptr ptr ptr ptr", PSelect),
        new(73, "ppoll", "ptr uint ptr ptr size", PPoll),
        .. EventSyscalls.Rows,
    ];

    private const short In = 1, Priority = 2, Out = 4, Error = 8, HangUp = 16, Invalid = 32, ReadNormal = 64, ReadBand = 128, WriteNormal = 256, WriteBand = 512;

    // ---- the wait itself ----

    // Host pollfds (8 bytes each) in a lease; the files are held so that no number is reused while we wait.
    private static long Wait(GuestThread thread, long pollFds, int count, long timeout)
    {
        long deadline = timeout < 0 ? long.MaxValue : thread.Deadline(timeout);
        using var time = HostScratch.Rent(16);
        long remaining = deadline == long.MaxValue ? 0 : Math.Max(0, deadline - GuestThread.MonotonicNow());
        BinaryPrimitives.WriteInt64LittleEndian(time.Span, remaining / 1_000_000_000);
        BinaryPrimitives.WriteInt64LittleEndian(time.Span[8..], remaining % 1_000_000_000);
        if (timeout == 0) return HostSyscall.Invoke(HostCall.PPoll, pollFds, count, time.Address);
        return GuestAccess.NotRestartable(thread.Block(HostCall.PPoll, pollFds, count, deadline == long.MaxValue ? 0 : time.Address));
    }

    // The kernel tells what is left of a timeout, if it can.
    private static void PutRemaining(GuestThread thread, ulong address, long timeout)
    {
        if (address == 0 || timeout < 0) return;
        long deadline = thread.Deadline(timeout);
        long remaining = timeout == 0 || deadline == long.MaxValue ? timeout : Math.Max(0, deadline - GuestThread.MonotonicNow());
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, remaining / 1_000_000_000);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[8..], remaining % 1_000_000_000);
        thread.Put(address, bytes);
    }

    private static long SetMask(GuestThread thread, ulong mask, ulong size)
    {
        if (mask == 0) return 0;
        if (size != 8) return -Errno.EINVAL;
        if (!thread.Window.TryLoad64(mask, out ulong bits)) return -Errno.EFAULT;
        return GuestAccess.TemporaryMask(thread, bits);
    }

    private static long PPoll(GuestThread thread, in SyscallArgs args)
    {
        ulong limit = Math.Min(thread.Process.Limits.Soft(ResourceLimits.OpenFiles), FileTable.Maximum);
        if (args.A1 > limit) return -Errno.EINVAL;
        int count = (int)args.A1;
        long status = thread.GetTimeout(args.A2, out long timeout);
        if (status < 0) return status;
        if ((status = SetMask(thread, args.A3, args.A4)) < 0) return status;

        using var lease = HostScratch.Rent(count * 8 + 8);
        var fds = lease.Span[..(count * 8)];
        if (thread.Get(args.A0, fds) < 0) return -Errno.EFAULT;
        var held = new HeldFiles(thread, count);
        int invalid = 0;
        for (int i = 0; i < count; i++)
        {
            var one = fds[(i * 8)..];
            int fd = BinaryPrimitives.ReadInt32LittleEndian(one);
            BinaryPrimitives.WriteInt16LittleEndian(one[6..], 0);
            if (fd < 0) continue;
            int host = held.Hold(i, fd);
            BinaryPrimitives.WriteInt32LittleEndian(one, host);
            if (host < 0)
            {
                BinaryPrimitives.WriteInt16LittleEndian(one[6..], Invalid);
                invalid++;
            }
        }
        status = Wait(thread, lease.Address, count, invalid > 0 ? 0 : timeout);
        if (status >= 0)
        {
            status += invalid;
            for (int i = 0; i < count; i++)
            {
                // The host cleared what it ignores: a bad descriptor is ours to report.
                short events = held.IsBad(i) ? Invalid : BinaryPrimitives.ReadInt16LittleEndian(fds[(i * 8 + 6)..]);
                if (!thread.Window.TryStore16(args.A0 + (ulong)i * 8 + 6, (ushort)events)) status = -Errno.EFAULT;
            }
        }
        held.Release();
        PutRemaining(thread, args.A2, timeout);
        return status;
    }

    private static long PSelect(GuestThread thread, in SyscallArgs args)
    {
        int count = (int)args.A0;
        if (count < 0) return -Errno.EINVAL;
        count = (int)Math.Min((ulong)count, Math.Min(thread.Process.Limits.Soft(ResourceLimits.OpenFiles), FileTable.Maximum));
        long status = thread.GetTimeout(args.A4, out long timeout);
        if (status < 0) return status;
        if (args.A5 != 0)
        {
            if (!thread.Window.TryLoad64(args.A5, out ulong mask) || !thread.Window.TryLoad64(args.A5 + 8, out ulong size)) return -Errno.EFAULT;
            if ((status = SetMask(thread, mask, size)) < 0) return status;
        }
        int bytes = (count + 63) / 64 * 8;
        using var sets = HostScratch.Rent(bytes * 3 + 8);
        var read = sets.Span[..bytes];
        var write = sets.Span.Slice(bytes, bytes);
        var except = sets.Span.Slice(bytes * 2, bytes);
        if (!GetSet(thread, args.A1, read) || !GetSet(thread, args.A2, write) || !GetSet(thread, args.A3, except)) return -Errno.EFAULT;

        int wanted = 0;
        for (int fd = 0; fd < count; fd++) if (Bit(read, fd) || Bit(write, fd) || Bit(except, fd)) wanted++;
        using var lease = HostScratch.Rent(wanted * 12 + 8);
        var fds = lease.Span[..(wanted * 8)];
        var numbers = lease.Span.Slice(wanted * 8, wanted * 4);
        var held = new HeldFiles(thread, wanted);
        int at = 0;
        for (int fd = 0; fd < count; fd++)
        {
            int events = (Bit(read, fd) ? In | ReadNormal | ReadBand : 0) | (Bit(write, fd) ? Out | WriteNormal | WriteBand : 0) | (Bit(except, fd) ? Priority : 0);
            if (events == 0) continue;
            int host = held.Hold(at, fd);
            if (host < 0)
            {
                held.Release();
                return -Errno.EBADF;
            }
            BinaryPrimitives.WriteInt32LittleEndian(fds[(at * 8)..], host);
            BinaryPrimitives.WriteInt32LittleEndian(fds[(at * 8 + 4)..], events);
            BinaryPrimitives.WriteInt32LittleEndian(numbers[(at * 4)..], fd);
            at++;
        }
        status = Wait(thread, lease.Address, wanted, timeout);
        held.Release();
        if (status >= 0)
        {
            status = 0;
            for (int i = 0; i < wanted; i++)
            {
                int fd = BinaryPrimitives.ReadInt32LittleEndian(numbers[(i * 4)..]);
                int got = BinaryPrimitives.ReadInt16LittleEndian(fds[(i * 8 + 6)..]);
                if ((got & Invalid) != 0) return -Errno.EBADF;
                status += Keep(read, fd, (got & (In | ReadNormal | ReadBand | HangUp | Error)) != 0);
                status += Keep(write, fd, (got & (Out | WriteNormal | WriteBand | Error)) != 0);
                status += Keep(except, fd, (got & Priority) != 0);
            }
            if (!PutSet(thread, args.A1, read) || !PutSet(thread, args.A2, write) || !PutSet(thread, args.A3, except)) status = -Errno.EFAULT;
        }
        PutRemaining(thread, args.A4, timeout);
        return status;
    }

    private static bool GetSet(GuestThread thread, ulong address, Span<byte> set)
    {
        set.Clear();
        return address == 0 || thread.Get(address, set) == 0;
    }

    private static bool PutSet(GuestThread thread, ulong address, ReadOnlySpan<byte> set) => address == 0 || thread.Put(address, set) == 0;

    private static bool Bit(ReadOnlySpan<byte> set, int fd) => (set[fd >> 3] >> (fd & 7) & 1) != 0;

    // Leaves a bit set only if it was asked for and is ready; 1 if so.
    private static int Keep(Span<byte> set, int fd, bool ready)
    {
        if (!Bit(set, fd)) return 0;
        if (ready) return 1;
        set[fd >> 3] &= (byte)~(1 << (fd & 7));
        return 0;
    }

    // ---- epoll ----

    /// <summary>Guest struct epoll_event: 16 bytes, data at 8; the host's is packed: 12 bytes, data at 4.</summary>
    private const int GuestEvent = 16, HostEvent = 12, EventsAtOnce = 4096;

    private static long EPollCreate(GuestThread thread, in SyscallArgs args)
    {
        if (((int)args.A0 & ~OpenFlags.CloseOnExec) != 0) return -Errno.EINVAL;
        long host = HostSyscall.Invoke(HostCall.EPollCreate1, OpenFlags.CloseOnExec);
        if (host < 0) return host;
        var file = new OpenFile((int)host) { EPoll = new EPollSet() };
        int fd = thread.Process.Files.Install(file, args.A0 != 0, thread.Process.Limits.Soft(ResourceLimits.OpenFiles));
        if (fd < 0) file.Release();
        return fd;
    }

    private static long EPollControl(GuestThread thread, in SyscallArgs args)
    {
        const int Delete = 2;
        using var record = HostScratch.Rent(HostEvent);
        if ((int)args.A1 != Delete)
        {
            Span<byte> guest = stackalloc byte[GuestEvent];
            if (thread.Get(args.A3, guest) < 0) return -Errno.EFAULT;
            guest[..4].CopyTo(record.Span);
            guest[8..].CopyTo(record.Span[4..]);
        }
        var files = thread.Process.Files;
        var set = files.Acquire((int)args.A0);
        if (set == null) return -Errno.EBADF;
        var target = files.Acquire((int)args.A2);
        long status = target == null ? -Errno.EBADF
            : target.Node is { IsDirectory: true } ? -Errno.EPERM
            : ReferenceEquals(set, target) || (int)args.A1 is < 1 or > 3 ? -Errno.EINVAL
            // One that came over a socket is only known to the host.
            : set.EPoll == null ? HostSyscall.Invoke(HostCall.EPollCtl, set.HostDescriptor, (int)args.A1, target.HostDescriptor, record.Address)
            : set.EPoll.Control(set.HostDescriptor, (int)args.A1, (int)args.A2, target, record.Address);
        set.Release();
        target?.Release();
        return status;
    }

    private static long EPollWait(GuestThread thread, in SyscallArgs args)
    {
        int milliseconds = (int)args.A3;
        return EPollWait(thread, args, milliseconds < 0 ? -1 : milliseconds * 1_000_000L);
    }

    private static long EPollWait2(GuestThread thread, in SyscallArgs args)
    {
        long status = thread.GetTimeout(args.A3, out long timeout);
        return status < 0 ? status : EPollWait(thread, args, timeout);
    }

    private static long EPollWait(GuestThread thread, in SyscallArgs args, long timeout)
    {
        if ((int)args.A2 <= 0) return -Errno.EINVAL;
        int count = Math.Min((int)args.A2, EventsAtOnce);
        if (!thread.TryHost(args.A1, (ulong)count * GuestEvent, out _)) return -Errno.EFAULT;
        var set = thread.Process.Files.Acquire((int)args.A0);
        if (set == null) return -Errno.EBADF;
        long status = SetMask(thread, args.A4, args.A5);
        if (status < 0)
        {
            set.Release();
            return status;
        }
        using var events = HostScratch.Rent(count * HostEvent);
        using var time = HostScratch.Rent(16);
        long deadline = timeout < 0 ? long.MaxValue : thread.Deadline(timeout);
        long remaining = deadline == long.MaxValue ? 0 : Math.Max(0, deadline - GuestThread.MonotonicNow());
        long milliseconds = deadline == long.MaxValue ? -1 : Math.Min((remaining + 999_999) / 1_000_000, int.MaxValue);
        status = timeout == 0
            ? HostSyscall.Invoke(HostCall.EPollPWait, set.HostDescriptor, events.Address, count, 0)
            : GuestAccess.NotRestartable(thread.Block(HostCall.EPollPWait, set.HostDescriptor, events.Address, count, milliseconds));
        set.Release();
        Span<byte> guest = stackalloc byte[GuestEvent];
        for (int i = 0; i < status; i++)
        {
            var host = events.Span[(i * HostEvent)..];
            guest.Clear();
            host[..4].CopyTo(guest);
            host[4..12].CopyTo(guest[8..]);
            if (thread.Put(args.A1 + (ulong)i * GuestEvent, guest) < 0) return i > 0 ? i : -Errno.EFAULT;
        }
        return status;
    }
}

/// <summary>The open files of one wait, held until it is over.</summary>
internal readonly ref struct HeldFiles
{
    [ThreadStatic]
    private static OpenFile?[]? _pool;

    private readonly GuestThread _thread;
    private readonly Span<OpenFile?> _files;

    public HeldFiles(GuestThread thread, int count)
    {
        _thread = thread;
        if (_pool == null || _pool.Length < count) _pool = new OpenFile?[Math.Max(64, count)];
        _files = _pool.AsSpan(0, count);
        _files.Clear();
    }

    /// <summary>Holds the file behind a descriptor: its host descriptor, or -1.</summary>
    public int Hold(int index, int fd)
    {
        var file = _thread.Process.Files.Acquire(fd);
        _files[index] = file;
        if (file == null) _files[index] = Bad;
        return file?.HostDescriptor ?? -1;
    }

    // Marks a descriptor that was not open; never released.
    private static readonly OpenFile Bad = new(-1);

    public bool IsBad(int index) => ReferenceEquals(_files[index], Bad);

    public void Release()
    {
        for (int i = 0; i < _files.Length; i++)
        {
            if (!ReferenceEquals(_files[i], Bad)) _files[i]?.Release();
            _files[i] = null;
        }
    }
}
