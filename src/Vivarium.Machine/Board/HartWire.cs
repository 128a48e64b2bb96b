using Vivarium.Machine.Buses;
using Vivarium.Machine.Harts;

namespace Vivarium.Machine.Board;

/// <summary>A wire into a hart.</summary>
internal sealed class HartWire(MachineHart hart, int cause) : IInterruptLine
{
    public const int MachineSoftware = 3, SupervisorExternal = 9, MachineExternal = 11;

    public void Set(bool asserted) => hart.SetInterrupt(cause, asserted);
}
