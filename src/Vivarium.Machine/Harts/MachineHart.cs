using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Harts;

/// <summary>One hart of a machine, with the host thread that runs it.</summary>
/// <remarks>
/// What says so may be called from any thread; the rest only from the hart's own thread (SBI calls), or while the machine is quiet. This file is
/// what others see; <c>MachineHart.Loop.cs</c> runs the guest.
/// </remarks>
public sealed partial class MachineHart : IHartEnvironment, IDisposable
{
    private readonly MachineTimers _timers;

    internal MachineHart(MachineCore core, int id, MachineTimers timers)
    {
        (Core, Id, _timers) = (core, id, timers);
        Cpu = new Hart(core.Memory.Ram);
        Unit = new PrivilegedUnit(Cpu, id, core.Features, core.Memory, this) { DeliversTraps = true };
    }

    /// <summary>The machine.</summary>
    public MachineCore Core { get; }

    /// <summary><c>mhartid</c>: 0, 1, 2...</summary>
    public int Id { get; }

    /// <summary>Registers and pc.</summary>
    public Hart Cpu { get; }

    /// <summary>Modes, CSRs and virtual memory.</summary>
    public PrivilegedUnit Unit { get; }

    /// <summary>The privilege mode.</summary>
    public PrivilegeMode Mode => Unit.Mode;

    /// <summary>The HSM state; any thread.</summary>
    public HartStatus Status
    {
        get => (HartStatus)Volatile.Read(ref _status);
        private set => Volatile.Write(ref _status, (int)value);
    }

    /// <summary>Drives an interrupt-pending bit of the hart from outside (SSIP 1, MSIP 3, STIP 5, MTIP 7, SEIP 9, MEIP 11); any thread. Wakes
    /// <c>wfi</c> and running code. SSIP is a latch, which the guest clears.</summary>
    public void SetInterrupt(int cause, bool asserted)
    {
        Unit.SetWire(cause, asserted);
        if (asserted) Wake();
    }

    /// <summary>SBI's timer: lowers STIP, and raises it when the clock reaches <paramref name="ticks"/>; <see cref="ulong.MaxValue"/> never. Any thread.</summary>
    public void SetTimer(ulong ticks) => Unit.WriteStimecmp(ticks);

    /// <summary>ACLINT's timer: MTIP is up from when the clock reaches <paramref name="ticks"/> (mtimecmp) until it is set anew. Any thread.</summary>
    public void SetMachineTimer(ulong ticks) => _timers.Set(this, MachineTimers.Machine, ticks);

    /// <summary>HSM start: a stopped hart begins at <paramref name="pc"/> with the rest of its state reset; any thread. In S-mode it finds what
    /// firmware leaves: traps and interrupts delegated, PMP open, everything in <c>menvcfg</c> on.</summary>
    /// <returns>False where it is not stopped.</returns>
    public bool Start(ulong pc, PrivilegeMode mode, ulong a0, ulong a1)
    {
        if (!Prepare(pc, mode, a0, a1)) return false;
        Launch();
        Wake();
        return true;
    }

    /// <summary>The first half of <see cref="Start"/>: it is to start, which a saved machine remembers, with the next <see cref="Launch"/>.</summary>
    internal bool Prepare(ulong pc, PrivilegeMode mode, ulong a0, ulong a1)
    {
        lock (_launching)
        {
            if (Status != HartStatus.Stopped) return false;
            _start = new StartRequest(pc, mode, a0, a1); // first: the hart's thread may be there, and look
            Status = HartStatus.StartPending;
            return true;
        }
    }

    /// <summary>Gives the hart its thread, if it has none.</summary>
    internal void Launch()
    {
        lock (_launching)
        {
            if (_thread is not null) return;
            _thread = new Thread(Loop, 1 << 20) { IsBackground = true, Name = $"hart {Id}" };
            _thread.Start();
        }
    }

    /// <summary>HSM stop: takes effect at the next instruction boundary; any thread.</summary>
    public void Stop()
    {
        Interlocked.CompareExchange(ref _status, (int)HartStatus.StopPending, (int)HartStatus.Started);
        Wake();
    }

    /// <summary>HSM retentive suspend: like <c>wfi</c>. Only from the hart's own SBI call; it goes on behind the call when an
    /// interrupt that <c>sie</c> enables is pending.</summary>
    public void Suspend() => Suspend(null);

    /// <summary>HSM non-retentive suspend, and system suspend. Only from the hart's own SBI call; when an interrupt that <c>sie</c> enables is pending it
    /// begins at <paramref name="pc"/> in S-mode, with <c>satp</c> 0 and interrupts off, its number in a0 and <paramref name="opaque"/> in a1.</summary>
    public void SuspendAndResumeAt(ulong pc, ulong opaque) => Suspend(new StartRequest(pc, PrivilegeMode.Supervisor, (ulong)Id, opaque));

    private void Suspend(StartRequest? resume)
    {
        if (resume is not null) _start = resume;
        _resumesAtStart = resume is not null;
        Status = HartStatus.Suspended;
        Unit.WaitsForInterrupt = true;
        Cpu.RequestExit();
    }

    /// <summary>Makes this hart forget translations or code; complete when it returns. Any thread; a hart's own thread (SBI) may fence any hart.</summary>
    /// <param name="kind">What.</param>
    /// <param name="start">First virtual address (not for <see cref="FenceKind.Instructions"/>).</param>
    /// <param name="size">Bytes; <see cref="ulong.MaxValue"/> for all.</param>
    /// <param name="asid">The address space of <see cref="FenceKind.OneAddressSpace"/>.</param>
    public void RemoteFence(FenceKind kind, ulong start = 0, ulong size = ulong.MaxValue, ulong asid = 0)
    {
        var ticket = PostFence(new FenceRequest(kind, start, size, asid));
        AwaitFence(ticket);
    }

    /// <summary>CPU time of the hart's host thread, in nanoseconds; any thread.</summary>
    public long CpuNanoseconds => _hostThread is { } thread ? ThreadClock.Nanoseconds(thread.Id) : 0;

    ulong IHartEnvironment.Time => Core.Clock.Ticks;

    ulong? IHartEnvironment.TimeOrigin => Core.Clock.Origin;

    void IHartEnvironment.SetSupervisorTimer(ulong compare) => _timers.Set(this, MachineTimers.Supervisor, compare);

    public void Dispose() => Cpu.Dispose();
}
