namespace Vivarium.Machine.Buses;

/// <summary>A level-triggered wire from a device to an interrupt controller, or from a controller to a hart. Any thread may drive it.</summary>
public interface IInterruptLine
{
    /// <summary>Raises or lowers the wire; setting it to what it is does nothing.</summary>
    void Set(bool asserted);
}
