using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Float;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Quick;

// Guest instruction -> x86-64. What has no row in the table is the full pipeline's: arithmetic on floating-point numbers, atomics, divisions, CSRs.
internal sealed unsafe partial class QuickTranslator
{
    private const Gpr Rax = RegisterMap.Scratch0, Rcx = RegisterMap.Scratch1;

    private enum Kind : byte
    {
        None, AddImmediate, AddImmediateW, Immediate, ShiftImmediate, ShiftImmediateW, SetImmediate, Register, RegisterW, Shift, ShiftW, Set, Multiply, MultiplyW,
        Load, Store, Branch, Lui, Auipc, Jal, Jalr, Fence, Nothing, Leave, FloatLoad, FloatStore, FloatToInteger, IntegerToFloat, FloatMove,
    }

    private static readonly uint[] Lowerings = BuildLowerings();

    /// <summary>By opcode: kind | argument &lt;&lt; 8 | flag &lt;&lt; 16.</summary>
    private static uint[] BuildLowerings()
    {
        var table = new uint[(int)Opcode.Count];
        void Add(Opcode opcode, Kind kind, int argument = 0, bool flag = false) => table[(int)opcode] = (uint)kind | (uint)argument << 8 | (flag ? 1u << 16 : 0);
        Add(Opcode.Addi, Kind.AddImmediate);
        Add(Opcode.Addiw, Kind.AddImmediateW);
        Add(Opcode.Andi, Kind.Immediate, (int)AluOp.And);
        Add(Opcode.Ori, Kind.Immediate, (int)AluOp.Or);
        Add(Opcode.Xori, Kind.Immediate, (int)AluOp.Xor);
        Add(Opcode.Slli, Kind.ShiftImmediate, (int)ShiftOp.Shl);
        Add(Opcode.Srli, Kind.ShiftImmediate, (int)ShiftOp.Shr);
        Add(Opcode.Srai, Kind.ShiftImmediate, (int)ShiftOp.Sar);
        Add(Opcode.Slliw, Kind.ShiftImmediateW, (int)ShiftOp.Shl);
        Add(Opcode.Srliw, Kind.ShiftImmediateW, (int)ShiftOp.Shr);
        Add(Opcode.Sraiw, Kind.ShiftImmediateW, (int)ShiftOp.Sar);
        Add(Opcode.Slti, Kind.SetImmediate, (int)Cond.L);
        Add(Opcode.Sltiu, Kind.SetImmediate, (int)Cond.B);
        Add(Opcode.Add, Kind.Register, (int)AluOp.Add, true);
        Add(Opcode.Sub, Kind.Register, (int)AluOp.Sub);
        Add(Opcode.And, Kind.Register, (int)AluOp.And, true);
        Add(Opcode.Or, Kind.Register, (int)AluOp.Or, true);
        Add(Opcode.Xor, Kind.Register, (int)AluOp.Xor, true);
        Add(Opcode.Addw, Kind.RegisterW, (int)AluOp.Add, true);
        Add(Opcode.Subw, Kind.RegisterW, (int)AluOp.Sub);
        Add(Opcode.Sll, Kind.Shift, (int)ShiftOp.Shl);
        Add(Opcode.Srl, Kind.Shift, (int)ShiftOp.Shr);
        Add(Opcode.Sra, Kind.Shift, (int)ShiftOp.Sar);
        Add(Opcode.Sllw, Kind.ShiftW, (int)ShiftOp.Shl);
        Add(Opcode.Srlw, Kind.ShiftW, (int)ShiftOp.Shr);
        Add(Opcode.Sraw, Kind.ShiftW, (int)ShiftOp.Sar);
        Add(Opcode.Slt, Kind.Set, (int)Cond.L);
        Add(Opcode.Sltu, Kind.Set, (int)Cond.B);
        Add(Opcode.Mul, Kind.Multiply);
        Add(Opcode.Mulw, Kind.MultiplyW);
        Add(Opcode.Lb, Kind.Load, 1);
        Add(Opcode.Lh, Kind.Load, 2);
        Add(Opcode.Lw, Kind.Load, 4);
        Add(Opcode.Ld, Kind.Load, 8);
        Add(Opcode.Lbu, Kind.Load, 1, true);
        Add(Opcode.Lhu, Kind.Load, 2, true);
        Add(Opcode.Lwu, Kind.Load, 4, true);
        Add(Opcode.Sb, Kind.Store, 1);
        Add(Opcode.Sh, Kind.Store, 2);
        Add(Opcode.Sw, Kind.Store, 4);
        Add(Opcode.Sd, Kind.Store, 8);
        Add(Opcode.Beq, Kind.Branch, (int)Cond.E);
        Add(Opcode.Bne, Kind.Branch, (int)Cond.Ne);
        Add(Opcode.Blt, Kind.Branch, (int)Cond.L);
        Add(Opcode.Bge, Kind.Branch, (int)Cond.Ge);
        Add(Opcode.Bltu, Kind.Branch, (int)Cond.B);
        Add(Opcode.Bgeu, Kind.Branch, (int)Cond.Ae);
        Add(Opcode.Lui, Kind.Lui);
        Add(Opcode.Auipc, Kind.Auipc);
        Add(Opcode.Jal, Kind.Jal);
        Add(Opcode.Jalr, Kind.Jalr);
        Add(Opcode.Fence, Kind.Fence);
        Add(Opcode.FenceTso, Kind.Nothing);
        Add(Opcode.Ecall, Kind.Leave, (int)BlockExit.Ecall);
        Add(Opcode.FenceI, Kind.Leave, (int)BlockExit.FenceI);
        Add(Opcode.Fld, Kind.FloatLoad, 8);
        Add(Opcode.Flw, Kind.FloatLoad, 4);
        Add(Opcode.Fsd, Kind.FloatStore, 8);
        Add(Opcode.Fsw, Kind.FloatStore, 4);
        Add(Opcode.FmvXD, Kind.FloatToInteger, 8);
        Add(Opcode.FmvXW, Kind.FloatToInteger, 4);
        Add(Opcode.FmvDX, Kind.IntegerToFloat, 8);
        Add(Opcode.FmvWX, Kind.IntegerToFloat, 4);
        Add(Opcode.FsgnjD, Kind.FloatMove);
        return table;
    }

    /// <summary>Whether the code that an instruction becomes depends on nothing but its bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsTemplate(uint lowering) =>
        (1u << (byte)lowering & (1u << (int)Kind.Branch | 1u << (int)Kind.Auipc | 1u << (int)Kind.Jal | 1u << (int)Kind.Jalr | 1u << (int)Kind.Leave)) == 0;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private Flow Lower(in Instruction i, uint lowering, ulong pc, ulong next, StubTable stubs)
    {
        int rd = i.Rd, rs1 = i.Rs1, rs2 = i.Rs2, imm = i.Imm;
        int argument = (int)(lowering >> 8 & 0xFF);
        bool flag = lowering >> 16 != 0;
        int known = _knownRegister;
        _knownRegister = 0;
        Gpr d = _host[rd] >= 0 ? (Gpr)_host[rd] : Rax;
        switch ((Kind)(byte)lowering)
        {
            case Kind.Load:
                _asm.Load(d, Address(rs1, imm), argument, flag);
                if (d == Rax && rd != 0) _asm.Mov(RegisterMap.Home(rd), Rax);
                break;
            case Kind.Store: Store(rs1, rs2, imm, argument); break;
            case Kind.AddImmediate: AddImmediate(rd, rs1, imm); break;
            case Kind.AddImmediateW:
                if (rd == 0) break;
                if (rs1 == 0) Constant(rd, imm);
                else
                {
                    if (imm == 0)
                    {
                        if (_host[rs1] >= 0) _asm.Movsxd(d, (Gpr)_host[rs1]);
                        else _asm.Movsxd(d, RegisterMap.Home(rs1));
                    }
                    else
                    {
                        if (rs1 != rd && _host[rs1] >= 0) _asm.Lea32(d, Mem.At((Gpr)_host[rs1], imm));
                        else
                        {
                            Copy32(d, rs1);
                            _asm.Alu(AluOp.Add, Size.S32, d, imm);
                        }
                        _asm.Movsxd(d, d);
                    }
                    Put(rd, d);
                }
                break;
            case Kind.Immediate:
                if (rd == 0) break;
                if (rd == rs1 && d == Rax) _asm.Alu((AluOp)argument, Size.S64, RegisterMap.Home(rd), imm);
                else
                {
                    Copy(d, rs1);
                    _asm.Alu((AluOp)argument, Size.S64, d, imm);
                    Put(rd, d);
                }
                break;
            case Kind.ShiftImmediate:
                if (rd == 0) break;
                Copy(d, rs1);
                if (imm != 0) _asm.Shift((ShiftOp)argument, Size.S64, d, imm & 63);
                Put(rd, d);
                break;
            case Kind.ShiftImmediateW:
                if (rd == 0) break;
                Copy32(d, rs1);
                if (imm != 0) _asm.Shift((ShiftOp)argument, Size.S32, d, imm & 31);
                _asm.Movsxd(d, d);
                Put(rd, d);
                break;
            case Kind.SetImmediate:
                if (rd == 0) break;
                if (rs1 == 0)
                {
                    _asm.Zero(Rax);
                    _asm.Alu(AluOp.Cmp, Size.S64, Rax, imm);
                }
                else if (_host[rs1] >= 0) _asm.Alu(AluOp.Cmp, Size.S64, (Gpr)_host[rs1], imm);
                else _asm.Alu(AluOp.Cmp, Size.S64, RegisterMap.Home(rs1), imm);
                Set(rd, d, (Cond)argument);
                break;
            case Kind.Register: if (rd != 0) Binary((AluOp)argument, flag, rd, rs1, rs2); break;
            case Kind.RegisterW:
                if (rd == 0) break;
                if (flag && rs2 == rd) (rs1, rs2) = (rs2, rs1);
                if (rs2 == rd && rs1 != rd) d = Rax;
                Copy32(d, rs1);
                if (_host[rs2] >= 0) _asm.Alu((AluOp)argument, Size.S32, d, (Gpr)_host[rs2]);
                else if (rs2 != 0) _asm.Alu((AluOp)argument, Size.S32, d, RegisterMap.Home(rs2));
                Gpr w = _host[rd] >= 0 ? (Gpr)_host[rd] : d;
                _asm.Movsxd(w, d);
                Put(rd, w);
                break;
            case Kind.Shift or Kind.ShiftW: if (rd != 0) Shift((ShiftOp)argument, (Kind)(byte)lowering == Kind.ShiftW, rd, rs1, rs2, d); break;
            case Kind.Set:
                if (rd == 0) break;
                Compare(rs1, rs2);
                Set(rd, d, (Cond)argument);
                break;
            case Kind.Multiply or Kind.MultiplyW:
                if (rd == 0) break;
                Copy(Rax, rs1);
                if (_host[rs2] >= 0) _asm.Imul(Rax, (Gpr)_host[rs2]);
                else if (rs2 != 0) _asm.Imul(Rax, RegisterMap.Home(rs2));
                else _asm.Zero(Rax);
                if ((Kind)(byte)lowering == Kind.MultiplyW) _asm.Movsxd(Rax, Rax);
                Put(rd, Rax);
                break;
            case Kind.Branch:
                Compare(rs1, rs2);
                if (imm > i.Length && imm <= i.Length + ShortSkip && _labelCount < MostLabels)
                {
                    GoTo((Cond)argument, pc + (ulong)imm);
                    break;
                }
                ref ExitPlan taken = ref NewExit(pc + (ulong)imm, BlockExit.Direct);
                taken.Field = _asm.JccPatchable((Cond)argument, ref taken.Stub);
                return Flow.Branch;
            case Kind.Lui:
                Constant(rd, imm);
                break;
            case Kind.Auipc:
                Constant(rd, (long)pc + imm);
                Know(rd, pc + (ulong)imm);
                break;
            case Kind.Jal:
                Constant(rd, (long)next);
                Leave(pc + (ulong)imm);
                return Flow.End;
            case Kind.Jalr:
                if (known != 0 && known == rs1)
                {
                    Constant(rd, (long)next);
                    Leave(_knownValue + (ulong)imm & ~1UL);
                    return Flow.End;
                }
                if (_host[rs1] >= 0 && imm != 0) _asm.Lea(Rax, Mem.At((Gpr)_host[rs1], imm));
                else
                {
                    Copy(Rax, rs1);
                    if (imm != 0) _asm.Add(Rax, imm);
                }
                Constant(rd, (long)next);
                TableJump.Emit(_asm, stubs);
                return Flow.End;
            case Kind.Fence:
                if ((i.AqRl & 0x50) != 0 && (i.AqRl & 0x0A) != 0)
                {
                    _asm.Zero(Rax);
                    _asm.LockAlu(AluOp.Or, Size.S32, Mem.At(Gpr.Rsp), Rax);
                }
                break;
            case Kind.Nothing: break;
            case Kind.Leave:
                EmitStub(ref NewExit(pc, (BlockExit)argument), stubs);
                return Flow.End;
            case Kind.FloatLoad: FloatLoad(rd, rs1, imm, argument); break;
            case Kind.FloatStore: FloatStore(rs1, rs2, imm, argument); break;
            case Kind.FloatToInteger: if (rd != 0) FloatToInteger(rd, rs1, argument, d); break;
            case Kind.IntegerToFloat: IntegerToFloat(rd, rs1, argument); break;
            case Kind.FloatMove: FloatSign(rd, rs1, rs2); break;
        }
        return Flow.Next;
    }

    private void Know(int register, ulong value) => (_knownRegister, _knownValue) = (register, value);

    /// <summary>d = the register's value. Zero clobbers the flags.</summary>
    private void Copy(Gpr d, int g)
    {
        if (_host[g] >= 0)
        {
            if ((Gpr)_host[g] != d) _asm.Mov(d, (Gpr)_host[g]);
        }
        else if (g == 0) _asm.Zero(d);
        else _asm.Mov(d, RegisterMap.Home(g));
    }

    private void Copy32(Gpr d, int g)
    {
        if (_host[g] >= 0)
        {
            if ((Gpr)_host[g] != d) _asm.Mov32(d, (Gpr)_host[g]);
        }
        else if (g == 0) _asm.Zero(d);
        else _asm.Mov32(d, RegisterMap.Home(g));
    }

    /// <summary>The register's own, or the scratch register with its value.</summary>
    private Gpr Use(int g, Gpr scratch)
    {
        if (_host[g] >= 0) return (Gpr)_host[g];
        if (g == 0) _asm.Zero(scratch);
        else _asm.Mov(scratch, RegisterMap.Home(g));
        return scratch;
    }

    private void Put(int rd, Gpr d)
    {
        if (_host[rd] < 0) _asm.Mov(RegisterMap.Home(rd), d);
        else if ((Gpr)_host[rd] != d) _asm.Mov((Gpr)_host[rd], d);
    }

    /// <summary>Uses rcx; rax and the flags stay.</summary>
    private void Constant(int rd, long value)
    {
        if (rd == 0) return;
        if (_host[rd] >= 0) _asm.MovImmediate((Gpr)_host[rd], value);
        else if (value == (int)value) _asm.Mov(RegisterMap.Home(rd), (int)value);
        else
        {
            _asm.MovImmediate(Rcx, value);
            _asm.Mov(RegisterMap.Home(rd), Rcx);
        }
    }

    private Mem Address(int rs1, int imm) => rs1 == 0 ? Mem.At(RegisterMap.MemoryBase, imm) : Mem.At(RegisterMap.MemoryBase, Use(rs1, Rax), 0, imm);

    private void Store(int rs1, int rs2, int imm, int width)
    {
        Gpr s = Use(rs2, Rcx);
        Mem m = Address(rs1, imm);
        switch (width)
        {
            case 1: _asm.Mov8(m, s); break;
            case 2: _asm.Mov16(m, s); break;
            case 4: _asm.Mov32(m, s); break;
            default: _asm.Mov(m, s); break;
        }
    }

    private void AddImmediate(int rd, int rs1, int imm)
    {
        if (rd == 0) return;
        int hd = _host[rd], hs = _host[rs1];
        if (rs1 == 0) Constant(rd, imm);
        else if (rd == rs1)
        {
            if (imm == 0) return;
            if (hd >= 0) _asm.Alu(AluOp.Add, Size.S64, (Gpr)hd, imm);
            else _asm.Alu(AluOp.Add, Size.S64, RegisterMap.Home(rd), imm);
        }
        else if (imm == 0) Move(rd, rs1);
        else
        {
            Gpr d = hd >= 0 ? (Gpr)hd : Rax;
            if (hs >= 0) _asm.Lea(d, Mem.At((Gpr)hs, imm));
            else
            {
                _asm.Mov(d, RegisterMap.Home(rs1));
                _asm.Alu(AluOp.Add, Size.S64, d, imm);
            }
            Put(rd, d);
        }
    }

    private void Move(int rd, int s)
    {
        if (_host[rd] >= 0) Copy((Gpr)_host[rd], s);
        else _asm.Mov(RegisterMap.Home(rd), Use(s, Rax));
    }

    private void Binary(AluOp op, bool commutes, int rd, int a, int b)
    {
        if (op == AluOp.Add && (a == 0 || b == 0))
        {
            Move(rd, a | b);
            return;
        }
        if (commutes && b == rd) (a, b) = (b, a);
        int hd = _host[rd], ha = _host[a], hb = _host[b];
        if (hd < 0 && rd == a && hb >= 0)
        {
            _asm.Alu(op, Size.S64, RegisterMap.Home(rd), (Gpr)hb);
            return;
        }
        if (op == AluOp.Add && rd != a && ha >= 0 && hb >= 0)
        {
            Gpr sum = hd >= 0 ? (Gpr)hd : Rax;
            _asm.Lea(sum, Mem.At((Gpr)ha, (Gpr)hb, 0));
            Put(rd, sum);
            return;
        }
        Gpr d = hd < 0 || (b == rd && a != rd) ? Rax : (Gpr)hd;
        Copy(d, a);
        if (hb >= 0) _asm.Alu(op, Size.S64, d, (Gpr)hb);
        else if (b != 0) _asm.Alu(op, Size.S64, d, RegisterMap.Home(b));
        else if (op == AluOp.And) _asm.Zero(d);
        Put(rd, d);
    }

    private void Shift(ShiftOp op, bool word, int rd, int a, int b, Gpr d)
    {
        if (HostFeatures.HasBmi2)
        {
            Gpr count = Use(b, Rcx), s = Use(a, Rax);
            switch (op)
            {
                case ShiftOp.Shl when word: _asm.Shlx32(d, s, count); break;
                case ShiftOp.Shl: _asm.Shlx(d, s, count); break;
                case ShiftOp.Shr when word: _asm.Shrx32(d, s, count); break;
                case ShiftOp.Shr: _asm.Shrx(d, s, count); break;
                default:
                    if (word) _asm.Sarx32(d, s, count);
                    else _asm.Sarx(d, s, count);
                    break;
            }
        }
        else
        {
            Copy(Rcx, b);
            Copy(Rax, a);
            _asm.ShiftCl(op, word ? Size.S32 : Size.S64, Rax);
            d = Rax;
        }
        if (word) _asm.Movsxd(d, d);
        Put(rd, d);
    }

    /// <summary>rd = whether the flags say so.</summary>
    private void Set(int rd, Gpr d, Cond condition)
    {
        _asm.Setcc(condition, Rax);
        _asm.Movzx8(d, Rax);
        Put(rd, d);
    }

    private void Compare(int a, int b)
    {
        int ha = _host[a], hb = _host[b];
        if (ha < 0 && (a == 0 || (hb < 0 && b != 0)))
        {
            Copy(Rax, a);
            ha = (int)Rax;
        }
        if (ha >= 0)
        {
            if (hb >= 0) _asm.Alu(AluOp.Cmp, Size.S64, (Gpr)ha, (Gpr)hb);
            else if (b == 0) _asm.Test((Gpr)ha, (Gpr)ha);
            else _asm.Alu(AluOp.Cmp, Size.S64, (Gpr)ha, RegisterMap.Home(b));
        }
        else if (hb >= 0) _asm.Alu(AluOp.Cmp, Size.S64, RegisterMap.Home(a), (Gpr)hb);
        else _asm.Alu(AluOp.Cmp, Size.S64, RegisterMap.Home(a), 0);
    }

    // Floating-point registers move, nothing is computed with them here. Between blocks they are canonical and boxed.

    private const Xmm T0 = Xmm.Xmm0;

    private static int FloatHost(int f) => RegisterMap.FloatHost[f];

    private void Vector(VecOp op, Xmm d, Mem m)
    {
        if (HostFeatures.HasAvx) _asm.Vex(op, d, m);
        else _asm.Sse(op, d, m);
    }

    private void Box(Xmm d)
    {
        if (HostFeatures.HasAvx) _asm.Vex(VecOp.Orps, d, d, FloatSlots.Box);
        else _asm.Sse(VecOp.Orps, d, FloatSlots.Box);
    }

    private void FloatLoad(int rd, int rs1, int imm, int width)
    {
        Mem m = Address(rs1, imm);
        if (width == 8 && FloatHost(rd) < 0)
        {
            _asm.Mov(Rax, m);
            _asm.Mov(RegisterMap.Home(32 + rd), Rax);
            return;
        }
        Xmm d = FloatHost(rd) < 0 ? T0 : (Xmm)FloatHost(rd);
        Vector(width == 8 ? VecOp.Movsd : VecOp.Movss, d, m);
        if (width == 4) Box(d);
        if (d == T0) Vector(VecOp.MovsdStore, T0, RegisterMap.Home(32 + rd));
    }

    private void FloatStore(int rs1, int rs2, int imm, int width)
    {
        if (FloatHost(rs2) >= 0)
        {
            Vector(width == 8 ? VecOp.MovsdStore : VecOp.MovssStore, (Xmm)FloatHost(rs2), Address(rs1, imm));
            return;
        }
        _asm.Mov(Rcx, RegisterMap.Home(32 + rs2));
        Mem m = Address(rs1, imm);
        if (width == 8) _asm.Mov(m, Rcx);
        else _asm.Mov32(m, Rcx);
    }

    private void FloatToInteger(int rd, int rs1, int width, Gpr d)
    {
        Size size = width == 8 ? Size.S64 : Size.S32;
        if (FloatHost(rs1) < 0) _asm.Mov(d, RegisterMap.Home(32 + rs1));
        else if (HostFeatures.HasAvx) _asm.Vex(VecGprOp.MovTo, size, d, (Xmm)FloatHost(rs1));
        else _asm.Sse(VecGprOp.MovTo, size, d, (Xmm)FloatHost(rs1));
        if (width == 4) _asm.Movsxd(d, d);
        Put(rd, d);
    }

    private void IntegerToFloat(int rd, int rs1, int width)
    {
        Gpr s = Use(rs1, Rax);
        Xmm d = FloatHost(rd) < 0 ? T0 : (Xmm)FloatHost(rd);
        Size size = width == 8 ? Size.S64 : Size.S32;
        if (HostFeatures.HasAvx) _asm.Vex(VecGprOp.MovFrom, size, d, s);
        else _asm.Sse(VecGprOp.MovFrom, size, d, s);
        if (width == 4) Box(d);
        if (d == T0) Vector(VecOp.MovsdStore, T0, RegisterMap.Home(32 + rd));
    }

    /// <summary>fsgnj.d; of one register twice, which is how registers are moved.</summary>
    private void FloatSign(int rd, int rs1, int rs2)
    {
        Bits(rs1, Rax);
        if (rs1 != rs2)
        {
            Bits(rs2, Rcx);
            _asm.Shift(ShiftOp.Shr, Size.S64, Rcx, 63);
            _asm.Alu(AluOp.Add, Size.S64, Rax, Rax);
            _asm.Shift(ShiftOp.Shr, Size.S64, Rcx, 1); // the sign, in the carry
            _asm.Raw([0x48, 0xD1, 0xD8]); // rcr rax, 1
        }
        if (FloatHost(rd) < 0) _asm.Mov(RegisterMap.Home(32 + rd), Rax);
        else if (HostFeatures.HasAvx) _asm.Vex(VecGprOp.MovFrom, Size.S64, (Xmm)FloatHost(rd), Rax);
        else _asm.Sse(VecGprOp.MovFrom, Size.S64, (Xmm)FloatHost(rd), Rax);
    }

    private void Bits(int f, Gpr d)
    {
        if (FloatHost(f) < 0) _asm.Mov(d, RegisterMap.Home(32 + f));
        else if (HostFeatures.HasAvx) _asm.Vex(VecGprOp.MovTo, Size.S64, d, (Xmm)FloatHost(f));
        else _asm.Sse(VecGprOp.MovTo, Size.S64, d, (Xmm)FloatHost(f));
    }
}
