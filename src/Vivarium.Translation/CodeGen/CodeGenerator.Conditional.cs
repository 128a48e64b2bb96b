using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Short conditional code without a branch: "if (c) x = y" as compare and conditional move. Where such branches follow the data the
// processor cannot predict them, and a wrong guess costs as much as twenty instructions; a conditional move costs one.
public sealed unsafe partial class CodeGenerator
{
    private const int MaxConditional = 4;

    private readonly int[] _conditional = new int[MaxConditional];

    /// <summary>The branch skips nothing but a few moves and at most one simple operation: makes conditional moves of them.
    /// False where it is something else; nothing is emitted then.</summary>
    private bool TryConditionalMoves(in IrOp branch)
    {
        if (_deferred != 0) return false;
        IrOp[] ops = _block.Ops;
        int count = 0, computed = -1, label = _opIndex + 1;
        uint written = 0;
        for (; ops[label].Code != IrCode.Label; label++)
        {
            ref readonly IrOp op = ref ops[label];
            if (op.Code == IrCode.Nop) continue;
            if (count == MaxConditional || op.Dst == 0 || !InRegister(op.Dst) || (op.Flags & IrFlags.Deferred) != 0 || !IsCheap(op.Code)) return false;
            if (op.Code == IrCode.Move && op.A == 0) return false;
            // Each on its own: none reads or overwrites what another one made.
            uint reads = 1u << op.A | 1u << op.B;
            if ((written & (reads | 1u << op.Dst)) != 0) return false;
            if (op.Code != IrCode.Move)
            {
                if (computed >= 0 || (op.A == 0 && op.Code != IrCode.Const)) return false;
                computed = label;
            }
            written |= 1u << op.Dst;
            _conditional[count++] = label;
        }
        // The comparison must get by without scratch registers.
        if (count == 0 || ops[label].Label != branch.Label || !(branch.HasImmB || branch.A == 0 || InRegister(branch.A) || InRegister(branch.B))) return false;
        if (branch.HasImmB && branch.A == 0) return false;

        for (int i = 0; i < count; i++)
        {
            ref readonly IrOp op = ref ops[_conditional[i]];
            Canonical(op.A);
            Canonical(op.B);
            Canonical(op.Dst);
        }
        if (computed >= 0)
        {
            // As if for x0, whose value goes nowhere: it stays in rax.
            IrOp op = ops[computed];
            op.Dst = 0;
            if (op.Code == IrCode.Const) _asm.MovImmediate(Rax, op.Imm);
            else Lower(ref op);
            if (op.Code is >= IrCode.AddW and <= IrCode.RorW) _asm.Movsxd(Rax, Rax);
            _known32 &= ~1u;
            _pending &= ~1u;
        }
        Cond skip = Compare(branch, branch.Condition);
        for (int i = 0; i < count; i++)
        {
            ref readonly IrOp op = ref ops[_conditional[i]];
            uint bit = 1u << op.Dst;
            var condition = (Cond)((int)skip ^ 1);
            bool known = (_known32 & bit) != 0;
            if (_conditional[i] == computed)
            {
                _asm.Cmov(condition, HostOf(op.Dst), Rax);
                known &= op.Code is (>= IrCode.AddW and <= IrCode.RorW) or IrCode.ZextB or IrCode.ZextH or IrCode.SextB or IrCode.SextH or IrCode.SextW || (op.Code == IrCode.Const && op.Imm == (int)op.Imm);
            }
            else
            {
                if (InRegister(op.A)) _asm.Cmov(condition, HostOf(op.Dst), HostOf(op.A));
                else _asm.Cmov(condition, HostOf(op.Dst), RegisterMap.Home(op.A));
                known &= (_known32 >> op.A & 1) != 0;
            }
            _known32 = known ? _known32 | bit : _known32 & ~bit;
        }
        _opIndex = label - 1;
        return true;
    }

    private static bool IsCheap(IrCode code) => code switch
    {
        IrCode.Const or IrCode.Move or IrCode.Add or IrCode.Sub or IrCode.And or IrCode.Or or IrCode.Xor or IrCode.Shl or IrCode.Shr or IrCode.Sar
            or IrCode.AddW or IrCode.SubW or IrCode.ShlW or IrCode.ShrW or IrCode.SarW or IrCode.SextW or IrCode.SextB or IrCode.SextH or IrCode.ZextB
            or IrCode.ZextH or IrCode.ZextW or IrCode.ShAdd or IrCode.ShlUw => true,
        _ => false,
    };
}
