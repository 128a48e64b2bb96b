using System.Diagnostics;
using Vivarium.Host;

namespace Vivarium.Machine.Harts;

/// <summary>The timers of all harts: one host thread that sleeps until the earliest is due.</summary>
/// <remarks>Setting a timer takes its lock and, only where it is due before the thread would wake, a futex call.</remarks>
internal sealed class MachineTimers : IDisposable
{
    /// <summary>A hart's two timers.</summary>
    public const int Supervisor = 0, Machine = 1;

    private static readonly int[] Causes = [5, 7]; // STIP, MTIP

    private readonly MachineClock _clock;
    private readonly Lock _lock = new();
    private readonly MemoryWindow _word = MemoryWindow.Reserve(4096);
    private readonly List<(MachineHart Hart, ulong[] Due)> _harts = [];
    private readonly Thread _thread;
    private ulong _sleepsUntil;
    private uint _changes;
    private bool _disposed;
    private HostThread? _hostThread;

    public MachineTimers(MachineClock clock)
    {
        _clock = clock;
        if (_word.MapAnonymous(0, 4096, Protection.Read | Protection.Write) != 0) throw new OutOfMemoryException("cannot map a page for timers");
        _thread = new Thread(Loop, 256 << 10) { IsBackground = true, Name = "timers" };
    }

    /// <summary>Threads' CPU time in nanoseconds.</summary>
    public long CpuNanoseconds => _hostThread is { } thread ? ThreadClock.Nanoseconds(thread.Id) : 0;

    /// <summary>The timer's pending bit is up from <paramref name="ticks"/> on, and down until then.</summary>
    public void Set(MachineHart hart, int timer, ulong ticks)
    {
        bool due;
        lock (_lock)
        {
            var slots = SlotsOf(hart);
            due = _clock.Ticks >= ticks;
            hart.Unit.SetWire(Causes[timer], due);
            slots[timer] = due ? ulong.MaxValue : ticks;
            if (!due && ticks < _sleepsUntil)
            {
                _sleepsUntil = ticks;
                if (_thread.ThreadState.HasFlag(System.Threading.ThreadState.Unstarted)) _thread.Start();
                _word.Store32(0, ++_changes);
                HostFutex.Wake(_word, 0, 1);
            }
        }
        if (due) hart.Wake();
    }

    private ulong[] SlotsOf(MachineHart hart)
    {
        foreach (var (known, due) in _harts)
        {
            if (known == hart) return due;
        }
        var slots = new[] { ulong.MaxValue, ulong.MaxValue };
        if (_harts.Count == 0) _sleepsUntil = ulong.MaxValue;
        _harts.Add((hart, slots));
        return slots;
    }

    private void Loop()
    {
        var thread = HostThread.Current;
        _hostThread = thread;
        while (true)
        {
            uint changes;
            ulong next = ulong.MaxValue;
            lock (_lock)
            {
                if (_disposed) return;
                var now = _clock.Ticks;
                foreach (var (hart, due) in _harts)
                {
                    for (var timer = 0; timer < due.Length; timer++)
                    {
                        if (due[timer] <= now)
                        {
                            due[timer] = ulong.MaxValue;
                            hart.SetInterrupt(Causes[timer], true);
                        }
                        next = Math.Min(next, due[timer]);
                    }
                }
                _sleepsUntil = next;
                changes = _changes;
            }
            var nanoseconds = _clock.NanosecondsAt(next);
            thread.ClearKick();
            HostFutex.Wait(thread, _word, 0, changes, nanoseconds == long.MaxValue ? HostFutex.Forever : nanoseconds);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            _word.Store32(0, ++_changes);
            HostFutex.Wake(_word, 0, 1);
        }
        if (!_thread.ThreadState.HasFlag(System.Threading.ThreadState.Unstarted)) _thread.Join();
        _word.Dispose();
    }
}
