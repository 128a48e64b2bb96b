using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Optimizing.Lowering;

/// <summary>Lowers one instruction that computes an integer from integers.</summary>
internal delegate void IntegerLowering(RegionLowering lowering, in Instruction i);

// Integer arithmetic: one table row per instruction. Operands are i64 values by name.
internal sealed partial class RegionLowering
{
    private static readonly Dictionary<Opcode, IntegerLowering> IntegerOps = BuildIntegerOps();

    private static Dictionary<Opcode, IntegerLowering> BuildIntegerOps()
    {
        var t = new Dictionary<Opcode, IntegerLowering>
        {
            [Opcode.Lui] = static (RegionLowering l, in Instruction i) => l.Write(i.Rd, Constant(i.Imm)),
            [Opcode.Auipc] = static (RegionLowering l, in Instruction i) => l.Write(i.Rd, Constant(l._pc + (ulong)i.Imm)),
        };
        foreach ((Opcode register, Opcode immediate, string operation) in ((Opcode, Opcode, string)[])
        [
            (Opcode.Add, Opcode.Addi, "add"), (Opcode.Xor, Opcode.Xori, "xor"), (Opcode.Or, Opcode.Ori, "or"), (Opcode.And, Opcode.Andi, "and"),
        ])
        {
            t[register] = (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Op($"{operation} i64 {l.Read(i.Rs1)}, {l.Read(i.Rs2)}"));
            t[immediate] = (RegionLowering l, in Instruction i) =>
                l.Write(i.Rd, i.Imm == 0 && operation == "add" ? l.Read(i.Rs1) : l.Op($"{operation} i64 {l.Read(i.Rs1)}, {Constant(i.Imm)}"));
        }
        t[Opcode.Sub] = static (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Op($"sub i64 {l.Read(i.Rs1)}, {l.Read(i.Rs2)}"));
        t[Opcode.Mul] = static (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Op($"mul i64 {l.Read(i.Rs1)}, {l.Read(i.Rs2)}"));

        foreach ((Opcode register, Opcode immediate, string predicate) in ((Opcode, Opcode, string)[])[(Opcode.Slt, Opcode.Slti, "slt"), (Opcode.Sltu, Opcode.Sltiu, "ult")])
        {
            t[register] = (RegionLowering l, in Instruction i) => l.Flag(i.Rd, $"icmp {predicate} i64 {l.Read(i.Rs1)}, {l.Read(i.Rs2)}");
            t[immediate] = (RegionLowering l, in Instruction i) => l.Flag(i.Rd, $"icmp {predicate} i64 {l.Read(i.Rs1)}, {Constant(i.Imm)}");
        }

        foreach ((Opcode register, Opcode immediate, string operation) in ((Opcode, Opcode, string)[])
            [(Opcode.Sll, Opcode.Slli, "shl"), (Opcode.Srl, Opcode.Srli, "lshr"), (Opcode.Sra, Opcode.Srai, "ashr")])
        {
            t[register] = (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Op($"{operation} i64 {l.Read(i.Rs1)}, {l.Op($"and i64 {l.Read(i.Rs2)}, 63")}"));
            t[immediate] = (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Op($"{operation} i64 {l.Read(i.Rs1)}, {i.Imm & 63}"));
        }

        // 32 bits, sign-extended.
        foreach ((Opcode opcode, string operation) in ((Opcode, string)[])[(Opcode.Addw, "add"), (Opcode.Subw, "sub"), (Opcode.Mulw, "mul")])
            t[opcode] = (RegionLowering l, in Instruction i) => l.WriteW(i.Rd, l.Op($"{operation} i32 {l.Low(i.Rs1)}, {l.Low(i.Rs2)}"));
        t[Opcode.Addiw] = static (RegionLowering l, in Instruction i) => l.WriteW(i.Rd, i.Imm == 0 ? l.Low(i.Rs1) : l.Op($"add i32 {l.Low(i.Rs1)}, {Constant(i.Imm)}"));
        foreach ((Opcode register, Opcode immediate, string operation) in ((Opcode, Opcode, string)[])
            [(Opcode.Sllw, Opcode.Slliw, "shl"), (Opcode.Srlw, Opcode.Srliw, "lshr"), (Opcode.Sraw, Opcode.Sraiw, "ashr")])
        {
            t[register] = (RegionLowering l, in Instruction i) => l.WriteW(i.Rd, l.Op($"{operation} i32 {l.Low(i.Rs1)}, {l.Op($"and i32 {l.Low(i.Rs2)}, 31")}"));
            t[immediate] = (RegionLowering l, in Instruction i) => l.WriteW(i.Rd, l.Op($"{operation} i32 {l.Low(i.Rs1)}, {i.Imm & 31}"));
        }

        foreach ((Opcode opcode, string a, string b) in ((Opcode, string, string)[])[(Opcode.Mulh, "sext", "sext"), (Opcode.Mulhu, "zext", "zext"), (Opcode.Mulhsu, "sext", "zext")])
        {
            t[opcode] = (RegionLowering l, in Instruction i) =>
            {
                string product = l.Op($"mul i128 {l.Op($"{a} i64 {l.Read(i.Rs1)} to i128")}, {l.Op($"{b} i64 {l.Read(i.Rs2)} to i128")}");
                l.Write(i.Rd, l.Op($"trunc i128 {l.Op($"lshr i128 {product}, 64")} to i64"));
            };
        }

        // Division by zero and the one signed overflow have results, and must not reach LLVM's division.
        foreach ((Opcode opcode, bool isSigned, bool isWord, bool isRemainder) in ((Opcode, bool, bool, bool)[])
        [
            (Opcode.Div, true, false, false), (Opcode.Divu, false, false, false), (Opcode.Rem, true, false, true), (Opcode.Remu, false, false, true),
            (Opcode.Divw, true, true, false), (Opcode.Divuw, false, true, false), (Opcode.Remw, true, true, true), (Opcode.Remuw, false, true, true),
        ])
            t[opcode] = (RegionLowering l, in Instruction i) => l.Divide(i, isSigned, isWord, isRemainder);

        // Zba
        foreach ((Opcode opcode, int shift, bool isWord) in ((Opcode, int, bool)[])
        [
            (Opcode.Sh1add, 1, false), (Opcode.Sh2add, 2, false), (Opcode.Sh3add, 3, false), (Opcode.AddUw, 0, true),
            (Opcode.Sh1addUw, 1, true), (Opcode.Sh2addUw, 2, true), (Opcode.Sh3addUw, 3, true),
        ])
        {
            t[opcode] = (RegionLowering l, in Instruction i) =>
            {
                string a = l.Read(i.Rs1);
                if (isWord) a = l.Op($"and i64 {a}, 4294967295");
                if (shift != 0) a = l.Op($"shl i64 {a}, {shift}");
                l.Write(i.Rd, l.Op($"add i64 {a}, {l.Read(i.Rs2)}"));
            };
        }
        t[Opcode.SlliUw] = static (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Op($"shl i64 {l.Op($"and i64 {l.Read(i.Rs1)}, 4294967295")}, {i.Imm & 63}"));

        // Zbb
        foreach ((Opcode opcode, string operation, bool inner) in ((Opcode, string, bool)[])[(Opcode.Andn, "and", true), (Opcode.Orn, "or", true), (Opcode.Xnor, "xor", false)])
        {
            t[opcode] = (RegionLowering l, in Instruction i) => l.Write(i.Rd, inner
                ? l.Op($"{operation} i64 {l.Read(i.Rs1)}, {l.Op($"xor i64 {l.Read(i.Rs2)}, -1")}")
                : l.Op($"xor i64 {l.Op($"{operation} i64 {l.Read(i.Rs1)}, {l.Read(i.Rs2)}")}, -1"));
        }
        foreach ((Opcode opcode, string name) in ((Opcode, string)[])[(Opcode.Min, "smin"), (Opcode.Max, "smax"), (Opcode.Minu, "umin"), (Opcode.Maxu, "umax")])
            t[opcode] = (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Call64(name, l.Read(i.Rs1), l.Read(i.Rs2)));
        foreach ((Opcode opcode, string type, string extend) in ((Opcode, string, string)[])[(Opcode.SextB, "i8", "sext"), (Opcode.SextH, "i16", "sext"), (Opcode.ZextH, "i16", "zext")])
            t[opcode] = (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Op($"{extend} {type} {l.Op($"trunc i64 {l.Read(i.Rs1)} to {type}")} to i64"));
        foreach ((Opcode opcode, string name, bool isWord) in ((Opcode, string, bool)[])
            [(Opcode.Clz, "ctlz", false), (Opcode.Clzw, "ctlz", true), (Opcode.Ctz, "cttz", false), (Opcode.Ctzw, "cttz", true), (Opcode.Cpop, "ctpop", false), (Opcode.Cpopw, "ctpop", true)])
        {
            t[opcode] = (RegionLowering l, in Instruction i) =>
            {
                string type = isWord ? "i32" : "i64", value = isWord ? l.Low(i.Rs1) : l.Read(i.Rs1);
                bool counts = name == "ctpop";
                l.Declare($"{type} @llvm.{name}.{type}({type}{(counts ? "" : ", i1")})");
                string result = l.Op($"call {type} @llvm.{name}.{type}({type} {value}{(counts ? "" : ", i1 false")})");
                l.Write(i.Rd, isWord ? l.Op($"zext i32 {result} to i64") : result);
            };
        }
        t[Opcode.Rev8] = static (RegionLowering l, in Instruction i) =>
        {
            l.Declare("i64 @llvm.bswap.i64(i64)");
            l.Write(i.Rd, l.Op($"call i64 @llvm.bswap.i64(i64 {l.Read(i.Rs1)})"));
        };
        t[Opcode.OrcB] = static (RegionLowering l, in Instruction i) =>
        {
            const long low = 0x7f7f7f7f7f7f7f7f;
            string value = l.Read(i.Rs1);
            string carried = l.Op($"add i64 {l.Op($"and i64 {value}, {low}")}, {low}");
            string tops = l.Op($"and i64 {l.Op($"or i64 {carried}, {value}")}, {~low}");
            l.Write(i.Rd, l.Op($"sub i64 {l.Op($"shl i64 {tops}, 1")}, {l.Op($"lshr i64 {tops}, 7")}"));
        };
        t[Opcode.Rol] = static (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Rotate("l", "i64", l.Read(i.Rs1), l.Read(i.Rs2)));
        t[Opcode.Ror] = static (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Rotate("r", "i64", l.Read(i.Rs1), l.Read(i.Rs2)));
        t[Opcode.Rori] = static (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Rotate("r", "i64", l.Read(i.Rs1), Constant((long)(i.Imm & 63))));
        t[Opcode.Rolw] = static (RegionLowering l, in Instruction i) => l.WriteW(i.Rd, l.Rotate("l", "i32", l.Low(i.Rs1), l.Low(i.Rs2)));
        t[Opcode.Rorw] = static (RegionLowering l, in Instruction i) => l.WriteW(i.Rd, l.Rotate("r", "i32", l.Low(i.Rs1), l.Low(i.Rs2)));
        t[Opcode.Roriw] = static (RegionLowering l, in Instruction i) => l.WriteW(i.Rd, l.Rotate("r", "i32", l.Low(i.Rs1), Constant((long)(i.Imm & 31))));

        // Zbs
        foreach ((Opcode register, Opcode immediate, int kind) in ((Opcode, Opcode, int)[])
            [(Opcode.Bclr, Opcode.Bclri, 0), (Opcode.Bext, Opcode.Bexti, 1), (Opcode.Binv, Opcode.Binvi, 2), (Opcode.Bset, Opcode.Bseti, 3)])
        {
            t[register] = (RegionLowering l, in Instruction i) => l.Bit(i.Rd, kind, l.Read(i.Rs1), l.Op($"and i64 {l.Read(i.Rs2)}, 63"));
            t[immediate] = (RegionLowering l, in Instruction i) => l.Bit(i.Rd, kind, l.Read(i.Rs1), Constant((long)(i.Imm & 63)));
        }

        // Zicond
        foreach ((Opcode opcode, string predicate) in ((Opcode, string)[])[(Opcode.CzeroEqz, "eq"), (Opcode.CzeroNez, "ne")])
            t[opcode] = (RegionLowering l, in Instruction i) => l.Write(i.Rd, l.Op($"select i1 {l.Op($"icmp {predicate} i64 {l.Read(i.Rs2)}, 0")}, i64 0, i64 {l.Read(i.Rs1)}"));
        return t;
    }

    /// <summary>The low half of a register as an i32.</summary>
    private string Low(int r) => r == 0 ? "0" : Op($"trunc i64 {Read(r)} to i32");

    private void WriteW(int r, string value) => Write(r, Op($"sext i32 {value} to i64"));

    private void Flag(int r, string comparison) => Write(r, Op($"zext i1 {Op(comparison)} to i64"));

    private string Call64(string name, string a, string b)
    {
        Declare($"i64 @llvm.{name}.i64(i64, i64)");
        return Op($"call i64 @llvm.{name}.i64(i64 {a}, i64 {b})");
    }

    private string Rotate(string direction, string type, string value, string amount)
    {
        Declare($"{type} @llvm.fsh{direction}.{type}({type}, {type}, {type})");
        return Op($"call {type} @llvm.fsh{direction}.{type}({type} {value}, {type} {value}, {type} {amount})");
    }

    private void Bit(int rd, int kind, string value, string position)
    {
        if (kind == 1)
        {
            Write(rd, Op($"and i64 {Op($"lshr i64 {value}, {position}")}, 1"));
            return;
        }
        string mask = Op($"shl i64 1, {position}");
        if (kind == 0) mask = Op($"xor i64 {mask}, -1");
        Write(rd, Op($"{(kind == 0 ? "and" : kind == 2 ? "xor" : "or")} i64 {value}, {mask}"));
    }

    private void Divide(in Instruction i, bool isSigned, bool isWord, bool isRemainder)
    {
        string type = isWord ? "i32" : "i64", a = isWord ? Low(i.Rs1) : Read(i.Rs1), b = isWord ? Low(i.Rs2) : Read(i.Rs2);
        string isZero = Op($"icmp eq {type} {b}, 0"), odd = isZero;
        string overflow = "false";
        if (isSigned)
        {
            string minimum = Constant(isWord ? int.MinValue : long.MinValue);
            overflow = Op($"and i1 {Op($"icmp eq {type} {a}, {minimum}")}, {Op($"icmp eq {type} {b}, -1")}");
            odd = Op($"or i1 {isZero}, {overflow}");
        }
        string divisor = Op($"select i1 {odd}, {type} 1, {type} {b}");
        string result = Op($"{(isSigned ? "s" : "u")}{(isRemainder ? "rem" : "div")} {type} {a}, {divisor}");
        // By one, the quotient is a and the remainder 0: what overflow gives. By zero they are -1 and a.
        result = Op($"select i1 {isZero}, {type} {(isRemainder ? a : "-1")}, {type} {result}");
        if (isWord) WriteW(i.Rd, result);
        else Write(i.Rd, result);
    }
}
