namespace Vivarium.Machine.Devices;

/// <summary>A device that takes typed input: the serial port, or a virtio console. Thread-safe.</summary>
public interface IConsolePort
{
    /// <summary>Hands input to the guest; returns how many of the bytes were taken.</summary>
    int Receive(ReadOnlySpan<byte> bytes);

    /// <summary>Called, on any thread, when there is room again after <see cref="Receive"/> did not take everything.</summary>
    Action? RoomMade { get; set; }
}
