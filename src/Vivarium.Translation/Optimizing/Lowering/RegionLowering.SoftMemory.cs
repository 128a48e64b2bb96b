using System.Globalization;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing.Lowering;

// Memory of a machine: %m is the hart's TLB table of user mode. A place that does not hit leaves the region in front of its instruction, with everything stored:
// tier 1 goes on there, fills the TLB or traps, and comes back at the head. While a region runs nobody fills the table, and what others forbid there
// (stores to code) may be seen later, as by tier 1's blocks: so entries are invariant, and LLVM looks them up as early and as seldom as it likes.
internal sealed partial class RegionLowering
{
    // Accesses through one base register share a look as long as they are this close: what spans two pages is tier 1's.
    private const int GroupSpan = 256, StackSpan = 512;
    private const string Invariant = ", !invariant.load !7";

    /// <summary>Accesses of a block through one value of a base register, which lie close to each other.</summary>
    private sealed class MemoryGroup
    {
        /// <summary>Offsets from the base: of the first byte and behind the last.</summary>
        public long Low, High;
        public bool Stores;

        /// <summary>The host's address of the base, once it has been looked up.</summary>
        public string? Host;
    }

    private readonly Dictionary<int, MemoryGroup> _groups = []; // by position in the block
    private int _position;

    private bool IsMachine => _region.Pages != null;

    /// <summary>Memory that an instruction accesses: offset and bytes, 0 for none.</summary>
    private static (long Offset, int Bytes, bool Stores) TouchOf(in Instruction i)
    {
        Opcode o = i.Opcode;
        if (o is >= Opcode.Lb and <= Opcode.Lwu) return (i.Imm, AccessOf(o).Bytes, false);
        if (o is >= Opcode.Sb and <= Opcode.Sd) return (i.Imm, AccessOf(o).Bytes, true);
        if (o is Opcode.Flw or Opcode.Fld) return (i.Imm, o == Opcode.Flw ? 4 : 8, false);
        if (o is Opcode.Fsw or Opcode.Fsd) return (i.Imm, o == Opcode.Fsw ? 4 : 8, true);
        if (o is >= Opcode.AmoswapW and <= Opcode.AmomaxuW) return (0, 4, true);
        return o is >= Opcode.AmoswapD and <= Opcode.AmomaxuD ? (0, 8, true) : default;
    }

    /// <summary>Whether an instruction may leave the region.</summary>
    private bool MayLeave(RegionBlock block, int position) => block.Instructions[position].Instruction is var i && IsMachine
        ? (TouchOf(i).Bytes != 0 && !IsMoving(block, position)) || LeavesToRound(i)
        : (SupportsMemory(i.Opcode) && i.Opcode >= Opcode.AmoswapW) || LeavesToRound(i) || (_exact && IsStore(i));

    private void FindGroups(RegionBlock block)
    {
        _groups.Clear();
        if (!IsMachine) return;
        var open = new MemoryGroup?[32];
        for (int n = 0; n < block.Instructions.Count; n++)
        {
            Instruction i = block.Instructions[n].Instruction;
            (long offset, int bytes, bool stores) = TouchOf(i);
            if (bytes != 0 && !IsMoving(block, n))
            {
                MemoryGroup? group = open[i.Rs1];
                int span = i.Rs1 == 2 ? StackSpan : GroupSpan;
                if (group == null || i.Rs1 == 0 || Math.Max(group.High, offset + bytes) - Math.Min(group.Low, offset) > span)
                    open[i.Rs1] = group = new MemoryGroup { Low = offset, High = offset + bytes };
                (group.Low, group.High) = (Math.Min(group.Low, offset), Math.Max(group.High, offset + bytes));
                group.Stores |= stores;
                _groups.Add(n, group);
            }
            int written = IntegerWrite(i);
            if (written != 0) open[written] = null;
        }
    }

    /// <summary>The host's address of an access of the current instruction, which leaves the region where its page is not in the TLB.</summary>
    private string Translated(int rs1, long imm)
    {
        if (_moving.TryGetValue((_block, _position), out MovingGroup? moving)) return InPage(moving, rs1, imm);
        MemoryGroup group = _groups[_position];
        if (group.Host == null)
        {
            string start = Read(rs1), first = Add(start, group.Low);
            string slot = Op($"and i64 {Op($"lshr i64 {first}, 7")}, {(HartTlb.Entries - 1) << 5}");
            string entry = Op($"getelementptr i8, ptr %m, i64 {slot}");
            string tag = Op($"load i64, ptr {(group.Stores ? Op($"getelementptr i8, ptr {entry}, i64 8") : entry)}, align 8{Invariant}");
            string page = Op($"and i64 {Add(start, group.High - 1)}, -4096"), hit = Op($"icmp eq i64 {page}, {tag}");
            Flush();
            string leave = MissBlock(), go = Label("m");
            Line($"br i1 {hit}, label %{go}, label %{leave}, !prof !6");
            _text.Append(CultureInfo.InvariantCulture, $"{go}:\n");
            string addend = Op($"load ptr, ptr {Op($"getelementptr i8, ptr {entry}, i64 24")}, align 8{Invariant}");
            group.Host = Op($"getelementptr i8, ptr {addend}, i64 {start}");
        }
        return imm == 0 ? group.Host : Op($"getelementptr i8, ptr {group.Host}, i64 {Constant(imm)}");
    }

    /// <summary>A block that leaves the region in front of the current instruction.</summary>
    private string MissBlock() => ExitBlock(new RegionExit(_pc, false), rare: true);

    /// <summary>Where an exit leads. Of a machine's region, to another page, and wherever it is rare, by the jump table. What is rare leaves in front of its instruction.</summary>
    private RegionExit Placed(RegionExit exit, bool rare)
    {
        if (exit.IsIndirect) return exit;
        // By way of its own entry the region would come here again, and for ever: tier 1's block makes the step.
        if (rare && Array.FindIndex(_region.Ways, w => w.Pc == exit.Pc) is >= 0 and var way) return _exits[way];
        if (!IsMachine || (!rare && exit.Pc >> 12 == _region.Head >> 12)) return exit;
        Line($"store i64 {Constant(exit.Pc)}, ptr %indirect");
        return new RegionExit(0, true);
    }
}
