using Vivarium.Machine.Buses;

namespace Vivarium.Machine.Devices;

/// <summary>Why a machine stopped.</summary>
public enum ShutdownKind
{
    /// <summary>The guest switched the machine off.</summary>
    PowerOff,

    /// <summary>The guest asked for a reset.</summary>
    Reboot,

    /// <summary>The guest gave up; the code says more.</summary>
    Failure,

    /// <summary>The user ended it from outside.</summary>
    Quit,
}

/// <summary>The end of a machine's run.</summary>
/// <param name="Kind">Why.</param>
/// <param name="Code">What the guest left for the outside world; 0 unless it failed.</param>
public readonly record struct Shutdown(ShutdownKind Kind, int Code = 0);

/// <summary>
/// The reset controller: a word written at offset 0 ends the run. 0x5555 switches off, 0x7777 resets, <c>code &lt;&lt; 16 | 0x3333</c> fails
/// (compatible <c>sifive,test1</c>, and <c>syscon-poweroff</c>/<c>syscon-reboot</c> over it). It has no state.
/// </summary>
public sealed class Syscon(Action<Shutdown> shutdown) : IMmioDevice
{
    public const ulong Size = 0x1000;
    public const uint PowerOff = 0x5555;
    public const uint Reset = 0x7777;
    public const uint Fail = 0x3333;

    public ulong Read(ulong offset, int size) => 0;

    public void Write(ulong offset, int size, ulong value)
    {
        if (offset != 0 || size < 2)
            return;
        switch ((uint)value & 0xffff)
        {
            case PowerOff:
                shutdown(new Shutdown(ShutdownKind.PowerOff));
                break;
            case Reset:
                shutdown(new Shutdown(ShutdownKind.Reboot));
                break;
            case Fail:
                shutdown(new Shutdown(ShutdownKind.Failure, (int)((uint)value >> 16)));
                break;
        }
    }
}
