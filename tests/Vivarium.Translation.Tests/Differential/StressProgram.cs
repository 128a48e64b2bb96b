using System.Buffers.Binary;
using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>What a <see cref="StressProgram"/> is made of.</summary>
/// <param name="Items">Instructions or short sequences.</param>
/// <param name="FloatShare">Percent of floating-point instructions.</param>
/// <param name="MemoryShare">Percent of loads, stores and atomics.</param>
/// <param name="BranchShare">Percent of branches and jumps, besides the loops.</param>
/// <param name="TrapShare">Per mille of instructions that probably trap: illegal ones, ecall, ebreak, wild or misaligned addresses.</param>
/// <param name="Precision">Which floating-point instructions: of both precisions on the same registers, or of one.</param>
/// <param name="Regions">Only what the optimising tier takes into its regions.</param>
/// <param name="Rounds">Loops make so many times the usual number of rounds, at most 100.</param>
/// <param name="CallShare">Percent of calls that come back, to functions by pointers or directly, and system calls.</param>
internal sealed record ProgramMix(
    int Items = 120, int FloatShare = 40, int MemoryShare = 20, int BranchShare = 8, int TrapShare = 3, Precision Precision = Precision.Mixed, bool Regions = false,
    int Rounds = 1, int CallShare = 0);

internal enum Precision { Mixed, Single, Double }

/// <summary>
/// A random program that terminates: instructions drawn from the instruction table, with operands such that addresses mostly fall into a
/// data area, jumps go forward, and loops count down. It ends with an <c>ecall</c> at <see cref="End"/>; other traps may occur on the way.
/// The same seed gives the same program.
/// </summary>
/// <remarks>
/// Reserved registers: x2 and one of x8..x15 point into the data area, one more points to an aligned place for atomics, two count loops.
/// Everything else is fair game, x1 and the frm included.
/// </remarks>
internal sealed class StressProgram
{
    /// <summary>The data area lies at <see cref="DataStart"/>; base registers point around its middle.</summary>
    public const ulong DataStart = 0x40_0000;
    public const int DataSize = 0x2000;
    private const int DataMiddle = DataSize / 2;

    private readonly Random _random;
    private readonly ProgramMix _mix;
    private readonly List<Item> _items = [];
    private readonly int _base, _atomic, _outer, _inner;
    private readonly uint _reserved;
    private readonly List<int> _functions = []; // the items that they begin at; they lie behind the final ecall
    private int _end = int.MaxValue;

    private struct Item
    {
        public uint Bits;
        public int Length;
        public int Target;   // index of the item that a branch goes to, or -1
        public int Address;
        public bool Interior; // of a sequence: no branch goes here
        public bool IsCall;  // Target is the number of a function
        public bool PcPair;  // auipc whose following addi completes a pc-relative address of Target
    }

    private StressProgram(int seed, ulong start, ProgramMix mix)
    {
        Seed = seed;
        Start = start;
        _mix = mix;
        _random = new Random(seed);
        _base = _random.Next(8, 16);
        _atomic = Other(2, Link, _base);
        _outer = Other(2, Link, _base, _atomic);
        _inner = Other(2, Link, _base, _atomic, _outer);
        _reserved = (mix.CallShare > 0 ? 1u << Link : 0) | 1u << 2 | 1u << _base | 1u << _atomic | 1u << _outer | 1u << _inner;
        Generate();
        Layout();

        int Other(params ReadOnlySpan<int> taken)
        {
            while (true)
            {
                int r = _random.Next(1, 32);
                if (!taken.Contains(r)) return r;
            }
        }
    }

    public static StressProgram Create(int seed, ulong start, ProgramMix? mix = null) => new(seed, start, mix ?? new ProgramMix());

    public int Seed { get; }

    /// <summary>Guest address of the code.</summary>
    public ulong Start { get; }

    /// <summary>Guest address of the final ecall.</summary>
    public ulong End { get; private set; }

    /// <summary>The code.</summary>
    public byte[] Code { get; private set; } = [];

    /// <summary>Instructions, without the final ecall.</summary>
    public int Count => _items.Count;

    /// <summary>Which of its many data the program runs on: initial registers and memory.</summary>
    public int Data { get; set; }

    /// <summary>Initial registers: reserved ones as the program needs them, the others special or random.</summary>
    public void FillRegisters(Span<ulong> x, Span<ulong> f)
    {
        var random = new Random(Seed ^ 0x5EED ^ Data * 0x9E3779);
        for (int i = 1; i < 32; i++) x[i] = StressValues.Integer(random);
        for (int i = 0; i < 32; i++)
        {
            do f[i] = StressValues.Float(random);
            while (_mix.Precision == Precision.Single && f[i] >> 32 != uint.MaxValue);
        }
        x[0] = 0;
        x[2] = DataStart + DataMiddle + 16 * (ulong)random.Next(16);
        x[_base] = DataStart + DataMiddle + 16 * (ulong)random.Next(16);
        if (random.Next(8) == 0) x[_base] += (ulong)random.Next(16);
        x[_atomic] = DataStart + DataMiddle;
        x[_outer] = x[_inner] = 0;
    }

    /// <summary>Initial contents of the data area.</summary>
    public void FillData(Span<byte> data)
    {
        var random = new Random(Seed ^ 0xDA7A ^ Data * 0x9E3779);
        random.NextBytes(data);
        for (int i = 0; i + 8 <= data.Length; i += 8)
        {
            if (random.Next(4) == 0) continue;
            BinaryPrimitives.WriteUInt64LittleEndian(data[i..], random.Next(2) == 0 ? StressValues.Float(random) : StressValues.Integer(random));
        }
    }

    private static readonly InstructionRow[][] Rows = Classify();

    private enum Kind { Integer, Float, Memory, Count }

    private static InstructionRow[][] Classify()
    {
        var kinds = new List<InstructionRow>[(int)Kind.Count];
        for (int i = 0; i < kinds.Length; i++) kinds[i] = [];
        foreach (InstructionRow row in InstructionTable.Rows[1..])
        {
            switch (row.Class)
            {
                case SemanticsClass.Integer or SemanticsClass.Multiply or SemanticsClass.Fence: kinds[(int)Kind.Integer].Add(row); break;
                case SemanticsClass.Float: kinds[(int)Kind.Float].Add(row); break;
                case SemanticsClass.Load or SemanticsClass.Store or SemanticsClass.FloatLoad or SemanticsClass.FloatStore or SemanticsClass.Atomic
                    or SemanticsClass.CacheBlock:
                    kinds[(int)Kind.Memory].Add(row);
                    break;
            }
        }
        return [.. kinds.Select(k => k.ToArray())];
    }

    // Where functions return to.
    private const int Link = 1, Functions = 4;

    private void Generate()
    {
        GenerateBody();
        _end = _items.Count;
        if (_mix.CallShare == 0) return;
        for (int f = 0; f < Functions; f++)
        {
            _functions.Add(_items.Count);
            for (int n = _random.Next(1, 5); n > 0; n--)
            {
                if (_random.Next(100) < _mix.FloatShare) AddFloat();
                else AddRow(_random.Next(3) == 0 ? Kind.Memory : Kind.Integer);
            }
            AddRaw(0x67u | Link << 15); // ret
        }
    }

    private void AddCall()
    {
        int function = _random.Next(Functions), r = NotZero();
        switch (_random.Next(4))
        {
            case 0:
                AddRaw(0x73); // ecall
                break;
            case 1:
                _items.Add(new Item { Bits = 0x6Fu | Link << 7, Length = 4, Target = function, IsCall = true });
                break;
            default:
                _items.Add(new Item { Bits = 0x17u | (uint)r << 7, Length = 4, Target = function, IsCall = true, PcPair = true });
                AddRaw(0x13u | (uint)r << 7 | (uint)r << 15, interior: true);
                AddRaw(0x67u | Link << 7 | (uint)r << 15, interior: true);
                break;
        }
    }

    private void GenerateBody()
    {
        int outerHead = -1, innerHead = -1;
        while (_items.Count < _mix.Items || innerHead >= 0 || outerHead >= 0)
        {
            bool more = _items.Count < _mix.Items;
            int dice = _random.Next(100);
            if (outerHead < 0 && innerHead < 0 && dice < 4 && more)
            {
                Load(_outer, _random.Next(1, 12) * _mix.Rounds);
                outerHead = _items.Count;
            }
            else if (innerHead < 0 && dice < 8 && more)
            {
                Load(_inner, _random.Next(1, 20) * _mix.Rounds);
                innerHead = _items.Count;
            }
            else if (innerHead >= 0 && (_random.Next(8) == 0 || !more))
            {
                CountDown(_inner, innerHead);
                innerHead = -1;
            }
            else if (innerHead < 0 && outerHead >= 0 && (_random.Next(30) == 0 || !more))
            {
                CountDown(_outer, outerHead);
                outerHead = -1;
            }
            else if (_random.Next(1000) < _mix.TrapShare) AddTrap();
            else if (_mix.CallShare > 0 && _random.Next(100) < _mix.CallShare) AddCall();
            else if (dice < 8 + _mix.BranchShare) AddBranch();
            else
            {
                int choice = _random.Next(100);
                if (choice < _mix.FloatShare) AddFloat();
                else if (choice < _mix.FloatShare + _mix.MemoryShare) AddMemory();
                else if (choice == 99) AddRaw(0x0FF0000F); // fence
                else AddRow(Kind.Integer);
            }
        }
    }

    private void Load(int register, int value) => AddRaw(0x13u | (uint)register << 7 | (uint)value << 20);

    /// <summary>addi counter, counter, -1; bgtz counter, head.</summary>
    private void CountDown(int counter, int head)
    {
        AddRaw(0x13u | (uint)counter << 7 | (uint)counter << 15 | 0xFFFu << 20);
        _items.Add(new Item { Bits = 0x63u | 4u << 12 | (uint)counter << 20, Length = 4, Target = head, Interior = true }); // blt x0, counter
    }

    /// <summary>Any word of 32 bits, an instruction or not, but none that reads a clock: those differ between two executors.</summary>
    private uint AnyWord()
    {
        while (true)
        {
            uint bits = (uint)_random.NextInt64() << 2 | 3;
            if ((bits & 0x7F) != 0x73 || (bits >> 20) is not (>= 0xC00 and <= 0xC9F)) return bits;
        }
    }

    private void AddRaw(uint bits, bool interior = false) =>
        _items.Add(new Item { Bits = bits, Length = (bits & 3) == 3 ? 4 : 2, Target = -1, Interior = interior });

    private int Free()
    {
        while (true)
        {
            int r = _random.Next(32);
            if ((_reserved >> r & 1) == 0) return r;
        }
    }

    private int NotZero()
    {
        int r;
        do r = Free();
        while (r == 0);
        return r;
    }

    /// <summary>A forward branch or jump; sometimes through a register, directly or by way of memory.</summary>
    private void AddBranch()
    {
        int target = _items.Count + _random.Next(2, 12);
        switch (_random.Next(10))
        {
            case 8 or 9:
            {
                // A floating-point comparison and a branch on it, perhaps between frflags and fsflags.
                int r = NotZero(), saved = NotZero();
                bool quiet = !_mix.Regions && _random.Next(2) == 0;
                if (quiet) AddRaw(0x73u | 2u << 12 | (uint)saved << 7 | 1u << 20);
                AddRaw(0x53u | (0x50u | (uint)_random.Next(2)) << 25 | (uint)_random.Next(3) << 12 | (uint)r << 7
                    | (uint)_random.Next(32) << 15 | (uint)_random.Next(32) << 20);
                if (quiet) AddRaw(0x73u | 1u << 12 | (uint)saved << 15 | 1u << 20);
                _items.Add(new Item { Bits = 0x63u | (uint)_random.Next(2) << 12 | (uint)r << 15, Length = 4, Target = _items.Count + _random.Next(2, 12) });
                break;
            }
            case 0:
                _items.Add(new Item { Bits = 0x6Fu | (uint)Free() << 7, Length = 4, Target = target });
                break;
            case 1:
                _items.Add(new Item { Bits = 0xA001, Length = 2, Target = target }); // c.j
                break;
            case 2:
                _items.Add(new Item { Bits = 0xC001u | (uint)_random.Next(2) << 13 | (uint)_random.Next(8) << 7, Length = 2, Target = target });
                break;
            case 3:
            {
                int r = NotZero();
                _items.Add(new Item { Bits = 0x17u | (uint)r << 7, Length = 4, Target = target + 4, PcPair = true });
                AddRaw(0x13u | (uint)r << 7 | (uint)r << 15, interior: true);
                if (_random.Next(2) == 0)
                {
                    AddRaw(0x23u | 3u << 12 | 2u << 15 | (uint)r << 20, interior: true); // sd r, 0(sp)
                    AddRaw(0x03u | 3u << 12 | 2u << 15 | (uint)r << 7, interior: true);  // ld r, 0(sp)
                }
                AddRaw(0x67u | (uint)Free() << 7 | (uint)r << 15, interior: true);       // jalr
                break;
            }
            default:
                uint funct = (uint)(_random.Next(6) is var n && n < 2 ? n : n + 2);
                _items.Add(new Item { Bits = 0x63u | funct << 12 | (uint)_random.Next(32) << 15 | (uint)_random.Next(32) << 20, Length = 4, Target = target });
                break;
        }
    }

    private void AddTrap()
    {
        switch (_random.Next(6))
        {
            case 0: AddRaw(0x00000073); break; // ecall
            case 1: AddRaw(_random.Next(2) == 0 ? 0x00100073u : 0x9002); break; // ebreak
            case 2: AddRaw(_random.Next(2) == 0 ? 0u : (uint)_random.Next() | 0x7F); break;
            case 3: AddRaw(AnyWord()); break;
            default:
                // A load or store at a wild address, within 2 GiB of the window: its guards reach no further than 4 GiB.
                int r = NotZero();
                AddRaw(0x37u | (uint)r << 7 | (uint)_random.NextInt64() & 0xFFFFF000);
                AddRaw((_random.Next(4) switch { 0 => 0x03u, 1 => 0x23, 2 => 0x07, _ => 0x27 }) | (uint)_random.Next(2, 4) << 12
                    | (uint)Free() << 7 | (uint)r << 15 | (uint)_random.Next(32) << 20, interior: true);
                break;
        }
    }

    private void AddFloat()
    {
        int dice = _random.Next(_mix.Regions ? 2 : 0, 40);
        if (dice == 0)
        {
            // fflags, frm, fcsr: all six instructions; a new frm is mostly one of the five modes, seldom RMM.
            uint csr = (uint)_random.Next(1, 4), funct = (uint)(_random.Next(6) is var n && n < 3 ? n + 1 : n + 2);
            uint source = (uint)_random.Next(32);
            if (csr == 2 && funct >= 5) source = _random.Next(8) == 0 ? (uint)_random.Next(8) : (uint)_random.Next(4);
            else if (csr != 1 && _random.Next(8) != 0) source = 0;
            AddRaw(0x73u | (uint)Free() << 7 | funct << 12 | source << 15 | csr << 20);
            return;
        }
        if (dice == 1)
        {
            AddRaw(0x73u | 5u << 12 | (uint)_random.Next(4) << 15 | 2u << 20); // csrwi frm, 0..3
            return;
        }
        if (dice < 6)
        {
            // Fresh operands: without them everything becomes NaN or infinite.
            int f = _random.Next(32), offset = _random.Next(-256, 256) * 8;
            uint width = _mix.Precision switch { Precision.Single => 2, Precision.Double => 3, _ => (uint)_random.Next(2, 4) };
            AddRaw(0x07u | width << 12 | 2u << 15 | (uint)f << 7 | (uint)offset << 20);
            return;
        }
        AddRow(Kind.Float);
        // Take the flags away often: they stick, and hide what later instructions raise.
        if (!_mix.Regions && _random.Next(4) == 0) AddRaw(0x73u | 1u << 12 | (uint)Free() << 7 | 1u << 20);
    }

    private void AddMemory()
    {
        if (_random.Next(6) == 0)
        {
            // Move the pointer of the atomics, then perhaps a load-reserved/store-conditional pair.
            int offset = _random.Next(-64, 64) * 16;
            AddRaw(0x13u | (uint)_atomic << 7 | 2u << 15 | (uint)offset << 20);
            if (!_mix.Regions && _random.Next(2) == 0)
            {
                uint size = (uint)_random.Next(2, 4);
                AddRaw(0x1000002Fu | size << 12 | (uint)Free() << 7 | (uint)_atomic << 15);
                if (_random.Next(2) == 0) AddRow(Kind.Integer);
                AddRaw(0x1800002Fu | size << 12 | (uint)Free() << 7 | (uint)_atomic << 15 | (uint)_random.Next(32) << 20);
                return;
            }
        }
        AddRow(Kind.Memory);
    }

    /// <summary>An instruction of a kind, with random operands that keep the rules.</summary>
    private void AddRow(Kind kind)
    {
        InstructionRow[] rows = Rows[(int)kind];
        while (true)
        {
            InstructionRow row = rows[_random.Next(rows.Length)];
            uint bits = row.Match | (uint)_random.NextInt64() & ~row.Mask;
            if (row.Length == 2) bits &= 0xFFFF;
            if (kind == Kind.Memory && row.Length == 4)
                bits = bits & ~(31u << 15) | (uint)(row.Class == SemanticsClass.Atomic ? _atomic : _random.Next(2) == 0 ? 2 : _base) << 15;
            else if (kind == Kind.Memory && row.Format is OperandFormat.CLw or OperandFormat.CLd or OperandFormat.CSw or OperandFormat.CSd)
                bits = bits & ~(7u << 7) | (uint)(_base - 8) << 7;
            if (kind == Kind.Float && _random.Next(2) == 0 && row.Format is OperandFormat.RRm or OperandFormat.R4 or OperandFormat.RUnaryRm)
                bits |= 7u << 12 & ~row.Mask; // dynamic rounding is the usual case
            Instruction i = Decoder.Decode(bits);
            if (_mix.Precision == Precision.Single && (row.Mnemonic.Contains(".d", StringComparison.Ordinal) && kind == Kind.Float || i.Opcode == Opcode.Fld)) continue;
            if (_mix.Precision == Precision.Double && (row.Mnemonic.Contains(".s", StringComparison.Ordinal) && kind == Kind.Float || i.Opcode == Opcode.Flw)) continue;
            if (i.Opcode == Opcode.Illegal || i.Opcode != row.Opcode) continue;
            if (_mix.Regions && !Optimizing.Lowering.RegionLowering.Supports(i, true)) continue;
            if (i.Rm is 5 or 6 && _random.Next(8) != 0) continue;
            if (i.Opcode is Opcode.Ecall or Opcode.Ebreak or Opcode.Auipc or Opcode.FenceI or Opcode.WrsNto or Opcode.WrsSto or Opcode.CboInval) continue;
            if (kind != Kind.Memory || row.Class is SemanticsClass.Load or SemanticsClass.Atomic)
            {
                bool floatResult = InstructionTable.BaseRow(i.Opcode).Syntax.Contains('D');
                if (!floatResult && (_reserved >> i.Rd & 1) != 0) continue;
            }
            if (i.Opcode == Opcode.AmocasQ && (_reserved >> (i.Rd | 1) & 1) != 0 && (i.Rd & 1) == 0) continue;
            AddRaw(bits);
            return;
        }
    }

    private void Layout()
    {
        var items = System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_items);
        int address = 0;
        int end = 0;
        for (int n = 0; n <= items.Length; n++)
        {
            if (n == _end)
            {
                end = address;
                address += 4;
            }
            if (n == items.Length) break;
            items[n].Address = address;
            address += items[n].Length;
        }
        End = Start + (ulong)end;
        Code = new byte[address];
        for (int n = 0; n < items.Length; n++)
        {
            ref Item item = ref items[n];
            uint bits = item.Bits;
            if (item.Target >= 0)
            {
                if (item.IsCall) item.Target = _functions[item.Target];
                else while (item.Target < _end && items[item.Target].Interior) item.Target++;
                int distance = (item.IsCall || item.Target < _end ? items[item.Target].Address : end) - item.Address;
                if (item.PcPair)
                {
                    // The distance is small: auipc adds nothing, the addi behind it all.
                    items[n + 1].Bits |= (uint)distance << 20;
                }
                else bits |= Displacement(bits, distance);
            }
            Put(item.Address, bits, item.Length);
        }
        Put(end, 0x00000073, 4);
    }

    private static uint Displacement(uint bits, int d)
    {
        uint u = (uint)d;
        if ((bits & 3) == 1 && (bits & 0xE000) == 0xA000)
            return (u >> 11 & 1) << 12 | (u >> 4 & 1) << 11 | (u >> 8 & 3) << 9 | (u >> 10 & 1) << 8 | (u >> 6 & 1) << 7 | (u >> 7 & 1) << 6
                | (u >> 1 & 7) << 3 | (u >> 5 & 1) << 2;
        if ((bits & 3) == 1) return (u >> 8 & 1) << 12 | (u >> 3 & 3) << 10 | (u >> 6 & 3) << 5 | (u >> 1 & 3) << 3 | (u >> 5 & 1) << 2;
        if ((bits & 0x7F) == 0x6F) return (u >> 20 & 1) << 31 | (u >> 1 & 0x3FF) << 21 | (u >> 11 & 1) << 20 | (u >> 12 & 0xFF) << 12;
        return (u >> 12 & 1) << 31 | (u >> 5 & 0x3F) << 25 | (u >> 1 & 0xF) << 8 | (u >> 11 & 1) << 7;
    }

    private void Put(int address, uint bits, int length)
    {
        if (length == 4) BinaryPrimitives.WriteUInt32LittleEndian(Code.AsSpan(address), bits);
        else BinaryPrimitives.WriteUInt16LittleEndian(Code.AsSpan(address), (ushort)bits);
    }

    /// <summary>Replaces as many instructions as possible by no-ops of the same length while <paramref name="fails"/> stays true.</summary>
    public void Minimise(Func<bool> fails)
    {
        // A check may compile regions: what a minute leaves is small enough to read.
        var spent = System.Diagnostics.Stopwatch.StartNew();
        for (int size = Math.Max(1, _items.Count / 2); ; size = Math.Max(1, size / 2))
        {
            bool progress = false;
            for (int from = 0; from < _items.Count; from += size)
            {
                byte[] before = (byte[])Code.Clone();
                int to = Math.Min(_items.Count, from + size);
                bool changed = false;
                for (int n = from; n < to; n++)
                {
                    Item item = _items[n];
                    uint nop = item.Length == 4 ? 0x13u : 1;
                    if (IsNop(n)) continue;
                    Put(item.Address, nop, item.Length);
                    changed = true;
                }
                if (!changed) continue;
                if (spent.Elapsed > MinimisingLimit)
                {
                    Code = before;
                    return;
                }
                if (fails()) progress = true;
                else Code = before;
            }
            if (size == 1 && !progress) return;
        }
    }

    private static readonly TimeSpan MinimisingLimit = TimeSpan.FromMinutes(1);

    private bool IsNop(int n) => _items[n].Length == 4
        ? BinaryPrimitives.ReadUInt32LittleEndian(Code.AsSpan(_items[n].Address)) == 0x13
        : BinaryPrimitives.ReadUInt16LittleEndian(Code.AsSpan(_items[n].Address)) == 1;

    /// <summary>The instructions that are not no-ops, one a line.</summary>
    public string Listing()
    {
        var text = new System.Text.StringBuilder();
        for (int n = 0; n < _items.Count; n++)
        {
            if (IsNop(n)) continue;
            int at = _items[n].Address;
            uint bits = _items[n].Length == 4 ? BinaryPrimitives.ReadUInt32LittleEndian(Code.AsSpan(at)) : BinaryPrimitives.ReadUInt16LittleEndian(Code.AsSpan(at));
            Instruction i = Decoder.Decode(bits);
            text.AppendLine($"  {Start + (ulong)at:x}: {bits:x8} {i.Opcode} rd {i.Rd} rs1 {i.Rs1} rs2 {i.Rs2} rs3 {i.Rs3} rm {i.Rm} imm {i.Imm}");
        }
        return text.ToString();
    }
}
