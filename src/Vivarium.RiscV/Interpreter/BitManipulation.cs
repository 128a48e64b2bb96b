using System.Buffers.Binary;
using System.Numerics;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>Zba, Zbb, Zbc, Zbs and Zicond.</summary>
internal static unsafe class BitManipulation
{
    public static void AddTo(SemanticsTable t)
    {
        t[Opcode.AddUw] = &AddUw;
        t[Opcode.Sh1add] = &Sh1add;
        t[Opcode.Sh2add] = &Sh2add;
        t[Opcode.Sh3add] = &Sh3add;
        t[Opcode.Sh1addUw] = &Sh1addUw;
        t[Opcode.Sh2addUw] = &Sh2addUw;
        t[Opcode.Sh3addUw] = &Sh3addUw;
        t[Opcode.SlliUw] = &SlliUw;
        t[Opcode.Andn] = &Andn;
        t[Opcode.Orn] = &Orn;
        t[Opcode.Xnor] = &Xnor;
        t[Opcode.Clz] = &Clz;
        t[Opcode.Clzw] = &Clzw;
        t[Opcode.Ctz] = &Ctz;
        t[Opcode.Ctzw] = &Ctzw;
        t[Opcode.Cpop] = &Cpop;
        t[Opcode.Cpopw] = &Cpopw;
        t[Opcode.Max] = &Max;
        t[Opcode.Maxu] = &Maxu;
        t[Opcode.Min] = &Min;
        t[Opcode.Minu] = &Minu;
        t[Opcode.SextB] = &SextB;
        t[Opcode.SextH] = &SextH;
        t[Opcode.ZextH] = &ZextH;
        t[Opcode.Rol] = &Rol;
        t[Opcode.Rolw] = &Rolw;
        t[Opcode.Ror] = &Ror;
        t[Opcode.Rori] = &Rori;
        t[Opcode.Rorw] = &Rorw;
        t[Opcode.Roriw] = &Roriw;
        t[Opcode.OrcB] = &OrcB;
        t[Opcode.Rev8] = &Rev8;
        t[Opcode.Clmul] = &Clmul;
        t[Opcode.Clmulh] = &Clmulh;
        t[Opcode.Clmulr] = &Clmulr;
        t[Opcode.Bclr] = &Bclr;
        t[Opcode.Bclri] = &Bclri;
        t[Opcode.Bext] = &Bext;
        t[Opcode.Bexti] = &Bexti;
        t[Opcode.Binv] = &Binv;
        t[Opcode.Binvi] = &Binvi;
        t[Opcode.Bset] = &Bset;
        t[Opcode.Bseti] = &Bseti;
        t[Opcode.CzeroEqz] = &CzeroEqz;
        t[Opcode.CzeroNez] = &CzeroNez;
    }

    // Zba: address generation.

    private static bool AddUw(ref Core c, in Instruction i) => c.SetX(i.Rd, (uint)c.X(i.Rs1) + c.X(i.Rs2));

    private static bool Sh1add(ref Core c, in Instruction i) => c.SetX(i.Rd, (c.X(i.Rs1) << 1) + c.X(i.Rs2));

    private static bool Sh2add(ref Core c, in Instruction i) => c.SetX(i.Rd, (c.X(i.Rs1) << 2) + c.X(i.Rs2));

    private static bool Sh3add(ref Core c, in Instruction i) => c.SetX(i.Rd, (c.X(i.Rs1) << 3) + c.X(i.Rs2));

    private static bool Sh1addUw(ref Core c, in Instruction i) => c.SetX(i.Rd, ((ulong)(uint)c.X(i.Rs1) << 1) + c.X(i.Rs2));

    private static bool Sh2addUw(ref Core c, in Instruction i) => c.SetX(i.Rd, ((ulong)(uint)c.X(i.Rs1) << 2) + c.X(i.Rs2));

    private static bool Sh3addUw(ref Core c, in Instruction i) => c.SetX(i.Rd, ((ulong)(uint)c.X(i.Rs1) << 3) + c.X(i.Rs2));

    private static bool SlliUw(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)(uint)c.X(i.Rs1) << i.Imm);

    // Zbb: basic bit manipulation.

    private static bool Andn(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) & ~c.X(i.Rs2));

    private static bool Orn(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) | ~c.X(i.Rs2));

    private static bool Xnor(ref Core c, in Instruction i) => c.SetX(i.Rd, ~(c.X(i.Rs1) ^ c.X(i.Rs2)));

    private static bool Clz(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)BitOperations.LeadingZeroCount(c.X(i.Rs1)));

    private static bool Clzw(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)BitOperations.LeadingZeroCount((uint)c.X(i.Rs1)));

    private static bool Ctz(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)BitOperations.TrailingZeroCount(c.X(i.Rs1)));

    private static bool Ctzw(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)BitOperations.TrailingZeroCount((uint)c.X(i.Rs1)));

    private static bool Cpop(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)BitOperations.PopCount(c.X(i.Rs1)));

    private static bool Cpopw(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)BitOperations.PopCount((uint)c.X(i.Rs1)));

    private static bool Max(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)Math.Max((long)c.X(i.Rs1), (long)c.X(i.Rs2)));

    private static bool Maxu(ref Core c, in Instruction i) => c.SetX(i.Rd, Math.Max(c.X(i.Rs1), c.X(i.Rs2)));

    private static bool Min(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)Math.Min((long)c.X(i.Rs1), (long)c.X(i.Rs2)));

    private static bool Minu(ref Core c, in Instruction i) => c.SetX(i.Rd, Math.Min(c.X(i.Rs1), c.X(i.Rs2)));

    private static bool SextB(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)(sbyte)c.X(i.Rs1));

    private static bool SextH(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)(short)c.X(i.Rs1));

    private static bool ZextH(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)(ushort)c.X(i.Rs1));

    private static bool Rol(ref Core c, in Instruction i) => c.SetX(i.Rd, BitOperations.RotateLeft(c.X(i.Rs1), (int)c.X(i.Rs2)));

    private static bool Ror(ref Core c, in Instruction i) => c.SetX(i.Rd, BitOperations.RotateRight(c.X(i.Rs1), (int)c.X(i.Rs2)));

    private static bool Rori(ref Core c, in Instruction i) => c.SetX(i.Rd, BitOperations.RotateRight(c.X(i.Rs1), i.Imm));

    private static bool Rolw(ref Core c, in Instruction i) => c.SetW(i.Rd, BitOperations.RotateLeft((uint)c.X(i.Rs1), (int)c.X(i.Rs2)));

    private static bool Rorw(ref Core c, in Instruction i) => c.SetW(i.Rd, BitOperations.RotateRight((uint)c.X(i.Rs1), (int)c.X(i.Rs2)));

    private static bool Roriw(ref Core c, in Instruction i) => c.SetW(i.Rd, BitOperations.RotateRight((uint)c.X(i.Rs1), i.Imm));

    private static bool Rev8(ref Core c, in Instruction i) => c.SetX(i.Rd, BinaryPrimitives.ReverseEndianness(c.X(i.Rs1)));

    /// <summary>Each byte becomes all ones if any of its bits is set.</summary>
    private static bool OrcB(ref Core c, in Instruction i)
    {
        ulong result = 0;
        for (var shift = 0; shift < 64; shift += 8)
        {
            if ((byte)(c.X(i.Rs1) >> shift) != 0) result |= 0xffUL << shift;
        }
        return c.SetX(i.Rd, result);
    }

    // Zbc: the 127-bit carry-less product, its low half, its high half, and its bits 126..63 ("reversed").

    private static bool Clmul(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)CarryLessProduct(c.X(i.Rs1), c.X(i.Rs2)));

    private static bool Clmulh(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)(CarryLessProduct(c.X(i.Rs1), c.X(i.Rs2)) >> 64));

    private static bool Clmulr(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)(CarryLessProduct(c.X(i.Rs1), c.X(i.Rs2)) >> 63));

    private static UInt128 CarryLessProduct(ulong a, ulong b)
    {
        UInt128 product = 0;
        for (var bit = 0; bit < 64; bit++)
        {
            if ((b >> bit & 1) != 0) product ^= (UInt128)a << bit;
        }
        return product;
    }

    // Zbs: single bits; the index is the low six bits.

    private static bool Bclr(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) & ~(1UL << (int)c.X(i.Rs2)));

    private static bool Bclri(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) & ~(1UL << i.Imm));

    private static bool Bext(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) >> (int)c.X(i.Rs2) & 1);

    private static bool Bexti(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) >> i.Imm & 1);

    private static bool Binv(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) ^ (1UL << (int)c.X(i.Rs2)));

    private static bool Binvi(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) ^ (1UL << i.Imm));

    private static bool Bset(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) | (1UL << (int)c.X(i.Rs2)));

    private static bool Bseti(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) | (1UL << i.Imm));

    // Zicond: rs1, or zero where rs2 is (not) zero.

    private static bool CzeroEqz(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs2) == 0 ? 0 : c.X(i.Rs1));

    private static bool CzeroNez(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs2) != 0 ? 0 : c.X(i.Rs1));
}
