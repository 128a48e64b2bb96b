using Vivarium.Machine.Harts;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Board;

/// <summary>The section of a saved machine that comes first: what it is made of, and its clock.</summary>
internal sealed class MachineSection(MachineConfiguration configuration, MachineClock clock) : IStateful
{
    public string SectionName => "machine";

    public void Save(StateWriter writer)
    {
        writer.Write(configuration.Harts);
        writer.Write(configuration.Memory);
        writer.Write(configuration.Minimal);
        writer.Write(configuration.Firmware is not null);
        writer.Write(configuration.Pci);
        writer.Write(clock.Ticks);
    }

    public void Load(StateReader reader)
    {
        Expect("cpus", reader.ReadInt32(), configuration.Harts);
        Expect("bytes of memory", reader.ReadUInt64(), configuration.Memory);
        Expect("as its minimal setting", reader.ReadBool(), configuration.Minimal);
        Expect("as its firmware setting", reader.ReadBool(), configuration.Firmware is not null);
        Expect("as its PCI setting", reader.ReadBool(), configuration.Pci);
        clock.Ticks = reader.ReadUInt64();
    }

    private static void Expect<T>(string what, T saved, T here)
        where T : IEquatable<T>
    {
        if (!saved.Equals(here))
            throw new StateException($"the saved machine has {saved} {what}, this one {here}");
    }
}
