using System.Numerics;
using Vivarium.RiscV.Isa;
using Vivarium.Testing;

namespace Vivarium.RiscV.Tests.Interpreter;

/// <summary>Every instruction that computes on integer registers, against formulas in unbounded integers.</summary>
public sealed class IntegerModelTests : IDisposable
{
    private readonly Guest _guest = new();

    public void Dispose() => _guest.Dispose();

    /// <summary>rd for rs1 = a, rs2 = b, the immediate (or shift amount) and pc. Results are taken modulo 2^64.</summary>
    private delegate BigInteger Formula(ulong a, ulong b, int imm, ulong pc);

    private static BigInteger S(ulong v) => (long)v;
    private static BigInteger U(ulong v) => v;
    private static BigInteger Sw(BigInteger v)
    {
        var low = Mod(v, 32);
        return low >= BigInteger.One << 31 ? low - (BigInteger.One << 32) : low;
    }

    private static BigInteger Mod(BigInteger v, int bits)
    {
        var m = BigInteger.One << bits;
        var r = v % m;
        return r.Sign < 0 ? r + m : r;
    }

    private static BigInteger Lw(ulong v) => Mod(U(v), 32); // the low word, unsigned
    private static BigInteger Pow(int n) => BigInteger.One << n;
    private static BigInteger Bool(bool b) => b ? 1 : 0;

    /// <summary>Quotient towards zero and remainder by the manual's table.</summary>
    private static BigInteger Quotient(BigInteger a, BigInteger b) => b.IsZero ? -1 : BigInteger.Divide(a, b);
    private static BigInteger Remainder(BigInteger a, BigInteger b) => b.IsZero ? a : BigInteger.Remainder(a, b);

    private static string Bits(BigInteger v, int width) => string.Concat(Enumerable.Range(0, width).Select(n => (v >> (width - 1 - n) & 1).IsZero ? '0' : '1'));
    private static BigInteger FromBits(IEnumerable<char> bits) => bits.Aggregate(BigInteger.Zero, (v, c) => 2 * v + (c == '1' ? 1 : 0));

    private static BigInteger Rotate(BigInteger v, int width, int right)
    {
        var text = Bits(v, width);
        right %= width;
        return FromBits(text[^right..] + text[..^right]);
    }

    private static BigInteger CarryLess(ulong a, ulong b)
    {
        BigInteger product = 0;
        for (var n = 0; n < 64; n++)
        {
            if (!(U(b) / Pow(n)).IsEven) product ^= U(a) * Pow(n);
        }
        return product;
    }

    private static int Low6(ulong b) => (int)(b % 64);
    private static int Low5(ulong b) => (int)(b % 32);

    private static readonly Dictionary<Opcode, Formula> Formulas = new()
    {
        [Opcode.Lui] = (_, _, i, _) => i,
        [Opcode.Auipc] = (_, _, i, pc) => U(pc) + i,
        [Opcode.Addi] = (a, _, i, _) => U(a) + i,
        [Opcode.Slti] = (a, _, i, _) => Bool(S(a) < i),
        [Opcode.Sltiu] = (a, _, i, _) => Bool(U(a) < Mod(i, 64)),
        [Opcode.Xori] = (a, _, i, _) => S(a) ^ i,
        [Opcode.Ori] = (a, _, i, _) => S(a) | i,
        [Opcode.Andi] = (a, _, i, _) => S(a) & i,
        [Opcode.Slli] = (a, _, i, _) => U(a) * Pow(i),
        [Opcode.Srli] = (a, _, i, _) => U(a) / Pow(i),
        [Opcode.Srai] = (a, _, i, _) => (S(a) - Mod(S(a), i)) / Pow(i),
        [Opcode.Add] = (a, b, _, _) => U(a) + U(b),
        [Opcode.Sub] = (a, b, _, _) => U(a) - U(b),
        [Opcode.Sll] = (a, b, _, _) => U(a) * Pow(Low6(b)),
        [Opcode.Slt] = (a, b, _, _) => Bool(S(a) < S(b)),
        [Opcode.Sltu] = (a, b, _, _) => Bool(U(a) < U(b)),
        [Opcode.Xor] = (a, b, _, _) => U(a) ^ U(b),
        [Opcode.Srl] = (a, b, _, _) => U(a) / Pow(Low6(b)),
        [Opcode.Sra] = (a, b, _, _) => (S(a) - Mod(S(a), Low6(b))) / Pow(Low6(b)),
        [Opcode.Or] = (a, b, _, _) => U(a) | U(b),
        [Opcode.And] = (a, b, _, _) => U(a) & U(b),
        [Opcode.Addiw] = (a, _, i, _) => Sw(U(a) + i),
        [Opcode.Slliw] = (a, _, i, _) => Sw(U(a) * Pow(i)),
        [Opcode.Srliw] = (a, _, i, _) => Sw(Lw(a) / Pow(i)),
        [Opcode.Sraiw] = (a, _, i, _) => (Sw(a) - Mod(Sw(a), i)) / Pow(i),
        [Opcode.Addw] = (a, b, _, _) => Sw(U(a) + U(b)),
        [Opcode.Subw] = (a, b, _, _) => Sw(U(a) - U(b)),
        [Opcode.Sllw] = (a, b, _, _) => Sw(U(a) * Pow(Low5(b))),
        [Opcode.Srlw] = (a, b, _, _) => Sw(Lw(a) / Pow(Low5(b))),
        [Opcode.Sraw] = (a, b, _, _) => (Sw(a) - Mod(Sw(a), Low5(b))) / Pow(Low5(b)),

        [Opcode.Mul] = (a, b, _, _) => S(a) * S(b),
        [Opcode.Mulh] = (a, b, _, _) => (S(a) * S(b)) >> 64,
        [Opcode.Mulhsu] = (a, b, _, _) => (S(a) * U(b)) >> 64,
        [Opcode.Mulhu] = (a, b, _, _) => (U(a) * U(b)) >> 64,
        [Opcode.Div] = (a, b, _, _) => Quotient(S(a), S(b)),
        [Opcode.Divu] = (a, b, _, _) => Quotient(U(a), U(b)),
        [Opcode.Rem] = (a, b, _, _) => Remainder(S(a), S(b)),
        [Opcode.Remu] = (a, b, _, _) => Remainder(U(a), U(b)),
        [Opcode.Mulw] = (a, b, _, _) => Sw(U(a) * U(b)),
        [Opcode.Divw] = (a, b, _, _) => Sw(Quotient(Sw(a), Sw(b))),
        [Opcode.Divuw] = (a, b, _, _) => Sw(Quotient(Lw(a), Lw(b))),
        [Opcode.Remw] = (a, b, _, _) => Sw(Remainder(Sw(a), Sw(b))),
        [Opcode.Remuw] = (a, b, _, _) => Sw(Remainder(Lw(a), Lw(b))),

        [Opcode.AddUw] = (a, b, _, _) => Lw(a) + U(b),
        [Opcode.Sh1add] = (a, b, _, _) => 2 * U(a) + U(b),
        [Opcode.Sh2add] = (a, b, _, _) => 4 * U(a) + U(b),
        [Opcode.Sh3add] = (a, b, _, _) => 8 * U(a) + U(b),
        [Opcode.Sh1addUw] = (a, b, _, _) => 2 * Lw(a) + U(b),
        [Opcode.Sh2addUw] = (a, b, _, _) => 4 * Lw(a) + U(b),
        [Opcode.Sh3addUw] = (a, b, _, _) => 8 * Lw(a) + U(b),
        [Opcode.SlliUw] = (a, _, i, _) => Lw(a) * Pow(i),
        [Opcode.Andn] = (a, b, _, _) => S(a) & (-1 - S(b)),
        [Opcode.Orn] = (a, b, _, _) => S(a) | (-1 - S(b)),
        [Opcode.Xnor] = (a, b, _, _) => -1 - (S(a) ^ S(b)),
        [Opcode.Clz] = (a, _, _, _) => Bits(a, 64).TakeWhile(c => c == '0').Count(),
        [Opcode.Clzw] = (a, _, _, _) => Bits(Lw(a), 32).TakeWhile(c => c == '0').Count(),
        [Opcode.Ctz] = (a, _, _, _) => Bits(a, 64).Reverse().TakeWhile(c => c == '0').Count(),
        [Opcode.Ctzw] = (a, _, _, _) => Bits(Lw(a), 32).Reverse().TakeWhile(c => c == '0').Count(),
        [Opcode.Cpop] = (a, _, _, _) => Bits(a, 64).Count(c => c == '1'),
        [Opcode.Cpopw] = (a, _, _, _) => Bits(Lw(a), 32).Count(c => c == '1'),
        [Opcode.Max] = (a, b, _, _) => BigInteger.Max(S(a), S(b)),
        [Opcode.Maxu] = (a, b, _, _) => BigInteger.Max(U(a), U(b)),
        [Opcode.Min] = (a, b, _, _) => BigInteger.Min(S(a), S(b)),
        [Opcode.Minu] = (a, b, _, _) => BigInteger.Min(U(a), U(b)),
        [Opcode.SextB] = (a, _, _, _) => Mod(U(a) + 128, 8) - 128,
        [Opcode.SextH] = (a, _, _, _) => Mod(U(a) + 32768, 16) - 32768,
        [Opcode.ZextH] = (a, _, _, _) => Mod(U(a), 16),
        [Opcode.Rol] = (a, b, _, _) => Rotate(a, 64, 64 - Low6(b)),
        [Opcode.Rolw] = (a, b, _, _) => Sw(Rotate(Lw(a), 32, 32 - Low5(b))),
        [Opcode.Ror] = (a, b, _, _) => Rotate(a, 64, Low6(b)),
        [Opcode.Rorw] = (a, b, _, _) => Sw(Rotate(Lw(a), 32, Low5(b))),
        [Opcode.Rori] = (a, _, i, _) => Rotate(a, 64, i),
        [Opcode.Roriw] = (a, _, i, _) => Sw(Rotate(Lw(a), 32, i)),
        [Opcode.OrcB] = (a, _, _, _) => FromBits(Bits(a, 64).Chunk(8).SelectMany(b => b.Contains('1') ? "11111111" : "00000000")),
        [Opcode.Rev8] = (a, _, _, _) => FromBits(Bits(a, 64).Chunk(8).Reverse().SelectMany(b => b)),
        [Opcode.Clmul] = (a, b, _, _) => CarryLess(a, b),
        [Opcode.Clmulh] = (a, b, _, _) => CarryLess(a, b) >> 64,
        [Opcode.Clmulr] = (a, b, _, _) => CarryLess(a, b) >> 63,
        [Opcode.Bclr] = (a, b, _, _) => U(a) - (U(a) & Pow(Low6(b))),
        [Opcode.Bclri] = (a, _, i, _) => U(a) - (U(a) & Pow(i)),
        [Opcode.Bext] = (a, b, _, _) => Mod(U(a) / Pow(Low6(b)), 1),
        [Opcode.Bexti] = (a, _, i, _) => Mod(U(a) / Pow(i), 1),
        [Opcode.Binv] = (a, b, _, _) => U(a) ^ Pow(Low6(b)),
        [Opcode.Binvi] = (a, _, i, _) => U(a) ^ Pow(i),
        [Opcode.Bset] = (a, b, _, _) => U(a) | Pow(Low6(b)),
        [Opcode.Bseti] = (a, _, i, _) => U(a) | Pow(i),
        [Opcode.CzeroEqz] = (a, b, _, _) => b == 0 ? 0 : U(a),
        [Opcode.CzeroNez] = (a, b, _, _) => b != 0 ? 0 : U(a),
    };

    public static TheoryData<Opcode> Opcodes
    {
        get
        {
            var data = new TheoryData<Opcode>();
            foreach (var row in InstructionTable.Rows)
            {
                if (row.Length == 4 && row.Class is (SemanticsClass.Integer or SemanticsClass.Multiply)) data.Add(row.Opcode);
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Opcodes))]
    public void Computes(Opcode opcode)
    {
        Assert.True(Formulas.TryGetValue(opcode, out var formula), $"no formula for {opcode}");
        var random = new Random((int)opcode);
        var format = InstructionTable.BaseRow(opcode).Format;
        int[] immediates = format switch
        {
            OperandFormat.I => [0, 1, -1, 2047, -2048, .. Enumerable.Range(0, 5).Select(_ => random.Next(-2048, 2048))],
            OperandFormat.Shift64 => [0, 1, 31, 32, 63, random.Next(64)],
            OperandFormat.Shift32 => [0, 1, 15, 31, random.Next(32)],
            OperandFormat.U => [0, 0x1000, 0x7fff_f000, int.MinValue, -0x1000, (int)(random.NextInt64() & 0xfffff000)],
            _ => [0],
        };
        var grid = format == OperandFormat.R
            ? SpecialValues.Integers.SelectMany(a => SpecialValues.Integers.Select(b => (a, b)))
            : SpecialValues.Integers.Select(a => (a, b: 0UL));
        var operands = grid.Concat(Enumerable.Range(0, 300).Select(_ => (a: SpecialValues.RandomInteger(random), b: SpecialValues.RandomInteger(random)))).ToArray();
        foreach (var imm in immediates)
        {
            _guest.Load(Encoder.Encode(opcode, 7, 5, 6, imm: imm));
            foreach (var (a, b) in operands)
            {
                (_guest[5], _guest[6], _guest[7]) = (a, b, 0xdeadbeef);
                _guest.Hart.Pc = Guest.Code;
                Assert.Null(_guest.Interpreter.Step(_guest.Hart));
                var expected = (ulong)Mod(formula(a, b, imm, Guest.Code), 64);
                if (_guest[7] != expected) Assert.Fail($"{opcode} {a:x}, {b:x}, {imm}: {_guest[7]:x}, expected {expected:x}");
                Assert.Equal(Guest.Code + 4, _guest.Hart.Pc);
            }
        }

        // The same register thrice, and x0 as destination and as source.
        foreach (var a in SpecialValues.Integers)
        {
            _guest[5] = a;
            Assert.Null(_guest.Execute(Encoder.Encode(opcode, 5, 5, 5, imm: immediates[^1])));
            Assert.Equal((ulong)Mod(formula(a, a, immediates[^1], Guest.Code), 64), _guest[5]);
            _guest[5] = a;
            Assert.Null(_guest.Execute(Encoder.Encode(opcode, 0, 5, 5, imm: immediates[^1])));
            Assert.Equal((0UL, a), (_guest[0], _guest[5]));
        }
        Assert.Null(_guest.Execute(Encoder.Encode(opcode, 5, 0, 0, imm: immediates[^1])));
        Assert.Equal((ulong)Mod(formula(0, 0, immediates[^1], Guest.Code), 64), _guest[5]);
    }

    [Fact]
    public void DivisionByTheManualsTable()
    {
        // (dividend, divisor) -> div, rem, divu, remu (manual, M extension)
        Check(7, 0, ulong.MaxValue, 7, ulong.MaxValue, 7);
        Check(1UL << 63, ulong.MaxValue, 1UL << 63, 0, 0, 1UL << 63);
        Check(unchecked((ulong)-7), 2, unchecked((ulong)-3), unchecked((ulong)-1), 0x7fff_ffff_ffff_fffc, 1);

        void Check(ulong a, ulong b, ulong div, ulong rem, ulong divu, ulong remu)
        {
            (Opcode, ulong)[] all = [(Opcode.Div, div), (Opcode.Rem, rem), (Opcode.Divu, divu), (Opcode.Remu, remu)];
            foreach (var (opcode, expected) in all)
            {
                (_guest[5], _guest[6]) = (a, b);
                Assert.Null(_guest.Execute(Encoder.Encode(opcode, 7, 5, 6)));
                Assert.Equal(expected, _guest[7]);
            }
        }
    }

    [Theory]
    [InlineData(Opcode.Beq)]
    [InlineData(Opcode.Bne)]
    [InlineData(Opcode.Blt)]
    [InlineData(Opcode.Bge)]
    [InlineData(Opcode.Bltu)]
    [InlineData(Opcode.Bgeu)]
    public void Branches(Opcode opcode)
    {
        foreach (var offset in (int[])[4094, -4096, 8, -2, 4])
        {
            _guest.Load(Encoder.Encode(opcode, rs1: 5, rs2: 6, imm: offset));
            foreach (var a in SpecialValues.Integers)
            {
                foreach (var b in SpecialValues.Integers)
                {
                    var taken = opcode switch
                    {
                        Opcode.Beq => S(a) == S(b),
                        Opcode.Bne => S(a) != S(b),
                        Opcode.Blt => S(a) < S(b),
                        Opcode.Bge => S(a) >= S(b),
                        Opcode.Bltu => U(a) < U(b),
                        _ => U(a) >= U(b),
                    };
                    (_guest[5], _guest[6]) = (a, b);
                    _guest.Hart.Pc = Guest.Code;
                    Assert.Null(_guest.Interpreter.Step(_guest.Hart));
                    Assert.Equal(Guest.Code + (ulong)(taken ? offset : 4), _guest.Hart.Pc);
                }
            }
        }
    }

    [Fact]
    public void Jumps()
    {
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.Jal, 1, imm: -0x100000)));
        Assert.Equal((unchecked(Guest.Code - 0x100000), Guest.Code + 4), (_guest.Hart.Pc, _guest[1]));
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.Jal, 0, imm: 0xffffe)));
        Assert.Equal(Guest.Code + 0xffffe, _guest.Hart.Pc);
        _guest[5] = 0x12345;
        Assert.Null(_guest.Execute(Encoder.Encode(Opcode.Jalr, 5, 5, imm: -2))); // the link register is the base; bit 0 is dropped
        Assert.Equal((0x12342UL, Guest.Code + 4), (_guest.Hart.Pc, _guest[5]));
        _guest[5] = 0x2000;
        Assert.Null(_guest.Execute(0x9282)); // c.jalr t0: links pc + 2
        Assert.Equal((0x2000UL, Guest.Code + 2), (_guest.Hart.Pc, _guest[1]));
        Assert.Null(_guest.Execute(0x8282)); // c.jr t0
        Assert.Equal(0x2000UL, _guest.Hart.Pc);
    }

    /// <summary>Compressed instructions do what their expansions do.</summary>
    [Fact]
    public void CompressedInstructionsAreTheirExpansions()
    {
        var random = new Random(5);
        for (uint bits = 0; bits < 0x10000; bits++)
        {
            var instruction = Decoder.Decode(bits);
            if ((bits & 3) == 3 || !Formulas.TryGetValue(instruction.Opcode, out var formula)) continue;
            for (var r = 1; r < 32; r++) _guest[r] = SpecialValues.RandomInteger(random);
            var (a, b) = (_guest[instruction.Rs1], _guest[instruction.Rs2]);
            Assert.Null(_guest.Execute(bits));
            Assert.Equal(Guest.Code + 2, _guest.Hart.Pc);
            var expected = instruction.Rd == 0 ? 0 : (ulong)Mod(formula(a, b, instruction.Imm, Guest.Code), 64);
            if (expected != _guest[instruction.Rd]) Assert.Fail($"{bits:x4} {instruction}: {_guest[instruction.Rd]:x}, expected {expected:x}");
        }
    }
}
