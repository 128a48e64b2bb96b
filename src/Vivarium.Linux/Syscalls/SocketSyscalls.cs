using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>Sockets are the host's. Addresses of UNIX sockets are translated (<see cref="SocketAddress"/>), as are descriptors and credentials in
/// control messages (<see cref="SocketMessages"/>).</summary>
public static class SocketSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(198, "socket", "int int int", Socket),
        new(199, "socketpair", "int int int ptr", SocketPair),
        new(200, "bind", "fd ptr size", Bind),
        new(201, "listen", "fd int", Listen),
        new(202, "accept", "fd ptr ptr", Accept),
        new(203, "connect", "fd ptr size", Connect),
        new(204, "getsockname", "fd ptr ptr", GetSockName),
        new(205, "getpeername", "fd ptr ptr", GetPeerName),
        new(206, "sendto", "fd buf:a2 size hex ptr size", SendTo),
        new(207, "recvfrom", "fd buf:ret size hex ptr ptr", RecvFrom),
        new(208, "setsockopt", "fd int int ptr size", SetSockOpt),
        new(209, "getsockopt", "fd int int ptr ptr", GetSockOpt),
        new(210, "shutdown", "fd int", Shutdown),
        new(211, "sendmsg", "fd ptr hex", SocketMessages.Send),
        new(212, "recvmsg", "fd ptr hex", SocketMessages.Receive),
        new(242, "accept4", "fd ptr ptr hex", Accept4),
        new(243, "recvmmsg", "fd ptr uint hex ptr", SocketMessages.ReceiveMany),
        new(269, "sendmmsg", "fd ptr uint hex", SocketMessages.SendMany),
    ];

    private const int CloseOnExec = OpenFlags.CloseOnExec;
    internal const int NoSignal = 0x4000;

    private static long Socket(GuestThread thread, in SyscallArgs args)
    {
        int type = (int)args.A1;
        if (thread.Process.Realm.Options.NoNetwork && (int)args.A0 > 1 /* AF_UNIX */) return -Errno.EAFNOSUPPORT;
        return thread.Install(HostSyscall.Invoke(HostCall.Socket, (int)args.A0, type | CloseOnExec, (int)args.A2), (type & CloseOnExec) != 0);
    }

    private static long SocketPair(GuestThread thread, in SyscallArgs args)
    {
        int type = (int)args.A1;
        using var pair = HostScratch.Rent(8);
        long status = HostSyscall.Invoke(HostCall.SocketPair, (int)args.A0, type | CloseOnExec, (int)args.A2, pair.Address);
        return status < 0 ? status : FileSyscalls.InstallPair(thread, pair.Span, (type & CloseOnExec) != 0, args.A3, UnixPeers.Paired);
    }

    private static long Bind(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        HostUmask.Apply(thread.Process.Fs.Umask);
        var address = SocketAddress.FromGuest(thread, args.A1, args.A2, toBind: true);
        long status = address.Status;
        if (status >= 0 && !address.NamesFile && address.IsPrivilegedPort && thread.Process.Fs.Space.Owners != null && !thread.Process.Credentials.Has(Credentials.CapNetBindService)) status = -Errno.EACCES;
        if (status >= 0)
        {
            using var owner = address.NamesFile && thread.Process.Fs.Space.Owners is { Real: true } ? HostOwner.As(thread.Process.Credentials) : default;
            status = HostSyscall.Invoke(HostCall.Bind, file.HostDescriptor, address.Address, address.Length);
        }
        if (status == 0) address.Remember(thread, file);
        address.Dispose();
        file.Release();
        return status;
    }

    private static long Connect(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        var address = SocketAddress.FromGuest(thread, args.A1, args.A2, toBind: false);
        long status = address.Status;
        if (status >= 0)
        {
            uint inode = UnixPeers.Connecting(thread.Process, file);
            status = thread.Block(HostCall.Connect, file.HostDescriptor, address.Address, address.Length);
            UnixPeers.Connected(file, inode, status == 0);
        }
        address.Dispose();
        file.Release();
        return status;
    }

    private static long Listen(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        UnixPeers.Listening(thread.Process, file);
        long status = HostSyscall.Invoke(HostCall.Listen, file.HostDescriptor, (int)args.A1);
        file.Release();
        return status;
    }

    private static long Shutdown(GuestThread thread, in SyscallArgs args) => FileSyscalls.Plain(thread, HostCall.Shutdown, args.A0, args.A1);

    private static long Accept(GuestThread thread, in SyscallArgs args) => Accept(thread, args.A0, args.A1, args.A2, 0);
    private static long Accept4(GuestThread thread, in SyscallArgs args) => Accept(thread, args.A0, args.A1, args.A2, (int)args.A3);

    private static long Accept(GuestThread thread, ulong fd, ulong address, ulong length, int flags)
    {
        if ((flags & ~(CloseOnExec | OpenFlags.NonBlock)) != 0) return -Errno.EINVAL;
        var file = thread.Process.Files.Acquire((int)fd);
        if (file == null) return -Errno.EBADF;
        using var peer = HostScratch.Rent(SocketAddress.Room);
        SocketAddress.Clear(peer.Span);
        long status = address == 0
            ? thread.Block(HostCall.Accept4, file.HostDescriptor, 0, 0, flags | CloseOnExec)
            : thread.Block(HostCall.Accept4, file.HostDescriptor, peer.Address, peer.Address + SocketAddress.LengthAt, flags | CloseOnExec);
        status = thread.Install(status, (flags & CloseOnExec) != 0);
        if (status >= 0 && thread.Process.Files.Acquire((int)status) is { } accepted)
        {
            UnixPeers.Accepted(file, accepted);
            accepted.Release();
        }
        file.Release();
        if (status < 0 || address == 0) return status;
        long copied = SocketAddress.ToGuest(thread, peer.Span, address, length);
        if (copied == 0) return status;
        thread.Process.Files.Close((int)status);
        return copied;
    }

    private static long GetSockName(GuestThread thread, in SyscallArgs args) => Name(thread, HostCall.GetSockName, args);
    private static long GetPeerName(GuestThread thread, in SyscallArgs args) => Name(thread, HostCall.GetPeerName, args);

    private static long Name(GuestThread thread, long call, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        using var name = HostScratch.Rent(SocketAddress.Room);
        SocketAddress.Clear(name.Span);
        long status = HostSyscall.Invoke(call, file.HostDescriptor, name.Address, name.Address + SocketAddress.LengthAt);
        file.Release();
        return status < 0 ? status : SocketAddress.ToGuest(thread, name.Span, args.A1, args.A2);
    }

    private static long SendTo(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        ulong length = Math.Min(args.A2, FileSyscalls.MaximumTransfer);
        long status;
        if (!thread.TryHost(args.A1, length, out long data)) status = -Errno.EFAULT;
        else if (args.A4 == 0)
        {
            status = SenderTags.Takes(file) ? SocketMessages.SendTagged(thread, file, data, (long)length, (int)args.A3, 0, 0)
                : thread.Block(HostCall.SendTo, file.HostDescriptor, data, (long)length, (int)args.A3);
        }
        else
        {
            var address = SocketAddress.FromGuest(thread, args.A4, args.A5, toBind: false);
            status = address.Status < 0 ? address.Status
                : SenderTags.Takes(file) ? SocketMessages.SendTagged(thread, file, data, (long)length, (int)args.A3, address.Address, address.Length)
                : thread.Block(HostCall.SendTo, file.HostDescriptor, data, (long)length, (int)args.A3, address.Address, address.Length);
            address.Dispose();
        }
        file.Release();
        if (status == -Errno.EPIPE && ((int)args.A3 & NoSignal) == 0) GuestAccess.BrokenPipe(thread);
        return status;
    }

    private static long RecvFrom(GuestThread thread, in SyscallArgs args)
    {
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        ulong length = Math.Min(args.A2, FileSyscalls.MaximumTransfer);
        long status;
        if (!thread.TryHost(args.A1, length, out long data)) status = -Errno.EFAULT;
        else if (args.A4 == 0) status = thread.Block(HostCall.RecvFrom, file.HostDescriptor, data, (long)length, (int)args.A3);
        else
        {
            using var from = HostScratch.Rent(SocketAddress.Room);
            SocketAddress.Clear(from.Span);
            status = thread.Block(HostCall.RecvFrom, file.HostDescriptor, data, (long)length, (int)args.A3, from.Address, from.Address + SocketAddress.LengthAt);
            if (status >= 0 && SocketAddress.ToGuest(thread, from.Span, args.A4, args.A5) is < 0 and var error) status = error;
        }
        file.Release();
        return status;
    }

    // ---- options ----

    private const uint Nobody = 65534;
    private const int SolSocket = 1, PassCredentials = 16, PeerCredentials = 17, AttachFilter = 26, AttachReusePortFilter = 51, SolIp = 0, SolIpV6 = 41,
        SolTcp = 6, TcpZeroCopyReceive = 35, TcpMd5 = 14;

    private static long SetSockOpt(GuestThread thread, in SyscallArgs args)
    {
        int level = (int)args.A1, option = (int)args.A2;
        // Tables of netfilter hold pointers, and need a privilege guests do not have.
        if (level is SolIp or SolIpV6 && option is 64 or 65 or 96 or 97 || (int)args.A4 < 0) return (int)args.A4 < 0 ? -Errno.EINVAL : -Errno.EPERM;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long status;
        if (level == SolSocket && option is AttachFilter or AttachReusePortFilter) status = SetFilter(thread, file, args);
        else if (!thread.TryHostOrNull(args.A3, args.A4, out long value)) status = -Errno.EFAULT;
        else status = HostSyscall.Invoke(HostCall.SetSockOpt, file.HostDescriptor, level, option, value, (int)args.A4);
        if (status == 0 && level == SolSocket && option == PassCredentials) SenderTags.Want();
        file.Release();
        return status;
    }

    // struct sock_fprog: a count and a pointer to 8-byte instructions.
    private static long SetFilter(GuestThread thread, OpenFile file, in SyscallArgs args)
    {
        if (args.A4 < 16) return -Errno.EINVAL;
        using var program = HostScratch.Rent(16);
        if (thread.Get(args.A3, program.Span) < 0) return -Errno.EFAULT;
        ulong length = BinaryPrimitives.ReadUInt16LittleEndian(program.Span) * 8UL;
        if (!thread.TryHost(BinaryPrimitives.ReadUInt64LittleEndian(program.Span[8..]), length, out long filter)) return -Errno.EFAULT;
        BinaryPrimitives.WriteInt64LittleEndian(program.Span[8..], filter);
        return HostSyscall.Invoke(HostCall.SetSockOpt, file.HostDescriptor, SolSocket, (int)args.A2, program.Address, 16);
    }

    private static long GetSockOpt(GuestThread thread, in SyscallArgs args)
    {
        int level = (int)args.A1, option = (int)args.A2;
        if (level == SolTcp && option == TcpZeroCopyReceive) return -Errno.ENOPROTOOPT;
        if (!thread.Window.TryLoad32(args.A4, out uint length)) return -Errno.EFAULT;
        if (!thread.TryHost(args.A4, 4, out long lengthAddress) || !thread.TryHostOrNull(args.A3, length, out long value)) return -Errno.EFAULT;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long status = HostSyscall.Invoke(HostCall.GetSockOpt, file.HostDescriptor, level, option, value, lengthAddress);
        // The peer, if it is one of ours, is known to the host by viv's pid.
        if (status == 0 && level == SolSocket && option == PeerCredentials && length >= 12 && thread.Window.TryLoad32(args.A3, out uint pid) && pid == Environment.ProcessId)
        {
            var peer = UnixPeers.Find(file) ?? new UnixPeers.Identity(0, Nobody, Nobody);
            Span<byte> credentials = stackalloc byte[12];
            BinaryPrimitives.WriteInt32LittleEndian(credentials, peer.Pid);
            BinaryPrimitives.WriteUInt32LittleEndian(credentials[4..], peer.Uid);
            BinaryPrimitives.WriteUInt32LittleEndian(credentials[8..], peer.Gid);
            status = thread.Put(args.A3, credentials);
        }
        file.Release();
        return status;
    }
}
