using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Terminals;
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
        if (result == 0 && command == SetAsynchronous && thread.Window.TryLoad32(args.A2, out uint on)) thread.Process.Realm.AsyncFiles.Change(file, (int)args.A0, on != 0);
        file.Release();
        return result;
    }

    private static long OnFile(GuestThread thread, OpenFile file, uint command, ulong argument)
    {
        int host = file.HostDescriptor;
        if (file.Terminal is { } end && OnGuestTerminal(thread, file, end, command, argument) is { } answer) return answer;
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

    /// <summary>What concerns sessions, process groups and window size on a pseudo-terminal of the guests'; null: the host answers.</summary>
    private static long? OnGuestTerminal(GuestThread thread, OpenFile file, TerminalEnd end, uint command, ulong argument)
    {
        var terminal = end.Terminal;
        var process = thread.Process;
        bool controls = terminal.Session != 0 && terminal.Session == process.Session;
        switch (command)
        {
            case GetGroup:
                if (!controls && !end.IsMaster) return -Errno.ENOTTY;
                return thread.Put32(argument, (uint)terminal.Foreground);
            case GetSession:
                if ((!controls && !end.IsMaster) || terminal.Session == 0) return -Errno.ENOTTY;
                return thread.Put32(argument, (uint)terminal.Session);
            case SetGroup:
                if (!thread.Window.TryLoad32(argument, out uint group)) return -Errno.EFAULT;
                if (!controls) return -Errno.ENOTTY;
                if ((int)group < 0) return -Errno.EINVAL;
                if (terminal.Check(thread, Signal.SIGTTOU) is < 0 and var refused) return refused;
                var members = process.Realm.Processes.Values.Where(p => p.ProcessGroup == (int)group).ToList();
                if (members.Count == 0) return -Errno.ESRCH;
                if (members.TrueForAll(p => p.Session != process.Session)) return -Errno.EPERM;
                terminal.Foreground = (int)group;
                return 0;
            case SetControlling:
                return end.IsMaster ? -Errno.EIO : Control(process, terminal, steal: argument == 1);
            case NoTty:
                if (!controls) return -Errno.ENOTTY;
                if (process.Session == process.Pid) terminal.HangUp();
                return 0;
            case GetPeer:
                long peer = HostSyscall.Invoke(HostCall.IoCtl, file.HostDescriptor, command, (long)argument | OpenFlags.CloseOnExec | OpenFlags.NoCtty);
                long fd = thread.Install(peer, (argument & OpenFlags.CloseOnExec) != 0);
                if (fd >= 0) Opened(thread, (int)fd, (argument & OpenFlags.NoCtty) == 0);
                return fd;
            case SetWindowSize:
                if (!thread.TryHost(argument, 8, out long size)) return -Errno.EFAULT;
                using (var old = HostScratch.Rent(16))
                {
                    HostSyscall.Invoke(HostCall.IoCtl, file.HostDescriptor, GetWindowSize, old.Address);
                    long status = HostSyscall.Invoke(HostCall.IoCtl, file.HostDescriptor, command, size);
                    if (status < 0) return status;
                    HostSyscall.Invoke(HostCall.IoCtl, file.HostDescriptor, GetWindowSize, old.Address + 8);
                    if (!old.Span[..8].SequenceEqual(old.Span[8..16])) terminal.SignalForeground(Signal.SIGWINCH);
                    return 0;
                }
            case >= 0x5402 and <= 0x5404 or >= 0x402C542B and <= 0x402C542D:
                return terminal.Check(thread, Signal.SIGTTOU) is < 0 and var stopped ? stopped : null;
        }
        return null;
    }

    private const uint SetAsynchronous = 0x5452, GetWindowSize = 0x5413, SetWindowSize = 0x5414;

    /// <summary>TIOCSCTTY: a session leader without a terminal takes one that controls no session.</summary>
    private static long Control(GuestProcess process, GuestTerminal terminal, bool steal)
    {
        if (terminal.Session == process.Session && process.Session == process.Pid) return 0;
        if (process.Session != process.Pid || process.Realm.Terminals.OfSession(process.Session) != null) return -Errno.EPERM;
        if (terminal.Session != 0 && !(steal && process.Credentials.EffectiveUid == 0)) return -Errno.EPERM;
        terminal.Session = process.Session;
        terminal.Foreground = process.ProcessGroup;
        return 0;
    }

    /// <summary>Whether a read (SIGTTIN) or, under TOSTOP, a write (SIGTTOU) by a background process may go on: 0 or what it answers.</summary>
    internal static long Check(GuestThread thread, OpenFile file, bool writes)
    {
        if (file.Terminal is not { IsMaster: false } slave) return 0;
        return writes ? slave.Terminal.Check(thread, Signal.SIGTTOU, file.HostDescriptor) : slave.Terminal.Check(thread, Signal.SIGTTIN);
    }

    /// <summary>read and write on a pseudo-terminal: job control on the slave side, keys that are signals on the master's.</summary>
    internal static long Transfer(GuestThread thread, OpenFile file, long call, ulong buffer, long hostBuffer, ulong length, ulong offset, bool writes)
    {
        if (Check(thread, file, writes) is < 0 and var refused) return refused;
        var end = file.Terminal!;
        var keys = writes && end.IsMaster ? end.Terminal.SignalCharacters(file.HostDescriptor) : default;
        long result = thread.Block(call, file.HostDescriptor, hostBuffer, (long)length, (long)offset);
        if (result > 0 && keys != default)
        {
            Span<byte> typed = stackalloc byte[256];
            for (ulong done = 0; done < (ulong)result; done += (ulong)typed.Length)
            {
                var part = typed[..(int)Math.Min((ulong)typed.Length, (ulong)result - done)];
                if (thread.Get(buffer + done, part) < 0) break;
                end.Terminal.Typed(file.HostDescriptor, keys, part);
            }
        }
        return result;
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

    /// <summary>Whether a path of an unconfined guest, which the host resolves alone, names a pseudo-terminal.</summary>
    internal static bool NamesHostTerminal(GuestThread thread, ulong path)
    {
        Span<byte> start = stackalloc byte[7];
        return !thread.Process.Fs.Space.Confined && thread.Get(path, start) == 0 && start.SequenceEqual("/dev/pt"u8);
    }

    /// <summary>
    /// A character device was just opened: a pseudo-terminal's master side is remembered, so that <c>/dev/pts</c> shows it; its slave side becomes the
    /// controlling terminal of a session leader that has none (tty_ioctl(4)), unless O_NOCTTY.
    /// </summary>
    internal static void Opened(GuestThread thread, int fd, bool mayControl)
    {
        const ulong master = 0x502;
        var process = thread.Process;
        var file = process.Files.Acquire(fd);
        if (file == null) return;
        if (FileStat.OfDescriptor(file.HostDescriptor, out var stat) == 0 && (stat.Mode & FileType.Mask) == FileType.Character)
        {
            ulong device = stat.RawDevice;
            if (device == master)
            {
                using var number = HostScratch.Rent(4);
                if (HostSyscall.Invoke(HostCall.IoCtl, file.HostDescriptor, GetPtyNumber, number.Address) == 0)
                {
                    int n = BinaryPrimitives.ReadInt32LittleEndian(number.Span);
                    if (process.Fs.Space.Confined) process.Fs.Space.Terminals[n] = 0;
                    file.Terminal = new TerminalEnd(process.Realm.Terminals.Add(n), IsMaster: true);
                }
            }
            else if ((device >> 8 & 0xfff) == 136 && process.Realm.Terminals[(int)(device & 0xff | device >> 12 & 0xfff00)] is { } terminal)
            {
                file.Terminal = new TerminalEnd(terminal, IsMaster: false);
                if (mayControl && terminal.Session == 0) Control(process, terminal, steal: false);
            }
        }
        file.Release();
    }
}
