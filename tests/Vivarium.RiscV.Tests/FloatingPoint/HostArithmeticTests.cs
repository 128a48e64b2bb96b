using Vivarium.RiscV.FloatingPoint;

namespace Vivarium.RiscV.Tests.FloatingPoint;

/// <summary>Values in round-to-nearest against the host's hardware, and conversions between the formats against the model.</summary>
public sealed class HostArithmeticTests
{
    private const int Cases = 200_000;

    [Fact]
    public void DoubleAgreesWithTheHost()
    {
        var (m, edges, random) = (RationalModel.Double, FloatOperands.Edges(RationalModel.Double, 53), new Random(11));
        for (var i = 0; i < Cases; i++)
        {
            var a = FloatOperands.Random(random, m, 53, edges, 0);
            var b = FloatOperands.Random(random, m, 53, edges, a);
            var c = FloatOperands.Random(random, m, 53, edges, b);
            var (x, y, z) = (BitConverter.UInt64BitsToDouble(a), BitConverter.UInt64BitsToDouble(b), BitConverter.UInt64BitsToDouble(c));
            var f = FloatFlags.None;
            Same(x + y, Binary64.Add(a, b, 0, ref f));
            Same(x - y, Binary64.Subtract(a, b, 0, ref f));
            Same(x * y, Binary64.Multiply(a, b, 0, ref f));
            Same(x / y, Binary64.Divide(a, b, 0, ref f));
            Same(Math.Sqrt(x), Binary64.SquareRoot(a, 0, ref f));
            Same(Math.FusedMultiplyAdd(x, y, z), Binary64.FusedMultiplyAdd(a, b, c, false, false, 0, ref f));
            Same(Math.Round(x), Binary64.RoundToIntegral(a, RoundingMode.NearestEven, false, ref f));
            Same(Math.Floor(x), Binary64.RoundToIntegral(a, RoundingMode.Down, false, ref f));
        }

        static void Same(double expected, ulong actual) =>
            Assert.Equal(double.IsNaN(expected) ? Binary64.CanonicalNaN : BitConverter.DoubleToUInt64Bits(expected), actual);
    }

    [Fact]
    public void SingleAgreesWithTheHost()
    {
        var (m, edges, random) = (RationalModel.Single, FloatOperands.Edges(RationalModel.Single, 24), new Random(12));
        for (var i = 0; i < Cases; i++)
        {
            var a = FloatOperands.Random(random, m, 24, edges, 0);
            var b = FloatOperands.Random(random, m, 24, edges, a);
            var c = FloatOperands.Random(random, m, 24, edges, b);
            var (x, y, z) = (BitConverter.UInt32BitsToSingle((uint)a), BitConverter.UInt32BitsToSingle((uint)b), BitConverter.UInt32BitsToSingle((uint)c));
            var f = FloatFlags.None;
            Same(x + y, Binary32.Add(a, b, 0, ref f));
            Same(x - y, Binary32.Subtract(a, b, 0, ref f));
            Same(x * y, Binary32.Multiply(a, b, 0, ref f));
            Same(x / y, Binary32.Divide(a, b, 0, ref f));
            Same(MathF.Sqrt(x), Binary32.SquareRoot(a, 0, ref f));
            Same(MathF.FusedMultiplyAdd(x, y, z), Binary32.FusedMultiplyAdd(a, b, c, false, false, 0, ref f));
            Same(MathF.Round(x), Binary32.RoundToIntegral(a, RoundingMode.NearestEven, false, ref f));
        }

        static void Same(float expected, ulong actual) =>
            Assert.Equal(float.IsNaN(expected) ? Binary32.CanonicalNaN : BitConverter.SingleToUInt32Bits(expected), actual);
    }

    [Fact]
    public void ConversionsBetweenFormats()
    {
        var (s, d) = (RationalModel.Single, RationalModel.Double);
        var (sEdges, dEdges, random) = (FloatOperands.Edges(s, 24), FloatOperands.Edges(d, 53), new Random(13));
        for (var i = 0; i < 40_000; i++)
        {
            var narrow = i < sEdges.Length ? sEdges[i] : FloatOperands.Random(random, s, 24, sEdges, 0);
            // Doubles near the range of floats: overflow, underflow and double rounding.
            var wide = i < dEdges.Length ? dEdges[i] : FloatOperands.Random(random, d, 53, dEdges, 0);
            if (i >= dEdges.Length && random.Next(2) == 0)
            {
                var field = random.Next(2) == 0 ? 1023 + random.Next(-151, -123) : 1023 + random.Next(-130, 130);
                wide = (wide & 0x800fffffffffffff) | ((ulong)field << 52);
                if (random.Next(2) == 0) wide &= ~0UL << random.Next(30);
            }
            for (var mode = 0; mode < 5; mode++)
            {
                var (flags, expected) = (FloatFlags.None, 0u);
                Assert.Equal(s.FromFormat(d, wide, mode, ref expected), Binary32.FromFormat<Binary64Format>(wide, (RoundingMode)mode, ref flags));
                Assert.Equal(expected, (uint)flags);
                (flags, expected) = (FloatFlags.None, 0u);
                Assert.Equal(d.FromFormat(s, narrow, mode, ref expected), Binary64.FromFormat<Binary32Format>(narrow, (RoundingMode)mode, ref flags));
                Assert.Equal(expected, (uint)flags);
            }
        }
    }
}
