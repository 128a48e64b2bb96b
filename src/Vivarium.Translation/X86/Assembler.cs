using System.Runtime.CompilerServices;

namespace Vivarium.Translation.X86;

/// <summary>
/// Writes x86-64 instructions into a buffer: no allocation, no operand objects, no second pass. Integer instructions are named by
/// mnemonic with 64-bit operands, a suffix 32, 16 or 8 names the other sizes; vector instructions are named by <see cref="VecOp"/>.
/// </summary>
/// <remarks>
/// The buffer is the caller's. Every instruction checks that the longest encoding still fits; when it does not, <see cref="Overflowed"/>
/// is set and emission goes on at the start of the buffer, so that the caller needs to look only once, at the end.
/// Code is position-independent of the buffer: it may be copied to any address with the same alignment modulo 64.
/// Not thread-safe.
/// </remarks>
public sealed unsafe partial class Assembler
{
    private const int LongestInstruction = 32; // 15 plus the padding that precedes patch slots

    // SAFETY: _start <= _p <= _limit + LongestInstruction holds between instructions and the buffer ends there at the earliest:
    // every emitter starts with Begin(), which moves _p back when it stands past _limit, and writes at most LongestInstruction bytes.
    private byte* _start, _p, _limit;

    /// <summary>Directs emission to a new buffer of at least 64 bytes.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The buffer is too small.</exception>
    public void Reset(byte* buffer, int capacity)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 2 * LongestInstruction);
        _start = _p = buffer;
        _limit = buffer + capacity - LongestInstruction;
        Overflowed = false;
        _externalCount = 0;
    }

    /// <summary>The buffer was too small: what was emitted is useless.</summary>
    public bool Overflowed { get; private set; }

    /// <summary>Bytes emitted; the offset of the next instruction.</summary>
    public int Offset
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => (int)(_p - _start);
    }

    /// <summary>Bytes that can still be emitted for sure.</summary>
    public int Remaining => (int)(_limit - _p);

    /// <summary>Address of the next instruction in the buffer.</summary>
    public byte* Cursor => _p;

    /// <summary>Start of the buffer.</summary>
    public byte* Start => _start;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private byte* Begin()
    {
        byte* p = _p;
        return p <= _limit ? p : Overflow();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private byte* Overflow()
    {
        Overflowed = true;
        return _p = _start;
    }

    // An instruction is described by opcode | map << 8 | prefix << 12, with map 1 = 0F, 2 = 0F 38, 3 = 0F 3A
    // and prefix 1 = 66, 2 = F3, 3 = F2 (the numbers that VEX uses for both), and flags above.
    private const uint Map0F = 1 << 8, Map0F38 = 2 << 8, Map0F3A = 3 << 8;
    private const uint P66 = 1 << 12, PF3 = 2 << 12, PF2 = 3 << 12;
    private const uint Lock = 1 << 14;

    private static ReadOnlySpan<byte> PrefixBytes => [0, 0x66, 0xF3, 0xF2];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* Head(byte* p, uint op, int rex)
    {
        if ((op & (P66 | PF3 | Lock)) != 0 || (op & PF2) != 0)
        {
            if ((op & Lock) != 0) *p++ = 0xF0;
            uint prefix = op >> 12 & 3;
            if (prefix != 0) *p++ = PrefixBytes[(int)prefix];
        }
        if (rex != 0) *p++ = (byte)(0x40 | rex);
        uint map = op >> 8 & 3;
        if (map != 0)
        {
            *p++ = 0x0F;
            if (map != 1) *p++ = map == 2 ? (byte)0x38 : (byte)0x3A;
        }
        *p++ = (byte)op;
        return p;
    }

    private const int RexW = 8;

    /// <summary>What the other one writes as a rule, without prefixes and escapes but 0F, and without branches: which of them an instruction has is hard
    /// to predict. Bytes of <paramref name="tail"/> follow the opcode at once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* Head(byte* p, uint op, uint rex, uint tail, int tailBytes)
    {
        uint escape = op >> 8 & 1, hasRex = (uint)-(int)rex >> 31;
        ulong v = (byte)op | (ulong)tail << 8;
        v = v << (int)(escape * 8) | escape * 0x0F;
        v = v << (int)(hasRex * 8) | hasRex * (0x40 | rex);
        *(ulong*)p = v;
        return p + (1 + tailBytes + (int)escape + (int)hasRex);
    }

    private const uint Unusual = P66 | PF3 | PF2 | Lock | Map0F38;

    /// <summary>An instruction with a register in ModRM.reg and one in ModRM.rm; w is 0 or <see cref="RexW"/>, rex 0x40 forces the prefix.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private byte* Registers(uint op, int w, int reg, int rm)
    {
        int rex = w | reg >> 3 << 2 | rm >> 3;
        uint modRm = (uint)(0xC0 | (reg & 7) << 3 | rm & 7);
        byte* p = Begin();
        if ((op & Unusual) == 0) return _p = Head(p, op, (uint)rex, modRm, 1);
        p = Head(p, op, rex);
        *p++ = (byte)modRm;
        return _p = p;
    }

    /// <summary>An instruction with a register (or digit) in ModRM.reg and a memory operand.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private byte* Memory(uint op, int w, int reg, Mem m)
    {
        int rex = w | reg >> 3 << 2 | m.Index >> 2 & 2 | m.Base >> 3 & 1;
        byte* p = Begin();
        if ((op & Unusual) != 0 || m.Base == Mem.None) return _p = ModRm(Head(p, op, rex), reg, m, 0);
        p = Head(p, op, (uint)rex, 0, 0);
        // ModRM, SIB and displacement in one store, their lengths by arithmetic.
        int b = m.Base & 7, disp = m.Displacement;
        uint none = (uint)m.Index >> 4; // 1 without index
        uint sib = (none ^ 1) | (uint)((b ^ 4) - 1) >> 31;
        uint far = (uint)(disp ^ (sbyte)disp);
        uint isFar = (far | (uint)-(int)far) >> 31;
        uint any = (uint)(disp | (b ^ 5) - 1 >> 31);
        uint length = ((any | (uint)-(int)any) >> 31) + isFar; // 0, 1 or 2: none, 8 bits, 32 bits
        uint sibByte = (uint)(m.Scale << 6 | b) | ((m.Index & 7u) | none << 2) << 3;
        ulong tail = length << 6 | (uint)(reg & 7) << 3 | ((uint)b & (sib - 1) | sib << 2);
        tail |= (ulong)(sibByte & (0 - sib)) << 8;
        tail |= (ulong)(uint)disp << (int)(8 + sib * 8);
        *(ulong*)p = tail;
        return _p = p + (1 + sib + length * length);
    }

    /// <summary>ModRM, SIB and displacement; an 8-bit displacement counts units of 2^<paramref name="unit"/> bytes (EVEX).</summary>
    private static byte* ModRm(byte* p, int reg, Mem m, int unit)
    {
        int r = (reg & 7) << 3;
        int disp = m.Displacement;
        if (m.Base == Mem.None)
        {
            // SIB without base: always a 32-bit displacement; index 4 means none.
            *p++ = (byte)(r | 4);
            *p++ = (byte)(m.Scale << 6 | (m.Index == Mem.None ? 4 : m.Index & 7) << 3 | 5);
            *(int*)p = disp;
            return p + 4;
        }

        int b = m.Base & 7;
        int mod = disp == 0 && b != 5 ? 0 // rbp and r13 have no form without displacement
            : (sbyte)(disp >> unit) << unit == disp ? 0x40
            : 0x80;
        if (m.Index != Mem.None)
        {
            *p++ = (byte)(mod | r | 4);
            *p++ = (byte)(m.Scale << 6 | (m.Index & 7) << 3 | b);
        }
        else
        {
            *p++ = (byte)(mod | r | b);
            if (b == 4) *p++ = 0x24; // rsp and r12 need a SIB
        }
        if (mod == 0) return p;
        if (mod == 0x40)
        {
            *p++ = (byte)(disp >> unit);
            return p;
        }
        *(int*)p = disp;
        return p + 4;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Byte(int value) => *_p++ = (byte)value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Int(int value)
    {
        *(int*)_p = value;
        _p += 4;
    }

    /// <summary>Appends raw bytes (at most 16 at a time).</summary>
    public void Raw(ReadOnlySpan<byte> bytes)
    {
        byte* p = Begin();
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes.Length, 16);
        bytes.CopyTo(new Span<byte>(p, 16));
        _p = p + bytes.Length;
    }

    /// <summary>Appends code that was emitted before: at most 24 bytes, and 24 can be read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Template(byte* code, int bytes)
    {
        byte* p = Begin();
        ulong a = *(ulong*)code, b = *(ulong*)(code + 8), c = *(ulong*)(code + 16);
        *(ulong*)p = a;
        *(ulong*)(p + 8) = b;
        *(ulong*)(p + 16) = c;
        _p = p + bytes;
    }

    /// <summary>Appends a 64-bit constant.</summary>
    public void Quad(ulong value)
    {
        byte* p = Begin();
        *(ulong*)p = value;
        _p = p + 8;
    }

    /// <summary>Pads with no-ops to a multiple of <paramref name="alignment"/> (a power of two, at most 64).</summary>
    public void Align(int alignment) => Nop(-Offset & alignment - 1);

    /// <summary>No-ops of <paramref name="bytes"/> bytes together, as few instructions as possible.</summary>
    public void Nop(int bytes)
    {
        while (bytes > 0)
        {
            byte* p = Begin();
            int n = Math.Min(bytes, 9);
            NopBytes.Slice((n - 1) * 9, n).CopyTo(new Span<byte>(p, 9));
            _p = p + n;
            bytes -= n;
        }
    }

    // The recommended multi-byte no-ops (Intel SDM, NOP), one row of nine bytes per length.
    private static ReadOnlySpan<byte> NopBytes =>
    [
        0x90, 0, 0, 0, 0, 0, 0, 0, 0,
        0x66, 0x90, 0, 0, 0, 0, 0, 0, 0,
        0x0F, 0x1F, 0x00, 0, 0, 0, 0, 0, 0,
        0x0F, 0x1F, 0x40, 0x00, 0, 0, 0, 0, 0,
        0x0F, 0x1F, 0x44, 0x00, 0x00, 0, 0, 0, 0,
        0x66, 0x0F, 0x1F, 0x44, 0x00, 0x00, 0, 0, 0,
        0x0F, 0x1F, 0x80, 0x00, 0x00, 0x00, 0x00, 0, 0,
        0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00, 0,
        0x66, 0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00,
    ];
}
