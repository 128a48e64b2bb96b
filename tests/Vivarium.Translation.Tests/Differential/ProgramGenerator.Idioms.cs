using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Tests.Differential;

// Idioms whose halves stand apart and in registers of their own, with things in between that may see, use or spoil the first half.
internal sealed partial class ProgramGenerator
{
    private void AddSplitIdiom()
    {
        int a = Source(), b = Source(), t = LikelyDestination(), u = LikelyDestination(), d = LikelyDestination();
        bool word = _random.Next(2) == 0;
        switch (_random.Next(8))
        {
            case 0:
                int m = Shifts[_random.Next(5)], n = _random.Next(3) == 0 ? m : _random.Next(28, 64);
                _code.Add(IType(Opcode.Slli, t, a, m));
                Between();
                _code.Add(IType(_random.Next(2) == 0 ? Opcode.Srli : Opcode.Srai, u, t, n));
                Between();
                _code.Add(RType(Opcode.Add, d, _random.Next(2) == 0 ? u : b, u));
                break;
            case 1:
                int k = _random.Next(1, word ? 32 : 64), left = _random.Next(4) == 0 ? k : (word ? 32 : 64) - k;
                _code.Add(IType(word ? Opcode.Srliw : Opcode.Srli, t, a, k));
                Between();
                _code.Add(IType(word ? Opcode.Slliw : Opcode.Slli, u, a, left));
                Between();
                Opcode join = _random.Next(2) == 0 ? Opcode.Or : Opcode.Xor;
                _code.Add(_random.Next(2) == 0 ? RType(join, d, t, u) : RType(join, d, u, t));
                break;
            case 2:
                int pointer = Pointers[_random.Next(2)];
                _code.Add(IType(Opcode.Addi, t, pointer, 8 * _random.Next(-30, 30)));
                Between();
                _code.Add(IType(Opcode.Ld, u, t, 8 * _random.Next(-16, 16)));
                break;
            case 3:
                _code.Add(IType(Opcode.Addi, t, a, 0)); // mv
                Between();
                _code.Add(RType(word ? Opcode.Addw : Opcode.Sub, d, t, b));
                break;
            case 4:
                _code.Add(_random.Next(3) switch
                {
                    0 => RType(word ? Opcode.Slt : Opcode.Sltu, t, a, b),
                    1 => IType(word ? Opcode.Slti : Opcode.Sltiu, t, a, _random.Next(-2, 3)),
                    _ => IType(Opcode.Sltiu, t, a, 1),
                });
                Between();
                _code.Add(BType(_random.Next(2) == 0 ? Opcode.Beq : Opcode.Bne, t, 0, 4 * _random.Next(1, 6)));
                break;
            case 5:
                _code.Add(IType(Opcode.Addiw, t, a, 0)); // sext.w
                Between();
                _code.Add(RType(word ? Opcode.Add : Opcode.Addw, d, t, b));
                break;
            case 6:
                // A load through a scaled index, with the index in any register.
                _code.Add(IType(Opcode.Andi, u, a, 31));
                Between();
                Opcode[] scaled = [Opcode.Sh1add, Opcode.Sh2add, Opcode.Sh3add, Opcode.Sh1addUw, Opcode.Sh2addUw, Opcode.Sh3addUw];
                int address = _random.Next(3) == 0 ? u : t;
                _code.Add(RType(scaled[_random.Next(6)], address, u, Pointers[_random.Next(2)]));
                if (_random.Next(3) == 0) Between();
                _code.Add(IType(Accesses[_random.Next(7)], d, address, 8 * _random.Next(-4, 4)));
                break;
            default:
                _code.Add(IType(Opcode.Slli, t, a, _random.Next(1, 5)));
                Between();
                _code.Add(RType(Opcode.Add, d, t, b));
                break;
        }
        // Often nobody needs the halves any more.
        if (_random.Next(2) == 0) _code.Add(IType(Opcode.Addi, t, b, 1));
        if (_random.Next(2) == 0) _code.Add(IType(Opcode.Xori, u, a, 3));
    }

    private void Between()
    {
        switch (_random.Next(8))
        {
            case 0: AddAccess(true); break;
            case 1: AddAccess(false); break;
            case 2: AddArithmetic(); break;
            case 3: AddBranch(); break;
        }
    }

    private static uint RType(Opcode opcode, int rd, int rs1, int rs2) =>
        InstructionTable.BaseRow(opcode).Match | (uint)rd << 7 | (uint)rs1 << 15 | (uint)rs2 << 20;
}
