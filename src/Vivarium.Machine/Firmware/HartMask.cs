using System.Numerics;
using Vivarium.Machine.Harts;

namespace Vivarium.Machine.Firmware;

/// <summary>The harts that a call means: <c>hart_mask</c> and <c>hart_mask_base</c> (SBI 2.0, section 3.1).</summary>
internal static class HartMask
{
    /// <summary>The mask from hart 0 on; a base of -1 means all harts.</summary>
    /// <returns>False where the mask names a hart that is not there.</returns>
    public static bool TryGet(IReadOnlyList<MachineHart> harts, ulong mask, ulong @base, out ulong all)
    {
        all = ulong.MaxValue >> (64 - harts.Count); // 1 to 64
        if (@base == ulong.MaxValue)
            return true;
        ulong there = all;
        all = 0;
        if (mask == 0)
            return true;
        if (@base >= 64 || @base + (ulong)(63 - BitOperations.LeadingZeroCount(mask)) >= 64)
            return false;
        all = mask << (int)@base;
        return (all & ~there) == 0;
    }
}
