using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.FrontEnd;

// What a machine's code does in place beyond the unprivileged instructions. All else of the Privileged Architecture is the interpreter's.
internal sealed partial class SuperblockBuilder
{
    private const int Sstatus = 0x100, Sscratch = 0x140, Sepc = 0x141, Scause = 0x142, Stval = 0x143, Time = 0xc01;

    // Of sstatus: SIE, SPIE, SPP, FS, SUM and MXR are what there is to write.
    private const ulong WritableStatus = 1 << 1 | 1 << 5 | 1 << 8 | FloatStatus | 1 << 18 | MakesReadable, FloatStatus = 3 << 13, MakesReadable = 1 << 19;

    /// <summary>Translates an instruction of a machine; false where the interpreter must execute it.</summary>
    private bool TryPrivileged(MachineCode machine, in Instruction i)
    {
        switch (i.Opcode)
        {
            case Opcode.CboZero:
                Emit(IrCode.ZeroBlock, 0, i.Rs1).Rm = (byte)machine.Mode;
                return true;
            case Opcode.Csrrw or Opcode.Csrrs or Opcode.Csrrc or Opcode.Csrrwi or Opcode.Csrrsi or Opcode.Csrrci:
                return TryCsr(machine, i);
            default:
                return false;
        }
    }

    private bool TryCsr(MachineCode machine, in Instruction i)
    {
        int csr = (int)i.Imm & 0xfff;
        bool isWrite = i.Opcode is Opcode.Csrrw or Opcode.Csrrwi, isRead = !isWrite && i.Rs1 == 0;
        if (csr == Time && isRead)
        {
            if (!machine.ReadsTime) return false;
            if (i.Rd != 0) Emit(IrCode.ReadTime, i.Rd).Rm = (byte)machine.Mode;
            return i.Rd != 0;
        }
        if (!machine.IsPrivileged(i)) return false;
        if (csr == Sstatus)
        {
            if (isRead)
            {
                if (i.Rd != 0) Emit(IrCode.StatusRead, i.Rd);
                return true;
            }
            if (isWrite) return false;
            ulong bits;
            if (i.Opcode is Opcode.Csrrsi or Opcode.Csrrci) bits = (uint)i.Rs1;
            else if (IsConst(i.Rs1)) bits = _constant[i.Rs1];
            else return false;
            bits &= WritableStatus;
            bool clears = i.Opcode is Opcode.Csrrc or Opcode.Csrrci;
            // MXR changes what the TLB may hold; floating point is switched on by its own rules.
            if ((bits & MakesReadable) != 0 || (!clears && (bits & FloatStatus) != 0)) return false;
            ref IrOp op = ref Emit(IrCode.StatusSet, i.Rd);
            op.Imm = (long)bits;
            op.C = clears ? (byte)1 : (byte)0;
            return true;
        }
        int offset = csr switch
        {
            Sscratch => HartStateLayout.Sscratch,
            Sepc => HartStateLayout.Sepc,
            Scause => HartStateLayout.Scause,
            Stval => HartStateLayout.Stval,
            _ => 0,
        };
        if (offset == 0) return false;
        if (isRead)
        {
            if (i.Rd != 0) Emit(IrCode.CsrRead, i.Rd).Imm = offset;
            return true;
        }
        if (i.Opcode != Opcode.Csrrw) return false;
        ref IrOp swap = ref Emit(IrCode.CsrSwap, i.Rd, i.Rs1);
        swap.Imm = offset;
        swap.Target = csr == Sepc ? ~1UL : ulong.MaxValue;
        return true;
    }
}
