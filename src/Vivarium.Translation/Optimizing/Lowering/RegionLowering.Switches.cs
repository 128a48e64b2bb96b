using System.Globalization;
using System.Numerics;
using System.Text;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing.Lowering;

// Indirect jumps with many known targets: interpreters' dispatch. All jumps that lead to the same blocks share one dispatch block here, which LLVM's code
// generator copies behind every block that comes to it (-tail-dup-*, LlvmLibrary.SetOptions): so each of the guest's jumps has a host jump of its own to be predicted
// by, and an interpreter with one jump gets as many as it has opcodes. What stands in front of that one jump (the poll of the loop, a check of bounds) is
// copied here, since LLVM copies only blocks that end in the jump itself.
internal sealed partial class RegionLowering
{
    private const int FewTargets = 3, MinWays = 4, MaxWays = 400, MaxThreaded = 20;

    /// <summary>A dispatch block: where it leads, and which jumps come to it.</summary>
    private sealed class Dispatch(int number)
    {
        public readonly Dictionary<ulong, RegionEdge> Edges = [];
        public readonly string Label = string.Create(CultureInfo.InvariantCulture, $"dispatch{number}");

        /// <summary>Some edge closes a loop: whoever comes here polls.</summary>
        public bool IsBack;
    }

    private readonly Dictionary<RegionBlock, Dispatch> _dispatches = [];

    /// <summary>By the first of some blocks that lead straight to a switch: those blocks, the switch last.</summary>
    private readonly Dictionary<RegionBlock, RegionBlock[]> _threads = [];
    private readonly Queue<(string Label, RegionBlock First, bool Polls)> _copies = [];
    private (RegionBlock Block, string Label)? _nextOfCopy;

    private void FindSwitches()
    {
        foreach (RegionBlock block in _region.Blocks)
        {
            if (block.Flow != RegionFlow.Switch || block.Cases.Length <= FewTargets) continue;
            Dispatch? shared = _dispatches.FirstOrDefault(d => d.Key.Context == block.Context && block.Cases.Any(d.Value.Edges.ContainsValue)).Value;
            _dispatches[block] = shared ??= new Dispatch(_dispatches.Count);
            foreach (RegionEdge edge in block.Cases)
            {
                shared.Edges[edge.Pc] = edge; // the builder has given all of them the same
                shared.IsBack |= IsBack(block, edge.Block!);
            }
            FindThread(block);
        }
    }

    private void FindThread(RegionBlock last)
    {
        var chain = new List<RegionBlock> { last };
        int instructions = last.Instructions.Count;
        while (chain[0].Predecessors.Count == 1 && chain[0].Predecessors[0] is { Flow: RegionFlow.Branch or RegionFlow.Jump } before && before != last && !before.Successors().Any(static s => s.IsLoopHead)
            && (instructions += before.Instructions.Count) <= MaxThreaded) chain.Insert(0, before);
        if (instructions <= MaxThreaded && chain[0].Predecessors.Count is >= MinWays and <= MaxWays) _threads[chain[0]] = [.. chain];
    }

    private static bool IsBack(RegionBlock from, RegionBlock to) => to.IsLoopHead && (to.InnermostLoop?.Contains(from) ?? from.Order >= to.Order);

    /// <summary>The label of a copy of the blocks from <paramref name="to"/> to a switch, for one of its predecessors; null where it has none.</summary>
    private string? Threaded(RegionBlock from, RegionBlock to)
    {
        if (_nextOfCopy is { } next && next.Block == to) return next.Label;
        if (!_threads.ContainsKey(to)) return null;
        string label = Label("copy");
        _copies.Enqueue((label, to, IsBack(from, to) || to == _region.Blocks[0] || _dispatches[_threads[to][^1]].IsBack));
        return label;
    }

    /// <summary>What the blocks of the region asked for.</summary>
    private void EmitSwitches()
    {
        foreach (Dispatch dispatch in _dispatches.Values.Distinct())
        {
            Emit(dispatch);
            _text.Append(_behind);
            _behind.Clear();
        }
        while (_copies.TryDequeue(out (string Label, RegionBlock First, bool Polls) copy))
        {
            RegionBlock[] chain = _threads[copy.First];
            string label = copy.Label;
            if (copy.Polls)
            {
                _text.Append(CultureInfo.InvariantCulture, $"{label}:\n");
                CountRound(copy.First);
                Poll(copy.First, label = Label("polled"));
            }
            for (int n = 0; n < chain.Length; n++)
            {
                string next = Label("copy");
                _nextOfCopy = n + 1 < chain.Length ? (chain[n + 1], next) : null;
                LowerBody(chain[n], label);
                label = next;
            }
            _nextOfCopy = null;
        }
    }

    /// <summary>Ends a block by a jump to <paramref name="target"/>. Slots are up to date.</summary>
    private void Switch(RegionBlock block, string target)
    {
        if (!_dispatches.TryGetValue(block, out Dispatch? dispatch))
        {
            // Compared one after the other, the most frequent first, as distances: a comparison holds 32 bits.
            ulong origin = block.Cases[0].Pc;
            string distance = Op($"sub i64 {target}, {Constant(origin)}"), leave = LeaveFor(target);
            _text.Append(CultureInfo.InvariantCulture, $" switch i64 {distance}, label %{leave} [");
            foreach (RegionEdge edge in block.Cases) _text.Append(CultureInfo.InvariantCulture, $" i64 {Constant(edge.Pc - origin)}, label %{Edge(block, edge)}");
            _text.Append(CultureInfo.InvariantCulture, $" ], !prof !{7 + block.Cases.Length}\n");
            return;
        }
        // Behind an empty assembler statement LLVM does not see that all who come to the dispatch do the same in front of it, and leaves it where it is.
        Line($"store i64 {Opaque(target)}, ptr %jump");
        if (!dispatch.IsBack || _threads.Values.Any(t => t[^1] == block))
        {
            // The copies have polled.
            Line($"br label %{dispatch.Label}");
            return;
        }
        Line("fence syncscope(\"singlethread\") seq_cst");
        string asked = Op($"icmp ne i32 {Op("load volatile i32, ptr %leave")}, 0");
        Line($"br i1 {asked}, label %{LeaveFor(target)}, label %{dispatch.Label}, !prof !0");
    }

    /// <summary>A block that leaves for <paramref name="target"/>.</summary>
    private string LeaveFor(string target)
    {
        string exit = ExitBlock(new RegionExit(0, true)), label = Label("leave");
        StringBuilder text = Behind(label);
        Line($"store i64 {target}, ptr %indirect");
        Line($"br label %{exit}");
        _text = text;
        return label;
    }

    /// <summary>The jump by the address in %jump: by a hash of it that is perfect for those that are known, and a comparison at the place it leads to.</summary>
    private void Emit(Dispatch dispatch)
    {
        BeginEmpty();
        _text.Append(CultureInfo.InvariantCulture, $"{dispatch.Label}:\n");
        string target = Op("load i64, ptr %jump"), leave = LeaveFor(target);
        ulong[] pcs = [.. dispatch.Edges.Keys];
        if (!TargetHash.TryFind(pcs, out TargetHash hash))
        {
            _text.Append(CultureInfo.InvariantCulture, $" switch i64 {target}, label %{leave} [");
            foreach (RegionEdge edge in dispatch.Edges.Values) _text.Append(CultureInfo.InvariantCulture, $" i64 {Constant(edge.Pc)}, label %{CaseLabel(dispatch, edge)}");
            _text.Append(" ]\n");
            return;
        }
        string value = Op($"trunc i64 {target} to i32");
        if (hash.Factor != 1) value = Op($"mul i32 {value}, {(int)hash.Factor}");
        if (hash.Shift != 0) value = Op($"lshr i32 {value}, {hash.Shift}");
        value = Op($"and i32 {value}, {(1 << hash.Bits) - 1}");
        string never = Label("never");
        var cases = new string[1 << hash.Bits];
        Array.Fill(cases, leave);
        foreach (RegionEdge edge in dispatch.Edges.Values)
        {
            string label = Label("case"), to = CaseLabel(dispatch, edge);
            StringBuilder text = Behind(label);
            Line($"br i1 {Op($"icmp eq i64 {target}, {Constant(edge.Pc)}")}, label %{to}, label %{leave}, !prof !5");
            _text = text;
            cases[hash.Of(edge.Pc)] = label;
        }
        _text.Append(CultureInfo.InvariantCulture, $" switch i32 {value}, label %{never} [");
        for (int n = 0; n < cases.Length; n++) _text.Append(CultureInfo.InvariantCulture, $" i32 {n}, label %{cases[n]}");
        _text.Append(CultureInfo.InvariantCulture, $" ]\n{never}:\n unreachable\n");
    }

    /// <summary>Whoever came to the dispatch has polled; what is left to do is what the target wants.</summary>
    private string CaseLabel(Dispatch dispatch, RegionEdge edge)
    {
        RegionBlock to = edge.Block!;
        if (_threads.TryGetValue(to, out _))
        {
            string copy = Label("copy");
            _copies.Enqueue((copy, to, true));
            return Cleaned(to, copy);
        }
        string label = EntryLabel(to);
        if (to == _region.Blocks[0] && CountsRounds)
        {
            string count = Label("count");
            StringBuilder text = Behind(count);
            CountRound(to);
            Line($"br label %{label}");
            _text = text;
            label = count;
        }
        return Cleaned(to, label);
    }

    /// <summary>Nothing is known of any register.</summary>
    private void BeginEmpty()
    {
        Array.Clear(_x);
        _xWritten = 0;
        Array.Clear(_f);
        _fWritten = _dirty = 0;
    }
}

/// <summary>A perfect hash of some guest addresses: the product's bits from <paramref name="Shift"/> on.</summary>
internal readonly record struct TargetHash(uint Factor, int Shift, int Bits)
{
    public int Of(ulong pc) => (int)((uint)pc * Factor >> Shift & ((1u << Bits) - 1));

    /// <summary>Finds one with a table as small as possible; false where that would be too large.</summary>
    public static bool TryFind(ReadOnlySpan<ulong> pcs, out TargetHash hash)
    {
        int least = BitOperations.Log2((uint)pcs.Length * 2 - 1);
        var seen = new int[1 << Math.Min(least + 3, 12)];
        int round = 0;
        uint random = 0x9E3779B9;
        for (int bits = least; 1 << bits <= seen.Length; bits++)
        {
            for (int shift = 1; shift <= 8; shift++)
            {
                if (Fits(pcs, hash = new TargetHash(1, shift, bits), seen, ++round)) return true;
            }
            for (int tries = 0; tries < 3000; tries++)
            {
                random = random * 1664525 + 1013904223;
                if (Fits(pcs, hash = new TargetHash(random | 1, 32 - bits, bits), seen, ++round)) return true;
            }
        }
        hash = default;
        return false;
    }

    private static bool Fits(ReadOnlySpan<ulong> pcs, TargetHash hash, int[] seen, int round)
    {
        foreach (ulong pc in pcs)
        {
            ref int slot = ref seen[hash.Of(pc)];
            if (slot == round) return false;
            slot = round;
        }
        return true;
    }
}
