using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Near pages: a translation that a place in the code is likely to need again lies in a fixed place of the hart's state. Trying it takes fewer instructions than
// the TLB, and the access does not wait for any of them. Which accesses try is a guess of where they go; what is not the page of last time goes the way of a miss.
public sealed unsafe partial class CodeGenerator
{
    /// <summary>Near pages of one mode for loads, and as many for stores. The first two are the stack's and the thread pointer's.</summary>
    private const int NearLoads = HartState.NearPages / 4, FirstFree = 2;

    // Steps of more than this leave a page too soon.
    private const long MostStep = 1024, SmallMask = 511;

    private readonly byte[] _nearOf = new byte[32]; // by base register, in this block: its near page, 0 for none yet
    private int _nearBank, _nextNear;

    /// <summary>The mode that machine code is for.</summary>
    internal PrivilegeMode Mode { set => _nearBank = value switch { PrivilegeMode.User => 0, PrivilegeMode.Supervisor => NearLoads * 2, _ => -1 }; }

    private static Mem NearTag(int near) => State(HartStateLayout.NearTags + near * 8);

    private void ResetNear()
    {
        Array.Clear(_nearOf);
        _nextNear = (int)((_block.Start >> 1) % (NearLoads - FirstFree));
    }

    /// <summary>The near page that an access tries; -1 for none.</summary>
    private int NearPage(in IrOp op, bool isStore)
    {
        const int stack = 2, global = 3, thread = 4;
        if (_nearBank < 0) return -1;
        int page;
        if (op.A == stack) page = 0;
        else if (op.A is global or thread) page = 1;
        else
        {
            if (!_block.IsLoop || op.Code is >= IrCode.LoadReserved and <= IrCode.StoreExclusive || !StaysNear(op.A, _opIndex, 4)) return -1;
            ref byte known = ref _nearOf[op.A];
            if (known == 0)
            {
                known = (byte)(FirstFree + _nextNear);
                _nextNear = (_nextNear + 1) % (NearLoads - FirstFree);
            }
            page = known;
        }
        return _nearBank + page + (isStore ? NearLoads : 0);
    }

    /// <summary>Whether a register of a loop, as an operation sees it, most likely points to where it did in the last round: it is not changed, or walks in small steps,
    /// or is such a one plus something small.</summary>
    private bool StaysNear(int g, int at, int depth)
    {
        if (g == 0) return true;
        int count = _block.Count, i = at;
        for (int steps = 0; steps < count; steps++)
        {
            i = i == 0 ? count - 1 : i - 1;
            ref readonly IrOp op = ref _block.Ops[i];
            if (op.Dst != g || op.Code is IrCode.Nop or IrCode.Branch or IrCode.Label or IrCode.Store or IrCode.Jump) continue;
            if (depth == 0) return false;
            switch (op.Code)
            {
                case IrCode.Add or IrCode.AddW when op.HasImmB:
                    return op.A == g ? op.Imm is >= -MostStep and <= MostStep : StaysNear(op.A, i, depth - 1);
                case IrCode.Add or IrCode.AddW or IrCode.ShAdd or IrCode.ShAddUw:
                    return StaysNear(op.A, i, depth - 1) && StaysNear(op.B, i, depth - 1);
                case IrCode.Move or IrCode.SextW or IrCode.ZextW:
                    return StaysNear(op.A, i, depth - 1);
                case IrCode.Shl or IrCode.ShlUw or IrCode.ShlW:
                    return (op.HasImmB || op.Code == IrCode.ShlUw) && op.Imm <= 3 && StaysNear(op.A, i, depth - 1);
                case IrCode.And:
                    return op.HasImmB && op.Imm is >= 0 and <= SmallMask;
                case IrCode.ZextB or IrCode.Const:
                    return true;
                default:
                    return false;
            }
        }
        return true;
    }

    /// <summary>Supervisor mode sees other pages from here on.</summary>
    private void ForgetNear()
    {
        if (_nearBank < 0) return;
        _asm.MovImmediate(Rax, -1);
        for (int i = 0; i < NearLoads * 2; i++) _asm.Mov(NearTag(NearLoads * 2 + i), Rax);
    }
}
