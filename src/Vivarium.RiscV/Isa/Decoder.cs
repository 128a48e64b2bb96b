using System.Numerics;
using System.Runtime.CompilerServices;

namespace Vivarium.RiscV.Isa;

/// <summary>Turns instruction bits into <see cref="Instruction"/>s, by tables built once from <see cref="InstructionTable"/>.</summary>
/// <remarks>Thread-safe; never allocates and never fails: what is not in the table is <see cref="Opcode.Illegal"/>.</remarks>
public static class Decoder
{
    // A first index, by the bits that nearly every row fixes, leads to a chain of candidate rows, most specific first:
    //   32 bits: major opcode and funct3, then funct7 where rows under that index differ in it;
    //   16 bits: bits 15..10 and 1..0.
    // A chain is seldom longer than 2.

    /// <summary>First level: <c>Start + (funct7 &amp; Mask)</c> indexes <see cref="Heads"/>.</summary>
    private readonly record struct Bucket(ushort Start, ushort Mask);

    /// <summary>A candidate row, with what decoding needs of it.</summary>
    private readonly record struct Candidate(uint Match, uint Mask, ushort Row, ushort Next, Opcode Opcode, OperandFormat Format);

    private static readonly Bucket[] Buckets = new Bucket[256];
    private static readonly ushort[] Heads;
    private static readonly ushort[] CompressedHeads = new ushort[256];
    private static readonly Candidate[] Candidates;

    /// <summary>Decodes one instruction.</summary>
    /// <param name="bits">The bits at pc, little endian; only the low 16 count when they are a compressed instruction (low two bits not
    /// 11). Encodings longer than 32 bits are illegal with length 4.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Instruction Decode(uint bits)
    {
        uint index;
        byte length;
        if ((bits & 3) == 3)
        {
            Bucket bucket = Buckets[(bits >> 2 & 0x1f) | (bits >> 7 & 0xe0)];
            index = Heads[bucket.Start + (int)(bits >> 25 & bucket.Mask)];
            length = 4;
        }
        else
        {
            bits &= 0xffff;
            index = CompressedHeads[(bits & 3) | (bits >> 8 & 0xfc)];
            length = 2;
        }
        while (index != 0)
        {
            ref readonly Candidate candidate = ref Candidates[index];
            if ((bits & candidate.Mask) == candidate.Match) return Extract(in candidate, bits, length);
            index = candidate.Next;
        }
        return new Instruction(Opcode.Illegal, 0, 0, 0, 0, 0, length, 0, 0, 0, bits);
    }

    /// <summary>Takes the operands out of a matched encoding.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static Instruction Extract(in Candidate row, uint b, byte length)
    {
        byte rd = 0, rs1 = 0, rs2 = 0, rs3 = 0, rm = 0, aqrl = 0;
        int imm = 0;
        switch (row.Format)
        {
            case OperandFormat.None:
                break;
            case OperandFormat.R:
                rd = Rd(b); rs1 = Rs1(b); rs2 = Rs2(b);
                break;
            case OperandFormat.RUnary:
                rd = Rd(b); rs1 = Rs1(b);
                break;
            case OperandFormat.R4:
                rd = Rd(b); rs1 = Rs1(b); rs2 = Rs2(b); rs3 = (byte)(b >> 27); rm = Funct3(b);
                break;
            case OperandFormat.RRm:
                rd = Rd(b); rs1 = Rs1(b); rs2 = Rs2(b); rm = Funct3(b);
                break;
            case OperandFormat.RUnaryRm:
                rd = Rd(b); rs1 = Rs1(b); rm = Funct3(b);
                break;
            case OperandFormat.Amo:
                rd = Rd(b); rs1 = Rs1(b); rs2 = Rs2(b); aqrl = (byte)(b >> 25 & 3);
                break;
            case OperandFormat.I:
                rd = Rd(b); rs1 = Rs1(b); imm = (int)b >> 20;
                break;
            case OperandFormat.Shift64:
                rd = Rd(b); rs1 = Rs1(b); imm = (int)(b >> 20 & 63);
                break;
            case OperandFormat.Shift32:
                rd = Rd(b); rs1 = Rs1(b); imm = (int)(b >> 20 & 31);
                break;
            case OperandFormat.S:
                rs1 = Rs1(b); rs2 = Rs2(b); imm = ((int)b >> 25 << 5) | (int)(b >> 7 & 31);
                break;
            case OperandFormat.B:
                rs1 = Rs1(b); rs2 = Rs2(b);
                imm = ((int)b >> 31 << 12) | (int)((b >> 7 & 1) << 11 | (b >> 25 & 0x3f) << 5 | (b >> 8 & 15) << 1);
                break;
            case OperandFormat.U:
                rd = Rd(b); imm = (int)(b & 0xfffff000);
                break;
            case OperandFormat.J:
                rd = Rd(b);
                imm = ((int)b >> 31 << 20) | (int)((b & 0xff000) | (b >> 20 & 1) << 11 | (b >> 21 & 0x3ff) << 1);
                break;
            case OperandFormat.Fence:
                aqrl = (byte)(b >> 20);
                break;
            case OperandFormat.Csr:
            case OperandFormat.CsrImmediate:
                rd = Rd(b); rs1 = Rs1(b); imm = (int)(b >> 20);
                break;
            case OperandFormat.CacheBlock:
                rs1 = Rs1(b);
                break;
            case OperandFormat.Prefetch:
                rs1 = Rs1(b); imm = (int)b >> 25 << 5;
                break;
            case OperandFormat.CAddi4spn:
                rd = RdPrime(b); rs1 = 2;
                imm = (int)((b >> 11 & 3) << 4 | (b >> 7 & 15) << 6 | (b >> 6 & 1) << 2 | (b >> 5 & 1) << 3);
                break;
            case OperandFormat.CLw:
                rd = RdPrime(b); rs1 = Rs1Prime(b); imm = OffsetW(b);
                break;
            case OperandFormat.CLd:
                rd = RdPrime(b); rs1 = Rs1Prime(b); imm = OffsetD(b);
                break;
            case OperandFormat.CSw:
                rs2 = RdPrime(b); rs1 = Rs1Prime(b); imm = OffsetW(b);
                break;
            case OperandFormat.CSd:
                rs2 = RdPrime(b); rs1 = Rs1Prime(b); imm = OffsetD(b);
                break;
            case OperandFormat.CI:
                rd = rs1 = Rd(b); imm = Imm6(b);
                break;
            case OperandFormat.CLi:
                rd = Rd(b); imm = Imm6(b);
                break;
            case OperandFormat.CAddi16sp:
                rd = rs1 = 2;
                imm = ((int)(b << 19) >> 31 << 9) | (int)((b >> 6 & 1) << 4 | (b >> 5 & 1) << 6 | (b >> 3 & 3) << 7 | (b >> 2 & 1) << 5);
                break;
            case OperandFormat.CLui:
                rd = Rd(b); imm = Imm6(b) << 12;
                break;
            case OperandFormat.CSlli:
                rd = rs1 = Rd(b); imm = Imm6(b) & 63;
                break;
            case OperandFormat.CShift:
                rd = rs1 = Rs1Prime(b); imm = Imm6(b) & 63;
                break;
            case OperandFormat.CAndi:
                rd = rs1 = Rs1Prime(b); imm = Imm6(b);
                break;
            case OperandFormat.CA:
                rd = rs1 = Rs1Prime(b); rs2 = RdPrime(b);
                break;
            case OperandFormat.CJ:
                imm = ((int)(b << 19) >> 31 << 11) | (int)((b >> 11 & 1) << 4 | (b >> 9 & 3) << 8 | (b >> 8 & 1) << 10
                    | (b >> 7 & 1) << 6 | (b >> 6 & 1) << 7 | (b >> 3 & 7) << 1 | (b >> 2 & 1) << 5);
                break;
            case OperandFormat.CB:
                rs1 = Rs1Prime(b);
                imm = ((int)(b << 19) >> 31 << 8) | (int)((b >> 10 & 3) << 3 | (b >> 5 & 3) << 6 | (b >> 3 & 3) << 1 | (b >> 2 & 1) << 5);
                break;
            case OperandFormat.CLwsp:
                rd = Rd(b); rs1 = 2; imm = (int)((b >> 12 & 1) << 5 | (b >> 4 & 7) << 2 | (b >> 2 & 3) << 6);
                break;
            case OperandFormat.CLdsp:
                rd = Rd(b); rs1 = 2; imm = (int)((b >> 12 & 1) << 5 | (b >> 5 & 3) << 3 | (b >> 2 & 7) << 6);
                break;
            case OperandFormat.CSwsp:
                rs2 = CRs2(b); rs1 = 2; imm = (int)((b >> 9 & 15) << 2 | (b >> 7 & 3) << 6);
                break;
            case OperandFormat.CSdsp:
                rs2 = CRs2(b); rs1 = 2; imm = (int)((b >> 10 & 7) << 3 | (b >> 7 & 7) << 6);
                break;
            case OperandFormat.CJr:
                rs1 = Rd(b);
                break;
            case OperandFormat.CJalr:
                rd = 1; rs1 = Rd(b);
                break;
            case OperandFormat.CMv:
                rd = Rd(b); rs2 = CRs2(b);
                break;
            case OperandFormat.CAdd:
                rd = rs1 = Rd(b); rs2 = CRs2(b);
                break;
        }
        return new Instruction(row.Opcode, rd, rs1, rs2, rs3, rm, length, aqrl, row.Row, imm, b);
    }

    private static byte Rd(uint b) => (byte)(b >> 7 & 31);
    private static byte Rs1(uint b) => (byte)(b >> 15 & 31);
    private static byte Rs2(uint b) => (byte)(b >> 20 & 31);
    private static byte Funct3(uint b) => (byte)(b >> 12 & 7);
    private static byte RdPrime(uint b) => (byte)(8 + (b >> 2 & 7));
    private static byte Rs1Prime(uint b) => (byte)(8 + (b >> 7 & 7));
    private static byte CRs2(uint b) => (byte)(b >> 2 & 31);
    private static int Imm6(uint b) => ((int)(b << 19) >> 31 << 5) | (int)(b >> 2 & 31);
    private static int OffsetW(uint b) => (int)((b >> 10 & 7) << 3 | (b >> 6 & 1) << 2 | (b >> 5 & 1) << 6);
    private static int OffsetD(uint b) => (int)((b >> 10 & 7) << 3 | (b >> 5 & 3) << 6);

    static Decoder()
    {
        // Rows go in by rising number of fixed bits, each before what its chains already hold: so the most specific comes first.
        ReadOnlySpan<InstructionRow> rows = InstructionTable.Rows;
        var order = new int[rows.Length - 1];
        var keys = new int[rows.Length - 1];
        for (int i = 1; i < rows.Length; i++)
        {
            order[i - 1] = i;
            keys[i - 1] = BitOperations.PopCount(rows[i].Mask) << 16 | i;
        }
        Array.Sort(keys, order);

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
        foreach (int i in order)
        {
            InstructionRow row = rows[i];
            if (row.Length == 2)
            {
                for (uint key = 0; key < 256; key++)
                {
                    uint bits = (key & 3) | (key & 0xfc) << 8;
                    if (((bits ^ row.Match) & row.Mask & 0xfc03) == 0) Prepend(ref CompressedHeads[key], row, i);
                }
                continue;
            }
            for (uint funct3 = 0; funct3 < 8; funct3++)
            {
                if (((funct3 << 12 ^ row.Match) & row.Mask & 0x7000) != 0) continue;
                Bucket bucket = Buckets[(row.Match >> 2 & 0x1f) | funct3 << 5];
                for (uint funct7 = 0; funct7 <= bucket.Mask; funct7++)
                {
                    if (((funct7 << 25 ^ row.Match) & row.Mask & 0xfe000000 & (uint)-(bucket.Mask & 1)) == 0)
                        Prepend(ref Heads[bucket.Start + funct7], row, i);
                }
            }
        }
        Candidates = [.. candidates];

        void Prepend(ref ushort head, in InstructionRow row, int index)
        {
            candidates.Add(new Candidate(row.Match, row.Mask, (ushort)index, head, row.Opcode, row.Format));
            head = (ushort)(candidates.Count - 1);
        }
    }
}
