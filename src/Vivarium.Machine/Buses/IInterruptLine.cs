namespace Vivarium.Machine.Buses;

/// <summary>A level-triggered wire from a device to an interrupt controller, or from a controller to a hart. Any thread may drive it.</summary>
public interface IInterruptLine
{
    /// <summary>Raises or lowers the wire; setting it to what it is does nothing.</summary>
    void Set(bool asserted);
}

/// <summary>The other way to ask for an interrupt: something happened, once, and no level stays up until it is seen to. Any thread may drive it.</summary>
public interface IEventLine
{
    /// <summary>It happened: one interrupt, unless one is pending already. What happens while the interrupt is served makes another one.</summary>
    void Raise();

    /// <summary>It has been seen to without the interrupt: what is not on its way yet need not come.</summary>
    void Withdraw();
}
