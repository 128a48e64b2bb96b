using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Interpreter;

/// <summary>The instructions of the Privileged Architecture and Svinval. All are illegal in process mode, which has no unit; the rest of their
/// rules is the unit's.</summary>
internal static unsafe class PrivilegedInstructions
{
    public static void AddTo(SemanticsTable t)
    {
        t[Opcode.Mret] = &Mret;
        t[Opcode.Sret] = &Sret;
        t[Opcode.Wfi] = &Wfi;
        t[Opcode.SfenceVma] = &SfenceVma;
        t[Opcode.SinvalVma] = &SfenceVma; // invalidating at once is allowed
        t[Opcode.SfenceWInval] = &SfenceOrder;
        t[Opcode.SfenceInvalIr] = &SfenceOrder;
    }

    private static bool Mret(ref Core c, in Instruction i)
    {
        if (c.Unit is not { } unit || !unit.ReturnFromMachine(out var pc)) return c.Illegal(i);
        c.NextPc = pc;
        return true;
    }

    private static bool Sret(ref Core c, in Instruction i)
    {
        if (c.Unit is not { } unit || !unit.ReturnFromSupervisor(out var pc)) return c.Illegal(i);
        c.NextPc = pc;
        return true;
    }

    private static bool Wfi(ref Core c, in Instruction i) => (c.Unit is { } unit && unit.WaitForInterrupt()) || c.Illegal(i);

    /// <summary>rs1 is the address and rs2 the ASID; x0 means all.</summary>
    private static bool SfenceVma(ref Core c, in Instruction i) =>
        (c.Unit is { } unit && unit.FenceVirtualMemory(i.Rs1 == 0 ? null : c.X(i.Rs1), i.Rs2 == 0 ? null : c.X(i.Rs2))) || c.Illegal(i);

    /// <summary><c>sfence.w.inval</c> and <c>sfence.inval.ir</c> only order <c>sinval.vma</c>; they are illegal in U-mode.</summary>
    private static bool SfenceOrder(ref Core c, in Instruction i)
    {
        Interlocked.MemoryBarrier();
        return (c.Unit is { } unit && unit.Mode != Privileged.PrivilegeMode.User) || c.Illegal(i);
    }
}
