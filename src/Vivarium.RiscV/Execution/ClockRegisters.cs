namespace Vivarium.RiscV.Execution;

/// <summary>
/// CSRs of process mode that read a clock of the host in nanoseconds, in the range that the manual leaves to implementations (custom, user,
/// read-only): <see cref="First"/> + CLOCK_*. The vDSO reads clocks by them. <c>cycle</c> and <c>time</c> count CLOCK_MONOTONIC.
/// </summary>
public static class ClockRegisters
{
    /// <summary>The CSR of CLOCK_REALTIME (0).</summary>
    public const int First = 0xcc0;

    /// <summary>The CSR of CLOCK_TAI (11).</summary>
    public const int Last = First + 11;

    /// <summary>CLOCK_MONOTONIC.</summary>
    public const int Monotonic = 1;

    /// <summary>What <c>time</c> counts: ticks per second. Linux tells guests this number (riscv_hwprobe, device tree).</summary>
    public const ulong TimeFrequency = 10_000_000;

    private const int Cycle = 0xc00, Time = 0xc01;

    /// <summary>Which clock a CSR of process mode reads, and what its nanoseconds are divided by; false for a CSR that is no clock.</summary>
    public static bool TryFind(int register, out int clock, out int divisor)
    {
        (clock, divisor) = register switch
        {
            Cycle => (Monotonic, 1),
            Time => (Monotonic, (int)(1_000_000_000 / TimeFrequency)),
            >= First and <= Last => (register - First, 1),
            _ => (-1, 0),
        };
        return divisor != 0;
    }
}
