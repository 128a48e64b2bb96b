using System.Globalization;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Optimizing.Lowering;

// Loads, stores, fences and AMOs. An address is an offset from the window's base, which LLVM knows nothing of.
internal sealed partial class RegionLowering
{
    private static bool SupportsMemory(Opcode o) => o is (>= Opcode.Lb and <= Opcode.Lwu) or (>= Opcode.Sb and <= Opcode.Sd)
        or Opcode.Fence or Opcode.FenceTso or Opcode.Pause or (>= Opcode.AmoswapW and <= Opcode.AmomaxuW) or (>= Opcode.AmoswapD and <= Opcode.AmomaxuD);

    private static (string Type, int Bytes, bool Extends, bool Unsigned) AccessOf(Opcode o) => o switch
    {
        Opcode.Lb => ("i8", 1, true, false), Opcode.Lbu => ("i8", 1, true, true),
        Opcode.Lh => ("i16", 2, true, false), Opcode.Lhu => ("i16", 2, true, true),
        Opcode.Lw => ("i32", 4, true, false), Opcode.Lwu => ("i32", 4, true, true),
        Opcode.Sb => ("i8", 1, true, false), Opcode.Sh => ("i16", 2, true, false), Opcode.Sw => ("i32", 4, true, false),
        _ => ("i64", 8, false, false),
    };

    private string Address(int rs1, long imm) => IsMachine ? Translated(rs1, imm) : Op($"getelementptr inbounds i8, ptr %m, i64 {Add(Read(rs1), imm)}");

    private void Memory(in Instruction i)
    {
        Opcode o = i.Opcode;
        if (o is >= Opcode.Lb and <= Opcode.Lwu)
        {
            if (Joined(i) is { } joined)
            {
                Write(i.Rd, joined);
                return;
            }
            var (type, _, extends, unsigned) = AccessOf(o);
            string value = (o == Opcode.Ld ? Forwarded(i) : null) ?? Op($"{Load} {type}, ptr {Address(i.Rs1, i.Imm)}, align 1");
            Write(i.Rd, extends ? Op($"{(unsigned ? "zext" : "sext")} {type} {value} to i64") : value);
        }
        else if (o is >= Opcode.Sb and <= Opcode.Sd)
        {
            var (type, _, extends, _) = AccessOf(o);
            string value = Read(i.Rs2);
            if (extends && value != "0") value = Op($"trunc i64 {value} to {type}");
            string address = Address(i.Rs1, i.Imm);
            BeforeStore();
            Line($"store {type} {value}, ptr {address}, align 1");
            AfterStore(i);
            Remember(Read(i.Rs1), i.Imm, AccessOf(o).Bytes, type == "i32" ? value : null);
        }
        else if (o == Opcode.Fence) Fence((i.AqRl & 0x50) != 0 && (i.AqRl & 0x0A) != 0 ? "fence seq_cst" : "fence acq_rel");
        else if (o is Opcode.FenceTso) Fence("fence acq_rel");
        else if (o is Opcode.Pause) return;
        else Atomic(i);
    }

    // Words stored in this block, by the name of the base and the displacement: a doubleword that is loaded from there would have to wait until they are
    // in the cache, as x86 forwards a store only to a load of no more than it. Compilers spill like that.
    private readonly Dictionary<(string Base, long Displacement), string> _stored = [];

    private void Fence(string fence)
    {
        Line(fence);
        _stored.Clear();
    }

    private void Remember(string @base, long displacement, int size, string? word)
    {
        foreach ((string Base, long Displacement) key in _stored.Keys.ToArray())
        {
            bool apart = key.Base == @base && (key.Displacement + 4 <= displacement || displacement + size <= key.Displacement);
            if (!apart) _stored.Remove(key);
        }
        if (word != null) _stored[(@base, displacement)] = word;
    }

    /// <summary>A doubleword of which one or both halves were stored as words in this block; null for others.</summary>
    private string? Forwarded(in Instruction i)
    {
        string @base = Read(i.Rs1);
        bool low = _stored.TryGetValue((@base, i.Imm), out string? lowWord), high = _stored.TryGetValue((@base, i.Imm + 4), out string? highWord);
        if (!low && !high) return null;
        if (!low) lowWord = Op($"{Load} i32, ptr {Address(i.Rs1, i.Imm)}, align 1");
        if (!high) highWord = Op($"{Load} i32, ptr {Address(i.Rs1, i.Imm + 4)}, align 1");
        return Op($"or i64 {Op($"shl i64 {Op($"zext i32 {highWord} to i64")}, 32")}, {Op($"zext i32 {lowWord} to i64")}");
    }

    private void Atomic(in Instruction i)
    {
        if (_exact)
        {
            // Tier 1's; what follows is never reached.
            Flush();
            Line($"br label %{ExitBlock(new RegionExit(_pc, false), rare: true)}");
            _text.Append(CultureInfo.InvariantCulture, $"{Label("a")}:\n");
            return;
        }
        bool isWord = i.Opcode <= Opcode.AmomaxuW;
        string type = isWord ? "i32" : "i64";
        string operation = (i.Opcode - (isWord ? Opcode.AmoswapW : Opcode.AmoswapD)) switch
        {
            0 => "xchg", 1 => "add", 2 => "xor", 3 => "and", 4 => "or", 5 => "min", 6 => "max", 7 => "umin", _ => "umax",
        };
        // A misaligned one traps, and where load-reserved is in use others must see the change: tier 1 does both.
        string address = Read(i.Rs1), aligned = Op($"icmp eq i64 {Op($"and i64 {address}, {(isWord ? 3 : 7)}")}, 0");
        string table = Op($"load ptr, ptr {Op($"getelementptr i8, ptr %s, i64 {HartStateLayout.ReservationTable}")}");
        string used = Op($"load volatile i8, ptr {Op($"getelementptr i8, ptr {table}, i64 {Reservations.InUseOffset}")}");
        string free = Op($"icmp eq i8 {used}, 0");
        if (IsMachine)
        {
            // A kernel uses them all the time: it is the address's version that counts.
            string version = Op($"load volatile i64, ptr {Op($"getelementptr i8, ptr {table}, i64 {Op($"shl i64 {Op($"and i64 {address}, {Reservations.AddressMask}")}, 3")}")}");
            free = Op($"or i1 {free}, {Op($"icmp eq i64 {Op($"and i64 {version}, {Reservations.Watched}")}, 0")}");
        }
        aligned = Op($"and i1 {aligned}, {free}");
        Flush();
        string leave = ExitBlock(new RegionExit(_pc, false), rare: true), go = Label("a");
        Line($"br i1 {aligned}, label %{go}, label %{leave}");
        _text.Append(CultureInfo.InvariantCulture, $"{go}:\n");
        _stored.Clear();
        string operand = isWord ? Low(i.Rs2) : Read(i.Rs2);
        string old = Op($"atomicrmw {operation} ptr {Address(i.Rs1, 0)}, {type} {operand} seq_cst, align {(isWord ? 4 : 8)}");
        if (isWord) WriteW(i.Rd, old);
        else Write(i.Rd, old);
    }
}
