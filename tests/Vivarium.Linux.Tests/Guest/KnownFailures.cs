namespace Vivarium.Linux.Tests.Guest;

/// <summary>Cases of guest-tests that do not pass yet, with the reason. Empty is the aim; a case that passes again must leave the table.</summary>
internal static class KnownFailures
{
    private const string AnyTier = "*";

    private static readonly (string Tier, string Case, string Reason)[] Table =
    [
    ];

    /// <summary>Why the case is known to fail on the tier, or null.</summary>
    public static string? Reason(string tier, string name) =>
        Table.Where(t => (t.Tier == AnyTier || t.Tier == tier) && t.Case == name).Select(t => t.Reason).FirstOrDefault();
}
