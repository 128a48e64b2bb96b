using Vivarium.Machine.Harts;

namespace Vivarium.Machine.Firmware;

/// <summary>The harts that a call means: <c>hart_mask</c> and <c>hart_mask_base</c> (SBI 2.0, section 3.1).</summary>
internal static class HartMask
{
    /// <summary>Calls <paramref name="action"/> for each hart of the mask; with a base of -1 for all.</summary>
    /// <returns>Invalid parameter where the mask names a hart that is not there; then nothing was done.</returns>
    public static SbiResult ForEach<T>(IReadOnlyList<MachineHart> harts, ulong mask, ulong @base, T argument, Action<MachineHart, T> action)
    {
        if (@base == ulong.MaxValue)
        {
            foreach (var hart in harts)
                action(hart, argument);
            return SbiResult.Ok();
        }

        ulong highest = mask == 0 ? 0 : (ulong)(63 - System.Numerics.BitOperations.LeadingZeroCount(mask));
        if (mask != 0 && (@base >= (ulong)harts.Count || highest >= (ulong)harts.Count - @base))
            return SbiError.InvalidParameter;
        for (; mask != 0; mask &= mask - 1)
            action(harts[(int)@base + System.Numerics.BitOperations.TrailingZeroCount(mask)], argument);
        return SbiResult.Ok();
    }
}
