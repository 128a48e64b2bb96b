using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>
/// Makes random guest programs that end in ecall: straight code, forward branches, counted loops, indirect jumps and accesses
/// to a data area through registers that nothing else writes.
/// </summary>
internal sealed partial class ProgramGenerator(int seed)
{
    /// <summary>Registers that point into the data area: a mapped and an unmapped one.</summary>
    public static readonly int[] Pointers = [10, 30];

    /// <summary>The counter of loops, and the base of indirect jumps.</summary>
    public const int Counter = 29, CodePointer = 28;

    private static readonly Opcode[] Arithmetic = BuildArithmetic();

    private static readonly Opcode[] Accesses =
    [
        Opcode.Lb, Opcode.Lh, Opcode.Lw, Opcode.Ld, Opcode.Lbu, Opcode.Lhu, Opcode.Lwu, Opcode.Sb, Opcode.Sh, Opcode.Sw, Opcode.Sd,
    ];

    private static readonly Opcode[] Branches = [Opcode.Beq, Opcode.Bne, Opcode.Blt, Opcode.Bge, Opcode.Bltu, Opcode.Bgeu];

    private static readonly int[] Favourites = [0, 5, 6, 7, 11, 12, 15, 17];
    private static readonly int[] Shifts = [32, 32, 48, 56, 3];

    private readonly Random _random = new(seed);
    private readonly List<uint> _code = [];

    public Random Random => _random;

    private static Opcode[] BuildArithmetic()
    {
        var list = new List<Opcode>();
        for (Opcode o = Opcode.Addi; o <= Opcode.Sraw; o++) list.Add(o);
        for (Opcode o = Opcode.Mul; o <= Opcode.Remuw; o++) list.Add(o);
        for (Opcode o = Opcode.AddUw; o <= Opcode.Rev8; o++) list.Add(o);
        for (Opcode o = Opcode.Bclr; o <= Opcode.CzeroNez; o++) list.Add(o);
        list.AddRange([Opcode.Lui, Opcode.Auipc, Opcode.Addi, Opcode.Addiw, Opcode.Addw, Opcode.Add, Opcode.Slli, Opcode.Srli]);
        return [.. list];
    }

    /// <summary>A program of about <paramref name="length"/> instructions for <paramref name="start"/>.</summary>
    public uint[] Make(int length, ulong start, bool atomics = true, bool faults = false)
    {
        _code.Clear();
        while (_code.Count < length)
        {
            switch (_random.Next(20))
            {
                case < 11: AddArithmetic(); break;
                case < 15: AddAccess(faults); break;
                case 15 when atomics: AddAtomic(); break;
                case 16: AddIdiom(); break;
                case 17: AddLoop(); break;
                case 18: AddIndirect(start); break;
                default: AddBranch(); break;
            }
        }
        // Forward branches may lead up to eight instructions further.
        for (int i = 0; i < 10; i++) AddArithmetic();
        _code.Add(0x73); // ecall
        return [.. _code];
    }

    private int Destination()
    {
        while (true)
        {
            int r = _random.Next(32);
            if (Array.IndexOf(Pointers, r) < 0 && r is not (Counter or CodePointer)) return r;
        }
    }

    /// <summary>Sources come from a few registers more often than from all, so that results are used.</summary>
    private int Source() => _random.Next(3) == 0 ? _random.Next(32) : Favourites[_random.Next(8)];

    private int LikelyDestination() => _random.Next(2) == 0 ? Destination() : Favourites[_random.Next(1, 8)];

    private uint Encode(Opcode opcode, int rd, int rs1, int rs2)
    {
        ref readonly InstructionRow row = ref InstructionTable.BaseRow(opcode);
        uint operands = (uint)_random.Next() << 1 ^ (uint)_random.Next();
        operands = operands & ~0x01FF8F80u | (uint)rd << 7 | (uint)rs1 << 15 | (uint)rs2 << 20;
        if (opcode >= Opcode.Addi && opcode <= Opcode.Andi && _random.Next(4) == 0) operands = operands & 0xFFFFF | (uint)(_random.Next(8) - 2) << 20;
        return row.Match | operands & ~row.Mask;
    }

    private void AddArithmetic()
    {
        Opcode opcode = Arithmetic[_random.Next(Arithmetic.Length)];
        _code.Add(Encode(opcode, LikelyDestination(), Source(), Source()));
    }

    private static uint IType(Opcode opcode, int rd, int rs1, int imm) =>
        InstructionTable.BaseRow(opcode).Match | (uint)rd << 7 | (uint)rs1 << 15 | (uint)imm << 20;

    private void AddAccess(bool faults)
    {
        Opcode opcode = Accesses[_random.Next(Accesses.Length)];
        int pointer = Pointers[_random.Next(2)];
        if (faults && _random.Next(12) == 0) pointer = Source(); // whatever is in there
        int imm = _random.Next(-256, 256);
        if (opcode >= Opcode.Sb)
        {
            _code.Add(InstructionTable.BaseRow(opcode).Match | (uint)(imm & 31) << 7 | (uint)pointer << 15 | (uint)Source() << 20 | (uint)(imm >> 5) << 25);
        }
        else _code.Add(IType(opcode, LikelyDestination(), pointer, imm));
    }

    private void AddAtomic()
    {
        var opcode = (Opcode)_random.Next((int)Opcode.LrW, (int)Opcode.AmocasD + 1);
        int rd = LikelyDestination(), pointer = Pointers[_random.Next(2)];
        _code.Add(InstructionTable.BaseRow(opcode).Match | (uint)rd << 7 | (uint)pointer << 15 | (opcode is Opcode.LrW or Opcode.LrD ? 0 : (uint)Source() << 20) | (uint)_random.Next(4) << 25);
        if (opcode is Opcode.LrW or Opcode.LrD && _random.Next(2) == 0)
        {
            Opcode conditional = opcode == Opcode.LrW ? Opcode.ScW : Opcode.ScD;
            _code.Add(InstructionTable.BaseRow(conditional).Match | (uint)LikelyDestination() << 7 | (uint)pointer << 15 | (uint)Source() << 20);
        }
    }

    private void AddIdiom()
    {
        int d = LikelyDestination(), a = Source();
        int n = Shifts[_random.Next(5)];
        if (_random.Next(2) == 0)
        {
            AddSplitIdiom();
            return;
        }
        switch (_random.Next(4))
        {
            case 0:
                _code.Add(IType(Opcode.Slli, d, a, n));
                _code.Add(IType(_random.Next(2) == 0 ? Opcode.Srli : Opcode.Srai, d, d, n == 32 ? _random.Next(28, 33) : n));
                break;
            case 1:
                _code.Add(IType(Opcode.Slli, d, a, _random.Next(1, 5)));
                bool first = _random.Next(2) == 0;
                int b = Source();
                _code.Add(InstructionTable.BaseRow(Opcode.Add).Match | (uint)d << 7 | (uint)(first ? d : b) << 15 | (uint)(first ? b : d) << 20);
                break;
            case 2:
                _code.Add(InstructionTable.BaseRow(_random.Next(2) == 0 ? Opcode.Lui : Opcode.Auipc).Match | (uint)d << 7 | (uint)_random.Next(1 << 20) << 12);
                _code.Add(IType(_random.Next(2) == 0 ? Opcode.Addi : Opcode.Addiw, d, d, _random.Next(-2048, 2048)));
                break;
            default:
                // A rotate by shifts.
                int k = _random.Next(1, 32), t = LikelyDestination();
                _code.Add(IType(Opcode.Srliw, d, a, k));
                _code.Add(IType(Opcode.Slliw, t, a, 32 - k));
                _code.Add(InstructionTable.BaseRow(Opcode.Or).Match | (uint)d << 7 | (uint)d << 15 | (uint)t << 20);
                break;
        }
    }

    private static uint BType(Opcode opcode, int rs1, int rs2, int offset) =>
        InstructionTable.BaseRow(opcode).Match | (uint)rs1 << 15 | (uint)rs2 << 20
        | (uint)(offset >> 11 & 1) << 7 | (uint)(offset >> 1 & 15) << 8 | (uint)(offset >> 5 & 63) << 25 | (uint)(offset >> 12 & 1) << 31;

    private void AddBranch() => _code.Add(BType(Branches[_random.Next(6)], Source(), Source(), 4 * _random.Next(1, 9)));

    private void AddLoop()
    {
        // counter = n; body; counter--; back while it is not zero. Branches in the body do not leave it.
        _code.Add(IType(Opcode.Addi, Counter, 0, _random.Next(1, 6)));
        int head = _code.Count;
        int body = _random.Next(1, 12);
        for (int i = 0; i < body; i++)
        {
            if (_random.Next(4) == 0) AddAccess(false);
            else AddArithmetic();
        }
        _code.Add(IType(Opcode.Addi, Counter, Counter, -1));
        _code.Add(IType(Opcode.Andi, Counter, Counter, 7)); // ends soon also when a branch from in front came past the start
        _code.Add(BType(Opcode.Bne, Counter, 0, 4 * (head - _code.Count)));
    }

    private void AddIndirect(ulong start)
    {
        // auipc; addi; jalr to a little further on. The target goes through memory half of the time, so that it is not known.
        int skip = _random.Next(0, 4);
        int link = _random.Next(3) == 0 ? 0 : LikelyDestination();
        _ = start;
        _code.Add(InstructionTable.BaseRow(Opcode.Auipc).Match | CodePointer << 7);
        if (_random.Next(2) == 0)
        {
            _code.Add(IType(Opcode.Sd, 0, 10, 0) & 0xFFF | InstructionTable.BaseRow(Opcode.Sd).Match | 10u << 15 | CodePointer << 20);
            _code.Add(IType(Opcode.Ld, CodePointer, 10, 0));
            _code.Add(IType(Opcode.Jalr, link, CodePointer, 16 + 4 * skip + _random.Next(2)));
        }
        else _code.Add(IType(Opcode.Jalr, link, CodePointer, 8 + 4 * skip));
    }
}
