using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>
/// A signalfd: a host eventfd that is readable while the process that made it has a signal of the set pending, so that poll and epoll of the
/// host see it. Reading takes signals of the reader, as in Linux; after a fork readiness is still the maker's.
/// </summary>
internal sealed class EventSignalFd
{
    private const int InfoSize = 128, MaskSize = 8;

    private readonly GuestProcess _process;
    private readonly int _event;
    private ulong _mask;

    private EventSignalFd(GuestProcess process, int hostEvent, ulong mask)
    {
        _process = process;
        _event = hostEvent;
        _mask = mask;
        process.SignalQueued += Queued;
    }

    /// <summary>signalfd4.</summary>
    public static long Create(GuestThread thread, in SyscallArgs args)
    {
        int flags = (int)args.A3;
        if (args.A2 != MaskSize || (flags & ~(OpenFlags.NonBlock | OpenFlags.CloseOnExec)) != 0) return -Errno.EINVAL;
        if (!thread.Window.TryLoad64(args.A1, out ulong mask)) return -Errno.EFAULT;
        mask &= ~Signal.Unblockable;
        if ((int)args.A0 != -1)
        {
            var old = thread.Process.Files.Acquire((int)args.A0);
            if (old == null) return -Errno.EBADF;
            var signals = old.Signals;
            if (signals != null)
            {
                Volatile.Write(ref signals._mask, mask);
                signals.Arm(thread);
            }
            old.Release();
            return signals == null ? -Errno.EINVAL : (int)args.A0;
        }
        long host = HostSyscall.Invoke(HostCall.EventFd2, 0, flags | OpenFlags.CloseOnExec);
        if (host < 0) return host;
        var made = new EventSignalFd(thread.Process, (int)host, mask);
        var file = new OpenFile((int)host) { Signals = made };
        made.Arm(thread);
        int fd = thread.Process.Files.Install(file, (flags & OpenFlags.CloseOnExec) != 0, thread.Process.Limits.Soft(ResourceLimits.OpenFiles));
        if (fd < 0) file.Release();
        return fd;
    }

    /// <summary>The last reference has gone; the host descriptor is about to be closed.</summary>
    public void Closed() => _process.SignalQueued -= Queued;

    private void Queued(int signal)
    {
        if ((Volatile.Read(ref _mask) & Signal.Bit(signal)) != 0) Notify();
    }

    private void Notify()
    {
        using var one = HostScratch.Rent(8);
        BinaryPrimitives.WriteInt64LittleEndian(one.Span, 1);
        HostSyscall.Invoke(HostCall.Write, _event, one.Address, 8);
    }

    // Brings readiness in line with what is pending: first not ready, then a look, so that no signal in between is lost.
    private void Arm(GuestThread thread)
    {
        using var buffer = HostScratch.Rent(16);
        BinaryPrimitives.WriteInt32LittleEndian(buffer.Span, _event);
        BinaryPrimitives.WriteInt32LittleEndian(buffer.Span[4..], 1);
        if (HostSyscall.Invoke(HostCall.Poll, buffer.Address, 1, 0) > 0) HostSyscall.Invoke(HostCall.Read, _event, buffer.Address + 8, 8);
        if (((thread.Pending.Bits | thread.Process.Pending.Bits) & Volatile.Read(ref _mask)) != 0) Notify();
    }

    /// <summary>read: as many signalfd_siginfo as fit and are pending.</summary>
    public long Read(GuestThread thread, ulong address, ulong length)
    {
        if (length < InfoSize) return -Errno.EINVAL;
        Span<byte> bytes = stackalloc byte[InfoSize];
        for (;;)
        {
            long done = 0;
            while (done + InfoSize <= (long)length && thread.TakeSignal(Volatile.Read(ref _mask), out var info))
            {
                Fill(bytes, info);
                if (thread.Put(address + (ulong)done, bytes) < 0) return done > 0 ? done : -Errno.EFAULT;
                done += InfoSize;
            }
            Arm(thread);
            if (done > 0) return done;
            if ((HostSyscall.Invoke(HostCall.FCntl, _event, 3) & OpenFlags.NonBlock) != 0) return -Errno.EAGAIN;
            using var wait = HostScratch.Rent(8);
            BinaryPrimitives.WriteInt32LittleEndian(wait.Span, _event);
            BinaryPrimitives.WriteInt32LittleEndian(wait.Span[4..], 1);
            long status = thread.Block(HostCall.Poll, wait.Address, 1, -1);
            if (status < 0) return status;
        }
    }

    private static void Fill(Span<byte> to, in SigInfo info)
    {
        to.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(to, info.Signal);
        BinaryPrimitives.WriteInt32LittleEndian(to[4..], info.Error);
        BinaryPrimitives.WriteInt32LittleEndian(to[8..], info.Code);
        if (info.Code == SigInfo.SI_TIMER)
        {
            BinaryPrimitives.WriteInt32LittleEndian(to[24..], info.Pid);
            BinaryPrimitives.WriteUInt32LittleEndian(to[32..], info.Uid);
        }
        else
        {
            BinaryPrimitives.WriteInt32LittleEndian(to[12..], info.Pid);
            BinaryPrimitives.WriteUInt32LittleEndian(to[16..], info.Uid);
        }
        if (info.Signal == Signal.SIGCHLD)
        {
            BinaryPrimitives.WriteInt32LittleEndian(to[40..], (int)info.Value);
            BinaryPrimitives.WriteUInt64LittleEndian(to[56..], info.Field2);
            BinaryPrimitives.WriteUInt64LittleEndian(to[64..], info.Field3);
            return;
        }
        BinaryPrimitives.WriteInt32LittleEndian(to[44..], (int)info.Value);
        BinaryPrimitives.WriteUInt64LittleEndian(to[48..], info.Value);
    }
}
