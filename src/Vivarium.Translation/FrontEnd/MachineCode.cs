using Vivarium.RiscV.Isa;
using Vivarium.Translation.CodeGen;

namespace Vivarium.Translation.FrontEnd;

/// <summary>What the front end must know of the machine that a superblock is for. Superblocks of machines stay in one page.</summary>
/// <param name="Addend">Offset of the page in RAM's window, less its virtual address.</param>
/// <param name="Extensions">Instructions that exist.</param>
/// <param name="Float">Whether FS is Dirty, so that floating point need not look at it; otherwise the interpreter executes it.</param>
internal sealed record MachineCode(ulong Addend, ExtensionSet Extensions, bool Float)
{
    /// <summary>Whether an instruction may be translated; what may not goes to the interpreter.</summary>
    public bool Allows(in Instruction i)
    {
        ref readonly InstructionRow row = ref InstructionTable.Rows[i.Row];
        if (!Extensions.Contains(row.Extension)) return false;
        return row.Class switch
        {
            SemanticsClass.Float or SemanticsClass.FloatLoad or SemanticsClass.FloatStore => Float,
            // Only fflags, frm and fcsr are anything but the unit's.
            SemanticsClass.Csr => Float && CodeGenerator.SupportsFloat(i),
            // Load-reserved and store-conditional that are not fused: the reservation is on the virtual address.
            SemanticsClass.Atomic => true,
            SemanticsClass.Fence => i.Opcode != Opcode.FenceI,
            _ => true,
        };
    }
}
