using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.FrontEnd;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Quick;

/// <summary>
/// The first translation of code: one instruction after the other straight to x86-64, without IR and passes. Guest registers are where
/// <see cref="RegisterMap"/> says, whole and at every instruction, so a block of it and one of the full pipeline may follow one another, and a
/// fault needs no more than the guest's pc. The block counts how often it is entered, and asks for the full pipeline when that was often enough.
/// </summary>
/// <remarks>Not thread-safe; one per translating thread. Nothing is allocated from block to block.</remarks>
internal sealed unsafe partial class QuickTranslator
{
    /// <summary>Most guest instructions of a block, and most bytes of its code.</summary>
    public const int MostInstructions = 48, MostBytes = 8 << 10;

    /// <summary>Branches that a block goes on behind: more of them make fewer, longer blocks, and more code that never runs.</summary>
    private const int MostBranches = 2;

    /// <summary>Most bytes that a branch may skip to stay in the block, and most such branches whose targets are still to come.</summary>
    private const int ShortSkip = 20, MostLabels = 4;

    private readonly Assembler _asm = new();
    private readonly GuestCodeReader _reader = new(MostInstructions * 2);
    /// <summary>Exits behind which a block does not go on. The branches after that, another jump or the end, and labels that are still to come, are all that can follow.</summary>
    private const int ManyExits = 4;

    private readonly ExitPlan[] _exits = new ExitPlan[ManyExits + MostBranches + 1 + 1 + 1 + MostLabels];
    private readonly ForwardLabel[] _labels = new ForwardLabel[MostLabels];
    private readonly byte[] _shapes = new byte[MostInstructions];
    private readonly TemplateTable _templates = new();
    private readonly sbyte* _host; // 32: guest register -> host register, or RegisterMap.InMemory
    private readonly sbyte[] _map = GC.AllocateArray<sbyte>(32, pinned: true);
    private int _exitCount, _labelCount, _count, _firstOffset;
    private int _knownRegister; // whose value the instruction before has set, 0 for none
    private ulong _knownValue;
    private ulong _start, _end, _hash;

    private struct ExitPlan
    {
        public ulong Target;
        public Label Stub;
        public int Field; // -1 for none
        public int StubOffset, RecordOffset;
        public BlockExit Kind;
    }

    /// <summary>Where a short branch further up leads.</summary>
    private struct ForwardLabel
    {
        public ulong Target;
        public Label Label;
    }

    public QuickTranslator()
    {
        _host = (sbyte*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_map)); // SAFETY: pinned, and indexed by register numbers
        RegisterMap.IntegerHost.CopyTo(_map, 0);
    }

    /// <summary>See <see cref="Assembler.Externals"/>.</summary>
    public ReadOnlySpan<int> Externals => _asm.Externals;

    /// <summary>Where, from the start of the code, the distance to the block's counter stands: behind the opcode of the first instruction.</summary>
    public const int CounterField = CodeGenerator.EntryOffset + 2;

    /// <summary>Guest instructions of the block.</summary>
    public int Count => _count;

    /// <summary>Bytes that <see cref="Describe"/> needs.</summary>
    public int DescriptionBytes => BlockHeader.QuickSize + _exitCount * sizeof(ExitRecord) + sizeof(GuestRun) + _count;

    /// <summary>See <see cref="Vivarium.RiscV.Execution.Executor.MayExecute"/>.</summary>
    public Func<ulong, bool>? MayExecute { get; set; }

    /// <summary>Emits the block at <paramref name="pc"/> to <paramref name="buffer"/>, which is 16-byte aligned and its final place. False where its first
    /// instruction is one for the full pipeline. The block's entries are counted at the address <paramref name="counter"/>, within 2 GiB of the code.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool Emit(MemoryWindow memory, ulong pc, BlockTable heads, StubTable stubs, byte* buffer, int capacity, ulong counter)
    {
        _reader.Reset(memory, MayExecute);
        _start = pc;
        _exitCount = _labelCount = _count = _knownRegister = 0;
        ulong hash = GuestHash.Start;
        int branches = 0;
        Label promote = default;
        _asm.Reset(buffer, capacity);
        _asm.Quad(0);
        _asm.Quad(pc);
        _asm.Dec32At(counter);
        _asm.Jcc(Cond.S, ref promote);
        _firstOffset = _asm.Offset;
        int offset = _firstOffset;
        while (true)
        {
            if (!_reader.TryFetch(pc, out uint bits))
            {
                if (_count == 0) return false;
                Leave(pc);
                break;
            }
            byte* template = _templates.Find(bits);
            if (*(uint*)template == TemplateTable.Key(bits))
            {
                // Most instructions: what they become depends on their bits alone, and has been made before.
                int bytes = template[TemplateTable.LengthAt];
                _asm.Template(template + TemplateTable.CodeAt, bytes);
                hash = GuestHash.Add(hash, bits);
                uint length = (bits & 3) == 3 ? 4u : 2u;
                _shapes[_count++] = (byte)(bytes << 1 | (int)length >> 2);
                offset += bytes;
                pc += length;
                _knownRegister = 0;
                if (_labelCount != 0) PlaceLabels(pc);
                if (_count < MostInstructions) continue;
                Leave(pc);
                break;
            }
            Instruction i = Decoder.Decode(bits);
            uint lowering = Lowerings[(int)i.Opcode];
            if (lowering == 0)
            {
                if (_count == 0) return false;
                Leave(pc);
                break;
            }
            ulong next = pc + i.Length;
            hash = GuestHash.Add(hash, i.Bits);
            Flow flow = Lower(i, lowering, pc, next, stubs);
            int now = _asm.Offset;
            if (IsTemplate(lowering)) _templates.Set(template, bits, _asm.Cursor, now - offset);
            _shapes[_count++] = (byte)(now - offset << 1 | i.Length >> 2);
            offset = now;
            pc = next;
            if (flow == Flow.End)
            {
                // What a branch skips may end in a jump: the block goes on where the branch leads.
                if (_labelCount == 0 || _count == MostInstructions || _exitCount > ManyExits || !IsAwaited(pc)) break;
                PlaceLabels(pc);
                continue;
            }
            if (_labelCount != 0) PlaceLabels(pc);
            // Only behind branches is it asked what is there already: the question costs a cache miss.
            if (_count == MostInstructions
                || (flow == Flow.Branch && (++branches > MostBranches || _exits[_exitCount - 1].Target <= pc || heads.IsAnyHead(pc))))
            {
                Leave(pc);
                break;
            }
        }
        _end = pc;
        _hash = hash;
        for (int l = 0; l < _labelCount; l++)
        {
            // The block has ended before it came there.
            _asm.Bind(ref _labels[l].Label);
            Leave(_labels[l].Target);
        }
        for (int e = 0; e < _exitCount; e++)
        {
            ref ExitPlan exit = ref _exits[e];
            if (exit.Kind != BlockExit.Direct) continue;
            _asm.Bind(ref exit.Stub);
            EmitStub(ref exit, stubs);
        }
        _asm.Bind(ref promote);
        _asm.CallTo((long)(stubs.Exit(BlockExit.Promote) - (ulong)buffer));
        if (_asm.Overflowed) throw new InvalidOperationException("a quick block's code does not fit its room");
        return true;
    }

    /// <summary>Fills the header of the block that was emitted last, and what stands behind it.</summary>
    public void Describe(BlockHeader* header, int* counter)
    {
        byte* code = _asm.Start;
        new Span<byte>(header, BlockHeader.QuickSize).Clear();
        var exits = (ExitRecord*)((byte*)header + BlockHeader.QuickSize);
        var run = (GuestRun*)(exits + _exitCount);
        var shapes = (byte*)(run + 1);
        header->GuestPc = _start;
        header->Entry = (ulong)(code + CodeGenerator.EntryOffset);
        header->LoopEntry = (ulong)(code + _firstOffset);
        header->CodeEnd = (ulong)(code + _asm.Offset);
        header->Page0 = _start >> 12;
        ulong last = _end - 1 >> 12;
        header->Page1 = last == header->Page0 ? ulong.MaxValue : last;
        header->Exits = exits;
        header->ExitCount = _exitCount;
        header->Faults = (FaultPoint*)shapes;
        header->FaultCount = _count;
        header->Runs = run;
        header->RunCount = 1;
        header->GuestHash = _hash;
        header->Counter = counter;
        *run = new GuestRun { Start = _start, Length = (int)(_end - _start) };
        _shapes.AsSpan(0, _count).CopyTo(new Span<byte>(shapes, _count));
        for (int i = 0; i < _exitCount; i++)
        {
            ref ExitPlan plan = ref _exits[i];
            ExitRecord* record = exits + i;
            *record = default;
            record->Target = plan.Target;
            record->Owner = header;
            record->Field = plan.Field < 0 ? 0 : (ulong)(code + plan.Field);
            record->Stub = (ulong)(code + plan.StubOffset);
            *(ExitRecord**)(code + plan.RecordOffset) = record;
        }
    }

    /// <summary>Guest pc of the instruction that the host address belongs to; every register is where the static mapping has it.</summary>
    public static ulong GuestPcOf(BlockHeader* block, ulong hostPc)
    {
        var shapes = (byte*)block->Faults;
        ulong at = block->LoopEntry, pc = block->GuestPc;
        for (int i = 0; i < block->FaultCount; i++)
        {
            at += (ulong)(shapes[i] >> 1);
            if (hostPc < at) return pc;
            pc += (shapes[i] & 1) != 0 ? 4u : 2u;
        }
        throw new InvalidOperationException($"a quick block faulted where it accesses no guest memory, at host address 0x{hostPc:x} (block of guest 0x{block->GuestPc:x})");
    }

    private enum Flow { Next, Branch, End }

    private ref ExitPlan NewExit(ulong target, BlockExit kind)
    {
        ref ExitPlan exit = ref _exits[_exitCount++];
        exit.Target = target;
        exit.Stub = default;
        exit.Field = -1;
        exit.Kind = kind;
        return ref exit;
    }

    /// <summary>A branch to <paramref name="target"/> that stays in the block, if it comes so far.</summary>
    private void GoTo(Cond condition, ulong target)
    {
        ref ForwardLabel to = ref _labels[_labelCount++];
        to.Target = target;
        to.Label = default;
        _asm.Jcc(condition, ref to.Label);
    }

    private bool IsAwaited(ulong pc)
    {
        for (int l = 0; l < _labelCount; l++)
        {
            if (_labels[l].Target == pc) return true;
        }
        return false;
    }

    private void PlaceLabels(ulong pc)
    {
        for (int l = _labelCount - 1; l >= 0; l--)
        {
            if (_labels[l].Target != pc) continue;
            _asm.Bind(ref _labels[l].Label);
            _labels[l] = _labels[--_labelCount];
            _knownRegister = 0;
        }
    }

    private void EmitStub(ref ExitPlan exit, StubTable stubs)
    {
        exit.StubOffset = _asm.Offset;
        _asm.CallTo((long)(stubs.Exit(exit.Kind) - (ulong)_asm.Start));
        exit.RecordOffset = _asm.Offset;
        _asm.Quad(0);
    }

    private void Leave(ulong target)
    {
        ref ExitPlan exit = ref NewExit(target, BlockExit.Direct);
        exit.Field = _asm.JmpPatchable(ref exit.Stub);
    }
}
