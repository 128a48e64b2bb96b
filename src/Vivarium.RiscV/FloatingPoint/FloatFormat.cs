global using Binary32 = Vivarium.RiscV.FloatingPoint.SoftFloat<Vivarium.RiscV.FloatingPoint.Binary32Format>;
global using Binary64 = Vivarium.RiscV.FloatingPoint.SoftFloat<Vivarium.RiscV.FloatingPoint.Binary64Format>;

namespace Vivarium.RiscV.FloatingPoint;

/// <summary>The parameters of an IEEE 754 binary interchange format; all else follows from these two.</summary>
public interface IFloatFormat
{
    /// <summary>Bits of the significand, with the hidden one: p in the standard.</summary>
    static abstract int Precision { get; }

    /// <summary>Bits of the exponent field: w in the standard.</summary>
    static abstract int ExponentBits { get; }
}

/// <summary>Single precision: p = 24, w = 8.</summary>
public readonly struct Binary32Format : IFloatFormat
{
    public static int Precision => 24;
    public static int ExponentBits => 8;
}

/// <summary>Double precision: p = 53, w = 11.</summary>
public readonly struct Binary64Format : IFloatFormat
{
    public static int Precision => 53;
    public static int ExponentBits => 11;
}
