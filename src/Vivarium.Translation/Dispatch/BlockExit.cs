namespace Vivarium.Translation.Dispatch;

/// <summary>Why emitted code returned to the dispatcher; also the value that it returns.</summary>
internal enum BlockExit
{
    /// <summary>A direct jump that is not chained; ExitInfo is its record.</summary>
    Direct,

    /// <summary>An indirect jump whose target is not in the jump table; ExitInfo is the guest target.</summary>
    Indirect,

    /// <summary>ecall; ExitInfo is the record.</summary>
    Ecall,

    /// <summary>fence.i; ExitInfo is the record.</summary>
    FenceI,

    /// <summary>The interpreter must execute the instruction; ExitInfo is the record.</summary>
    Interpret,

    /// <summary>On a machine: the block needs floating point, which cannot run as it is now; ExitInfo is the record.</summary>
    FloatOff,

    /// <summary>A quick block that was entered often wants the full pipeline; nothing of it ran. ExitInfo is the host address behind its code.</summary>
    Promote,

    /// <summary>On a machine: a region's entry did not find its pages in the TLB; nothing of it ran. ExitInfo is the record of its refusal.</summary>
    RegionPages,

    /// <summary>A host fault; the raw registers are in the dump.</summary>
    Fault,

    /// <summary>The entry stub saw an exit request; nothing ran.</summary>
    Aborted,

    /// <summary>A host fault in a region of the optimising tier: registers are those of its entry, or of its last checkpoint. Vector registers are in the dump.</summary>
    RegionFault,
}
