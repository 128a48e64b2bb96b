namespace Vivarium.Translation.Optimizing.Regions;

/// <summary>Orders a region's blocks, and finds its loops' heads and which loops are innermost.</summary>
internal static class LoopFinder
{
    public static void Run(GuestRegion region)
    {
        RegionBlock[] blocks = region.Blocks;
        var order = new List<RegionBlock>();
        var state = new byte[blocks.Length]; // 1 on the path, 2 done
        var path = new Stack<(RegionBlock Block, IEnumerator<RegionBlock> Remaining)>();
        var backEdges = new List<(RegionBlock From, RegionBlock To)>();
        foreach (RegionBlock way in region.Ways)
        {
            // From the head first: what closes a loop does so whatever else leads into it.
            if (state[way.Index] != 0) continue;
            Enter(way);
            Walk();
        }
        order.Reverse();
        for (int i = 0; i < order.Count; i++) order[i].Order = i;
        RegionBlock head = blocks[0];
        order.Remove(head);
        order.Insert(0, head);
        order.CopyTo(blocks);

        foreach (IGrouping<RegionBlock, (RegionBlock From, RegionBlock To)> loop in backEdges.GroupBy(e => e.To))
        {
            HashSet<RegionBlock>? body = Body(loop.Key, loop.Select(e => e.From), region.Ways);
            if (body != null && !body.Any(b => b.IsLoopHead && b != loop.Key)) loop.Key.InnermostLoop = body;
        }

        void Walk()
        {
            while (path.Count > 0) Step();
        }

        void Step()
        {
            (RegionBlock block, IEnumerator<RegionBlock> rest) = path.Peek();
            if (!rest.MoveNext())
            {
                path.Pop();
                state[block.Index] = 2;
                order.Add(block);
                return;
            }
            RegionBlock to = rest.Current;
            if (!to.Predecessors.Contains(block)) to.Predecessors.Add(block);
            if (state[to.Index] == 0) Enter(to);
            else if (state[to.Index] == 1)
            {
                to.IsLoopHead = true;
                backEdges.Add((block, to));
            }
        }

        void Enter(RegionBlock block)
        {
            state[block.Index] = 1;
            path.Push((block, block.Successors().GetEnumerator()));
        }
    }

    /// <summary>The natural loop of <paramref name="head"/>; null when it can be entered elsewhere.</summary>
    private static HashSet<RegionBlock>? Body(RegionBlock head, IEnumerable<RegionBlock> latches, RegionBlock[] ways)
    {
        var body = new HashSet<RegionBlock> { head };
        var work = new Stack<RegionBlock>(latches);
        while (work.TryPop(out RegionBlock? block))
        {
            if (!body.Add(block)) continue;
            if (ways.Contains(block)) return null;
            foreach (RegionBlock p in block.Predecessors) work.Push(p);
        }
        return body;
    }
}
