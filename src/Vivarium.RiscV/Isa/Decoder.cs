using System.Runtime.CompilerServices;

namespace Vivarium.RiscV.Isa;

/// <summary>Turns instruction bits into <see cref="Instruction"/>s, by tables built once from <see cref="InstructionTable"/>.</summary>
/// <remarks>Thread-safe; never allocates and never fails: what is not in the table is <see cref="Opcode.Illegal"/>.</remarks>
public static class Decoder
{
    private static readonly DecoderTables Tables = new();

    /// <summary>Decodes one instruction.</summary>
    /// <param name="bits">The bits at pc, little endian; only the low 16 count when they are a compressed instruction (low two bits not
    /// 11). Encodings longer than 32 bits are illegal with length 4.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Instruction Decode(uint bits)
    {
        // Operands are taken out by masks and shifts from a table, not by a switch over formats: what comes next in a program is hard
        // to predict, and a mispredicted jump costs more than all of this.
        DecoderTables tables = Tables;
        if ((bits & 3) == 3)
        {
            DecoderTables.Bucket bucket = tables.Buckets[(bits >> 2 & 0x1f) | (bits >> 7 & 0xe0)];
            uint index = tables.Heads[bucket.Start + (bits >> 25 & bucket.Mask)];
            while (index != 0)
            {
                ref readonly DecoderTables.Candidate candidate = ref tables.Candidates[index];
                if ((bits & candidate.Mask) == candidate.Match)
                {
                    ref readonly WideLayout layout = ref tables.WideLayouts[candidate.Format];
                    uint destination = (uint)candidate.Opcode | (bits << 9 & layout.RdRs1);
                    uint sources = (bits >> 20 & layout.Rs2) | (bits >> 19 & layout.Rs3) | (bits << 4 & layout.Rm);
                    uint rowWord = (uint)candidate.Row << 16 | (bits >> 25 & layout.AqRl) | (bits >> 20 & layout.FenceSets);
                    int imm = (int)(((uint)((int)bits >> 20) & layout.ImmI) | (bits >> 7 & layout.ImmS) | (bits & layout.ImmU)
                        | (bits << 4 & layout.ImmB11) | (bits >> 9 & layout.ImmJ11));
                    return new Instruction(destination, sources, rowWord, imm, bits);
                }
                index = candidate.Next;
            }
        }
        else
        {
            bits &= 0xffff;
            uint index = tables.CompressedHeads[(bits & 3) | (bits >> 8 & 0xfc)];
            while (index != 0)
            {
                ref readonly DecoderTables.Candidate candidate = ref tables.Candidates[index];
                if ((bits & candidate.Mask) == candidate.Match)
                {
                    ref readonly CompressedLayout layout = ref tables.CompressedLayouts[candidate.Format];
                    uint destination = (uint)candidate.Opcode | layout.Destination | (bits << 9 & layout.Rd7) | (bits << 14 & layout.Rd2)
                        | (bits << 17 & layout.Rs1);
                    uint sources = layout.Sources | (bits >> 2 & layout.Rs2);
                    uint rowWord = (uint)candidate.Row << 16;
                    int imm = tables.CompressedImmediates[layout.Imm.IndexOf(bits)];
                    return new Instruction(destination, sources, rowWord, imm, bits);
                }
                index = candidate.Next;
            }
        }
        return new Instruction(0, 0, 0, 0, bits);
    }
}
