using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Tests.Devices;

/// <summary>A wire that remembers its level, and how often it changed and rose. Any thread.</summary>
internal sealed class Wire : IInterruptLine
{
    private volatile bool _level;
    private int _changes, _rises;

    public bool Level => _level;

    public int Changes => Volatile.Read(ref _changes);

    public int Rises => Volatile.Read(ref _rises);

    public void Set(bool asserted)
    {
        if (asserted != _level)
            Interlocked.Increment(ref _changes);
        if (asserted && !_level)
            Interlocked.Increment(ref _rises);
        _level = asserted;
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
