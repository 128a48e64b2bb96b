namespace Vivarium.RiscV.Privileged;

/// <summary>Fields of <c>mstatus</c> and <c>sstatus</c> (Privileged Architecture, "Machine Status Registers").</summary>
internal static class Mstatus
{
    public const ulong Sie = 1UL << 1, Mie = 1UL << 3, Spie = 1UL << 5, Mpie = 1UL << 7, Spp = 1UL << 8, Mpp = 3UL << MppShift, Fs = 3UL << FsShift,
        Mprv = 1UL << 17, Sum = 1UL << 18, Mxr = 1UL << 19, Tvm = 1UL << 20, Tw = 1UL << 21, Tsr = 1UL << 22, Sd = 1UL << 63;

    public const int MppShift = 11, FsShift = 13;

    /// <summary>UXL and SXL: both 64 bits, read-only.</summary>
    public const ulong Lengths = 2UL << 32 | 2UL << 34;

    public const ulong Writable = Sie | Mie | Spie | Mpie | Spp | Mpp | Fs | Mprv | Sum | Mxr | Tvm | Tw | Tsr;

    /// <summary>What <c>sstatus</c> shows of it, and may change.</summary>
    public const ulong SupervisorWritable = Sie | Spie | Spp | Fs | Sum | Mxr, SupervisorVisible = SupervisorWritable | 2UL << 32 | Sd;
}

/// <summary>Interrupt causes, and bits of <c>mip</c> and <c>mie</c>.</summary>
internal static class Interrupts
{
    public const int SupervisorSoftware = 1, MachineSoftware = 3, SupervisorTimer = 5, MachineTimer = 7, SupervisorExternal = 9, MachineExternal = 11;

    public const uint Ssip = 1 << SupervisorSoftware, Stip = 1 << SupervisorTimer, Seip = 1 << SupervisorExternal;

    public const uint All = Ssip | Stip | Seip | 1 << MachineSoftware | 1 << MachineTimer | 1 << MachineExternal;

    /// <summary>What <c>mideleg</c> can give to S-mode.</summary>
    public const uint Delegable = Ssip | Stip | Seip;

    /// <summary>Highest first (Privileged Architecture, "Machine Interrupt Registers").</summary>
    public static ReadOnlySpan<byte> Priority => [MachineExternal, MachineSoftware, MachineTimer, SupervisorExternal, SupervisorSoftware, SupervisorTimer];
}

/// <summary>Fields of <c>menvcfg</c> and <c>senvcfg</c>.</summary>
internal static class Envcfg
{
    public const ulong Fiom = 1, Cbie = 3 << 4, Cbcfe = 1 << 6, Cbze = 1 << 7, Adue = 1UL << 61, Pbmte = 1UL << 62, Stce = 1UL << 63;
}
