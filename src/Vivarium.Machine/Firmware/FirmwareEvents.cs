using System.Numerics;

namespace Vivarium.Machine.Firmware;

/// <summary>Firmware events, numbered as the PMU extension does (SBI 2.0, table 26). What a built-in firmware never does (emulating accesses,
/// hypervisor fences) stays at 0. Each "received" follows its "sent".</summary>
public enum FirmwareEvent
{
    MisalignedLoad, MisalignedStore, AccessLoad, AccessStore, IllegalInstruction, SetTimer, IpiSent, IpiReceived, FenceISent, FenceIReceived,
    SfenceVmaSent, SfenceVmaReceived, SfenceVmaAsidSent, SfenceVmaAsidReceived, HfenceGvmaSent, HfenceGvmaReceived, HfenceGvmaVmidSent,
    HfenceGvmaVmidReceived, HfenceVvmaSent, HfenceVvmaReceived, HfenceVvmaAsidSent, HfenceVvmaAsidReceived,
}

/// <summary>How often the built-in SBI did what, by hart. Thread-safe.</summary>
public sealed class FirmwareEvents(int harts)
{
    /// <summary>Kinds of events.</summary>
    public const int Kinds = (int)FirmwareEvent.HfenceVvmaAsidReceived + 1;

    private readonly ulong[] _counts = new ulong[harts * Kinds];

    /// <summary>Events so far.</summary>
    public ulong this[int hart, FirmwareEvent kind] => Volatile.Read(ref _counts[hart * Kinds + (int)kind]);

    public void Count(int hart, FirmwareEvent kind) => Interlocked.Increment(ref _counts[hart * Kinds + (int)kind]);

    /// <summary>A hart sent something to the harts of a mask, which receive it.</summary>
    public void CountSent(int hart, FirmwareEvent sent, ulong mask)
    {
        Count(hart, sent);
        for (; mask != 0; mask &= mask - 1)
            Count(BitOperations.TrailingZeroCount(mask), sent + 1);
    }
}
