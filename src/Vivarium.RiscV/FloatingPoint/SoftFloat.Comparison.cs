namespace Vivarium.RiscV.FloatingPoint;

// Comparisons, minimum and maximum, classification (manual, F extension, "Floating-Point Compare/Classify"; Zfa).
public static partial class SoftFloat<TFormat>
{
    /// <summary><c>feq</c>: quiet, so only a signaling NaN is invalid.</summary>
    public static bool Equal(ulong a, ulong b, ref FloatFlags flags) => Ordered(a, b, signaling: false, ref flags) && Compare(a, b) == 0;

    /// <summary><c>flt</c>, where any NaN is invalid; <c>fltq</c> with <paramref name="quiet"/>.</summary>
    public static bool Less(ulong a, ulong b, ref FloatFlags flags, bool quiet = false) =>
        Ordered(a, b, !quiet, ref flags) && Compare(a, b) < 0;

    /// <summary><c>fle</c>, where any NaN is invalid; <c>fleq</c> with <paramref name="quiet"/>.</summary>
    public static bool LessOrEqual(ulong a, ulong b, ref FloatFlags flags, bool quiet = false) =>
        Ordered(a, b, !quiet, ref flags) && Compare(a, b) <= 0;

    /// <summary>Whether neither operand is a NaN; raises the flag that the comparison asks for.</summary>
    private static bool Ordered(ulong a, ulong b, bool signaling, ref FloatFlags flags)
    {
        var (x, y) = (Unpacked.From<TFormat>(a), Unpacked.From<TFormat>(b));
        if (!x.IsNaN && !y.IsNaN) return true;
        if (signaling || x.IsSignaling || y.IsSignaling) flags |= FloatFlags.Invalid;
        return false;
    }

    /// <summary>Orders two non-NaN patterns: as integers, magnitudes order like the numbers; the zeros are equal.</summary>
    private static int Compare(ulong a, ulong b)
    {
        var x = (a & SignBit) != 0 ? -(long)(a & ~SignBit) : (long)a;
        var y = (b & SignBit) != 0 ? -(long)(b & ~SignBit) : (long)b;
        return x.CompareTo(y);
    }

    /// <summary><c>fmin</c>: minimumNumber of IEEE 754-2019 (9.6); a NaN loses against a number, -0 is below +0.</summary>
    public static ulong MinimumNumber(ulong a, ulong b, ref FloatFlags flags) => Select(a, b, minimum: true, numberWins: true, ref flags);

    /// <summary><c>fmax</c>: maximumNumber.</summary>
    public static ulong MaximumNumber(ulong a, ulong b, ref FloatFlags flags) => Select(a, b, minimum: false, numberWins: true, ref flags);

    /// <summary><c>fminm</c> (Zfa): minimum; any NaN makes the result the canonical NaN.</summary>
    public static ulong Minimum(ulong a, ulong b, ref FloatFlags flags) => Select(a, b, minimum: true, numberWins: false, ref flags);

    /// <summary><c>fmaxm</c> (Zfa): maximum.</summary>
    public static ulong Maximum(ulong a, ulong b, ref FloatFlags flags) => Select(a, b, minimum: false, numberWins: false, ref flags);

    private static ulong Select(ulong a, ulong b, bool minimum, bool numberWins, ref FloatFlags flags)
    {
        var (x, y) = (Unpacked.From<TFormat>(a), Unpacked.From<TFormat>(b));
        if (x.IsSignaling || y.IsSignaling) flags |= FloatFlags.Invalid;
        if (x.IsNaN || y.IsNaN)
        {
            if (!numberWins || (x.IsNaN && y.IsNaN)) return CanonicalNaN;
            return x.IsNaN ? b : a;
        }
        var order = Compare(a, b);
        var aIsLess = order < 0 || (order == 0 && x.Negative);
        return aIsLess == minimum ? a : b;
    }

    /// <summary><c>fclass</c>: exactly one of ten bits (manual, table "Format of result of FCLASS").</summary>
    public static ulong Classify(ulong a)
    {
        var x = Unpacked.From<TFormat>(a);
        var subnormal = (a & Infinity) == 0;
        var bit = x.Kind switch
        {
            Kind.Infinite => x.Negative ? 0 : 7,
            Kind.Finite when !subnormal => x.Negative ? 1 : 6,
            Kind.Finite => x.Negative ? 2 : 5,
            Kind.Zero => x.Negative ? 3 : 4,
            Kind.SignalingNaN => 8,
            _ => 9,
        };
        return 1UL << bit;
    }
}
