using static Vivarium.RiscV.Isa.OperandFormat;
using E = Vivarium.RiscV.Isa.Extension;

namespace Vivarium.RiscV.Isa;

/// <summary>One encoding: a row of the instruction table.</summary>
/// <param name="Mnemonic">The manual's name; compressed rows have their own (<c>c.addi</c>).</param>
/// <param name="Opcode">What it does; for a compressed row the instruction that it expands to.</param>
/// <param name="Match">The fixed bits' values.</param>
/// <param name="Mask">The fixed bits. Where two rows overlap, the one with more fixed bits wins.</param>
/// <param name="Format">Where the operands are.</param>
/// <param name="Syntax">The operands as an assembler writes them; see <see cref="InstructionTable"/>. Empty in compressed rows, which
/// are written as what they expand to.</param>
/// <param name="Extension">The extension that defines it.</param>
/// <param name="Class">The kind of work.</param>
public readonly record struct InstructionRow(
    string Mnemonic, Opcode Opcode, uint Match, uint Mask, OperandFormat Format, string Syntax, Extension Extension, SemanticsClass Class)
{
    /// <summary>2 or 4 bytes.</summary>
    public int Length => (Match & 3) == 3 ? 4 : 2;
}

/// <summary>
/// The instruction table: every encoding that the decoder knows, once. The decoder, the disassembler and the tests are made from it.
/// To add an instruction: a row here, a case in the interpreter, a test.
/// </summary>
/// <remarks>
/// Letters of a row's syntax: <c>d s t</c> integer registers rd, rs1, rs2; <c>D S T R</c> floating-point registers rd, rs1, rs2, rs3;
/// <c>i</c> immediate; <c>h</c> shift amount; <c>u</c> upper immediate; <c>b</c> pc-relative target; <c>c</c> CSR; <c>z</c> zimm;
/// <c>f</c> fence sets; <c>l</c> the constant of <c>fli</c>; <c>r</c> the rounding mode, left out with its comma when dynamic. Atomics
/// get their <c>.aq</c>, <c>.rl</c> suffixes from the format.
/// </remarks>
public static class InstructionTable
{
    // Major opcodes (ISA manual, "RV32/64G Instruction Set Listings", table "opcode map").
    private const uint LOAD = 0x03, LOAD_FP = 0x07, MISC_MEM = 0x0f, OP_IMM = 0x13, AUIPC = 0x17, OP_IMM_32 = 0x1b, STORE = 0x23,
        STORE_FP = 0x27, AMO = 0x2f, OP = 0x33, LUI = 0x37, OP_32 = 0x3b, MADD = 0x43, MSUB = 0x47, NMSUB = 0x4b, NMADD = 0x4f,
        OP_FP = 0x53, BRANCH = 0x63, JALR = 0x67, JAL = 0x6f, SYSTEM = 0x73;

    private static readonly InstructionRow[] All = Build();
    private static readonly ushort[] BaseRows = IndexBaseRows();

    /// <summary>All rows; row 0 stands for what is illegal. <see cref="Instruction.Row"/> indexes it.</summary>
    public static ReadOnlySpan<InstructionRow> Rows => All;

    /// <summary>The 32-bit row of an opcode.</summary>
    public static ref readonly InstructionRow BaseRow(Opcode opcode) => ref All[BaseRows[(int)opcode]];

    /// <summary>The kind of work that an opcode does.</summary>
    public static SemanticsClass ClassOf(Opcode opcode) => All[BaseRows[(int)opcode]].Class;

    private static ushort[] IndexBaseRows()
    {
        var index = new ushort[(int)Opcode.Count];
        for (int i = All.Length - 1; i > 0; i--)
        {
            if (All[i].Length == 4) index[(int)All[i].Opcode] = (ushort)i;
        }
        return index;
    }

    private static InstructionRow[] Build()
    {
        var rows = new List<InstructionRow>(384) { new("illegal", Opcode.Illegal, 0xffff_ffff, 0xffff_ffff, None, "", E.Reserved, SemanticsClass.Illegal) };
        AddBase(rows);
        AddSystem(rows);
        AddMultiply(rows);
        AddAtomic(rows);
        AddFloat(rows);
        AddBitManipulation(rows);
        AddCompressed(rows);
        return [.. rows];
    }

    private static void AddBase(List<InstructionRow> rows)
    {
        const SemanticsClass integer = SemanticsClass.Integer;
        Add("lui", Opcode.Lui, LUI, 0x7f, U, "d,u");
        Add("auipc", Opcode.Auipc, AUIPC, 0x7f, U, "d,u");
        Add("jal", Opcode.Jal, JAL, 0x7f, J, "d,b", SemanticsClass.Jump);
        Funct3("jalr", Opcode.Jalr, JALR, 0, I, "d,i(s)", SemanticsClass.Jump);
        Funct3("beq", Opcode.Beq, BRANCH, 0, B, "s,t,b", SemanticsClass.Branch);
        Funct3("bne", Opcode.Bne, BRANCH, 1, B, "s,t,b", SemanticsClass.Branch);
        Funct3("blt", Opcode.Blt, BRANCH, 4, B, "s,t,b", SemanticsClass.Branch);
        Funct3("bge", Opcode.Bge, BRANCH, 5, B, "s,t,b", SemanticsClass.Branch);
        Funct3("bltu", Opcode.Bltu, BRANCH, 6, B, "s,t,b", SemanticsClass.Branch);
        Funct3("bgeu", Opcode.Bgeu, BRANCH, 7, B, "s,t,b", SemanticsClass.Branch);
        Funct3("lb", Opcode.Lb, LOAD, 0, I, "d,i(s)", SemanticsClass.Load);
        Funct3("lh", Opcode.Lh, LOAD, 1, I, "d,i(s)", SemanticsClass.Load);
        Funct3("lw", Opcode.Lw, LOAD, 2, I, "d,i(s)", SemanticsClass.Load);
        Funct3("ld", Opcode.Ld, LOAD, 3, I, "d,i(s)", SemanticsClass.Load);
        Funct3("lbu", Opcode.Lbu, LOAD, 4, I, "d,i(s)", SemanticsClass.Load);
        Funct3("lhu", Opcode.Lhu, LOAD, 5, I, "d,i(s)", SemanticsClass.Load);
        Funct3("lwu", Opcode.Lwu, LOAD, 6, I, "d,i(s)", SemanticsClass.Load);
        Funct3("sb", Opcode.Sb, STORE, 0, S, "t,i(s)", SemanticsClass.Store);
        Funct3("sh", Opcode.Sh, STORE, 1, S, "t,i(s)", SemanticsClass.Store);
        Funct3("sw", Opcode.Sw, STORE, 2, S, "t,i(s)", SemanticsClass.Store);
        Funct3("sd", Opcode.Sd, STORE, 3, S, "t,i(s)", SemanticsClass.Store);
        Funct3("addi", Opcode.Addi, OP_IMM, 0, I, "d,s,i");
        Funct3("slti", Opcode.Slti, OP_IMM, 2, I, "d,s,i");
        Funct3("sltiu", Opcode.Sltiu, OP_IMM, 3, I, "d,s,i");
        Funct3("xori", Opcode.Xori, OP_IMM, 4, I, "d,s,i");
        Funct3("ori", Opcode.Ori, OP_IMM, 6, I, "d,s,i");
        Funct3("andi", Opcode.Andi, OP_IMM, 7, I, "d,s,i");
        Shift6("slli", Opcode.Slli, OP_IMM, 0x00, 1);
        Shift6("srli", Opcode.Srli, OP_IMM, 0x00, 5);
        Shift6("srai", Opcode.Srai, OP_IMM, 0x10, 5);
        Funct7("add", Opcode.Add, OP, 0x00, 0);
        Funct7("sub", Opcode.Sub, OP, 0x20, 0);
        Funct7("sll", Opcode.Sll, OP, 0x00, 1);
        Funct7("slt", Opcode.Slt, OP, 0x00, 2);
        Funct7("sltu", Opcode.Sltu, OP, 0x00, 3);
        Funct7("xor", Opcode.Xor, OP, 0x00, 4);
        Funct7("srl", Opcode.Srl, OP, 0x00, 5);
        Funct7("sra", Opcode.Sra, OP, 0x20, 5);
        Funct7("or", Opcode.Or, OP, 0x00, 6);
        Funct7("and", Opcode.And, OP, 0x00, 7);
        Funct3("addiw", Opcode.Addiw, OP_IMM_32, 0, I, "d,s,i");
        Shift5("slliw", Opcode.Slliw, 0x00, 1);
        Shift5("srliw", Opcode.Srliw, 0x00, 5);
        Shift5("sraiw", Opcode.Sraiw, 0x20, 5);
        Funct7("addw", Opcode.Addw, OP_32, 0x00, 0);
        Funct7("subw", Opcode.Subw, OP_32, 0x20, 0);
        Funct7("sllw", Opcode.Sllw, OP_32, 0x00, 1);
        Funct7("srlw", Opcode.Srlw, OP_32, 0x00, 5);
        Funct7("sraw", Opcode.Sraw, OP_32, 0x20, 5);

        void Add(string name, Opcode opcode, uint match, uint mask, OperandFormat format, string syntax, SemanticsClass c = integer)
            => rows.Add(new(name, opcode, match, mask, format, syntax, E.I, c));
        void Funct3(string name, Opcode opcode, uint major, uint funct3, OperandFormat format, string syntax, SemanticsClass c = integer)
            => Add(name, opcode, major | funct3 << 12, 0x707f, format, syntax, c);
        void Funct7(string name, Opcode opcode, uint major, uint funct7, uint funct3)
            => Add(name, opcode, major | funct3 << 12 | funct7 << 25, 0xfe00707f, R, "d,s,t");
        void Shift6(string name, Opcode opcode, uint major, uint funct6, uint funct3)
            => Add(name, opcode, major | funct3 << 12 | funct6 << 26, 0xfc00707f, Shift64, "d,s,h");
        void Shift5(string name, Opcode opcode, uint funct7, uint funct3)
            => Add(name, opcode, OP_IMM_32 | funct3 << 12 | funct7 << 25, 0xfe00707f, Shift32, "d,s,h");
    }

    /// <summary>Fences, environment calls, CSRs, cache blocks: MISC-MEM and SYSTEM.</summary>
    private static void AddSystem(List<InstructionRow> rows)
    {
        // "Implementations shall ignore" the unused fields of fence and fence.i, hence the short masks; reserved fm means a plain fence.
        Add("fence", Opcode.Fence, 0x0000000f, 0x0000707f, Fence, "f", E.I, SemanticsClass.Fence);
        Add("fence.tso", Opcode.FenceTso, 0x8330000f, 0xfff0707f, Fence, "", E.I, SemanticsClass.Fence);
        Add("pause", Opcode.Pause, 0x0100000f, 0xffffffff, None, "", E.Zihintpause, SemanticsClass.System);
        Add("fence.i", Opcode.FenceI, 0x0000100f, 0x0000707f, None, "", E.Zifencei, SemanticsClass.Fence);
        Add("ecall", Opcode.Ecall, 0x00000073, 0xffffffff, None, "", E.I, SemanticsClass.System);
        Add("ebreak", Opcode.Ebreak, 0x00100073, 0xffffffff, None, "", E.I, SemanticsClass.System);
        Add("wrs.nto", Opcode.WrsNto, 0x00d00073, 0xffffffff, None, "", E.Zawrs, SemanticsClass.System);
        Add("wrs.sto", Opcode.WrsSto, 0x01d00073, 0xffffffff, None, "", E.Zawrs, SemanticsClass.System);
        Add("sret", Opcode.Sret, 0x10200073, 0xffffffff, None, "", E.Privileged, SemanticsClass.System);
        Add("mret", Opcode.Mret, 0x30200073, 0xffffffff, None, "", E.Privileged, SemanticsClass.System);
        Add("wfi", Opcode.Wfi, 0x10500073, 0xffffffff, None, "", E.Privileged, SemanticsClass.System);
        Add("sfence.vma", Opcode.SfenceVma, 0x12000073, 0xfe007fff, FenceVma, "s,t", E.Privileged, SemanticsClass.System);
        Add("sinval.vma", Opcode.SinvalVma, 0x16000073, 0xfe007fff, FenceVma, "s,t", E.Svinval, SemanticsClass.System);
        Add("sfence.w.inval", Opcode.SfenceWInval, 0x18000073, 0xffffffff, None, "", E.Svinval, SemanticsClass.System);
        Add("sfence.inval.ir", Opcode.SfenceInvalIr, 0x18100073, 0xffffffff, None, "", E.Svinval, SemanticsClass.System);

        Add("csrrw", Opcode.Csrrw, SYSTEM | 1 << 12, 0x707f, Csr, "d,c,s", E.Zicsr, SemanticsClass.Csr);
        Add("csrrs", Opcode.Csrrs, SYSTEM | 2 << 12, 0x707f, Csr, "d,c,s", E.Zicsr, SemanticsClass.Csr);
        Add("csrrc", Opcode.Csrrc, SYSTEM | 3 << 12, 0x707f, Csr, "d,c,s", E.Zicsr, SemanticsClass.Csr);
        Add("csrrwi", Opcode.Csrrwi, SYSTEM | 5 << 12, 0x707f, CsrImmediate, "d,c,z", E.Zicsr, SemanticsClass.Csr);
        Add("csrrsi", Opcode.Csrrsi, SYSTEM | 6 << 12, 0x707f, CsrImmediate, "d,c,z", E.Zicsr, SemanticsClass.Csr);
        Add("csrrci", Opcode.Csrrci, SYSTEM | 7 << 12, 0x707f, CsrImmediate, "d,c,z", E.Zicsr, SemanticsClass.Csr);

        Add("cbo.inval", Opcode.CboInval, MISC_MEM | 2 << 12 | 0u << 20, 0xfff07fff, CacheBlock, "(s)", E.Zicbom, SemanticsClass.CacheBlock);
        Add("cbo.clean", Opcode.CboClean, MISC_MEM | 2 << 12 | 1u << 20, 0xfff07fff, CacheBlock, "(s)", E.Zicbom, SemanticsClass.CacheBlock);
        Add("cbo.flush", Opcode.CboFlush, MISC_MEM | 2 << 12 | 2u << 20, 0xfff07fff, CacheBlock, "(s)", E.Zicbom, SemanticsClass.CacheBlock);
        Add("cbo.zero", Opcode.CboZero, MISC_MEM | 2 << 12 | 4u << 20, 0xfff07fff, CacheBlock, "(s)", E.Zicboz, SemanticsClass.CacheBlock);
        // Prefetches are hints in the space of `ori x0, rs1, imm`.
        Add("prefetch.i", Opcode.PrefetchI, OP_IMM | 6 << 12 | 0u << 20, 0x01f07fff, Prefetch, "i(s)", E.Zicbop, SemanticsClass.CacheBlock);
        Add("prefetch.r", Opcode.PrefetchR, OP_IMM | 6 << 12 | 1u << 20, 0x01f07fff, Prefetch, "i(s)", E.Zicbop, SemanticsClass.CacheBlock);
        Add("prefetch.w", Opcode.PrefetchW, OP_IMM | 6 << 12 | 3u << 20, 0x01f07fff, Prefetch, "i(s)", E.Zicbop, SemanticsClass.CacheBlock);

        void Add(string name, Opcode opcode, uint match, uint mask, OperandFormat format, string syntax, E extension, SemanticsClass c)
            => rows.Add(new(name, opcode, match, mask, format, syntax, extension, c));
    }

    private static void AddMultiply(List<InstructionRow> rows)
    {
        Add("mul", Opcode.Mul, OP, 0);
        Add("mulh", Opcode.Mulh, OP, 1);
        Add("mulhsu", Opcode.Mulhsu, OP, 2);
        Add("mulhu", Opcode.Mulhu, OP, 3);
        Add("div", Opcode.Div, OP, 4);
        Add("divu", Opcode.Divu, OP, 5);
        Add("rem", Opcode.Rem, OP, 6);
        Add("remu", Opcode.Remu, OP, 7);
        Add("mulw", Opcode.Mulw, OP_32, 0);
        Add("divw", Opcode.Divw, OP_32, 4);
        Add("divuw", Opcode.Divuw, OP_32, 5);
        Add("remw", Opcode.Remw, OP_32, 6);
        Add("remuw", Opcode.Remuw, OP_32, 7);

        void Add(string name, Opcode opcode, uint major, uint funct3)
            => rows.Add(new(name, opcode, major | funct3 << 12 | 1u << 25, 0xfe00707f, R, "d,s,t", E.M, SemanticsClass.Multiply));
    }

    private static void AddAtomic(List<InstructionRow> rows)
    {
        Load("lr.w", Opcode.LrW, 2);
        Add("sc.w", Opcode.ScW, 0x03, 2);
        Add("amoswap.w", Opcode.AmoswapW, 0x01, 2);
        Add("amoadd.w", Opcode.AmoaddW, 0x00, 2);
        Add("amoxor.w", Opcode.AmoxorW, 0x04, 2);
        Add("amoand.w", Opcode.AmoandW, 0x0c, 2);
        Add("amoor.w", Opcode.AmoorW, 0x08, 2);
        Add("amomin.w", Opcode.AmominW, 0x10, 2);
        Add("amomax.w", Opcode.AmomaxW, 0x14, 2);
        Add("amominu.w", Opcode.AmominuW, 0x18, 2);
        Add("amomaxu.w", Opcode.AmomaxuW, 0x1c, 2);
        Load("lr.d", Opcode.LrD, 3);
        Add("sc.d", Opcode.ScD, 0x03, 3);
        Add("amoswap.d", Opcode.AmoswapD, 0x01, 3);
        Add("amoadd.d", Opcode.AmoaddD, 0x00, 3);
        Add("amoxor.d", Opcode.AmoxorD, 0x04, 3);
        Add("amoand.d", Opcode.AmoandD, 0x0c, 3);
        Add("amoor.d", Opcode.AmoorD, 0x08, 3);
        Add("amomin.d", Opcode.AmominD, 0x10, 3);
        Add("amomax.d", Opcode.AmomaxD, 0x14, 3);
        Add("amominu.d", Opcode.AmominuD, 0x18, 3);
        Add("amomaxu.d", Opcode.AmomaxuD, 0x1c, 3);
        Add("amocas.w", Opcode.AmocasW, 0x05, 2, E.Zacas);
        Add("amocas.d", Opcode.AmocasD, 0x05, 3, E.Zacas);
        // Register pairs: odd rd or rs2 are reserved, so their low bits are fixed.
        Add("amocas.q", Opcode.AmocasQ, 0x05, 4, E.Zacas, 0xf810_70ff);

        void Load(string name, Opcode opcode, uint funct3)
            => rows.Add(new(name, opcode, AMO | funct3 << 12 | 0x02u << 27, 0xf9f0707f, Amo, "d,(s)", E.A, SemanticsClass.Atomic));
        void Add(string name, Opcode opcode, uint funct5, uint funct3, E extension = E.A, uint mask = 0xf800707f)
            => rows.Add(new(name, opcode, AMO | funct3 << 12 | funct5 << 27, mask, Amo, "d,t,(s)", extension, SemanticsClass.Atomic));
    }

    private static void AddFloat(List<InstructionRow> rows)
    {
        rows.Add(new("flw", Opcode.Flw, LOAD_FP | 2 << 12, 0x707f, I, "D,i(s)", E.F, SemanticsClass.FloatLoad));
        rows.Add(new("fld", Opcode.Fld, LOAD_FP | 3 << 12, 0x707f, I, "D,i(s)", E.D, SemanticsClass.FloatLoad));
        rows.Add(new("fsw", Opcode.Fsw, STORE_FP | 2 << 12, 0x707f, S, "T,i(s)", E.F, SemanticsClass.FloatStore));
        rows.Add(new("fsd", Opcode.Fsd, STORE_FP | 3 << 12, 0x707f, S, "T,i(s)", E.D, SemanticsClass.FloatStore));
        Fused("fmadd.s", Opcode.FmaddS, MADD, 0, E.F);
        Fused("fmsub.s", Opcode.FmsubS, MSUB, 0, E.F);
        Fused("fnmsub.s", Opcode.FnmsubS, NMSUB, 0, E.F);
        Fused("fnmadd.s", Opcode.FnmaddS, NMADD, 0, E.F);
        Fused("fmadd.d", Opcode.FmaddD, MADD, 1, E.D);
        Fused("fmsub.d", Opcode.FmsubD, MSUB, 1, E.D);
        Fused("fnmsub.d", Opcode.FnmsubD, NMSUB, 1, E.D);
        Fused("fnmadd.d", Opcode.FnmaddD, NMADD, 1, E.D);

        Binary("fadd.s", Opcode.FaddS, 0x00, E.F);
        Binary("fsub.s", Opcode.FsubS, 0x04, E.F);
        Binary("fmul.s", Opcode.FmulS, 0x08, E.F);
        Binary("fdiv.s", Opcode.FdivS, 0x0c, E.F);
        Unary("fsqrt.s", Opcode.FsqrtS, 0x2c, 0, "D,S,r", E.F);
        Exact("fsgnj.s", Opcode.FsgnjS, 0x10, 0, "D,S,T", E.F);
        Exact("fsgnjn.s", Opcode.FsgnjnS, 0x10, 1, "D,S,T", E.F);
        Exact("fsgnjx.s", Opcode.FsgnjxS, 0x10, 2, "D,S,T", E.F);
        Exact("fmin.s", Opcode.FminS, 0x14, 0, "D,S,T", E.F);
        Exact("fmax.s", Opcode.FmaxS, 0x14, 1, "D,S,T", E.F);
        Exact("fle.s", Opcode.FleS, 0x50, 0, "d,S,T", E.F);
        Exact("flt.s", Opcode.FltS, 0x50, 1, "d,S,T", E.F);
        Exact("feq.s", Opcode.FeqS, 0x50, 2, "d,S,T", E.F);
        Unary("fcvt.w.s", Opcode.FcvtWS, 0x60, 0, "d,S,r", E.F);
        Unary("fcvt.wu.s", Opcode.FcvtWuS, 0x60, 1, "d,S,r", E.F);
        Unary("fcvt.l.s", Opcode.FcvtLS, 0x60, 2, "d,S,r", E.F);
        Unary("fcvt.lu.s", Opcode.FcvtLuS, 0x60, 3, "d,S,r", E.F);
        Unary("fcvt.s.w", Opcode.FcvtSW, 0x68, 0, "D,s,r", E.F);
        Unary("fcvt.s.wu", Opcode.FcvtSWu, 0x68, 1, "D,s,r", E.F);
        Unary("fcvt.s.l", Opcode.FcvtSL, 0x68, 2, "D,s,r", E.F);
        Unary("fcvt.s.lu", Opcode.FcvtSLu, 0x68, 3, "D,s,r", E.F);
        Move("fmv.x.w", Opcode.FmvXW, 0x70, 0, 0, "d,S", E.F);
        Move("fclass.s", Opcode.FclassS, 0x70, 0, 1, "d,S", E.F);
        Move("fmv.w.x", Opcode.FmvWX, 0x78, 0, 0, "D,s", E.F);

        Binary("fadd.d", Opcode.FaddD, 0x01, E.D);
        Binary("fsub.d", Opcode.FsubD, 0x05, E.D);
        Binary("fmul.d", Opcode.FmulD, 0x09, E.D);
        Binary("fdiv.d", Opcode.FdivD, 0x0d, E.D);
        Unary("fsqrt.d", Opcode.FsqrtD, 0x2d, 0, "D,S,r", E.D);
        Exact("fsgnj.d", Opcode.FsgnjD, 0x11, 0, "D,S,T", E.D);
        Exact("fsgnjn.d", Opcode.FsgnjnD, 0x11, 1, "D,S,T", E.D);
        Exact("fsgnjx.d", Opcode.FsgnjxD, 0x11, 2, "D,S,T", E.D);
        Exact("fmin.d", Opcode.FminD, 0x15, 0, "D,S,T", E.D);
        Exact("fmax.d", Opcode.FmaxD, 0x15, 1, "D,S,T", E.D);
        Unary("fcvt.s.d", Opcode.FcvtSD, 0x20, 1, "D,S,r", E.D);
        Unary("fcvt.d.s", Opcode.FcvtDS, 0x21, 0, "D,S,r", E.D);
        Exact("fle.d", Opcode.FleD, 0x51, 0, "d,S,T", E.D);
        Exact("flt.d", Opcode.FltD, 0x51, 1, "d,S,T", E.D);
        Exact("feq.d", Opcode.FeqD, 0x51, 2, "d,S,T", E.D);
        Unary("fcvt.w.d", Opcode.FcvtWD, 0x61, 0, "d,S,r", E.D);
        Unary("fcvt.wu.d", Opcode.FcvtWuD, 0x61, 1, "d,S,r", E.D);
        Unary("fcvt.l.d", Opcode.FcvtLD, 0x61, 2, "d,S,r", E.D);
        Unary("fcvt.lu.d", Opcode.FcvtLuD, 0x61, 3, "d,S,r", E.D);
        Unary("fcvt.d.w", Opcode.FcvtDW, 0x69, 0, "D,s,r", E.D);
        Unary("fcvt.d.wu", Opcode.FcvtDWu, 0x69, 1, "D,s,r", E.D);
        Unary("fcvt.d.l", Opcode.FcvtDL, 0x69, 2, "D,s,r", E.D);
        Unary("fcvt.d.lu", Opcode.FcvtDLu, 0x69, 3, "D,s,r", E.D);
        Move("fmv.x.d", Opcode.FmvXD, 0x71, 0, 0, "d,S", E.D);
        Move("fclass.d", Opcode.FclassD, 0x71, 0, 1, "d,S", E.D);
        Move("fmv.d.x", Opcode.FmvDX, 0x79, 0, 0, "D,s", E.D);

        // Zfa. fli's rs1 field selects the constant.
        Move("fli.s", Opcode.FliS, 0x78, 1, 0, "D,l", E.Zfa);
        Move("fli.d", Opcode.FliD, 0x79, 1, 0, "D,l", E.Zfa);
        Exact("fminm.s", Opcode.FminmS, 0x14, 2, "D,S,T", E.Zfa);
        Exact("fmaxm.s", Opcode.FmaxmS, 0x14, 3, "D,S,T", E.Zfa);
        Exact("fminm.d", Opcode.FminmD, 0x15, 2, "D,S,T", E.Zfa);
        Exact("fmaxm.d", Opcode.FmaxmD, 0x15, 3, "D,S,T", E.Zfa);
        Unary("fround.s", Opcode.FroundS, 0x20, 4, "D,S,r", E.Zfa);
        Unary("froundnx.s", Opcode.FroundnxS, 0x20, 5, "D,S,r", E.Zfa);
        Unary("fround.d", Opcode.FroundD, 0x21, 4, "D,S,r", E.Zfa);
        Unary("froundnx.d", Opcode.FroundnxD, 0x21, 5, "D,S,r", E.Zfa);
        // Only rm = rtz is defined.
        rows.Add(new("fcvtmod.w.d", Opcode.FcvtmodWD, OP_FP | 0x61u << 25 | 8u << 20 | 1 << 12, 0xfff0707f, RUnaryRm, "d,S,r", E.Zfa, SemanticsClass.Float));
        Exact("fleq.s", Opcode.FleqS, 0x50, 4, "d,S,T", E.Zfa);
        Exact("fltq.s", Opcode.FltqS, 0x50, 5, "d,S,T", E.Zfa);
        Exact("fleq.d", Opcode.FleqD, 0x51, 4, "d,S,T", E.Zfa);
        Exact("fltq.d", Opcode.FltqD, 0x51, 5, "d,S,T", E.Zfa);

        void Fused(string name, Opcode opcode, uint major, uint fmt, E extension)
            => rows.Add(new(name, opcode, major | fmt << 25, 0x0600007f, R4, "D,S,T,R,r", extension, SemanticsClass.Float));
        void Binary(string name, Opcode opcode, uint funct7, E extension)
            => rows.Add(new(name, opcode, OP_FP | funct7 << 25, 0xfe00007f, RRm, "D,S,T,r", extension, SemanticsClass.Float));
        void Unary(string name, Opcode opcode, uint funct7, uint rs2, string syntax, E extension)
            => rows.Add(new(name, opcode, OP_FP | funct7 << 25 | rs2 << 20, 0xfff0007f, RUnaryRm, syntax, extension, SemanticsClass.Float));
        void Exact(string name, Opcode opcode, uint funct7, uint funct3, string syntax, E extension)
            => rows.Add(new(name, opcode, OP_FP | funct7 << 25 | funct3 << 12, 0xfe00707f, R, syntax, extension, SemanticsClass.Float));
        void Move(string name, Opcode opcode, uint funct7, uint rs2, uint funct3, string syntax, E extension)
            => rows.Add(new(name, opcode, OP_FP | funct7 << 25 | rs2 << 20 | funct3 << 12, 0xfff0707f, RUnary, syntax, extension, SemanticsClass.Float));
    }

    /// <summary>Zba, Zbb, Zbc, Zbs, Zicond.</summary>
    private static void AddBitManipulation(List<InstructionRow> rows)
    {
        Funct7("add.uw", Opcode.AddUw, OP_32, 0x04, 0, E.Zba);
        Funct7("sh1add", Opcode.Sh1add, OP, 0x10, 2, E.Zba);
        Funct7("sh2add", Opcode.Sh2add, OP, 0x10, 4, E.Zba);
        Funct7("sh3add", Opcode.Sh3add, OP, 0x10, 6, E.Zba);
        Funct7("sh1add.uw", Opcode.Sh1addUw, OP_32, 0x10, 2, E.Zba);
        Funct7("sh2add.uw", Opcode.Sh2addUw, OP_32, 0x10, 4, E.Zba);
        Funct7("sh3add.uw", Opcode.Sh3addUw, OP_32, 0x10, 6, E.Zba);
        Shift("slli.uw", Opcode.SlliUw, OP_IMM_32, 0x02, 1, E.Zba);

        Funct7("andn", Opcode.Andn, OP, 0x20, 7, E.Zbb);
        Funct7("orn", Opcode.Orn, OP, 0x20, 6, E.Zbb);
        Funct7("xnor", Opcode.Xnor, OP, 0x20, 4, E.Zbb);
        Unary("clz", Opcode.Clz, OP_IMM, 0x600, 1);
        Unary("ctz", Opcode.Ctz, OP_IMM, 0x601, 1);
        Unary("cpop", Opcode.Cpop, OP_IMM, 0x602, 1);
        Unary("sext.b", Opcode.SextB, OP_IMM, 0x604, 1);
        Unary("sext.h", Opcode.SextH, OP_IMM, 0x605, 1);
        Unary("clzw", Opcode.Clzw, OP_IMM_32, 0x600, 1);
        Unary("ctzw", Opcode.Ctzw, OP_IMM_32, 0x601, 1);
        Unary("cpopw", Opcode.Cpopw, OP_IMM_32, 0x602, 1);
        Unary("orc.b", Opcode.OrcB, OP_IMM, 0x287, 5);
        Unary("rev8", Opcode.Rev8, OP_IMM, 0x6b8, 5);
        Unary("zext.h", Opcode.ZextH, OP_32, 0x080, 4);
        Funct7("min", Opcode.Min, OP, 0x05, 4, E.Zbb);
        Funct7("minu", Opcode.Minu, OP, 0x05, 5, E.Zbb);
        Funct7("max", Opcode.Max, OP, 0x05, 6, E.Zbb);
        Funct7("maxu", Opcode.Maxu, OP, 0x05, 7, E.Zbb);
        Funct7("rol", Opcode.Rol, OP, 0x30, 1, E.Zbb);
        Funct7("ror", Opcode.Ror, OP, 0x30, 5, E.Zbb);
        Funct7("rolw", Opcode.Rolw, OP_32, 0x30, 1, E.Zbb);
        Funct7("rorw", Opcode.Rorw, OP_32, 0x30, 5, E.Zbb);
        Shift("rori", Opcode.Rori, OP_IMM, 0x18, 5, E.Zbb);
        rows.Add(new("roriw", Opcode.Roriw, OP_IMM_32 | 5 << 12 | 0x30u << 25, 0xfe00707f, Shift32, "d,s,h", E.Zbb, SemanticsClass.Integer));

        Funct7("clmul", Opcode.Clmul, OP, 0x05, 1, E.Zbc);
        Funct7("clmulr", Opcode.Clmulr, OP, 0x05, 2, E.Zbc);
        Funct7("clmulh", Opcode.Clmulh, OP, 0x05, 3, E.Zbc);

        Funct7("bclr", Opcode.Bclr, OP, 0x24, 1, E.Zbs);
        Funct7("bext", Opcode.Bext, OP, 0x24, 5, E.Zbs);
        Funct7("binv", Opcode.Binv, OP, 0x34, 1, E.Zbs);
        Funct7("bset", Opcode.Bset, OP, 0x14, 1, E.Zbs);
        Shift("bclri", Opcode.Bclri, OP_IMM, 0x12, 1, E.Zbs);
        Shift("bexti", Opcode.Bexti, OP_IMM, 0x12, 5, E.Zbs);
        Shift("binvi", Opcode.Binvi, OP_IMM, 0x1a, 1, E.Zbs);
        Shift("bseti", Opcode.Bseti, OP_IMM, 0x0a, 1, E.Zbs);

        Funct7("czero.eqz", Opcode.CzeroEqz, OP, 0x07, 5, E.Zicond);
        Funct7("czero.nez", Opcode.CzeroNez, OP, 0x07, 7, E.Zicond);

        void Funct7(string name, Opcode opcode, uint major, uint funct7, uint funct3, E extension)
            => rows.Add(new(name, opcode, major | funct3 << 12 | funct7 << 25, 0xfe00707f, R, "d,s,t", extension, SemanticsClass.Integer));
        void Shift(string name, Opcode opcode, uint major, uint funct6, uint funct3, E extension)
            => rows.Add(new(name, opcode, major | funct3 << 12 | funct6 << 26, 0xfc00707f, Shift64, "d,s,h", extension, SemanticsClass.Integer));
        void Unary(string name, Opcode opcode, uint major, uint funct12, uint funct3)
            => rows.Add(new(name, opcode, major | funct3 << 12 | funct12 << 20, 0xfff0707f, RUnary, "d,s", E.Zbb, SemanticsClass.Integer));
    }

    /// <summary>
    /// RV64C. Reserved encodings have rows of their own, more specific than what they are carved out of; hints decode as the
    /// instruction whose space they lie in.
    /// </summary>
    private static void AddCompressed(List<InstructionRow> rows)
    {
        Reserved("c.addi4spn (nzuimm = 0)", 0x0000, 0xffe3);
        Add("c.addi4spn", Opcode.Addi, 0x0000, 0xe003, CAddi4spn);
        Add("c.fld", Opcode.Fld, 0x2000, 0xe003, CLd, E.Zcd);
        Add("c.lw", Opcode.Lw, 0x4000, 0xe003, CLw);
        Add("c.ld", Opcode.Ld, 0x6000, 0xe003, CLd);
        Add("c.fsd", Opcode.Fsd, 0xa000, 0xe003, CSd, E.Zcd);
        Add("c.sw", Opcode.Sw, 0xc000, 0xe003, CSw);
        Add("c.sd", Opcode.Sd, 0xe000, 0xe003, CSd);

        Add("c.nop", Opcode.Addi, 0x0001, 0xef83, CI);
        Add("c.addi", Opcode.Addi, 0x0001, 0xe003, CI);
        Reserved("c.addiw (rd = 0)", 0x2001, 0xef83);
        Add("c.addiw", Opcode.Addiw, 0x2001, 0xe003, CI);
        Add("c.li", Opcode.Addi, 0x4001, 0xe003, CLi);
        Reserved("c.lui (nzimm = 0)", 0x6001, 0xf07f);
        Reserved("c.addi16sp (nzimm = 0)", 0x6101, 0xffff);
        Add("c.addi16sp", Opcode.Addi, 0x6101, 0xef83, CAddi16sp);
        Add("c.lui", Opcode.Lui, 0x6001, 0xe003, CLui);
        Add("c.srli", Opcode.Srli, 0x8001, 0xec03, CShift);
        Add("c.srai", Opcode.Srai, 0x8401, 0xec03, CShift);
        Add("c.andi", Opcode.Andi, 0x8801, 0xec03, CAndi);
        Add("c.sub", Opcode.Sub, 0x8c01, 0xfc63, CA);
        Add("c.xor", Opcode.Xor, 0x8c21, 0xfc63, CA);
        Add("c.or", Opcode.Or, 0x8c41, 0xfc63, CA);
        Add("c.and", Opcode.And, 0x8c61, 0xfc63, CA);
        Add("c.subw", Opcode.Subw, 0x9c01, 0xfc63, CA);
        Add("c.addw", Opcode.Addw, 0x9c21, 0xfc63, CA);
        Add("c.j", Opcode.Jal, 0xa001, 0xe003, CJ);
        Add("c.beqz", Opcode.Beq, 0xc001, 0xe003, CB);
        Add("c.bnez", Opcode.Bne, 0xe001, 0xe003, CB);

        Add("c.slli", Opcode.Slli, 0x0002, 0xe003, CSlli);
        Add("c.fldsp", Opcode.Fld, 0x2002, 0xe003, CLdsp, E.Zcd);
        Reserved("c.lwsp (rd = 0)", 0x4002, 0xef83);
        Add("c.lwsp", Opcode.Lw, 0x4002, 0xe003, CLwsp);
        Reserved("c.ldsp (rd = 0)", 0x6002, 0xef83);
        Add("c.ldsp", Opcode.Ld, 0x6002, 0xe003, CLdsp);
        Reserved("c.jr (rs1 = 0)", 0x8002, 0xffff);
        Add("c.jr", Opcode.Jalr, 0x8002, 0xf07f, CJr);
        Add("c.mv", Opcode.Add, 0x8002, 0xf003, CMv);
        Add("c.ebreak", Opcode.Ebreak, 0x9002, 0xffff, None);
        Add("c.jalr", Opcode.Jalr, 0x9002, 0xf07f, CJalr);
        Add("c.add", Opcode.Add, 0x9002, 0xf003, CAdd);
        Add("c.fsdsp", Opcode.Fsd, 0xa002, 0xe003, CSdsp, E.Zcd);
        Add("c.swsp", Opcode.Sw, 0xc002, 0xe003, CSwsp);
        Add("c.sdsp", Opcode.Sd, 0xe002, 0xe003, CSdsp);

        void Add(string name, Opcode opcode, uint match, uint mask, OperandFormat format, E extension = E.Zca)
            => rows.Add(new(name, opcode, match, mask, format, "", extension, ClassOfBase(rows, opcode)));
        void Reserved(string name, uint match, uint mask)
            => rows.Add(new(name, Opcode.Illegal, match, mask, None, "", E.Reserved, SemanticsClass.Illegal));
    }

    private static SemanticsClass ClassOfBase(List<InstructionRow> rows, Opcode opcode)
    {
        foreach (var row in rows)
        {
            if (row.Opcode == opcode) return row.Class;
        }
        throw new InvalidOperationException($"no 32-bit row for {opcode}");
    }
}
