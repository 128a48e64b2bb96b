using Vivarium.Machine.Buses;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Harts;

/// <summary>The processors of a machine: harts over one physical memory, each on a host thread of its own. A board adds the devices.</summary>
public sealed class MachineCore : IDisposable
{
    public MachineCore(PhysicalMemory memory, int hartCount, HartFeatures? features = null)
    {
        (Memory, Features) = (memory, features ?? HartFeatures.Full);
        Harts = [.. Enumerable.Range(0, hartCount).Select(id => new MachineHart(this, id))];
    }

    /// <summary>Physical memory; owned by the caller.</summary>
    public PhysicalMemory Memory { get; }

    /// <summary>What the harts have.</summary>
    public HartFeatures Features { get; }

    /// <summary><c>mtime</c>.</summary>
    public MachineClock Clock { get; } = new();

    /// <summary>By hart id.</summary>
    public IReadOnlyList<MachineHart> Harts { get; }

    /// <summary>Answers ecall from S-mode; null where firmware in M-mode does. Set before a hart starts.</summary>
    public ISupervisorBinaryInterface? Sbi { get; set; }

    /// <summary>Brings every hart to rest at an instruction boundary, out of <c>wfi</c> too, and returns when all are; nests. Not from a hart's own thread.</summary>
    public void Quiesce() => throw new NotImplementedException();

    /// <summary>Ends one <see cref="Quiesce"/>.</summary>
    public void Resume() => throw new NotImplementedException();

    /// <summary>Stops all harts for good and joins their threads, unless called from one of them (SBI reset), which then ends on return.</summary>
    public void Shutdown() => throw new NotImplementedException();

    public void Dispose()
    {
        foreach (var hart in Harts) hart.Cpu.Dispose();
    }
}
