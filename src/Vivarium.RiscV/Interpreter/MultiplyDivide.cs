using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>The M extension. Division never traps (manual, table "Semantics for division by zero and division overflow").</summary>
internal static unsafe class MultiplyDivide
{
    public static void AddTo(SemanticsTable t)
    {
        t[Opcode.Mul] = &Mul;
        t[Opcode.Mulh] = &Mulh;
        t[Opcode.Mulhsu] = &Mulhsu;
        t[Opcode.Mulhu] = &Mulhu;
        t[Opcode.Div] = &Div;
        t[Opcode.Divu] = &Divu;
        t[Opcode.Rem] = &Rem;
        t[Opcode.Remu] = &Remu;
        t[Opcode.Mulw] = &Mulw;
        t[Opcode.Divw] = &Divw;
        t[Opcode.Divuw] = &Divuw;
        t[Opcode.Remw] = &Remw;
        t[Opcode.Remuw] = &Remuw;
    }

    private static bool Mul(ref Core c, in Instruction i) => c.SetX(i.Rd, c.X(i.Rs1) * c.X(i.Rs2));

    private static bool Mulh(ref Core c, in Instruction i) => c.SetX(i.Rd, (ulong)Math.BigMul((long)c.X(i.Rs1), (long)c.X(i.Rs2), out _));

    private static bool Mulhu(ref Core c, in Instruction i) => c.SetX(i.Rd, Math.BigMul(c.X(i.Rs1), c.X(i.Rs2), out _));

    /// <summary>Signed times unsigned: as unsigned, a negative a is a + 2^64, so the upper half is too large by b.</summary>
    private static bool Mulhsu(ref Core c, in Instruction i)
    {
        var (a, b) = (c.X(i.Rs1), c.X(i.Rs2));
        return c.SetX(i.Rd, Math.BigMul(a, b, out _) - ((long)a < 0 ? b : 0));
    }

    // By zero: quotient all ones, remainder the dividend. Overflow (minimum / -1): quotient the dividend, remainder 0.

    private static bool Div(ref Core c, in Instruction i)
    {
        var (a, b) = ((long)c.X(i.Rs1), (long)c.X(i.Rs2));
        return c.SetX(i.Rd, (ulong)(b == 0 ? -1 : b == -1 ? unchecked(-a) : a / b));
    }

    private static bool Divu(ref Core c, in Instruction i)
    {
        var (a, b) = (c.X(i.Rs1), c.X(i.Rs2));
        return c.SetX(i.Rd, b == 0 ? ulong.MaxValue : a / b);
    }

    private static bool Rem(ref Core c, in Instruction i)
    {
        var (a, b) = ((long)c.X(i.Rs1), (long)c.X(i.Rs2));
        return c.SetX(i.Rd, (ulong)(b == 0 ? a : b == -1 ? 0 : a % b));
    }

    private static bool Remu(ref Core c, in Instruction i)
    {
        var (a, b) = (c.X(i.Rs1), c.X(i.Rs2));
        return c.SetX(i.Rd, b == 0 ? a : a % b);
    }

    private static bool Mulw(ref Core c, in Instruction i) => c.SetW(i.Rd, (uint)c.X(i.Rs1) * (uint)c.X(i.Rs2));

    private static bool Divw(ref Core c, in Instruction i)
    {
        var (a, b) = ((int)c.X(i.Rs1), (int)c.X(i.Rs2));
        return c.SetW(i.Rd, (uint)(b == 0 ? -1 : b == -1 ? unchecked(-a) : a / b));
    }

    private static bool Divuw(ref Core c, in Instruction i)
    {
        var (a, b) = ((uint)c.X(i.Rs1), (uint)c.X(i.Rs2));
        return c.SetW(i.Rd, b == 0 ? uint.MaxValue : a / b);
    }

    private static bool Remw(ref Core c, in Instruction i)
    {
        var (a, b) = ((int)c.X(i.Rs1), (int)c.X(i.Rs2));
        return c.SetW(i.Rd, (uint)(b == 0 ? a : b == -1 ? 0 : a % b));
    }

    private static bool Remuw(ref Core c, in Instruction i)
    {
        var (a, b) = ((uint)c.X(i.Rs1), (uint)c.X(i.Rs2));
        return c.SetW(i.Rd, b == 0 ? a : a % b);
    }
}
