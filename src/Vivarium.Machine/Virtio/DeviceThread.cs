using Vivarium.Host;
using Vivarium.Machine.Harts;

namespace Vivarium.Machine.Virtio;

/// <summary>The host thread of a device: sleeps until it is woken (or a descriptor is ready), then calls its turn.</summary>
public sealed class DeviceThread : IDisposable
{
    private readonly HostPoll _poll = new();
    private readonly Action _turn;
    private readonly Thread _thread;
    private volatile bool _ending;
    private volatile int _threadId;

    /// <param name="name">Shown by the host's tools.</param>
    /// <param name="turn">What to do after each wake-up. An exception ends the device's thread; it is printed, and the host goes on.</param>
    public DeviceThread(string name, Action turn)
    {
        _turn = turn;
        _thread = new Thread(Run) { IsBackground = true, Name = name };
    }

    /// <summary>Descriptors whose readiness also causes a turn.</summary>
    public HostPoll Poll => _poll;

    /// <summary>CPU time that it has used; 0 once it has ended.</summary>
    public TimeSpan CpuTime => _threadId == 0 ? TimeSpan.Zero : TimeSpan.FromTicks(ThreadClock.Nanoseconds(_threadId) / 100);

    /// <summary>Starts it; turns may come from now on.</summary>
    public void Start() => _thread.Start();

    /// <summary>Causes a turn. Any thread.</summary>
    public void Wake() => _poll.Wake();

    private void Run()
    {
        _threadId = HostThread.Current.Id;
        Span<(ulong, PollEvents)> events = stackalloc (ulong, PollEvents)[16];
        try
        {
            while (!_ending)
            {
                _turn();
                _poll.Wait(events, -1);
            }
        }
        catch (Exception error)
        {
            // A fault of ours. The machine lives on without the device, and the line says which.
            Console.Error.WriteLine($"viv: device '{_thread.Name}' stopped: {error}");
        }
    }

    /// <summary>Ends the thread after its turn.</summary>
    public void Dispose()
    {
        if (_ending) return;
        _ending = true;
        _poll.Wake();
        if (_thread.IsAlive && Thread.CurrentThread != _thread) _thread.Join();
        _poll.Dispose();
    }
}
