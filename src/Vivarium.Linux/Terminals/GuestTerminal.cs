using System.Buffers.Binary;
using System.Collections.Concurrent;
using Vivarium.Host;
using Vivarium.Linux.Signals;
using Vivarium.Linux.Vfs;

namespace Vivarium.Linux.Terminals;

/// <summary>
/// A pseudo-terminal that a guest opened. The line discipline is the host kernel's; which session it controls, which process group is in the
/// foreground and which signals keys send is kept here, since the host knows no guest processes.
/// </summary>
/// <remarks>Thread-safe.</remarks>
internal sealed class GuestTerminal(Realm realm, int number)
{
    private const int GetAttributes = 0x5401, GetPeer = 0x5441, SysPoll = 7, InputFlags = 12, ControlCharacters = 17;
    private const uint SignalKeys = 1, ToStop = 0x100; // ISIG, TOSTOP of c_lflag
    private int _masters;

    /// <summary>N of <c>/dev/pts/N</c>.</summary>
    public int Number { get; } = number;

    /// <summary>The device number that stat and <c>/proc/PID/stat</c> show.</summary>
    public int Device => (136 << 8) | (Number & 0xff) | ((Number & ~0xff) << 12);

    /// <summary>The session it controls; 0 for none.</summary>
    public volatile int Session;

    /// <summary>The foreground process group; 0 for none.</summary>
    public volatile int Foreground;

    public void AddMaster() => Interlocked.Increment(ref _masters);

    /// <summary>The last descriptor of the master side has gone: the line is down.</summary>
    public void ReleaseMaster()
    {
        if (Interlocked.Decrement(ref _masters) != 0) return;
        realm.Terminals.Remove(this);
        HangUp();
    }

    /// <summary>SIGHUP and SIGCONT to the session's leader and the foreground group; the session has no terminal from now on.</summary>
    public void HangUp()
    {
        int session = Session, group = Foreground;
        Session = Foreground = 0;
        if (session != 0 && realm.Processes.TryGetValue(session, out var leader) && leader.ProcessGroup != group) HangUp(leader);
        if (group != 0) foreach (var process in Members(group)) HangUp(process);
    }

    private static void HangUp(GuestProcess process)
    {
        process.Queue(null, SigInfo.Kernel(Signal.SIGHUP));
        process.Queue(null, SigInfo.Kernel(Signal.SIGCONT));
    }

    /// <summary>Sends a signal of the kernel's to the foreground group.</summary>
    public void SignalForeground(int signal)
    {
        int group = Foreground;
        if (group == 0) return;
        foreach (var process in Members(group)) process.Queue(null, SigInfo.Kernel(signal));
    }

    private IEnumerable<GuestProcess> Members(int group) => realm.Processes.Values.Where(p => p.ProcessGroup == group && !p.HasEnded);

    /// <summary>The characters that are signals now: INTR, QUIT and SUSP where ISIG is set, else none. Asked before a write to the master side, as what
    /// the guest changes once it has seen the bytes must not count for them.</summary>
    public (byte Interrupt, byte Quit, byte Suspend) SignalCharacters(int host)
    {
        if (Foreground == 0) return default;
        using var attributes = HostScratch.Rent(64);
        if (HostSyscall.Invoke(HostCall.IoCtl, host, GetAttributes, attributes.Address) < 0) return default;
        var termios = attributes.Span;
        if ((BinaryPrimitives.ReadUInt32LittleEndian(termios[InputFlags..]) & SignalKeys) == 0) return default;
        return (termios[ControlCharacters], termios[ControlCharacters + 1], termios[ControlCharacters + 10]);
    }

    /// <summary>Bytes that were typed at the master side while <paramref name="keys"/> were signals.</summary>
    public void Typed(int host, (byte Interrupt, byte Quit, byte Suspend) keys, ReadOnlySpan<byte> bytes)
    {
        bool settled = false;
        foreach (byte b in bytes)
        {
            if (b == 0) continue; // _POSIX_VDISABLE
            int signal = b == keys.Interrupt ? Signal.SIGINT : b == keys.Quit ? Signal.SIGQUIT : b == keys.Suspend ? Signal.SIGTSTP : 0;
            if (signal == 0) continue;
            if (!settled) Settle(host);
            settled = true;
            SignalForeground(signal);
        }
    }

    // The host's line discipline takes what was written in a work queue; a guest that acts on the signal must not overtake it (and change ISIG
    // before the key has gone through). poll on the slave side waits for that queue.
    private static void Settle(int host)
    {
        long slave = HostSyscall.Invoke(HostCall.IoCtl, host, GetPeer, OpenFlags.ReadWrite | OpenFlags.NoCtty | OpenFlags.NonBlock | OpenFlags.CloseOnExec);
        if (slave < 0) return;
        using var entry = HostScratch.Rent(8);
        BinaryPrimitives.WriteInt32LittleEndian(entry.Span, (int)slave);
        BinaryPrimitives.WriteInt32LittleEndian(entry.Span[4..], 1); // POLLIN
        HostSyscall.Invoke(SysPoll, entry.Address, 1, 0);
        HostSyscall.Invoke(HostCall.Close, slave);
    }

    /// <summary>
    /// Whether a thread may read from its controlling terminal (SIGTTIN) or change it (SIGTTOU): 0, or what the syscall answers. Writing is
    /// restricted only under TOSTOP.
    /// </summary>
    public long Check(GuestThread thread, int signal, int hostWritten = -1)
    {
        var process = thread.Process;
        int group = process.ProcessGroup;
        if (Session != process.Session || Foreground == 0 || Foreground == group) return 0;
        if (hostWritten >= 0)
        {
            using var attributes = HostScratch.Rent(64);
            if (HostSyscall.Invoke(HostCall.IoCtl, hostWritten, GetAttributes, attributes.Address) < 0) return 0;
            if ((BinaryPrimitives.ReadUInt32LittleEndian(attributes.Span[InputFlags..]) & ToStop) == 0) return 0;
        }
        bool ignored;
        lock (process.Sync) ignored = process.Actions.Ignores(signal);
        if (ignored || (thread.SignalMask & Signal.Bit(signal)) != 0) return signal == Signal.SIGTTIN ? -Errno.EIO : 0;
        if (IsOrphaned(group)) return -Errno.EIO;
        foreach (var member in Members(group)) member.Queue(null, SigInfo.Kernel(signal));
        return -Errno.ERESTARTSYS;
    }

    // A group is orphaned when no member has a parent in another group of the same session: nobody would continue it.
    private bool IsOrphaned(int group)
    {
        foreach (var member in Members(group))
            if (member.Parent is { } parent && parent.ProcessGroup != group && parent.Session == member.Session) return false;
        return true;
    }
}

/// <summary>One side of a <see cref="GuestTerminal"/>, as an open file is it.</summary>
internal sealed record TerminalEnd(GuestTerminal Terminal, bool IsMaster);

/// <summary>The pseudo-terminals of a realm. Thread-safe.</summary>
internal sealed class TerminalTable(Realm realm)
{
    private readonly ConcurrentDictionary<int, GuestTerminal> _byNumber = new();

    public GuestTerminal? this[int number] => _byNumber.GetValueOrDefault(number);

    /// <summary>A master side was opened.</summary>
    public GuestTerminal Add(int number)
    {
        var terminal = _byNumber.AddOrUpdate(number, n => new GuestTerminal(realm, n), (n, _) => new GuestTerminal(realm, n));
        terminal.AddMaster();
        return terminal;
    }

    public void Remove(GuestTerminal terminal) => _byNumber.TryRemove(KeyValuePair.Create(terminal.Number, terminal));

    /// <summary>The terminal that controls a session, if a guest opened it.</summary>
    public GuestTerminal? OfSession(int session)
    {
        if (_byNumber.IsEmpty) return null;
        foreach (var (_, terminal) in _byNumber) if (terminal.Session == session) return terminal;
        return null;
    }

    /// <summary>A session's leader has ended: its terminal hangs up.</summary>
    public void LeaderEnded(int session) => OfSession(session)?.HangUp();
}
