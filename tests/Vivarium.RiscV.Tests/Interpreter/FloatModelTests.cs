using System.Numerics;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Tests.FloatingPoint;
using Vivarium.Testing;

namespace Vivarium.RiscV.Tests.Interpreter;

/// <summary>
/// Every floating-point instruction as executed: operands from registers with NaN boxing, static and dynamic rounding modes, accrued
/// flags, results boxed or sign-extended; values by <see cref="RationalModel"/>.
/// </summary>
public sealed class FloatModelTests : IDisposable
{
    private static readonly RationalModel Single = RationalModel.Single, Double = RationalModel.Double;

    private readonly Guest _guest = new();

    public void Dispose() => _guest.Dispose();

    /// <summary>The destination register for unboxed operands a, b, c (an integer source is a) in a rounding mode; adds flags.</summary>
    private delegate ulong Formula(RationalModel m, ulong a, ulong b, ulong c, int mode, ref uint flags);

    private enum Where { Float, Integer }

    private static readonly Dictionary<string, (Where Source, Where Target, Formula Formula)> Formulas = new()
    {
        ["fadd"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.Add(a, b, r, ref f)),
        ["fsub"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.Subtract(a, b, r, ref f)),
        ["fmul"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.Multiply(a, b, r, ref f)),
        ["fdiv"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.Divide(a, b, r, ref f)),
        ["fsqrt"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.SquareRoot(a, r, ref f)),
        ["fmadd"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.FusedMultiplyAdd(a, b, c, false, false, r, ref f)),
        ["fmsub"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.FusedMultiplyAdd(a, b, c, false, true, r, ref f)),
        ["fnmsub"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.FusedMultiplyAdd(a, b, c, true, false, r, ref f)),
        ["fnmadd"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.FusedMultiplyAdd(a, b, c, true, true, r, ref f)),
        ["fsgnj"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => a % m.Sign + (m.Negative(b) ? m.Sign : 0)),
        ["fsgnjn"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => a % m.Sign + (m.Negative(b) ? 0 : m.Sign)),
        ["fsgnjx"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => a % m.Sign + (m.Negative(b) != m.Negative(a) ? m.Sign : 0)),
        ["fmin"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => MinMax(m, a, b, true, true, ref f)),
        ["fmax"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => MinMax(m, a, b, false, true, ref f)),
        ["fminm"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => MinMax(m, a, b, true, false, ref f)),
        ["fmaxm"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => MinMax(m, a, b, false, false, ref f)),
        ["fround"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.RoundToIntegral(a, r, false, ref f)),
        ["froundnx"] = (Where.Float, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.RoundToIntegral(a, r, true, ref f)),
        ["feq"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => Compare(m, a, b, true, o => o == 0, ref f)),
        ["flt"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => Compare(m, a, b, false, o => o < 0, ref f)),
        ["fle"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => Compare(m, a, b, false, o => o <= 0, ref f)),
        ["fltq"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => Compare(m, a, b, true, o => o < 0, ref f)),
        ["fleq"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => Compare(m, a, b, true, o => o <= 0, ref f)),
        ["fclass"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => Classify(m, a)),
        ["fcvt.w"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => (ulong)(long)m.ToInteger(a, int.MinValue, int.MaxValue, r, ref f)),
        ["fcvt.wu"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => (ulong)(int)(uint)m.ToInteger(a, 0, uint.MaxValue, r, ref f)),
        ["fcvt.l"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => (ulong)(long)m.ToInteger(a, long.MinValue, long.MaxValue, r, ref f)),
        ["fcvt.lu"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => (ulong)m.ToInteger(a, 0, ulong.MaxValue, r, ref f)),
        ["from w"] = (Where.Integer, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.FromInteger((int)a, r, ref f)),
        ["from wu"] = (Where.Integer, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.FromInteger((uint)a, r, ref f)),
        ["from l"] = (Where.Integer, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.FromInteger((long)a, r, ref f)),
        ["from lu"] = (Where.Integer, Where.Float, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) => m.FromInteger(a, r, ref f)),
        ["fcvtmod.w"] = (Where.Float, Where.Integer, (RationalModel m, ulong a, ulong b, ulong c, int r, ref uint f) =>
        {
            m.ToInteger(a, int.MinValue, int.MaxValue, 1, ref f);
            return m.IsNaN(a) || m.IsInf(a) ? 0 : (ulong)(int)(uint)(m.RoundToInteger(a, 1, out _) & uint.MaxValue);
        }),
    };

    private static ulong MinMax(RationalModel m, ulong a, ulong b, bool minimum, bool numberWins, ref uint flags)
    {
        if (m.IsSignaling(a) || m.IsSignaling(b)) flags |= RationalModel.NV;
        if (m.IsNaN(a) || m.IsNaN(b)) return !numberWins || (m.IsNaN(a) && m.IsNaN(b)) ? m.CanonicalNaN : m.IsNaN(a) ? b : a;
        var less = m.Scaled(a) < m.Scaled(b) || (m.Scaled(a) == m.Scaled(b) && m.Negative(a));
        return less == minimum ? a : b;
    }

    private static ulong Compare(RationalModel m, ulong a, ulong b, bool quiet, Func<int, bool> accept, ref uint flags)
    {
        if (m.IsNaN(a) || m.IsNaN(b))
        {
            if (!quiet || m.IsSignaling(a) || m.IsSignaling(b)) flags |= RationalModel.NV;
            return 0;
        }
        return accept(m.Scaled(a).CompareTo(m.Scaled(b))) ? 1UL : 0UL;
    }

    private static ulong Classify(RationalModel m, ulong a)
    {
        if (m.IsNaN(a)) return m.IsSignaling(a) ? 1UL << 8 : 1UL << 9;
        var size = m.IsZero(a) ? 0 : m.IsInf(a) ? 3 : (a & m.Inf) == 0 ? 1 : 2; // zero, subnormal, normal, infinite
        return 1UL << (m.Negative(a) ? 3 - size : 4 + size);
    }

    /// <summary>fcvt.s.wu names a conversion from an integer; fcvt.wu.s one to it.</summary>
    private static string KeyOf(string mnemonic, out RationalModel model)
    {
        var parts = mnemonic.Split('.');
        if (parts is ["fcvt", "s" or "d", var integer])
        {
            model = parts[1] == "s" ? Single : Double;
            return "from " + integer;
        }
        model = parts[^1] == "s" ? Single : Double;
        return string.Join('.', parts[..^1]);
    }

    public static TheoryData<Opcode> Opcodes
    {
        get
        {
            var data = new TheoryData<Opcode>();
            foreach (var row in InstructionTable.Rows)
            {
                // Moves, fli and conversions between the formats have tests of their own below.
                if (row.Length == 4 && row.Class == SemanticsClass.Float && !row.Mnemonic.StartsWith("fmv.") && !row.Mnemonic.StartsWith("fli.")
                    && row.Opcode is not (Opcode.FcvtSD or Opcode.FcvtDS)) data.Add(row.Opcode);
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Opcodes))]
    public void Computes(Opcode opcode)
    {
        var row = InstructionTable.BaseRow(opcode);
        var key = KeyOf(row.Mnemonic, out var model);
        Assert.True(Formulas.TryGetValue(key, out var entry), $"no formula for {row.Mnemonic}");
        var random = new Random((int)opcode);
        var hasMode = row.Format is OperandFormat.R4 or OperandFormat.RRm or OperandFormat.RUnaryRm && (row.Mask & 0x7000) == 0;
        for (var rm = hasMode ? 0 : 7; rm < 8; rm++)
        {
            if (rm is 5 or 6) continue;
            _guest.Load(Encoder.Encode(opcode, 7, 10, 11, 12, rm: rm));
            for (var n = 0; n < 1500; n++)
            {
                var (a, b, c) = (Register(), Register(), Register());
                if (random.Next(8) == 0) b = a;
                var frm = (uint)random.Next(rm == 7 && hasMode ? 5 : 8); // a reserved frm does not matter to static modes
                var before = (uint)random.Next(32);
                for (var f = 10; f < 13; f++) _guest.SetF(f, f == 10 ? a : f == 11 ? b : c);
                _guest[10] = a;
                (_guest[7], _guest.State.Frm, _guest.State.Fflags, _guest.Hart.Pc) = (0xdead, frm, before, Guest.Code);
                _guest.SetF(7, 0xdead);
                Assert.Null(_guest.Interpreter.Step(_guest.Hart));

                var flags = before;
                var source = entry.Source == Where.Integer ? a : Unbox(a);
                var expected = entry.Formula(model, source, Unbox(b), Unbox(c), rm == 7 ? (int)frm : rm, ref flags);
                if (entry.Target == Where.Float && model == Single) expected |= 0xffff_ffff_0000_0000;
                var (x, f7) = entry.Target == Where.Float ? (0xdeadUL, expected) : (expected, 0xdeadUL);
                if (_guest[7] != x || _guest.F(7) != f7 || _guest.State.Fflags != flags)
                    Assert.Fail($"{row.Mnemonic} rm {rm} frm {frm} ({a:x}, {b:x}, {c:x}): x {_guest[7]:x} f {_guest.F(7):x} flags {_guest.State.Fflags:x}, expected {x:x} {f7:x} {flags:x}");
            }
        }

        ulong Register() => entry.Source == Where.Integer ? SpecialValues.RandomInteger(random)
            : model == Double ? SpecialValues.RandomDouble(random)
            : random.Next(12) == 0 ? SpecialValues.RandomSingle(random) | (ulong)random.NextInt64() << 32 : SpecialValues.Boxed(SpecialValues.RandomSingle(random));

        ulong Unbox(ulong v) => model == Double ? v : v >> 32 == uint.MaxValue ? (uint)v : Single.CanonicalNaN;
    }

    [Fact]
    public void ConversionsBetweenFormats()
    {
        var random = new Random(6);
        for (var n = 0; n < 3000; n++)
        {
            var (frm, flags) = (random.Next(5), 0u);
            _guest.State.Frm = (uint)frm;
            var wide = SpecialValues.RandomDouble(random);
            _guest.SetF(1, wide);
            _guest.State.Fflags = 0;
            Assert.Null(_guest.Execute(Encoder.Encode(Opcode.FcvtSD, 2, 1)));
            Assert.Equal(0xffff_ffff_0000_0000 | Single.FromFormat(Double, wide, frm, ref flags), _guest.F(2));
            Assert.Equal(flags, _guest.State.Fflags);

            var narrow = SpecialValues.RandomFloatRegister(random);
            _guest.SetF(1, narrow);
            (_guest.State.Fflags, flags) = (0, 0);
            Assert.Null(_guest.Execute(Encoder.Encode(Opcode.FcvtDS, 2, 1)));
            Assert.Equal(Double.FromFormat(Single, narrow >> 32 == uint.MaxValue ? (uint)narrow : Single.CanonicalNaN, frm, ref flags), _guest.F(2));
            Assert.Equal(flags, _guest.State.Fflags);
        }
    }

    [Fact]
    public void MovesKeepBits()
    {
        _guest.SetF(1, 0x1234_5678_ffa0_0001); // not boxed, a signaling NaN below
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.FmvXW, 5, 1)));
        Assert.Equal(0xffff_ffff_ffa0_0001, _guest[5]);
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.FmvXD, 5, 1)));
        Assert.Equal(0x1234_5678_ffa0_0001UL, _guest[5]);
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.FmvWX, 2, 5)));
        Assert.Equal(0xffff_ffff_ffa0_0001, _guest.F(2));
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.FmvDX, 2, 5)));
        Assert.Equal(0x1234_5678_ffa0_0001UL, _guest.F(2));
        Assert.Equal(0u, _guest.State.Fflags);
    }

    [Fact]
    public void Constants()
    {
        // Zfa, table "Immediate values loaded by the FLI instructions", in binary: exponent and two fraction bits.
        double[] values =
        [
            -1, double.NegativeInfinity, Math.Pow(2, -16), Math.Pow(2, -15), Math.Pow(2, -8), Math.Pow(2, -7), Math.Pow(2, -4), Math.Pow(2, -3),
            0.25, 0.3125, 0.375, 0.4375, 0.5, 0.625, 0.75, 0.875, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 8, 16, 128, 256, Math.Pow(2, 15), Math.Pow(2, 16),
        ];
        for (var n = 0; n < 32; n++)
        {
            Assert.Null(_guest.Execute(Encoder.Encode(Opcode.FliD, 1, n)));
            Assert.Null(_guest.Execute(Encoder.Encode(Opcode.FliS, 2, n)));
            var (d, s) = (BitConverter.UInt64BitsToDouble(_guest.F(1)), BitConverter.UInt32BitsToSingle((uint)_guest.F(2)));
            Assert.Equal(0xffff_ffffUL, _guest.F(2) >> 32);
            switch (n)
            {
                case 1:
                    Assert.Equal((0x0010_0000_0000_0000UL, 0xffff_ffff_0080_0000), (_guest.F(1), _guest.F(2))); // smallest normal
                    break;
                case 30:
                    Assert.Equal((double.PositiveInfinity, float.PositiveInfinity), (d, s));
                    break;
                case 31:
                    Assert.Equal((0x7ff8_0000_0000_0000UL, 0xffff_ffff_7fc0_0000), (_guest.F(1), _guest.F(2)));
                    break;
                default:
                    Assert.Equal((values[n], (float)values[n]), (d, s));
                    break;
            }
        }
    }

    /// <summary>Every row with an rm field: 5 and 6 are illegal, and so is 7 with a reserved frm, and nothing changes.</summary>
    [Fact]
    public void ReservedRoundingModes()
    {
        foreach (var row in InstructionTable.Rows)
        {
            if (row.Format is not (OperandFormat.R4 or OperandFormat.RRm or OperandFormat.RUnaryRm) || (row.Mask & 0x7000) != 0) continue;
            (uint Frm, int Rm)[] all = [(0, 5), (0, 6), (5, 7), (6, 7), (7, 7)];
            foreach (var (frm, rm) in all)
            {
                (_guest.State.Frm, _guest.State.Fflags) = (frm, 0);
                var bits = Encoder.Encode(row.Opcode, 7, 10, 11, 12, rm: rm);
                Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.IllegalInstruction, bits), _guest.Execute(bits));
                Assert.Equal((0u, Guest.Code), (_guest.State.Fflags, _guest.Hart.Pc));
            }
        }
    }
}
