namespace Vivarium.RiscV.FloatingPoint;

// Addition, multiplication, division, square root, fused multiply-add (IEEE 754-2019, 5.4.1).
public static partial class SoftFloat<TFormat>
{
    public static ulong Add(ulong a, ulong b, RoundingMode mode, ref FloatFlags flags) =>
        Add(Unpacked.From<TFormat>(a), Unpacked.From<TFormat>(b), mode, ref flags);

    public static ulong Subtract(ulong a, ulong b, RoundingMode mode, ref FloatFlags flags) =>
        Add(Unpacked.From<TFormat>(a), Unpacked.From<TFormat>(b).Negated, mode, ref flags);

    private static ulong Add(in Unpacked a, in Unpacked b, RoundingMode mode, ref FloatFlags flags)
    {
        if (a.IsNaN || b.IsNaN) return PropagateNaN(a.IsSignaling || b.IsSignaling, ref flags);
        if (a.IsInfinite && b.IsInfinite && a.Negative != b.Negative) return Invalid(ref flags);
        if (a.IsInfinite) return SignedInfinity(a.Negative);
        if (b.IsInfinite) return SignedInfinity(b.Negative);
        return AddFinite(
            a.Negative, a.Exponent - WideShift, (UInt128)a.Significand << WideShift,
            b.Negative, b.Exponent - WideShift, (UInt128)b.Significand << WideShift, mode, ref flags);
    }

    /// <summary>Puts bit 63 at bit 125: one bit of headroom for a carry, and at least 62 guard bits below.</summary>
    private const int WideShift = 62;

    /// <summary>
    /// Adds two finite numbers whose significands are zero or have their top bit at bit 125 or 124, and at least 20 zero bits at the end.
    /// </summary>
    /// <remarks>
    /// The smaller operand is aligned with a sticky last bit. That is exact for distances up to 20; beyond, the sum loses at most
    /// one leading bit to cancellation, so at least 123 bits stand above the sticky one.
    /// </remarks>
    private static ulong AddFinite(
        bool aNegative, int aExponent, UInt128 a, bool bNegative, int bExponent, UInt128 b, RoundingMode mode, ref FloatFlags flags)
    {
        if (a == 0 && b == 0) return aNegative == bNegative ? Zero(aNegative) : ExactZeroSum(mode);
        if (b == 0) return RoundAndPack(aNegative, aExponent, a, mode, ref flags);
        if (a == 0) return RoundAndPack(bNegative, bExponent, b, mode, ref flags);

        var exponent = Math.Max(aExponent, bExponent);
        a = ShiftRightSticky(a, exponent - aExponent);
        b = ShiftRightSticky(b, exponent - bExponent);

        if (aNegative == bNegative) return RoundAndPack(aNegative, exponent, a + b, mode, ref flags);
        if (a == b) return ExactZeroSum(mode);
        return a > b
            ? RoundAndPack(aNegative, exponent, a - b, mode, ref flags)
            : RoundAndPack(bNegative, exponent, b - a, mode, ref flags);
    }

    /// <summary>The sign of an exact zero sum of operands with unlike signs (IEEE 754-2019, 6.3).</summary>
    private static ulong ExactZeroSum(RoundingMode mode) => Zero(mode == RoundingMode.Down);

    public static ulong Multiply(ulong a, ulong b, RoundingMode mode, ref FloatFlags flags)
    {
        var (x, y) = (Unpacked.From<TFormat>(a), Unpacked.From<TFormat>(b));
        var negative = x.Negative != y.Negative;
        if (x.IsNaN || y.IsNaN) return PropagateNaN(x.IsSignaling || y.IsSignaling, ref flags);
        if (x.IsInfinite || y.IsInfinite) return x.IsZero || y.IsZero ? Invalid(ref flags) : SignedInfinity(negative);
        if (x.IsZero || y.IsZero) return Zero(negative);
        return RoundAndPack(negative, x.Exponent + y.Exponent, (UInt128)x.Significand * y.Significand, mode, ref flags);
    }

    public static ulong Divide(ulong a, ulong b, RoundingMode mode, ref FloatFlags flags)
    {
        var (x, y) = (Unpacked.From<TFormat>(a), Unpacked.From<TFormat>(b));
        var negative = x.Negative != y.Negative;
        if (x.IsNaN || y.IsNaN) return PropagateNaN(x.IsSignaling || y.IsSignaling, ref flags);
        if (x.IsInfinite) return y.IsInfinite ? Invalid(ref flags) : SignedInfinity(negative);
        if (y.IsInfinite) return Zero(negative);
        if (y.IsZero)
        {
            if (x.IsZero) return Invalid(ref flags);
            flags |= FloatFlags.DivideByZero;
            return SignedInfinity(negative);
        }
        if (x.IsZero) return Zero(negative);

        // Both significands have bit 63 set, so the quotient of x * 2^63 has 63 or 64 bits: more than p + 2.
        var (quotient, remainder) = UInt128.DivRem((UInt128)x.Significand << 63, y.Significand);
        if (remainder != 0) quotient |= 1;
        return RoundAndPack(negative, x.Exponent - y.Exponent - 63, quotient, mode, ref flags);
    }

    public static ulong SquareRoot(ulong a, RoundingMode mode, ref FloatFlags flags)
    {
        var x = Unpacked.From<TFormat>(a);
        if (x.IsNaN) return PropagateNaN(x.IsSignaling, ref flags);
        if (x.IsZero) return Zero(x.Negative);
        if (x.Negative) return Invalid(ref flags);
        if (x.IsInfinite) return Infinity;

        // An even exponent halves: the root of significand * 2^62 (or 2^63) has 63 or 64 bits.
        var shift = (x.Exponent & 1) == 0 ? 62 : 63;
        var root = IntegerSquareRoot((UInt128)x.Significand << shift, out var exact);
        return RoundAndPack(false, (x.Exponent - shift) / 2, exact ? root : root | 1, mode, ref flags);
    }

    /// <summary>The integer part of the square root, one bit at a time from the top, as on paper.</summary>
    private static ulong IntegerSquareRoot(UInt128 value, out bool exact)
    {
        ulong root = 0;
        UInt128 square = 0; // root * root
        for (var bit = 63; bit >= 0; bit--)
        {
            // (root + 2^bit)^2 = root^2 + 2^(bit+1) * root + 2^(2 bit)
            var trial = square + ((UInt128)root << (bit + 1)) + (UInt128.One << (2 * bit));
            if (trial > value) continue;
            root |= 1UL << bit;
            square = trial;
        }
        exact = square == value;
        return root;
    }

    /// <summary>a * b + c, rounded once. <c>fmsub</c>, <c>fnmsub</c> and <c>fnmadd</c> negate the product or the addend first.</summary>
    /// <remarks>Infinity times zero is invalid even when the addend is a quiet NaN (manual, F extension).</remarks>
    public static ulong FusedMultiplyAdd(
        ulong a, ulong b, ulong c, bool negateProduct, bool negateAddend, RoundingMode mode, ref FloatFlags flags)
    {
        var (x, y, z) = (Unpacked.From<TFormat>(a), Unpacked.From<TFormat>(b), Unpacked.From<TFormat>(c));
        if (negateAddend) z = z.Negated;
        var productNegative = x.Negative != y.Negative != negateProduct;
        var infinityTimesZero = (x.IsInfinite && y.IsZero) || (x.IsZero && y.IsInfinite);

        if (infinityTimesZero) return Invalid(ref flags);
        if (x.IsNaN || y.IsNaN || z.IsNaN) return PropagateNaN(x.IsSignaling || y.IsSignaling || z.IsSignaling, ref flags);
        if (x.IsInfinite || y.IsInfinite)
            return z.IsInfinite && z.Negative != productNegative ? Invalid(ref flags) : SignedInfinity(productNegative);
        if (z.IsInfinite) return SignedInfinity(z.Negative);

        // The product has its top bit at bit 127 or 126 and no more than 2p <= 106 significant bits, so moving it down two places
        // is exact and leaves 20 zero bits at the end.
        var product = (UInt128)x.Significand * y.Significand >> 2;
        return AddFinite(
            productNegative, x.Exponent + y.Exponent + 2, product,
            z.Negative, z.Exponent - WideShift, (UInt128)z.Significand << WideShift, mode, ref flags);
    }
}
