using Vivarium.RiscV.Isa;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Float;

// fflags, frm and fcsr on MXCSR.
internal sealed partial class FloatEmitter
{
    private const int Fflags = 1, Frm = 2, Fcsr = 3;

    /// <summary>A Zicsr instruction on fflags, frm or fcsr. A write of a rounding mode that x86 lacks goes to the interpreter.</summary>
    public void AccessCsr(Opcode opcode, int csr, int rd, int rs1)
    {
        bool isImmediate = opcode is Opcode.Csrrwi or Opcode.Csrrsi or Opcode.Csrrci;
        bool isWrite = opcode is Opcode.Csrrw or Opcode.Csrrwi;
        bool isClear = opcode is Opcode.Csrrc or Opcode.Csrrci;
        bool writes = isWrite || rs1 != 0;

        // rax = old value.
        if (rd != 0 || !isWrite)
        {
            if (csr == Frm)
            {
                _asm.Mov32(Gpr.Rax, FloatSlots.Frm);
            }
            else
            {
                _asm.Stmxcsr(FloatSlots.Scratch(0));
                _asm.Mov32(Gpr.Rax, FloatSlots.Scratch(0));
                _asm.And32(Gpr.Rax, 0x3F);
                _asm.Movzx8(Gpr.Rax, FloatSlots.FlagsFromMxcsr(Gpr.Rax));
                if (csr == Fcsr)
                {
                    _asm.Mov32(Gpr.Rcx, FloatSlots.Frm);
                    _asm.Shl32(Gpr.Rcx, 5);
                    _asm.Or32(Gpr.Rax, Gpr.Rcx);
                }
            }
        }
        if (!writes)
        {
            WriteOld();
            return;
        }

        // rcx = new value.
        int mask = csr == Fflags ? 0x1F : csr == Frm ? 7 : 0xFF;
        if (isImmediate)
        {
            if (isWrite) _asm.MovImmediate(Gpr.Rcx, rs1 & mask);
            else
            {
                _asm.Mov32(Gpr.Rcx, Gpr.Rax);
                if (isClear) _asm.And32(Gpr.Rcx, ~rs1);
                else _asm.Or32(Gpr.Rcx, rs1 & mask);
            }
        }
        else
        {
            Gpr s = _context.UseInteger(rs1, Gpr.Rcx);
            if (s != Gpr.Rcx) _asm.Mov32(Gpr.Rcx, s);
            if (!isWrite)
            {
                if (isClear)
                {
                    _asm.Not32(Gpr.Rcx);
                    _asm.And32(Gpr.Rcx, Gpr.Rax);
                }
                else _asm.Or32(Gpr.Rcx, Gpr.Rax);
            }
            _asm.And32(Gpr.Rcx, mask);
        }

        if (csr != Fflags)
        {
            // Modes 4 and up: nothing has happened yet, the interpreter does it all.
            int limit = csr == Frm ? 3 : 3 << 5 | 0x1F;
            if (!(isImmediate && isWrite && rs1 <= limit))
            {
                _asm.Cmp32(Gpr.Rcx, limit);
                _context.InterpretWhen(Cond.A);
            }
        }
        if (rd != 0)
        {
            // rd may be where rs1 was; both have been read.
            WriteOld();
        }

        switch (csr)
        {
            case Fflags:
                _asm.Stmxcsr(FloatSlots.Scratch(0));
                _asm.Movzx8(Gpr.Rax, FloatSlots.MxcsrFromFlags(Gpr.Rcx));
                _asm.And32(FloatSlots.Scratch(0), ~0x3F);
                _asm.Or32(FloatSlots.Scratch(0), Gpr.Rax);
                break;
            case Frm:
                _asm.Mov32(FloatSlots.Frm, Gpr.Rcx);
                _asm.Stmxcsr(FloatSlots.Scratch(0));
                _asm.Movzx8(Gpr.Rax, FloatSlots.RoundingFromFrm(Gpr.Rcx));
                _asm.Shl32(Gpr.Rax, 8);
                _asm.And32(FloatSlots.Scratch(0), ~FloatSlots.RoundingMask);
                _asm.Or32(FloatSlots.Scratch(0), Gpr.Rax);
                break;
            default:
                _asm.Mov32(Gpr.Rax, Gpr.Rcx);
                _asm.Shr32(Gpr.Rax, 5);
                _asm.And32(Gpr.Rcx, 0x1F);
                _asm.Mov32(FloatSlots.Frm, Gpr.Rax);
                _asm.Movzx8(Gpr.Rax, FloatSlots.RoundingFromFrm(Gpr.Rax));
                _asm.Shl32(Gpr.Rax, 8);
                _asm.Movzx8(Gpr.Rcx, FloatSlots.MxcsrFromFlags(Gpr.Rcx));
                _asm.Or32(Gpr.Rax, Gpr.Rcx);
                _asm.Or32(Gpr.Rax, (int)FloatSlots.HostMxcsr);
                _asm.Mov32(FloatSlots.Scratch(0), Gpr.Rax);
                break;
        }
        _asm.Ldmxcsr(FloatSlots.Scratch(0));

        void WriteOld()
        {
            if (rd == 0) return;
            Gpr d = _context.DefineInteger(rd, Gpr.Rax);
            if (d != Gpr.Rax) _asm.Mov32(d, Gpr.Rax);
            _context.CommitInteger(rd, d, true);
        }
    }
}
