namespace Vivarium.RiscV.Tests.FloatingPoint;

/// <summary>Operands that find mistakes: a grid of edge cases, and a random mix that is biased towards them.</summary>
internal static class FloatOperands
{
    public static ulong[] Edges(RationalModel m, int precision)
    {
        var one = (m.Inf >> 1) & (m.Inf << 1 | m.Inf) & ~((1UL << (precision - 1)) - 1);
        var ulp = 1UL << (precision - 1); // one step of the exponent field
        ulong[] positive =
        [
            0, 1, 2, 3, ulp - 1, ulp, ulp + 1, 2 * ulp, ulp / 2, ulp / 2 + 1,
            one, one + 1, one - 1, one - ulp, one - ulp + 1, one + ulp, one + ulp / 2, one + ulp + ulp / 2, one + 2 * ulp,
            one + (ulong)(precision - 1) * ulp, one + (ulong)(precision - 1) * ulp + 1, one + (ulong)precision * ulp,
            one + 31 * ulp, one + 31 * ulp - 1, one + 32 * ulp, one + 32 * ulp - 1, one + 63 * ulp, one + 63 * ulp - 1, one + 64 * ulp, one + 64 * ulp - 1,
            one - (ulong)precision * ulp, one - (ulong)(precision + 1) * ulp, one - (ulong)(precision - 1) * ulp + 1,
            m.Inf - 1, m.Inf - 2, m.Inf - ulp, m.Inf - (ulong)precision * ulp, m.Inf - ulp / 2,
            m.Inf, m.Inf + 1, m.Inf + ulp / 2, m.Inf + ulp - 1,
        ];
        return [.. positive, .. positive.Select(v => v | m.Sign)];
    }

    /// <summary>A random pattern: uniform, near another operand's magnitude, with few fraction bits, or an edge case.</summary>
    public static ulong Random(Random random, RationalModel m, int precision, ulong[] edges, ulong near)
    {
        var mask = m.Sign | (m.Sign - 1);
        var bits = (ulong)random.NextInt64(long.MinValue, long.MaxValue) & mask;
        switch (random.Next(6))
        {
            case 0: return edges[random.Next(edges.Length)];
            case 1: return (near ^ (bits & m.Sign)) + (ulong)random.Next(-3, 4) & mask; // almost cancels
            case 2:
                // Exponent near the other operand's: alignment within and just beyond the precision.
                var field = (long)((near & ~m.Sign) >> (precision - 1)) + random.Next(-2 * precision - 3, (2 * precision) + 4);
                field = Math.Clamp(field, 0, (long)(m.Inf >> (precision - 1)) - 1);
                return (bits & m.Sign) | ((ulong)field << (precision - 1)) | (bits & ((1UL << (precision - 1)) - 1));
            case 3:
                // Few significant bits, or long runs of ones: halfway cases.
                var run = (1UL << random.Next(precision)) - (1UL << random.Next(precision));
                return (bits & ~((1UL << (precision - 1)) - 1)) | (run & ((1UL << (precision - 1)) - 1));
            default: return bits;
        }
    }
}
