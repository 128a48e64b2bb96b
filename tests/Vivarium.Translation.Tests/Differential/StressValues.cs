namespace Vivarium.Translation.Tests.Differential;

/// <summary>Values at which arithmetic goes wrong, mixed with random ones.</summary>
internal static class StressValues
{
    private static readonly ulong[] Doubles =
    [
        0, 0x8000000000000000, 0x3FF0000000000000, 0xBFF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000, // ±0, ±1, ±inf
        0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001, 0x7FF0000000000001, 0xFFF7FFFFFFFFFFFF, // quiet and signaling NaNs
        1, 0x8000000000000001, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF, // subnormal, least, largest
        0x3FE0000000000000, 0x4000000000000000, 0x3FF8000000000000, 0x4004000000000000, 0xBFE0000000000000, 0x3FEFFFFFFFFFFFFF, // halves
        0x41DFFFFFFFC00000, 0x41DFFFFFFFE00000, 0x41E0000000000000, 0xC1E0000000000000, 0xC1E0000000200000, 0x41EFFFFFFFE00000, // around 2^31, 2^32
        0x41EFFFFFFFF00000, 0x41F0000000000000, 0x43DFFFFFFFFFFFFF, 0x43E0000000000000, 0xC3E0000000000000, 0x43EFFFFFFFFFFFFF, // around 2^63, 2^64
        0x43F0000000000000, 0xC1DFFFFFFFE00000, 0xC1E0000000300000, 0x4340000000000001, 0x36A0000000000000, 0x3810000000000000,
        0x47EFFFFFE0000000, 0x47EFFFFFF0000000, 0x47F0000000000000, 0x380FFFFFF0000000, // around single's range
    ];

    private static readonly uint[] Singles =
    [
        0, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7FC00001, 0x7F800001, 0xFFBFFFFF,
        1, 0x80000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x3F000000, 0x40000000, 0x3FC00000, 0x40200000, 0xBF000000, 0x3F7FFFFF,
        0x4EFFFFFF, 0x4F000000, 0xCF000000, 0xCF000001, 0x4F7FFFFF, 0x4F800000, 0x5EFFFFFF, 0x5F000000, 0xDF000000, 0x5F7FFFFF, 0x5F800000,
    ];

    private static readonly int[] ExtremeDoubles = [0, 1, 4, 5, 6, 7, 9], ExtremeSingles = [0, 1, 4, 5, 6, 7, 9];

    private static readonly ulong[] Integers =
    [
        0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000,
        ulong.MaxValue, ulong.MaxValue - 1, 0xFFFFFFFF80000000, 0xFFFFFFFF7FFFFFFF, 0x0123456789ABCDEF, 31, 32, 63, 64, 1UL << 53, (1UL << 53) + 1,
        0xFFFFFFFFFFFFFBFF, 0xFFFFFFFFFFFFFC00, 0x7FFFFFFFFFFFFDFF, 0xFFFFFF00, 0xFFFFFF80,
    ];

    /// <summary>An integer: often a corner, sometimes small, else random bits of random length.</summary>
    public static ulong Integer(Random random) => random.Next(4) switch
    {
        0 => Integers[random.Next(Integers.Length)],
        1 => (ulong)random.Next(-64, 64),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue) >> random.Next(64),
    };

    /// <summary>The bits of a floating-point register: doubles, boxed singles, sometimes a single without its box.</summary>
    public static ulong Float(Random random) => random.Next(12) switch
    {
        // What combines to invalid operations: zeros, infinities and NaNs of both kinds and precisions.
        8 or 9 => Doubles[ExtremeDoubles[random.Next(ExtremeDoubles.Length)]],
        10 or 11 => 0xFFFFFFFF_00000000 | Singles[ExtremeSingles[random.Next(ExtremeSingles.Length)]],
        < 3 => Double(random),
        < 7 => 0xFFFFFFFF_00000000 | Single(random),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };

    /// <summary>The bits of a double.</summary>
    public static ulong Double(Random random) => random.Next(4) switch
    {
        0 => Doubles[random.Next(Doubles.Length)],
        1 => BitConverter.DoubleToUInt64Bits((random.NextDouble() - 0.5) * Math.Pow(2, random.Next(-70, 70))),
        2 => BitConverter.DoubleToUInt64Bits(random.Next(-1000, 1000) / 4.0),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };

    /// <summary>The bits of a single.</summary>
    public static uint Single(Random random) => random.Next(4) switch
    {
        0 => Singles[random.Next(Singles.Length)],
        1 => BitConverter.SingleToUInt32Bits((float)((random.NextDouble() - 0.5) * Math.Pow(2, random.Next(-70, 70)))),
        2 => BitConverter.SingleToUInt32Bits(random.Next(-1000, 1000) / 4f),
        _ => (uint)random.NextInt64(),
    };
}
