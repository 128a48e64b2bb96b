using System.Numerics;
using Vivarium.RiscV.Isa;

namespace Vivarium.RiscV.Tests.Isa;

public class DecoderTests
{
    [Fact]
    public void Every_row_decodes_to_itself_whatever_its_operands()
    {
        var random = new Random(1);
        var rows = InstructionTable.Rows.ToArray();
        for (int index = 1; index < rows.Length; index++)
        {
            InstructionRow row = rows[index];
            Assert.Equal(row.Match, row.Match & row.Mask);
            uint width = row.Length == 2 ? 0xffffu : uint.MaxValue;
            int hits = 0;
            for (int i = 0; i < 500; i++)
            {
                uint bits = (row.Match | ((uint)random.NextInt64(1L << 32) & ~row.Mask)) & width;
                Instruction decoded = Decoder.Decode(bits);
                Assert.Equal(row.Length, decoded.Length);
                Assert.Equal(bits, decoded.Bits);
                if (decoded.Row == index)
                {
                    hits++;
                    Assert.Equal(row.Opcode, decoded.Opcode);
                }
                else
                {
                    // Only a more specific row may take an encoding away.
                    InstructionRow other = rows[decoded.Row];
                    Assert.True(BitOperations.PopCount(other.Mask) > BitOperations.PopCount(row.Mask), $"{other.Mnemonic} hides {row.Mnemonic}");
                }
            }
            Assert.True(hits > 0, $"{row.Mnemonic} never decodes");
        }
    }

    [Fact]
    public void Rows_overlap_only_where_one_is_a_special_case_of_the_other()
    {
        var rows = InstructionTable.Rows.ToArray();
        for (int i = 1; i < rows.Length; i++)
        {
            for (int j = i + 1; j < rows.Length; j++)
            {
                InstructionRow a = rows[i], b = rows[j];
                if (a.Length != b.Length || ((a.Match ^ b.Match) & a.Mask & b.Mask) != 0) continue;
                uint common = a.Mask & b.Mask;
                Assert.True(a.Mask != b.Mask && (common == a.Mask || common == b.Mask || a.Opcode == Opcode.Illegal || b.Opcode == Opcode.Illegal),
                    $"{a.Mnemonic} and {b.Mnemonic} overlap");
            }
        }
    }

    [Fact]
    public void Every_opcode_has_one_32_bit_row()
    {
        var counts = new int[(int)Opcode.Count];
        foreach (var row in InstructionTable.Rows)
        {
            if (row.Length == 4) counts[(int)row.Opcode]++;
        }
        for (int i = 0; i < counts.Length; i++) Assert.True(counts[i] == 1, $"{(Opcode)i}: {counts[i]} rows");
    }

    [Theory]
    [InlineData(0x00000513u, Opcode.Addi, 10, 0, 0, 0)]
    [InlineData(0xfe010113u, Opcode.Addi, 2, 2, 0, -32)]
    [InlineData(0x00a13423u, Opcode.Sd, 0, 2, 10, 8)]
    [InlineData(0xfea13c23u, Opcode.Sd, 0, 2, 10, -8)]
    [InlineData(0xfe0518e3u, Opcode.Bne, 0, 10, 0, -16)]
    [InlineData(0x800000efu, Opcode.Jal, 1, 0, 0, -0x100000)]
    [InlineData(0x7ffff06fu, Opcode.Jal, 0, 0, 0, 0xffffe)]
    [InlineData(0xfffff537u, Opcode.Lui, 10, 0, 0, -4096)]
    [InlineData(0x43f55513u, Opcode.Srai, 10, 10, 0, 63)]
    [InlineData(0x00302573u, Opcode.Csrrs, 10, 0, 0, 3)]
    [InlineData(0x0017d073u, Opcode.Csrrwi, 0, 15, 0, 1)]
    [InlineData(0x1141u, Opcode.Addi, 2, 2, 0, -16)]
    [InlineData(0xe406u, Opcode.Sd, 0, 2, 1, 8)]
    [InlineData(0x60a2u, Opcode.Ld, 1, 2, 0, 8)]
    [InlineData(0x8082u, Opcode.Jalr, 0, 1, 0, 0)]
    [InlineData(0x9782u, Opcode.Jalr, 1, 15, 0, 0)]
    [InlineData(0x852eu, Opcode.Add, 10, 0, 11, 0)]
    [InlineData(0x7179u, Opcode.Addi, 2, 2, 0, -48)]
    [InlineData(0x77fdu, Opcode.Lui, 15, 0, 0, -4096)]
    [InlineData(0x0808u, Opcode.Addi, 10, 2, 0, 16)]
    [InlineData(0xbfddu, Opcode.Jal, 0, 0, 0, -10)]
    [InlineData(0xdd75u, Opcode.Beq, 0, 10, 0, -4)]
    [InlineData(0x9002u, Opcode.Ebreak, 0, 0, 0, 0)]
    public void Operands_are_where_the_manual_says(uint bits, Opcode opcode, int rd, int rs1, int rs2, int imm)
    {
        Instruction i = Decoder.Decode(bits);
        Assert.Equal((opcode, rd, rs1, rs2, imm), (i.Opcode, i.Rd, i.Rs1, i.Rs2, i.Imm));
    }

    [Theory]
    [InlineData(0x0000u, 2)]      // all zeros
    [InlineData(0x0004u, 2)]      // c.addi4spn with immediate 0
    [InlineData(0x2001u, 2)]      // c.addiw x0
    [InlineData(0x6001u, 2)]      // c.lui with immediate 0
    [InlineData(0x6101u, 2)]      // c.addi16sp with immediate 0
    [InlineData(0x4002u, 2)]      // c.lwsp x0
    [InlineData(0x6002u, 2)]      // c.ldsp x0
    [InlineData(0x8002u, 2)]      // c.jr x0
    [InlineData(0x8000u, 2)]      // quadrant 0, funct3 100
    [InlineData(0x9c41u, 2)]      // quadrant 1, reserved arithmetic
    [InlineData(0xffffffffu, 4)]
    [InlineData(0x0200151bu, 4)]  // slliw with shamt[5]
    [InlineData(0x2841c0afu, 4)]  // amocas.q with odd rd
    public void Reserved_encodings_are_illegal(uint bits, int length)
    {
        Instruction i = Decoder.Decode(bits);
        Assert.Equal((Opcode.Illegal, length), (i.Opcode, i.Length));
    }

    [Fact]
    public void Reserved_rounding_modes_decode_and_are_left_to_execution()
    {
        for (uint rm = 0; rm < 8; rm++)
        {
            Instruction add = Decoder.Decode((0x02b57553u & ~0x7000u) | rm << 12);
            Assert.Equal((Opcode.FaddD, (int)rm), (add.Opcode, add.Rm));
        }
    }

    [Fact]
    public void High_bits_of_a_compressed_instruction_do_not_matter()
    {
        for (uint half = 0; half < 0x10000; half++)
        {
            if ((half & 3) == 3) continue;
            Assert.Equal(Decoder.Decode(half), Decoder.Decode(half | 0xdead0000));
        }
    }

    [Fact]
    public void Decoding_allocates_nothing()
    {
        Decoder.Decode(0x1141);
        uint sum = 0;
        // The runtime itself may allocate on this thread once, when it recompiles the loop: the least of a few attempts counts.
        long least = long.MaxValue;
        for (int attempt = 0; attempt < 5 && least != 0; attempt++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (uint i = 0; i < 100_000; i++) sum += Decoder.Decode(i * 2654435761u).Row;
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        Assert.Equal(0, least);
        Assert.NotEqual(0u, sum);
    }

    [Fact]
    public void Csr_names_go_both_ways()
    {
        Assert.Equal("fcsr", CsrNames.NameOf(CsrNames.Fcsr));
        Assert.True(CsrNames.TryGetNumber("instret", out int number));
        Assert.Equal(CsrNames.Instret, number);
        Assert.Null(CsrNames.NameOf(0x8ff));
    }
}
