using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Float;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

/// <summary>
/// Lowers one superblock of IR to x86-64 in one pass. Guest registers live where <see cref="RegisterMap"/> says; a loop maps its own
/// most used registers between a prologue and its exits, and so does a long block where it pays. Results of 32-bit operations keep their upper half undefined
/// ("pending") until somebody needs 64 bits or the block is left.
/// </summary>
/// <remarks>Not thread-safe; one per translating thread. Everything is reused from block to block.</remarks>
public sealed unsafe partial class CodeGenerator
{
    private const int MaxExits = 640;

    private readonly Assembler _asm = new();
    // SAFETY: all indices into these are register numbers below their lengths; the arrays are pinned and live as long as this object.
    private readonly sbyte* _host;       // 32: guest register -> host register, or RegisterMap.InMemory
    private readonly byte* _guestOfHost; // 16: host register -> guest register, 0 for none
    private readonly byte* _deferredOf;  // 32: register -> 1 + number of the deferred operation that it waits for, 0 for none
    private readonly byte[] _maps = GC.AllocateArray<byte>(32 + 16 + 32, pinned: true);

    // The static mapping, and which guest and host registers take part in it.
    private readonly sbyte[] _staticHost = RegisterMap.IntegerHost;
    private readonly byte[] _staticGuest = new byte[16];
    private readonly uint _mappedGuests;
    private readonly ushort _allocatable;

    private readonly ExitPlan[] _exits = new ExitPlan[MaxExits];
    private FaultPoint[] _faults = new FaultPoint[IrBlock.MaxGuestInstructions * 4];

    private StubTable _stubs = null!;
    private IrBlock _block = null!;
    private int _exitCount, _faultCount, _opIndex;

    // Bits per guest register: value is the sign extension of its low 32 bits; upper half in the host register not yet written.
    private uint _known32, _pending;

    // Bits per guest register: written somewhere in the block (a loop's exits store only those).
    private uint _written;
    private uint _displaced; // guests of the static mapping whose host register the block has given to another
    private ushort _live;
    private bool _ownMapping;
    private Label _loopLabel;
    private int _loopOffset;

    /// <summary>An exit to be completed behind the block's code.</summary>
    private struct ExitPlan
    {
        public Label Cold;      // where the hot path jumps when there is work to do before leaving
        public Label Stub;
        public ulong Target;
        public uint Pending;
        public ulong Waiting;   // deferred operations that the cold code has to do
        public FloatState Float; // what the cold code has to make canonical
        public int Field;       // offset of the patchable displacement, -1 for none
        public int StubOffset;
        public int RecordOffset; // offset of the 8 bytes that receive the record's address
        public BlockExit Kind;
        public bool Deferred;   // cold code still to be emitted
        public bool Restore;    // cold code restores the static mapping
        public bool IsElsewhere; // leads to another page of a machine: looked up, never linked
        public bool Self;       // jumps back to the block's own loop entry
    }

    public CodeGenerator()
    {
        _host = (sbyte*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_maps));
        _guestOfHost = (byte*)_host + 32;
        _deferredOf = _guestOfHost + 16;
        _floats = new FloatEmitter(_asm, this);
        for (int g = 1; g < 32; g++)
        {
            if (_staticHost[g] < 0) continue;
            _staticGuest[_staticHost[g]] = (byte)g;
            _mappedGuests |= 1u << g;
        }
        foreach (Gpr h in RegisterMap.AllocatableHosts) _allocatable |= (ushort)(1 << (int)h);
    }

    /// <summary>The assembler, for lowerings elsewhere.</summary>
    internal Assembler Asm => _asm;

    internal int ExitCount => _exitCount;
    internal int FaultCount => _faultCount;
    internal int LoopOffset => _loopOffset;

    /// <summary>Bytes in front of the entry point: alignment and the guest address.</summary>
    public const int EntryOffset = 16;

    /// <summary>Emits the block at <paramref name="buffer"/> (16-byte aligned, its final place). False when it does not fit.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    internal bool Generate(IrBlock block, StubTable stubs, byte* buffer, int capacity)
    {
        _block = block;
        _stubs = stubs;
        _asm.Reset(buffer, capacity);
        _exitCount = _faultCount = _checkCount = _missCount = 0;
        _pending = _known32 = 0;
        _loopLabel = default;
        ResetFloat();
        ResetDeferred();
        if (IsMachine) ResetNear();
        _groupLoads = _groupStores = 0;
        Array.Clear(_labels, 0, block.LabelCount);

        _asm.Quad(0);
        _asm.Quad(block.Start);
        if (IsMachine && block.HasFloat) CheckFloat();
        MapRegisters();
        if (block.HasFloat) BeginFloat();
        CheckHoisted(block.CheckedAtEntry);
        _loopOffset = _asm.Offset;
        _asm.Bind(ref _loopLabel);
        for (_opIndex = 0; _opIndex < block.Count; _opIndex++)
        {
            ref IrOp op = ref block.Ops[_opIndex];
            if ((op.Flags & IrFlags.Deferred) != 0)
            {
                Defer(op);
                if (_groupLoads != 0) EndGroups(op);
                continue;
            }
            Lower(ref op);
            if (_groupLoads != 0) EndGroups(op);
            if (_deferred != 0) Overwrite(op.Dst);
        }
        EmitFloatCold();
        EmitMisses();
        EmitCold();
        EmitFailedChecks();
        return !_asm.Overflowed;
    }

    /// <summary>Fills the header's exit records, fault points and register map.</summary>
    /// <param name="header">The block's.</param>
    /// <param name="exits">Room for <see cref="RecordCount"/>.</param>
    /// <param name="faults">Room for <see cref="FaultCount"/>.</param>
    /// <param name="targets">Room for the other exits' targets.</param>
    internal void Describe(BlockHeader* header, ExitRecord* exits, FaultPoint* faults, ulong* targets)
    {
        byte* start = _asm.Start;
        header->GuestPc = _block.Start;
        header->Entry = (ulong)(start + EntryOffset);
        header->LoopEntry = (ulong)(start + _loopOffset);
        header->CodeEnd = (ulong)(start + _asm.Offset);
        header->Exits = exits;
        header->ExitCount = RecordCount;
        header->Faults = faults;
        header->FaultCount = _faultCount;
        Vector128.Load(_guestOfHost).Store(header->GuestOfHost);
        ref FaultPoint fault = ref MemoryMarshal.GetArrayDataReference(_faults);
        for (int i = 0; i < _faultCount; i++) faults[i] = Unsafe.Add(ref fault, i);
        for (int i = 0; i < _exitCount; i++)
        {
            ref ExitPlan plan = ref _exits[i];
            if (!NeedsRecord(plan))
            {
                if (plan.RecordOffset == 0) continue;
                // Of what stands at this address, only the target is read, which comes first in a record.
                *targets = plan.Target;
                *(ulong**)(start + plan.RecordOffset) = targets++;
                continue;
            }
            ExitRecord* record = exits++;
            *record = default;
            record->Target = plan.Target;
            record->Owner = header;
            record->Field = plan.Field < 0 ? 0 : (ulong)(start + plan.Field);
            record->Stub = (ulong)(start + plan.StubOffset);
            record->Kind = plan.Self ? 1 : 0;
            *(ExitRecord**)(start + plan.RecordOffset) = record;
        }
    }

    /// <summary>Each access of a machine's block has an exit to the interpreter, which is never linked: of those nothing is kept but the target.</summary>
    private bool NeedsRecord(in ExitPlan plan) => !IsMachine || plan.Field >= 0 || plan.Self || (plan.Kind == BlockExit.Direct && plan.RecordOffset != 0);

    /// <summary>Exits that the last block has records of.</summary>
    internal int RecordCount
    {
        get
        {
            if (!IsMachine) return _exitCount;
            int count = 0;
            for (int i = 0; i < _exitCount; i++) count += NeedsRecord(_exits[i]) ? 1 : 0;
            return count;
        }
    }

    /// <summary>Decides where guest registers live in this block and emits a loop's prologue.</summary>
    private void MapRegisters()
    {
        ref byte hosts = ref Unsafe.As<sbyte, byte>(ref MemoryMarshal.GetArrayDataReference(_staticHost));
        Vector128.LoadUnsafe(ref hosts).Store((byte*)_host);
        Vector128.LoadUnsafe(ref hosts, 16).Store((byte*)_host + 16);
        Vector128.LoadUnsafe(ref MemoryMarshal.GetArrayDataReference(_staticGuest)).Store(_guestOfHost);
        _live = _allocatable;
        _ownMapping = false;
        _displaced = 0;
        if (_block.IsLoop) MapOwn(2);
        else if (_block.Count >= 12) MapOwn(4);
    }

    /// <summary>Gives host registers whose guests the block hardly uses to guests that it uses more, by at least
    /// <paramref name="gain"/> accesses: what a change of owner costs outside a loop.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void MapOwn(int gain)
    {
        int* uses = _block.Uses;
        _written = _block.Written;
        uint seen = 0;
        for (uint c = ~_mappedGuests & ~1u; c != 0; c &= c - 1)
        {
            int g = System.Numerics.BitOperations.TrailingZeroCount(c);
            if (uses[g] >= gain) seen |= 1u << g;
        }
        if (_block.NeedsRdx && _block.IsLoop && _staticGuest[(int)Gpr.Rdx] is var displaced && displaced != 0)
        {
            // Multiplications and divisions would move the register's guest out of the way in every round: once is enough.
            _asm.Mov(RegisterMap.Home(displaced), Gpr.Rdx);
            _host[displaced] = RegisterMap.InMemory;
            _displaced |= 1u << displaced;
            _guestOfHost[(int)Gpr.Rdx] = 0;
            _live &= unchecked((ushort)~(1 << (int)Gpr.Rdx));
            _ownMapping = true;
        }
        uint candidates = seen;
        while (candidates != 0)
        {
            int best = 0;
            for (uint c = candidates; c != 0; c &= c - 1)
            {
                int g = System.Numerics.BitOperations.TrailingZeroCount(c);
                if (best == 0 || uses[g] > uses[best]) best = g;
            }
            if (uses[best] < gain) return;
            int worst = 0;
            for (uint c = _mappedGuests; c != 0; c &= c - 1)
            {
                int g = System.Numerics.BitOperations.TrailingZeroCount(c);
                if (_host[g] >= 0 && (worst == 0 || uses[g] < uses[worst])) worst = g;
            }
            if (worst == 0 || uses[best] < uses[worst] + gain) return;
            candidates &= ~(1u << best);
            sbyte h = _host[worst];
            _displaced |= 1u << worst;
            _host[worst] = RegisterMap.InMemory;
            _host[best] = h;
            _guestOfHost[h] = (byte)best;
            _ownMapping = true;
            _asm.Mov(RegisterMap.Home(worst), (Gpr)h);
            _asm.Mov((Gpr)h, RegisterMap.Home(best));
        }
    }

    /// <summary>Goes from the loop's mapping back to the static one.</summary>
    private void RestoreMapping()
    {
        for (uint displaced = _displaced; displaced != 0; displaced &= displaced - 1)
        {
            int g = System.Numerics.BitOperations.TrailingZeroCount(displaced), h = _staticHost[g], held = _guestOfHost[h];
            if (held != 0 && (_written >> held & 1) != 0) _asm.Mov(RegisterMap.Home(held), (Gpr)h);
            _asm.Mov((Gpr)h, RegisterMap.Home(g));
        }
    }

    // Register access for lowerings.

    private bool InRegister(int g) => _host[g] >= 0;

    private Gpr HostOf(int g) => (Gpr)_host[g];

    /// <summary>Makes all 64 bits of a mapped register valid. Leaves the flags alone.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Canonical(int g)
    {
        if ((_pending >> g & 1) != 0) SignExtend(g);
    }

    private void SignExtend(int g)
    {
        _asm.Movsxd((Gpr)_host[g], (Gpr)_host[g]);
        _pending &= ~(1u << g);
    }

    private void CanonicalAll(uint pending)
    {
        for (; pending != 0; pending &= pending - 1)
        {
            Gpr h = (Gpr)_host[System.Numerics.BitOperations.TrailingZeroCount(pending)];
            _asm.Movsxd(h, h);
        }
    }

    /// <summary>A host register with the 64-bit value of <paramref name="g"/>: its own, or the scratch register. Zero clobbers the flags.</summary>
    private Gpr Read64(int g, Gpr scratch)
    {
        if (_host[g] >= 0)
        {
            Canonical(g);
            return (Gpr)_host[g];
        }
        if (g == 0) _asm.Zero(scratch);
        else _asm.Mov(scratch, RegisterMap.Home(g));
        return scratch;
    }

    /// <summary>As <see cref="Read64"/>, only the low 32 bits are valid.</summary>
    private Gpr Read32(int g, Gpr scratch)
    {
        if (_host[g] >= 0) return (Gpr)_host[g];
        if (g == 0) _asm.Zero(scratch);
        else _asm.Mov32(scratch, RegisterMap.Home(g));
        return scratch;
    }

    /// <summary>Copies the 64-bit value of <paramref name="g"/> to <paramref name="d"/>.</summary>
    private void Load64(Gpr d, int g)
    {
        if (_host[g] >= 0)
        {
            if ((_pending >> g & 1) != 0) _asm.Movsxd(d, (Gpr)_host[g]);
            else if ((Gpr)_host[g] != d) _asm.Mov(d, (Gpr)_host[g]);
        }
        else if (g == 0) _asm.Zero(d);
        else _asm.Mov(d, RegisterMap.Home(g));
    }

    private void Load32(Gpr d, int g)
    {
        if (_host[g] >= 0)
        {
            if ((Gpr)_host[g] != d) _asm.Mov32(d, (Gpr)_host[g]);
        }
        else if (g == 0) _asm.Zero(d);
        else _asm.Mov32(d, RegisterMap.Home(g));
    }

    /// <summary>Where to compute the new value of <paramref name="dst"/>.</summary>
    private Gpr Target(int dst) => _host[dst] >= 0 ? (Gpr)_host[dst] : RegisterMap.Scratch0;

    /// <summary>The 64-bit value of <paramref name="dst"/> is now in <paramref name="d"/>.</summary>
    private void Finish64(int dst, Gpr d, bool known32 = false)
    {
        uint bit = 1u << dst;
        _pending &= ~bit;
        if (known32) _known32 |= bit;
        else _known32 &= ~bit;
        if (_host[dst] >= 0)
        {
            if ((Gpr)_host[dst] != d) _asm.Mov((Gpr)_host[dst], d);
        }
        else if (dst != 0) _asm.Mov(RegisterMap.Home(dst), d);
    }

    /// <summary>The low 32 bits of <paramref name="dst"/>, whose value is their sign extension, are now in <paramref name="d"/>.</summary>
    private void Finish32(int dst, Gpr d)
    {
        uint bit = 1u << dst;
        if (dst == 0) return;
        _known32 |= bit;
        if (_host[dst] >= 0)
        {
            if ((Gpr)_host[dst] != d) _asm.Movsxd((Gpr)_host[dst], d);
            else _pending |= bit;
            if ((Gpr)_host[dst] != d) _pending &= ~bit;
            return;
        }
        _asm.Movsxd(d, d);
        _asm.Mov(RegisterMap.Home(dst), d);
    }

    /// <summary>d = d op the 64-bit value of <paramref name="g"/>.</summary>
    private void Alu64(AluOp op, Gpr d, int g)
    {
        if (_host[g] >= 0)
        {
            Canonical(g);
            _asm.Alu(op, Size.S64, d, (Gpr)_host[g]);
        }
        else if (g == 0) _asm.Alu(op, Size.S64, d, 0);
        else _asm.Alu(op, Size.S64, d, RegisterMap.Home(g));
    }

    private void Alu32(AluOp op, Gpr d, int g)
    {
        if (_host[g] >= 0) _asm.Alu(op, Size.S32, d, (Gpr)_host[g]);
        else if (g == 0) _asm.Alu(op, Size.S32, d, 0);
        else _asm.Alu(op, Size.S32, d, RegisterMap.Home(g));
    }

    /// <summary>Frees rdx for an instruction that needs it: its guest register goes home until <see cref="RestoreRdx"/>.</summary>
    private int FreeRdx()
    {
        int g = _guestOfHost[(int)Gpr.Rdx];
        if (g == 0) return 0;
        Canonical(g);
        _asm.Mov(RegisterMap.Home(g), Gpr.Rdx);
        _host[g] = RegisterMap.InMemory;
        _live &= unchecked((ushort)~(1 << (int)Gpr.Rdx));
        return g;
    }

    private void RestoreRdx(int g)
    {
        if (g == 0) return;
        _asm.Mov(Gpr.Rdx, RegisterMap.Home(g));
        _host[g] = (sbyte)Gpr.Rdx;
        _live |= 1 << (int)Gpr.Rdx;
    }

    /// <summary>The next host instruction may fault on guest memory: remember how to recover the state.</summary>
    private void MayFault(in IrOp op)
    {
        uint offset = (uint)(_asm.Offset - EntryOffset);
        ref FaultPoint point = ref NewFault();
        point = FaultPointOf(op);
        point.CodeOffset = offset;
        if (_deferred != 0) DescribeDeferred(offset);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private FaultPoint FaultPointOf(in IrOp op) => new()
    {
        PcDelta = (int)(_block.GuestPc[op.Guest] - _block.Start), Live = _live, Pending = _pending == 0 ? (ushort)0 : PendingHosts(),
        Float = _block.HasFloat ? _floats.State : default,
    };

    private ushort PendingHosts()
    {
        uint hosts = 0;
        for (uint p = _pending; p != 0; p &= p - 1) hosts |= 1u << _host[System.Numerics.BitOperations.TrailingZeroCount(p)];
        return (ushort)hosts;
    }

    // Exits.

    /// <summary>Leaves the block for <paramref name="target"/> on the hot path.</summary>
    private void ExitTo(ulong target)
    {
        bool back = _block.IsLoop && target == _block.Start;
        if (back) Floats.FlushForLoop();
        else Floats.Flush();
        CanonicalAll(_pending);
        _pending = 0;
        ref ExitPlan exit = ref NewExit(target, BlockExit.Direct);
        if (back)
        {
            exit.Float = Floats.State;
            exit.Self = true;
            exit.Deferred = true;
            exit.Restore = _ownMapping;
            exit.Field = _asm.JmpPatchable(ref _loopLabel);
            return;
        }
        RestoreMapping();
        if (MayLink(target)) exit.Field = _asm.JmpPatchable(ref exit.Stub);
        else
        {
            exit.IsElsewhere = true;
            EmitLookupJump(target);
        }
    }

    /// <summary>Leaves the block for <paramref name="target"/> when <paramref name="condition"/> holds.</summary>
    private void ExitTo(Cond condition, ulong target)
    {
        ref ExitPlan exit = ref NewExit(target, BlockExit.Direct);
        if (_block.IsLoop && target == _block.Start)
        {
            exit.Float = Floats.State;
            exit.Self = true;
            exit.Deferred = true;
            exit.Restore = _ownMapping;
            exit.Field = _asm.JccPatchable(condition, ref _loopLabel);
            return;
        }
        exit.IsElsewhere = !MayLink(target);
        if (_pending == 0 && !_ownMapping && _deferred == 0 && Floats.State.IsClean && !exit.IsElsewhere)
        {
            exit.Field = _asm.JccPatchable(condition, ref exit.Stub);
            return;
        }
        exit.Deferred = true;
        exit.Restore = _ownMapping;
        exit.Pending = _pending;
        exit.Float = Floats.State;
        _asm.Jcc(condition, ref exit.Cold);
    }

    /// <summary>Leaves the block for good, at the guest instruction of <paramref name="op"/>.</summary>
    private void ExitAt(BlockExit kind, in IrOp op)
    {
        Floats.Flush();
        CanonicalAll(_pending);
        _pending = 0;
        RestoreMapping();
        ref ExitPlan exit = ref NewExit(_block.GuestPc[op.Guest], kind);
        EmitStub(ref exit);
    }

    /// <summary>Leaves the block at the guest instruction of <paramref name="op"/>, which must not have had effects yet, when a condition holds.</summary>
    private void ExitAt(Cond condition, BlockExit kind, in IrOp op)
    {
        ref ExitPlan exit = ref NewExit(_block.GuestPc[op.Guest], kind);
        exit.Deferred = true;
        exit.Restore = _ownMapping;
        exit.Pending = _pending;
        exit.Float = Floats.State;
        _asm.Jcc(condition, ref exit.Cold);
    }

    private ref ExitPlan NewExit(ulong target, BlockExit kind)
    {
        ref ExitPlan exit = ref _exits[_exitCount++];
        exit = default;
        exit.Target = target;
        exit.Kind = kind;
        exit.Field = -1;
        exit.Waiting = _deferred;
        return ref exit;
    }

    private void EmitStub(ref ExitPlan exit)
    {
        exit.StubOffset = _asm.Offset;
        _asm.CallTo((long)(_stubs.Exit(exit.Kind) - (ulong)_asm.Start));
        exit.RecordOffset = _asm.Offset;
        _asm.Quad(0);
    }

    /// <summary>What runs rarely: the work that exits have to do, and the stubs to the dispatcher.</summary>
    private void EmitCold()
    {
        for (int i = 0; i < _exitCount; i++)
        {
            ref ExitPlan exit = ref _exits[i];
            if (exit.RecordOffset != 0 || (exit.IsElsewhere && !exit.Deferred)) continue;
            if (exit.Self)
            {
                // Reached only while the back edge is unlinked.
                int stub = _asm.Offset;
                Floats.FlushCold(exit.Float);
                if (exit.Restore) RestoreMapping();
                EmitStub(ref exit);
                exit.StubOffset = stub;
                continue;
            }
            if (exit.Deferred)
            {
                _asm.Bind(ref exit.Cold);
                if (exit.Waiting != 0) EmitDeferred(exit.Waiting, exit.Pending);
                else CanonicalAll(exit.Pending);
                Floats.FlushCold(exit.Float);
                if (exit.Restore) RestoreMapping();
                if (exit.IsElsewhere)
                {
                    EmitLookupJump(exit.Target);
                    continue;
                }
                if (exit.Kind == BlockExit.Direct) exit.Field = _asm.JmpPatchable(ref exit.Stub);
            }
            if (exit.Kind == BlockExit.Direct) _asm.Bind(ref exit.Stub);
            EmitStub(ref exit);
        }
    }
}
