using System.Globalization;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing.Lowering;

// Bytes that are loaded one by one and shifted to their places in a word, as compilers do where memory may be misaligned. LLVM would join them itself if the guest's registers
// did not hold what there is in between, which exits need: so they are parts of one load, from which all that follows.
internal sealed partial class RegionLowering
{
    /// <summary>A load in the place of several.</summary>
    private sealed class Join(int bytes)
    {
        public readonly int Bytes = bytes;
        public string? Value; // i64, once it has been loaded
    }

    private readonly Dictionary<int, (Join Join, int Index)> _joins = []; // by position in the block

    private void FindJoins(RegionBlock block)
    {
        _joins.Clear();
        if (IsMachine) return;
        var versions = new int[32];
        var found = new Dictionary<(int Base, int Version, int Window, int Start), List<(int Position, int Index)>>();
        int window = 0;
        for (int n = 0; n < block.Instructions.Count; n++)
        {
            Instruction i = block.Instructions[n].Instruction;
            // Nothing is loaded over a store or a fence.
            if (TouchOf(i).Stores || i.Opcode is Opcode.Fence or Opcode.FenceTso) window++;
            if (i.Opcode == Opcode.Lbu && i.Rd != 0 && !_unneeded.Contains((block, n)) && PlaceInWord(block, n, i.Rd) is >= 0 and var index)
            {
                var key = ((int)i.Rs1, versions[i.Rs1], window, i.Imm - index);
                if (!found.TryGetValue(key, out List<(int, int)>? list)) found.Add(key, list = []);
                list.Add((n, index));
            }
            versions[IntegerWrite(i)]++;
        }
        foreach (List<(int Position, int Index)> list in found.Values)
        {
            uint there = 0;
            foreach ((_, int index) in list)
            {
                if ((there >> index & 1) != 0) there |= 1u << 31; // twice
                there |= 1u << index;
            }
            int bytes = there switch { 0xFF => 8, _ when (there & 0x8000_000F) == 0xF => 4, _ when (there & 0x8000_0003) == 3 => 2, _ => 0 };
            if (bytes == 0) continue;
            var join = new Join(bytes);
            foreach ((int position, int index) in list)
            {
                if (index < bytes) _joins.Add(position, (join, index));
            }
        }
    }

    /// <summary>Which byte of a word one becomes by the first instruction that reads it: by how much that shifts it, 0 where it does something else; -1 where that is not plain.</summary>
    private static int PlaceInWord(RegionBlock block, int position, int register)
    {
        for (int n = position + 1; n < block.Instructions.Count; n++)
        {
            Instruction i = block.Instructions[n].Instruction;
            if (ReadsInteger(i, register))
                return i.Opcode is Opcode.Slli or Opcode.Slliw ? (i.Imm & 7) == 0 && i.Imm < 64 ? i.Imm / 8 : -1 : 0;
            if (IntegerWrite(i) == register) return -1;
        }
        return -1;
    }

    /// <summary>A byte that is part of a joined load; null for others.</summary>
    private string? Joined(in Instruction i)
    {
        if (!_joins.TryGetValue(_position, out (Join Join, int Index) part)) return null;
        Join join = part.Join;
        if (join.Value == null)
        {
            string type = string.Create(CultureInfo.InvariantCulture, $"i{join.Bytes * 8}");
            string value = Op($"load {type}, ptr {Address(i.Rs1, i.Imm - part.Index)}, align 1");
            join.Value = join.Bytes == 8 ? value : Op($"zext {type} {value} to i64");
        }
        string low = part.Index == 0 ? join.Value : Op($"lshr i64 {join.Value}, {part.Index * 8}");
        return Op($"and i64 {low}, 255");
    }
}
