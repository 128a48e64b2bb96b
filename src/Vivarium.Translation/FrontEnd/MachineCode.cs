using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation.CodeGen;

namespace Vivarium.Translation.FrontEnd;

/// <summary>What the front end must know of the machine that a superblock is for. Superblocks of machines stay in one page.</summary>
/// <param name="Addend">Offset of the page in RAM's window, less its virtual address.</param>
/// <param name="Extensions">Instructions that exist.</param>
/// <param name="Mode">The privilege mode that executes it.</param>
/// <param name="ReadsTime">Whether <c>time</c> is the host's clock less an origin.</param>
internal sealed record MachineCode(ulong Addend, ExtensionSet Extensions, PrivilegeMode Mode, bool ReadsTime)
{
    /// <summary>Whether an instruction may be translated; what may not goes to the interpreter.</summary>
    public bool Allows(in Instruction i)
    {
        ref readonly InstructionRow row = ref InstructionTable.Rows[i.Row];
        if (!Extensions.Contains(row.Extension)) return false;
        return row.Class switch
        {
            // What changes frm is the unit's: it knows whether translated code can go on with it.
            SemanticsClass.Csr => IsPrivileged(i) || (i.Imm & 0xfff) == Time || (CodeGenerator.SupportsFloat(i) && ((i.Imm & 0xfff) == Fflags || IsRead(i))),
            // Load-reserved and store-conditional that are not fused: the reservation is on the virtual address.
            SemanticsClass.Atomic => true,
            SemanticsClass.Fence => i.Opcode != Opcode.FenceI,
            _ => true,
        };
    }

    private const int Fflags = 1, Sstatus = 0x100, Sscratch = 0x140, Sepc = 0x141, Scause = 0x142, Stval = 0x143, Time = 0xc01;

    private static bool IsRead(in Instruction i) => i.Rs1 == 0 && i.Opcode is not (Opcode.Csrrw or Opcode.Csrrwi);

    /// <summary>CSRs that code for supervisor mode accesses in place, where what is written is plain enough (the front end sees to that).</summary>
    public bool IsPrivileged(in Instruction i) =>
        Mode == PrivilegeMode.Supervisor && (i.Imm & 0xfff) is Sstatus or Sscratch or Sepc or Scause or Stval;
}
