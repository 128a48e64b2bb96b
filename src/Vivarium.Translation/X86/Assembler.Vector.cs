using System.Runtime.CompilerServices;

namespace Vivarium.Translation.X86;

// Vector instructions: Vex emits VEX, or EVEX as soon as a register above 15 takes part; Sse emits the legacy encoding.
public sealed unsafe partial class Assembler
{
    /// <summary>VEX prefix and opcode; x and b are the top bits of index and base (or ModRM.rm).</summary>
    private static byte* VexHead(byte* p, uint op, int w, int reg, int vvvv, int x, int b)
    {
        int tail = (~vvvv & 15) << 3 | (int)(op >> 12 & 3);
        if ((w | x | b) == 0 && (op & 0x300) == Map0F)
        {
            *p++ = 0xC5;
            *p++ = (byte)((~reg >> 3 & 1) << 7 | tail);
        }
        else
        {
            *p++ = 0xC4;
            *p++ = (byte)((~reg >> 3 & 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | (int)(op >> 8 & 3));
            *p++ = (byte)(w << 7 | tail);
        }
        *p++ = (byte)op;
        return p;
    }

    private static byte* EvexHead(byte* p, uint op, int w, int reg, int vvvv, int x, int b)
    {
        *p++ = 0x62;
        *p++ = (byte)((~reg >> 3 & 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | (~reg >> 4 & 1) << 4 | (int)(op >> 8 & 3));
        *p++ = (byte)(w << 7 | (~vvvv & 15) << 3 | 4 | (int)(op >> 12 & 3));
        *p++ = (byte)((~vvvv >> 4 & 1) << 3);
        *p++ = (byte)op;
        return p;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void VexRegisters(uint op, int vexW, int evexW, int reg, int vvvv, int rm, bool evex)
    {
        byte* p = evex
            ? EvexHead(Begin(), op, evexW, reg, vvvv, rm >> 4 & 1, rm >> 3 & 1)
            : VexHead(Begin(), op, vexW, reg, vvvv, 0, rm >> 3);
        *p++ = (byte)(0xC0 | (reg & 7) << 3 | rm & 7);
        _p = p;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void VexMemory(uint op, int vexW, int evexW, int reg, int vvvv, Mem m, bool evex, int unit)
    {
        int x = m.Index >> 3 & 1, b = m.Base >> 3 & 1;
        _p = evex
            ? ModRm(EvexHead(Begin(), op, evexW, reg, vvvv, x, b), reg, m, unit)
            : ModRm(VexHead(Begin(), op, vexW, reg, vvvv, x, b), reg, m, 0);
    }

    /// <summary>No VEX form: AVX-512's own instructions.</summary>
    private static bool OnlyEvex(VecOp op) => (byte)op == 0x25 || op is VecOp.Rndscaless or VecOp.Rndscalesd;

    private static int VexW(VecOp op) => (int)((uint)op >> 17 & 1);
    private static int EvexW(VecOp op) => (int)((uint)op >> 16 & 1);

    /// <summary>d = a op b.</summary>
    public void Vex(VecOp op, Xmm d, Xmm a, Xmm b) =>
        VexRegisters((uint)op, VexW(op), EvexW(op), (int)d, (int)a, (int)b, ((int)d | (int)a | (int)b) >= 16 || OnlyEvex(op));

    /// <summary>d = a op [m].</summary>
    public void Vex(VecOp op, Xmm d, Xmm a, Mem m) =>
        VexMemory((uint)op, VexW(op), EvexW(op), (int)d, (int)a, m, ((int)d | (int)a) >= 16 || OnlyEvex(op), 2 + (int)((uint)op >> 18 & 3));

    /// <summary>d = op s (moves, comparisons); for store opcodes, s is written.</summary>
    public void Vex(VecOp op, Xmm d, Xmm s) => Vex(op, d, Xmm.Xmm0, s);

    /// <summary>d = op [m], or for store opcodes [m] = d.</summary>
    public void Vex(VecOp op, Xmm d, Mem m) => Vex(op, d, Xmm.Xmm0, m);

    /// <summary>d = a op b with an immediate byte (for blendv: the mask register in bits 7..4).</summary>
    public void Vex(VecOp op, Xmm d, Xmm a, Xmm b, int immediate)
    {
        Vex(op, d, a, b);
        Byte(immediate);
    }

    /// <summary>d = a op [m] with an immediate byte.</summary>
    public void Vex(VecOp op, Xmm d, Xmm a, Mem m, int immediate)
    {
        Vex(op, d, a, m);
        Byte(immediate);
    }

    /// <summary>d = s shifted by a constant (psllq, psrlq on both lanes); registers 0..15.</summary>
    public void VexShift(VecOp op, Xmm d, Xmm s, int count)
    {
        VexRegisters(0x73 | Map0F | P66, 0, 1, op == VecOp.Psllq ? 6 : 2, (int)d, (int)s, ((int)d | (int)s) >= 16);
        Byte(count);
    }

    private static bool OnlyEvex(VecGprOp op) => ((uint)op & (uint)VecOp._Sse) == 0;

    /// <summary>xmm = op general register (moves).</summary>
    public void Vex(VecGprOp op, Size size, Xmm d, Gpr s) => Vex(op, size, d, Xmm.Xmm0, s);

    /// <summary>xmm = op general register, the other lanes from a (conversions from integer).</summary>
    public void Vex(VecGprOp op, Size size, Xmm d, Xmm a, Gpr s)
    {
        int w = size == Size.S64 ? 1 : 0;
        VexRegisters((uint)op, w, w, (int)d, (int)a, (int)s, ((int)d | (int)a) >= 16 || OnlyEvex(op));
    }

    public void Vex(VecGprOp op, Size size, Xmm d, Xmm a, Mem m)
    {
        int w = size == Size.S64 ? 1 : 0;
        VexMemory((uint)op, w, w, (int)d, (int)a, m, ((int)d | (int)a) >= 16 || OnlyEvex(op), 2 + w);
    }

    /// <summary>general register = op xmm (conversions to integer; for <see cref="VecGprOp.MovTo"/> and Pextr the operands swap places in
    /// the encoding, which this hides).</summary>
    public void Vex(VecGprOp op, Size size, Gpr d, Xmm s)
    {
        int w = size == Size.S64 ? 1 : 0;
        if (op is VecGprOp.MovTo or VecGprOp.Pextr) VexRegisters((uint)op, w, w, (int)s, 0, (int)d, (int)s >= 16);
        else VexRegisters((uint)op, w, w, (int)d, 0, (int)s, (int)s >= 16 || OnlyEvex(op));
    }

    public void Vpextr(Size size, Gpr d, Xmm s, int lane)
    {
        Vex(VecGprOp.Pextr, size, d, s);
        Byte(lane);
    }

    public void Vpinsr(Size size, Xmm d, Xmm a, Gpr s, int lane)
    {
        Vex(VecGprOp.Pinsr, size, d, a, s);
        Byte(lane);
    }

    // Legacy SSE: d = d op s; registers 0..15.

    public void Sse(VecOp op, Xmm d, Xmm s) => Registers(Legacy((uint)op), 0, (int)d, (int)s);
    public void Sse(VecOp op, Xmm d, Mem m) => Memory(Legacy((uint)op), 0, (int)d, m);

    public void Sse(VecOp op, Xmm d, Xmm s, int immediate)
    {
        Sse(op, d, s);
        Byte(immediate);
    }

    public void Sse(VecGprOp op, Size size, Xmm d, Gpr s) => Registers(Legacy((uint)op), Rex(size, 0), (int)d, (int)s);
    public void Sse(VecGprOp op, Size size, Xmm d, Mem m) => Memory(Legacy((uint)op), Rex(size, 0), (int)d, m);

    public void Sse(VecGprOp op, Size size, Gpr d, Xmm s)
    {
        if (op is VecGprOp.MovTo or VecGprOp.Pextr) Registers(Legacy((uint)op), Rex(size, 0), (int)s, (int)d);
        else Registers(Legacy((uint)op), Rex(size, 0), (int)d, (int)s);
    }

    public void Pextr(Size size, Gpr d, Xmm s, int lane)
    {
        Sse(VecGprOp.Pextr, size, d, s);
        Byte(lane);
    }

    public void Pinsr(Size size, Xmm d, Gpr s, int lane)
    {
        Sse(VecGprOp.Pinsr, size, d, s);
        Byte(lane);
    }

    /// <summary>The part of a <see cref="VecOp"/> that legacy encodings share.</summary>
    private static uint Legacy(uint op) => op & 0x33FF;
}
