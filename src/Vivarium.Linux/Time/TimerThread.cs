using Vivarium.Host;

namespace Vivarium.Linux.Time;

/// <summary>Calls back at points in time; one thread, started when first needed.</summary>
/// <remarks>Thread-safe. Callbacks run one after the other and must not block.</remarks>
internal sealed class TimerThread : IDisposable
{
    private readonly Lock _lock = new();
    private readonly PriorityQueue<Action, long> _queue = new();
    private readonly HostBuffer _buffer = new(64);
    private HostThread? _thread;
    private bool _started, _disposed;
    private long _next = long.MaxValue;

    /// <summary>Calls <paramref name="action"/> at a CLOCK_MONOTONIC time in nanoseconds.</summary>
    public void At(long time, Action action)
    {
        lock (_lock)
        {
            if (_disposed) return;
            _queue.Enqueue(action, time);
            if (!_started)
            {
                _started = true;
                new Thread(Run, 256 << 10) { IsBackground = true, Name = "timers" }.Start();
            }
            else if (time < _next)
            {
                _thread?.Kick();
            }
        }
    }

    private void Run()
    {
        var thread = HostThread.Current;
        lock (_lock) _thread = thread;
        for (;;)
        {
            thread.ClearKick();
            Action? due = null;
            lock (_lock)
            {
                if (_disposed) return;
                _next = long.MaxValue;
                if (_queue.TryPeek(out _, out long time))
                {
                    if (time <= GuestThread.MonotonicNow()) due = _queue.Dequeue();
                    else _next = time;
                }
            }
            if (due != null)
            {
                due();
                continue;
            }
            long deadline = _next;
            _buffer.At<Timespec>(0) = Timespec.FromNanoseconds(deadline);
            // clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME): a kick ends it.
            thread.BlockingSyscall(230, 1, 1, _buffer.Address, 0);
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
