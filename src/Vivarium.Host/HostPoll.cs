
namespace Vivarium.Host;

/// <summary>What a descriptor is ready for (epoll's bits).</summary>
[Flags]
public enum PollEvents : uint
{
    None = 0,
    Readable = 1,
    Writable = 4,
    Error = 8,
    HangUp = 16,
}

/// <summary>Waits for many descriptors at once (epoll, level-triggered), and for <see cref="Wake"/> from other threads.</summary>
public sealed unsafe class HostPoll : IDisposable
{
    private const int SysRead = 0, SysWrite = 1, SysClose = 3, SysEpollWait = 232, SysEpollControl = 233, SysEventFd = 290, SysEpollCreate = 291;
    private const int CloseOnExec = 0x80000, NonBlocking = 0x800, EventSize = 12, MostEvents = 64;
    private const ulong WakeTag = ulong.MaxValue;

    private readonly int _epoll, _event;
    private int _awake; // 1 from the first Wake until the loop has seen it: the second of two wakes costs nothing
    private bool _disposed;

    /// <exception cref="InvalidOperationException">The host has no descriptors left.</exception>
    public HostPoll()
    {
        _epoll = (int)HostSyscall.Invoke(SysEpollCreate, CloseOnExec);
        _event = (int)HostSyscall.Invoke(SysEventFd, 0, CloseOnExec | NonBlocking);
        if (_epoll < 0 || _event < 0 || Control(1, _event, PollEvents.Readable, WakeTag) < 0)
            throw new InvalidOperationException($"cannot make an event loop: errno {-Math.Min(_epoll, _event)}");
    }

    /// <summary>Waits for events on a descriptor; <paramref name="tag"/> (not all ones) comes back with them.</summary>
    public int Add(int descriptor, PollEvents events, ulong tag) => Control(1, descriptor, events, tag);

    /// <summary>Changes what is waited for.</summary>
    public int Change(int descriptor, PollEvents events, ulong tag) => Control(3, descriptor, events, tag);

    /// <summary>Forgets a descriptor (closing it does so too).</summary>
    public int Remove(int descriptor) => Control(2, descriptor, PollEvents.None, 0);

    private int Control(int operation, int descriptor, PollEvents events, ulong tag)
    {
        var record = stackalloc byte[EventSize];
        *(uint*)record = (uint)events;
        *(ulong*)(record + 4) = tag;
        return (int)HostSyscall.Invoke(SysEpollControl, _epoll, operation, descriptor, (long)record);
    }

    /// <summary>Makes the current or next <see cref="Wait"/> return. Any thread.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref _awake, 1) != 0) return;
        ulong one = 1;
        HostSyscall.Invoke(SysWrite, _event, (long)&one, 8);
    }

    /// <summary>Waits at most <paramref name="milliseconds"/> (-1: for ever). Only one thread. Returns the events found, 0 also where only a wake came.</summary>
    public int Wait(Span<(ulong Tag, PollEvents Events)> results, int milliseconds)
    {
        var records = stackalloc byte[EventSize * MostEvents];
        var count = HostSyscall.Invoke(SysEpollWait, _epoll, (long)records, Math.Min(results.Length, MostEvents), milliseconds);
        var found = 0;
        for (var index = 0; index < count; index++)
        {
            var record = records + index * EventSize;
            var tag = *(ulong*)(record + 4);
            if (tag != WakeTag)
            {
                results[found++] = (tag, (PollEvents)(*(uint*)record));
                continue;
            }
            ulong value;
            HostSyscall.Invoke(SysRead, _event, (long)&value, 8);
            Interlocked.Exchange(ref _awake, 0);
        }
        return found;
    }

    /// <summary>Closes it; nobody may wait or wake any more.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        HostSyscall.Invoke(SysClose, _epoll);
        HostSyscall.Invoke(SysClose, _event);
    }
}
