using System.Runtime.CompilerServices;
using Vivarium.Host;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Ir;

namespace Vivarium.Translation.FrontEnd;

/// <summary>Knows which guest addresses begin a translated block already: superblocks stop there instead of translating twice.</summary>
internal interface IKnownHeads
{
    bool IsHead(ulong pc);
}

/// <summary>
/// Reads guest code into a superblock of IR: through unconditional jumps and past conditional branches that are not taken, until
/// something ends it. Constants are folded on the way, because known jump targets decide how far the block goes.
/// </summary>
/// <remarks>Not thread-safe; one per translating thread.</remarks>
internal sealed partial class SuperblockBuilder
{
    /// <summary>Most bytes that a branch may skip to stay in the block, where that is no loop.</summary>
    private const int ShortSkip = 20;

    private readonly GuestCodeReader _reader = new();
    private readonly ulong[] _constant = new ulong[32];
    private uint _isConstant; // bit r: _constant[r] is the value of xr
    private IrBlock _block = null!;
    private ulong _page0, _page1, _lastPage; // the last is that of the two which was asked for last

    /// <summary>Most guest instructions in a block behind a conditional branch: what stands there may never run, or run as part of another
    /// block too. Straight code may be as long as the IR holds.</summary>
    public int Limit { get; set; } = 32;

    /// <summary>See <see cref="Vivarium.RiscV.Execution.Executor.MayExecute"/>.</summary>
    public Func<ulong, bool>? MayExecute { get; set; }

    /// <summary>How a machine's code is read; null in process mode.</summary>
    public MachineCode? Machine { get; set; }

    /// <summary>Builds the superblock at <paramref name="pc"/>. Always succeeds: code that cannot be read becomes an exit to the interpreter.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Build(IrBlock block, MemoryWindow memory, ulong pc, IKnownHeads heads)
    {
        _block = block;
        if (Machine is { } machine) _reader.ResetToPage(memory, machine.Addend);
        else _reader.Reset(memory, MayExecute);
        _isConstant = 1;
        _constant[0] = 0;
        _page0 = _lastPage = pc >> 12;
        _page1 = ulong.MaxValue;
        _labelCount = 0;
        block.Reset(pc);
        ulong runStart = pc;
        int limit = Limit < 32 ? Limit : IrBlock.MaxStraightInstructions;
        LoopRegion loop = limit < 32 || !_reader.MayBeLoop(pc) ? default : LoopRegion.Find(_reader, pc, IrBlock.MaxGuestInstructions);
        if (loop.End != 0) limit = IrBlock.MaxGuestInstructions;
        bool isReachable = true;

        while (true)
        {
            if (loop.End != 0 && !isReachable)
            {
                // What stands here is reached from a branch further up, or not at all.
                ulong label = NextLabel(pc, loop.End);
                if (label == 0 || (label != pc && block.RunCount >= IrBlock.MaxRuns - 1)) break;
                if (label != pc)
                {
                    block.Runs[block.RunCount++] = (runStart, (int)(pc - runStart));
                    runStart = pc = label;
                }
            }
            if (block.GuestCount != 0 && (block.GuestCount >= limit || (pc >> 12 != _lastPage && !InPages(pc)) || (loop.End != 0 && pc >= loop.End)))
            {
                if (isReachable) EndWithJump(pc);
                break;
            }
            if (!_reader.TryFetch(pc, out uint bits))
            {
                if (block.GuestCount != 0)
                {
                    if (isReachable) EndWithJump(pc);
                    break;
                }
                block.GuestPc[block.GuestCount++] = pc;
                block.Guest[0] = default;
                block.Add(IrCode.Interpret);
                break;
            }
            Instruction i = Decoder.Decode(bits);
            if (Machine is { } rules && !rules.Allows(i)) i = i with { Opcode = Opcode.Illegal };
            ulong next = pc + i.Length;
            if (next - 1 >> 12 != _lastPage && !InPages(next - 1) && block.GuestCount > 0)
            {
                // The instruction crosses into a third page: it begins the next block.
                if (isReachable) EndWithJump(pc);
                break;
            }
            if (i.Opcode is >= Opcode.Csrrw and <= Opcode.Csrrci && block.GuestCount > 0 && loop.End == 0 && Optimizing.FlagObserver.LooksAtFlags(i.Bits, pc, _reader))
            {
                // Begins a block, so that the optimising tier takes it for executed only when it is.
                EndWithJump(pc);
                break;
            }
            int sequence = i.Opcode is Opcode.LrW or Opcode.LrD ? MatchReserved(i, pc) : 0;
            if (sequence != 0 && (block.GuestCount + sequence > IrBlock.MaxGuestInstructions || !FitsPages(sequence)))
            {
                // At the start of a block it always fits.
                if (isReachable) EndWithJump(pc);
                break;
            }
            block.GuestPc[block.GuestCount] = pc;
            block.Guest[block.GuestCount++] = i.Bits;
            if (_labelCount != 0) PlaceLabel(pc);
            isReachable = true;

            Flow flow;
            ulong target;
            if (sequence != 0) flow = TranslateReserved(sequence, out next, out target);
            else
            {
                uint lowering = Lowerings[(int)i.Opcode];
                if (lowering != 0)
                {
                    TranslatePlain(i, lowering);
                    pc = next;
                    continue;
                }
                flow = Translate(i, pc, next, out target);
            }
            pc = next;
            if (flow == Flow.Next) continue;
            if (loop.End != 0)
            {
                isReachable = flow == Flow.Branch;
                if (flow == Flow.End) continue;
                if (flow == Flow.Jump)
                {
                    if (target == next)
                    {
                        isReachable = true;
                        continue;
                    }
                    block.Add(IrCode.Jump).Target = target;
                }
                if (target == block.Start) block.IsLoop = true;
                else if (loop.HasLabels && sequence == 0 && target > next && target < loop.End) GoToLabel(target);
                continue;
            }
            if (flow == Flow.End) break;
            if (flow == Flow.Jump)
            {
                if (target == block.Start)
                {
                    block.IsLoop = true;
                    block.Add(IrCode.Jump).Target = target;
                    break;
                }
                if (block.GuestCount >= limit || block.RunCount >= IrBlock.MaxRuns - 1 || !InPages(target) || heads.IsHead(target) || Contains(target))
                {
                    block.Add(IrCode.Jump).Target = target;
                    break;
                }
                if (target != next)
                {
                    block.Runs[block.RunCount++] = (runStart, (int)(pc - runStart));
                    runStart = target;
                }
                pc = target;
                continue;
            }

            limit = Limit;
            // A conditional branch: its operation stands; go on behind it unless that is another block, or unlikely.
            if (target == block.Start)
            {
                block.IsLoop = true;
                EndWithJump(next);
                break;
            }
            if (target > next && target <= next + ShortSkip && sequence == 0)
            {
                // An if without else: both ways go on in this block.
                GoToLabel(target);
                continue;
            }
            if (target <= pc || heads.IsHead(next))
            {
                EndWithJump(next);
                break;
            }
        }
        block.Runs[block.RunCount++] = (runStart, (int)(pc - runStart));
        if (_labelCount != 0) ResolveLabels();
    }

    private enum Flow { Next, Branch, Jump, End }

    private void EndWithJump(ulong target) => _block.Add(IrCode.Jump).Target = target;

    private bool InPages(ulong address)
    {
        ulong page = address >> 12;
        if (page != _page0 && page != _page1)
        {
            if (_page1 != ulong.MaxValue || Machine != null) return false;
            _page1 = page;
        }
        _lastPage = page;
        return true;
    }

    private bool Contains(ulong pc)
    {
        for (int i = 0; i < _block.GuestCount; i++)
        {
            if (_block.GuestPc[i] == pc) return true;
        }
        return false;
    }

    // Emission with constants.

    private bool IsConst(int r) => (_isConstant >> r & 1) != 0;

    private bool IsSmallConst(int r) => IsConst(r) && (long)_constant[r] == (int)_constant[r];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref IrOp Emit(IrCode code, int dst, int a = 0, int b = 0)
    {
        _isConstant &= ~(1u << dst) | 1;
        return ref _block.Add(code, dst, a, b);
    }

    private void EmitConst(int dst, ulong value)
    {
        if (dst == 0) return;
        _isConstant |= 1u << dst;
        _constant[dst] = value;
        _block.Add(IrCode.Const, dst).Imm = (long)value;
    }

    private void EmitMove(int dst, int a)
    {
        if (dst == 0 || dst == a) return;
        if (IsConst(a))
        {
            EmitConst(dst, _constant[a]);
            return;
        }
        Emit(IrCode.Move, dst, a);
    }

    /// <summary>dst = a op imm, folded where a is known.</summary>
    private void EmitImmediate(IrCode code, int dst, int a, long imm)
    {
        if (dst == 0) return;
        if (IsConst(a) && TryFold(code, _constant[a], (ulong)imm, out ulong value))
        {
            EmitConst(dst, value);
            return;
        }
        if (imm == 0)
        {
            switch (code)
            {
                case IrCode.Add or IrCode.Sub or IrCode.Or or IrCode.Xor or IrCode.Shl or IrCode.Shr or IrCode.Sar or IrCode.Rol or IrCode.Ror:
                    EmitMove(dst, a);
                    return;
                case IrCode.AddW or IrCode.SubW or IrCode.ShlW or IrCode.SarW or IrCode.ShrW:
                    Emit(IrCode.SextW, dst, a);
                    return;
                case IrCode.And or IrCode.Mul or IrCode.MulW:
                    EmitConst(dst, 0);
                    return;
            }
        }
        if (code == IrCode.And && imm == 0xFF) Emit(IrCode.ZextB, dst, a);
        else
        {
            ref IrOp op = ref Emit(code, dst, a);
            op.Imm = imm;
            op.Flags = IrFlags.ImmB;
        }
    }

    /// <summary>dst = a op b, with a known second (or, where it commutes, first) operand as immediate.</summary>
    private void EmitRegister(IrCode code, int dst, int a, int b, bool commutes)
    {
        if (dst == 0) return;
        if (commutes && IsConst(a) && !IsConst(b)) (a, b) = (b, a);
        if (IsSmallConst(b))
        {
            EmitImmediate(code, dst, a, (long)_constant[b]);
            return;
        }
        Emit(code, dst, a, b);
    }

    private static bool TryFold(IrCode code, ulong a, ulong b, out ulong value)
    {
        switch (code)
        {
            case IrCode.Add: value = a + b; return true;
            case IrCode.Sub: value = a - b; return true;
            case IrCode.And: value = a & b; return true;
            case IrCode.Or: value = a | b; return true;
            case IrCode.Xor: value = a ^ b; return true;
            case IrCode.Shl: value = a << (int)(b & 63); return true;
            case IrCode.Shr: value = a >> (int)(b & 63); return true;
            case IrCode.Sar: value = (ulong)((long)a >> (int)(b & 63)); return true;
            case IrCode.AddW: value = (ulong)(int)(uint)(a + b); return true;
            case IrCode.SubW: value = (ulong)(int)(uint)(a - b); return true;
            case IrCode.ShlW: value = (ulong)((int)a << (int)(b & 31)); return true;
            case IrCode.SetLt: value = (long)a < (long)b ? 1UL : 0; return true;
            case IrCode.SetLtu: value = a < b ? 1UL : 0; return true;
            default: value = 0; return false;
        }
    }
}
