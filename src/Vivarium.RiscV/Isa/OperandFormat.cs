namespace Vivarium.RiscV.Isa;

/// <summary>
/// Where an encoding keeps its operands (ISA manual, "Base Instruction Formats" and "Compressed Instruction Formats"). The decoder
/// fills only the fields of <see cref="Instruction"/> that the format names; the others are 0.
/// </summary>
public enum OperandFormat : byte
{
    /// <summary>No operands.</summary>
    None,
    /// <summary>rd, rs1, rs2.</summary>
    R,
    /// <summary>rd, rs1 (rs2's field is part of the encoding).</summary>
    RUnary,
    /// <summary>rd, rs1, rs2, rs3, rm.</summary>
    R4,
    /// <summary>rd, rs1, rs2, rm.</summary>
    RRm,
    /// <summary>rd, rs1, rm.</summary>
    RUnaryRm,
    /// <summary>rd, rs1, rs2, aq, rl.</summary>
    Amo,
    /// <summary>rd, rs1, imm[11:0].</summary>
    I,
    /// <summary>rd, rs1, shamt[5:0].</summary>
    Shift64,
    /// <summary>rd, rs1, shamt[4:0].</summary>
    Shift32,
    /// <summary>rs1, rs2, imm[11:0].</summary>
    S,
    /// <summary>rs1, rs2, imm[12:1].</summary>
    B,
    /// <summary>rd, imm[31:12] in place (the value that lui loads).</summary>
    U,
    /// <summary>rd, imm[20:1].</summary>
    J,
    /// <summary>fm, pred and succ: pred in bits 7..4 and succ in bits 3..0 of AqRl; fm is not kept.</summary>
    Fence,
    /// <summary>rd, rs1, CSR number.</summary>
    Csr,
    /// <summary>rd, zimm in Rs1, CSR number.</summary>
    CsrImmediate,
    /// <summary>rs1.</summary>
    CacheBlock,
    /// <summary>rs1, imm[11:5].</summary>
    Prefetch,
    /// <summary>rs1, rs2 (rd's field is part of the encoding).</summary>
    FenceVma,
    // Compressed
    /// <summary>c.addi4spn: rd', x2, nzuimm[9:2].</summary>
    CAddi4spn,
    /// <summary>c.lw: rd', rs1', uimm[6:2].</summary>
    CLw,
    /// <summary>c.ld, c.fld: rd', rs1', uimm[7:3].</summary>
    CLd,
    /// <summary>c.sw: rs1', rs2', uimm[6:2].</summary>
    CSw,
    /// <summary>c.sd, c.fsd: rs1', rs2', uimm[7:3].</summary>
    CSd,
    /// <summary>c.addi, c.addiw: rd = rs1, imm[5:0].</summary>
    CI,
    /// <summary>c.li: rd, x0, imm[5:0].</summary>
    CLi,
    /// <summary>c.addi16sp: x2, x2, nzimm[9:4].</summary>
    CAddi16sp,
    /// <summary>c.lui: rd, nzimm[17:12] in place.</summary>
    CLui,
    /// <summary>c.slli: rd = rs1, shamt[5:0].</summary>
    CSlli,
    /// <summary>c.srli, c.srai: rd' = rs1', shamt[5:0].</summary>
    CShift,
    /// <summary>c.andi: rd' = rs1', imm[5:0].</summary>
    CAndi,
    /// <summary>c.sub and its kin: rd' = rs1', rs2'.</summary>
    CA,
    /// <summary>c.j: x0, imm[11:1].</summary>
    CJ,
    /// <summary>c.beqz, c.bnez: rs1', x0, imm[8:1].</summary>
    CB,
    /// <summary>c.lwsp: rd, x2, uimm[7:2].</summary>
    CLwsp,
    /// <summary>c.ldsp, c.fldsp: rd, x2, uimm[8:3].</summary>
    CLdsp,
    /// <summary>c.swsp: x2, rs2, uimm[7:2].</summary>
    CSwsp,
    /// <summary>c.sdsp, c.fsdsp: x2, rs2, uimm[8:3].</summary>
    CSdsp,
    /// <summary>c.jr: x0, rs1, 0.</summary>
    CJr,
    /// <summary>c.jalr: x1, rs1, 0.</summary>
    CJalr,
    /// <summary>c.mv: rd, x0, rs2.</summary>
    CMv,
    /// <summary>c.add: rd = rs1, rs2.</summary>
    CAdd,
}

/// <summary>What kind of work an instruction does: what a block builder, a scheduler or a tool wants to know first.</summary>
public enum SemanticsClass : byte
{
    Illegal, Integer, Multiply, Load, Store, Branch, Jump, Atomic, FloatLoad, FloatStore, Float, Csr, Fence, System, CacheBlock,
}
