using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Tests.Differential;

// Loops with branches inside: what the translator makes one block of.
internal sealed partial class ProgramGenerator
{
    /// <summary>One loop of about <paramref name="body"/> instructions with ifs, elses, continues and breaks in every combination.</summary>
    public uint[] MakeLoop(int body, bool faults)
    {
        _code.Clear();
        _code.Add(IType(Opcode.Addi, Counter, 0, _random.Next(2, 9)));
        for (int i = _random.Next(3); i > 0; i--) AddIdiom();
        int head = _code.Count, end = head + 2 + body, exit = end + 1;
        // The counter first, so that every way back to the head comes to an end.
        _code.Add(IType(Opcode.Addi, Counter, Counter, -1));
        _code.Add(BType(Opcode.Bge, 0, Counter, 4 * (exit - _code.Count)));
        while (_code.Count < end)
        {
            int at = _code.Count, forward = Math.Min(end, at + _random.Next(1, 12));
            switch (_random.Next(18))
            {
                case < 5: AddArithmetic(); break;
                case < 8: AddIdiom(); break;
                case < 11: AddAccess(faults && _random.Next(8) == 0); break;
                case < 14: _code.Add(BType(Branches[_random.Next(6)], Source(), Source(), 4 * (forward - at))); break;
                case 14:
                    // Over a then-part to behind an else-part.
                    _code.Add(JType(4 * (forward - at)));
                    break;
                case > 15: AddShortSkip(); break;
                default:
                    int target = _random.Next(3) == 0 ? exit : head;
                    _code.Add(BType(Branches[_random.Next(6)], Source(), Source(), 4 * (target - at)));
                    break;
            }
        }
        // Idioms may have gone further.
        exit = _code.Count + 1;
        _code.Add(_random.Next(2) == 0 ? JType(4 * (head - _code.Count)) : BType(Opcode.Bne, Counter, 0, 4 * (head - _code.Count)));
        _code[head + 1] = BType(Opcode.Bge, 0, Counter, 4 * (exit - head - 1));
        for (int i = 0; i < 12; i++) AddArithmetic();
        _code.Add(0x73); // ecall
        return [.. _code];
    }

    /// <summary>A branch over a few cheap operations, which may become conditional moves.</summary>
    private void AddShortSkip()
    {
        int count = _random.Next(1, 4);
        _code.Add(BType(Branches[_random.Next(6)], Source(), _random.Next(3) == 0 ? 0 : Source(), 4 + 4 * count));
        for (int i = 0; i < count; i++)
        {
            int d = Mapped[_random.Next(Mapped.Length)], a = Mapped[_random.Next(Mapped.Length)];
            if (_random.Next(3) != 0) _code.Add(IType(Opcode.Addi, d, a, 0));
            else if (_random.Next(4) == 0) _code.Add(IType(Opcode.Addi, d, 0, _random.Next(-3, 100)));
            else _code.Add(Encode(Arithmetic[_random.Next(Arithmetic.Length)], d, a, Mapped[_random.Next(Mapped.Length)]));
        }
    }

    private static readonly int[] Mapped = [0, 11, 12, 13, 14, 15, 8, 9, 16, 5];

    private static uint JType(int offset) =>
        InstructionTable.BaseRow(Opcode.Jal).Match
        | (uint)(offset >> 12 & 0xFF) << 12 | (uint)(offset >> 11 & 1) << 20 | (uint)(offset >> 1 & 0x3FF) << 21 | (uint)(offset >> 20 & 1) << 31;
}
