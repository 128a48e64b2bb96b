using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Disassembly;

/// <summary>A shorter way to write an instruction whose operands are special. -1 (for Imm: <see cref="Any"/>) matches everything;
/// Length is that of the encoding in bytes, 0 for both; LegacyOnly is for <see cref="DisassemblyStyle.Binutils240"/>.</summary>
internal readonly record struct Alias(
    Opcode Opcode, string Mnemonic, string Syntax, int Rd = -1, int Rs1 = -1, int Rs2 = -1, int Imm = Alias.Any,
    bool SameSources = false, int Length = 0, bool LegacyOnly = false)
{
    public const int Any = int.MinValue;

    public bool Matches(in Instruction i, DisassemblyStyle style)
        => (Rd < 0 || Rd == i.Rd) && (Rs1 < 0 || Rs1 == i.Rs1) && (Rs2 < 0 || Rs2 == i.Rs2) && (Imm == Any || Imm == i.Imm)
           && (!SameSources || i.Rs1 == i.Rs2) && (Length == 0 || Length == i.Length)
           && (!LegacyOnly || style == DisassemblyStyle.Binutils240);
}

/// <summary>The pseudoinstructions (ISA manual, "RISC-V Assembly Programmer's Handbook") that disassemblies are written with; for each
/// opcode the first that matches is used. Syntax letters as in <see cref="InstructionTable"/>.</summary>
internal static class Aliases
{
    private static readonly Alias[] Table =
    [
        new(Opcode.Addi, "nop", "", Rd: 0, Rs1: 0, Imm: 0),
        new(Opcode.Addi, "li", "d,i", Rs1: 0),
        new(Opcode.Addi, "mv", "d,s", Imm: 0, Length: 4),
        new(Opcode.Addi, "add", "d,s,i", LegacyOnly: true),
        new(Opcode.Addiw, "sext.w", "d,s", Imm: 0),
        new(Opcode.Addiw, "addw", "d,s,i", LegacyOnly: true),
        new(Opcode.Xori, "not", "d,s", Imm: -1),
        new(Opcode.Xori, "xor", "d,s,i", LegacyOnly: true),
        new(Opcode.Ori, "or", "d,s,i", LegacyOnly: true),
        new(Opcode.Andi, "zext.b", "d,s", Imm: 255),
        new(Opcode.Andi, "and", "d,s,i", LegacyOnly: true),
        new(Opcode.Slli, "sll", "d,s,h", LegacyOnly: true),
        new(Opcode.Srli, "srl", "d,s,h", LegacyOnly: true),
        new(Opcode.Srai, "sra", "d,s,h", LegacyOnly: true),
        new(Opcode.Slliw, "sllw", "d,s,h", LegacyOnly: true),
        new(Opcode.Srliw, "srlw", "d,s,h", LegacyOnly: true),
        new(Opcode.Sraiw, "sraw", "d,s,h", LegacyOnly: true),
        new(Opcode.Rori, "ror", "d,s,h", LegacyOnly: true),
        new(Opcode.Roriw, "rorw", "d,s,h", LegacyOnly: true),
        new(Opcode.Bclri, "bclr", "d,s,h", LegacyOnly: true),
        new(Opcode.Bexti, "bext", "d,s,h", LegacyOnly: true),
        new(Opcode.Binvi, "binv", "d,s,h", LegacyOnly: true),
        new(Opcode.Bseti, "bset", "d,s,h", LegacyOnly: true),
        new(Opcode.Sltiu, "seqz", "d,s", Imm: 1),
        new(Opcode.Sub, "neg", "d,t", Rs1: 0),
        new(Opcode.Subw, "negw", "d,t", Rs1: 0),
        new(Opcode.Sltu, "snez", "d,t", Rs1: 0),
        new(Opcode.Slt, "sltz", "d,s", Rs2: 0),
        new(Opcode.Slt, "sgtz", "d,t", Rs1: 0),
        new(Opcode.AddUw, "zext.w", "d,s", Rs2: 0),

        new(Opcode.Beq, "beqz", "s,b", Rs2: 0),
        new(Opcode.Bne, "bnez", "s,b", Rs2: 0),
        new(Opcode.Bge, "blez", "t,b", Rs1: 0),
        new(Opcode.Bge, "bgez", "s,b", Rs2: 0),
        new(Opcode.Blt, "bltz", "s,b", Rs2: 0),
        new(Opcode.Blt, "bgtz", "t,b", Rs1: 0),
        new(Opcode.Jal, "j", "b", Rd: 0),
        new(Opcode.Jal, "jal", "b", Rd: 1),
        new(Opcode.Jalr, "ret", "", Rd: 0, Rs1: 1, Imm: 0),
        new(Opcode.Jalr, "jr", "s", Rd: 0, Imm: 0),
        new(Opcode.Jalr, "jr", "i(s)", Rd: 0),
        new(Opcode.Jalr, "jalr", "s", Rd: 1, Imm: 0),
        new(Opcode.Jalr, "jalr", "i(s)", Rd: 1),
        new(Opcode.Jalr, "jalr", "d,s", Imm: 0),

        new(Opcode.Csrrw, "unimp", "", Rd: 0, Rs1: 0, Imm: CsrNames.Cycle),
        new(Opcode.Csrrw, "fsflags", "s", Rd: 0, Imm: CsrNames.Fflags),
        new(Opcode.Csrrw, "fsflags", "d,s", Imm: CsrNames.Fflags),
        new(Opcode.Csrrw, "fsrm", "s", Rd: 0, Imm: CsrNames.Frm),
        new(Opcode.Csrrw, "fsrm", "d,s", Imm: CsrNames.Frm),
        new(Opcode.Csrrw, "fscsr", "s", Rd: 0, Imm: CsrNames.Fcsr),
        new(Opcode.Csrrw, "fscsr", "d,s", Imm: CsrNames.Fcsr),
        new(Opcode.Csrrw, "csrw", "c,s", Rd: 0),
        new(Opcode.Csrrs, "frflags", "d", Rs1: 0, Imm: CsrNames.Fflags),
        new(Opcode.Csrrs, "frrm", "d", Rs1: 0, Imm: CsrNames.Frm),
        new(Opcode.Csrrs, "frcsr", "d", Rs1: 0, Imm: CsrNames.Fcsr),
        new(Opcode.Csrrs, "rdcycle", "d", Rs1: 0, Imm: CsrNames.Cycle),
        new(Opcode.Csrrs, "rdtime", "d", Rs1: 0, Imm: CsrNames.Time),
        new(Opcode.Csrrs, "rdinstret", "d", Rs1: 0, Imm: CsrNames.Instret),
        new(Opcode.Csrrs, "csrr", "d,c", Rs1: 0),
        new(Opcode.Csrrs, "csrs", "c,s", Rd: 0),
        new(Opcode.Csrrc, "csrc", "c,s", Rd: 0),
        new(Opcode.Csrrwi, "fsflagsi", "d,z", Imm: CsrNames.Fflags),
        new(Opcode.Csrrwi, "fsrmi", "d,z", Imm: CsrNames.Frm),
        new(Opcode.Csrrwi, "csrw", "c,z", Rd: 0, LegacyOnly: true),
        new(Opcode.Csrrwi, "csrwi", "c,z", Rd: 0),
        new(Opcode.Csrrwi, "csrrw", "d,c,z", LegacyOnly: true),
        new(Opcode.Csrrsi, "csrs", "c,z", Rd: 0, LegacyOnly: true),
        new(Opcode.Csrrsi, "csrsi", "c,z", Rd: 0),
        new(Opcode.Csrrsi, "csrrs", "d,c,z", LegacyOnly: true),
        new(Opcode.Csrrci, "csrc", "c,z", Rd: 0, LegacyOnly: true),
        new(Opcode.Csrrci, "csrci", "c,z", Rd: 0),
        new(Opcode.Csrrci, "csrrc", "d,c,z", LegacyOnly: true),

        new(Opcode.FsgnjS, "fmv.s", "D,S", SameSources: true),
        new(Opcode.FsgnjnS, "fneg.s", "D,S", SameSources: true),
        new(Opcode.FsgnjxS, "fabs.s", "D,S", SameSources: true),
        new(Opcode.FsgnjD, "fmv.d", "D,S", SameSources: true),
        new(Opcode.FsgnjnD, "fneg.d", "D,S", SameSources: true),
        new(Opcode.FsgnjxD, "fabs.d", "D,S", SameSources: true),
    ];

    private static readonly Alias[]?[] ByOpcode = Index();

    /// <summary>The aliases of an opcode, in order of preference.</summary>
    public static ReadOnlySpan<Alias> Of(Opcode opcode) => ByOpcode[(int)opcode];

    private static Alias[]?[] Index()
    {
        var index = new Alias[]?[(int)Opcode.Count];
        foreach (var group in Table.GroupBy(a => a.Opcode)) index[(int)group.Key] = [.. group];
        return index;
    }
}
