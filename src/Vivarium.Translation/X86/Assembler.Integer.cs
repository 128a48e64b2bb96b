using System.Runtime.CompilerServices;

namespace Vivarium.Translation.X86;

// Integer instructions. The general forms take operator and size as data, for table-driven lowering.
public sealed unsafe partial class Assembler
{
    /// <summary>REX bits that a size needs; for bytes 0x40, so that spl..dil rather than ah..bh are meant.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Rex(Size size, int register) => size == Size.S64 ? RexW : size == Size.S8 && register >= 4 ? 0x40 : 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Wide(uint opcode, Size size) => size == Size.S8 ? opcode : size == Size.S16 ? opcode | 1 | P66 : opcode | 1;

    public void Alu(AluOp op, Size size, Gpr d, Gpr s) =>
        Registers(Wide((uint)op << 3 | 2, size), Rex(size, Math.Max((int)d, (int)s)), (int)d, (int)s);

    public void Alu(AluOp op, Size size, Gpr d, Mem m) => Memory(Wide((uint)op << 3 | 2, size), Rex(size, (int)d), (int)d, m);

    public void Alu(AluOp op, Size size, Mem m, Gpr s) => Memory(Wide((uint)op << 3, size), Rex(size, (int)s), (int)s, m);

    public void Alu(AluOp op, Size size, Gpr d, int immediate)
    {
        bool small = size == Size.S8 || immediate == (sbyte)immediate;
        if (!small && d == Gpr.Rax && size != Size.S16)
        {
            byte* p = Begin();
            if (size == Size.S64) *p++ = 0x48;
            *p++ = (byte)((int)op << 3 | 5);
            _p = p;
            Int(immediate);
            return;
        }
        Registers(size == Size.S8 ? 0x80 : Wide(small ? 0x83u : 0x81u, size), Rex(size, (int)d), (int)op, (int)d);
        Immediate(size, small, immediate);
    }

    public void Alu(AluOp op, Size size, Mem m, int immediate)
    {
        bool small = size == Size.S8 || immediate == (sbyte)immediate;
        Memory(size == Size.S8 ? 0x80 : Wide(small ? 0x83u : 0x81u, size), Rex(size, 0), (int)op, m);
        Immediate(size, small, immediate);
    }

    /// <summary>lock add/or/and/sub/xor [m], s.</summary>
    public void LockAlu(AluOp op, Size size, Mem m, Gpr s) => Memory(Wide((uint)op << 3, size) | Lock, Rex(size, (int)s), (int)s, m);

    private void Immediate(Size size, bool small, int immediate)
    {
        if (small) Byte(immediate);
        else if (size == Size.S16) { *(short*)_p = (short)immediate; _p += 2; }
        else Int(immediate);
    }

    public void Shift(ShiftOp op, Size size, Gpr d, int count)
    {
        if (count == 1)
        {
            Registers(Wide(0xD0, size), Rex(size, (int)d), (int)op, (int)d);
            return;
        }
        Registers(Wide(0xC0, size), Rex(size, (int)d), (int)op, (int)d);
        Byte(count);
    }

    public void ShiftCl(ShiftOp op, Size size, Gpr d) => Registers(Wide(0xD2, size), Rex(size, (int)d), (int)op, (int)d);

    // Moves.

    public void Mov(Gpr d, Gpr s) => Registers(0x8B, RexW, (int)d, (int)s);
    public void Mov32(Gpr d, Gpr s) => Registers(0x8B, 0, (int)d, (int)s);
    public void Mov(Gpr d, Mem m) => Memory(0x8B, RexW, (int)d, m);
    public void Mov32(Gpr d, Mem m) => Memory(0x8B, 0, (int)d, m);
    public void Mov(Mem m, Gpr s) => Memory(0x89, RexW, (int)s, m);
    public void Mov32(Mem m, Gpr s) => Memory(0x89, 0, (int)s, m);
    public void Mov16(Mem m, Gpr s) => Memory(0x89 | P66, 0, (int)s, m);
    public void Mov8(Mem m, Gpr s) => Memory(0x88, Rex(Size.S8, (int)s), (int)s, m);

    /// <summary>Loads 1, 2, 4 or 8 bytes, sign- or zero-extended to 64 bits.</summary>
    public void Load(Gpr d, Mem m, int width, bool unsigned)
    {
        uint kind = Loads[(System.Numerics.BitOperations.TrailingZeroCount(width) & 3) << 1 | (unsigned ? 1 : 0)];
        Memory((kind & 0xFF) | (kind & 0x100), (int)(kind >> 9), (int)d, m);
    }

    // Opcode, escape and REX.W by width and signedness.
    private static ReadOnlySpan<ushort> Loads =>
        [0xBE | 0x100 | RexW << 9, 0xB6 | 0x100, 0xBF | 0x100 | RexW << 9, 0xB7 | 0x100, 0x63 | RexW << 9, 0x8B, 0x8B | RexW << 9, 0x8B | RexW << 9];

    /// <summary>mov [m], sign-extended immediate.</summary>
    public void Mov(Mem m, int immediate)
    {
        Memory(0xC7, RexW, 0, m);
        Int(immediate);
    }

    public void Mov32(Mem m, int immediate)
    {
        Memory(0xC7, 0, 0, m);
        Int(immediate);
    }

    public void Mov16(Mem m, int immediate)
    {
        Memory(0xC7 | P66, 0, 0, m);
        Immediate(Size.S16, false, immediate);
    }

    public void Mov8(Mem m, int immediate)
    {
        Memory(0xC6, 0, 0, m);
        Byte(immediate);
    }

    /// <summary>The shortest mov of a constant into all 64 bits; flags stay (so 0 is not made by xor).</summary>
    public void MovImmediate(Gpr d, long value)
    {
        if (value == (uint)value)
        {
            Plain(0xB8, (int)d, 0);
            Int((int)value);
        }
        else if (value == (int)value)
        {
            Registers(0xC7, RexW, 0, (int)d);
            Int((int)value);
        }
        else
        {
            Plain(0xB8, (int)d, RexW);
            *(long*)_p = value;
            _p += 8;
        }
    }

    /// <summary>xor d, d: zero, flags lost.</summary>
    public void Zero(Gpr d) => Registers(0x33, 0, (int)d, (int)d);

    // Extensions: to 64 bits (zero extension through the 32-bit form), or to 32 bits where the name ends in 32.
    public void Movzx8(Gpr d, Gpr s) => Registers(0xB6 | Map0F, Rex(Size.S8, (int)s), (int)d, (int)s);
    public void Movzx8(Gpr d, Mem m) => Memory(0xB6 | Map0F, 0, (int)d, m);
    public void Movzx16(Gpr d, Gpr s) => Registers(0xB7 | Map0F, 0, (int)d, (int)s);
    public void Movzx16(Gpr d, Mem m) => Memory(0xB7 | Map0F, 0, (int)d, m);
    public void Movsx8(Gpr d, Gpr s) => Registers(0xBE | Map0F, RexW, (int)d, (int)s);
    public void Movsx8(Gpr d, Mem m) => Memory(0xBE | Map0F, RexW, (int)d, m);
    public void Movsx16(Gpr d, Gpr s) => Registers(0xBF | Map0F, RexW, (int)d, (int)s);
    public void Movsx16(Gpr d, Mem m) => Memory(0xBF | Map0F, RexW, (int)d, m);
    public void Movsxd(Gpr d, Gpr s) => Registers(0x63, RexW, (int)d, (int)s);
    public void Movsxd(Gpr d, Mem m) => Memory(0x63, RexW, (int)d, m);
    public void Movsx8To32(Gpr d, Gpr s) => Registers(0xBE | Map0F, Rex(Size.S8, (int)s), (int)d, (int)s);
    public void Movsx16To32(Gpr d, Gpr s) => Registers(0xBF | Map0F, 0, (int)d, (int)s);

    public void Lea(Gpr d, Mem m) => Memory(0x8D, RexW, (int)d, m);
    public void Lea32(Gpr d, Mem m) => Memory(0x8D, 0, (int)d, m);

    // Tests.

    public void Test(Gpr a, Gpr b) => Registers(0x85, RexW, (int)b, (int)a);
    public void Test32(Gpr a, Gpr b) => Registers(0x85, 0, (int)b, (int)a);
    public void Test8(Gpr a, Gpr b) => Registers(0x84, Rex(Size.S8, Math.Max((int)a, (int)b)), (int)b, (int)a);

    public void Test(Gpr a, int immediate)
    {
        Registers(0xF7, RexW, 0, (int)a);
        Int(immediate);
    }

    public void Test32(Gpr a, int immediate)
    {
        Registers(0xF7, 0, 0, (int)a);
        Int(immediate);
    }

    public void Test8(Gpr a, int immediate)
    {
        Registers(0xF6, Rex(Size.S8, (int)a), 0, (int)a);
        Byte(immediate);
    }

    public void Test32(Mem m, int immediate)
    {
        Memory(0xF7, 0, 0, m);
        Int(immediate);
    }

    public void Test8(Mem m, int immediate)
    {
        Memory(0xF6, 0, 0, m);
        Byte(immediate);
    }

    // Multiplication and division.

    public void Neg(Gpr d) => Registers(0xF7, RexW, 3, (int)d);
    public void Neg32(Gpr d) => Registers(0xF7, 0, 3, (int)d);
    public void Not(Gpr d) => Registers(0xF7, RexW, 2, (int)d);
    public void Not32(Gpr d) => Registers(0xF7, 0, 2, (int)d);
    public void Mul(Gpr s) => Registers(0xF7, RexW, 4, (int)s);
    public void Mul32(Gpr s) => Registers(0xF7, 0, 4, (int)s);
    public void Mul(Mem m) => Memory(0xF7, RexW, 4, m);
    public void Imul(Gpr s) => Registers(0xF7, RexW, 5, (int)s);
    public void Imul32(Gpr s) => Registers(0xF7, 0, 5, (int)s);
    public void Imul(Mem m) => Memory(0xF7, RexW, 5, m);
    public void Div(Gpr s) => Registers(0xF7, RexW, 6, (int)s);
    public void Div32(Gpr s) => Registers(0xF7, 0, 6, (int)s);
    public void Idiv(Gpr s) => Registers(0xF7, RexW, 7, (int)s);
    public void Idiv32(Gpr s) => Registers(0xF7, 0, 7, (int)s);
    public void Cqo() => Raw([0x48, 0x99]);
    public void Cdq() => Raw([0x99]);
    public void Imul(Gpr d, Gpr s) => Registers(0xAF | Map0F, RexW, (int)d, (int)s);
    public void Imul32(Gpr d, Gpr s) => Registers(0xAF | Map0F, 0, (int)d, (int)s);
    public void Imul(Gpr d, Mem m) => Memory(0xAF | Map0F, RexW, (int)d, m);
    public void Imul32(Gpr d, Mem m) => Memory(0xAF | Map0F, 0, (int)d, m);
    public void Imul(Gpr d, Gpr s, int immediate) => ImulImmediate(RexW, d, s, immediate);
    public void Imul32(Gpr d, Gpr s, int immediate) => ImulImmediate(0, d, s, immediate);

    private void ImulImmediate(int w, Gpr d, Gpr s, int immediate)
    {
        bool small = immediate == (sbyte)immediate;
        Registers(small ? 0x6Bu : 0x69u, w, (int)d, (int)s);
        if (small) Byte(immediate);
        else Int(immediate);
    }

    // Bits.

    public void Lzcnt(Gpr d, Gpr s) => Registers(0xBD | Map0F | PF3, RexW, (int)d, (int)s);
    public void Lzcnt32(Gpr d, Gpr s) => Registers(0xBD | Map0F | PF3, 0, (int)d, (int)s);
    public void Tzcnt(Gpr d, Gpr s) => Registers(0xBC | Map0F | PF3, RexW, (int)d, (int)s);
    public void Tzcnt32(Gpr d, Gpr s) => Registers(0xBC | Map0F | PF3, 0, (int)d, (int)s);
    public void Bsr(Gpr d, Gpr s) => Registers(0xBD | Map0F, RexW, (int)d, (int)s);
    public void Bsr32(Gpr d, Gpr s) => Registers(0xBD | Map0F, 0, (int)d, (int)s);
    public void Bsf(Gpr d, Gpr s) => Registers(0xBC | Map0F, RexW, (int)d, (int)s);
    public void Bsf32(Gpr d, Gpr s) => Registers(0xBC | Map0F, 0, (int)d, (int)s);
    public void Popcnt(Gpr d, Gpr s) => Registers(0xB8 | Map0F | PF3, RexW, (int)d, (int)s);
    public void Popcnt32(Gpr d, Gpr s) => Registers(0xB8 | Map0F | PF3, 0, (int)d, (int)s);

    public void Bswap(Gpr d) => ByteSwap(d, RexW);
    public void Bswap32(Gpr d) => ByteSwap(d, 0);

    private void ByteSwap(Gpr d, int w)
    {
        byte* p = Begin();
        int rex = w | (int)d >> 3;
        if (rex != 0) *p++ = (byte)(0x40 | rex);
        *p++ = 0x0F;
        *p++ = (byte)(0xC8 | (int)d & 7);
        _p = p;
    }

    public void Bit(BitOp op, Size size, Gpr d, Gpr index) =>
        Registers(0x83u | Map0F | (uint)op << 3, Rex(size, 0), (int)index, (int)d);

    public void Bit(BitOp op, Size size, Gpr d, int index)
    {
        Registers(0xBA | Map0F, Rex(size, 0), (int)op, (int)d);
        Byte(index);
    }

    // Conditions.

    public void Cmov(Cond condition, Gpr d, Gpr s) => Registers(0x40u | Map0F | (uint)condition, RexW, (int)d, (int)s);
    public void Cmov32(Cond condition, Gpr d, Gpr s) => Registers(0x40u | Map0F | (uint)condition, 0, (int)d, (int)s);
    public void Cmov(Cond condition, Gpr d, Mem m) => Memory(0x40u | Map0F | (uint)condition, RexW, (int)d, m);

    /// <summary>setcc on the low byte; the other bytes stay.</summary>
    public void Setcc(Cond condition, Gpr d) => Registers(0x90u | Map0F | (uint)condition, Rex(Size.S8, (int)d), 0, (int)d);
    public void Setcc(Cond condition, Mem m) => Memory(0x90u | Map0F | (uint)condition, 0, 0, m);

    // Atomics. xchg with memory locks by itself.

    public void Xchg(Gpr a, Gpr b) => Registers(0x87, RexW, (int)a, (int)b);
    public void Xchg(Size size, Mem m, Gpr r) => Memory(Wide(0x86, size), Rex(size, (int)r), (int)r, m);
    public void LockXadd(Size size, Mem m, Gpr r) => Memory(Wide(0xC0, size) | Map0F | Lock, Rex(size, (int)r), (int)r, m);

    /// <summary>Compares rax with memory; equal: stores r, else loads rax.</summary>
    public void LockCmpxchg(Size size, Mem m, Gpr r) => Memory(Wide(0xB0, size) | Map0F | Lock, Rex(size, (int)r), (int)r, m);

    /// <summary>Compares rdx:rax with 16 aligned bytes; equal: stores rcx:rbx, else loads rdx:rax.</summary>
    public void LockCmpxchg16b(Mem m) => Memory(0xC7 | Map0F | Lock, RexW, 1, m);

    // BMI1 and BMI2 (VEX-encoded; the caller knows that the host has them).

    public void Shlx(Gpr d, Gpr s, Gpr count) => VexGpr(0xF7 | Map0F38 | P66, 1, (int)d, (int)count, (int)s);
    public void Shlx32(Gpr d, Gpr s, Gpr count) => VexGpr(0xF7 | Map0F38 | P66, 0, (int)d, (int)count, (int)s);
    public void Shrx(Gpr d, Gpr s, Gpr count) => VexGpr(0xF7 | Map0F38 | PF2, 1, (int)d, (int)count, (int)s);
    public void Shrx32(Gpr d, Gpr s, Gpr count) => VexGpr(0xF7 | Map0F38 | PF2, 0, (int)d, (int)count, (int)s);
    public void Sarx(Gpr d, Gpr s, Gpr count) => VexGpr(0xF7 | Map0F38 | PF3, 1, (int)d, (int)count, (int)s);
    public void Sarx32(Gpr d, Gpr s, Gpr count) => VexGpr(0xF7 | Map0F38 | PF3, 0, (int)d, (int)count, (int)s);

    public void Rorx(Gpr d, Gpr s, int count)
    {
        VexGpr(0xF0 | Map0F3A | PF2, 1, (int)d, 0, (int)s);
        Byte(count);
    }

    public void Rorx32(Gpr d, Gpr s, int count)
    {
        VexGpr(0xF0 | Map0F3A | PF2, 0, (int)d, 0, (int)s);
        Byte(count);
    }

    /// <summary>d = ~a &amp; b.</summary>
    public void Andn(Gpr d, Gpr a, Gpr b) => VexGpr(0xF2 | Map0F38, 1, (int)d, (int)a, (int)b);
    public void Andn32(Gpr d, Gpr a, Gpr b) => VexGpr(0xF2 | Map0F38, 0, (int)d, (int)a, (int)b);

    /// <summary>Extracts control[15:8] bits of s from bit control[7:0].</summary>
    public void Bextr(Gpr d, Gpr s, Gpr control) => VexGpr(0xF7 | Map0F38, 1, (int)d, (int)control, (int)s);
    public void Pext(Gpr d, Gpr s, Gpr mask) => VexGpr(0xF5 | Map0F38 | PF3, 1, (int)d, (int)s, (int)mask);
    public void Pdep(Gpr d, Gpr s, Gpr mask) => VexGpr(0xF5 | Map0F38 | PF2, 1, (int)d, (int)s, (int)mask);

    /// <summary>high:low = rdx * s; flags stay.</summary>
    public void Mulx(Gpr high, Gpr low, Gpr s) => VexGpr(0xF6 | Map0F38 | PF2, 1, (int)high, (int)low, (int)s);

    private void VexGpr(uint op, int w, int reg, int vvvv, int rm)
    {
        byte* p = VexHead(Begin(), op, w, reg, vvvv, 0, rm >> 3);
        *p++ = (byte)(0xC0 | (reg & 7) << 3 | rm & 7);
        _p = p;
    }
}
