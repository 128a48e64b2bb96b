using Vivarium.Machine.Harts;

namespace Vivarium.Machine.Firmware;

/// <summary>Standard error codes (SBI 2.0, table 1).</summary>
public enum SbiError : long
{
    Success = 0,
    Failed = -1,
    NotSupported = -2,
    InvalidParameter = -3,
    Denied = -4,
    InvalidAddress = -5,
    AlreadyAvailable = -6,
    AlreadyStarted = -7,
    AlreadyStopped = -8,
    NoSharedMemory = -9,
    InvalidState = -10,
    BadRange = -11,
}

/// <summary>What an SBI function returns: <c>a0</c> and <c>a1</c>.</summary>
public readonly record struct SbiResult(SbiError Error, ulong Value = 0)
{
    public static SbiResult Ok(ulong value = 0) => new(SbiError.Success, value);

    public static implicit operator SbiResult(SbiError error) => new(error);
}

/// <summary>The arguments of a call: <c>a0</c> to <c>a5</c> of the calling hart.</summary>
public readonly struct SbiArguments(MachineHart hart)
{
    public ulong this[int index] => hart.Cpu[10 + index];
}

/// <summary>One SBI extension.</summary>
public interface ISbiExtension
{
    /// <summary>Extension id (<c>a7</c>).</summary>
    uint Id { get; }

    /// <summary>What <c>sbi_probe_extension</c> answers; 0 for an extension that is not there.</summary>
    ulong Probe => 1;

    /// <summary>Performs function <paramref name="function"/> (<c>a6</c>) for <paramref name="hart"/>, on its thread.</summary>
    SbiResult Call(MachineHart hart, uint function, SbiArguments arguments);
}

/// <summary>
/// The built-in SBI: a table from extension ids to extensions. What answers <c>ecall</c> from S-mode where no firmware runs in M-mode.
/// Extensions are added before the machine starts.
/// </summary>
public sealed class SupervisorCalls : ISupervisorBinaryInterface
{
    private readonly Dictionary<uint, ISbiExtension> _extensions = [];

    public SupervisorCalls() => Add(new BaseExtension(this));

    /// <summary>Calls answered so far, by all harts (not exact while they run).</summary>
    public long Count { get; private set; }

    /// <summary>Plugs an extension in; one with the same id is replaced.</summary>
    public void Add(ISbiExtension extension) => _extensions[extension.Id] = extension;

    /// <summary>What <c>sbi_probe_extension</c> answers.</summary>
    public ulong Probe(ulong id) => id <= uint.MaxValue && _extensions.TryGetValue((uint)id, out var extension) ? extension.Probe : 0;

    public void Call(MachineHart hart)
    {
        Count++;
        ulong id = hart.Cpu[17];
        if (id <= LegacyExtension.Last)
        {
            // Legacy calls return one value and leave a1 alone.
            hart.Cpu[10] = _extensions.TryGetValue((uint)id, out var legacy) ? legacy.Call(hart, 0, new SbiArguments(hart)).Value : unchecked((ulong)SbiError.NotSupported);
            return;
        }

        SbiResult result = id <= uint.MaxValue && hart.Cpu[16] <= uint.MaxValue && _extensions.TryGetValue((uint)id, out var extension)
            ? extension.Call(hart, (uint)hart.Cpu[16], new SbiArguments(hart))
            : SbiError.NotSupported;
        hart.Cpu[10] = unchecked((ulong)result.Error);
        hart.Cpu[11] = result.Value;
    }

    /// <summary>Chapter 4: who answers, and what is there.</summary>
    private sealed class BaseExtension(SupervisorCalls calls) : ISbiExtension
    {
        private const ulong SpecificationVersion = 2 << 24; // 2.0
        private const ulong ImplementationId = 0x56_49_56; // "VIV"; the specification hands out the small numbers

        public uint Id => 0x10;

        public SbiResult Call(MachineHart hart, uint function, SbiArguments arguments) => function switch
        {
            0 => SbiResult.Ok(SpecificationVersion),
            1 => SbiResult.Ok(ImplementationId),
            2 => SbiResult.Ok(0x0001_0000),
            3 => SbiResult.Ok(calls.Probe(arguments[0])),
            4 or 5 or 6 => SbiResult.Ok(), // mvendorid, marchid, mimpid
            _ => SbiError.NotSupported,
        };
    }
}
