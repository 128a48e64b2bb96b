using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Harts;

// The hart's thread. Whoever wants something of it (an interrupt, a fence, quiet) first writes down what, then calls Wake; the loop looks at all
// of that before it goes into the guest or to sleep, and so never misses one.
public sealed partial class MachineHart
{
    private sealed record StartRequest(ulong Pc, PrivilegeMode Mode, ulong A0, ulong A1);

    private readonly record struct FenceRequest(FenceKind Kind, ulong Start, ulong Size, ulong Asid);

    // Where the thread is. Set before the last look at requests, so that who posts one and then sees Host knows that it will be seen.
    private const int Host = 0, Guest = 1, Asleep = 2;

    private readonly Lock _launching = new();
    private readonly Lock _fenceLock = new();
    private readonly List<FenceRequest> _fences = [];
    private readonly List<FenceRequest> _fencesTaken = [];
    private long _fencesPosted, _fencesDone;
    private int _status = (int)HartStatus.Stopped;
    private int _where;
    private StartRequest? _start;
    private bool _resumesAtStart; // where suspended: begins at _start, instead of behind its call
    private ulong _idlePc;
    private int _idlePasses;
    private Thread? _thread;
    private HostThread? _hostThread;

    /// <summary>Traps taken, for statistics.</summary>
    public long Traps { get; private set; }

    /// <summary>How often the hart napped at a <c>wfi</c> that ended at once.</summary>
    internal long Naps { get; private set; }

    internal Thread? Thread => _thread;

    /// <summary>Makes the thread look at what was asked of it; any thread.</summary>
    internal void Wake()
    {
        Cpu.RequestExit();
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _where) != Host && Thread.CurrentThread != _thread) _hostThread?.Kick();
    }

    private void Loop()
    {
        var thread = HostThread.Current;
        _hostThread = thread;
        Cpu.RequestExit();
        ref var exitRequest = ref Cpu.State.ExitRequest;
        while (true)
        {
            if (Volatile.Read(ref exitRequest) != 0)
            {
                thread.ClearKick();
                Interlocked.Exchange(ref exitRequest, 0);
                var waited = false;
                if (!Core.ObeyControl()) break;
                ApplyFences();
                if (!ObeyStatus())
                {
                    Sleep(thread);
                    continue;
                }
                if (Unit.WaitsForInterrupt)
                {
                    if (!Unit.HasPendingInterrupt)
                    {
                        Sleep(thread);
                        continue;
                    }
                    Unit.WaitsForInterrupt = false;
                    if (Status == HartStatus.Suspended) EndSuspension();
                    else waited = true;
                }
                if (Unit.TakeInterrupt()) _idlePasses = 0;
                else if (waited) NapIfPolling(thread);
            }

            Volatile.Write(ref _where, Guest);
            Interlocked.MemoryBarrier();
            ExecutionExit exit = default;
            if (Volatile.Read(ref exitRequest) == 0) exit = Core.Executor.Run(Cpu);
            else exit = new(ExitKind.Interrupted);
            Volatile.Write(ref _where, Host);
            if (exit.Kind == ExitKind.Trap) HandleTrap(exit);
        }
        Status = HartStatus.Stopped;
    }

    /// <summary>Sleeps until somebody wakes; requests that came before are still there to be seen.</summary>
    private void Sleep(HostThread thread)
    {
        Volatile.Write(ref _where, Asleep);
        Interlocked.MemoryBarrier();
        const long pause = 34;
        if (Volatile.Read(ref Cpu.State.ExitRequest) == 0) thread.BlockingSyscall(pause);
        Volatile.Write(ref _where, Host);
        // What the hart waits for is looked at anew, whoever woke it.
        Cpu.RequestExit();
    }

    /// <summary>
    /// After a <c>wfi</c> that an interrupt ended which the hart then did not take: where one <c>wfi</c> ends so many times in a row, the guest polls memory around it, as
    /// OpenSBI's waiting harts do with an IPI pending that only hart_start's code acknowledges. Such a hart naps, so that it does not take a host
    /// processor from the hart that it waits for. (A <c>wfi</c> may last as long as it likes; systems that idle take what woke them, and are not slowed.)
    /// </summary>
    private unsafe void NapIfPolling(HostThread thread)
    {
        const int many = 64;
        const long nanosleep = 35;
        if (Cpu.Pc != _idlePc) (_idlePc, _idlePasses) = (Cpu.Pc, 0);
        if (++_idlePasses < many) return;
        Naps++;
        var time = stackalloc long[2] { 0, 500_000 };
        Volatile.Write(ref _where, Asleep);
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref Cpu.State.ExitRequest) == 0) thread.BlockingSyscall(nanosleep, (long)time);
        Volatile.Write(ref _where, Host);
    }

    private void HandleTrap(in ExecutionExit exit)
    {
        Traps++;
        if (exit.Cause == TrapCause.EnvironmentCall && Unit.Mode == PrivilegeMode.Supervisor && Core.Sbi is { } sbi)
        {
            Cpu.Pc += 4;
            sbi.Call(this);
            return;
        }
        Unit.EnterTrap(exit.Cause, exit.Value);
    }

    /// <summary>Starts and stops the hart as HSM asked; false where it is stopped.</summary>
    private bool ObeyStatus()
    {
        switch (Status)
        {
            case HartStatus.StartPending:
                Begin(_start!);
                Status = HartStatus.Started;
                return true;
            case HartStatus.StopPending:
                Status = HartStatus.Stopped;
                return false;
            case HartStatus.Stopped:
                return false;
            default:
                return true;
        }
    }

    private unsafe void Begin(StartRequest start)
    {
        for (var i = 1; i < 32; i++) Cpu[i] = 0;
        for (var i = 0; i < 32; i++) Cpu.State.F[i] = 0;
        (Cpu.State.Fflags, Cpu.State.Frm, Cpu.State.ReservationAddress) = (0, 0, ulong.MaxValue);
        (Cpu.Pc, Cpu[10], Cpu[11]) = (start.Pc, start.A0, start.A1);
        if (start.Mode == PrivilegeMode.Supervisor) Unit.EnterSupervisor();
        else Unit.EnterMachine();
    }

    private void EndSuspension()
    {
        Status = HartStatus.Started;
        if (!_resumesAtStart) return;
        var start = _start!;
        (Cpu.Pc, Cpu[10], Cpu[11], Cpu.State.ReservationAddress) = (start.Pc, start.A0, start.A1, ulong.MaxValue);
        Unit.ResumeSupervisor();
    }

    // Fences from other harts.

    private long PostFence(FenceRequest request)
    {
        if (Thread.CurrentThread == _thread)
        {
            Apply(request);
            return 0;
        }
        long ticket;
        lock (_fenceLock)
        {
            _fences.Add(request);
            ticket = ++_fencesPosted;
        }
        Wake();
        return ticket;
    }

    internal long PostFence(FenceKind kind, ulong start, ulong size, ulong asid) => PostFence(new FenceRequest(kind, start, size, asid));

    /// <summary>Waits until the fence is done, or cannot matter: a hart outside the guest does it before it goes back in.</summary>
    internal void AwaitFence(long ticket)
    {
        var spin = new SpinWait();
        while (Volatile.Read(ref _fencesDone) < ticket && Volatile.Read(ref _where) == Guest) spin.SpinOnce(sleep1Threshold: -1);
    }

    private void ApplyFences()
    {
        if (Volatile.Read(ref _fencesPosted) == _fencesDone) return;
        long upTo;
        lock (_fenceLock)
        {
            _fencesTaken.AddRange(_fences);
            _fences.Clear();
            upTo = _fencesPosted;
        }
        foreach (var request in _fencesTaken) Apply(request);
        _fencesTaken.Clear();
        Volatile.Write(ref _fencesDone, upTo);
    }

    private void Apply(in FenceRequest request)
    {
        const ulong page = 4096, many = 64 * page;
        if (request.Kind == FenceKind.Instructions)
        {
            Unit.FenceInstructions();
            return;
        }
        ulong? asid = request.Kind == FenceKind.OneAddressSpace ? request.Asid : null;
        if (request.Size > many)
        {
            Unit.FlushTranslations(null, asid);
            return;
        }
        var last = request.Start + (request.Size == 0 ? 0 : request.Size - 1);
        for (var address = request.Start & ~(page - 1); ; address += page)
        {
            Unit.FlushTranslations(address, asid);
            if (address >= (last & ~(page - 1))) break;
        }
    }
}
