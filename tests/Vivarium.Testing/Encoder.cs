using Vivarium.RiscV.Isa;

namespace Vivarium.Testing;

/// <summary>Puts operands into the encodings of the instruction table; the reverse of the decoder for 32-bit instructions, and of
/// the compressed control flow that generators need.</summary>
public static class Encoder
{
    /// <summary>Encodes an instruction of the given opcode (its 32-bit row). Operands that its format lacks are ignored; immediates must fit.</summary>
    public static uint Encode(Opcode opcode, int rd = 0, int rs1 = 0, int rs2 = 0, int rs3 = 0, int imm = 0, int rm = 7, int aqrl = 0)
    {
        ref readonly var row = ref InstructionTable.BaseRow(opcode);
        var i = (uint)imm;
        var d = (uint)rd << 7;
        var s = (uint)rs1 << 15;
        var t = (uint)rs2 << 20;
        var m = (uint)rm << 12;
        return row.Match | row.Format switch
        {
            OperandFormat.None => 0,
            OperandFormat.R => d | s | t,
            OperandFormat.RUnary => d | s,
            OperandFormat.R4 => d | s | t | (uint)rs3 << 27 | m,
            OperandFormat.RRm => d | s | t | m,
            // Some rows fix the mode (fcvtmod.w.d).
            OperandFormat.RUnaryRm => d | s | ((row.Mask & 0x7000) == 0 ? m : 0),
            OperandFormat.Amo => d | s | t | (uint)aqrl << 25,
            OperandFormat.I => d | s | i << 20,
            OperandFormat.Shift64 => d | s | (i & 63) << 20,
            OperandFormat.Shift32 => d | s | (i & 31) << 20,
            OperandFormat.S => s | t | (i & 31) << 7 | i >> 5 << 25,
            OperandFormat.B => s | t | (i >> 12 & 1) << 31 | (i >> 5 & 0x3f) << 25 | (i >> 1 & 15) << 8 | (i >> 11 & 1) << 7,
            OperandFormat.U => d | i & 0xfffff000,
            OperandFormat.J => d | (i >> 20 & 1) << 31 | (i >> 1 & 0x3ff) << 21 | (i >> 11 & 1) << 20 | (i >> 12 & 0xff) << 12,
            OperandFormat.Fence => (uint)aqrl << 20,
            OperandFormat.Csr or OperandFormat.CsrImmediate => d | s | i << 20,
            OperandFormat.CacheBlock => s,
            OperandFormat.FenceVma => s | t,
            OperandFormat.Prefetch => s | i >> 5 << 25,
            _ => throw new ArgumentException($"no 32-bit format: {opcode}"),
        };
    }

    /// <summary><c>c.j</c>.</summary>
    public static ushort CompressedJump(int offset)
    {
        var i = (uint)offset;
        return (ushort)(0xa001 | (i >> 11 & 1) << 12 | (i >> 4 & 1) << 11 | (i >> 8 & 3) << 9 | (i >> 10 & 1) << 8 | (i >> 6 & 1) << 7
            | (i >> 7 & 1) << 6 | (i >> 1 & 7) << 3 | (i >> 5 & 1) << 2);
    }

    /// <summary><c>c.beqz</c> or <c>c.bnez</c> on x8..x15.</summary>
    public static ushort CompressedBranch(bool notZero, int rs1, int offset)
    {
        var i = (uint)offset;
        return (ushort)((notZero ? 0xe001u : 0xc001u) | (uint)(rs1 - 8) << 7 | (i >> 8 & 1) << 12 | (i >> 3 & 3) << 10 | (i >> 6 & 3) << 5
            | (i >> 1 & 3) << 3 | (i >> 5 & 1) << 2);
    }
}
