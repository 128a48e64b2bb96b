using System.Globalization;
using System.Text;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing.Lowering;

// Loops and how requests to leave reach them. Loops poll at their back edges: one comparison with a word in memory. A poll would keep LLVM from
// vectorising a loop, so an innermost loop that counts (its last branch compares a register that grows by a constant with one that stays) runs in
// chunks of at most ChunkLimit rounds, with the poll between the chunks: within a chunk the branch is known to be taken, and the only
// exit of the chunk's loop is the chunk's own counter, which LLVM can always count.
internal sealed partial class RegionLowering
{
    private const int ChunkLimit = 1 << 14;

    private readonly Dictionary<RegionBlock, RegionBlock> _countedLatch = []; // latch -> head

    /// <summary>Counters of 32 bits, by latch: within a chunk they grow as 64 bits, which LLVM knows for an induction, and are sign-extended behind it.</summary>
    private readonly Dictionary<RegionBlock, int> _wordCounter = [];

    /// <summary>What stands around the head of an innermost loop: the start of a chunk, its end, and the poll.</summary>
    private void LoopFrame(RegionBlock head)
    {
        int h = head.Index;
        _text.Append(CultureInfo.InvariantCulture, $"pre{h}:\n");
        if (CountedLimit(head) is { } limit)
        {
            Line($"store i64 0, ptr %n{h}");
            Line($"store i64 {Opaque(EnterPages(head, limit))}, ptr %limit{h}");
            _text.Append(CultureInfo.InvariantCulture, $" br label %b{h}\n");
        }
        else
        {
            _text.Append(CultureInfo.InvariantCulture, $" br label %b{h}\nlatch{h}:\n");
            _text.Append(CultureInfo.InvariantCulture, $" br label %poll{h}\n");
        }
        _text.Append(CultureInfo.InvariantCulture, $"poll{h}:\n");
        if (IsCountedChunk(head))
        {
            CountChunk();
            AddRounds("1");
        }
        Poll(head);
    }

    /// <summary>One more round of the chunk, unless it is over.</summary>
    private void Count(int h, string again, string over)
    {
        string n = Op($"load i64, ptr %n{h}"), next = Op($"add nuw nsw i64 {n}, 1");
        Line($"store i64 {next}, ptr %n{h}");
        string limit = Op($"load i64, ptr %limit{h}"), more = Op($"icmp ult i64 {next}, {limit}");
        Line($"br i1 {more}, label %{again}, label %{over}, !prof !1");
    }

    /// <summary>A poll on a back edge of a loop that contains others.</summary>
    private string PollBlock(RegionBlock head)
    {
        string label = Label("poll");
        StringBuilder text = Behind(label);
        Poll(head);
        _text = text;
        return label;
    }

    /// <summary>Whether an edge to the region's head is counted as a round: tier 1 counts what comes to the head's block from outside of it.</summary>
    private bool CountsEdge(RegionBlock from)
    {
        ulong pc = from.Instructions[^1].Pc;
        return !Array.Exists(_region.LoopOfTierOne, r => pc - r.Start < (ulong)r.Length);
    }

    /// <summary>Control comes to <paramref name="to"/> again by an indirect jump.</summary>
    private void CountRound(RegionBlock to)
    {
        if (to == _region.Blocks[0] && CountsRounds) AddRounds("1");
    }

    private void AddRounds(string count) => Line($"store i64 {Op($"add i64 {Op("load i64, ptr %rounds")}, {count}")}, ptr %rounds");

    /// <summary>Whether <paramref name="head"/> is the region's, of a counted loop whose rounds count.</summary>
    private bool IsCountedChunk(RegionBlock head)
    {
        if (head != _region.Blocks[0]) return false;
        foreach ((RegionBlock latch, RegionBlock of) in _countedLatch)
        {
            if (of == head) return CountsEdge(latch);
        }
        return false;
    }

    /// <summary>The rounds that a chunk of the head's loop has gone back by itself.</summary>
    private void CountChunk() => AddRounds(Op($"load i64, ptr %n{_region.Blocks[0].Index}"));

    /// <summary><paramref name="target"/>, or a block in front of it that counts: a round where the edge leads back to the region's head, a chunk's where it leaves the
    /// counted loop there.</summary>
    private string Counted(RegionBlock from, RegionBlock? to, bool isBack, string target)
    {
        RegionBlock head = _region.Blocks[0];
        bool isRound = to == head && CountsEdge(from);
        bool isChunk = !isBack && head.InnermostLoop?.Contains(from) == true && (to == null || !head.InnermostLoop.Contains(to)) && IsCountedChunk(head);
        if (!isRound && !isChunk) return target;
        string label = Label("c");
        StringBuilder text = Behind(label);
        if (isRound) AddRounds("1");
        else CountChunk();
        Line($"br label %{target}");
        _text = text;
        return label;
    }

    /// <summary>Leaves for the dispatcher when somebody asked for it. The fence stops only the compiler: guest memory is read anew
    /// after it, as other harts may wait for that.</summary>
    private void Poll(RegionBlock head, string? go = null)
    {
        Line("fence syncscope(\"singlethread\") seq_cst");
        string asked = Op($"icmp ne i32 {Op("load volatile i32, ptr %leave")}, 0");
        string label = Label("leave");
        Line($"br i1 {asked}, label %{label}, label %{go ?? EntryLabel(head)}, !prof !0");
        _text.Append(CultureInfo.InvariantCulture, $"{label}:\n");
        CleanSlots(_dirtyIn[head.Index]);
        Line($"br label {Out(Placed(new RegionExit(head.Pc, false), rare: false))}");
    }

    /// <summary>Ends the latch of a counted loop; false for other blocks. Slots are up to date.</summary>
    private bool CountedLatch(RegionBlock latch)
    {
        if (!_countedLatch.TryGetValue(latch, out RegionBlock? head)) return false;
        string tail = Label("tail"), poll = $"poll{head.Index}";
        Count(head.Index, Cleaned(head, "b" + head.Index.ToString(CultureInfo.InvariantCulture)), tail);
        _text.Append(CultureInfo.InvariantCulture, $"{tail}:\n");
        if (IsCountedChunk(head)) Line($"store i64 {Op($"sub i64 {Op($"load i64, ptr %n{head.Index}")}, 1")}, ptr %n{head.Index}"); // the last one may not go back
        if (_wordCounter.TryGetValue(latch, out int counter)) Line($"store i64 {Op($"sext i32 {Op($"trunc i64 {Reload(counter)} to i32")} to i64")}, ptr %x{counter}");
        Instruction i = latch.Instructions[^1].Instruction;
        string condition = Condition(i.Opcode, Reload(i.Rs1), Reload(i.Rs2));
        _text.Append(CultureInfo.InvariantCulture, $" br i1 {condition}, label %{TailEdge(latch.Taken)}, label %{TailEdge(latch.Next)}, !prof !{(latch.Taken.Block == head ? 2 : 3)}\n");
        return true;

        string Reload(int r) => r == 0 ? "0" : Op($"load i64, ptr %x{r}");

        string TailEdge(RegionEdge edge) => edge.Block == head ? Cleaned(head, poll) : Edge(latch, edge);
    }

    /// <summary>How many rounds the loop makes at least, the last included, from the registers at its start (1 where that is not plain); null
    /// where it is not of that form.</summary>
    private string? CountedLimit(RegionBlock head)
    {
        HashSet<RegionBlock> body = head.InnermostLoop!;
        RegionBlock? latch = null;
        foreach (RegionBlock b in body)
        {
            if (b.Cases.Any(c => c.Block == head)) return null;
            if (b.Next.Block != head && b.Taken.Block != head) continue;
            if (latch != null) return null;
            latch = b;
        }
        if (latch is not { Flow: RegionFlow.Branch } || latch.Next.Block == latch.Taken.Block) return null;
        Instruction branch = latch.Instructions[^1].Instruction;
        Opcode o = branch.Opcode;
        if (latch.Next.Block == head) o = Negate(o); // goes on where the branch is not taken
        if (o == Opcode.Beq || branch.Rs1 == branch.Rs2) return null;

        int x = branch.Rs1, y = branch.Rs2;
        int step = StepOf(x, body, head, latch, out bool isWord);
        bool swapped = step == 0;
        if (swapped)
        {
            (x, y) = (y, x);
            step = StepOf(x, body, head, latch, out isWord);
        }
        // Nothing is vectorised around checkpoints, so a chunk's counter costs more than a poll.
        if (_exact && body.Any(b => b.Instructions.Any(p => IsStore(p.Instruction)))) return null;
        if (step == 0 || (y != 0 && body.Any(b => b.Instructions.Any(p => IntegerWrite(p.Instruction) == y)))) return null;

        // Go on while X op Y (or Y op X when swapped). The distance to go, in the direction of the step.
        bool up = step > 0;
        bool strict, unsigned = o is Opcode.Bltu or Opcode.Bgeu;
        if (o is Opcode.Bne) strict = true;
        else if (o is Opcode.Blt or Opcode.Bltu)
        {
            if (up == swapped) return null; // X < Y needs a growing X, Y < X a shrinking one
            strict = true;
        }
        else
        {
            if (up != swapped) return null;
            strict = false;
        }
        _countedLatch[latch] = head;
        string vx = Read0(x), vy = Read0(y);
        string distance = up ? Op($"sub i64 {vy}, {vx}") : Op($"sub i64 {vx}, {vy}");
        int magnitude = Math.Abs(step);
        string count, plain;
        if (o == Opcode.Bne)
        {
            count = Op($"udiv i64 {distance}, {magnitude}");
            string product = Op($"mul i64 {count}, {magnitude}"), exact = Op($"icmp eq i64 {product}, {distance}"), positive = Op($"icmp sgt i64 {distance}, 0");
            plain = Op($"and i1 {exact}, {positive}");
        }
        else
        {
            string far = strict ? Op($"sub i64 {distance}, 1") : distance;
            string quotient = Op($"udiv i64 {far}, {magnitude}");
            count = Op($"add i64 {quotient}, 1");
            string predicate = (unsigned ? "u" : "s") + (up ? strict ? "lt" : "le" : strict ? "gt" : "ge");
            string before = Op($"icmp {predicate} i64 {vx}, {vy}"), positive = Op($"icmp sge i64 {far}, 0");
            plain = Op($"and i1 {before}, {positive}");
        }
        if (isWord)
        {
            // On the way between two sign-extended words a 32-bit counter does not wrap.
            string extendedX = Op($"icmp eq i64 {Op($"sext i32 {Op($"trunc i64 {vx} to i32")} to i64")}, {vx}");
            string extendedY = Op($"icmp eq i64 {Op($"sext i32 {Op($"trunc i64 {vy} to i32")} to i64")}, {vy}");
            plain = Op($"and i1 {plain}, {Op($"and i1 {extendedX}, {extendedY}")}");
            if (IsOnlyCounted(x, latch)) _wordCounter[latch] = x;
        }
        string small = Op($"icmp ult i64 {count}, {ChunkLimit}"), bounded = Op($"select i1 {small}, i64 {count}, i64 {ChunkLimit}");
        return Op($"select i1 {plain}, i64 {bounded}, i64 1");

        string Read0(int r) => r == 0 ? "0" : Op($"load i64, ptr %x{r}");
    }

    /// <summary>Whether nothing but the last branch reads <paramref name="x"/> between its step and the end of the round, and no way out either. Where it is not on its way to the
    /// limit it makes one round, in which it may be out of range behind the step.</summary>
    private bool IsOnlyCounted(int x, RegionBlock latch)
    {
        bool stepped = false;
        for (int n = 0; n < latch.Instructions.Count - 1; n++)
        {
            Instruction i = latch.Instructions[n].Instruction;
            FloatOperandsOf(i, out _, out bool floatRs1, out bool floatRs2);
            if (stepped && MayLeave(latch, n)) return false;
            if (stepped && ((!floatRs1 && i.Rs1 == x) || (!floatRs2 && i.Rs2 == x))) return false;
            stepped |= IntegerWrite(i) == x;
        }
        return stepped;
    }

    /// <summary>Behind an empty assembler statement LLVM does not see what the limit is: it would make two tests in the loop of a select.</summary>
    private string Opaque(string limit) => Op($"call i64 asm \"\", \"=r,0\"(i64 {limit})");

    private static Opcode Negate(Opcode o) => o switch
    {
        Opcode.Beq => Opcode.Bne, Opcode.Bne => Opcode.Beq, Opcode.Blt => Opcode.Bge, Opcode.Bge => Opcode.Blt, Opcode.Bltu => Opcode.Bgeu, _ => Opcode.Bltu,
    };

    private static int IntegerWrite(in Instruction i)
    {
        FloatOperandsOf(i, out bool floatRd, out _, out _);
        return floatRd || !WritesRd(i.Opcode) ? 0 : i.Rd;
    }

    /// <summary>The constant that every round adds to register <paramref name="x"/>, once, as 64 or as 32 bits; 0 where it is otherwise.</summary>
    private static int StepOf(int x, HashSet<RegionBlock> body, RegionBlock head, RegionBlock latch, out bool isWord)
    {
        isWord = false;
        if (x == 0) return 0;
        int step = 0, writes = 0;
        foreach (RegionBlock b in body)
        {
            foreach ((_, Instruction i) in b.Instructions)
            {
                if (IntegerWrite(i) != x) continue;
                // Both blocks run exactly once a round.
                if (++writes > 1 || i.Opcode is not (Opcode.Addi or Opcode.Addiw) || i.Rs1 != x || (b != head && b != latch)) return 0;
                isWord = i.Opcode == Opcode.Addiw;
                step = i.Imm;
            }
        }
        return step;
    }
}
