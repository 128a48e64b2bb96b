namespace Vivarium.RiscV.FloatingPoint;

// Conversions to and from integers, between formats, and rounding to an integral value (manual, F and D, "Conversion"; Zfa).
public static partial class SoftFloat<TFormat>
{
    /// <summary>Converts a signed 64-bit (or sign-extended 32-bit) integer.</summary>
    public static ulong FromSigned(long value, RoundingMode mode, ref FloatFlags flags) =>
        value == 0 ? 0 : RoundAndPack(value < 0, 0, value < 0 ? 0UL - (ulong)value : (ulong)value, mode, ref flags);

    /// <summary>Converts an unsigned 64-bit (or zero-extended 32-bit) integer.</summary>
    public static ulong FromUnsigned(ulong value, RoundingMode mode, ref FloatFlags flags) =>
        value == 0 ? 0 : RoundAndPack(false, 0, value, mode, ref flags);

    /// <summary>Converts from another format.</summary>
    public static ulong FromFormat<TSource>(ulong value, RoundingMode mode, ref FloatFlags flags) where TSource : struct, IFloatFormat
    {
        var x = Unpacked.From<TSource>(value);
        return x.Kind switch
        {
            Kind.Zero => Zero(x.Negative),
            Kind.Infinite => SignedInfinity(x.Negative),
            Kind.Finite => RoundAndPack(x.Negative, x.Exponent, x.Significand, mode, ref flags),
            _ => PropagateNaN(x.IsSignaling, ref flags),
        };
    }

    /// <summary>
    /// Converts to a signed integer of <paramref name="width"/> bits (32 or 64), sign-extended. What does not fit saturates
    /// and is invalid (and then not inexact); a NaN becomes the largest integer.
    /// </summary>
    public static long ToSigned(ulong value, int width, RoundingMode mode, ref FloatFlags flags)
    {
        var max = long.MaxValue >> (64 - width);
        var x = Unpacked.From<TFormat>(value);
        if (!TryRoundToInteger(x, mode, out var magnitude, out var inexact) || magnitude > (ulong)max + (x.Negative ? 1UL : 0UL))
        {
            flags |= FloatFlags.Invalid;
            return x.Negative && !x.IsNaN ? -max - 1 : max;
        }
        if (inexact) flags |= FloatFlags.Inexact;
        return x.Negative ? (long)(0 - magnitude) : (long)magnitude;
    }

    /// <summary>Converts to an unsigned integer of <paramref name="width"/> bits (32 or 64), zero-extended. What does not fit
    /// saturates and is invalid; a negative number that rounds to zero is only inexact.</summary>
    public static ulong ToUnsigned(ulong value, int width, RoundingMode mode, ref FloatFlags flags)
    {
        var max = ulong.MaxValue >> (64 - width);
        var x = Unpacked.From<TFormat>(value);
        if (!TryRoundToInteger(x, mode, out var magnitude, out var inexact) || magnitude > (x.Negative ? 0 : max))
        {
            flags |= FloatFlags.Invalid;
            return x.Negative && !x.IsNaN ? 0 : max;
        }
        if (inexact) flags |= FloatFlags.Inexact;
        return magnitude;
    }

    /// <summary><c>fcvtmod.w.d</c> (Zfa): truncates modulo 2^32, sign-extended; 0 for infinities and NaNs. Flags as <c>fcvt.w.d</c>.</summary>
    public static long ToInt32Modular(ulong value, ref FloatFlags flags)
    {
        ToSigned(value, 32, RoundingMode.TowardZero, ref flags);
        var x = Unpacked.From<TFormat>(value);
        if (x.Kind != Kind.Finite || x.Exponent >= 32 || x.Exponent <= -64) return 0; // no bits of weight 1 .. 2^31
        var magnitude = x.Exponent >= 0 ? x.Significand << x.Exponent : x.Significand >> -x.Exponent;
        return (int)(uint)(x.Negative ? 0 - magnitude : magnitude);
    }

    /// <summary>The magnitude rounded to an integer; false for NaNs, infinities, and what does not fit 64 bits.</summary>
    private static bool TryRoundToInteger(in Unpacked x, RoundingMode mode, out ulong magnitude, out bool inexact)
    {
        (magnitude, inexact) = (0, false);
        if (x.IsZero) return true;
        if (x.Kind != Kind.Finite || x.Exponent > 0) return false; // bit 63 is set: 2^64 and more
        magnitude = RoundShift(x.Significand, -x.Exponent, x.Negative, mode, out inexact);
        return true; // no carry out of 64 bits: a significand with a fraction to round has an integer part below 2^63
    }

    /// <summary><c>fround</c> (Zfa): to an integral value in the same format, never inexact; <c>froundnx</c> with
    /// <paramref name="signalInexact"/>.</summary>
    public static ulong RoundToIntegral(ulong value, RoundingMode mode, bool signalInexact, ref FloatFlags flags)
    {
        var x = Unpacked.From<TFormat>(value);
        if (x.IsNaN) return PropagateNaN(x.IsSignaling, ref flags);
        // With the last significant bit at weight 1 or more it is integral already.
        if (x.Kind != Kind.Finite || x.Exponent + 63 >= FractionBits) return value;

        var magnitude = RoundShift(x.Significand, -x.Exponent, x.Negative, mode, out var inexact);
        if (inexact && signalInexact) flags |= FloatFlags.Inexact;
        if (magnitude == 0) return Zero(x.Negative);
        var ignored = FloatFlags.None; // exact: at most p bits
        return RoundAndPack(x.Negative, 0, magnitude, RoundingMode.TowardZero, ref ignored);
    }
}
