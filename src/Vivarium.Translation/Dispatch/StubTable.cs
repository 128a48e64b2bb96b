using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Float;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Dispatch;

/// <summary>
/// The hand-written ends of emitted code, at the start of every code cache: how the dispatcher enters blocks, how blocks come back, and
/// where faults and kicks go.
/// </summary>
internal sealed unsafe class StubTable
{
    /// <summary>Bytes at the start of the code cache for stubs.</summary>
    public const int Size = 16 << 10;

    private const int Frame = 72; // keeps rsp 16-byte aligned after six pushes, and leaves scratch room

    private readonly ulong[] _exits = new ulong[(int)BlockExit.Aborted + 1];
    private readonly Assembler _asm = new();
    private readonly byte* _start;
    private readonly bool _isMachine;
    private Label _leave, _restore, _miss;

    public StubTable(CodeMemory memory, bool isMachine)
    {
        _isMachine = isMachine;
        memory.Commit(0, Size);
        _start = (byte*)memory.Base;
        _asm.Reset(_start, Size);

        // The dummy entry that empty jump table slots lead to: no guest address is odd.
        _asm.Quad(1);
        _asm.Quad(1);
        DummyEntry = Here;
        Label indirect = default;
        _asm.Jmp(ref indirect);

        EmitEntry(memory);
        foreach (BlockExit kind in (ReadOnlySpan<BlockExit>)[BlockExit.Direct, BlockExit.Ecall, BlockExit.FenceI, BlockExit.Interpret, BlockExit.FloatOff, BlockExit.RegionPages])
        {
            // Called; behind the call stands the address of the exit's record.
            _exits[(int)kind] = Here;
            _asm.Pop(Gpr.Rcx);
            _asm.Mov(Gpr.Rcx, Mem.At(Gpr.Rcx));
            _asm.Mov(EngineSlots.At(EngineSlots.ExitInfo), Gpr.Rcx);
            _asm.MovImmediate(Gpr.Rax, (int)kind);
            _asm.Jmp(ref _leave);
        }
        _exits[(int)BlockExit.Promote] = Here;
        _asm.Pop(EngineSlots.At(EngineSlots.ExitInfo));
        _asm.MovImmediate(Gpr.Rax, (int)BlockExit.Promote);
        _asm.Jmp(ref _leave);
        _asm.Bind(ref indirect);
        _exits[(int)BlockExit.Indirect] = Here;
        _asm.Mov(EngineSlots.At(EngineSlots.ExitInfo), Gpr.Rax);
        _asm.MovImmediate(Gpr.Rax, (int)BlockExit.Indirect);
        _asm.Jmp(ref _leave);
        if (_asm.Overflowed) throw new InvalidOperationException("the dispatch stubs do not fit their space");
    }

    /// <summary>What jump table offsets are relative to, and where offset 0 leads.</summary>
    public ulong DummyEntry { get; }

    /// <summary>C-callable: int enter(state, block entry); returns a <see cref="BlockExit"/>.</summary>
    public ulong Enter { get; private set; }

    /// <summary>Below this no guest state is in host registers: faults and kicks there are not the translator's.</summary>
    public ulong RegionStart { get; private set; }

    /// <summary>From here to <see cref="EnterEnd"/> a kick must abort the entry, because the request has been tested already.</summary>
    public ulong EnterTested { get; private set; }
    public ulong EnterEnd { get; private set; }
    public ulong Abort { get; private set; }
    public ulong FaultStub { get; private set; }
    public ulong KickStub { get; private set; }

    /// <summary>Where faults in regions go, with rbp the region's frame pointer; see <see cref="Optimizing.RegionMemory"/>.</summary>
    public ulong RegionFaultStub { get; private set; }

    /// <summary>Called from blocks of machines: rax is an address, rcx a <see cref="MissAccess"/>. Gives the addend that makes it the host's in rax. All registers but
    /// these two are kept; ZF is set where the interpreter must do the access, or where an exit was asked for.</summary>
    public ulong Miss { get; private set; }

    /// <summary>The same for regions: the addend in rax (1 for none) of the address in rdi and the <see cref="MissAccess"/> in rsi, with the hart's state in rdx. All registers
    /// but rax and r11 are kept, with their upper halves.</summary>
    public ulong RegionMiss { get; private set; }

    /// <summary>From here to <see cref="MissEnd"/> the request has been tested: a kick goes on at <see cref="MissAbort"/>.</summary>
    public ulong MissTested { get; private set; }
    public ulong MissEnd { get; private set; }
    public ulong MissAbort { get; private set; }

    /// <summary>Called from blocks: rax = the host's clock rax in nanoseconds, divided by ecx. All registers but these two are kept; ZF is clear where
    /// an exit was asked for meanwhile.</summary>
    public ulong Clock { get; private set; }

    /// <summary>From here to <see cref="ClockEnd"/> the request has been tested: a kick goes on at <see cref="ClockAbort"/>.</summary>
    public ulong ClockTested { get; private set; }
    public ulong ClockEnd { get; private set; }
    public ulong ClockAbort { get; private set; }

    /// <summary>Address of the exit stub of a kind.</summary>
    public ulong Exit(BlockExit kind) => _exits[(int)kind];

    private ulong Here => (ulong)(_start + _asm.Offset);

    private static Mem Field(int offset) => Mem.At(RegisterMap.Context, offset - RegisterMap.ContextBias);

    private static Mem HostMxcsr => EngineSlots.At(EngineSlots.Mxcsr).Plus(4);

    private void EmitEntry(CodeMemory memory)
    {
        // Back to C#: everything is stored already; eax is the result.
        _asm.Bind(ref _restore);
        _asm.Stmxcsr(EngineSlots.At(EngineSlots.Mxcsr));
        // C# does not mind exception flags, only masks and the rounding mode: mostly the register can stay as it is.
        _asm.Mov32(Gpr.Rcx, EngineSlots.At(EngineSlots.Mxcsr));
        _asm.And32(Gpr.Rcx, ~0x3F);
        _asm.Cmp32(Gpr.Rcx, (int)FloatSlots.HostMxcsr);
        Label same = default;
        _asm.Jcc(Cond.E, ref same);
        _asm.Ldmxcsr(HostMxcsr);
        _asm.Bind(ref same);
        _asm.Alu(AluOp.Add, X86.Size.S64, Gpr.Rsp, Frame);
        foreach (Gpr r in (ReadOnlySpan<Gpr>)[Gpr.R15, Gpr.R14, Gpr.R13, Gpr.R12, Gpr.Rbp, Gpr.Rbx]) _asm.Pop(r);
        _asm.Ret();

        // Before the region: a kick while these run must not redirect them, for they work on the one register dump.
        EmitFaultStub();
        EmitKickStub();
        EmitRegionFaultStub();
        if (_isMachine) EmitRegionMiss();

        _asm.Align(16);
        Enter = Here;
        foreach (Gpr r in (ReadOnlySpan<Gpr>)[Gpr.Rbx, Gpr.Rbp, Gpr.R12, Gpr.R13, Gpr.R14, Gpr.R15]) _asm.Push(r);
        _asm.Alu(AluOp.Sub, X86.Size.S64, Gpr.Rsp, Frame);
        _asm.Lea(RegisterMap.Context, Mem.At(Gpr.Rdi, RegisterMap.ContextBias));
        _asm.Mov(EngineSlots.At(EngineSlots.HostStack), Gpr.Rsp);
        _asm.Stmxcsr(HostMxcsr);
        RegionStart = Here;
        _asm.Mov32(Gpr.Rax, HostMxcsr);
        _asm.Cmp32(Gpr.Rax, EngineSlots.At(EngineSlots.Mxcsr));
        Label loaded = default;
        _asm.Jcc(Cond.E, ref loaded);
        _asm.Ldmxcsr(EngineSlots.At(EngineSlots.Mxcsr));
        _asm.Bind(ref loaded);
        _asm.Mov(Gpr.Rax, Gpr.Rsi);
        _asm.Mov(RegisterMap.MemoryBase, Field(_isMachine ? HartStateLayout.DataTlb : HartStateLayout.MemoryBase));
        MoveRegisters(load: true);
        _asm.Cmp32(Field(HartStateLayout.ExitRequest), 0);
        EnterTested = Here;
        Label abort = default;
        _asm.Jcc(Cond.Ne, ref abort);
        _asm.Jmp(Gpr.Rax);
        EnterEnd = Here;

        _asm.Bind(ref abort);
        Abort = Here;
        _asm.MovImmediate(Gpr.Rax, (int)BlockExit.Aborted);
        _asm.Bind(ref _leave);
        MoveRegisters(load: false);
        _asm.Jmp(ref _restore);
        if (_isMachine) EmitMiss();
        EmitClock();
    }

    private void EmitClock()
    {
        // Only what C may clobber and blocks keep values in. The host's vDSO has no vector instructions.
        ReadOnlySpan<Gpr> kept = [Gpr.Rdi, Gpr.Rsi, Gpr.R8, Gpr.R9, Gpr.R10, Gpr.R11, Gpr.Rdx];
        _asm.Align(16);
        Clock = Here;
        foreach (Gpr r in kept) _asm.Push(r);
        _asm.Alu(AluOp.Sub, X86.Size.S64, Gpr.Rsp, 32); // entered with rsp 8 modulo 16, and 7 pushes make that 0
        _asm.Mov(Mem.At(Gpr.Rsp, 16), Gpr.Rcx);
        _asm.Mov(Gpr.Rdi, Gpr.Rax);
        _asm.Mov(Gpr.Rsi, Gpr.Rsp);
        _asm.MovImmediate(Gpr.Rax, (long)HostClock.EntryPoint);
        _asm.Call(Gpr.Rax);
        _asm.Mov(Gpr.Rax, Mem.At(Gpr.Rsp));
        _asm.Imul(Gpr.Rax, Gpr.Rax, 1_000_000_000);
        _asm.Add(Gpr.Rax, Mem.At(Gpr.Rsp, 8));
        _asm.Mov(Gpr.Rcx, Mem.At(Gpr.Rsp, 16));
        _asm.Cmp32(Gpr.Rcx, 1);
        Label whole = default;
        _asm.Jcc(Cond.E, ref whole);
        _asm.Zero(Gpr.Rdx);
        _asm.Div(Gpr.Rcx);
        _asm.Bind(ref whole);
        _asm.Alu(AluOp.Add, X86.Size.S64, Gpr.Rsp, 32);
        for (int i = kept.Length - 1; i >= 0; i--) _asm.Pop(kept[i]);
        // A kick that came in the vDSO did nothing but set the request.
        Label abort = default;
        _asm.Cmp32(Field(HartStateLayout.ExitRequest), 0);
        ClockTested = Here;
        _asm.Jcc(Cond.Ne, ref abort);
        _asm.Ret();
        ClockEnd = Here;
        _asm.Bind(ref abort);
        ClockAbort = Here;
        _asm.Test(Gpr.Rsp, Gpr.Rsp);
        _asm.Ret();
    }

    // Of near pages, for each that is replaced.
    private const int NearMisses = 8;

    private void EmitMiss()
    {
        // The TLB's first half, its second, then C#.
        Label first = default, slow = default, found = default, tail = default, abort = default, gone = default;
        ReadOnlySpan<Gpr> kept = [Gpr.Rdi, Gpr.Rsi, Gpr.R8, Gpr.R9, Gpr.R10, Gpr.R11, Gpr.Rdx];
        const Gpr entry = Gpr.Rdi, page = Gpr.Rsi, tag = Gpr.Rdx, other = Gpr.R8;
        _asm.Align(16);
        _asm.Bind(ref _miss);
        Miss = Here;
        foreach (Gpr r in kept) _asm.Push(r);
        _asm.Bind(ref first);
        _asm.Mov32(entry, Gpr.Rax);
        _asm.Shr32(entry, 7);
        _asm.And32(entry, (HartTlb.Entries - 1) << 5);
        _asm.Add(entry, RegisterMap.MemoryBase);
        _asm.Mov32(tag, Gpr.Rcx);
        _asm.And32(tag, MissAccess.Store);
        _asm.Mov32(page, Gpr.Rcx);
        _asm.Shr32(page, MissAccess.SizeShift);
        _asm.And32(page, MissAccess.SizeMask);
        _asm.Lea(page, Mem.At(Gpr.Rax, page, 0, -1));
        _asm.And(page, -4096);
        _asm.Cmp(page, Mem.At(entry, tag, 3));
        _asm.Jcc(Cond.E, ref found);
        _asm.Mov(other, Gpr.Rax);
        _asm.And(other, -4096);
        _asm.Cmp(other, page);
        _asm.Jcc(Cond.Ne, ref slow); // into another page
        _asm.Mov(other, Gpr.Rax);
        _asm.Shr(other, HartTlb.MixShift);
        _asm.Xor32(other, Gpr.Rax);
        _asm.Shr32(other, 7);
        _asm.And32(other, (HartTlb.Entries - 1) << 5);
        _asm.Add(other, RegisterMap.MemoryBase);
        _asm.Alu(AluOp.Add, X86.Size.S64, other, HartTlb.SecondHalf);
        _asm.Cmp(page, Mem.At(other, tag, 3));
        _asm.Jcc(Cond.Ne, ref slow);
        foreach (int offset in (ReadOnlySpan<int>)[24, 0, 16, 8])
        {
            _asm.Mov(Gpr.R9, Mem.At(other, offset));
            _asm.Mov(Mem.At(entry, offset), Gpr.R9);
        }
        // See HartTlb.ProtectStores.
        Fence();
        _asm.Cmp(Gpr.R9, Mem.At(other, 8));
        _asm.Jcc(Cond.E, ref found);
        _asm.Mov(Mem.At(entry, 8), -1);
        _asm.Jmp(ref first);

        _asm.Bind(ref found);
        _asm.Mov(Gpr.R9, Mem.At(entry, 24));
        _asm.Mov32(other, Gpr.Rcx);
        _asm.Shr32(other, MissAccess.NearShift);
        _asm.Jcc(Cond.E, ref tail);
        _asm.Mov(Mem.At(RegisterMap.Context, other, 3, HartStateLayout.NearAddends - RegisterMap.ContextBias - 8), Gpr.R9);
        _asm.Mov(Mem.At(RegisterMap.Context, other, 3, HartStateLayout.NearTags - RegisterMap.ContextBias - 8), page);
        _asm.Mov32(Field(HartStateLayout.NearPatience), NearMisses);
        _asm.Test32(tag, tag);
        _asm.Jcc(Cond.E, ref tail);
        Fence();
        _asm.Cmp(page, Mem.At(entry, 8));
        _asm.Jcc(Cond.Ne, ref gone);

        _asm.Bind(ref tail);
        _asm.Mov(Gpr.Rax, Gpr.R9);
        for (int i = kept.Length - 1; i >= 0; i--) _asm.Pop(kept[i]);
        // A kick that came meanwhile did nothing but set the request.
        _asm.Cmp32(Field(HartStateLayout.ExitRequest), 0);
        MissTested = Here;
        _asm.Jcc(Cond.Ne, ref abort);
        _asm.Test(Gpr.Rsp, Gpr.Rsp);
        _asm.Ret();
        MissEnd = Here;
        _asm.Bind(ref abort);
        MissAbort = Here;
        _asm.Zero(Gpr.Rax);
        _asm.Ret();

        _asm.Bind(ref gone);
        _asm.Mov(Mem.At(RegisterMap.Context, other, 3, HartStateLayout.NearTags - RegisterMap.ContextBias - 8), -1);
        _asm.Jmp(ref first);

        // Only what C# may clobber and blocks keep values in: rbx, rbp and r12 to r15 are callee-saved.
        _asm.Bind(ref slow);
        int vectors = HostFeatures.HasAvx512Vl ? 32 : 16;
        int area = vectors * 16 + 32; // and the guest's MXCSR, address and access; entered with rsp 8 modulo 16, and 7 pushes make that 0
        _asm.Alu(AluOp.Sub, X86.Size.S64, Gpr.Rsp, area);
        for (int x = 0; x < vectors; x++) MoveVector(VecOp.MovupsStore, x, Mem.At(Gpr.Rsp, x * 16));
        _asm.Stmxcsr(Mem.At(Gpr.Rsp, vectors * 16));
        _asm.Mov(Mem.At(Gpr.Rsp, vectors * 16 + 8), Gpr.Rax);
        _asm.Mov(Mem.At(Gpr.Rsp, vectors * 16 + 16), Gpr.Rcx);
        _asm.Ldmxcsr(HostMxcsr);
        _asm.Lea(Gpr.Rdi, Mem.At(RegisterMap.Context, -RegisterMap.ContextBias));
        _asm.Mov(Gpr.Rsi, Gpr.Rax);
        _asm.Mov(Gpr.Rdx, Gpr.Rcx);
        _asm.Call(EngineSlots.At(EngineSlots.MissHelper));
        _asm.Mov32(Gpr.Rdx, Gpr.Rax);
        _asm.Mov(Gpr.Rcx, Mem.At(Gpr.Rsp, vectors * 16 + 16));
        _asm.Mov(Gpr.Rax, Mem.At(Gpr.Rsp, vectors * 16 + 8));
        _asm.Ldmxcsr(Mem.At(Gpr.Rsp, vectors * 16));
        for (int x = 0; x < vectors; x++) MoveVector(VecOp.Movups, x, Mem.At(Gpr.Rsp, x * 16));
        _asm.Alu(AluOp.Add, X86.Size.S64, Gpr.Rsp, area);
        _asm.Test32(Gpr.Rdx, Gpr.Rdx);
        _asm.Jcc(Cond.Ne, ref first);
        for (int i = kept.Length - 1; i >= 0; i--) _asm.Pop(kept[i]);
        _asm.Jmp(ref abort);
    }

    private void EmitRegionMiss()
    {
        // Outside of what kicks redirect: rbp is the region's until Miss is called. Who kicks has raised the word that the region polls.
        Label done = default, fail = default, back = default;
        const int area = 16 * 32;
        _asm.Align(16);
        RegionMiss = Here;
        _asm.Push(RegisterMap.Context);
        _asm.Push(RegisterMap.MemoryBase);
        _asm.Push(Gpr.Rcx);
        _asm.Alu(AluOp.Sub, X86.Size.S64, Gpr.Rsp, area);
        if (HostFeatures.HasAvx) MoveWide(load: false);
        _asm.Lea(RegisterMap.Context, Mem.At(Gpr.Rdx, RegisterMap.ContextBias));
        _asm.Mov(RegisterMap.MemoryBase, Field(HartStateLayout.DataTlb));
        _asm.Mov32(Gpr.Rcx, Gpr.Rsi);
        _asm.Mov(Gpr.Rax, Gpr.Rdi);
        _asm.LeaRip(Gpr.R11, ref back);
        _asm.Push(Gpr.R11);
        _asm.Jmp(ref _miss);
        _asm.Bind(ref back);
        _asm.Jcc(Cond.E, ref fail);
        _asm.Bind(ref done);
        if (HostFeatures.HasAvx) MoveWide(load: true);
        _asm.Alu(AluOp.Add, X86.Size.S64, Gpr.Rsp, area);
        _asm.Pop(Gpr.Rcx);
        _asm.Pop(RegisterMap.MemoryBase);
        _asm.Pop(RegisterMap.Context);
        _asm.Ret();
        _asm.Bind(ref fail);
        _asm.MovImmediate(Gpr.Rax, 1);
        _asm.Jmp(ref done);
    }

    /// <summary>vmovups between ymm0..15 and the stack.</summary>
    private void MoveWide(bool load)
    {
        Span<byte> code = stackalloc byte[9];
        for (int x = 0; x < 16; x++)
        {
            int offset = x * 32;
            code[0] = 0xC5;
            code[1] = (byte)(x < 8 ? 0xFC : 0x7C);
            code[2] = (byte)(load ? 0x10 : 0x11);
            code[3] = (byte)(0x84 | (x & 7) << 3); // [rsp + disp32]
            code[4] = 0x24;
            System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(code[5..], offset);
            _asm.Raw(code);
        }
    }

    /// <summary>Earlier stores before later loads.</summary>
    private void Fence() => _asm.Raw([0xF0, 0x83, 0x0C, 0x24, 0x00]); // lock or dword [rsp], 0

    private void MoveVector(VecOp move, int x, Mem m)
    {
        if (HostFeatures.HasAvx) _asm.Vex(move, (Xmm)x, m);
        else _asm.Sse(move, (Xmm)x, m);
    }

    /// <summary>Between the hart's state and the static register mapping.</summary>
    private void MoveRegisters(bool load)
    {
        for (int g = 1; g < 32; g++)
        {
            int h = RegisterMap.IntegerHost[g];
            if (h < 0) continue;
            if (load) _asm.Mov((Gpr)h, RegisterMap.Home(g));
            else _asm.Mov(RegisterMap.Home(g), (Gpr)h);
        }
        MoveFloats(load);
    }

    private void MoveFloats(bool load)
    {
        for (int f = 0; f < 32; f++)
        {
            int x = RegisterMap.FloatHost[f];
            if (x < 0) continue;
            if (HostFeatures.HasAvx) _asm.Vex(load ? VecOp.Movsd : VecOp.MovsdStore, (Xmm)x, RegisterMap.Home(32 + f));
            else _asm.Sse(load ? VecOp.Movsd : VecOp.MovsdStore, (Xmm)x, RegisterMap.Home(32 + f));
        }
    }

    private void EmitFaultStub()
    {
        // Integer registers go raw to the dump: the dispatcher knows from the block what they mean.
        FaultStub = Here;
        for (int r = 0; r < 16; r++) _asm.Mov(EngineSlots.At(EngineSlots.RegisterDump + r), (Gpr)r);
        MoveFloats(load: false);
        _asm.Mov(Gpr.Rsp, EngineSlots.At(EngineSlots.HostStack));
        _asm.MovImmediate(Gpr.Rax, (int)BlockExit.Fault);
        _asm.Jmp(ref _restore);
    }

    private void EmitRegionFaultStub()
    {
        RegionFaultStub = Here;
        _asm.Mov(Gpr.Rax, Mem.At(Gpr.Rbp, Optimizing.RegionMemory.FaultHostPcOffset));
        _asm.Mov(Gpr.Rcx, Mem.At(Gpr.Rbp, Optimizing.RegionMemory.FaultAddressOffset));
        _asm.Mov32(Gpr.Rdx, Mem.At(Gpr.Rbp, Optimizing.RegionMemory.FaultSignalOffset));
        _asm.Mov(RegisterMap.Context, Mem.At(Gpr.Rbp)); // what the frame saved
        _asm.Mov(Field(HartStateLayout.FaultHostPc), Gpr.Rax);
        _asm.Mov(Field(HartStateLayout.FaultHostAddress), Gpr.Rcx);
        _asm.Mov32(Field(HartStateLayout.FaultSignal), Gpr.Rdx);
        if (!_isMachine) MoveVectors(HostFeatures.HasAvx512Vl ? 32 : 16, VecOp.MovupsStore);
        _asm.Mov(Gpr.Rsp, EngineSlots.At(EngineSlots.HostStack));
        if (HostFeatures.HasAvx) _asm.Raw([0xC5, 0xF8, 0x77]); // vzeroupper
        _asm.MovImmediate(Gpr.Rax, (int)BlockExit.RegionFault);
        _asm.Jmp(ref _restore);
    }

    private void EmitKickStub()
    {
        int vectors = HostFeatures.HasAvx512Vl ? 32 : 16;
        KickStub = Here;
        for (int r = 0; r < 16; r++) _asm.Mov(EngineSlots.At(EngineSlots.RegisterDump + r), (Gpr)r);
        _asm.Lea(Gpr.Rsp, Mem.At(Gpr.Rsp, -128));
        _asm.Raw([0x9C]); // pushfq
        _asm.Pop(EngineSlots.At(EngineSlots.DumpedFlags));
        _asm.Stmxcsr(EngineSlots.At(EngineSlots.DumpedMxcsr));
        _asm.Ldmxcsr(HostMxcsr);
        MoveVectors(vectors, VecOp.MovupsStore);
        _asm.Alu(AluOp.And, X86.Size.S64, Gpr.Rsp, -16);
        _asm.Lea(Gpr.Rdi, Mem.At(RegisterMap.Context, -RegisterMap.ContextBias));
        _asm.Call(EngineSlots.At(EngineSlots.KickHelper));
        MoveVectors(vectors, VecOp.Movups);
        _asm.Ldmxcsr(EngineSlots.At(EngineSlots.DumpedMxcsr));
        _asm.Push(EngineSlots.At(EngineSlots.DumpedFlags));
        _asm.Raw([0x9D]); // popfq
        for (int r = 0; r < 16; r++)
        {
            if ((Gpr)r != RegisterMap.Context) _asm.Mov((Gpr)r, EngineSlots.At(EngineSlots.RegisterDump + r));
        }
        _asm.Jmp(Field(HartStateLayout.KickHostPc));
    }

    private void MoveVectors(int count, VecOp move)
    {
        for (int x = 0; x < count; x++)
        {
            MoveVector(move, x, EngineSlots.At(EngineSlots.VectorDump + x * 2));
        }
    }
}
