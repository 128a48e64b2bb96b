namespace Vivarium.RiscV.Isa;

/// <summary>One decoded instruction. Compressed instructions are expanded to what they stand for; <see cref="Length"/> keeps their size.</summary>
/// <param name="Opcode">What it does; <see cref="Opcode.Illegal"/> for what the table does not know.</param>
/// <param name="Rd">Destination register number (integer or floating point, as the opcode says).</param>
/// <param name="Rs1">First source.</param>
/// <param name="Rs2">Second source.</param>
/// <param name="Rs3">Third source (fused multiply-add).</param>
/// <param name="Rm">Rounding mode field (0..7; 7 is dynamic) where the opcode has one.</param>
/// <param name="Length">2 or 4 bytes.</param>
/// <param name="AqRl">Bit 1 aq, bit 0 rl (atomics); for fence: pred in bits 7..4, succ in bits 3..0.</param>
/// <param name="Row">Index into the instruction table: the encoding that matched (compressed forms have their own rows).</param>
/// <param name="Imm">Sign-extended immediate (lui, auipc: already shifted left by 12), shift amount, CSR number or zimm (CSR number in bits 11..0, zimm in Rs1).</param>
/// <param name="Bits">The instruction's bits (16 or 32).</param>
public readonly record struct Instruction(
    Opcode Opcode, byte Rd, byte Rs1, byte Rs2, byte Rs3, byte Rm, byte Length, byte AqRl, ushort Row, int Imm, uint Bits);
