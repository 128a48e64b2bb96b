using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Groups: accesses through one base register that is not changed between them, a stack frame's or a structure's. The first looks up whether all of them lie in one page and
// leaves the page's addend for the others. Where they do not, or it misses, each looks for itself, out of line.
public sealed unsafe partial class CodeGenerator
{
    // From the first byte of a group to its last.
    private const long MostSpan = 1024;

    // Bits per base register: an addend for loads, or stores, has been left, good from low to high.
    private uint _groupLoads, _groupStores;
    private readonly int[] _groupLow = new int[32], _groupHigh = new int[32];

    private static Mem GroupAddend(int g) => State(HartStateLayout.GroupAddends + g * 8);

    private static bool IsGrouped(in IrOp op, out int size, out bool isStore)
    {
        (size, isStore) = (op.Width, false);
        if ((op.Flags & IrFlags.Absolute) != 0 || op.A == 0) return false;
        switch (op.Code)
        {
            case IrCode.Load: return true;
            case IrCode.Store: isStore = true; return true;
            case IrCode.Float when op.Aux is Opcode.Flw or Opcode.Fld or Opcode.Fsw or Opcode.Fsd:
                size = op.Aux is Opcode.Flw or Opcode.Fsw ? 4 : 8;
                isStore = op.Aux is Opcode.Fsw or Opcode.Fsd;
                return true;
            default: return false;
        }
    }

    private bool Follows(int g, bool isStore, long offset, int size) =>
        ((isStore ? _groupStores : _groupLoads) >> g & 1) != 0 && offset >= _groupLow[g] && offset + size - 1 <= _groupHigh[g];

    /// <summary>How many accesses could follow one: their first and their last byte, its own included.</summary>
    private int FindGroup(in IrOp first, bool isStore, int size, out long low, out long high)
    {
        (low, high) = (first.Imm, first.Imm + size - 1);
        if (first.Dst == first.A || low != (int)low) return 0;
        int count = 0;
        for (int i = _opIndex + 1; i < _block.Count; i++)
        {
            ref readonly IrOp op = ref _block.Ops[i];
            if (op.Code == IrCode.Nop) continue;
            if (op.Code is IrCode.Label or IrCode.StatusSet) break;
            if (op.A == first.A && IsGrouped(op, out int bytes, out bool stores) && (isStore || !stores))
            {
                long from = Math.Min(low, op.Imm), to = Math.Max(high, op.Imm + bytes - 1);
                if (to - from <= MostSpan)
                {
                    (low, high) = (from, to);
                    count++;
                }
            }
            if (op.Dst == first.A) break;
        }
        return count;
    }

    private void BeginGroup(int g, bool isStore, long low, long high)
    {
        _groupLoads |= 1u << g;
        _groupStores = isStore ? _groupStores | 1u << g : _groupStores & ~(1u << g);
        (_groupLow[g], _groupHigh[g]) = ((int)low, (int)high);
    }

    /// <summary>Behind an operation.</summary>
    private void EndGroups(in IrOp op)
    {
        if (op.Code is IrCode.Label or IrCode.StatusSet) _groupLoads = _groupStores = 0;
        else if (op.Dst is > 0 and < 32)
        {
            _groupLoads &= ~(1u << op.Dst);
            _groupStores &= ~(1u << op.Dst);
        }
    }
}
