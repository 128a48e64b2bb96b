namespace Vivarium.Testing;

/// <summary>Register contents that find mistakes.</summary>
public static class SpecialValues
{
    /// <summary>Integers around the ends of every width, shift amounts and divisors.</summary>
    public static readonly ulong[] Integers =
    [
        0, 1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256,
        0x7fff, 0x8000, 0xffff, 0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001,
        0x7fff_ffff_ffff_fffe, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, 0x8000_0000_0000_0001,
        0xffff_ffff_7fff_ffff, 0xffff_ffff_8000_0000, 0xffff_ffff_ffff_8000, 0xffff_ffff_ffff_ff80, 0xffff_ffff_ffff_fffe, ulong.MaxValue,
        0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, 0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa, 0x00ff_00ff_00ff_00ff, 0x8080_8080_8080_8080,
    ];

    /// <summary>Double patterns: zeros, subnormals, the ends of the range and of the integers, NaNs of both kinds with payloads.</summary>
    public static readonly ulong[] Doubles = WithSigns(1UL << 63,
    [
        0, 1, 2, 0x000f_ffff_ffff_ffff, 0x0010_0000_0000_0000, 0x0010_0000_0000_0001, 0x0008_0000_0000_0000, 0x0020_0000_0000_0000,
        0x3ff0_0000_0000_0000, 0x3ff0_0000_0000_0001, 0x3fef_ffff_ffff_ffff, 0x3fe0_0000_0000_0000, 0x3ff8_0000_0000_0000, 0x4004_0000_0000_0000,
        0x4000_0000_0000_0000, 0x4008_0000_0000_0000, 0x3fd5_5555_5555_5555, 0x3ca0_0000_0000_0000, 0x4330_0000_0000_0001, 0x4340_0000_0000_0000,
        0x41df_ffff_ffc0_0000, 0x41e0_0000_0000_0000, 0x41ef_ffff_ffe0_0000, 0x41f0_0000_0000_0000, 0x41df_ffff_ffe0_0000, 0x43df_ffff_ffff_ffff,
        0x43e0_0000_0000_0000, 0x43ef_ffff_ffff_ffff, 0x43f0_0000_0000_0000, 0x7fef_ffff_ffff_ffff, 0x7fe0_0000_0000_0000, 0x47ef_ffff_e000_0000,
        0x47ef_ffff_f000_0000, 0x3810_0000_0000_0000, 0x380f_ffff_ffff_ffff, 0x3690_0000_0000_0000, 0x36a0_0000_0000_0000, 0x1ff0_0000_0000_0000,
        0x7ff0_0000_0000_0000, 0x7ff0_0000_0000_0001, 0x7ff8_0000_0000_0000, 0x7ff8_0000_1234_5678, 0x7ff4_0000_0000_0000, 0x7fff_ffff_ffff_ffff,
    ]);

    /// <summary>Single patterns (32 bits, not boxed).</summary>
    public static readonly ulong[] Singles = WithSigns(1UL << 31,
    [
        0, 1, 2, 0x007f_ffff, 0x0080_0000, 0x0080_0001, 0x0040_0000, 0x0100_0000,
        0x3f80_0000, 0x3f80_0001, 0x3f7f_ffff, 0x3f00_0000, 0x3fc0_0000, 0x4020_0000, 0x4000_0000, 0x4040_0000, 0x3eaa_aaab, 0x3380_0000,
        0x4b00_0001, 0x4b80_0000, 0x4eff_ffff, 0x4f00_0000, 0x4f7f_ffff, 0x4f80_0000, 0x5eff_ffff, 0x5f00_0000, 0x5f7f_ffff, 0x5f80_0000,
        0x7f7f_ffff, 0x7f00_0000, 0x2000_0000, 0x1f80_0000, 0x7f80_0000, 0x7f80_0001, 0x7fc0_0000, 0x7fc1_2345, 0x7fa0_0000, 0x7fff_ffff,
    ]);

    private static ulong[] WithSigns(ulong sign, ulong[] values) => [.. values, .. values.Select(v => v | sign)];

    public static ulong Boxed(ulong single) => 0xffff_ffff_0000_0000 | single;

    /// <summary>An integer register's content: special, small, a special one's neighbour, or anything.</summary>
    public static ulong RandomInteger(Random random) => random.Next(8) switch
    {
        0 or 1 or 2 => Integers[random.Next(Integers.Length)],
        3 => Integers[random.Next(Integers.Length)] + (ulong)random.NextInt64(-4, 5),
        4 => (ulong)(long)(int)random.NextInt64(),
        5 => 1UL << random.Next(64),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };

    /// <summary>A double: special, of ordinary size, or any pattern.</summary>
    public static ulong RandomDouble(Random random) => random.Next(4) switch
    {
        0 => Doubles[random.Next(Doubles.Length)],
        1 => BitConverter.DoubleToUInt64Bits((random.NextDouble() - 0.5) * (1L << random.Next(40))),
        2 => Doubles[random.Next(Doubles.Length)] ^ (1UL << random.Next(64)),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };

    /// <summary>A single (32 bits): special, of ordinary size, or any pattern.</summary>
    public static ulong RandomSingle(Random random) => random.Next(4) switch
    {
        0 => Singles[random.Next(Singles.Length)],
        1 => BitConverter.SingleToUInt32Bits((random.NextSingle() - 0.5f) * (1L << random.Next(40))),
        2 => Singles[random.Next(Singles.Length)] ^ (1UL << random.Next(32)),
        _ => (uint)random.NextInt64(),
    };

    /// <summary>A floating-point register's content: a double, a boxed single, or now and then a single that is badly boxed.</summary>
    public static ulong RandomFloatRegister(Random random) => random.Next(16) switch
    {
        0 => RandomSingle(random) | (ulong)random.NextInt64() << 32,
        < 8 => Boxed(RandomSingle(random)),
        _ => RandomDouble(random),
    };
}
