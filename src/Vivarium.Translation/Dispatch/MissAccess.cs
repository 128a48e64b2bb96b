namespace Vivarium.Translation.Dispatch;

/// <summary>What emitted code tells the miss stub of an access: one word.</summary>
internal static class MissAccess
{
    /// <summary>Bit 0: it is a store.</summary>
    public const int Store = 1;

    /// <summary>Then 7 bits: its bytes.</summary>
    public const int SizeShift = 1, SizeMask = 127;

    /// <summary>Then 1 + the near page that gets the translation; 0 for none.</summary>
    public const int NearShift = 8;
}
