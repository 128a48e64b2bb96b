using System.Numerics;
using Vivarium.RiscV.FloatingPoint;
using Xunit.Abstractions;

namespace Vivarium.RiscV.Tests.FloatingPoint;

public sealed class Binary32Tests(ITestOutputHelper output) : SoftFloatTests<Binary32Format>(output, RationalModel.Single);

public sealed class Binary64Tests(ITestOutputHelper output) : SoftFloatTests<Binary64Format>(output, RationalModel.Double);

/// <summary>Every operation in every mode, value and flags, against <see cref="RationalModel"/>.</summary>
public abstract class SoftFloatTests<TFormat> where TFormat : struct, IFloatFormat
{
    private const int RandomCases = 20_000;

    private readonly ITestOutputHelper _output;
    private readonly RationalModel _model;
    private readonly ulong[] _edges;

    private protected SoftFloatTests(ITestOutputHelper output, RationalModel model)
    {
        _output = output;
        _model = model;
        _edges = FloatOperands.Edges(model, TFormat.Precision);
    }

    private delegate ulong Product(ulong a, ulong b, ulong c, RoundingMode mode, ref FloatFlags flags);

    private delegate ulong Model(ulong a, ulong b, ulong c, int mode, ref uint flags);

    private long _cases;

    private void Check(string name, Product product, Model model, ulong a, ulong b, ulong c)
    {
        for (var mode = 0; mode < 5; mode++)
        {
            var flags = FloatFlags.None;
            uint expectedFlags = 0;
            var actual = product(a, b, c, (RoundingMode)mode, ref flags);
            var expected = model(a, b, c, mode, ref expectedFlags);
            _cases++;
            if (actual != expected || (uint)flags != expectedFlags)
                Assert.Fail($"{name}({a:x}, {b:x}, {c:x}) mode {mode}: {actual:x} flags {(uint)flags}, expected {expected:x} flags {expectedFlags}");
        }
    }

    private void Check(string name, int operands, Product product, Model model)
    {
        _cases = 0;
        // Three operands: a smaller grid for the third keeps this to seconds.
        var third = operands == 3 ? _edges.Where((_, i) => i % 5 == 0).ToArray() : [0];
        foreach (var a in operands == 3 ? _edges.Where((_, i) => i % 2 == 0) : _edges)
            foreach (var b in operands >= 2 ? _edges : [0])
                foreach (var c in third)
                    Check(name, product, model, a, b, c);
        var random = new Random(name.Length * 7919 + TFormat.Precision);
        for (var i = 0; i < RandomCases; i++)
        {
            var a = FloatOperands.Random(random, _model, TFormat.Precision, _edges, 0);
            var b = FloatOperands.Random(random, _model, TFormat.Precision, _edges, a);
            var near = a;
            if (operands == 3 && random.Next(2) == 0)
            {
                uint ignored = 0;
                near = _model.Multiply(a, b, 0, ref ignored); // an addend that cancels the product
            }
            var c = FloatOperands.Random(random, _model, TFormat.Precision, _edges, near);
            Check(name, product, model, a, b, c);
        }
        _output.WriteLine($"{typeof(TFormat).Name} {name}: {_cases} cases");
    }

    [Fact]
    public void Add() => Check("add", 2,
        (ulong a, ulong b, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.Add(a, b, m, ref f),
        (ulong a, ulong b, ulong _, int m, ref uint f) => _model.Add(a, b, m, ref f));

    [Fact]
    public void Subtract() => Check("sub", 2,
        (ulong a, ulong b, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.Subtract(a, b, m, ref f),
        (ulong a, ulong b, ulong _, int m, ref uint f) => _model.Subtract(a, b, m, ref f));

    [Fact]
    public void Multiply() => Check("mul", 2,
        (ulong a, ulong b, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.Multiply(a, b, m, ref f),
        (ulong a, ulong b, ulong _, int m, ref uint f) => _model.Multiply(a, b, m, ref f));

    [Fact]
    public void Divide() => Check("div", 2,
        (ulong a, ulong b, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.Divide(a, b, m, ref f),
        (ulong a, ulong b, ulong _, int m, ref uint f) => _model.Divide(a, b, m, ref f));

    [Fact]
    public void SquareRoot() => Check("sqrt", 1,
        (ulong a, ulong _, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.SquareRoot(a, m, ref f),
        (ulong a, ulong _, ulong _, int m, ref uint f) => _model.SquareRoot(a, m, ref f));

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void FusedMultiplyAdd(bool negateProduct, bool negateAddend) => Check("fma", 3,
        (ulong a, ulong b, ulong c, RoundingMode m, ref FloatFlags f) =>
            SoftFloat<TFormat>.FusedMultiplyAdd(a, b, c, negateProduct, negateAddend, m, ref f),
        (ulong a, ulong b, ulong c, int m, ref uint f) => _model.FusedMultiplyAdd(a, b, c, negateProduct, negateAddend, m, ref f));

    [Theory]
    [InlineData(32)]
    [InlineData(64)]
    public void ToIntegers(int width)
    {
        var (min, max) = (-(BigInteger.One << (width - 1)), (BigInteger.One << (width - 1)) - 1);
        Check($"to i{width}", 1,
            (ulong a, ulong _, ulong _, RoundingMode m, ref FloatFlags f) => (ulong)SoftFloat<TFormat>.ToSigned(a, width, m, ref f),
            (ulong a, ulong _, ulong _, int m, ref uint f) => (ulong)(long)_model.ToInteger(a, min, max, m, ref f));
        Check($"to u{width}", 1,
            (ulong a, ulong _, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.ToUnsigned(a, width, m, ref f),
            (ulong a, ulong _, ulong _, int m, ref uint f) => (ulong)_model.ToInteger(a, 0, (BigInteger.One << width) - 1, m, ref f));
    }

    [Fact]
    public void ToInt32Modular() => Check("fcvtmod", 1,
        (ulong a, ulong _, ulong _, RoundingMode _, ref FloatFlags f) => (ulong)SoftFloat<TFormat>.ToInt32Modular(a, ref f),
        (ulong a, ulong _, ulong _, int _, ref uint f) =>
        {
            _model.ToInteger(a, int.MinValue, int.MaxValue, 1, ref f);
            if (_model.IsNaN(a) || _model.IsInf(a)) return 0;
            var q = _model.RoundToInteger(a, 1, out var _);
            return (ulong)(int)(uint)(q & uint.MaxValue);
        });

    [Fact]
    public void FromIntegers()
    {
        Check("from i64", 1,
            (ulong a, ulong _, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.FromSigned((long)a, m, ref f),
            (ulong a, ulong _, ulong _, int m, ref uint f) => _model.FromInteger((long)a, m, ref f));
        Check("from u64", 1,
            (ulong a, ulong _, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.FromUnsigned(a, m, ref f),
            (ulong a, ulong _, ulong _, int m, ref uint f) => _model.FromInteger(a, m, ref f));
        // Halfway between representable integers.
        for (var shift = 0; shift < 64; shift++)
        {
            for (var delta = -2; delta <= 2; delta++)
            {
                var v = (ulong.MaxValue >> shift) + (ulong)delta;
                Check("from i64", (ulong a, ulong _, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.FromSigned((long)a, m, ref f),
                    (ulong a, ulong _, ulong _, int m, ref uint f) => _model.FromInteger((long)a, m, ref f), v, 0, 0);
            }
        }
    }

    [Fact]
    public void RoundToIntegral()
    {
        foreach (var signal in (bool[])[false, true])
        {
            Check(signal ? "froundnx" : "fround", 1,
                (ulong a, ulong _, ulong _, RoundingMode m, ref FloatFlags f) => SoftFloat<TFormat>.RoundToIntegral(a, m, signal, ref f),
                (ulong a, ulong _, ulong _, int m, ref uint f) => _model.RoundToIntegral(a, m, signal, ref f));
        }
    }

    [Fact]
    public void Comparisons()
    {
        foreach (var a in _edges)
        {
            foreach (var b in _edges)
            {
                var unordered = _model.IsNaN(a) || _model.IsNaN(b);
                var signaling = _model.IsSignaling(a) || _model.IsSignaling(b);
                var order = unordered ? 0 : Order(a).CompareTo(Order(b));
                CheckCompare((ref FloatFlags f) => SoftFloat<TFormat>.Equal(a, b, ref f), !unordered && order == 0, signaling);
                CheckCompare((ref FloatFlags f) => SoftFloat<TFormat>.Less(a, b, ref f), !unordered && order < 0, unordered);
                CheckCompare((ref FloatFlags f) => SoftFloat<TFormat>.LessOrEqual(a, b, ref f), !unordered && order <= 0, unordered);
                CheckCompare((ref FloatFlags f) => SoftFloat<TFormat>.Less(a, b, ref f, quiet: true), !unordered && order < 0, signaling);
                CheckCompare((ref FloatFlags f) => SoftFloat<TFormat>.LessOrEqual(a, b, ref f, quiet: true), !unordered && order <= 0, signaling);
            }
        }

        BigInteger Order(ulong v) => _model.Scaled(v); // infinity sorts above all as the next binade
    }

    private delegate bool Comparison(ref FloatFlags flags);

    private static void CheckCompare(Comparison compare, bool expected, bool invalid)
    {
        var flags = FloatFlags.None;
        Assert.Equal(expected, compare(ref flags));
        Assert.Equal(invalid ? FloatFlags.Invalid : FloatFlags.None, flags);
    }

    [Fact]
    public void MinimumAndMaximum()
    {
        foreach (var a in _edges)
        {
            foreach (var b in _edges)
            {
                var expectedFlags = _model.IsSignaling(a) || _model.IsSignaling(b) ? FloatFlags.Invalid : FloatFlags.None;
                // With the sign bit of zero counted: -0 < +0.
                var less = _model.Scaled(a) < _model.Scaled(b) || (_model.Scaled(a) == _model.Scaled(b) && _model.Negative(a));
                ulong Number(ulong chosen) =>
                    _model.IsNaN(a) && _model.IsNaN(b) ? _model.CanonicalNaN : _model.IsNaN(a) ? b : _model.IsNaN(b) ? a : chosen;
                ulong Strict(ulong chosen) => _model.IsNaN(a) || _model.IsNaN(b) ? _model.CanonicalNaN : chosen;

                var flags = FloatFlags.None;
                Assert.Equal(Number(less ? a : b), SoftFloat<TFormat>.MinimumNumber(a, b, ref flags));
                Assert.Equal(expectedFlags, flags);
                flags = FloatFlags.None;
                Assert.Equal(Number(less ? b : a), SoftFloat<TFormat>.MaximumNumber(a, b, ref flags));
                Assert.Equal(expectedFlags, flags);
                flags = FloatFlags.None;
                Assert.Equal(Strict(less ? a : b), SoftFloat<TFormat>.Minimum(a, b, ref flags));
                Assert.Equal(expectedFlags, flags);
                flags = FloatFlags.None;
                Assert.Equal(Strict(less ? b : a), SoftFloat<TFormat>.Maximum(a, b, ref flags));
                Assert.Equal(expectedFlags, flags);
            }
        }
    }

    [Fact]
    public void Classification()
    {
        foreach (var v in _edges)
        {
            var negative = _model.Negative(v);
            var magnitude = v & ~_model.Sign;
            var bit = _model.IsSignaling(v) ? 8
                : _model.IsNaN(v) ? 9
                : magnitude == _model.Inf ? (negative ? 0 : 7)
                : magnitude == 0 ? (negative ? 3 : 4)
                : magnitude < 1UL << (TFormat.Precision - 1) ? (negative ? 2 : 5)
                : negative ? 1 : 6;
            Assert.Equal(1UL << bit, SoftFloat<TFormat>.Classify(v));
        }
    }
}
