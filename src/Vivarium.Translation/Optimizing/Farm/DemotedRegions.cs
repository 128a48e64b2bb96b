using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing.Farm;

/// <summary>The regions that did not pay: the same is not made again.</summary>
/// <remarks>Under its engine's lock.</remarks>
internal sealed class DemotedRegions
{
    // How often regions of one head may fail before it is left alone.
    private const int MaxTries = 6;

    private readonly List<(CodePlace Head, int Instructions, bool HasWays, bool WasLeft)> _regions = [];

    /// <param name="head">Of the region.</param>
    /// <param name="instructions">It had so many.</param>
    /// <param name="hasWays">See <see cref="GuestRegion.HasWays"/>.</param>
    /// <param name="wasLeft">It was left at once: perhaps for code that had not run when it was made.</param>
    public void Add(CodePlace head, int instructions, bool hasWays, bool wasLeft) => _regions.Add((head, instructions, hasWays, wasLeft));

    /// <summary>Whether some region with this head failed.</summary>
    public bool Contains(ulong head) => _regions.Exists(r => r.Head.Pc == head);

    /// <summary>Whether a region would fare as one that failed. One that has grown a little would not fare otherwise, unless that had been left at once.</summary>
    public bool HasLike(CodePlace head, GuestRegion region)
    {
        int tries = 0;
        foreach ((CodePlace where, int instructions, bool hasWays, bool wasLeft) in _regions)
        {
            if (where != head) continue;
            int most = wasLeft ? 0 : instructions / 8;
            if (++tries == MaxTries || (hasWays == region.HasWays && Math.Abs(instructions - region.Instructions) <= most)) return true;
        }
        return false;
    }
}
