using System.Numerics;

namespace Vivarium.RiscV.Isa;

/// <summary>
/// The decoder's tables. A first index, by the bits that nearly every row fixes, leads to a chain of candidate rows, most specific
/// first: for 32 bits the major opcode and funct3, then funct7 where rows under that index differ in it; for 16 bits the bits 15..10 and
/// 1..0. A chain is seldom longer than 2.
/// </summary>
internal sealed class DecoderTables
{
    /// <summary>First level: <c>Start + (funct7 &amp; Mask)</c> indexes <see cref="Heads"/>.</summary>
    public readonly record struct Bucket(ushort Start, ushort Mask);

    /// <summary>A row in a chain; <c>Next</c> is 0 at the end.</summary>
    public readonly record struct Candidate(uint Match, uint Mask, ushort Row, ushort Next, Opcode Opcode, byte Format);

    public readonly Bucket[] Buckets = new Bucket[256];
    public readonly ushort[] Heads;
    public readonly ushort[] CompressedHeads = new ushort[256];
    public readonly Candidate[] Candidates;

    /// <summary>By <see cref="OperandFormat"/>.</summary>
    public readonly WideLayout[] WideLayouts;
    public readonly CompressedLayout[] CompressedLayouts;
    public readonly int[] CompressedImmediates;

    public DecoderTables()
    {
        OperandLayout[] layouts = OperandLayout.Build(out CompressedImmediates);
        WideLayouts = new WideLayout[layouts.Length];
        CompressedLayouts = new CompressedLayout[layouts.Length];
        for (int i = 0; i < layouts.Length; i++)
        {
            WideLayouts[i] = new WideLayout(in layouts[i]);
            CompressedLayouts[i] = new CompressedLayout(in layouts[i]);
        }

        // Rows go in by rising number of fixed bits, each before what its chains already hold: so the most specific comes first.
        ReadOnlySpan<InstructionRow> rows = InstructionTable.Rows;
        var order = new int[rows.Length - 1];
        for (int i = 1; i < rows.Length; i++) order[i - 1] = BitOperations.PopCount(rows[i].Mask) << 16 | i;
        Array.Sort(order);

        // Which first-level buckets need the second level: those with a row that fixes funct7.
        foreach (ref readonly InstructionRow row in rows[1..])
        {
            if (row.Length != 4 || row.Mask >> 25 == 0) continue;
            for (uint funct3 = 0; funct3 < 8; funct3++)
            {
                if (((funct3 << 12 ^ row.Match) & row.Mask & 0x7000) == 0)
                    Buckets[(row.Match >> 2 & 0x1f) | funct3 << 5] = new Bucket(0, 0x7f);
            }
        }
        int heads = 0;
        for (int i = 0; i < Buckets.Length; i++)
        {
            ushort mask = Buckets[i].Mask;
            Buckets[i] = new Bucket((ushort)heads, mask);
            heads += mask + 1;
        }
        Heads = new ushort[heads];

        var candidates = new List<Candidate>(4096) { default };
        foreach (int key in order) Insert(in rows[key & 0xffff], key & 0xffff, candidates);
        Candidates = [.. candidates];
    }

    private void Insert(in InstructionRow row, int index, List<Candidate> candidates)
    {
        if (row.Length == 2)
        {
            for (uint key = 0; key < 256; key++)
            {
                uint bits = (key & 3) | (key & 0xfc) << 8;
                if (((bits ^ row.Match) & row.Mask & 0xfc03) == 0) Prepend(ref CompressedHeads[key], in row);
            }
            return;
        }
        for (uint funct3 = 0; funct3 < 8; funct3++)
        {
            if (((funct3 << 12 ^ row.Match) & row.Mask & 0x7000) != 0) continue;
            Bucket bucket = Buckets[(row.Match >> 2 & 0x1f) | funct3 << 5];
            uint tested = bucket.Mask == 0 ? 0 : row.Mask & 0xfe00_0000;
            for (uint funct7 = 0; funct7 <= bucket.Mask; funct7++)
            {
                if (((funct7 << 25 ^ row.Match) & tested) == 0) Prepend(ref Heads[bucket.Start + funct7], in row);
            }
        }

        void Prepend(ref ushort head, in InstructionRow row)
        {
            candidates.Add(new Candidate(row.Match, row.Mask, (ushort)index, head, row.Opcode, (byte)row.Format));
            head = (ushort)(candidates.Count - 1);
        }
    }
}
