namespace Vivarium.RiscV.Isa;

/// <summary>What an instruction does, after expansion of compressed forms. Named as the manual's mnemonics.</summary>
public enum Opcode : ushort
{
    Illegal = 0,
    // RV64I
    Lui, Auipc, Jal, Jalr, Beq, Bne, Blt, Bge, Bltu, Bgeu,
    Lb, Lh, Lw, Ld, Lbu, Lhu, Lwu, Sb, Sh, Sw, Sd,
    Addi, Slti, Sltiu, Xori, Ori, Andi, Slli, Srli, Srai,
    Add, Sub, Sll, Slt, Sltu, Xor, Srl, Sra, Or, And,
    Addiw, Slliw, Srliw, Sraiw, Addw, Subw, Sllw, Srlw, Sraw,
    Fence, FenceTso, Pause, Ecall, Ebreak, FenceI,
    // Zicsr
    Csrrw, Csrrs, Csrrc, Csrrwi, Csrrsi, Csrrci,
    // M
    Mul, Mulh, Mulhsu, Mulhu, Div, Divu, Rem, Remu, Mulw, Divw, Divuw, Remw, Remuw,
    // A
    LrW, ScW, AmoswapW, AmoaddW, AmoxorW, AmoandW, AmoorW, AmominW, AmomaxW, AmominuW, AmomaxuW,
    LrD, ScD, AmoswapD, AmoaddD, AmoxorD, AmoandD, AmoorD, AmominD, AmomaxD, AmominuD, AmomaxuD,
    // Zacas
    AmocasW, AmocasD, AmocasQ,
    // Zawrs
    WrsNto, WrsSto,
    // F
    Flw, Fsw, FmaddS, FmsubS, FnmsubS, FnmaddS, FaddS, FsubS, FmulS, FdivS, FsqrtS, FsgnjS, FsgnjnS, FsgnjxS, FminS, FmaxS,
    FcvtWS, FcvtWuS, FmvXW, FeqS, FltS, FleS, FclassS, FcvtSW, FcvtSWu, FmvWX, FcvtLS, FcvtLuS, FcvtSL, FcvtSLu,
    // D
    Fld, Fsd, FmaddD, FmsubD, FnmsubD, FnmaddD, FaddD, FsubD, FmulD, FdivD, FsqrtD, FsgnjD, FsgnjnD, FsgnjxD, FminD, FmaxD,
    FcvtSD, FcvtDS, FeqD, FltD, FleD, FclassD, FcvtWD, FcvtWuD, FcvtDW, FcvtDWu, FcvtLD, FcvtLuD, FmvXD, FcvtDL, FcvtDLu, FmvDX,
    // Zfa
    FliS, FminmS, FmaxmS, FroundS, FroundnxS, FleqS, FltqS, FliD, FminmD, FmaxmD, FroundD, FroundnxD, FcvtmodWD, FleqD, FltqD,
    // Zba
    AddUw, Sh1add, Sh1addUw, Sh2add, Sh2addUw, Sh3add, Sh3addUw, SlliUw,
    // Zbb
    Andn, Orn, Xnor, Clz, Clzw, Ctz, Ctzw, Cpop, Cpopw, Max, Maxu, Min, Minu, SextB, SextH, ZextH,
    Rol, Rolw, Ror, Rori, Roriw, Rorw, OrcB, Rev8,
    // Zbc
    Clmul, Clmulh, Clmulr,
    // Zbs
    Bclr, Bclri, Bext, Bexti, Binv, Binvi, Bset, Bseti,
    // Zicond
    CzeroEqz, CzeroNez,
    // Zicbom, Zicboz, Zicbop
    CboInval, CboClean, CboFlush, CboZero, PrefetchI, PrefetchR, PrefetchW,
    // Privileged Architecture
    Sret, Mret, Wfi, SfenceVma, SinvalVma, SfenceWInval, SfenceInvalIr,
    /// <summary>How many opcodes there are; not an opcode.</summary>
    Count,
}
