using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Privileged;

/// <summary>What a machine's harts have: the choice that the device tree tells the guest.</summary>
public sealed record HartFeatures
{
    /// <summary>Instructions that exist; others are illegal.</summary>
    public ExtensionSet Extensions { get; init; } = ExtensionSet.All;

    /// <summary>Levels of page table that <c>satp</c> takes at most: 3 (Sv39), 4 (Sv48) or 5 (Sv57).</summary>
    public int PageTableLevels { get; init; } = 5;

    /// <summary>Bits of ASID that <c>satp</c> keeps, 0..16.</summary>
    public int AsidBits { get; init; } = 16;

    /// <summary>64 KiB translations by the N bit.</summary>
    public bool Svnapot { get; init; } = true;

    /// <summary>Page-based memory types (accepted; all memory is coherent).</summary>
    public bool Svpbmt { get; init; } = true;

    /// <summary><c>sinval.vma</c> and its fences.</summary>
    public bool Svinval { get; init; } = true;

    /// <summary>An entry of a page table that becomes valid is seen without a fence: what is not valid is never kept.</summary>
    public bool Svvptc { get; init; } = true;

    /// <summary>Hardware updates of A and D, where <c>menvcfg.ADUE</c> asks for them.</summary>
    public bool Svadu { get; init; } = true;

    /// <summary><c>stimecmp</c>.</summary>
    public bool Sstc { get; init; } = true;

    /// <summary>PMP entries: 0, 16 (or less).</summary>
    public int PmpEntries { get; init; } = 16;

    /// <summary>Everything that viv has.</summary>
    public static HartFeatures Full { get; } = new();

    /// <summary>The minimal machine: rv64imafdc with Zicsr, Zifencei and Zicntr, Sv39, nothing optional.</summary>
    public static HartFeatures Minimal { get; } = new()
    {
        Extensions = ExtensionSet.Rv64gc, PageTableLevels = 3, AsidBits = 0, Svnapot = false, Svpbmt = false, Svinval = false, Svvptc = false, Svadu = false,
        Sstc = false,
    };
}
