using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.FrontEnd;

// LR/SC sequences that need no reservation. Where nothing but arithmetic on registers stands between a load-reserved and its
// store-conditional, what is stored depends on nothing else in memory than the value that was read; if that value is there when the
// store happens, the sequence is as good as if it had run at that moment alone, whatever the memory held meanwhile. So the
// store-conditional is a compare-and-exchange with that value. All loops that compilers make are of this kind.
internal sealed partial class SuperblockBuilder
{
    /// <summary>Bytes from a load-reserved on in which its store-conditional is looked for: those of the manual's constrained loops.</summary>
    private const int ReservedWindow = 64;

    private readonly Instruction[] _sequence = new Instruction[ReservedWindow / 2];
    private readonly ulong[] _sequencePc = new ulong[ReservedWindow / 2];

    /// <summary>Reads the sequence that begins with the load-reserved <paramref name="lr"/>. The number of its instructions, or 0 where it is not one
    /// of arithmetic, forward branches around the store-conditional (of a compare-and-exchange, or of a loop), and that.</summary>
    /// <remarks>Who leaves by such a branch has no reservation.</remarks>
    private int MatchReserved(in Instruction lr, ulong pc)
    {
        bool wide = lr.Opcode == Opcode.LrD;
        if (lr.Rd == lr.Rs1 && lr.Rd != 0) return 0;
        _sequence[0] = lr;
        _sequencePc[0] = pc;
        int count = 1, stored = 0;
        uint written = lr.Rd == 0 ? 0 : 1u << lr.Rd;
        ulong end = pc + ReservedWindow, firstSkip = ulong.MaxValue;
        for (ulong at = pc + lr.Length; at < end;)
        {
            if (!_reader.TryFetch(at, out uint bits)) break;
            Instruction i = Decoder.Decode(bits);
            if (stored != 0)
            {
                if (count == stored)
                {
                    // Right behind the store-conditional.
                    count++;
                    ref Instruction conditional = ref _sequence[stored - 1];
                    bool again = i.Opcode == Opcode.Bne && (i.Rs1 == conditional.Rd && i.Rs2 == 0 || i.Rs1 == 0 && i.Rs2 == conditional.Rd)
                        && at + (ulong)(long)i.Imm == pc;
                    bool exchange = stored == 3 && _sequence[1].Opcode == Opcode.Bne;
                    if (firstSkip != ulong.MaxValue && !again && !exchange) return 0;
                }
                // Another store-conditional nearby may belong to the same load-reserved, by way of a branch.
                if (i.Opcode is Opcode.LrW or Opcode.LrD) break;
                if (i.Opcode is Opcode.ScW or Opcode.ScD) return 0;
                at += i.Length;
                continue;
            }
            _sequence[count] = i;
            _sequencePc[count++] = at;
            if (i.Opcode == (wide ? Opcode.ScD : Opcode.ScW))
            {
                if (i.Rs1 != lr.Rs1 || (written >> i.Rs1 & 1) != 0) return 0;
                stored = count;
                if (firstSkip <= at) return 0;
            }
            else if (i.Opcode is >= Opcode.Beq and <= Opcode.Bgeu)
            {
                ulong target = at + (ulong)(long)i.Imm;
                if (target <= at) return 0;
                firstSkip = Math.Min(firstSkip, target);
            }
            else if (!IsArithmetic(i.Opcode)) return 0;
            else if (i.Rd != 0) written |= 1u << i.Rd;
            at += i.Length;
        }
        return stored;
    }

    private static bool IsArithmetic(Opcode opcode) => ArithmeticTable[(int)opcode];

    private static readonly bool[] ArithmeticTable = BuildArithmetic();

    private static bool[] BuildArithmetic()
    {
        var table = new bool[(int)Opcode.PrefetchW + 1];
        foreach (InstructionRow row in InstructionTable.Rows[1..])
        {
            if (row.Class is SemanticsClass.Integer or SemanticsClass.Multiply && row.Opcode is not (Opcode.Beq or Opcode.Bne or Opcode.Blt or Opcode.Bge
                or Opcode.Bltu or Opcode.Bgeu or Opcode.Jal or Opcode.Jalr)) table[(int)row.Opcode] = true;
        }
        // These the interpreter executes.
        table[(int)Opcode.Clmul] = table[(int)Opcode.Clmulh] = table[(int)Opcode.Clmulr] = false;
        return table;
    }

    private bool FitsPages(int count)
    {
        for (int i = 0; i < count; i++)
        {
            if (!InPages(_sequencePc[i]) || !InPages(_sequencePc[i] + _sequence[i].Length - 1)) return false;
        }
        return true;
    }

    /// <summary>Translates the sequence of <paramref name="count"/> instructions whose first is the block's last; where it goes on is in
    /// <paramref name="next"/> or <paramref name="target"/>.</summary>
    private Flow TranslateReserved(int count, out ulong next, out ulong target)
    {
        ref Instruction lr = ref _sequence[0];
        ref Instruction sc = ref _sequence[count - 1];
        byte width = (byte)(lr.Opcode == Opcode.LrD ? 8 : 4);
        next = _sequencePc[count - 1] + sc.Length;
        target = 0;
        if (count == 2 && lr.Rd != 0 && sc.Rs2 != lr.Rd) return Modify(IrCode.AmoSwap, sc.Rs2, width);
        if (count == 3 && lr.Rd != 0)
        {
            ref Instruction middle = ref _sequence[1];
            if (middle.Opcode == Opcode.Bne && CompareExchange(width, ref target)) return Flow.Branch;
            if (PlainModification(middle, lr.Rd, sc.Rs2, width, out IrCode code, out int operand)) return Modify(code, operand, width);
        }

        Emit(IrCode.LoadLinked, lr.Rd, lr.Rs1).Width = width;
        Flow flow = Flow.Next;
        for (int n = 1; n < count - 1; n++)
        {
            Take(n);
            Flow middle = Translate(_sequence[n], _sequencePc[n], _sequencePc[n] + _sequence[n].Length, out ulong to);
            if (middle == Flow.Jump)
            {
                // A branch that is always taken: the store-conditional is not reached.
                next = _sequencePc[n] + _sequence[n].Length;
                target = to;
                return Flow.Jump;
            }
            if (middle == Flow.Branch) (flow, target) = (middle, to);
        }
        Take(count - 1);
        Emit(IrCode.StoreExclusive, sc.Rd, sc.Rs1, sc.Rs2).Width = width;
        return flow;
    }

    private void Take(int n)
    {
        _block.GuestPc[_block.GuestCount] = _sequencePc[n];
        _block.Guest[_block.GuestCount++] = _sequence[n].Bits;
    }

    /// <summary>lr; bne; sc: what compilers make of a compare-and-exchange. The retry behind it folds away, for rd of sc is known.</summary>
    private bool CompareExchange(byte width, ref ulong target)
    {
        ref Instruction lr = ref _sequence[0];
        ref Instruction bne = ref _sequence[1];
        ref Instruction sc = ref _sequence[2];
        int expected = bne.Rs1 == lr.Rd ? bne.Rs2 : bne.Rs2 == lr.Rd ? bne.Rs1 : lr.Rd;
        if (expected == lr.Rd || sc.Rs2 == lr.Rd) return false;
        ref IrOp op = ref Emit(IrCode.CompareExchange, lr.Rd, lr.Rs1, sc.Rs2);
        op.C = (byte)expected;
        op.Width = width;
        op.Target = target = _sequencePc[1] + (ulong)(long)bne.Imm;
        Take(1);
        Take(2);
        EmitConst(sc.Rd, 0);
        return true;
    }

    private static bool PlainModification(in Instruction i, int loaded, int stored, byte width, out IrCode code, out int operand)
    {
        code = i.Opcode switch
        {
            Opcode.Add => IrCode.AmoAdd,
            Opcode.Addw when width == 4 => IrCode.AmoAdd,
            Opcode.And => IrCode.AmoAnd,
            Opcode.Or => IrCode.AmoOr,
            Opcode.Xor => IrCode.AmoXor,
            Opcode.Min when width == 8 => IrCode.AmoMin,
            Opcode.Max when width == 8 => IrCode.AmoMax,
            Opcode.Minu when width == 8 => IrCode.AmoMinU,
            Opcode.Maxu when width == 8 => IrCode.AmoMaxU,
            _ => IrCode.Nop,
        };
        operand = i.Rs1 == loaded ? i.Rs2 : i.Rs1;
        return code != IrCode.Nop && i.Rd == stored && i.Rd != 0 && i.Rd != loaded && (i.Rs1 == loaded) != (i.Rs2 == loaded);
    }

    /// <summary>lr, at most one operation, sc: an AMO, then the operation for its result.</summary>
    private Flow Modify(IrCode code, int operand, byte width)
    {
        ref Instruction lr = ref _sequence[0];
        int last = _sequence[1].Opcode is Opcode.ScW or Opcode.ScD ? 1 : 2;
        // The operation's result may go to the register of its operand: memory gets it first.
        Emit(code, lr.Rd, lr.Rs1, operand).Width = width;
        Emit(IrCode.EndReservation, 0);
        if (last == 2)
        {
            Take(1);
            Translate(_sequence[1], _sequencePc[1], _sequencePc[1] + _sequence[1].Length, out _);
        }
        Take(last);
        EmitConst(_sequence[last].Rd, 0);
        return Flow.Next;
    }
}
