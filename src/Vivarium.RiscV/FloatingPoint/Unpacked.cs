using System.Numerics;

namespace Vivarium.RiscV.FloatingPoint;

/// <summary>What kind of datum a bit pattern is.</summary>
internal enum Kind : byte
{
    Zero,
    Finite,
    Infinite,
    QuietNaN,
    SignalingNaN,
}

/// <summary>
/// A floating-point datum taken apart, without regard to its format. A finite one is
/// (-1)^Negative * Significand * 2^Exponent, and the significand's top bit is bit 63, subnormal or not: so the arithmetic needs no
/// case for subnormals, and magnitudes compare by (Exponent, Significand).
/// </summary>
internal readonly struct Unpacked(Kind kind, bool negative, int exponent = 0, ulong significand = 0)
{
    public readonly Kind Kind = kind;
    public readonly bool Negative = negative;
    public readonly int Exponent = exponent;
    public readonly ulong Significand = significand;

    public bool IsNaN => Kind >= Kind.QuietNaN;

    public bool IsSignaling => Kind == Kind.SignalingNaN;

    public bool IsZero => Kind == Kind.Zero;

    public bool IsInfinite => Kind == Kind.Infinite;

    public Unpacked Negated => new(Kind, !Negative, Exponent, Significand);

    public static Unpacked From<TFormat>(ulong bits) where TFormat : struct, IFloatFormat
    {
        var fractionBits = TFormat.Precision - 1;
        var maxField = (1 << TFormat.ExponentBits) - 1;
        var fraction = bits & ((1UL << fractionBits) - 1);
        var field = (int)(bits >> fractionBits) & maxField;
        var negative = (bits >> (fractionBits + TFormat.ExponentBits) & 1) != 0;

        if (field == maxField)
        {
            if (fraction == 0) return new(Kind.Infinite, negative);
            var quiet = (fraction >> (fractionBits - 1)) != 0;
            return new(quiet ? Kind.QuietNaN : Kind.SignalingNaN, negative);
        }
        if (field == 0 && fraction == 0) return new(Kind.Zero, negative);

        // Value = significand * 2^(field - bias - fractionBits), where a subnormal has the exponent of field 1 and no hidden bit.
        var significand = field == 0 ? fraction : fraction | (1UL << fractionBits);
        var exponent = Math.Max(field, 1) - (maxField >> 1) - fractionBits;
        var shift = BitOperations.LeadingZeroCount(significand);
        return new(Kind.Finite, negative, exponent - shift, significand << shift);
    }
}
