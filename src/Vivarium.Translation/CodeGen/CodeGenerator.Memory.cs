using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Loads and stores on the direct memory window: host address = r15 + guest address.
public sealed unsafe partial class CodeGenerator
{
    /// <summary>The memory operand of an access, which may use rax.</summary>
    private Mem AddressOf(in IrOp op, int size, bool isStore)
    {
        if (IsMachine) return Lookup(op, size, isStore, op.Imm);
        if ((op.Flags & IrFlags.Absolute) != 0) return Mem.At(RegisterMap.MemoryBase, (int)op.Imm);
        return Mem.At(RegisterMap.MemoryBase, Read64(op.A, Rax), 0, (int)op.Imm);
    }

    private void Load(in IrOp op)
    {
        Mem m = AddressOf(op, op.Width, isStore: false);
        Gpr r = Target(op.Dst);
        MayFault(op);
        if ((op.Flags & IrFlags.Halves) != 0 && InRegister(op.A))
        {
            _asm.Mov32(Rcx, m);
            MayFault(op);
            _asm.Mov32(Rax, m.Plus(4));
            _asm.Shl(Rax, 32);
            if (r == Rax) _asm.Or(Rax, Rcx);
            else _asm.Lea(r, Mem.At(Rax, Rcx, 0));
            Finish64(op.Dst, r);
            return;
        }
        bool unsigned = (op.Flags & IrFlags.Unsigned) != 0;
        switch (op.Width)
        {
            case 1: if (unsigned) _asm.Movzx8(r, m); else _asm.Movsx8(r, m); break;
            case 2: if (unsigned) _asm.Movzx16(r, m); else _asm.Movsx16(r, m); break;
            case 4: if (unsigned) _asm.Mov32(r, m); else _asm.Movsxd(r, m); break;
            default: _asm.Mov(r, m); break;
        }
        Finish64(op.Dst, r, op.Width < 4 || (op.Width == 4 && !unsigned));
    }

    private void Store(in IrOp op)
    {
        Mem m = AddressOf(op, op.Width, isStore: true);
        if (op.HasImmB)
        {
            int value = (int)(long)op.Target;
            MayFault(op);
            switch (op.Width)
            {
                case 1: _asm.Mov8(m, (sbyte)value); break;
                case 2: _asm.Mov16(m, (short)value); break;
                case 4: _asm.Mov32(m, value); break;
                default: _asm.Mov(m, value); break;
            }
            return;
        }
        Gpr s = op.Width == 8 ? Read64(op.B, Rcx) : Read32(op.B, Rcx);
        MayFault(op);
        switch (op.Width)
        {
            case 1: _asm.Mov8(m, s); break;
            case 2: _asm.Mov16(m, s); break;
            case 4: _asm.Mov32(m, s); break;
            default: _asm.Mov(m, s); break;
        }
    }
}
