namespace Vivarium.Linux.Tests.Guest;

/// <summary>Cases of guest-tests that do not pass yet, with the reason. Empty is the aim; a case that passes again must leave the table.</summary>
internal static class KnownFailures
{
    private const string AnyTier = "*";

    private static readonly (string Tier, string Case, string Reason)[] Table =
    [
        (AnyTier, "signal_fetch_faults", "instructions are fetched from readable pages without PROT_EXEC"),
        (AnyTier, "code_write_xor_execute", "instructions are fetched from readable pages without PROT_EXEC"),
        (AnyTier, "code_across_pages", "instructions are fetched from readable pages without PROT_EXEC"),
        (AnyTier, "atomic_lr_sc_aba_deterministic", "store-conditional compares values, so it does not see A-B-A"),
        (AnyTier, "atomic_lr_sc_stack_aba", "store-conditional compares values, so it does not see A-B-A"),
        ("1", "thread_signal_storm", "SIGSEGV in tier 1 under a storm of signals"),
        ("1", "signal_in_tight_loop_is_precise", "tier 1 does not leave the loop"),
    ];

    /// <summary>Why the case is known to fail on the tier, or null.</summary>
    public static string? Reason(string tier, string name) =>
        Table.Where(t => (t.Tier == AnyTier || t.Tier == tier) && t.Case == name).Select(t => t.Reason).FirstOrDefault();
}
