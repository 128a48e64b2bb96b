namespace Vivarium.RiscV.Interpreter;

/// <summary>The 32 constants of Zfa's <c>fli</c> (manual, Zfa, table "Immediate values loaded by the FLI instructions"), as doubles; all
/// but number 1, the smallest normal number of the format, are exact in every format.</summary>
internal static class FloatConstants
{
    public const int SmallestNormal = 1;
    public const int NaN = 31;

    public static ReadOnlySpan<double> Values =>
    [
        -1.0, 0, 1.0 / 65536, 1.0 / 32768, 1.0 / 256, 1.0 / 128, 0.0625, 0.125,
        0.25, 0.3125, 0.375, 0.4375, 0.5, 0.625, 0.75, 0.875,
        1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0,
        8.0, 16.0, 128.0, 256.0, 32768.0, 65536.0, double.PositiveInfinity, double.NaN,
    ];
}
