using System.Globalization;
using System.Text;
using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Optimizing.Regions;

/// <summary>How a block of a region ends.</summary>
internal enum RegionFlow
{
    /// <summary>Goes on at <see cref="RegionBlock.Next"/>.</summary>
    Jump,

    /// <summary>The last instruction is a conditional branch: <see cref="RegionBlock.Taken"/> or <see cref="RegionBlock.Next"/>.</summary>
    Branch,

    /// <summary>The last instruction is a return from an inlined call: to <see cref="RegionBlock.Next"/> if that is where it leads, else out.</summary>
    Return,

    /// <summary>The last instruction is an indirect jump that was seen to lead to <see cref="RegionBlock.Cases"/>; anywhere else leads out.</summary>
    Switch,

    /// <summary>The last instruction is an indirect jump out.</summary>
    Indirect,

    /// <summary>Leaves the region behind the last instruction, for <see cref="RegionBlock.Next"/>'s address.</summary>
    Exit,
}

/// <summary>Where an edge leads: a block of the region, or out of it to a guest address.</summary>
internal readonly record struct RegionEdge(RegionBlock? Block, ulong Pc);

/// <summary>A basic block of a region, in one inlining context.</summary>
internal sealed class RegionBlock(int index, ulong pc, int context)
{
    public int Index => index;
    public ulong Pc => pc;

    /// <summary>0, or the number of the inlined call that it belongs to.</summary>
    public int Context => context;
    public List<(ulong Pc, Instruction Instruction)> Instructions { get; } = [];
    public RegionFlow Flow { get; set; }
    public RegionEdge Next { get; set; }
    public RegionEdge Taken { get; set; }
    public RegionEdge[] Cases { get; set; } = [];
    public List<RegionBlock> Predecessors { get; } = [];

    /// <summary>Successors inside the region.</summary>
    public IEnumerable<RegionBlock> Successors()
    {
        if (Next.Block != null) yield return Next.Block;
        if (Taken.Block != null) yield return Taken.Block;
        foreach (RegionEdge edge in Cases)
        {
            if (edge.Block != null) yield return edge.Block;
        }
    }

    /// <summary>Position in reverse post-order from the head.</summary>
    public int Order { get; set; }

    /// <summary>How often the branch at its end was seen to be taken and not to be, however seldom.</summary>
    public (int Taken, int Fallen) Seen { get; set; }

    /// <summary>Some edge leads back to this block from one that it leads to.</summary>
    public bool IsLoopHead { get; set; }

    /// <summary>Blocks of its natural loop when it is the head of an innermost one, else null.</summary>
    public HashSet<RegionBlock>? InnermostLoop { get; set; }
}

/// <summary>A loop of guest code with the calls in it, ready to be compiled as one function. Its first block is its head.</summary>
internal sealed class GuestRegion
{
    public required ulong Head { get; init; }

    /// <summary>The head, then the others in reverse post-order.</summary>
    public required RegionBlock[] Blocks { get; init; }

    /// <summary>The blocks by which it can be entered: its head, and what control comes back to behind calls that lead out.</summary>
    public required RegionBlock[] Ways { get; init; }

    /// <summary>It can be entered elsewhere than at its head.</summary>
    public bool HasWays => Ways.Length > 1;

    /// <summary>Guest bytes that it was made from: consecutive runs, sorted.</summary>
    public required (ulong Start, int Length)[] Runs { get; init; }

    /// <summary>Of the instructions that it was made from, one after the other (<see cref="Cache.GuestHash"/>). Code may have changed since.</summary>
    public required ulong Hash { get; init; }

    /// <summary>On a machine, the pages that they lie in, sorted; null in a process.</summary>
    public CodePage[]? Pages { get; set; }

    /// <summary>Where tier 1's block at the head jumps back to itself inside, the guest bytes of that block: it does not count those rounds. Else empty.</summary>
    public (ulong Start, int Length)[] LoopOfTierOne { get; set; } = [];

    /// <summary>
    /// Whether the region can count how often control comes to its head as tier 1 does. Not where tier 1's block there loops inside, and its instructions are also reached past
    /// the head: then their jumps to the head are rounds of that block, or arrivals at it, by the way that control came.
    /// </summary>
    public bool CountsAsTierOne
    {
        get
        {
            if (LoopOfTierOne.Length == 0) return true;
            foreach (RegionBlock from in Blocks)
            {
                if (!InLoop(from.Instructions[^1].Pc) && from.Successors().Any(to => to != Blocks[0] && InLoop(to.Pc))) return false;
            }
            return true;

            bool InLoop(ulong pc) => Array.Exists(LoopOfTierOne, r => pc - r.Start < (ulong)r.Length);
        }
    }

    /// <summary>How many guest instructions.</summary>
    public int Instructions { get; init; }

    /// <summary>Whether the instruction at an address is part of it.</summary>
    public bool Covers(ulong pc)
    {
        int low = 0, high = Runs.Length;
        while (low < high)
        {
            int middle = low + high >> 1;
            if (Runs[middle].Start <= pc) low = middle + 1;
            else high = middle;
        }
        return low > 0 && pc - Runs[low - 1].Start < (ulong)Runs[low - 1].Length;
    }

    public string Dump()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"region 0x{Head:x} ({Instructions} instructions, {Blocks.Length} blocks, {Ways.Length} ways in)\n");
        foreach (RegionBlock block in Blocks)
        {
            text.Append(CultureInfo.InvariantCulture, $" b{block.Index} context {block.Context}{(Array.IndexOf(Ways, block) is > 0 and var way ? $" way {way}" : "")}{(block.IsLoopHead ? block.InnermostLoop != null ? " innermost loop" : " loop" : "")}\n");
            foreach ((ulong pc, Instruction i) in block.Instructions) text.Append(CultureInfo.InvariantCulture, $"  0x{pc:x}: {i.Opcode} rd {i.Rd} rs1 {i.Rs1} rs2 {i.Rs2} imm {i.Imm}\n");
            text.Append(CultureInfo.InvariantCulture, $"  {block.Flow} next {Name(block.Next)} taken {Name(block.Taken)}{string.Concat(block.Cases.Select(c => " case " + Name(c)))}\n");
        }
        return text.ToString();

        static string Name(RegionEdge edge) => edge.Block != null ? "b" + edge.Block.Index.ToString(CultureInfo.InvariantCulture) : "0x" + edge.Pc.ToString("x", CultureInfo.InvariantCulture);
    }
}
