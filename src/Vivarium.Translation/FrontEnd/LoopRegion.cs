using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.FrontEnd;

/// <summary>
/// The innermost loop that begins at an address, as far as its shape shows in the code's layout: straight code up to the last branch
/// back to the beginning, with branches inside that lead forward only. Such a loop becomes one block: branches inside go to labels.
/// </summary>
/// <param name="End">Address behind the last branch back; 0 when no loop begins here.</param>
/// <param name="HasLabels">Branches to addresses inside may become labels. Not with floating point, whose lowering knows straight code only.</param>
internal readonly record struct LoopRegion(ulong End, bool HasLabels)
{
    /// <summary>Looks at no more than <paramref name="limit"/> instructions from <paramref name="start"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static LoopRegion Find(GuestCodeReader reader, ulong start, int limit)
    {
        ulong pc = start, end = 0, furthest = 0, reach = start + (ulong)limit * 4;
        bool hasFloat = false, hasFloatInside = false;
        for (int n = 0; n < limit && reader.TryFetch(pc, out uint bits); n++)
        {
            ulong next = pc + ((bits & 3) == 3 ? 4u : 2u);
            hasFloat |= IsFloat(bits);
            if (MayTransfer(bits))
            {
                Instruction i = Decoder.Decode(bits);
                ulong target = pc + (ulong)i.Imm;
                bool isBranch = i.Opcode is >= Opcode.Beq and <= Opcode.Bgeu;
                if (isBranch || i.Opcode == Opcode.Jal && i.Rd == 0)
                {
                    if (target == start)
                    {
                        end = next;
                        hasFloatInside = hasFloat;
                        if (hasFloat) break;
                    }
                    else if (target > start && target <= pc) break; // a loop inside
                    else if (target > pc && target < reach && target > furthest) furthest = target;
                }
                bool goesOn = isBranch || !(i.Opcode is Opcode.Jal or Opcode.Jalr or Opcode.Ecall or Opcode.Ebreak or Opcode.FenceI or Opcode.Illegal);
                if ((!goesOn || end != 0) && furthest < next) break;
            }
            pc = next;
        }
        return new LoopRegion(end, !hasFloatInside);
    }

    /// <summary>Branches, jumps, and what leaves the block (not all of the latter: the builder sees to them).</summary>
    private static bool MayTransfer(uint bits) => (bits & 3) switch
    {
        3 => (bits & 0x7F) is 0x63 or 0x6F or 0x67 or 0x73 or 0x0F,
        1 => (bits >> 13 & 7) >= 5,
        2 => (bits >> 13 & 7) == 4,
        _ => bits == 0,
    };

    private static bool IsFloat(uint bits) => (bits & 3) switch
    {
        3 => (bits & 0x7F) is 0x07 or 0x27 or 0x43 or 0x47 or 0x4B or 0x4F or 0x53 or 0x73,
        1 => false,
        _ => (bits >> 13 & 3) == 1, // c.fld, c.fsd, c.fldsp, c.fsdsp
    };
}
