using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Float;
using Vivarium.Translation.FrontEnd;

namespace Vivarium.Translation.Machine;

/// <summary>
/// Runs the harts of a machine on translated code. Loads and stores look the hart's TLB up in line; blocks are known by virtual and physical address,
/// stay within a page, and are chained only within it: control gets to another page by the hart's jump table, which holds what is mapped now, or by the
/// dispatcher. Privileged instructions, CSRs, devices and whatever traps are executed by the reference interpreter.
/// </summary>
/// <remarks>
/// Code is exact: before a page is translated, no TLB lets stores into it; the first store drops its blocks. So <c>fence.i</c> has little to do: see
/// <see cref="FenceInstructions"/>.
/// One engine serves all harts of a machine, each on a thread of its own.
/// </remarks>
public sealed unsafe partial class MachineEngine : Executor
{
    private const int BucketBits = 17;

    private readonly CodeCache _cache;
    private readonly TranslationOptions _options;
    private readonly PhysicalBus _bus;
    private readonly ReferenceInterpreter _interpreter = new();
    private readonly ArenaSet _arenas;
    private readonly nint[] _buckets = new nint[1 << BucketBits];
    private readonly byte[] _isCode; // by page of RAM
    private readonly Dictionary<ulong, nint> _pages = [];
    private readonly Lock _lock = new();
    private HartCode[] _harts = [];
    private long _generation;
    private bool _readsTime;
    private int _kicked; // threads that were kicked in emitted code and have not come back to the dispatcher

    [ThreadStatic] private static MachineEngine? t_running;
    [ThreadStatic] private static HartCode? t_hart;
    [ThreadStatic] private static bool t_kicked;
    [ThreadStatic] private static BlockTranslator? t_translator;

    /// <param name="bus">The machine's physical memory.</param>
    /// <param name="options">Null for the defaults.</param>
    public MachineEngine(PhysicalBus bus, TranslationOptions? options = null)
    {
        _bus = bus;
        _options = options ?? new TranslationOptions();
        _cache = new CodeCache(_options.MachineCacheSize, isMachine: true);
        _arenas = new ArenaSet(_cache);
        _isCode = new byte[(bus.RamSize + 4095) >> 12];
        _farm = _options.Farm;
        _farm?.Add(this);
    }

    /// <summary>What the engine did.</summary>
    public Statistics Statistics => _cache.Statistics;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override ExecutionExit Run(Hart hart, ulong budget = ulong.MaxValue)
    {
        if (budget != ulong.MaxValue) return _interpreter.Run(hart, budget);
        HartCode code = t_hart is { } mine && mine.Hart == hart ? mine : Adopt(hart);
        ref HartState state = ref hart.State;
        state.Engine[EngineSlots.CodeBase] = _cache.Stubs.DummyEntry;
        state.Engine[EngineSlots.KickHelper] = (ulong)(delegate* unmanaged<HartState*, void>)&OnKick;
        state.Engine[EngineSlots.MissHelper] = (ulong)(delegate* unmanaged<HartState*, ulong, ulong, int>)&OnMiss;
        t_running = this;
        state.Engine[EngineSlots.RegionMiss] = _cache.Stubs.RegionMiss;
        state.Engine[EngineSlots.LeaveCell] = code.Presence.LeaveCell;
        if (hart.LeaveWord != code.Presence.LeaveCell) hart.LeaveWord = code.Presence.LeaveCell;
        code.Unit.FloatChanged(); // frm is anybody's while the hart does not run
        if (code.Unit.TimeOrigin is { } origin) state.TimeOrigin = origin;
        FloatSlots.Enter(ref state);
        // Whoever evicts makes all threads of the process pass a barrier: it sees this hart, or this hart sees what was taken out of service.
        // And whoever finds it outside knows that it looks every page up anew.
        Interlocked.Exchange(ref code.Epoch, Volatile.Read(ref _epoch));
        ExecutionExit exit = Dispatch(hart, code, ref state);
        code.Presence.LeaveEngine(ref code.Epoch);
        FloatSlots.Leave(ref state);
        return exit;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private ExecutionExit Dispatch(Hart hart, HartCode code, ref HartState state)
    {
        var enter = (delegate* unmanaged<nint, ulong, int>)_cache.Stubs.Enter;
        nint context = hart.StateAddress;
        PrivilegedUnit unit = code.Unit;
        ExitRecord* from = null;
        PrivilegeMode mode = unit.Mode;
        int space = unit.Space;
        JumpTable table = code.Table();
        ulong chosen = 0; // where to go on, whatever is there
        ulong last = 0;
        while (true)
        {
            code.Presence.Stay(); // before anything is looked up: what is taken out of service later raises it again
            long epoch = Volatile.Read(ref _epoch);
            if (code.Epoch != epoch)
            {
                // Code has been evicted: forget the exit that we came from, which may be part of it.
                from = null;
                chosen = 0;
                Volatile.Write(ref code.Epoch, epoch);
            }
            if (Volatile.Read(ref state.ExitRequest) != 0) return new ExecutionExit(ExitKind.Interrupted);
            ulong pc = state.Pc;
            ulong entry = chosen != 0 ? chosen : from == null ? table.Find(pc) : 0;
            chosen = 0;
            if (entry == 0)
            {
                BlockHeader* block = null;
                if (unit.TryFetch(pc, out ulong physical))
                {
                    block = Find(physical, pc, mode);
                    if (block == null && _options.InterpretFirst && code.IsFirst(physical))
                    {
                        from = null;
                        if (InterpretOnce(hart, unit, ref state) is { } stop && !unit.TryDeliver(stop)) return stop;
                        if (unit.Mode != mode || unit.Space != space) (mode, space, table) = (unit.Mode, unit.Space, code.Table());
                        continue;
                    }
                    if (block == null)
                    {
                        block = Translate(code, pc, physical, mode);
                        if (code.Epoch != epoch) from = null;
                    }
                }
                if (block == null)
                {
                    // A trap, or no room for code.
                    from = null;
                    if (Interpret(hart, ref state) is { } trap && !unit.TryDeliver(trap)) return trap;
                    if (unit.Mode != mode || unit.Space != space) (mode, space, table) = (unit.Mode, unit.Space, code.Table());
                    continue;
                }
                if (_farm is { IsSynchronous: true } && mode == PrivilegeMode.User && pc <= last) block = OptimizeNow(block);
                if (from != null)
                {
                    // Exits that can be linked lead to the same page; its mapping has not changed since.
                    if (from->Owner->Mode == block->Mode && from->Owner->Physical >> 12 == block->Physical >> 12) Link(from, block);
                    from = null;
                }
                else if (block->Dead == 0) Publish(code, block);
                entry = block->Entry;
            }
            last = pc;
            state.Engine[EngineSlots.JumpTable] = table.Address;
            int exit = enter(context, entry);
            if (t_kicked)
            {
                t_kicked = false;
                Interlocked.Decrement(ref _kicked);
            }
            switch ((BlockExit)exit)
            {
                case BlockExit.Direct:
                    from = (ExitRecord*)state.Engine[EngineSlots.ExitInfo];
                    state.Pc = from->Target;
                    break;
                case BlockExit.Indirect:
                    state.Pc = state.Engine[EngineSlots.ExitInfo] & ~1UL;
                    break;
                case BlockExit.Ecall:
                    state.Pc = ((ExitRecord*)state.Engine[EngineSlots.ExitInfo])->Target;
                    var call = new ExecutionExit(ExitKind.Trap, TrapCause.EnvironmentCall);
                    if (!unit.TryDeliver(call)) return call;
                    (mode, table) = (unit.Mode, code.Table());
                    break;
                case BlockExit.Interpret:
                    state.Pc = ((ExitRecord*)state.Engine[EngineSlots.ExitInfo])->Target;
                    if (Interpret(hart, ref state) is { } stopped && !unit.TryDeliver(stopped)) return stopped;
                    if (unit.Mode != mode || unit.Space != space) (mode, space, table) = (unit.Mode, unit.Space, code.Table());
                    break;
                case BlockExit.FloatOff:
                    state.Pc = ((ExitRecord*)state.Engine[EngineSlots.ExitInfo])->Target;
                    if (RunWithoutFloat(hart, code, ref state) is { } illegal && !unit.TryDeliver(illegal)) return illegal;
                    if (unit.Mode != mode || unit.Space != space) (mode, space, table) = (unit.Mode, unit.Space, code.Table());
                    break;
                case BlockExit.RegionPages:
                    from = null;
                    state.Pc = ((ExitRecord*)state.Engine[EngineSlots.ExitInfo])->Target;
                    chosen = CheckPages(unit, ((ExitRecord*)state.Engine[EngineSlots.ExitInfo])->Owner);
                    break;
                case BlockExit.Aborted:
                    break;
                default:
                    throw new InvalidOperationException($"translated code of a machine faulted, at host address 0x{state.FaultHostPc:x}");
            }
        }
    }

    // FloatOff exits of a hart until its FS is called Dirty.
    private const int FloatPatience = 32;

    /// <summary>A block that wants floating point was entered while FS is not Dirty, or with a rounding mode that x86 lacks: goes on in the interpreter
    /// until that changes, or for as long as a block may be. Blocks whose floating point is behind a branch that is never taken would come here for ever: where FS
    /// is not Off it becomes Dirty after some of them, as it may (Privileged manual, 3.1.6.6: dirtiness may be tracked imprecisely).</summary>
    private ExecutionExit? RunWithoutFloat(Hart hart, HartCode code, ref HartState state)
    {
        PrivilegedUnit unit = code.Unit;
        if (++code.FloatOffs >= FloatPatience && unit.FloatEnabled)
        {
            code.FloatOffs = 0;
            unit.DirtyFloat();
            if (state.FloatReady != 0) return null;
        }
        PrivilegeMode mode = unit.Mode;
        for (int i = 0; i < Ir.IrBlock.MaxGuestInstructions; i++)
        {
            if (Interpret(hart, ref state) is { } trap) return trap;
            if (state.FloatReady != 0 || unit.Mode != mode || Volatile.Read(ref state.ExitRequest) != 0) break;
        }
        return null;
    }

    private ExecutionExit? Interpret(Hart hart, ref HartState state)
    {
        Statistics.Interpreted++;
        FloatSlots.Leave(ref state);
        ExecutionExit? exit = _interpreter.StepAnew(hart, hart.Privileged!);
        FloatSlots.Enter(ref state);
        return exit;
    }

    /// <summary>About what a block would be: up to where control goes elsewhere.</summary>
    private ExecutionExit? InterpretOnce(Hart hart, PrivilegedUnit unit, ref HartState state)
    {
        PrivilegeMode mode = unit.Mode;
        ExecutionExit? exit = null;
        FloatSlots.Leave(ref state);
        for (int i = 0; i < Ir.IrBlock.MaxGuestInstructions; i++)
        {
            ulong pc = state.Pc;
            Statistics.Interpreted++;
            exit = _interpreter.StepAnew(hart, unit);
            if (exit != null || state.Pc - pc > 4 || unit.Mode != mode || Volatile.Read(ref state.ExitRequest) != 0) break;
        }
        FloatSlots.Enter(ref state);
        return exit;
    }

    /// <summary>A TLB miss in emitted code: 1 where the entry now hits.</summary>
    [UnmanagedCallersOnly]
    private static int OnMiss(HartState* state, ulong address, ulong access) =>
        t_hart!.Unit.FillTlb(address, (int)access >> MissAccess.SizeShift & MissAccess.SizeMask, (access & MissAccess.Store) != 0 ? AccessKind.Store : AccessKind.Load) ? 1 : 0;

    /// <summary>The first run of a hart on this thread.</summary>
    private HartCode Adopt(Hart hart)
    {
        lock (_lock)
        {
            HartCode? code = Array.Find(_harts, h => h.Hart == hart);
            if (code == null)
            {
                PrivilegedUnit unit = hart.Privileged ?? throw new ArgumentException("not a machine's hart", nameof(hart));
                _extensions = unit.Features.Extensions;
                _readsTime = unit.TimeOrigin != null && Host.HostClock.EntryPoint != 0;
                code = new HartCode(hart, unit, _cache);
                unit.MayStoreDirectly = page => Volatile.Read(ref _isCode[page >> 12]) == 0;
                unit.RamStored = (physical, size) => InvalidateCode(physical, size);
                unit.TranslationsFlushed = code.Forget;
                unit.InstructionsFenced = () => FenceInstructions(code);
                Volatile.Write(ref _harts, [.. _harts, code]);
                unit.FlushTranslations(); // entries that were filled before stores to code were watched
            }
            code.Host = Host.HostThread.Current;
            return t_hart = code;
        }
    }

    private BlockHeader* Find(ulong physical, ulong pc, PrivilegeMode mode)
    {
        int key = (int)mode;
        for (var block = (BlockHeader*)Volatile.Read(ref _buckets[Bucket(physical, pc)]); block != null; block = block->NextInBucket)
        {
            if (block->GuestPc == pc && block->Physical == physical && block->Mode == key && block->Dead == 0) return block;
        }
        return null;
    }

    private static int Bucket(ulong physical, ulong pc) => (int)(((pc >> 1) ^ (physical >> 12) * 0x9E3779B1) * 0x9E3779B97F4A7C15 >> 64 - BucketBits);

    /// <summary>Known heads in the page that is being translated.</summary>
    private sealed class Heads(MachineEngine engine, ulong page, PrivilegeMode mode) : IKnownHeads
    {
        public bool IsHead(ulong pc) => engine.Find(page | (pc & 4095), pc, mode) != null;
    }

    /// <summary>Translates and publishes the block at <paramref name="pc"/>; null when the cache is full. Threads that run no hart (<paramref name="code"/> is null)
    /// neither make room nor protect pages.</summary>
    private BlockHeader* Translate(HartCode? code, ulong pc, ulong physical, PrivilegeMode mode)
    {
        BlockTranslator translator = Translator();
        ulong page = (physical - _bus.RamBase) >> 12;
        while (true)
        {
            long generation = Volatile.Read(ref _generation);
            if (code != null) Protect(page);
            else if (Volatile.Read(ref _isCode[page]) == 0) return null;
            translator.Machine = new MachineCode((page << 12) - (pc & ~4095UL), _extensions, mode, _readsTime);
            BlockHeader* block = translator.Translate(_bus.Ram, pc, new Heads(this, physical & ~4095UL, mode), _options, Statistics);
            if (block == null)
            {
                if (code != null && Evict(code)) continue;
                return null;
            }
            lock (_lock)
            {
                BlockHeader* other = Find(physical, pc, mode);
                if (other == null && generation == _generation)
                {
                    translator.Keep(block);
                    block->Physical = physical;
                    block->Mode = (int)mode;
                    ref nint head = ref CollectionsMarshal.GetValueRefOrAddDefault(_pages, page, out _);
                    block->NextInPage0 = (BlockHeader*)head;
                    head = (nint)block;
                    for (int i = 0; i < block->ExitCount; i++)
                    {
                        ExitRecord* exit = block->Exits + i;
                        if (exit->Kind != 1) continue;
                        BlockLinks.AddIncoming(block, exit); // emitted linked
                        if (_farm is { IsSynchronous: true }) BlockLinks.Unlink(exit, Statistics); // shows its first round to the optimising tier
                    }
                    AddToBucket(block);
                    if (_farm != null && mode == PrivilegeMode.User) Observe(block, page);
                    return block;
                }
                Statistics.Duplicates++;
                translator.Discard();
                if (other != null) return other;
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
        foreach (HartCode hart in _harts)
        {
            hart.Unit.MayStoreDirectly = null;
            hart.Unit.RamStored = null;
            hart.Unit.TranslationsFlushed = null;
            hart.Unit.InstructionsFenced = null;
            hart.Dispose();
        }
        _interpreter.Dispose();
        _arenas.Dispose();
        _cache.Dispose();
        base.Dispose();
    }
}
