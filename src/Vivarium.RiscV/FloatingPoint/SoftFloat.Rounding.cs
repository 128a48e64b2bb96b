using System.Numerics;
using System.Runtime.CompilerServices;

namespace Vivarium.RiscV.FloatingPoint;

/// <summary>
/// IEEE 754-2019 arithmetic in integers, with RISC-V's choices (manual, F extension): every NaN result is the canonical quiet NaN,
/// underflow is detected after rounding, and there are five rounding modes. This is the oracle that other execution engines are tested
/// against, so it computes everything the same way: take the operands apart (<see cref="Unpacked"/>), compute a result that is
/// exact but for a sticky last bit, and round once (this file).
/// </summary>
/// <remarks>Operands and results are bit patterns in the low bits of a <c>ulong</c>; NaN boxing is the caller's business. Flags are
/// accumulated, never cleared. Pure functions: thread-safe, and they do not allocate.</remarks>
public static partial class SoftFloat<TFormat> where TFormat : struct, IFloatFormat
{
    private static int Precision => TFormat.Precision;
    private static int FractionBits => TFormat.Precision - 1;
    private static int MaxField => (1 << TFormat.ExponentBits) - 1;

    /// <summary>emax of the standard, which is the exponent bias too; emin is 1 - emax.</summary>
    private static int MaxExponent => MaxField >> 1;
    private static int MinExponent => 1 - MaxExponent;

    private static ulong SignBit => 1UL << (FractionBits + TFormat.ExponentBits);
    private static ulong Infinity => (ulong)MaxField << FractionBits;

    /// <summary>Positive, quiet, payload zero (manual, F extension, "NaN Generation and Propagation").</summary>
    public static ulong CanonicalNaN => Infinity | (1UL << (FractionBits - 1));

    private static ulong Zero(bool negative) => negative ? SignBit : 0;

    private static ulong SignedInfinity(bool negative) => negative ? SignBit | Infinity : Infinity;

    private static ulong Invalid(ref FloatFlags flags)
    {
        flags |= FloatFlags.Invalid;
        return CanonicalNaN;
    }

    /// <summary>The result of an operation of which at least one operand is a NaN.</summary>
    private static ulong PropagateNaN(bool anySignaling, ref FloatFlags flags)
    {
        if (anySignaling) flags |= FloatFlags.Invalid;
        return CanonicalNaN;
    }

    /// <summary>
    /// Rounds (-1)^negative * significand * 2^exponent to the format. The significand is not zero, has its top bit anywhere, and if
    /// it is not exact its last bit is sticky (1 for "and something more"), which needs at least two bits below the rounded precision.
    /// </summary>
    private static ulong RoundAndPack(bool negative, int exponent, UInt128 significand, RoundingMode mode, ref FloatFlags flags)
    {
        var leading = exponent + BitLength(significand) - 1;

        // The weight of the result's last bit: p bits below the leading one, but no lower than a subnormal's.
        var unit = Math.Max(leading, MinExponent) - FractionBits;
        var rounded = RoundShift(significand, unit - exponent, negative, mode, out var inexact);

        if (inexact)
        {
            flags |= FloatFlags.Inexact;
            if (leading < MinExponent && IsTinyAfterRounding(negative, exponent, significand, leading, mode))
                flags |= FloatFlags.Underflow;
        }

        // Rounding up may carry into one more bit; what it shifts out is zero.
        if (rounded >> Precision != 0)
        {
            rounded >>= 1;
            unit++;
        }

        if (unit + FractionBits > MaxExponent) return Overflow(negative, mode, ref flags);
        var sign = Zero(negative);
        if (rounded >> FractionBits == 0) return sign | rounded; // subnormal, or zero: field 0
        var field = (ulong)(unit + FractionBits + MaxExponent);
        return sign | (field << FractionBits) | (rounded & ((1UL << FractionBits) - 1));
    }

    /// <summary>Tiny after rounding: rounded as if the exponent were unbounded, the magnitude is still below 2^emin.</summary>
    private static bool IsTinyAfterRounding(bool negative, int exponent, UInt128 significand, int leading, RoundingMode mode)
    {
        if (leading < MinExponent - 1) return true;
        var unbounded = RoundShift(significand, leading - FractionBits - exponent, negative, mode, out _);
        return unbounded >> Precision == 0;
    }

    private static ulong Overflow(bool negative, RoundingMode mode, ref FloatFlags flags)
    {
        flags |= FloatFlags.Overflow | FloatFlags.Inexact;
        var toInfinity = mode switch
        {
            RoundingMode.TowardZero => false,
            RoundingMode.Down => negative,
            RoundingMode.Up => !negative,
            _ => true,
        };
        return SignedInfinity(negative) - (toInfinity ? 0UL : 1UL); // the pattern below infinity is the largest finite number
    }

    /// <summary>significand / 2^shift, rounded to an integer; the result must fit 64 bits. A negative shift multiplies, exactly.</summary>
    private static ulong RoundShift(UInt128 significand, int shift, bool negative, RoundingMode mode, out bool inexact)
    {
        inexact = false;
        if (shift <= 0) return (ulong)(significand << -shift);

        // Below the kept integer: the half bit, and whether anything is below that.
        ulong kept;
        bool half, rest;
        if (shift > 128)
        {
            (kept, half, rest) = (0, false, significand != 0);
        }
        else
        {
            kept = shift == 128 ? 0 : (ulong)(significand >> shift);
            half = ((ulong)(significand >> (shift - 1)) & 1) != 0;
            rest = (significand & ((UInt128.One << (shift - 1)) - 1)) != 0;
        }

        inexact = half | rest;
        var up = mode switch
        {
            RoundingMode.NearestEven => half && (rest || (kept & 1) != 0),
            RoundingMode.NearestMaxMagnitude => half,
            RoundingMode.Down => inexact && negative,
            RoundingMode.Up => inexact && !negative,
            _ => false,
        };
        return up ? kept + 1 : kept;
    }

    /// <summary>Shifts right; what falls out is kept as a sticky last bit.</summary>
    private static UInt128 ShiftRightSticky(UInt128 value, int shift)
    {
        if (shift == 0) return value;
        if (shift >= 128) return value == 0 ? UInt128.Zero : UInt128.One;
        var lost = (value & ((UInt128.One << shift) - 1)) != 0;
        return (value >> shift) | (lost ? UInt128.One : UInt128.Zero);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int BitLength(UInt128 value)
    {
        var high = (ulong)(value >> 64);
        return high != 0 ? 128 - BitOperations.LeadingZeroCount(high) : 64 - BitOperations.LeadingZeroCount((ulong)value);
    }
}
