using System.Globalization;
using System.Text;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Optimizing.Llvm;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing.Lowering;

/// <summary>A way out of a region's function, which is a function that it calls at its tail.</summary>
/// <param name="Pc">Guest address where execution goes on; without a meaning for <paramref name="IsIndirect"/>.</param>
/// <param name="IsIndirect">The target stands in the place of the state.</param>
/// <param name="Way">Where the address is 0, the way in to whose tier 1 block it leads.</param>
internal readonly record struct RegionExit(ulong Pc, bool IsIndirect, int Way = 0);

/// <summary>
/// A guest region as one LLVM function of <see cref="RegionConvention"/>. Guest registers are stack slots that LLVM promotes to SSA values; what is no argument is
/// read from the hart's state at entry and written back at the exits, so in between the state is stale. It can be entered by several ways; the first exits, as many,
/// are for where it does not fit the state that it was entered with, and where tier 1 has to make a step at a way's address.
/// </summary>
/// <remarks>Within a block a register's value is kept by name. Names: x5 slot of a register, b3 block 3, pre3/latch3/poll3 around loop head 3.</remarks>
internal sealed partial class RegionLowering
{
    private StringBuilder _text = new();
    private readonly StringBuilder _behind = new(); // edge blocks, which are emitted behind the block that needs them
    private readonly GuestRegion _region;
    private readonly List<RegionExit> _exits = [];
    private readonly Dictionary<RegionExit, int> _exitIndex = [];
    private readonly string?[] _x = new string?[32];
    private readonly HashSet<string> _intrinsics = [];
    private readonly SortedSet<int> _left = []; // exits that have a block
    private uint _xWritten;    // in this block, not yet stored to its slot
    private uint _used, _set;  // in the whole region
    private int _names;
    private ulong _pc;

    private RegionLowering(GuestRegion region, bool exact)
    {
        (_region, _exact) = (region, exact);
        for (int way = 0; way < region.Ways.Length; way++) IndexOf(new RegionExit(0, false, way));
    }

    public IReadOnlyList<RegionExit> Exits => _exits;

    /// <summary>Integer registers that the function reads or writes, and writes.</summary>
    public uint UsedIntegers => _used;
    public uint WrittenIntegers => _set;
    public uint UsedFloats { get; private set; }
    public uint WrittenFloats { get; private set; }
    public bool HasFloat => UsedFloats != 0;

    /// <summary>The function counts how often it comes to its head again (<see cref="EngineSlots.RegionCounters"/>), as tier 1 would.</summary>
    public bool CountsRounds => Array.Exists(_region.Blocks, b => b.Successors().Contains(_region.Blocks[0]) && CountsEdge(b));

    /// <summary>Instructions that a region can hold; all others lead out of it.</summary>
    public static bool Supports(in Instruction i, bool allowFloat) =>
        IntegerOps.ContainsKey(i.Opcode) || IsTransfer(i.Opcode) || SupportsMemory(i.Opcode) || (allowFloat && SupportsFloat(i));

    /// <summary>Whether an instruction reads an integer register, other than x0.</summary>
    public static bool ReadsInteger(in Instruction i, int register)
    {
        if (i.Opcode is Opcode.Csrrwi or Opcode.Csrrsi or Opcode.Csrrci) return false;
        FloatOperandsOf(i, out _, out bool floatRs1, out bool floatRs2);
        return (!floatRs1 && i.Rs1 == register) || (!floatRs2 && i.Rs2 == register) || (i.Opcode is >= Opcode.AmocasW and <= Opcode.AmocasQ);
    }

    /// <summary>Whether an instruction writes an integer register.</summary>
    public static bool WritesInteger(in Instruction i, int register) => IntegerWrite(i) == register;

    private static bool IsTransfer(Opcode o) => o is Opcode.Jal or Opcode.Jalr or (>= Opcode.Beq and <= Opcode.Bgeu);

    /// <summary>Lowers <paramref name="region"/>; <paramref name="text"/> is the module. <paramref name="exact"/>: faults of a process's memory are exact.</summary>
    public static RegionLowering Lower(GuestRegion region, out string text, bool exact = false)
    {
        var lowering = new RegionLowering(region, exact);
        lowering.FindRegisters();
        lowering.FindMoving();
        lowering.AnalyseFloats();
        lowering.AnalyseFaults();
        lowering.FindSwitches();
        text = lowering.Module();
        return lowering;
    }

    private void FindRegisters()
    {
        foreach (RegionBlock block in _region.Blocks)
        {
            foreach ((_, Instruction i) in block.Instructions)
            {
                FloatOperandsOf(i, out bool floatRd, out bool floatRs1, out bool floatRs2);
                if (!floatRd && WritesRd(i.Opcode)) _set |= 1u << i.Rd;
                if (!floatRs1) _used |= 1u << i.Rs1;
                if (!floatRs2) _used |= 1u << i.Rs2;
            }
        }
        _set &= ~1u;
        _used = (_used | _set) & ~1u;
    }

    private static bool WritesRd(Opcode o) => o is not ((>= Opcode.Beq and <= Opcode.Bgeu) or (>= Opcode.Sb and <= Opcode.Sd) or Opcode.Fence or Opcode.FenceTso or Opcode.Pause);

    private string Module()
    {
        foreach (RegionBlock block in _region.Blocks) Lower(block);
        EmitSwitches();
        string body = _text.ToString();
        _text.Clear();
        _text.Append(LlvmCompiler.Header);
        string arguments = string.Join(", ", RegionConvention.Guests.Select(static g => g == 0 ? "ptr noalias %s" : string.Create(CultureInfo.InvariantCulture, $"i64 %i{g}")));
        _text.Append(CultureInfo.InvariantCulture, $"define {RegionConvention.Name} void @region({arguments}) #0 {{\n");
        Prologue();
        _text.Append(body);
        Epilogue();
        _text.Append("}\n");
        foreach (string declaration in _intrinsics) _text.Append("declare ").Append(declaration).Append('\n');
        for (int e = 0; e < _exits.Count; e++) _text.Append(CultureInfo.InvariantCulture, $"declare {RegionConvention.Name} void @{RegionConvention.ExitName}{e}({RegionConvention.Types})\n");
        // Vector registers are the caller's: where nothing is to be gained by them none is touched.
        string vectors = HasFloat || _countedLatch.Count > 0 ? "" : "noimplicitfloat ";
        _text.Append("!0 = !{!\"branch_weights\", i32 1, i32 1000000}\n!1 = !{!\"branch_weights\", i32 31, i32 1}\n!2 = !{!\"branch_weights\", i32 1, i32 16}\n!3 = !{!\"branch_weights\", i32 16, i32 1}\n!4 = !{!\"branch_weights\", i32 1, i32 200}\n!5 = !{!\"branch_weights\", i32 200, i32 1}\n!6 = !{!\"branch_weights\", i32 100000, i32 1}\n!7 = !{}\n!8 = !{!\"branch_weights\", i32 1, i32 200}\n!9 = !{!\"branch_weights\", i32 1, i32 200, i32 60}\n!10 = !{!\"branch_weights\", i32 1, i32 200, i32 60, i32 30}\nattributes #0 = { nounwind ").Append(vectors).Append("\"frame-pointer\"=\"all\" \"no-builtins\" \"prefer-vector-width\"=\"256\" \"target-features\"=\"")
            .Append(LlvmCompiler.Features).Append("\" }\n");
        for (int n = 0; n < _weights.Count; n++) _text.Append(CultureInfo.InvariantCulture, $"!{FirstWeights + n} = {_weights[n]}\n");
        return _text.ToString();
    }

    private void Prologue()
    {
        _text.Append("entry:\n %indirect = alloca i64\n store i64 0, ptr %indirect\n %jump = alloca i64\n %rounds = alloca i64\n store i64 0, ptr %rounds\n");
        // Not noalias %m: LLVM would take guest memory for untouched by others, and carry loads over fences and polls.
        _text.Append(CultureInfo.InvariantCulture, $" %pm = getelementptr i8, ptr %s, i64 {(IsMachine ? HartStateLayout.DataTlb : HartStateLayout.MemoryBase)}\n %m = load ptr, ptr %pm\n");
        _text.Append(CultureInfo.InvariantCulture, $" %pleave = getelementptr i8, ptr %s, i64 {HartStateLayout.Engine + EngineSlots.LeaveCell * 8}\n %leave = load ptr, ptr %pleave\n");
        for (int r = 1; r < 32; r++)
        {
            if ((_used >> r & 1) == 0) continue;
            _text.Append(CultureInfo.InvariantCulture, $" %x{r} = alloca i64\n");
            if ((RegionConvention.Passed >> r & 1) == 0)
                _text.Append(CultureInfo.InvariantCulture, $" %p{r} = getelementptr i8, ptr %s, i64 {HartStateLayout.X + r * 8}\n %i{r} = load i64, ptr %p{r}\n");
            _text.Append(CultureInfo.InvariantCulture, $" store i64 %i{r}, ptr %x{r}\n");
        }
        foreach (RegionBlock head in _region.Blocks)
        {
            if (head.InnermostLoop != null) _text.Append(CultureInfo.InvariantCulture, $" %n{head.Index} = alloca i64\n %limit{head.Index} = alloca i64\n");
        }
        FloatPrologue();
        ExactPrologue();
        if (_region.Ways.Length > 1)
        {
            string place = Op($"getelementptr i8, ptr %s, i64 {HartStateLayout.Engine + EngineSlots.RegionWay * 8}"), way = Op($"load i64, ptr {place}");
            Line($"br i1 {Op($"icmp eq i64 {way}, 0")}, label %way0, label %ways, !prof !5");
            _text.Append("ways:\n");
            Line($"store i64 0, ptr {place}");
            Line($"switch i64 {way}, label %way1 [ {string.Join(" ", Enumerable.Range(2, _region.Ways.Length - 2).Select(static w => string.Create(CultureInfo.InvariantCulture, $"i64 {w}, label %way{w}")))} ]");
        }
        for (int way = 0; way < _region.Ways.Length; way++)
        {
            if (_region.Ways.Length > 1) _text.Append(CultureInfo.InvariantCulture, $"way{way}:\n");
            CheckFloats(way);
            FirstCheckpoint(_region.Ways[way].Pc);
            _text.Append(CultureInfo.InvariantCulture, $" br label %{EntryLabel(_region.Ways[way])}\n");
        }
    }

    /// <summary>A block per exit: what LLVM has many ways to, it merges.</summary>
    private void Epilogue()
    {
        foreach (int index in _left)
        {
            _text.Append(CultureInfo.InvariantCulture, $"out{index}:\n");
            for (int r = 1; r < 32; r++)
            {
                if ((_set & ~RegionConvention.Passed) >> r is var more && (more & 1) != 0) Line($"store i64 {Op($"load i64, ptr %x{r}")}, ptr %p{r}");
            }
            FloatEpilogue();
            if (CountsRounds)
            {
                string counters = Op($"load ptr, ptr {Op($"getelementptr i8, ptr %s, i64 {HartStateLayout.Engine + EngineSlots.RegionCounters * 8}")}");
                string rounds = Op($"getelementptr i8, ptr {counters}, i64 {Cache.BlockHeader.RoundsOffset}");
                Line($"store i64 {Op($"add i64 {Op($"load i64, ptr {rounds}")}, {Op("load i64, ptr %rounds")}")}, ptr {rounds}");
            }
            Leave(index, _set);
        }
    }

    /// <summary>Calls an exit with the registers as they are; those not in <paramref name="changed"/> are as they came.</summary>
    private void Leave(int index, uint changed)
    {
        string state = _exits[index].IsIndirect ? Op($"inttoptr i64 {Op("load i64, ptr %indirect")} to ptr") : "poison";
        string[] values = [.. RegionConvention.Guests.Select(g => g == 0 ? "ptr " + state
            : (changed >> g & 1) != 0 ? "i64 " + Op($"load i64, ptr %x{g}") : string.Create(CultureInfo.InvariantCulture, $"i64 %i{g}"))];
        Line($"musttail call {RegionConvention.Name} void @{RegionConvention.ExitName}{index}({string.Join(", ", values)})");
        Line("ret void");
    }

    private void Lower(RegionBlock block)
    {
        if (block.InnermostLoop != null) LoopFrame(block);
        LowerBody(block, string.Create(CultureInfo.InvariantCulture, $"b{block.Index}"));
    }

    private void LowerBody(RegionBlock block, string label)
    {
        _text.Append(CultureInfo.InvariantCulture, $"{label}:\n");
        Array.Clear(_x);
        _xWritten = 0;
        _stored.Clear();
        BeginFloats(block);
        BeginFaults(block);
        int wordCounter = _wordCounter.GetValueOrDefault(block);
        _block = block;
        FindGroups(block);
        FindJoins(block);
        for (int n = 0; n < block.Instructions.Count; n++)
        {
            (_pc, Instruction i) = block.Instructions[_position = n];
            if (n == block.Instructions.Count - 1 && block.Flow is RegionFlow.Branch or RegionFlow.Return or RegionFlow.Switch or RegionFlow.Indirect && IsTransfer(i.Opcode)) End(block, i);
            else if (wordCounter != 0 && IntegerWrite(i) == wordCounter) Write(wordCounter, Add(Read(wordCounter), i.Imm));
            else LowerOne(i);
            _unsaved |= WritesOf(i);
        }
        if (block.Flow is RegionFlow.Jump or RegionFlow.Exit)
        {
            Flush();
            _text.Append(CultureInfo.InvariantCulture, $" br label %{Edge(block, block.Next)}\n");
        }
        _text.Append(_behind);
        _behind.Clear();
    }

    private void LowerOne(in Instruction i)
    {
        if (i.Opcode == Opcode.Jal) Write(i.Rd, Constant(_pc + i.Length));
        else if (IntegerOps.TryGetValue(i.Opcode, out IntegerLowering? lower)) lower(this, i);
        else if (SupportsMemory(i.Opcode)) Memory(i);
        else if (!FlagAccess(i)) Float(i);
    }

    /// <summary>The instruction that ends a block with a decision.</summary>
    private void End(RegionBlock block, in Instruction i)
    {
        if (block.Flow == RegionFlow.Branch)
        {
            string condition = Condition(i.Opcode, Read(i.Rs1), Read(i.Rs2));
            Flush();
            if (CountedLatch(block)) return;
            // What leads out of the region is rare, and the rest is as it was seen to be.
            string weights = (block.Taken.Block == null, block.Next.Block == null) switch { (true, false) => ", !prof !4", (false, true) => ", !prof !5", _ => SeenWeights(block) };
            _text.Append(CultureInfo.InvariantCulture, $" br i1 {condition}, label %{Edge(block, block.Taken)}, label %{Edge(block, block.Next)}{weights}\n");
            return;
        }
        string target = Name();
        Line($"{target} = and i64 {Add(Read(i.Rs1), i.Imm)}, -2");
        Write(i.Rd, Constant(_pc + i.Length));
        Flush();
        if (block.Flow == RegionFlow.Switch)
        {
            // Where many ways meet there are no other NaNs than the canonical one.
            CleanSlots(_dirty);
            _dirty = 0;
            Switch(block, target);
            return;
        }
        Line($"store i64 {target}, ptr %indirect");
        string leave = ExitBlock(new RegionExit(0, true));
        if (block.Flow == RegionFlow.Indirect)
        {
            Line($"br label %{leave}");
            return;
        }
        string same = Name();
        Line($"{same} = icmp eq i64 {target}, {Constant(block.Next.Pc)}");
        Line($"br i1 {same}, label %{Edge(block, block.Next)}, label %{leave}, !prof !5");
    }

    private const int MinSeen = 8;
    private readonly List<string> _weights = []; // metadata from !FirstWeights on
    private const int FirstWeights = 20;

    /// <summary>How likely the ways of a block's branch are, where it was seen often enough.</summary>
    private string SeenWeights(RegionBlock block)
    {
        (int taken, int fallen) = block.Seen;
        if (taken + fallen < MinSeen) return "";
        string weights = string.Create(CultureInfo.InvariantCulture, $"!{{!\"branch_weights\", i32 {taken + 1}, i32 {fallen + 1}}}");
        int index = _weights.IndexOf(weights);
        if (index < 0)
        {
            index = _weights.Count;
            _weights.Add(weights);
        }
        return string.Create(CultureInfo.InvariantCulture, $", !prof !{FirstWeights + index}");
    }

    // Registers.

    private string Name() => string.Create(CultureInfo.InvariantCulture, $"%t{_names++}");

    private string Label(string kind) => string.Create(CultureInfo.InvariantCulture, $"{kind}_{_names++}");

    private void Line(string text) => _text.Append(' ').Append(text).Append('\n');

    private static string Constant(ulong value) => ((long)value).ToString(CultureInfo.InvariantCulture);

    private static string Constant(long value) => value.ToString(CultureInfo.InvariantCulture);

    private string Read(int r)
    {
        if (r == 0) return "0";
        if (_x[r] is { } known) return known;
        string value = Name();
        Line($"{value} = load i64, ptr %x{r}");
        return _x[r] = value;
    }

    private void Write(int r, string value)
    {
        if (r == 0) return;
        _x[r] = value;
        _xWritten |= 1u << r;
    }

    /// <summary>Stores what the block has computed to the slots; the names stay valid.</summary>
    private void Flush()
    {
        for (uint set = _xWritten; set != 0; set &= set - 1)
        {
            int r = System.Numerics.BitOperations.TrailingZeroCount(set);
            Line($"store i64 {_x[r]}, ptr %x{r}");
        }
        _xWritten = 0;
        FlushFloats();
    }

    private string Add(string value, long imm) => imm == 0 ? value : Op($"add i64 {value}, {Constant(imm)}");

    private string Op(string operation)
    {
        string name = Name();
        Line($"{name} = {operation}");
        return name;
    }

    private string Condition(Opcode o, string a, string b)
    {
        string predicate = o switch
        {
            Opcode.Beq => "eq", Opcode.Bne => "ne", Opcode.Blt => "slt", Opcode.Bge => "sge", Opcode.Bltu => "ult", _ => "uge",
        };
        return Op($"icmp {predicate} i64 {a}, {b}");
    }

    private void Declare(string declaration) => _intrinsics.Add(declaration);

    // Edges. All slots are up to date where one is taken.

    /// <summary>The label of the block that leaves the region by an exit.</summary>
    private string Out(RegionExit exit)
    {
        int index = IndexOf(exit);
        _left.Add(index);
        return string.Create(CultureInfo.InvariantCulture, $"%out{index}");
    }

    private int IndexOf(RegionExit exit)
    {
        if (_exitIndex.TryGetValue(exit, out int index)) return index;
        _exitIndex.Add(exit, index = _exits.Count);
        _exits.Add(exit);
        return index;
    }

    /// <summary>A block that leaves the region with what the current block has computed.</summary>
    private string ExitBlock(RegionExit exit, bool rare = false)
    {
        string label = Label("x");
        StringBuilder text = Behind(label);
        CleanFloats(null);
        Line($"br label {Out(Placed(exit, rare))}");
        _text = text;
        return label;
    }

    /// <summary>Begins a block behind the current one; the caller sets <see cref="_text"/> back to what this returns.</summary>
    private StringBuilder Behind(string label)
    {
        StringBuilder text = _text;
        _text = _behind;
        _text.Append(CultureInfo.InvariantCulture, $"{label}:\n");
        return text;
    }

    /// <summary>The label to branch to for an edge.</summary>
    private string Edge(RegionBlock from, RegionEdge edge)
    {
        if (edge.Block is not { } to) return Counted(from, null, false, ExitBlock(new RegionExit(edge.Pc, false)));
        if (Threaded(from, to) is { } copy) return Cleaned(to, copy);
        bool back = IsBack(from, to);
        string target = back ? to.InnermostLoop != null ? $"latch{to.Index}" : PollBlock(to) : EntryLabel(to);
        return Counted(from, to, back, Cleaned(to, target));
    }

    /// <summary><paramref name="target"/>, or a block in front of it that makes the floating-point registers fit.</summary>
    private string Cleaned(RegionBlock to, string target)
    {
        if (!NeedsCleaning(to)) return target;
        string label = Label("e");
        StringBuilder text = Behind(label);
        CleanFloats(to);
        Line($"br label %{target}");
        _text = text;
        return label;
    }

    private static string EntryLabel(RegionBlock block) =>
        string.Create(CultureInfo.InvariantCulture, $"{(block.InnermostLoop != null ? "pre" : "b")}{block.Index}");
}
