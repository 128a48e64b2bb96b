using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
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
    // What the scan must know of an instruction, by its major opcode or, where it is compressed, by quadrant and funct3. It meets most
    // instructions a second time when they are decoded, so it looks at as little as it can.
    private const byte Transfers = 1, Float = 2;
    private static readonly byte[] Kinds = BuildKinds();

    /// <summary>Looks at no more than <paramref name="limit"/> instructions from <paramref name="start"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static LoopRegion Find(GuestCodeReader reader, ulong start, int limit)
    {
        ulong pc = start, end = 0, furthest = 0, reach = start + (ulong)limit * 4;
        int floats = 0;
        bool hasFloatInside = false;
        ref byte kinds = ref MemoryMarshal.GetArrayDataReference(Kinds);
        for (int n = 0; n < limit && reader.TryFetch(pc, out uint bits); n++)
        {
            uint four = (bits & 3) + 1 >> 2; // 1: four bytes
            bool wide = four != 0;
            // SAFETY: both indices are below 64, the table's size.
            uint index = 32 + (bits & 3) * 8 + (bits >> 13 & 7);
            index ^= (index ^ bits >> 2 & 31) & 0 - four;
            uint kind = Unsafe.Add(ref kinds, (nint)index);
            ulong next = pc + 2 + 2 * four;
            floats |= (int)(kind & Float);
            if ((kind & Transfers) != 0)
            {
                bool isBranch = false, isJump = false;
                long distance = 0;
                bool goesOn = true;
                if (wide)
                {
                    switch (bits & 0x7F)
                    {
                        case 0x63 when (bits >> 12 & 6) != 2:
                            isBranch = true;
                            distance = (int)(bits & 0x8000_0000) >> 19 | (int)(bits << 4 & 0x800) | (int)(bits >> 20 & 0x7E0) | (int)(bits >> 7 & 0x1E);
                            break;
                        case 0x6F: // jal
                            isJump = (bits >> 7 & 31) == 0;
                            distance = (int)(bits & 0x8000_0000) >> 11 | (int)(bits & 0xFF000) | (int)(bits >> 9 & 0x800) | (int)(bits >> 20 & 0x7FE);
                            goesOn = false;
                            break;
                        default:
                            goesOn = GoesOn(bits);
                            break;
                    }
                }
                else if ((bits & 3) == 1)
                {
                    if (bits >> 13 == 5)
                    {
                        isJump = true;
                        goesOn = false;
                        distance = (int)(bits << 19 & 0x8000_0000) >> 20 | (int)(bits >> 7 & 0x10) | (int)(bits >> 1 & 0x300) | (int)(bits << 2 & 0x400)
                            | (int)(bits >> 1 & 0x40) | (int)(bits << 1 & 0x80) | (int)(bits >> 2 & 0xE) | (int)(bits << 3 & 0x20);
                    }
                    else
                    {
                        isBranch = true;
                        distance = (int)(bits << 19 & 0x8000_0000) >> 23 | (int)(bits >> 7 & 0x18) | (int)(bits << 1 & 0xC0) | (int)(bits >> 2 & 6)
                            | (int)(bits << 3 & 0x20);
                    }
                }
                else goesOn = (bits & 3) == 2 ? (bits & 0x7C) != 0 : bits != 0; // c.mv and c.add, not c.jr, c.jalr and c.ebreak; c.addi4spn
                ulong target = pc + (ulong)distance;
                if (isBranch || isJump)
                {
                    if (target == start)
                    {
                        end = next;
                        hasFloatInside = floats != 0;
                        if (hasFloatInside) break;
                    }
                    else if (target > start && target <= pc) break; // a loop inside
                    else if (target > pc && target < reach && target > furthest) furthest = target;
                }
                if ((!goesOn || end != 0) && furthest < next) break;
            }
            pc = next;
        }
        return new LoopRegion(end, !hasFloatInside);
    }

    /// <summary>Whether what is no branch leads to the next instruction.</summary>
    private static bool GoesOn(uint bits) => Decoder.Decode(bits).Opcode is not (Opcode.Jalr or Opcode.Ecall or Opcode.Ebreak or Opcode.FenceI or Opcode.Illegal);

    private static byte[] BuildKinds()
    {
        var kinds = new byte[64];
        foreach (int major in (ReadOnlySpan<int>)[0x63, 0x6F, 0x67, 0x73, 0x0F]) kinds[major >> 2] |= Transfers;
        foreach (int major in (ReadOnlySpan<int>)[0x07, 0x27, 0x43, 0x47, 0x4B, 0x4F, 0x53, 0x73]) kinds[major >> 2] |= Float;
        for (int funct3 = 0; funct3 < 8; funct3++)
        {
            if (funct3 == 0) kinds[32 + funct3] |= Transfers; // c.addi4spn, or illegal
            if (funct3 >= 5) kinds[32 + 8 + funct3] |= Transfers; // c.j, c.beqz, c.bnez
            if (funct3 == 4) kinds[32 + 16 + funct3] |= Transfers; // c.jr, c.jalr, c.ebreak, c.mv, c.add
            if ((funct3 & 3) == 1) // c.fld, c.fsd, c.fldsp, c.fsdsp
            {
                kinds[32 + funct3] |= Float;
                kinds[32 + 16 + funct3] |= Float;
            }
        }
        return kinds;
    }
}
