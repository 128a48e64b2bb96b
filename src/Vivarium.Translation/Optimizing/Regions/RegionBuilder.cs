using Vivarium.Host;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Cache;
using Vivarium.Translation.FrontEnd;
using Vivarium.Translation.Optimizing.Lowering;

namespace Vivarium.Translation.Optimizing.Regions;

/// <summary>
/// Grows a region around a hot guest address: the largest loop through it that fits, with direct calls inlined. What cannot get back to the
/// loop's head is left out. Calls that cannot be part of it (too deep, recursive, by a pointer) and system calls leave the region, which may be entered again behind them.
/// Code that is in no loop of its own function is looked for in the loops of those that were seen to call it. Of a loop that is too large what was never seen to run is left out.
/// Code that is in no loop of its own function is looked for in the loops of those that were seen to call it, and else becomes a region with its function. Of a loop that is too
/// large what was never seen to run is left out.
/// </summary>
/// <remarks>Works instruction by instruction: nodes are guest addresses in a calling context. Not thread-safe.</remarks>
internal sealed class RegionBuilder
{
    private const int MaxNodes = 6000, MaxDepth = 3, MinFunction = 20, MaxCallees = 48, MaxCallers = 2, MaxLevels = 3, MaxGrowths = 6, MinSeen = 8, MaxWays = 32;

    /// <summary>As a level: only loops of callers.</summary>
    public const int Callers = -1;

    private readonly GuestCodeReader _reader = new();
    private readonly List<Node> _nodes = [];
    private readonly Dictionary<(ulong, int), Node> _byKey = [];
    private readonly List<(int Parent, ulong Return, ulong Callee, int Depth)> _contexts = [];
    private bool _allowFloat;
    private MachinePages? _machine;
    private Func<ulong, ulong[]> _targetsOf = static _ => [];
    private Func<ulong, (int Taken, int Fallen)>? _branchAt;
    private readonly List<Node> _cold = []; // branches whose targets nobody is known to have executed
    private Func<ulong, bool> _isWarm = static _ => true;
    private readonly List<ulong> _returns = []; // of the function that the last growth began in
    private Func<ulong, ulong[]> _functionsAround = static _ => [];
    private int _depth = MaxDepth;
    private bool _isLean; // leave out what was never seen to run
    private int _growths;
    private readonly Dictionary<ulong, Node> _backs = []; // by address
    private Func<ulong, bool>? _wantsWays;

    /// <summary>Indirect jumps that the last growth came to and whose targets nobody has observed.</summary>
    public int UnknownJumps { get; private set; }

    private readonly List<(ulong Pc, Opcode Opcode)> _stops = [];
    private int _tooLarge;

    /// <summary>Why the last growth gave no region, for people.</summary>
    public string Reason => (_tooLarge > 0 ? $"its {_tooLarge} loops are too large" : "no way leads back to it")
        + (_stops.Count == 0 ? "" : "; no way past " + string.Join(", ", _stops.Take(8).Select(s => $"{s.Opcode} at 0x{s.Pc:x}")));

    /// <summary>Most guest instructions in a region.</summary>
    public int MaxInstructions { get; init; } = 600;

    private sealed class Node(ulong pc, int context)
    {
        public readonly ulong Pc = pc;
        public readonly int Context = context;
        public Instruction Instruction;
        public RegionFlow Flow;
        public Node? Next, Taken;
        public Node?[] Cases = [];
        public ulong[] CasePcs = [];
        public ulong NextPc, TakenPc;

        /// <summary>Where control comes back to the region after it has left it here.</summary>
        public Node? Back;
        public ulong BackPc;

        /// <summary>The region cannot hold this instruction, but what comes behind it.</summary>
        public bool IsOutside;
        public int ConstantRegister; // what an auipc right in front of this instruction wrote
        public ulong Constant;

        // Tarjan
        public int Number, Low;
        public bool OnStack, IsIn, IsDecoded;
    }

    /// <summary>The region around <paramref name="hot"/>, or null where there is no loop that is worth it.</summary>
    /// <param name="memory">Where the code is.</param>
    /// <param name="mayExecute">See <see cref="RiscV.Execution.Executor.MayExecute"/>.</param>
    /// <param name="hot">An address in the loop.</param>
    /// <param name="allowFloat">Floating-point instructions may be part of it.</param>
    /// <param name="isWarm">Whether a branch target has been executed: other targets are left out.</param>
    /// <param name="level">How many enclosing loops to leave out, from the outermost; <see cref="Callers"/>: all.</param>
    /// <param name="targetsOf">Where the indirect jump at an address was seen to lead, most frequent first; empty where nobody has looked, or it leads everywhere.</param>
    /// <param name="machine">Of a machine's code, where its pages are.</param>
    /// <param name="functionsAround">Functions that were seen to be called and in which an address may lie, the nearest first.</param>
    /// <param name="branchAt">How often the branch at an address was seen to be taken and not to be.</param>
    /// <param name="wantsWays">Whether the region with this head is to be entered behind its calls, too, which makes its loops worse; a loop that is closed by such calls
    /// only always is.</param>
    public GuestRegion? Build(MemoryWindow memory, Func<ulong, bool>? mayExecute, ulong hot, Func<ulong, bool> isWarm, int level, bool allowFloat, Func<ulong, ulong[]>? targetsOf = null,
        MachinePages? machine = null, Func<ulong, (int Taken, int Fallen)>? branchAt = null, Func<ulong, ulong[]>? functionsAround = null,
        Func<ulong, bool>? wantsWays = null)
    {
        _targetsOf = targetsOf ?? (static _ => []);
        UnknownJumps = _tooLarge = 0;
        _stops.Clear();
        _machine = machine;
        if (machine != null) _reader.ResetToPages(memory, machine.OffsetOf);
        else _reader.Reset(memory, mayExecute);
        _allowFloat = allowFloat;
        _branchAt = branchAt;
        _isWarm = isWarm;
        _wantsWays = wantsWays;
        _growths = 0;
        GuestRegion? region = Around(hot, level);
        if (region != null || level > 0 || targetsOf == null) return region;
        _functionsAround = functionsAround ?? (static _ => []);
        return InCallers(hot, 1) ?? FunctionAround(hot);
    }

    /// <summary>The function that <paramref name="hot"/> lies in, as far as it fits: with what it calls, less deep, or without what was never seen to run.</summary>
    private GuestRegion? FunctionAround(ulong hot)
    {
        ulong[] functions = _functionsAround(hot);
        if (functions.Length == 0) UnknownJumps++;
        foreach (ulong function in functions)
        {
            for (int attempt = 0; attempt < 3; attempt++)
            {
                _isLean = attempt > 0 && _branchAt != null;
                _depth = attempt == 2 ? 1 : MaxDepth;
                GrowAround(function, Callers);
                if (_wantsWays?.Invoke(function) == true) GrowBack([.. _nodes]);
                _depth = MaxDepth;
                if (!_byKey.ContainsKey((hot, 0))) break;
                List<Node> nodes = _nodes.FindAll(static n => n.Instruction.Opcode != Opcode.Illegal);
                Node head = _nodes[0];
                if (nodes.Count > MaxInstructions) continue;
                if (nodes.Count < MinFunction || head.Instruction.Opcode == Opcode.Illegal || !RestoresOnly(nodes, head)) break;
                return Make(nodes, head);
            }
        }
        return null;
    }

    /// <summary>The region in a loop of those that call the function which the last growth began in, or of their callers.</summary>
    private GuestRegion? InCallers(ulong hot, int depth)
    {
        var callers = new List<ulong>();
        foreach (ulong pc in _returns)
        {
            ulong[] targets = _targetsOf(pc);
            if (targets.Length == 0) UnknownJumps++;
            foreach (ulong target in targets.Take(MaxCallers))
            {
                if (!callers.Contains(target)) callers.Add(target);
            }
        }
        foreach (ulong caller in callers.Take(MaxCallers))
        {
            if (_growths >= MaxGrowths) return null;
            GuestRegion? region = Around(caller, 0) ?? (depth < MaxLevels ? InCallers(hot, depth + 1) : null);
            if (region != null && Array.Exists(region.Blocks, b => b.Instructions.Exists(i => i.Pc == hot))) return region;
        }
        return null;
    }

    private GuestRegion? Around(ulong pc, int level)
    {
        _isLean = false;
        int tooLarge = _tooLarge;
        GuestRegion? region = GrowAround(pc, level);
        if (region != null || _tooLarge == tooLarge || _branchAt == null) return region;
        _isLean = true;
        region = GrowAround(pc, level);
        // What the functions call that it calls is left out before the loop itself is.
        int depth = _depth;
        while (region == null && --_depth > 0) region = GrowAround(pc, level);
        _depth = depth;
        return region;
    }

    private GuestRegion? GrowAround(ulong hot, int level)
    {
        _growths++;
        _nodes.Clear();
        _byKey.Clear();
        _contexts.Clear();
        _returns.Clear();
        _contexts.Add((-1, 0, 0, 0));
        _backs.Clear();
        _cold.Clear();
        Grow(Add(hot, 0), _isWarm);
        if (level == Callers) return null;
        if (!_byKey.TryGetValue((hot, 0), out Node? origin)) return null;
        foreach (Node n in _nodes) n.IsIn = true;
        if (LoopAround(origin).Count == 0)
        {
            // No loop but by way of what it calls.
            GrowBack(_nodes);
            foreach (Node n in _nodes) n.IsIn = true;
        }
        while (true)
        {
            List<Node> loop = LoopAround(origin);
            if (loop.Count == 0) return null;
            Node head = HeadOf(loop, origin);
            // Interpreters' loops are large, and worth it.
            int limit = loop.Exists(static n => n.Flow == RegionFlow.Switch) ? 3 * MaxInstructions : MaxInstructions;
            if (level <= 0 && loop.Count <= limit)
            {
                if (_wantsWays?.Invoke(head.Pc) == true) loop = WithBack(loop, head, limit, origin);
                return !head.IsOutside && RestoresOnly(loop, head) ? Make(loop, head) : null;
            }
            if (level <= 0) _tooLarge++;
            level--;
            // One loop deeper: without the head there are no ways around this one.
            foreach (Node n in _nodes) n.IsIn = false;
            foreach (Node n in loop) n.IsIn = n != head;
            if (head == origin) return null;
        }
    }

    /// <summary>The loop with what comes behind its calls out of the region, where that leads back into it.</summary>
    private List<Node> WithBack(List<Node> loop, Node head, int limit, Node origin)
    {
        if (!GrowBack(loop)) return loop;
        foreach (Node n in _nodes) n.IsIn = true;
        List<Node> larger = LoopAround(origin, head);
        return larger.Count > loop.Count && larger.Count <= limit ? larger : loop;
    }

    /// <summary>Grows on behind calls out of the region that some nodes lead to, and what these come to. False where there are none.</summary>
    private bool GrowBack(List<Node> from)
    {
        bool any = false;
        var seen = new HashSet<Node>(from);
        var work = new Stack<Node>(from);
        while (work.TryPop(out Node? n))
        {
            if (n.BackPc != 0 && n.Back == null && _isWarm(n.BackPc))
            {
                // By whatever calls control comes back to an address, it is one way in.
                if (!_backs.TryGetValue(n.BackPc, out Node? back) && (back = TryAdd(n.BackPc, n.Context)) != null) _backs.Add(n.BackPc, back);
                if (back is { IsDecoded: false }) Grow(back, _isWarm);
                n.Back = back;
                any |= back != null;
            }
            Push(n.Next);
            Push(n.Taken);
            Push(n.Back);
            foreach (Node? c in n.Cases) Push(c);
        }
        return any;

        void Push(Node? to)
        {
            if (to != null && seen.Add(to)) work.Push(to);
        }
    }

    private void Grow(Node first, Func<ulong, bool> isWarm)
    {
        var work = new Queue<Node>();
        work.Enqueue(first);
        first.Number = 1;
        while (work.TryDequeue(out Node? n))
        {
            if (n.IsDecoded) continue;
            Decode(n, isWarm);
            if (n.Next is { Number: 0 } next)
            {
                next.Number = 1;
                work.Enqueue(next);
            }
            if (n.Taken is { Number: 0 } taken)
            {
                taken.Number = 1;
                work.Enqueue(taken);
            }
            foreach (Node? c in n.Cases)
            {
                if (c is not { Number: 0 }) continue;
                c.Number = 1;
                work.Enqueue(c);
            }
        }
        Join();
    }

    /// <summary>
    /// Branches to what was reached by other ways, too, stay in the region. Tier 1's blocks have such branches inside themselves, forward over a few instructions: then nothing
    /// says that their targets have been executed.
    /// </summary>
    private void Join()
    {
        foreach (Node n in _cold) n.Taken ??= _byKey.GetValueOrDefault((n.TakenPc, n.Context));
    }

    private Node Add(ulong pc, int context)
    {
        if (_byKey.TryGetValue((pc, context), out Node? node)) return node;
        node = new Node(pc, context);
        _byKey.Add((pc, context), node);
        _nodes.Add(node);
        return node;
    }

    private Node? TryAdd(ulong pc, int context) => _nodes.Count < MaxNodes || _byKey.ContainsKey((pc, context)) ? Add(pc, context) : null;

    private void Decode(Node n, Func<ulong, bool> isWarm)
    {
        n.Number = 1;
        n.IsDecoded = true;
        n.Flow = RegionFlow.Exit;
        n.NextPc = n.Pc;
        if (!_reader.TryFetch(n.Pc, out uint bits)) return;
        Instruction i = Decoder.Decode(bits);
        bool quiet = _allowFloat && (RegionLowering.IsFlagRead(i) ? FlagObserver.IsQuietRead(n.Pc, _reader)
            : RegionLowering.IsFlagRestore(i) ? FlagObserver.IsQuietRestore(n.Pc, i.Rs1, _reader) : RegionLowering.IsModeRead(i));
        if ((!quiet && !RegionLowering.Supports(i, _allowFloat)) || (_machine != null && !_machine.Has(i)))
        {
            _stops.Add((n.Pc, i.Opcode));
            if (i.Opcode != Opcode.Ecall) return;
            n.IsOutside = true;
            n.BackPc = n.Pc + i.Length;
            return;
        }

        n.Instruction = i;
        ulong next = n.Pc + i.Length;
        switch (i.Opcode)
        {
            case Opcode.Jal:
                Goto(n, i.Rd, next, n.Pc + (ulong)i.Imm);
                break;
            case Opcode.Jalr:
                if (n.ConstantRegister != 0 && i.Rs1 == n.ConstantRegister)
                {
                    // Somebody may also jump here with another value: the return's check covers that.
                    Goto(n, i.Rd, next, (n.Constant + (ulong)i.Imm) & ~1UL);
                    n.Flow = n.Next == null ? RegionFlow.Indirect : RegionFlow.Return;
                }
                else if (i.Rd == 0 && i.Rs1 is 1 or 5 && i.Imm == 0 && n.Context != 0)
                {
                    n.Flow = RegionFlow.Return;
                    n.NextPc = _contexts[n.Context].Return;
                    n.Next = TryAdd(n.NextPc, _contexts[n.Context].Parent);
                }
                else if (i.Rd == 0 && i.Rs1 is 1 or 5)
                {
                    n.Flow = RegionFlow.Indirect; // back to a caller that is not part of the region
                    _returns.Add(n.Pc);
                }
                else Observed(n, i.Rd, next);
                break;
            case >= Opcode.Beq and <= Opcode.Bgeu:
                n.Flow = RegionFlow.Branch;
                n.TakenPc = n.Pc + (ulong)i.Imm;
                n.NextPc = next;
                (int taken, int fallen) = _isLean ? _branchAt!(n.Pc) : default;
                if (taken < MinSeen || fallen != 0) n.Next = TryAdd(next, n.Context);
                if (fallen >= MinSeen && taken == 0) break;
                if (n.TakenPc <= n.Pc || isWarm(n.TakenPc) || _byKey.ContainsKey((n.TakenPc, n.Context))) n.Taken = TryAdd(n.TakenPc, n.Context);
                else _cold.Add(n);
                break;
            default:
                n.Flow = RegionFlow.Jump;
                n.NextPc = next;
                n.Next = TryAdd(next, n.Context);
                if (i.Opcode == Opcode.Auipc && n.Next is { Number: 0 } behind)
                {
                    behind.ConstantRegister = i.Rd;
                    behind.Constant = n.Pc + (ulong)i.Imm;
                }
                break;
        }
    }

    /// <summary>A jump or call to wherever it was seen to lead.</summary>
    private void Observed(Node n, int link, ulong next)
    {
        n.Flow = RegionFlow.Indirect;
        ulong[] targets = _targetsOf(n.Pc);
        if (link != 0 && targets.Length is 0 or > MaxCallees) n.BackPc = next;
        if (targets.Length == 0)
        {
            UnknownJumps++;
            return;
        }
        if (link == 0)
        {
            n.Flow = RegionFlow.Switch;
            n.CasePcs = targets;
            n.Cases = [.. targets.Select(t => TryAdd(t, n.Context))];
            return;
        }
        // A call through a pointer: the functions that it was seen to lead to are inlined behind checks.
        if (targets.Length == 1)
        {
            Goto(n, link, next, targets[0]);
            n.Flow = n.Next == null ? RegionFlow.Indirect : RegionFlow.Return;
            return;
        }
        if (targets.Length > MaxCallees) return;
        Node?[] callees = [.. targets.Select(t => Callee(n, next, t))];
        if (Array.Exists(callees, static c => c == null)) n.BackPc = next;
        if (Array.TrueForAll(callees, static c => c == null)) return;
        n.Flow = RegionFlow.Switch;
        n.CasePcs = targets;
        n.Cases = callees;
    }

    /// <summary>A jump or call to a known address.</summary>
    private void Goto(Node n, int link, ulong next, ulong target)
    {
        n.Flow = RegionFlow.Jump;
        n.NextPc = target;
        if (link == 0)
        {
            n.Next = TryAdd(target, n.Context);
            return;
        }
        n.Next = Callee(n, next, target);
        if (n.Next == null) n.BackPc = next;
    }

    /// <summary>The start of a function that is called at <paramref name="n"/>, to be inlined; null where it is too deep or recursive: then control leaves here.</summary>
    private Node? Callee(Node n, ulong next, ulong target)
    {
        int depth = _contexts[n.Context].Depth;
        if (depth >= _depth) return null;
        for (int c = n.Context; c > 0; c = _contexts[c].Parent)
        {
            if (_contexts[c].Callee == target) return null;
        }
        _contexts.Add((n.Context, next, target, depth + 1));
        return TryAdd(target, _contexts.Count - 1);
    }

    /// <summary>The strongly connected part that holds <paramref name="origin"/>; empty where it lies in no loop. With <paramref name="head"/>, without what leads to that from
    /// in front of it: so compilers enter a loop from the one around it.</summary>
    private List<Node> LoopAround(Node origin, Node? head = null)
    {
        int number = 0;
        var stack = new Stack<Node>();
        var path = new Stack<(Node Node, int Edge)>();
        foreach (Node n in _nodes) (n.Number, n.Low, n.OnStack) = (0, 0, false);
        Enter(origin);
        while (path.Count > 0)
        {
            (Node n, int edge) = path.Pop();
            if (edge < 3 + n.Cases.Length)
            {
                path.Push((n, edge + 1));
                Node? to = edge == 0 ? n.Next : edge == 1 ? n.Taken : edge == 2 ? n.Back : n.Cases[edge - 3];
                if (to is not { IsIn: true } || (to == head && n.Context == 0 && n.Pc < to.Pc)) continue;
                if (to.Number == 0) Enter(to);
                else if (to.OnStack) n.Low = Math.Min(n.Low, to.Number);
                continue;
            }
            if (path.Count > 0) path.Peek().Node.Low = Math.Min(path.Peek().Node.Low, n.Low);
            if (n.Low != n.Number) continue;
            var component = new List<Node>();
            Node last;
            do
            {
                last = stack.Pop();
                last.OnStack = false;
                component.Add(last);
            }
            while (last != n);
            if (n != origin) continue;
            return component.Count > 1 || n.Next == n || n.Taken == n || n.Back == n || n.Cases.Contains(n) ? component : [];
        }
        return [];

        void Enter(Node n)
        {
            n.Number = n.Low = ++number;
            n.OnStack = true;
            stack.Push(n);
            path.Push((n, 0));
        }
    }

    /// <summary>The lowest target of a backward edge outside of inlined calls: where compilers put a loop's head.</summary>
    private static Node HeadOf(List<Node> loop, Node origin)
    {
        var set = new HashSet<Node>(loop);
        Node? head = null;
        foreach (Node n in loop)
        {
            Consider(n, n.Next);
            Consider(n, n.Taken);
            foreach (Node? c in n.Cases) Consider(n, c);
        }
        return head ?? origin;

        void Consider(Node from, Node? to)
        {
            if (to == null || to.Context != 0 || from.Context != 0 || to.Pc > from.Pc || !set.Contains(to)) return;
            if (head == null || to.Pc < head.Pc) head = to;
        }
    }

    private GuestRegion Make(List<Node> loop, Node head)
    {
        Node[] backs = BacksOf(loop, head);
        loop = loop.FindAll(static n => !n.IsOutside);
        var members = new HashSet<Node>(loop);
        var incoming = new Dictionary<Node, int>();
        foreach (Node back in backs) incoming[back] = 2;
        foreach (Node n in loop)
        {
            if (n.Next != null && members.Contains(n.Next)) incoming[n.Next] = incoming.GetValueOrDefault(n.Next) + (n.Flow == RegionFlow.Jump && !IsTransfer(n) ? 1 : 2);
            if (n.Taken != null && members.Contains(n.Taken)) incoming[n.Taken] = incoming.GetValueOrDefault(n.Taken) + 2;
            foreach (Node? c in n.Cases)
            {
                if (c != null && members.Contains(c)) incoming[c] = incoming.GetValueOrDefault(c) + 2;
            }
        }
        var blocks = new Dictionary<Node, RegionBlock>();
        var list = new List<RegionBlock>();
        var work = new Stack<Node>();
        BlockOf(head);
        foreach (Node back in backs) BlockOf(back);
        while (work.TryPop(out Node? first))
        {
            RegionBlock block = blocks[first];
            Node n = first;
            while (true)
            {
                block.Instructions.Add((n.Pc, n.Instruction));
                if (n.Flow == RegionFlow.Jump && n.Next is { } next && members.Contains(next) && next != head && incoming[next] == 1)
                {
                    n = next;
                    continue;
                }
                break;
            }
            block.Flow = n.Flow;
            block.Next = Edge(n.Next, n.NextPc);
            if (n.Flow == RegionFlow.Branch)
            {
                block.Taken = Edge(n.Taken, n.TakenPc);
                block.Seen = _branchAt?.Invoke(n.Pc) ?? default;
            }
            if (n.Flow == RegionFlow.Switch)
            {
                var cases = new List<RegionEdge>();
                for (int c = 0; c < n.Cases.Length; c++)
                {
                    if (Edge(n.Cases[c], n.CasePcs[c]) is { Block: not null } edge) cases.Add(edge);
                }
                block.Cases = [.. cases];
                if (cases.Count == 0) block.Flow = RegionFlow.Indirect;
            }
            if (n.Flow == RegionFlow.Jump && block.Next.Block == null) block.Flow = RegionFlow.Exit;
            if (n.Flow == RegionFlow.Return && block.Next.Block == null) block.Flow = RegionFlow.Indirect;
        }
        ShareCases(list);
        var region = new GuestRegion { Head = head.Pc, Blocks = [.. list], Runs = RunsOf(loop), Hash = HashOf(loop), Instructions = loop.Count, Ways = [.. backs.Prepend(head).Select(n => blocks[n])] };
        LoopFinder.Run(region);
        if (_machine != null) region.Pages = _machine.PagesOf(region.Runs);
        return region;

        RegionBlock BlockOf(Node n)
        {
            if (blocks.TryGetValue(n, out RegionBlock? block)) return block;
            block = new RegionBlock(list.Count, n.Pc, n.Context);
            list.Add(block);
            blocks.Add(n, block);
            work.Push(n);
            return block;
        }

        RegionEdge Edge(Node? to, ulong pc) => to != null && members.Contains(to) ? new RegionEdge(BlockOf(to), pc) : new RegionEdge(null, pc);
    }

    /// <summary>Jumps that were seen to lead to one block both may lead to each other's: they are copies of an interpreter's dispatch, which one observation does not see in full.</summary>
    private static void ShareCases(List<RegionBlock> blocks)
    {
        var families = new List<(int Context, Dictionary<ulong, RegionEdge> Edges, List<RegionBlock> Jumps)>();
        foreach (RegionBlock block in blocks)
        {
            if (block.Flow != RegionFlow.Switch) continue;
            var family = (block.Context, Edges: block.Cases.ToDictionary(static c => c.Pc), Jumps: new List<RegionBlock> { block });
            for (int n = families.Count - 1; n >= 0; n--)
            {
                if (families[n].Context != block.Context || !families[n].Edges.Values.Any(family.Edges.ContainsValue)) continue;
                foreach (RegionEdge edge in families[n].Edges.Values) family.Edges[edge.Pc] = edge;
                family.Jumps.AddRange(families[n].Jumps);
                families.RemoveAt(n);
            }
            families.Add(family);
        }
        foreach ((_, Dictionary<ulong, RegionEdge> edges, List<RegionBlock> jumps) in families)
        {
            if (jumps.Count < 2) continue;
            foreach (RegionBlock jump in jumps) jump.Cases = [.. edges.Values];
        }
    }

    /// <summary>Whether control comes to every fsflags of the loop by way of an frflags of the same register only: then nothing has to be restored (<see cref="FlagObserver"/>).
    /// What reads frm or flags must be among floating point, which the entry looks at on a machine.</summary>
    private bool RestoresOnly(List<Node> loop, Node head)
    {
        if (!loop.Exists(static n => n.Instruction.Opcode is Opcode.Csrrs or Opcode.Csrrw)) return true;
        if (_machine != null && !loop.Exists(static n => RegionLowering.IsFloat(n.Instruction.Opcode))) return false;
        var predecessors = new Dictionary<Node, List<Node>>();
        foreach (Node n in loop)
        {
            foreach (Node? to in (Node?[])[n.Next, n.Taken, .. n.Cases])
            {
                if (to == null) continue;
                if (!predecessors.TryGetValue(to, out List<Node>? list)) predecessors.Add(to, list = []);
                list.Add(n);
            }
        }
        var members = new HashSet<Node>(loop);
        Node[] backs = BacksOf(loop, head);
        foreach (Node restore in loop)
        {
            if (!RegionLowering.IsFlagRestore(restore.Instruction)) continue;
            var seen = new HashSet<Node> { restore };
            var work = new Stack<Node>(seen);
            while (work.TryPop(out Node? n))
            {
                if (n == head || backs.Contains(n)) return false;
                foreach (Node p in predecessors.GetValueOrDefault(n) ?? [])
                {
                    if (members.Contains(p) && !(RegionLowering.IsFlagRead(p.Instruction) && p.Instruction.Rd == restore.Instruction.Rs1) && seen.Add(p)) work.Push(p);
                }
            }
        }
        return true;
    }

    /// <summary>Where control comes back into the loop, each address once; not its head.</summary>
    private static Node[] BacksOf(List<Node> loop, Node head)
    {
        var members = new HashSet<Node>(loop);
        return [.. loop.Where(n => n.Back is { IsOutside: false } back && back.Pc != head.Pc && members.Contains(back)).Select(static n => n.Back!).Distinct().Take(MaxWays - 1)];
    }

    private static bool IsTransfer(Node n) => n.Instruction.Opcode is Opcode.Jal;

    /// <summary>Of the instructions as they were read; what was read twice and differed makes a hash that no code has.</summary>
    private static ulong HashOf(List<Node> loop)
    {
        ulong hash = GuestHash.Start;
        foreach ((ulong _, uint bits) in loop.Select(static n => (n.Pc, n.Instruction.Bits)).Distinct().OrderBy(static p => p.Pc)) hash = GuestHash.Add(hash, bits);
        return hash;
    }

    private static (ulong, int)[] RunsOf(List<Node> loop)
    {
        var runs = new List<(ulong Start, int Length)>();
        foreach ((ulong pc, int length) in loop.Select(n => (n.Pc, (int)n.Instruction.Length)).Distinct().OrderBy(p => p.Item1))
        {
            if (runs.Count > 0 && runs[^1].Start + (ulong)runs[^1].Length is var end && end >= pc && runs[^1].Length < 200)
                runs[^1] = (runs[^1].Start, (int)Math.Max(end - runs[^1].Start, pc + (ulong)length - runs[^1].Start));
            else runs.Add((pc, length));
        }
        return [.. runs];
    }
}
