using System.Globalization;
using System.Numerics;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.FrontEnd;
using Vivarium.Translation.Optimizing.Regions;

namespace Vivarium.Translation.Optimizing.Lowering;

// Floating point. A register that the region uses in one precision only has a slot of that type; others ("mixed") are 64-bit patterns between blocks, and within a block
// values of the precision that they were written in, until something wants the pattern.
// Arithmetic leaves whatever NaN x86 makes ("dirty") until its bits can be seen: stores, moves to integer registers, sign injection, exits.
// Around loops dirty registers stay dirty; a register that comes in clean must then not hold a NaN with a payload, which the edge checks.
internal sealed partial class RegionLowering
{
    private const string NanD = "9221120237041090560", NanS = "2143289344"; // canonical NaNs as integers
    private const string NanValue = "0x7FF8000000000000"; // and as LLVM writes it in either precision

    private enum Kind : byte { None, Double, Single, Mixed }

    private readonly Kind[] _kind = new Kind[32];
    private readonly string?[] _f = new string?[32];
    private readonly string?[] _typed = new string?[32]; // of mixed registers: what this block wrote, where that is newer than, or the same as, the pattern
    private uint _typedSingle, _typedDirty;
    private uint _fWritten, _dirty, _single, _double;
    private uint[] _dirtyIn = [], _liveIn = [];

    private static bool SupportsFloat(in Instruction i)
    {
        Opcode o = i.Opcode;
        if (o is Opcode.Flw or Opcode.Fld or Opcode.Fsw or Opcode.Fsd) return true;
        if (o is (>= Opcode.FmaddS and <= Opcode.FnmaddS) or (>= Opcode.FmaddD and <= Opcode.FnmaddD)) return HostFeatures.HasFma && i.Rm is 0 or 7;
        if (o is (>= Opcode.FaddS and <= Opcode.FsqrtS) or (>= Opcode.FaddD and <= Opcode.FsqrtD) or Opcode.FcvtSD or Opcode.FcvtDS
            or Opcode.FcvtSW or Opcode.FcvtSWu or Opcode.FcvtSL or Opcode.FcvtSLu or Opcode.FcvtDLu) return i.Rm is 0 or 7;
        if (o is Opcode.FcvtWS or Opcode.FcvtWuS or Opcode.FcvtLS or Opcode.FcvtLuS or Opcode.FcvtWD or Opcode.FcvtWuD or Opcode.FcvtLD or Opcode.FcvtLuD) return i.Rm is <= 4 or 7;
        if (o is Opcode.FcvtDW or Opcode.FcvtDWu or Opcode.FcvtDL) return i.Rm is <= 4 or 7; // words are exact, but reserved modes trap; see LeavesToRound
        return o is (>= Opcode.FsgnjS and <= Opcode.FmaxS) or (>= Opcode.FsgnjD and <= Opcode.FmaxD)
            or Opcode.FmvXW or Opcode.FmvXD or Opcode.FmvWX or Opcode.FmvDX or Opcode.FeqS or Opcode.FltS or Opcode.FleS or Opcode.FeqD or Opcode.FltD or Opcode.FleD
            or Opcode.FltqS or Opcode.FleqS or Opcode.FltqD or Opcode.FleqD or Opcode.FclassS or Opcode.FclassD;
    }

    /// <summary>A conversion of 64 bits with a rounding mode of its own: what has no exact value is tier 1's. Libraries convert back so what they have rounded.</summary>
    private static bool LeavesToRound(in Instruction i) => i.Opcode == Opcode.FcvtDL && i.Rm is >= 1 and <= 4;

    /// <summary>frrm rd.</summary>
    public static bool IsModeRead(in Instruction i) => i is { Opcode: Opcode.Csrrs, Rs1: 0, Rd: not 0 } && (i.Imm & 0xFFF) == 2;

    /// <summary>frflags rd.</summary>
    public static bool IsFlagRead(in Instruction i) => i is { Opcode: Opcode.Csrrs, Rs1: 0, Rd: not 0 } && (i.Imm & 0xFFF) == 1;

    /// <summary>fsflags rs1.</summary>
    public static bool IsFlagRestore(in Instruction i) => i is { Opcode: Opcode.Csrrw, Rd: 0 } && (i.Imm & 0xFFF) == 1;

    /// <summary>frflags and fsflags stand in regions around what raises nothing that anybody would see: the register gets the flags that were raised
    /// when the region was entered, and nothing is restored. frm is what it was when the region was entered.</summary>
    private bool FlagAccess(in Instruction i)
    {
        if (IsModeRead(i))
        {
            Write(i.Rd, Op($"zext i32 {Op($"load i32, ptr {Op($"getelementptr i8, ptr %s, i64 {HartStateLayout.Frm}")}")} to i64"));
            return true;
        }
        if (!IsFlagRead(i)) return IsFlagRestore(i);
        Write(i.Rd, Op("load i64, ptr %flags"));
        return true;
    }

    private void FlagPrologue()
    {
        if (!Array.Exists(_region.Blocks, static b => b.Instructions.Exists(static p => IsFlagRead(p.Instruction)))) return;
        Declare("void @llvm.x86.sse.stmxcsr(ptr)");
        Line("%flags = alloca i64");
        Line("%mxcsr = alloca i32");
        Line("call void @llvm.x86.sse.stmxcsr(ptr %mxcsr)");
        string m = Op("load i32, ptr %mxcsr"), all = "0";
        // Invalid, division by zero, overflow, underflow, inexact: from bits 0, 2, 3, 4, 5 to 4, 3, 2, 1, 0.
        foreach ((int from, int to) in ((int, int)[])[(0, 4), (2, 3), (3, 2), (4, 1), (5, 0)])
        {
            string bit = Op($"and i32 {Op($"lshr i32 {m}, {from}")}, 1");
            all = Op($"or i32 {all}, {Op($"shl i32 {bit}, {to}")}");
        }
        Line($"store i64 {Op($"zext i32 {all} to i64")}, ptr %flags");
    }

    public static bool IsFloat(Opcode o) => o is >= Opcode.Flw and <= Opcode.FltqD;

    private static void FloatOperandsOf(in Instruction i, out bool rd, out bool rs1, out bool rs2)
    {
        if (!IsFloat(i.Opcode))
        {
            rd = rs1 = rs2 = false;
            return;
        }
        FloatOperands operands = FloatOperandTable.Of(i.Opcode);
        rd = (operands & FloatOperands.IntegerRd) == 0;
        rs1 = (operands & FloatOperands.IntegerRs1) == 0;
        rs2 = true;
    }

    /// <summary>The floating-point registers that an instruction reads and writes, as bits, and the precision of each side (null: none).</summary>
    private static (uint Reads, uint Writes, bool ReadsSingle, bool WritesSingle) FloatUse(in Instruction i)
    {
        Opcode o = i.Opcode;
        if (!IsFloat(o)) return default;
        FloatOperandsOf(i, out bool rd, out bool rs1, out _);
        bool store = o is Opcode.Fsw or Opcode.Fsd;
        uint reads = rs1 ? 1u << i.Rs1 : 0;
        if (store || IsBinary(o) || IsFused(o)) reads |= 1u << i.Rs2;
        if (IsFused(o)) reads |= 1u << i.Rs3;
        bool single = o <= Opcode.FcvtSLu || o is Opcode.FltqS or Opcode.FleqS;
        bool readsSingle = o == Opcode.FcvtDS || (single && o != Opcode.FcvtSD), writesSingle = o == Opcode.FcvtSD || (single && o != Opcode.FcvtDS);
        return (reads, rd && !store ? 1u << i.Rd : 0, readsSingle, writesSingle);
    }

    private static bool IsFused(Opcode o) => o is (>= Opcode.FmaddS and <= Opcode.FnmaddS) or (>= Opcode.FmaddD and <= Opcode.FnmaddD);

    private static bool IsBinary(Opcode o) => o is (>= Opcode.FaddS and <= Opcode.FdivS) or (>= Opcode.FaddD and <= Opcode.FdivD)
        or (>= Opcode.FsgnjS and <= Opcode.FmaxS) or (>= Opcode.FsgnjD and <= Opcode.FmaxD) or Opcode.FeqS or Opcode.FltS or Opcode.FleS
        or Opcode.FeqD or Opcode.FltD or Opcode.FleD or Opcode.FltqS or Opcode.FleqS or Opcode.FltqD or Opcode.FleqD;

    private static bool MakesNans(Opcode o) => IsFused(o) || o is (>= Opcode.FaddS and <= Opcode.FsqrtS) or (>= Opcode.FaddD and <= Opcode.FsqrtD) or Opcode.FcvtSD or Opcode.FcvtDS;

    /// <summary>Which registers may hold other NaNs than the canonical one after an instruction.</summary>
    private uint DirtyAfter(in Instruction i, uint dirty)
    {
        (_, uint writes, _, _) = FloatUse(i);
        if (writes == 0) return dirty;
        int rd = BitOperations.TrailingZeroCount(writes);
        bool copies = i.Opcode is Opcode.FsgnjD or Opcode.FsgnjS && i.Rs1 == i.Rs2 && _kind[i.Rs1] == _kind[rd];
        bool makes = _kind[rd] != Kind.Mixed && (MakesNans(i.Opcode) || (copies && (dirty >> i.Rs1 & 1) != 0));
        return makes ? dirty | writes : dirty & ~writes;
    }

    private void AnalyseFloats()
    {
        RegionBlock[] blocks = _region.Blocks;
        foreach (RegionBlock b in blocks)
        {
            foreach ((_, Instruction i) in b.Instructions)
            {
                (uint reads, uint writes, bool readsSingle, bool writesSingle) = FloatUse(i);
                if (readsSingle) _single |= reads;
                else _double |= reads;
                if (writesSingle) _single |= writes;
                else _double |= writes;
                WrittenFloats |= writes;
            }
        }
        UsedFloats = _single | _double;
        for (int f = 0; f < 32; f++)
            _kind[f] = (_single >> f & 1, _double >> f & 1) switch { (1, 1) => Kind.Mixed, (1, _) => Kind.Single, (_, 1) => Kind.Double, _ => Kind.None };
        _dirtyIn = new uint[blocks.Length];
        _liveIn = new uint[blocks.Length];
        if (UsedFloats == 0) return;

        for (bool changed = true; changed;)
        {
            changed = false;
            for (int n = blocks.Length - 1; n >= 0; n--)
            {
                RegionBlock b = blocks[n];
                bool leaves = b.Next.Block == null || b.Flow is RegionFlow.Return or RegionFlow.Indirect or RegionFlow.Switch || (b.Flow == RegionFlow.Branch && b.Taken.Block == null);
                uint live = leaves ? uint.MaxValue : 0;
                foreach (RegionBlock s in b.Successors()) live |= _liveIn[s.Index];
                for (int k = b.Instructions.Count - 1; k >= 0; k--)
                {
                    (uint reads, uint writes, _, _) = FloatUse(b.Instructions[k].Instruction);
                    live = live & ~writes | reads;
                    if (MayLeave(b, k)) live = uint.MaxValue;
                }
                changed |= live != _liveIn[b.Index];
                _liveIn[b.Index] = live;
            }
        }
        var dirtyOut = new uint[blocks.Length];
        // Around a loop a register may stay dirty if something in it makes it so...
        SpreadDirty(dirtyOut, static (any, all) => any);
        // ... and nothing makes it clean again, on any way round: checking a clean one for payloads is dearer than cleaning a dirty one.
        SpreadDirty(dirtyOut, static (any, all) => all);
    }

    /// <summary>Computes what is dirty at the start and the end of each block, from <paramref name="dirtyOut"/>. <paramref name="join"/> chooses at the head of a loop between what
    /// is dirty at the end of any way round and of all.</summary>
    private void SpreadDirty(uint[] dirtyOut, Func<uint, uint, uint> join)
    {
        RegionBlock[] blocks = _region.Blocks, ways = _region.Ways;
        for (bool changed = true; changed;)
        {
            changed = false;
            foreach (RegionBlock b in blocks)
            {
                // Around a loop what is dirty at its end decides; elsewhere all ways in have to be dirty.
                uint any = 0, every = uint.MaxValue, all = ways.Contains(b) ? 0 : uint.MaxValue;
                foreach (RegionBlock p in b.Predecessors)
                {
                    if (b.IsLoopHead && p.Order >= b.Order)
                    {
                        any |= dirtyOut[p.Index];
                        every &= dirtyOut[p.Index];
                    }
                    else all &= dirtyOut[p.Index];
                }
                uint dirty = b.IsLoopHead && (b == blocks[0] || !ways.Contains(b)) ? join(any, every) : all;
                _dirtyIn[b.Index] = dirty;
                foreach ((_, Instruction i) in b.Instructions) dirty = DirtyAfter(i, dirty);
                if (b.Flow == RegionFlow.Switch) dirty = 0;
                changed |= dirty != dirtyOut[b.Index];
                dirtyOut[b.Index] = dirty;
            }
        }
    }

    // Slots.

    private static string TypeOf(Kind kind) => kind switch { Kind.Double => "double", Kind.Single => "float", _ => "i64" };

    private void FloatPrologue()
    {
        FlagPrologue();
        for (int f = 0; f < 32; f++)
        {
            if (_kind[f] == Kind.None) continue;
            Line($"%f{f} = alloca {TypeOf(_kind[f])}");
            Line($"%q{f} = getelementptr i8, ptr %s, i64 {HartStateLayout.F + f * 8}");
            string bits = _cameAs[f] = Op($"load i64, ptr %q{f}");
            if (_kind[f] == Kind.Single) Line($"store i32 {_cameAs[f] = Op($"trunc i64 {bits} to i32")}, ptr %f{f}");
            else Line($"store i64 {bits}, ptr %f{f}");
            if (_kind[f] == Kind.Single) _unboxed[f] = Op($"icmp ult i64 {bits}, -4294967296");
        }
    }

    private readonly string[] _cameAs = new string[32], _unboxed = new string[32];

    /// <summary>By one of the ways in: leaves where a register does not hold what the region takes it for.</summary>
    private void CheckFloats(int way)
    {
        int block = _region.Ways[way].Index;
        var bad = new List<string>();
        for (int f = 0; f < 32; f++)
        {
            if (_kind[f] == Kind.None || (_liveIn[block] >> f & 1) == 0) continue;
            bool dirty = (_dirtyIn[block] >> f & 1) != 0;
            if (_kind[f] == Kind.Single) bad.Add(_unboxed[f]);
            if (dirty && _kind[f] != Kind.Mixed) bad.Add(HasPayload(_cameAs[f], _kind[f] == Kind.Single ? "i32" : "i64"));
        }
        if (bad.Count == 0) return;
        string any = bad[0], refuse = Label("refuse"), begin = Label("begin");
        for (int n = 1; n < bad.Count; n++) any = Op($"or i1 {any}, {bad[n]}");
        Line($"br i1 {any}, label %{refuse}, label %{begin}");
        _text.Append(CultureInfo.InvariantCulture, $"{refuse}:\n");
        Leave(way, 0);
        _text.Append(CultureInfo.InvariantCulture, $"{begin}:\n");
    }

    private void FloatEpilogue()
    {
        for (int f = 0; f < 32; f++)
        {
            if ((WrittenFloats >> f & 1) == 0) continue;
            if (_kind[f] == Kind.Single) Line($"store i64 {Boxed(Op($"load i32, ptr %f{f}"))}, ptr %q{f}");
            else Line($"store {TypeOf(_kind[f])} {Op($"load {TypeOf(_kind[f])}, ptr %f{f}")}, ptr %q{f}");
        }
    }

    private string Boxed(string low) => Op($"or i64 {Op($"zext i32 {low} to i64")}, -4294967296");

    /// <summary>Whether the pattern is a NaN that is not the canonical one.</summary>
    private string HasPayload(string bits, string type)
    {
        string magnitude = Op($"and {type} {bits}, {(type == "i64" ? "9223372036854775807" : "2147483647")}");
        string nan = Op($"icmp ugt {type} {magnitude}, {(type == "i64" ? "9218868437227405312" : "2139095040")}");
        return Op($"and i1 {nan}, {Op($"icmp ne {type} {bits}, {(type == "i64" ? NanD : NanS)}")}");
    }

    private void BeginFloats(RegionBlock block)
    {
        Array.Clear(_f);
        Array.Clear(_typed);
        _fWritten = 0;
        _dirty = _dirtyIn[block.Index];
    }

    private void FlushFloats()
    {
        for (uint set = _fWritten; set != 0; set &= set - 1)
        {
            int f = BitOperations.TrailingZeroCount(set);
            Line($"store {TypeOf(_kind[f])} {Slot(f)}, ptr %f{f}");
        }
        _fWritten = 0;
    }

    private string Slot(int f)
    {
        if (_f[f] is { } known) return known;
        return _f[f] = _typed[f] == null ? Op($"load {TypeOf(_kind[f])}, ptr %f{f}") : (_typedSingle >> f & 1) != 0 ? Boxed(ReadBits(f, true)) : ReadBits(f, false);
    }

    /// <summary>The register's value where it is known in a precision, and whether it may be another NaN than the canonical one.</summary>
    private (string Value, bool IsDirty)? Typed(int f, bool single)
    {
        if (_kind[f] != Kind.Mixed) return (Slot(f), (_dirty >> f & 1) != 0);
        return _typed[f] is { } value && (_typedSingle >> f & 1) != 0 == single ? (value, (_typedDirty >> f & 1) != 0) : null;
    }

    private void SetTyped(int f, bool single, string value, bool dirty)
    {
        uint bit = 1u << f;
        _typed[f] = value;
        _f[f] = null;
        _typedSingle = single ? _typedSingle | bit : _typedSingle & ~bit;
        _typedDirty = dirty ? _typedDirty | bit : _typedDirty & ~bit;
        _fWritten |= bit;
        _dirty &= ~bit;
    }

    private void SetSlot(int f, string value, bool dirty)
    {
        _f[f] = value;
        _fWritten |= 1u << f;
        _dirty = dirty ? _dirty | 1u << f : _dirty & ~(1u << f);
    }

    // Operands: values in the precision that the instruction wants, and bit patterns with canonical NaNs.

    private string ReadFloat(int f, bool single)
    {
        if (Typed(f, single) is { } typed) return typed.Value;
        string value = Slot(f);
        if (!single) return Op($"bitcast i64 {value} to double");
        string boxed = Op($"icmp uge i64 {value}, -4294967296"), low = Op($"trunc i64 {value} to i32");
        return Op($"bitcast i32 {Op($"select i1 {boxed}, i32 {low}, i32 {NanS}")} to float");
    }

    /// <summary>The bits of a register as the instruction sees them; with <paramref name="unboxed"/> the low half is taken as it is.</summary>
    private string ReadBits(int f, bool single, bool unboxed = false)
    {
        bool isDirty = Typed(f, single) is { IsDirty: true };
        if (unboxed && Typed(f, single) == null) return Op($"trunc i64 {Slot(f)} to i32");
        string value = ReadFloat(f, single);
        return isDirty ? Canonical(value, single) : Op(single ? $"bitcast float {value} to i32" : $"bitcast double {value} to i64");
    }

    private string Canonical(string value, bool single) => Op(single ? $"bitcast float {CleanValue(value, true)} to i32" : $"bitcast double {CleanValue(value, false)} to i64");

    /// <summary>The value, or the canonical NaN instead of another one. Chosen between as floating point: by way of integer registers it costs twice.</summary>
    private string CleanValue(string value, bool single)
    {
        string type = single ? "float" : "double", nan = Op($"fcmp uno {type} {value}, {value}");
        return Op($"select i1 {nan}, {type} {NanValue}, {type} {value}");
    }

    private void WriteFloat(int f, bool single, string value, bool dirty)
    {
        if (_kind[f] == Kind.Mixed) SetTyped(f, single, value, dirty);
        else SetSlot(f, value, dirty);
    }

    private void WriteBits(int f, bool single, string bits) => WriteFloat(f, single, Op(single ? $"bitcast i32 {bits} to float" : $"bitcast i64 {bits} to double"), false);

    // Edges.

    /// <summary>Whether an edge from the current block to <paramref name="to"/> has to clean registers or to check them.</summary>
    private bool NeedsCleaning(RegionBlock to) => ((_dirty ^ _dirtyIn[to.Index]) & _liveIn[to.Index] & UsedFloats) != 0;

    /// <summary>Makes the slots fit the target of an edge (null: an exit), in the block being emitted.</summary>
    private void CleanFloats(RegionBlock? to)
    {
        uint wanted = to == null ? 0 : _dirtyIn[to.Index], relevant = UsedFloats & (to == null ? uint.MaxValue : _liveIn[to.Index]);
        CleanSlots(_dirty & ~wanted & relevant);
        var bad = new List<string>();
        for (uint set = wanted & ~_dirty & relevant; set != 0; set &= set - 1)
        {
            int f = BitOperations.TrailingZeroCount(set);
            string type = _kind[f] == Kind.Single ? "i32" : "i64";
            bad.Add(HasPayload(Op($"load {type}, ptr %f{f}"), type));
        }
        if (bad.Count == 0) return;
        string any = bad[0], leave = Label("x"), go = Label("e");
        for (int n = 1; n < bad.Count; n++) any = Op($"or i1 {any}, {bad[n]}");
        Line($"br i1 {any}, label %{leave}, label %{go}");
        _text.Append(CultureInfo.InvariantCulture, $"{leave}:\n");
        CleanSlots(_dirty & wanted);
        Line($"br label {Out(Placed(new RegionExit(to!.Pc, false), rare: true))}");
        _text.Append(CultureInfo.InvariantCulture, $"{go}:\n");
    }

    private void CleanSlots(uint dirty)
    {
        for (uint set = dirty & UsedFloats; set != 0; set &= set - 1)
        {
            int f = BitOperations.TrailingZeroCount(set);
            bool single = _kind[f] == Kind.Single;
            string value = Op($"load {TypeOf(_kind[f])}, ptr %f{f}");
            Line($"store {TypeOf(_kind[f])} {CleanValue(value, single)}, ptr %f{f}");
        }
    }

    // Instructions.

    private void Float(in Instruction i)
    {
        Opcode o = i.Opcode;
        (_, _, bool readsSingle, bool single) = FloatUse(i);
        string type = single ? "float" : "double", suffix = single ? "f32" : "f64";
        switch (o)
        {
            case Opcode.Flw or Opcode.Fld:
                WriteFloat(i.Rd, single, Op($"{Load} {type}, ptr {Address(i.Rs1, i.Imm)}, align 1"), false);
                break;
            case Opcode.Fsw or Opcode.Fsd:
                if (!readsSingle && Typed(i.Rs2, false) is { } whole)
                {
                    string value = whole.IsDirty ? CleanValue(whole.Value, false) : whole.Value;
                    string place = Address(i.Rs1, i.Imm);
                    BeforeStore();
                    Line($"store double {value}, ptr {place}, align 1");
                    AfterStore(i);
                    Remember(Read(i.Rs1), i.Imm, 8, null);
                    break;
                }

                string stored = ReadBits(i.Rs2, readsSingle, unboxed: readsSingle);
                string at = Address(i.Rs1, i.Imm);
                BeforeStore();
                Line($"store {(readsSingle ? "i32" : "i64")} {stored}, ptr {at}, align 1");
                AfterStore(i);
                Remember(Read(i.Rs1), i.Imm, readsSingle ? 4 : 8, readsSingle ? stored : null);
                break;
            case (>= Opcode.FaddS and <= Opcode.FdivS) or (>= Opcode.FaddD and <= Opcode.FdivD):
                string operation = (o - (single ? Opcode.FaddS : Opcode.FaddD)) switch { 0 => "fadd", 1 => "fsub", 2 => "fmul", _ => "fdiv" };
                WriteFloat(i.Rd, single, Op($"{operation} {type} {ReadFloat(i.Rs1, single)}, {ReadFloat(i.Rs2, single)}"), true);
                break;
            case Opcode.FsqrtS or Opcode.FsqrtD:
                Declare($"{type} @llvm.sqrt.{suffix}({type})");
                WriteFloat(i.Rd, single, Op($"call {type} @llvm.sqrt.{suffix}({type} {ReadFloat(i.Rs1, single)})"), true);
                break;
            case (>= Opcode.FmaddS and <= Opcode.FnmaddS) or (>= Opcode.FmaddD and <= Opcode.FnmaddD):
                Fused(i, single, type, suffix);
                break;
            case (>= Opcode.FsgnjS and <= Opcode.FsgnjxS) or (>= Opcode.FsgnjD and <= Opcode.FsgnjxD):
                InjectSign(i, single);
                break;
            case Opcode.FminS or Opcode.FmaxS or Opcode.FminD or Opcode.FmaxD:
                MinMax(i, single, type, o is Opcode.FmaxS or Opcode.FmaxD);
                break;
            case Opcode.FeqS or Opcode.FeqD:
                Compare(i, readsSingle, "oeq");
                break;
            case Opcode.FltS or Opcode.FltD or Opcode.FltqS or Opcode.FltqD:
                Compare(i, readsSingle, "olt");
                break;
            case Opcode.FleS or Opcode.FleD or Opcode.FleqS or Opcode.FleqD:
                Compare(i, readsSingle, "ole");
                break;
            case Opcode.FmvXW:
                Write(i.Rd, Op($"sext i32 {ReadBits(i.Rs1, true, unboxed: true)} to i64"));
                break;
            case Opcode.FmvXD:
                Write(i.Rd, ReadBits(i.Rs1, false));
                break;
            case Opcode.FmvWX:
                WriteBits(i.Rd, true, Low(i.Rs1));
                break;
            case Opcode.FmvDX:
                WriteBits(i.Rd, false, Read(i.Rs1));
                break;
            case Opcode.FcvtSD:
                WriteFloat(i.Rd, true, Op($"fptrunc double {ReadFloat(i.Rs1, false)} to float"), true);
                break;
            case Opcode.FcvtDS:
                WriteFloat(i.Rd, false, Op($"fpext float {ReadFloat(i.Rs1, true)} to double"), true);
                break;
            case Opcode.FcvtSW or Opcode.FcvtSWu or Opcode.FcvtSL or Opcode.FcvtSLu or Opcode.FcvtDW or Opcode.FcvtDWu or Opcode.FcvtDL or Opcode.FcvtDLu:
                bool isWord = o is Opcode.FcvtSW or Opcode.FcvtSWu or Opcode.FcvtDW or Opcode.FcvtDWu;
                bool isUnsigned = o is Opcode.FcvtSWu or Opcode.FcvtSLu or Opcode.FcvtDWu or Opcode.FcvtDLu;
                string integer = isWord ? "i32 " + Low(i.Rs1) : "i64 " + Read(i.Rs1);
                if (LeavesToRound(i))
                {
                    // -2^53 to 2^53
                    string exact = Op($"icmp ule i64 {Add(Read(i.Rs1), 1L << 53)}, {1L << 54}"), go = Label("c");
                    Flush();
                    string leave = ExitBlock(new RegionExit(_pc, false));
                    Line($"br i1 {exact}, label %{go}, label %{leave}, !prof !5");
                    _text.Append(CultureInfo.InvariantCulture, $"{go}:\n");
                }

                WriteFloat(i.Rd, single, Op($"{(isUnsigned ? "ui" : "si")}tofp {integer} to {type}"), false);
                break;
            case Opcode.FclassS or Opcode.FclassD:
                Classify(i, readsSingle);
                break;
            default:
                ToInteger(i, readsSingle);
                break;
        }
    }

    private void Fused(in Instruction i, bool single, string type, string suffix)
    {
        int form = i.Opcode - (single ? Opcode.FmaddS : Opcode.FmaddD); // fmadd, fmsub, fnmsub, fnmadd
        string a = ReadFloat(i.Rs1, single), b = ReadFloat(i.Rs2, single), c = ReadFloat(i.Rs3, single);
        if (form >= 2) a = Op($"fneg {type} {a}");
        if (form is 1 or 3) c = Op($"fneg {type} {c}");
        Declare($"{type} @llvm.fma.{suffix}({type}, {type}, {type})");
        WriteFloat(i.Rd, single, Op($"call {type} @llvm.fma.{suffix}({type} {a}, {type} {b}, {type} {c})"), true);
    }

    private void InjectSign(in Instruction i, bool single)
    {
        int rule = i.Opcode - (single ? Opcode.FsgnjS : Opcode.FsgnjD);
        if (i.Rs1 == i.Rs2 && Typed(i.Rs1, single) is { } typed)
        {
            // A move keeps what it moves as it is where DirtyAfter says so.
            bool keeps = rule == 0 && (_kind[i.Rd] == Kind.Mixed || _kind[i.Rs1] == _kind[i.Rd]);
            string value = typed.IsDirty && !keeps ? CleanValue(typed.Value, single) : typed.Value, of = single ? "float" : "double", suffix = single ? "f32" : "f64";
            // Negation and magnitude: LLVM's are as exact to the bit, NaNs too, and stay in vector registers.
            if (rule == 2) Declare($"{of} @llvm.fabs.{suffix}({of})");
            if (rule != 0) value = Op(rule == 1 ? $"fneg {of} {value}" : $"call {of} @llvm.fabs.{suffix}({of} {value})");
            WriteFloat(i.Rd, single, value, typed.IsDirty && keeps);
            return;
        }

        string type = single ? "i32" : "i64", sign = single ? "-2147483648" : "-9223372036854775808", rest = single ? "2147483647" : "9223372036854775807";
        string a = ReadBits(i.Rs1, single), b = ReadBits(i.Rs2, single), result;
        if (rule == 2) result = Op($"xor {type} {a}, {Op($"and {type} {b}, {sign}")}");
        else
        {
            if (rule == 1) b = Op($"xor {type} {b}, -1");
            result = Op($"or {type} {Op($"and {type} {a}, {rest}")}, {Op($"and {type} {b}, {sign}")}");
        }
        WriteBits(i.Rd, single, result);
    }

    /// <summary>The number where one operand is a NaN; -0 is less than +0.</summary>
    private void MinMax(in Instruction i, bool single, string type, bool max)
    {
        string a = ReadFloat(i.Rs1, single), b = ReadFloat(i.Rs2, single), bits = single ? "i32" : "i64";
        string first = Op($"fcmp {(max ? "ogt" : "olt")} {type} {a}, {b}"), equal = Op($"fcmp oeq {type} {a}, {b}"), bNan = Op($"fcmp uno {type} {b}, {b}");
        string same = Op($"{(max ? "and" : "or")} {bits} {Op($"bitcast {type} {a} to {bits}")}, {Op($"bitcast {type} {b} to {bits}")}");
        string result = Op($"select i1 {first}, {type} {a}, {type} {b}");
        result = Op($"select i1 {equal}, {type} {Op($"bitcast {bits} {same} to {type}")}, {type} {result}");
        result = Op($"select i1 {bNan}, {type} {a}, {type} {result}");
        WriteBits(i.Rd, single, Canonical(result, single));
    }

    private void Compare(in Instruction i, bool single, string predicate) =>
        Flag(i.Rd, $"fcmp {predicate} {(single ? "float" : "double")} {ReadFloat(i.Rs1, single)}, {ReadFloat(i.Rs2, single)}");

    /// <summary>One bit of ten: -infinity, negative normal, subnormal, -0, +0, and so on up to +infinity, signaling and quiet NaN.</summary>
    private void Classify(in Instruction i, bool single)
    {
        (string type, string suffix, string value) = (single ? "float" : "double", single ? "f32" : "f64", ReadFloat(i.Rs1, single));
        if (Typed(i.Rs1, single) is { IsDirty: true }) value = CleanValue(value, single);
        Declare($"i1 @llvm.is.fpclass.{suffix}({type}, i32 immarg)");
        // LLVM's tests, in the order of RISC-V's bits.
        string result = "512"; // a quiet NaN
        foreach ((int bit, int test) in ((int, int)[])[(0, 4), (1, 8), (2, 16), (3, 32), (4, 64), (5, 128), (6, 256), (7, 512), (8, 1)])
            result = Op($"select i1 {Op($"call i1 @llvm.is.fpclass.{suffix}({type} {value}, i32 {test})")}, i64 {1 << bit}, i64 {result}");
        Write(i.Rd, result);
    }

    /// <summary>The host's conversion gives one value for all that does not fit, and NaNs: only that is looked at again, off the way.</summary>
    private void ToInteger(in Instruction i, bool single)
    {
        Opcode o = i.Opcode;
        bool isWord = o is Opcode.FcvtWS or Opcode.FcvtWuS or Opcode.FcvtWD or Opcode.FcvtWuD;
        bool isUnsignedWord = o is Opcode.FcvtWuS or Opcode.FcvtWuD;
        if (o is Opcode.FcvtLuS or Opcode.FcvtLuD)
        {
            Write(i.Rd, Saturated(i, single));
            return;
        }
        string fast = Label("cvt"), slow = Label("sat"), go = Label("int");
        Flush();
        Line($"br label %{fast}");
        _text.Append(CultureInfo.InvariantCulture, $"{fast}:\n");
        // To nearest is what the host's rounding mode is here, too.
        (string function, string host) = (i.Rm is 0 or 7, single) switch
        {
            (true, true) => ("sse.cvtss2si", "<4 x float>"),
            (true, false) => ("sse2.cvtsd2si", "<2 x double>"),
            (false, true) => ("sse.cvttss2si", "<4 x float>"),
            (false, false) => ("sse2.cvttsd2si", "<2 x double>"),
        };
        string type = single ? "float" : "double", wide = isWord && !isUnsignedWord ? "" : "64", integer = wide.Length == 0 ? "i32" : "i64";
        string value = Rounded(i, single);
        Declare($"{integer} @llvm.x86.{function}{wide}({host})");
        string converted = Op($"call {integer} @llvm.x86.{function}{wide}({host} {Op($"insertelement {host} poison, {type} {value}, i32 0")})");
        string unfit = isUnsignedWord ? Op($"icmp ugt i64 {converted}, 4294967295") : Op($"icmp eq {integer} {converted}, {(isWord ? int.MinValue : long.MinValue)}");
        string result = isUnsignedWord ? Op($"trunc i64 {converted} to i32") : converted;
        Line($"br i1 {unfit}, label %{slow}, label %{go}, !prof !0");
        _text.Append(CultureInfo.InvariantCulture, $"{slow}:\n");
        string saturated = Saturated(i, single);
        Line($"br label %{go}");
        _text.Append(CultureInfo.InvariantCulture, $"{go}:\n");
        result = Op($"phi {(isWord ? "i32" : "i64")} [ {result}, %{fast} ], [ {saturated}, %{slow} ]");
        if (isWord) WriteW(i.Rd, result);
        else Write(i.Rd, result);
    }

    /// <summary>The operand as its instruction rounds it, where the conversion does not do that: it truncates, or rounds to nearest.</summary>
    private string Rounded(in Instruction i, bool single)
    {
        string value = ReadFloat(i.Rs1, single);
        return i.Rm switch { 2 => Round("floor"), 3 => Round("ceil"), 4 => Round("round"), _ => value };

        string Round(string how)
        {
            (string type, string suffix) = single ? ("float", "f32") : ("double", "f64");
            Declare($"{type} @llvm.{how}.{suffix}({type})");
            return Op($"call {type} @llvm.{how}.{suffix}({type} {value})");
        }
    }

    /// <summary>RISC-V's conversion of anything.</summary>
    private string Saturated(in Instruction i, bool single)
    {
        Opcode o = i.Opcode;
        bool isWord = o is Opcode.FcvtWS or Opcode.FcvtWuS or Opcode.FcvtWD or Opcode.FcvtWuD;
        bool isUnsigned = o is Opcode.FcvtWuS or Opcode.FcvtLuS or Opcode.FcvtWuD or Opcode.FcvtLuD;
        string type = single ? "float" : "double", suffix = single ? "f32" : "f64", integer = isWord ? "i32" : "i64";
        string value = ReadFloat(i.Rs1, single);
        string? round = i.Rm switch { 1 => null, 2 => "floor", 3 => "ceil", 4 => "round", _ => "roundeven" };
        if (round != null)
        {
            Declare($"{type} @llvm.{round}.{suffix}({type})");
            value = Op($"call {type} @llvm.{round}.{suffix}({type} {value})");
        }
        string convert = $"llvm.fpto{(isUnsigned ? "u" : "s")}i.sat.{integer}.{suffix}";
        Declare($"{integer} @{convert}({type})");
        string result = Op($"call {integer} @{convert}({type} {value})");
        string nan = Op($"fcmp uno {type} {value}, {value}");
        string largest = isUnsigned ? "-1" : isWord ? "2147483647" : "9223372036854775807";
        return Op($"select i1 {nan}, {integer} {largest}, {integer} {result}");
    }
}
