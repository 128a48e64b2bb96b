using System.Globalization;
using System.Text;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing.Lowering;

// Counted loops of a machine: where an address moves by a constant each round, its page is looked up at the start of a chunk, and the chunk ends where the
// first of these addresses leaves its page. Within the chunk such accesses are plain loads and stores, which LLVM can vectorise.
internal sealed partial class RegionLowering
{
    // With longer steps a chunk would be too short to pay.
    private const long MostStep = 256;

    /// <summary>Accesses of a loop whose addresses move together.</summary>
    private sealed class MovingGroup
    {
        /// <summary>The address of the first byte in the first round: registers times these, plus <see cref="Low"/>.</summary>
        public required long[] Factors;
        public required long Step;
        public long Low, High;
        public bool Stores;

        /// <summary>One of its stores comes before all ways out of the loop.</summary>
        public bool IsCertain;

        /// <summary>That address, and the host's.</summary>
        public string Start = "", Host = "";
    }

    private readonly Dictionary<(RegionBlock, int), MovingGroup> _moving = [];
    private readonly Dictionary<RegionBlock, List<MovingGroup>> _movingIn = []; // by head
    private RegionBlock _block = null!;

    private bool IsMoving(RegionBlock block, int position) => _moving.ContainsKey((block, position));

    /// <summary>Finds what can be looked up once for a chunk, in all loops that have chunks.</summary>
    private void FindMoving()
    {
        if (!IsMachine) return;
        foreach (RegionBlock head in _region.Blocks)
        {
            if (head.InnermostLoop == null) continue;
            StringBuilder text = _text;
            _text = new StringBuilder(); // only to see whether there are chunks
            string? limit = CountedLimit(head);
            _text = text;
            if (limit != null && _countedLatch.FirstOrDefault(l => l.Value == head).Key is { } latch) FindMoving(head, latch);
        }
        _wordCounter.Clear(); // asked again, with what was found
    }

    private void FindMoving(RegionBlock head, RegionBlock latch)
    {
        HashSet<RegionBlock> body = head.InnermostLoop!;
        RegionBlock[] chain = [.. body.Where(b => RunsEveryRound(b, head, latch, body)).OrderBy(b => b.Order)];
        var forms = new long[]?[32]; // of each register: factors of the registers at the round's start, and a constant
        for (int r = 0; r < 32; r++)
        {
            forms[r] = new long[33];
            if (r != 0) forms[r]![r] = 1;
        }
        foreach (RegionBlock b in body)
        {
            if (chain.Contains(b)) continue;
            foreach ((_, Instruction i) in b.Instructions)
            {
                if (IntegerWrite(i) is > 0 and var r) forms[r] = null;
            }
        }
        var found = new List<(RegionBlock Block, int Position, long[] Form, int Bytes, bool Stores)>();
        foreach (RegionBlock b in chain)
        {
            for (int n = 0; n < b.Instructions.Count; n++)
            {
                (ulong pc, Instruction i) = b.Instructions[n];
                (long offset, int bytes, bool stores) = TouchOf(i);
                if (bytes != 0 && i.Opcode is not (>= Opcode.AmoswapW and <= Opcode.AmomaxuW or >= Opcode.AmoswapD and <= Opcode.AmomaxuD) && forms[i.Rs1] is { } at)
                    found.Add((b, n, Sum(at, 1, null, 0, offset), bytes, stores));
                int written = IntegerWrite(i);
                if (written != 0) forms[written] = FormOf(i, pc, forms);
            }
        }
        foreach (var access in found.OrderBy(f => f.Form[32]))
        {
            if (StepOf(access.Form, forms) is not { } step || Math.Abs(step) > MostStep) continue;
            if (!_movingIn.TryGetValue(head, out List<MovingGroup>? groups)) _movingIn.Add(head, groups = []);
            long low = access.Form[32], high = low + access.Bytes;
            MovingGroup? group = groups.Find(g => g.Step == step && g.Factors.AsSpan().SequenceEqual(access.Form.AsSpan(0, 32)) && Math.Max(g.High, high) - g.Low <= StackSpan);
            if (group == null) groups.Add(group = new MovingGroup { Factors = access.Form[..32], Step = step, Low = low, High = high });
            group.High = Math.Max(group.High, high);
            group.Stores |= access.Stores;
            _moving.Add((access.Block, access.Position), group);
        }
        for (int n = 0; n < head.Instructions.Count && !MayLeave(head, n); n++)
        {
            if (_moving.TryGetValue((head, n), out MovingGroup? group) && TouchOf(head.Instructions[n].Instruction).Stores) group.IsCertain = true;
        }
    }

    private static bool RunsEveryRound(RegionBlock block, RegionBlock head, RegionBlock latch, HashSet<RegionBlock> body)
    {
        if (block == head || block == latch) return true;
        var seen = new HashSet<RegionBlock> { head };
        var work = new Stack<RegionBlock>(seen);
        while (work.TryPop(out RegionBlock? b))
        {
            if (b == latch) return false;
            foreach (RegionBlock s in b.Successors())
            {
                if (s != block && s != head && body.Contains(s) && seen.Add(s)) work.Push(s);
            }
        }
        return true;
    }

    private static long[] Sum(long[]? a, long times, long[]? b, long otherTimes, long constant)
    {
        var sum = new long[33];
        for (int r = 0; r < 33; r++) sum[r] = (a == null ? 0 : a[r] * times) + (b == null ? 0 : b[r] * otherTimes);
        sum[32] += constant;
        return sum;
    }

    private static long[]? FormOf(in Instruction i, ulong pc, long[]?[] forms)
    {
        const int mostShift = 16;
        long[]? a = forms[i.Rs1], b = forms[i.Rs2];
        return i.Opcode switch
        {
            Opcode.Addi => a == null ? null : Sum(a, 1, null, 0, i.Imm),
            Opcode.Slli => a == null || i.Imm > mostShift ? null : Sum(a, 1L << i.Imm, null, 0, 0),
            Opcode.Lui => Sum(null, 0, null, 0, i.Imm),
            Opcode.Auipc => Sum(null, 0, null, 0, (long)pc + i.Imm),
            Opcode.Add => a == null || b == null ? null : Sum(a, 1, b, 1, 0),
            Opcode.Sub => a == null || b == null ? null : Sum(a, 1, b, -1, 0),
            Opcode.Sh1add => a == null || b == null ? null : Sum(a, 2, b, 1, 0),
            Opcode.Sh2add => a == null || b == null ? null : Sum(a, 4, b, 1, 0),
            Opcode.Sh3add => a == null || b == null ? null : Sum(a, 8, b, 1, 0),
            _ => null,
        };
    }

    /// <summary>By how much an address moves from round to round, where that is constant.</summary>
    private static long? StepOf(long[] form, long[]?[] atEnd)
    {
        long step = 0;
        for (int r = 1; r < 32; r++)
        {
            if (form[r] == 0) continue;
            if (atEnd[r] is not { } end) return null;
            for (int other = 1; other < 32; other++)
            {
                if (end[other] != (other == r ? 1 : 0)) return null;
            }
            step += form[r] * end[32];
        }
        return step;
    }

    /// <summary>At the start of a chunk: looks up the pages, and leaves the region where one cannot be had; the chunk's length until the first page ends.</summary>
    private string EnterPages(RegionBlock head, string limit)
    {
        if (!_movingIn.TryGetValue(head, out List<MovingGroup>? groups)) return limit;
        string miss = Label("miss");
        // Stores last: nobody asks for them before it is certain that all else is there, since that may mark a page as written.
        foreach (MovingGroup group in groups.OrderBy(static g => g.Stores)) EnterPage(group, miss);
        StringBuilder text = Behind(miss);
        CleanSlots(_dirtyIn[head.Index]);
        // Not by way of the region's own entry: tier 1 makes a round, and fills the TLB.
        Line($"br label {Out(Placed(new RegionExit(head.Pc, false), rare: true))}");
        _text = text;
        Declare("i64 @llvm.umin.i64(i64, i64)");
        foreach (MovingGroup group in groups)
        {
            if (group.Step == 0) continue;
            string inPage = Op($"and i64 {group.Start}, 4095");
            string room = group.Step < 0 ? inPage : Op($"sub i64 {4096 - (group.High - group.Low)}, {inPage}");
            string rounds = Op($"add i64 {Op($"udiv i64 {room}, {Math.Abs(group.Step)}")}, 1");
            limit = Op($"call i64 @llvm.umin.i64(i64 {limit}, i64 {rounds})");
        }
        return limit;
    }

    private void EnterPage(MovingGroup group, string miss)
    {
        string address = Constant(group.Low);
        for (int r = 1; r < 32; r++)
        {
            if (group.Factors[r] == 0) continue;
            string value = Op($"load i64, ptr %x{r}");
            if (group.Factors[r] != 1) value = Op($"mul i64 {value}, {group.Factors[r]}");
            address = address == "0" ? value : Op($"add i64 {address}, {value}");
        }
        group.Start = address;
        string slot = Op($"and i64 {Op($"lshr i64 {address}, 7")}, {(HartTlb.Entries - 1) << 5}"), entry = Op($"getelementptr i8, ptr %m, i64 {slot}");
        string tag = Op($"load i64, ptr {(group.Stores ? Op($"getelementptr i8, ptr {entry}, i64 8") : entry)}, align 8{Invariant}");
        string last = Op($"and i64 {Op($"add i64 {address}, {group.High - group.Low - 1}")}, -4096");
        string there = Label("there"), go = Label("page"), ask = Label("ask"), call = Label("call");
        bool mayAsk = !group.Stores || group.IsCertain;
        Line($"br i1 {Op($"icmp eq i64 {last}, {tag}")}, label %{there}, label %{(mayAsk ? ask : miss)}, !prof !6");
        _text.Append(CultureInfo.InvariantCulture, $"{there}:\n");
        string addend = Op($"load ptr, ptr {Op($"getelementptr i8, ptr {entry}, i64 24")}, align 8{Invariant}");
        Line($"br label %{go}");
        string asked = "";
        if (mayAsk)
        {
            StringBuilder text = Behind(ask);
            Line($"br i1 {Op($"icmp eq i64 {Op($"and i64 {address}, -4096")}, {last}")}, label %{call}, label %{miss}");
            _text.Append(CultureInfo.InvariantCulture, $"{call}:\n");
            string helper = Op($"load ptr, ptr {Op($"getelementptr i8, ptr %s, i64 {HartStateLayout.Engine + EngineSlots.RegionMiss * 8}")}");
            int access = 1 << MissAccess.SizeShift | (group.Stores ? MissAccess.Store : 0);
            // What it writes nobody here reads.
            asked = Op($"call preserve_allcc ptr {helper}(i64 {address}, i64 {access}, ptr %s) nounwind memory(inaccessiblemem: readwrite)");
            Line($"br i1 {Op($"icmp eq ptr {asked}, inttoptr (i64 1 to ptr)")}, label %{miss}, label %{go}");
            _text = text;
        }
        _text.Append(CultureInfo.InvariantCulture, $"{go}:\n");
        if (mayAsk) addend = Op($"phi ptr [ {addend}, %{there} ], [ {asked}, %{call} ]");
        group.Host = Op($"getelementptr i8, ptr {addend}, i64 {address}");
    }

    /// <summary>The host's address of an access whose page was looked up at the start of the chunk.</summary>
    private string InPage(MovingGroup group, int rs1, long imm) =>
        Op($"getelementptr inbounds i8, ptr {group.Host}, i64 {Op($"sub i64 {Add(Read(rs1), imm)}, {group.Start}")}");
}
