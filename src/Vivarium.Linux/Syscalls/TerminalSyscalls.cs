using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Syscalls;

/// <summary>ioctl: terminals first, then what files and sockets have. Command numbers and structures are the same on riscv64 and x86-64.</summary>
internal static class TerminalSyscalls
{
    public static readonly SyscallRow[] Rows = [new(29, "ioctl", "fd ioctl hex", IoCtl)];

    private enum Argument : byte
    {
        None,
        Number,
        Pointer,
    }

    private readonly record struct Command(uint Number, Argument Kind, int Size = 0);

    // Ascending by number. Size: bytes behind the pointer.
    private static readonly Command[] Commands =
    [
        new(0x5401, Argument.Pointer, 36), // TCGETS: struct termios of the kernel
        new(0x5402, Argument.Pointer, 36), // TCSETS
        new(0x5403, Argument.Pointer, 36), // TCSETSW
        new(0x5404, Argument.Pointer, 36), // TCSETSF
        new(0x5405, Argument.Pointer, 18), // TCGETA
        new(0x5406, Argument.Pointer, 18), // TCSETA
        new(0x5407, Argument.Pointer, 18), // TCSETAW
        new(0x5408, Argument.Pointer, 18), // TCSETAF
        new(0x5409, Argument.Number),      // TCSBRK
        new(0x540A, Argument.Number),      // TCXONC
        new(0x540B, Argument.Number),      // TCFLSH
        new(0x540C, Argument.None),        // TIOCEXCL
        new(0x540D, Argument.None),        // TIOCNXCL
        new(0x5411, Argument.Pointer, 4),  // TIOCOUTQ
        new(0x5413, Argument.Pointer, 8),  // TIOCGWINSZ
        new(0x5414, Argument.Pointer, 8),  // TIOCSWINSZ
        new(0x541B, Argument.Pointer, 4),  // FIONREAD
        new(0x5420, Argument.Pointer, 4),  // TIOCPKT
        new(0x5421, Argument.Pointer, 4),  // FIONBIO
        new(0x5423, Argument.Pointer, 4),  // TIOCSETD
        new(0x5424, Argument.Pointer, 4),  // TIOCGETD
        new(0x5425, Argument.Number),      // TCSBRKP
        new(0x5427, Argument.None),        // TIOCSBRK
        new(0x5428, Argument.None),        // TIOCCBRK
        new(0x5452, Argument.Pointer, 4),  // FIOASYNC
        new(0x5460, Argument.Pointer, 8),  // FIOQSIZE
        new(0x8905, Argument.Pointer, 4),  // SIOCATMARK
        new(0x8912, Argument.Pointer, 16), // SIOCGIFCONF: see below
        new(0x8913, Argument.Pointer, 40), // SIOCGIFFLAGS
        new(0x8915, Argument.Pointer, 40), // SIOCGIFADDR
        new(0x8919, Argument.Pointer, 40), // SIOCGIFBRDADDR
        new(0x891B, Argument.Pointer, 40), // SIOCGIFNETMASK
        new(0x8921, Argument.Pointer, 40), // SIOCGIFMTU
        new(0x8927, Argument.Pointer, 40), // SIOCGIFHWADDR
        new(0x8933, Argument.Pointer, 40), // SIOCGIFINDEX
        new(0x8910, Argument.Pointer, 40), // SIOCGIFNAME
        new(0x40045431, Argument.Pointer, 4),  // TIOCSPTLCK
        new(0x40049409, Argument.Number),      // FICLONE: a descriptor, see below
        new(0x4004667E, Argument.Pointer, 4),
        new(0x40086602, Argument.Pointer, 4),  // FS_IOC_SETFLAGS
        new(0x402C542B, Argument.Pointer, 44), // TCSETS2
        new(0x402C542C, Argument.Pointer, 44), // TCSETSW2
        new(0x402C542D, Argument.Pointer, 44), // TCSETSF2
        new(0x80045430, Argument.Pointer, 4),  // TIOCGPTN
        new(0x80045438, Argument.Pointer, 4),  // TIOCGPKT
        new(0x80045439, Argument.Pointer, 4),  // TIOCGPTLCK
        new(0x80086601, Argument.Pointer, 4),  // FS_IOC_GETFLAGS
        new(0x802C542A, Argument.Pointer, 44), // TCGETS2
    ];

    private const uint SetControlling = 0x540E, GetGroup = 0x540F, SetGroup = 0x5410, GetSession = 0x5429, NoTty = 0x5422, Close = 0x5451, NoClose = 0x5450,
        GetPeer = 0x5441, GetPtyNumber = 0x80045430, Clone = 0x40049409, GetConfiguration = 0x8912;

    private static long IoCtl(GuestThread thread, in SyscallArgs args)
    {
        uint command = (uint)args.A1;
        if (command is Close or NoClose) return thread.Process.Files.SetCloseOnExec((int)args.A0, command == Close) ? 0 : -Errno.EBADF;
        var file = thread.Process.Files.Acquire((int)args.A0);
        if (file == null) return -Errno.EBADF;
        long result = file.Node is { IsDirectory: true } ? -Errno.ENOTTY : OnFile(thread, file, command, args.A2);
        file.Release();
        return result;
    }

    private static long OnFile(GuestThread thread, OpenFile file, uint command, ulong argument)
    {
        int host = file.HostDescriptor;
        switch (command)
        {
            case GetGroup:
            case GetSession:
                return Group(thread, host, command, argument);
            case SetGroup:
                return SetForeground(thread, host, argument);
            case SetControlling:
            case NoTty:
                // The session is the host's: viv keeps the terminal that it was started on.
                return IsTerminal(host) ? 0 : -Errno.ENOTTY;
            case GetPeer:
                return thread.Install(HostSyscall.Invoke(HostCall.IoCtl, host, command, (long)argument | OpenFlags.CloseOnExec | OpenFlags.NoCtty), (argument & OpenFlags.CloseOnExec) != 0);
            case Clone:
                var source = thread.Process.Files.Acquire((int)argument);
                if (source == null) return -Errno.EBADF;
                long cloned = HostSyscall.Invoke(HostCall.IoCtl, host, command, source.HostDescriptor);
                source.Release();
                return cloned;
            case GetConfiguration:
                return InterfaceList(thread, host, argument);
        }
        foreach (ref readonly var row in Commands.AsSpan())
        {
            if (row.Number != command) continue;
            if (row.Kind != Argument.Pointer) return thread.Block(HostCall.IoCtl, host, command, row.Kind == Argument.None ? 0 : (long)argument);
            if (!thread.TryHost(argument, (ulong)row.Size, out long pointer)) return -Errno.EFAULT;
            return thread.Block(HostCall.IoCtl, host, command, pointer);
        }
        return -Errno.ENOTTY;
    }

    private static bool IsTerminal(int host)
    {
        using var termios = HostScratch.Rent(64);
        return HostSyscall.Invoke(HostCall.IoCtl, host, 0x5401, termios.Address) == 0;
    }

    // The host knows viv's process group, not the guests'. While viv is in the foreground, the asking guest's group is.
    private static long Group(GuestThread thread, int host, uint command, ulong argument)
    {
        using var buffer = HostScratch.Rent(4);
        long status = HostSyscall.Invoke(HostCall.IoCtl, host, command, buffer.Address);
        if (status < 0) return status;
        int group = BinaryPrimitives.ReadInt32LittleEndian(buffer.Span);
        if (command == GetSession) group = thread.Process.Session;
        else if (group == HostSyscall.Invoke(121, 0)) group = thread.Process.Realm.Foreground is not 0 and var foreground ? foreground : thread.Process.ProcessGroup;
        return thread.Put32(argument, (uint)group);
    }

    private static long SetForeground(GuestThread thread, int host, ulong argument)
    {
        if (!thread.Window.TryLoad32(argument, out uint group)) return -Errno.EFAULT;
        if (!IsTerminal(host)) return -Errno.ENOTTY;
        if ((int)group <= 0) return -Errno.EINVAL;
        thread.Process.Realm.Foreground = (int)group;
        return 0;
    }

    // struct ifconf holds a pointer.
    private static long InterfaceList(GuestThread thread, int host, ulong argument)
    {
        using var buffer = HostScratch.Rent(16);
        if (thread.Get(argument, buffer.Span) < 0) return -Errno.EFAULT;
        ulong list = BinaryPrimitives.ReadUInt64LittleEndian(buffer.Span[8..]);
        if (!thread.TryHostOrNull(list, BinaryPrimitives.ReadUInt32LittleEndian(buffer.Span), out long address)) return -Errno.EFAULT;
        BinaryPrimitives.WriteInt64LittleEndian(buffer.Span[8..], address);
        long status = HostSyscall.Invoke(HostCall.IoCtl, host, GetConfiguration, buffer.Address);
        return status < 0 ? status : thread.Put(argument, buffer.Span[..4]);
    }

    /// <summary>Remembers a pseudo-terminal that was just opened through ptmx, so that <c>/dev/pts</c> shows it.</summary>
    internal static void Opened(GuestThread thread, int fd)
    {
        var space = thread.Process.Fs.Space;
        if (!space.Confined) return;
        var file = thread.Process.Files.Acquire(fd);
        if (file == null) return;
        if (FileStat.OfDescriptor(file.HostDescriptor, out var stat) == 0 && (stat.Mode & FileType.Mask) == FileType.Character && stat.RawDevice == 0x502)
        {
            using var number = HostScratch.Rent(4);
            if (HostSyscall.Invoke(HostCall.IoCtl, file.HostDescriptor, GetPtyNumber, number.Address) == 0)
                space.Terminals[BinaryPrimitives.ReadInt32LittleEndian(number.Span)] = 0;
        }
        file.Release();
    }
}
