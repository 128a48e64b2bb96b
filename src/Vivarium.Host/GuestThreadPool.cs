using System.Runtime.InteropServices;
using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

/// <summary>Host threads for guest threads. Making a .NET thread costs some ten times what waking a parked one does, so threads that
/// have run a body park for a while and take the next.</summary>
/// <remarks>Thread-safe. All threads are background threads: they never keep the process alive. A kick meant for the previous body may
/// reach the next one (spurious kicks are part of the contract of <see cref="HostThread"/>).</remarks>
public sealed unsafe class GuestThreadPool(int maxIdle = 64, int stackBytes = 1 << 20) : IDisposable
{
    private const long IdleSeconds = 30;

    private readonly Lock _gate = new();
    private readonly Stack<Worker> _idle = new();
    private bool _disposed;

    /// <summary>Parked threads.</summary>
    public int IdleCount
    {
        get { lock (_gate) return _idle.Count; }
    }

    /// <summary>Runs <paramref name="body"/> on a thread of its own. What it throws ends the process, as on any thread.</summary>
    public void Start(Action body)
    {
        Worker? worker = null;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_idle.Count > 0) worker = _idle.Pop();
        }
        if (worker is not null)
        {
            worker.Give(body);
            return;
        }
        worker = new Worker(this);
        worker.Launch(body, stackBytes);
    }

    /// <summary>Lets the parked threads end; those that run a body end after it.</summary>
    public void Dispose()
    {
        Worker[] idle;
        lock (_gate)
        {
            _disposed = true;
            idle = [.. _idle];
            _idle.Clear();
        }
        foreach (var worker in idle) worker.Give(null);
    }

    private bool Park(Worker worker)
    {
        lock (_gate)
        {
            if (_disposed || _idle.Count >= maxIdle) return false;
            _idle.Push(worker);
            return true;
        }
    }

    /// <summary>Takes a worker out of the parked ones after its idle time; false where somebody has taken it to give it a body.</summary>
    private bool Retire(Worker worker)
    {
        lock (_gate)
        {
            if (!_idle.Contains(worker)) return false;
            var others = _idle.Where(other => other != worker).Reverse().ToArray();
            _idle.Clear();
            foreach (var other in others) _idle.Push(other);
            return true;
        }
    }

    private sealed class Worker(GuestThreadPool pool)
    {
        // SAFETY: futex word in native memory, made with the worker and freed by its own thread when nobody can give it a body any more.
        // It is 1 while a body (or the order to end) is waiting in _next.
        private readonly int* _given = (int*)NativeMemory.AllocZeroed(sizeof(int));
        private Action? _next;

        public void Launch(Action body, int stackBytes)
        {
            _next = body;
            new Thread(Loop, stackBytes) { IsBackground = true, Name = "guest" }.Start();
        }

        public void Give(Action? body)
        {
            _next = body;
            // SAFETY: the worker frees the word only after it has seen this 1, possibly before the wake below: waking an address without
            // waiters (or without memory) is harmless, FUTEX_WAKE does not touch the word of a private futex.
            Volatile.Write(ref *_given, 1);
            HostSyscall.InvokeFast(SysFutex, (long)_given, 1 | 128 /* FUTEX_WAKE_PRIVATE */, 1);
        }

        private void Loop()
        {
            while (_next is { } body)
            {
                _next = null;
                body();
                body = null;
                HostThread.Current.ClearKick();
                if (!pool.Park(this) || !Wait()) break;
            }
            NativeMemory.Free(_given);
        }

        /// <summary>Waits for the next body; false where none came in time.</summary>
        private bool Wait()
        {
            var timeout = stackalloc long[2];
            (timeout[0], timeout[1]) = (IdleSeconds, 0);
            while (Volatile.Read(ref *_given) == 0)
            {
                const int timedOut = -110;
                if (HostSyscall.Invoke(SysFutex, (long)_given, 0 | 128 /* FUTEX_WAIT_PRIVATE */, 0, (long)timeout) != timedOut) continue;
                if (pool.Retire(this)) return false;
            }
            Volatile.Write(ref *_given, 0);
            return true;
        }
    }
}
