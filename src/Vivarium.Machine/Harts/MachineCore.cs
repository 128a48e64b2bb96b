using Vivarium.Machine.Buses;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Harts;

/// <summary>The processors of a machine: harts over one physical memory, each on a host thread of its own. A board adds the devices.</summary>
/// <remarks>Lock order: a device's own lock, then the timers' lock; <c>_control</c> is taken with none of them held.</remarks>
public sealed class MachineCore : IDisposable
{
    private readonly object _control = new();
    private readonly MachineTimers _timers;
    private int _quiets, _resting;
    private volatile bool _quiet, _shutdown;

    /// <param name="memory">Physical memory; stays the caller's.</param>
    /// <param name="hartCount">1 to 64.</param>
    /// <param name="features">What the harts have; <see cref="HartFeatures.Full"/> at first.</param>
    /// <param name="executor">What runs them, and is disposed with the machine; null for the reference interpreter.</param>
    public MachineCore(PhysicalMemory memory, int hartCount, HartFeatures? features = null, Executor? executor = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(hartCount, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(hartCount, 64);
        (Memory, Features, Executor) = (memory, features ?? HartFeatures.Full, executor ?? new ReferenceInterpreter());
        if (executor is not null) memory.RamWritten = executor.InvalidateCode;
        _timers = new MachineTimers(Clock);
        Harts = [.. Enumerable.Range(0, hartCount).Select(id => new MachineHart(this, id, _timers))];
    }

    /// <summary>Physical memory.</summary>
    public PhysicalMemory Memory { get; }

    /// <summary>What the harts have.</summary>
    public HartFeatures Features { get; }

    /// <summary>What runs the harts.</summary>
    public Executor Executor { get; }

    /// <summary><c>mtime</c>.</summary>
    public MachineClock Clock { get; } = new();

    /// <summary>By hart id.</summary>
    public IReadOnlyList<MachineHart> Harts { get; }

    /// <summary>Answers ecall from S-mode; null where firmware in M-mode does. Set before a hart starts.</summary>
    public ISupervisorBinaryInterface? Sbi { get; set; }

    /// <summary>CPU time of the timers' thread in nanoseconds.</summary>
    public long TimerCpuNanoseconds => _timers.CpuNanoseconds;

    /// <summary><see cref="MachineHart.RemoteFence"/> on the harts of a mask (bit n is hart n), side by side.</summary>
    public void RemoteFence(ulong mask, FenceKind kind, ulong start = 0, ulong size = ulong.MaxValue, ulong asid = 0)
    {
        Span<long> tickets = stackalloc long[64];
        foreach (var hart in Harts)
        {
            if ((mask >> hart.Id & 1) != 0) tickets[hart.Id] = hart.PostFence(kind, start, size, asid);
        }
        foreach (var hart in Harts)
        {
            if ((mask >> hart.Id & 1) != 0) hart.AwaitFence(tickets[hart.Id]);
        }
    }

    /// <summary>Brings every hart to rest at an instruction boundary, out of <c>wfi</c> too, and returns when all are; nests. Not from a hart's own thread.</summary>
    public void Quiesce()
    {
        lock (_control)
        {
            _quiets++;
            _quiet = true;
            foreach (var hart in Harts) hart.Wake();
            while (_resting < Harts.Count(hart => hart.Thread is { IsAlive: true }) && !_shutdown) Monitor.Wait(_control, 50);
        }
    }

    /// <summary>Ends one <see cref="Quiesce"/>.</summary>
    public void Resume()
    {
        lock (_control)
        {
            if (_quiets == 0) throw new InvalidOperationException("the machine is not quiet");
            if (--_quiets > 0) return;
            _quiet = false;
            Monitor.PulseAll(_control);
        }
    }

    /// <summary>Stops all harts for good and joins their threads; called from one of them (SBI reset), that one ends on return.</summary>
    public void Shutdown()
    {
        _shutdown = true;
        lock (_control) Monitor.PulseAll(_control);
        foreach (var hart in Harts) hart.Wake();
        foreach (var hart in Harts)
        {
            if (hart.Thread is { } thread && thread != Thread.CurrentThread) thread.Join();
        }
    }

    /// <summary>On a hart's thread: rests while the machine is to be quiet; false where it is to end.</summary>
    internal bool ObeyControl()
    {
        if (_quiet)
        {
            lock (_control)
            {
                _resting++;
                Monitor.PulseAll(_control);
                while (_quiet && !_shutdown) Monitor.Wait(_control);
                _resting--;
            }
        }
        return !_shutdown;
    }

    public void Dispose()
    {
        Shutdown();
        _timers.Dispose();
        foreach (var hart in Harts) hart.Dispose();
        Executor.Dispose();
        Memory.RamWritten = null;
    }
}
