namespace Vivarium.Machine.Virtio;

/// <summary>Feature bits that belong to no device type (virtio 1.2, section 6).</summary>
public static class VirtioFeatures
{
    public const ulong IndirectDescriptors = 1UL << 28;
    public const ulong EventIndex = 1UL << 29;
    public const ulong Version1 = 1UL << 32;
    public const ulong RingReset = 1UL << 40;

    /// <summary>What every device here offers.</summary>
    public const ulong Common = IndirectDescriptors | EventIndex | Version1 | RingReset;
}

/// <summary>Bits of the device status field (virtio 1.2, section 2.1).</summary>
[Flags]
public enum VirtioStatus : byte
{
    None = 0,
    Acknowledge = 1,
    Driver = 2,
    DriverOk = 4,
    FeaturesOk = 8,
    NeedsReset = 64,
    Failed = 128,
}
