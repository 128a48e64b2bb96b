using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.Linux.Signals;

namespace Vivarium.Linux.Vfs;

/// <summary>Signals for files that become ready (O_ASYNC with F_SETOWN: SIGIO, or what F_SETSIG says). The host is not asked for signals, which would be viv's: it tells by
/// an edge-triggered epoll, and the owner among the guests is signalled.</summary>
/// <remarks>Thread-safe. A thread of its own from the first such file on. As with Linux's a signal is a hint: what was ready is looked for by poll.</remarks>
internal sealed class AsyncFiles(Realm realm) : IDisposable
{
    private const int CloseOnExec = 0x80000, Add = 1, Delete = 2, EventSize = 12, MostEvents = 16;
    private const uint In = 1, Urgent = 2, Out = 4, Error = 8, HangUp = 16, EdgeTriggered = 1u << 31;

    private sealed class Watch(OpenFile file, int descriptor, uint ready)
    {
        public readonly OpenFile File = file;

        /// <summary>The guest's number when it asked: si_fd.</summary>
        public readonly int Descriptor = descriptor;

        /// <summary>What was ready before: the first report tells of it too.</summary>
        public uint Before = ready;
    }

    private readonly Lock _lock = new();
    private readonly Dictionary<long, Watch> _watched = [];
    private HostThread? _thread;
    private int _set = -1;
    private long _last;
    private bool _disposed;

    /// <summary>O_ASYNC was set or cleared.</summary>
    public void Change(OpenFile file, int descriptor, bool on)
    {
        lock (_lock)
        {
            if (on == (file.AsyncKey != 0) || _disposed) return;
            if (!on)
            {
                ForgetLocked(file);
                return;
            }
            if (_set < 0)
            {
                _set = (int)HostSyscall.Invoke(HostCall.EPollCreate1, CloseOnExec);
                if (_set < 0) return;
                new Thread(Run, 256 << 10) { IsBackground = true, Name = "SIGIO" }.Start();
            }
            file.AsyncFiles = this;
            file.AsyncKey = ++_last;
            using var lease = HostScratch.Rent(16);
            MemoryMarshal.Write(lease.Span, file.HostDescriptor);
            MemoryMarshal.Write(lease.Span[4..], (uint)0xffff_0000 | In | Urgent | Out);
            lease.Span[6..8].Clear();
            HostSyscall.Invoke(7 /* poll */, lease.Address, 1, 0);
            _watched[file.AsyncKey] = new Watch(file, descriptor, MemoryMarshal.Read<ushort>(lease.Span[6..]));
            MemoryMarshal.Write(lease.Span, In | Urgent | Out | EdgeTriggered);
            MemoryMarshal.Write(lease.Span[4..], file.AsyncKey);
            // Files that are always ready, which is what the host does not watch, signal nothing.
            if (HostSyscall.Invoke(HostCall.EPollCtl, _set, Add, file.HostDescriptor, lease.Address) < 0) _watched.Remove(file.AsyncKey);
        }
    }

    /// <summary>The file is about to be closed.</summary>
    public void Forget(OpenFile file)
    {
        lock (_lock) ForgetLocked(file);
    }

    private void ForgetLocked(OpenFile file)
    {
        if (_watched.Remove(file.AsyncKey))
        {
            using var lease = HostScratch.Rent(16);
            HostSyscall.Invoke(HostCall.EPollCtl, _set, Delete, file.HostDescriptor, lease.Address);
        }
        file.AsyncKey = 0;
    }

    private void Run()
    {
        var thread = HostThread.Current;
        lock (_lock) _thread = thread;
        var events = new HostBuffer(MostEvents * EventSize);
        for (;;)
        {
            thread.ClearKick();
            lock (_lock) if (_disposed) break;
            long count = thread.BlockingSyscall(HostCall.EPollPWait, _set, events.Address, MostEvents, -1, 0, 8);
            for (int i = 0; i < count; i++)
            {
                uint ready = MemoryMarshal.Read<uint>(events.Bytes[(i * EventSize)..]);
                long key = MemoryMarshal.Read<long>(events.Bytes[(i * EventSize + 4)..]);
                Watch? watch;
                uint fresh;
                lock (_lock)
                {
                    if (!_watched.TryGetValue(key, out watch)) continue;
                    fresh = ready & ~watch.Before;
                    watch.Before = 0;
                }
                if (fresh != 0) Signal(watch, ready, fresh);
            }
        }
        HostSyscall.Invoke(HostCall.Close, _set);
    }

    // si_code and si_band of POLL_IN, POLL_OUT, POLL_ERR, POLL_PRI, POLL_HUP (asm-generic/siginfo.h).
    private static (int Code, uint Band) Kind(uint ready) =>
        (ready & Urgent) != 0 ? (5, 0x82u) : (ready & In) != 0 ? (1, 0x41u) : (ready & HangUp) != 0 ? (6, 0x18u) : (ready & Error) != 0 ? (4, 8u) : (2, 0x304u);

    private void Signal(Watch watch, uint ready, uint fresh)
    {
        var file = watch.File;
        int owner = file.Owner;
        if (owner == 0) return;
        var (code, band) = Kind((fresh & ~Out) != 0 ? fresh : ready);
        var info = file.OwnerSignal == 0 ? SigInfo.Kernel(Signals.Signal.SIGIO) : new SigInfo(file.OwnerSignal, 0, code, 0, band, (uint)watch.Descriptor, 0, 0);
        bool May(GuestProcess target) => file.OwnerSetBy == 0 || file.OwnerSetBy == target.Credentials.Uid || file.OwnerSetBy == target.Credentials.SavedUid;
        if (owner > 0 && file.OwnerIsThread)
        {
            if (realm.Threads.TryGetValue(owner, out var thread) && May(thread.Process)) realm.SendToThread(thread, info);
            return;
        }
        foreach (var process in realm.Processes.Values)
        {
            if (!process.HasEnded && (owner > 0 ? process.Pid == owner : process.ProcessGroup == -owner) && May(process)) process.Queue(null, info);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            _thread?.Kick();
        }
    }
}
