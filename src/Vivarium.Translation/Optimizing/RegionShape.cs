using Vivarium.Translation.Optimizing.Lowering;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing;

/// <summary>What has to be known of a compiled region to put it in service, whether it has just been compiled or comes from the persistent cache.</summary>
internal sealed record RegionShape
{
    public required ulong Head { get; init; }

    /// <summary>Where it can be entered: its head, and others.</summary>
    public required ulong[] Ways { get; init; }

    /// <summary>Guest bytes that it was made from: consecutive runs, sorted.</summary>
    public required (ulong Start, int Length)[] Runs { get; init; }

    /// <summary>On a machine, the pages of these, sorted; empty in a process.</summary>
    public CodePage[] Pages { get; init; } = [];
    public required int Instructions { get; init; }

    /// <summary>The ways out. By the first, one for each way in, the region refuses, or has tier 1 make a step there.</summary>
    public required RegionExit[] Exits { get; init; }

    /// <summary>Registers that the function reads or writes, and writes, in the hart's state.</summary>
    public required uint UsedIntegers { get; init; }
    public required uint WrittenIntegers { get; init; }
    public required uint UsedFloats { get; init; }
    public required uint WrittenFloats { get; init; }

    /// <summary>See <see cref="RegionLowering.CountsRounds"/>.</summary>
    public required bool CountsRounds { get; init; }

    /// <summary>See <see cref="GuestRegion.CountsAsTierOne"/>.</summary>
    public bool CountsAsTierOne { get; init; }

    /// <summary>See <see cref="GuestRegion.LoopOfTierOne"/>.</summary>
    public required bool LoopsInTierOne { get; init; }

    /// <summary>Bit per vector register that the function uses.</summary>
    public required uint Vectors { get; init; }

    /// <summary>Its jumps to the exits.</summary>
    public required RegionLink[] Links { get; init; }

    /// <summary>Faults are exact.</summary>
    public bool IsExact { get; init; }

    public bool HasFloat => UsedFloats != 0;

    public static RegionShape Of(GuestRegion region, RegionLowering lowering, uint vectors, RegionLink[] links, bool exact = false) => new()
    {
        Head = region.Head, Ways = [.. region.Ways.Select(static w => w.Pc)], Runs = region.Runs, Pages = region.Pages ?? [], Instructions = region.Instructions, Exits = [.. lowering.Exits],
        UsedIntegers = lowering.UsedIntegers, WrittenIntegers = lowering.WrittenIntegers,
        UsedFloats = lowering.UsedFloats, WrittenFloats = lowering.WrittenFloats, CountsRounds = lowering.CountsRounds, LoopsInTierOne = region.LoopOfTierOne.Length != 0, CountsAsTierOne = region.CountsAsTierOne,
        Vectors = vectors, Links = links, IsExact = exact,
    };
}
