namespace Vivarium.Translation.Optimizing;

/// <summary>Finds guest code that looks at the accrued floating-point exceptions.</summary>
internal static class FlagObserver
{
    private const uint System = 0x73, Fflags = 1, Fcsr = 3;

    /// <summary>Whether some instruction accesses fflags or fcsr, other than <c>frflags</c> and <c>fsflags</c> of the same register around a
    /// comparison, which keeps them as they were.</summary>
    public static bool Sees(ReadOnlySpan<byte> code)
    {
        for (int at = 0; at + 4 <= code.Length;)
        {
            uint bits = (uint)(code[at] | code[at + 1] << 8 | code[at + 2] << 16 | code[at + 3] << 24);
            if ((bits & 3) != 3)
            {
                at += 2;
                continue;
            }
            at += 4;
            if (!IsFlagAccess(bits)) continue;
            uint rd = bits >> 7 & 31;
            bool reads = (bits >> 12 & 7) == 2 && (bits >> 15 & 31) == 0 && bits >> 20 == Fflags && rd != 0; // frflags rd
            bool restored = false;
            for (int next = at, n = 0; reads && n < 3 && next + 4 <= code.Length; n++)
            {
                uint other = (uint)(code[next] | code[next + 1] << 8 | code[next + 2] << 16 | code[next + 3] << 24);
                if ((other & 3) != 3)
                {
                    next += 2;
                    continue;
                }
                next += 4;
                if (!IsFlagAccess(other)) continue;
                restored = (other >> 12 & 7) == 1 && (other >> 15 & 31) == rd && (other >> 7 & 31) == 0 && other >> 20 == Fflags; // fsflags rd
                if (restored) at = next;
                break;
            }
            if (!restored) return true;
        }
        return false;
    }

    private static bool IsFlagAccess(uint bits) => (bits & 0x7F) == System && (bits >> 12 & 3) != 0 && bits >> 20 is Fflags or Fcsr;
}
