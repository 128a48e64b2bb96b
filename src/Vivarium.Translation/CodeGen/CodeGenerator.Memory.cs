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
        if ((op.Flags & IrFlags.Indexed) != 0) return IndexedAddress(op);
        if (_indexedLoad == _opIndex) return Mem.At(Rcx, _indexRegister, _indexScale, (int)op.Imm);
        return Mem.At(RegisterMap.MemoryBase, Read64(op.A, Rax), 0, (int)op.Imm);
    }

    /// <summary>The base is known before the index as a rule: adding it to the window's first keeps the way from the index to the access short.
    /// Uses rax and rcx.</summary>
    private Mem IndexedAddress(in IrOp op)
    {
        HostBase(op.A);
        Gpr index;
        if (op.C >= 4)
        {
            Load32(Rax, op.B);
            index = Rax;
        }
        else index = Read64(op.B, Rax);
        return Mem.At(Rcx, index, op.C & 3, (int)op.Imm);
    }

    /// <summary>rcx = the host's address of what <paramref name="g"/> points to.</summary>
    private void HostBase(int g)
    {
        if (InRegister(g)) _asm.Lea(Rcx, Mem.At(RegisterMap.MemoryBase, Read64(g, Rcx), 0));
        else
        {
            _asm.Mov(Rcx, RegisterMap.Home(g));
            _asm.Add(Rcx, RegisterMap.MemoryBase);
        }
    }

    /// <summary>In a loop: a scaled index and a load from there, whose address stays visible. The load does not wait for the address register.</summary>
    private bool TryIndexedLoad(in IrOp add)
    {
        if (!AllowsIndexedLoads || !_block.IsLoop || add.C == 0 || add.B == 0 || !InRegister(add.Dst)) return false;
        int next = NextOp(_opIndex);
        ref readonly IrOp load = ref _block.Ops[next];
        if (load.Code != IrCode.Load || load.A != add.Dst || (load.Flags & (IrFlags.Absolute | IrFlags.Halves | IrFlags.Indexed | IrFlags.Deferred)) != 0) return false;
        HostBase(add.B);
        Gpr index = Rax, r = HostOf(add.Dst);
        if (add.Code == IrCode.ShAddUw) Load32(Rax, add.A);
        else if (add.A == add.Dst) Load64(Rax, add.A);
        else index = Read64(add.A, Rax);
        if (InRegister(add.B)) _asm.Lea(r, Mem.At(HostOf(add.B), index, add.C));
        else
        {
            _asm.Lea(r, Mem.At(Rcx, index, add.C));
            _asm.Sub(r, RegisterMap.MemoryBase);
        }
        Finish64(add.Dst, r);
        _indexedLoad = next;
        _indexRegister = index;
        _indexScale = add.C;
        return true;
    }

    /// <summary>The address of a load may be a sum of registers: no machine, no checks of addresses.</summary>
    internal bool AllowsIndexedLoads { get; set; }

    // The load that uses rcx and an index register as its address; -1 for none.
    private int _indexedLoad;
    private Gpr _indexRegister;
    private int _indexScale;

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
        _asm.Load(r, m, op.Width, unsigned);
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
