using Vivarium.RiscV.Isa;
using Vivarium.Translation.FrontEnd;

namespace Vivarium.Translation.Tests.Engine;

public sealed unsafe class BackEdgeTests
{
    private static bool MayLeadTo(int place, uint bits, byte around)
    {
        var code = new byte[BackEdges.Reach + 8];
        code.AsSpan().Fill(around);
        BitConverter.TryWriteBytes(code.AsSpan(place), (ushort)bits);
        if ((bits & 3) == 3) BitConverter.TryWriteBytes(code.AsSpan(place + 2), (ushort)(bits >> 16));
        fixed (byte* p = code) return BackEdges.MayLeadTo(p);
    }

    [Fact]
    public void EveryCompressedBranchBackIsSeen()
    {
        int seen = 0;
        for (uint bits = 0; bits < 0x10000; bits++)
        {
            if ((bits & 3) == 3) continue;
            Instruction i = Decoder.Decode(bits);
            bool leads = i.Opcode is >= Opcode.Beq and <= Opcode.Bgeu || i.Opcode == Opcode.Jal && i.Rd == 0;
            if (!leads || i.Imm > 0 || -i.Imm >= BackEdges.Reach) continue;
            Assert.True(MayLeadTo(-i.Imm, bits, 0), i.ToString());
            Assert.False(-i.Imm >= 2 && MayLeadTo(-i.Imm - 2, bits, 0), i.ToString());
            seen++;
        }
        Assert.True(seen > 1000);
    }

    [Fact]
    public void EveryWideBranchBackIsSeen()
    {
        var random = new Random(1);
        for (int place = 0; place < BackEdges.Reach; place += 2)
        {
            uint d = (uint)-place;
            foreach (uint funct3 in (ReadOnlySpan<uint>)[0, 1, 4, 5, 6, 7])
            {
                uint registers = (uint)random.Next(1024);
                uint branch = 0x63 | funct3 << 12 | (registers & 31) << 15 | registers >> 5 << 20
                    | (d >> 12 & 1) << 31 | (d >> 5 & 63) << 25 | (d >> 1 & 15) << 8 | (d >> 11 & 1) << 7;
                Assert.Equal(-place, Decoder.Decode(branch).Imm);
                Assert.True(MayLeadTo(place, branch, 0));
                Assert.False(MayLeadTo(place, branch ^ 1u << 31, 0)); // the same far ahead
            }
            uint jump = 0x6F | (d >> 20 & 1) << 31 | (d >> 1 & 1023) << 21 | (d >> 11 & 1) << 20 | (d >> 12 & 255) << 12;
            Assert.Equal(-place, Decoder.Decode(jump).Imm);
            Assert.True(MayLeadTo(place, jump, 0));
            Assert.False(MayLeadTo(place, jump | 1 << 7, 0)); // a call
        }
    }
}
