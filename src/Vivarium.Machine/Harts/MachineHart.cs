using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Harts;

/// <summary>One hart of a machine, with the host thread that runs it.</summary>
/// <remarks>What says so may be called from any thread; the rest only from the hart's own thread (SBI calls), or while the machine is quiet.</remarks>
public sealed class MachineHart
{
    internal MachineHart(MachineCore core, int id)
    {
        (Core, Id) = (core, id);
        Cpu = new Hart(core.Memory.Ram);
    }

    /// <summary>The machine.</summary>
    public MachineCore Core { get; }

    /// <summary><c>mhartid</c>: 0, 1, 2...</summary>
    public int Id { get; }

    /// <summary>Registers and pc.</summary>
    public Hart Cpu { get; }

    /// <summary>The privilege mode.</summary>
    public PrivilegeMode Mode { get; private set; }

    /// <summary>The HSM state; any thread.</summary>
    public HartStatus Status { get; private set; } = HartStatus.Stopped;

    /// <summary>Drives an interrupt-pending bit of the hart from outside (SSIP 1, MSIP 3, STIP 5, MTIP 7, SEIP 9, MEIP 11); any thread. Wakes
    /// <c>wfi</c> and running code.</summary>
    public void SetInterrupt(int cause, bool asserted) => throw new NotImplementedException();

    /// <summary>SBI's timer: lowers STIP, and raises it when the clock reaches <paramref name="ticks"/>; <see cref="ulong.MaxValue"/> never. Any thread.</summary>
    public void SetTimer(ulong ticks) => throw new NotImplementedException();

    /// <summary>ACLINT's timer: MTIP is up from when the clock reaches <paramref name="ticks"/> (mtimecmp) until it is set anew. Any thread.</summary>
    public void SetMachineTimer(ulong ticks) => throw new NotImplementedException();

    /// <summary>HSM start: a stopped hart begins at <paramref name="pc"/> with the rest of its state reset; any thread.</summary>
    /// <returns>False where it is not stopped.</returns>
    public bool Start(ulong pc, PrivilegeMode mode, ulong a0, ulong a1) => throw new NotImplementedException();

    /// <summary>HSM stop: takes effect at the next instruction boundary; any thread.</summary>
    public void Stop() => throw new NotImplementedException();

    /// <summary>HSM retentive suspend: like <c>wfi</c>, also with interrupts disabled; only from the hart's own SBI call. The call returns 0 in a0 when an
    /// enabled interrupt is pending.</summary>
    public void Suspend() => throw new NotImplementedException();

    /// <summary>Makes this hart forget translations or code; complete when it returns. Any thread; a hart's own thread (SBI) may fence any hart.</summary>
    /// <param name="kind">What.</param>
    /// <param name="start">First virtual address (not for <see cref="FenceKind.Instructions"/>).</param>
    /// <param name="size">Bytes; <see cref="ulong.MaxValue"/> for all.</param>
    /// <param name="asid">The address space of <see cref="FenceKind.OneAddressSpace"/>.</param>
    public void RemoteFence(FenceKind kind, ulong start = 0, ulong size = ulong.MaxValue, ulong asid = 0) => throw new NotImplementedException();
}
