using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Tests.Devices;

/// <summary>A wire that remembers its level.</summary>
internal sealed class Wire : IInterruptLine
{
    public bool Level { get; private set; }

    public int Changes { get; private set; }

    public void Set(bool asserted)
    {
        if (asserted != Level)
            Changes++;
        Level = asserted;
    }
}

internal static class Saved
{
    /// <summary>Saves one part and loads it into another.</summary>
    public static void Copy(IStateful from, IStateful to)
    {
        var stream = new MemoryStream();
        StateArchive.Save(stream, [from]);
        stream.Position = 0;
        StateArchive.Load(stream, [to]);
    }
}
