namespace Vivarium.Linux.Threads;

/// <summary>Host threads for guest threads: making one costs ten times what handing work to a parked one does.</summary>
internal sealed class GuestThreadPool : IDisposable
{
    private const int StackSize = 1 << 20;

    private readonly Stack<Worker> _idle = new();
    private bool _disposed;

    /// <summary>Runs <paramref name="thread"/> on a host thread of its own.</summary>
    public void Start(GuestThread thread)
    {
        Worker? worker;
        lock (_idle)
        {
            if (!_idle.TryPop(out worker)) worker = null;
        }
        if (worker == null)
        {
            worker = new Worker(this);
            worker.Next = thread;
            worker.Start();
            return;
        }
        worker.Next = thread;
        worker.Wake.Release();
    }

    private bool Return(Worker worker)
    {
        lock (_idle)
        {
            if (_disposed) return false;
            _idle.Push(worker);
            return true;
        }
    }

    public void Dispose()
    {
        lock (_idle)
        {
            _disposed = true;
            foreach (var worker in _idle)
            {
                worker.Next = null;
                worker.Wake.Release();
            }
            _idle.Clear();
        }
    }

    private sealed class Worker(GuestThreadPool pool)
    {
        public readonly SemaphoreSlim Wake = new(0);

        public GuestThread? Next;

        public void Start() => new Thread(Run, StackSize) { IsBackground = true, Name = "guest" }.Start();

        private void Run()
        {
            for (;;)
            {
                var thread = Next;
                if (thread == null) return;
                Next = null;
                thread.Run();
                if (!pool.Return(this)) return;
                Wake.Wait();
            }
        }
    }
}
