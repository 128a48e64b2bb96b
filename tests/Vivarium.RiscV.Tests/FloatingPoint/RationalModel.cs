using System.Numerics;

namespace Vivarium.RiscV.Tests.FloatingPoint;

/// <summary>
/// An independent model of IEEE 754 arithmetic: operands become rationals of big integers, the result is computed exactly, and rounding picks
/// between the two neighbouring multiples of the quantum. Slow, and shares nothing with the product's code.
/// </summary>
internal sealed class RationalModel(int precision, int exponentBits)
{
    public static readonly RationalModel Single = new(24, 8);
    public static readonly RationalModel Double = new(53, 11);

    public const uint NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16;

    public int Width => precision + exponentBits;
    public ulong CanonicalNaN => ((1UL << (exponentBits + 1)) - 1) << (precision - 2);
    public ulong Inf => ((1UL << exponentBits) - 1) << (precision - 1);
    public ulong Sign => 1UL << (Width - 1);
    private int Bias => (1 << (exponentBits - 1)) - 1;

    public bool IsNaN(ulong v) => (v & ~Sign) > Inf;
    public bool IsSignaling(ulong v) => IsNaN(v) && (v >> (precision - 2) & 1) == 0;
    public bool IsInf(ulong v) => (v & ~Sign) == Inf;
    public bool IsZero(ulong v) => (v & ~Sign) == 0;
    public bool Negative(ulong v) => (v & Sign) != 0;

    /// <summary>The exact value as numerator / 2^Scale; Scale is the same for all numbers, so that sums need no alignment.</summary>
    public BigInteger Scaled(ulong v)
    {
        var fraction = (BigInteger)(v & ((1UL << (precision - 1)) - 1));
        var field = (int)((v & ~Sign) >> (precision - 1));
        if (field > 0) fraction += BigInteger.One << (precision - 1);
        fraction <<= Math.Max(field, 1) - 1;
        return Negative(v) ? -fraction : fraction;
    }

    /// <summary>value = Scaled / 2^Scale.</summary>
    public int Scale => Bias - 1 + precision - 1;

    /// <summary>Rounds numerator / denominator (denominator positive, numerator not zero).</summary>
    public ulong Round(BigInteger numerator, BigInteger denominator, int mode, ref uint flags)
    {
        var negative = numerator.Sign < 0;
        var n = BigInteger.Abs(numerator);

        // The exponent e with 2^e <= n/d < 2^(e+1).
        var e = (int)(n.GetBitLength() - denominator.GetBitLength());
        if (Less(n, denominator, e)) e--;
        var emin = 1 - Bias;

        var (q, quantum, inexact) = ToQuantum(n, denominator, Math.Max(e, emin) - (precision - 1), negative, mode);
        if (inexact)
        {
            flags |= NX;
            // Rounded with unbounded exponent, is it below 2^emin?
            var (uq, uquantum, _) = ToQuantum(n, denominator, e - (precision - 1), negative, mode);
            if (Less(uq, BigInteger.One, emin - uquantum)) flags |= UF;
        }
        if (!Less(q, BigInteger.One, Bias + 1 - quantum))
        {
            flags |= OF | NX;
            var max = Inf - 1;
            var result = mode switch { 1 => max, 2 => negative ? Inf : max, 3 => negative ? max : Inf, _ => Inf };
            return result | (negative ? Sign : 0);
        }
        // q * 2^quantum, in units of the smallest subnormal.
        var units = q << (quantum - (emin - (precision - 1)));
        ulong bits;
        var length = (int)units.GetBitLength();
        if (length < precision) bits = (ulong)units;
        else
        {
            var field = length - precision + 1;
            bits = ((ulong)field << (precision - 1)) + (ulong)((units >> (length - precision)) - (BigInteger.One << (precision - 1)));
        }
        return bits | (negative ? Sign : 0);
    }

    /// <summary>n &lt; d * 2^e.</summary>
    private static bool Less(BigInteger n, BigInteger d, int e) => e >= 0 ? n < (d << e) : (n << -e) < d;

    private static (BigInteger Q, int Quantum, bool Inexact) ToQuantum(BigInteger n, BigInteger d, int quantum, bool negative, int mode)
    {
        if (quantum >= 0) d <<= quantum; else n <<= -quantum;
        var q = BigInteger.DivRem(n, d, out var r);
        return (q + (RoundsUp(q, r, d, negative, mode) ? 1 : 0), quantum, !r.IsZero);
    }

    private static bool RoundsUp(BigInteger q, BigInteger r, BigInteger d, bool negative, int mode)
    {
        if (r.IsZero) return false;
        var half = (2 * r).CompareTo(d);
        return mode switch
        {
            0 => half > 0 || (half == 0 && !q.IsEven),
            1 => false,
            2 => negative,
            3 => !negative,
            _ => half >= 0,
        };
    }

    private ulong NaN(ref uint flags, params ulong[] operands)
    {
        if (operands.Any(IsSignaling)) flags |= NV;
        return CanonicalNaN;
    }

    private ulong Invalid(ref uint flags)
    {
        flags |= NV;
        return CanonicalNaN;
    }

    public ulong Add(ulong a, ulong b, int mode, ref uint flags)
    {
        if (IsNaN(a) || IsNaN(b)) return NaN(ref flags, a, b);
        if (IsInf(a)) return IsInf(b) && a != b ? Invalid(ref flags) : a;
        if (IsInf(b)) return b;
        var sum = Scaled(a) + Scaled(b);
        if (sum.IsZero) return IsZero(a) && a == b ? a : mode == 2 ? Sign : 0;
        return Round(sum, BigInteger.One << Scale, mode, ref flags);
    }

    public ulong Subtract(ulong a, ulong b, int mode, ref uint flags) =>
        IsNaN(b) ? NaN(ref flags, a, b) : Add(a, b ^ Sign, mode, ref flags);

    public ulong Multiply(ulong a, ulong b, int mode, ref uint flags)
    {
        if (IsNaN(a) || IsNaN(b)) return NaN(ref flags, a, b);
        var sign = (a ^ b) & Sign;
        if (IsInf(a) || IsInf(b)) return IsZero(a) || IsZero(b) ? Invalid(ref flags) : Inf | sign;
        if (IsZero(a) || IsZero(b)) return sign;
        return Round(Scaled(a) * Scaled(b), BigInteger.One << (2 * Scale), mode, ref flags);
    }

    public ulong Divide(ulong a, ulong b, int mode, ref uint flags)
    {
        if (IsNaN(a) || IsNaN(b)) return NaN(ref flags, a, b);
        var sign = (a ^ b) & Sign;
        if ((IsInf(a) && IsInf(b)) || (IsZero(a) && IsZero(b))) return Invalid(ref flags);
        if (IsInf(a)) return Inf | sign;
        if (IsInf(b) || IsZero(a)) return sign;
        if (IsZero(b))
        {
            flags |= DZ;
            return Inf | sign;
        }
        var (n, d) = (Scaled(a), Scaled(b));
        return Round(d.Sign < 0 ? -n : n, BigInteger.Abs(d), mode, ref flags);
    }

    public ulong SquareRoot(ulong a, int mode, ref uint flags)
    {
        if (IsNaN(a)) return NaN(ref flags, a);
        if (IsZero(a)) return a;
        if (Negative(a)) return Invalid(ref flags);
        if (IsInf(a)) return a;
        // sqrt(n / 2^s) with far more bits than needed; an inexact root never is a tie, so a small excess decides like the truth.
        var extra = 400 + (Scale & 1);
        var n = Scaled(a) << extra;
        var root = Isqrt(n);
        var exact = root * root == n;
        return Round(exact ? 4 * root : (4 * root) + 1, BigInteger.One << (((Scale + extra) / 2) + 2), mode, ref flags);
    }

    private static BigInteger Isqrt(BigInteger n)
    {
        var x = BigInteger.One << (int)((n.GetBitLength() + 1) / 2);
        while (true)
        {
            var y = (x + (n / x)) >> 1;
            if (y >= x) return x;
            x = y;
        }
    }

    public ulong FusedMultiplyAdd(ulong a, ulong b, ulong c, bool negateProduct, bool negateAddend, int mode, ref uint flags)
    {
        if ((IsInf(a) && IsZero(b)) || (IsZero(a) && IsInf(b))) return Invalid(ref flags);
        if (IsNaN(a) || IsNaN(b) || IsNaN(c)) return NaN(ref flags, a, b, c);
        if (negateProduct) a ^= Sign;
        if (negateAddend) c ^= Sign;
        var sign = (a ^ b) & Sign;
        if (IsInf(a) || IsInf(b)) return IsInf(c) && (c & Sign) != sign ? Invalid(ref flags) : Inf | sign;
        if (IsInf(c)) return c;
        var sum = (Scaled(a) * Scaled(b)) + (Scaled(c) << Scale);
        if (sum.IsZero)
        {
            var productZero = IsZero(a) || IsZero(b);
            return productZero && IsZero(c) && (c & Sign) == sign ? sign : mode == 2 ? Sign : 0;
        }
        return Round(sum, BigInteger.One << (2 * Scale), mode, ref flags);
    }

    /// <summary>Rounds to an integer; the value must be finite.</summary>
    public BigInteger RoundToInteger(ulong v, int mode, out bool inexact)
    {
        var (q, _, lost) = ToQuantum(BigInteger.Abs(Scaled(v)), BigInteger.One << Scale, 0, Negative(v), mode);
        inexact = lost;
        return Negative(v) ? -q : q;
    }

    public BigInteger ToInteger(ulong v, BigInteger min, BigInteger max, int mode, ref uint flags)
    {
        if (IsNaN(v) || IsInf(v))
        {
            flags |= NV;
            return IsInf(v) && Negative(v) ? min : max;
        }
        var q = RoundToInteger(v, mode, out var inexact);
        if (q < min || q > max)
        {
            flags |= NV;
            return q < min ? min : max;
        }
        if (inexact) flags |= NX;
        return q;
    }

    public ulong FromInteger(BigInteger value, int mode, ref uint flags) =>
        value.IsZero ? 0 : Round(value, BigInteger.One, mode, ref flags);

    public ulong FromFormat(RationalModel source, ulong v, int mode, ref uint flags)
    {
        if (source.IsNaN(v))
        {
            if (source.IsSignaling(v)) flags |= NV;
            return CanonicalNaN;
        }
        var sign = source.Negative(v) ? Sign : 0;
        if (source.IsInf(v)) return Inf | sign;
        if (source.IsZero(v)) return sign;
        return Round(source.Scaled(v), BigInteger.One << source.Scale, mode, ref flags);
    }

    public ulong RoundToIntegral(ulong v, int mode, bool signal, ref uint flags)
    {
        if (IsNaN(v)) return NaN(ref flags, v);
        if (IsInf(v)) return v;
        var q = RoundToInteger(v, mode, out var inexact);
        if (inexact && signal) flags |= NX;
        if (q.IsZero) return v & Sign;
        uint ignored = 0;
        return Round(q, BigInteger.One, 0, ref ignored);
    }
}
