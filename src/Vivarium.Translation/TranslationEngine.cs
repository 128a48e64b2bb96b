using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Float;
using Vivarium.Translation.Persistence;
using Vivarium.Translation.Profiling;
using Vivarium.Translation.Quick;

namespace Vivarium.Translation;

/// <summary>
/// Runs harts of one address space on translated code. What has no lowering is executed by the reference interpreter, one instruction
/// at a time, and so is every instruction that faults: its trap comes from there.
/// </summary>
/// <remarks>
/// Thread-safe as <see cref="Executor"/> says. Lookups take no lock; publishing a block, chaining and invalidating take the engine's lock
/// briefly; translation itself takes none.
/// </remarks>
public sealed unsafe partial class TranslationEngine : Executor
{
    private readonly CodeCache _cache;
    private readonly bool _ownsCache;
    private readonly TranslationOptions _options;
    private readonly ReferenceInterpreter _interpreter = new();
    private readonly ArenaSet _arenas;
    private readonly JumpTable _jumpTable;
    private readonly BlockTable _blocks = new();
    private readonly Dictionary<ulong, nint> _pages = [];
    private readonly Lock _lock = new();
    private readonly PerfMap? _perfMap;
    private MemoryWindow? _memory; // the address space's, known from the first run on
    private long _generation; // counts invalidations: translations that began before one are not published

    private int _kicked; // threads that were kicked in emitted code and have not come back to the dispatcher

    [ThreadStatic] private static TranslationEngine? t_running;
    [ThreadStatic] private static bool t_kicked;
    [ThreadStatic] private static BlockTranslator? t_translator;

    /// <param name="cache">The code cache to share; null for one of its own.</param>
    /// <param name="options">Null for the defaults.</param>
    public TranslationEngine(CodeCache? cache = null, TranslationOptions? options = null)
    {
        _ownsCache = cache == null;
        _cache = cache ?? new CodeCache();
        _options = options ?? new TranslationOptions();
        _arenas = new ArenaSet(_cache);
        _jumpTable = new JumpTable(_cache.Stubs.DummyEntry, _cache.Tables);
        _perfMap = _options.PerfMap ? new PerfMap() : null;
        _farm = _options.Farm;
        _farm?.Add(this);
    }

    /// <inheritdoc/>
    public override Func<ulong, bool>? MayExecute
    {
        get => _interpreter.MayExecute;
        set => _interpreter.MayExecute = value;
    }

    /// <summary>Counters of all engines on the same cache.</summary>
    public Statistics Statistics => _cache.Statistics;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override ExecutionExit Run(Hart hart, ulong budget = ulong.MaxValue)
    {
        // Counting instructions exactly is what the interpreter is for.
        if (budget != ulong.MaxValue) return _interpreter.Run(hart, budget);

        ref HartState state = ref hart.State;
        state.Engine[EngineSlots.CodeBase] = _cache.Stubs.DummyEntry;
        state.Engine[EngineSlots.KickHelper] = (ulong)(delegate* unmanaged<HartState*, void>)&OnKick;
        FloatSlots.Enter(ref state);
        t_running = this;
        _memory = hart.Memory;
        RunSlot slot = EnterSlot();
        state.Engine[EngineSlots.LeaveCell] = slot.LeaveCell;
        if (hart.LeaveWord != slot.LeaveCell) hart.LeaveWord = slot.LeaveCell;
        ExecutionExit exit = Dispatch(hart, ref state, slot);
        slot.LeaveEngine();
        FloatSlots.Leave(ref state);
        return exit;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private ExecutionExit Dispatch(Hart hart, ref HartState state, RunSlot slot)
    {
        var enter = (delegate* unmanaged<nint, ulong, int>)_cache.Stubs.Enter;
        nint context = hart.StateAddress;
        ExitRecord* from = null;
        bool indirect = false;
        ulong recovery = FirstRecovery;
        while (true)
        {
            slot.Stay(); // before anything is looked up: what is taken out of service later raises it again
            long epoch = Volatile.Read(ref _epoch);
            if (slot.Epoch != epoch)
            {
                // Code has been evicted: forget the exit that we came from, which may be part of it.
                from = null;
                Volatile.Write(ref slot.Epoch, epoch);
            }
            if (Volatile.Read(ref state.ExitRequest) != 0) return new ExecutionExit(ExitKind.Interrupted);
            if (FloatSlots.IsForeignRounding(state.Frm))
            {
                // x86 has no such rounding mode: the interpreter carries on until there is another one.
                from = null;
                indirect = false;
                if (Interpret(hart, ref state) is { } stopped) return stopped;
                continue;
            }
            if (Volatile.Read(ref _toObserve) != 0)
            {
                from = null;
                indirect = false;
                if (InterpretAndObserve(hart, ref state) is { } seen) return seen;
                continue;
            }
            ulong pc = state.Pc;
            BlockHeader* block = _blocks.Find(pc);
            if (block == null)
            {
                block = Translate(hart.Memory, pc);
                if (slot.Epoch != epoch) from = null;
                if (block == null)
                {
                    // No room for code: the interpreter carries on.
                    from = null;
                    indirect = false;
                    if (Interpret(hart, ref state) is { } trap) return trap;
                    continue;
                }
            }
            if (from != null)
            {
                if (_farm is { IsSynchronous: true } && from->Target <= from->Owner->GuestPc) block = OptimizeNow(hart, block);
                Link(from, block);
                from = null;
            }
            else if (indirect) Publish(block);
            indirect = false;
            state.Engine[EngineSlots.JumpTable] = _jumpTable.Address;
            int exit = enter(context, block->Entry);
            slot.LeaveRegion();
            if (t_kicked)
            {
                t_kicked = false;
                Interlocked.Decrement(ref _kicked);
            }
            switch ((BlockExit)exit)
            {
                case BlockExit.Direct:
                    Statistics.DirectExits++;
                    from = (ExitRecord*)state.Engine[EngineSlots.ExitInfo];
                    state.Pc = from->Target;
                    break;
                case BlockExit.Indirect:
                    Statistics.IndirectExits++;
                    state.Pc = state.Engine[EngineSlots.ExitInfo] & ~1UL;
                    indirect = true;
                    break;
                case BlockExit.Ecall:
                    Statistics.SystemCalls++;
                    state.Pc = ((ExitRecord*)state.Engine[EngineSlots.ExitInfo])->Target;
                    return new ExecutionExit(ExitKind.Trap, TrapCause.EnvironmentCall);
                case BlockExit.FenceI:
                    state.Pc = ((ExitRecord*)state.Engine[EngineSlots.ExitInfo])->Target + 4;
                    SynchronizeCode(0, ulong.MaxValue);
                    break;
                case BlockExit.Interpret:
                    state.Pc = ((ExitRecord*)state.Engine[EngineSlots.ExitInfo])->Target;
                    if (Interpret(hart, ref state) is { } illegal) return illegal;
                    break;
                case BlockExit.Promote:
                    Promote(hart.Memory, ref state);
                    break;
                case BlockExit.Fault:
                    Statistics.Faults++;
                    RecoverState(ref state);
                    ReleaseReservation(ref state);
                    if (Interpret(hart, ref state) is { } fault) return fault;
                    break;
                case BlockExit.RegionFault:
                    Statistics.Faults++;
                    if (RegionFault(hart, ref state, ref recovery) is { } regionFault) return regionFault;
                    break;
                default:
                    Statistics.Aborts++;
                    break;
            }
        }
    }

    /// <summary>Executes one instruction in the interpreter; null when it completed.</summary>
    private ExecutionExit? Interpret(Hart hart, ref HartState state)
    {
        Statistics.Interpreted++;
        FloatSlots.Leave(ref state);
        ExecutionExit? exit = _interpreter.Step(hart);
        FloatSlots.Enter(ref state);
        return exit;
    }

    /// <summary>After a fault of a store-conditional: unlocks its version as it was; the interpreter does the instruction again, and traps.</summary>
    private static void ReleaseReservation(ref HartState state)
    {
        ulong held = state.Engine[EngineSlots.HeldReservation];
        if (held == 0) return;
        // SAFETY: emitted code put the address of a version there, whose lock this hart holds.
        Volatile.Write(ref *(ulong*)held, *(ulong*)held - 1);
        state.Engine[EngineSlots.HeldReservation] = 0;
    }

    /// <summary>After a host fault in a block: guest registers from the dumped host registers, pc at the instruction.</summary>
    private void RecoverState(ref HartState state)
    {
        ulong hostPc = state.FaultHostPc;
        BlockHeader* block = _cache.Find(hostPc);
        if (block == null) throw new InvalidOperationException($"translated code faulted outside every block, at host address 0x{hostPc:x}");
        if (block->Counter != null)
        {
            for (int g = 1; g < 32; g++)
            {
                int h = RegisterMap.IntegerHost[g];
                if (h >= 0) state.X[g] = state.Engine[EngineSlots.RegisterDump + h];
            }
            state.Pc = QuickTranslator.GuestPcOf(block, hostPc);
            return;
        }
        uint offset = (uint)(hostPc - block->Entry);
        int low = 0, high = block->FaultCount - 1;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (block->Faults[middle].CodeOffset < offset) low = middle + 1;
            else high = middle;
        }
        ref FaultPoint point = ref block->Faults[low];
        if (block->FaultCount == 0 || point.CodeOffset != offset)
            throw new InvalidOperationException($"translated code faulted where it accesses no guest memory, at host address 0x{hostPc:x} (block of guest 0x{block->GuestPc:x})");
        for (int h = 0; h < 16; h++)
        {
            int g = block->GuestOfHost[h];
            if (g == 0 || (point.Live >> h & 1) == 0) continue;
            ulong value = state.Engine[EngineSlots.RegisterDump + h];
            state.X[g] = (point.Pending >> h & 1) != 0 ? (ulong)(int)value : value;
        }
        FloatSlots.Canonicalise(ref state, point.Float);
        for (int i = low + 1; i < block->FaultCount && block->Faults[i].CodeOffset == offset && (block->Faults[i].Live & FaultPoint.IsDeferred) != 0; i++)
            block->Faults[i].Apply(ref state);
        if ((point.Pending & FaultPoint.NeedsReservation) != 0) Reservations.Renew(ref state, state.FaultHostAddress - state.MemoryBase);
        // Registers of the static mapping that the block gave away went home in its prologue.
        state.Pc = block->GuestPc + (ulong)(long)point.PcDelta;
    }

    /// <summary>Translates and publishes the block at <paramref name="pc"/>; null when the cache is full. <paramref name="full"/>: by the full pipeline, in the
    /// place of a quick block that is there.</summary>
    private BlockHeader* Translate(MemoryWindow memory, ulong pc, bool mayEvict = true, bool full = false)
    {
        BlockTranslator translator = Translator();
        while (true)
        {
            long generation = Volatile.Read(ref _generation);
            CodeRange range = _codeRanges.Find(pc);
            // The optimising tier stores what it finds out about blocks of the full pipeline.
            bool quick = !full && _options.QuickRuns > 0 && !_options.StrictMemory && (range.Blocks == null || _farm == null);
            BlockHeader* block = range.Blocks == null ? null : Load(translator, memory, pc, range, quick);
            if (block != null && RunsThroughRegion(block))
            {
                translator.Discard();
                block = null;
            }
            bool fresh = block == null;
            if (fresh)
            {
                translator.MayExecute = MayExecute;
                if (quick) block = translator.TranslateQuick(memory, pc, _blocks, _options, Statistics);
                if (block == null) block = translator.Translate(memory, pc, _blocks, _options, Statistics);
            }
            if (block == null)
            {
                if (mayEvict && Evict()) continue;
                return null;
            }
            string? name = _perfMap == null && _options.JitDump == null ? null : NameCode?.Invoke(pc) ?? $"guest_{pc:x}";
            bool captured = fresh && range.Blocks != null && translator.Capture(block, memory, range);
            lock (_lock)
            {
                BlockHeader* other = _blocks.Find(pc);
                bool replace = full && other != null && other->Counter != null;
                if ((other == null || replace) && generation == _generation)
                {
                    translator.Keep(block);
                    AddToPage(block, block->Page0, first: true);
                    if (block->Page1 != ulong.MaxValue) AddToPage(block, block->Page1, first: false);
                    for (int i = 0; i < block->ExitCount; i++)
                    {
                        ExitRecord* exit = block->Exits + i;
                        if (exit->Kind != 1) continue;
                        BlockLinks.AddIncoming(block, exit); // emitted linked
                        if (_farm is { IsSynchronous: true }) Unlink(exit); // shows its first round to the optimising tier
                    }
                    if (replace) Replace(other, block);
                    else _blocks.Add(block);
                    if (name != null)
                    {
                        _perfMap?.Add(block->Entry, block->CodeEnd, name);
                        _options.JitDump?.Add(block->Entry, block->CodeEnd, name);
                    }
                    if (_farm != null && block->Counter == null) Observe(block);
                    if (captured) range.Blocks!.Add(translator.Captured);
                    else if (!fresh) Statistics.PersistentLoaded++;
                    return block;
                }
                Statistics.Duplicates++;
                translator.Discard();
                if (other != null && !replace) return other;
            }
        }
    }

    private BlockTranslator Translator()
    {
        BlockTranslator? translator = t_translator;
        if (translator == null || translator.Cache != _cache)
        {
            translator?.Cache.Return(translator);
            t_translator = translator = _cache.Rent();
        }
        translator.Use(_arenas);
        return translator;
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        StopOptimizing();
        lock (_slots)
        {
            foreach (RunSlot slot in _slots) slot.Free();
            _slots.Clear();
        }
        _interpreter.Dispose();
        _jumpTable.Dispose();
        _arenas.Dispose();
        _perfMap?.Dispose();
        if (_ownsCache) _cache.Dispose();
        base.Dispose();
    }
}
