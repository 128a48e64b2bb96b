using System.Diagnostics;
using System.Runtime.CompilerServices;
using Vivarium.Host;
using Vivarium.Translation.Cache;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.FrontEnd;
using Vivarium.Translation.Ir;
using Vivarium.Translation.Passes;
using Vivarium.Translation.Quick;

namespace Vivarium.Translation;

/// <summary>One thread's way from guest code to host code: front end, passes, code generator and the arena that it fills.</summary>
internal sealed unsafe partial class BlockTranslator(CodeCache cache)
{
    private const int LargestBlock = 40 << 10; // more than the largest block's code

    private readonly SuperblockBuilder _builder = new();
    private readonly CodeGenerator _generator = new();
    private readonly IrBlock _block = new();
    private readonly QuickTranslator _quick = new();
    private ArenaSet? _arenas;
    private CodeArena? _arena;
    private ulong _cursorBefore;
    private int _count, _quickCount;
    private Statistics? _countersOf;
    private TranslationCounters _counters = null!;

    public CodeCache Cache => cache;

    /// <summary>Fills arenas of this set from now on.</summary>
    public void Use(ArenaSet arenas)
    {
        if (_arenas == arenas) return;
        if (_arena != null) _arenas!.Return(_arena);
        _arena = null;
        _arenas = arenas;
    }

    /// <summary>See <see cref="Vivarium.RiscV.Execution.Executor.MayExecute"/>; the running engine's.</summary>
    public Func<ulong, bool>? MayExecute { set => _builder.MayExecute = _quick.MayExecute = value; }

    /// <summary>The machine that code is translated for from now on; null in process mode.</summary>
    public MachineCode? Machine
    {
        set
        {
            _builder.Machine = value;
            _generator.IsMachine = value != null;
            if (value != null) _generator.Mode = value.Mode;
        }
    }

    /// <summary>Translates the superblock at <paramref name="pc"/>; it is not published yet. Null when the cache is full.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public BlockHeader* Translate(MemoryWindow memory, ulong pc, IKnownHeads heads, TranslationOptions options, Statistics statistics)
    {
        bool sampled = (++_count & 63) == 0;
        ulong clock = sampled ? ThreadTime() : 0;
        long started = Stopwatch.GetTimestamp();
        _builder.Limit = options.BlockLimit;
        _builder.Build(_block, memory, pc, heads);
        if (options.Validate) IrValidator.Validate(_block);
        bool indexed = _generator.AllowsIndexedLoads = !options.StrictMemory && !_generator.IsMachine;
        Fusion.Run(_block, indexed);
        if (_block.HasSeen(IrCode.Fence)) RedundantFences.Run(_block);
        UnseenResults.Run(_block);
        if (options.StrictMemory && !_generator.IsMachine) AddressChecks.Run(_block, memory.Size);
        if (options.Validate) IrValidator.Validate(_block);

        if (!HasArena(_generator.IsMachine ? 2 * LargestBlock : LargestBlock)) return null;
        if (!_generator.Generate(_block, cache.Stubs, (byte*)_arena!.Cursor, _arena.Remaining))
            throw new InvalidOperationException("a block's code does not fit an arena");

        BlockHeader* header = Describe();
        CountIn(statistics);
        _counters.Blocks++;
        _counters.GuestInstructions += _block.GuestCount;
        _counters.HostBytes += (long)(header->CodeEnd - header->Entry);
        _counters.Ticks += Stopwatch.GetTimestamp() - started;
        if (sampled) Sample(clock, _block.GuestCount, ref _counters.SampledNanoseconds, ref _counters.SampledInstructions);
        if (options.DumpSink is { } sink && pc >= options.DumpStart && pc < options.DumpEnd) Dump(header, options, sink);
        return header;
    }

    /// <summary>As <see cref="Translate"/>, by the quick path: for code that has yet to show that it runs often. Null also where the code is nothing for it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public BlockHeader* TranslateQuick(MemoryWindow memory, ulong pc, BlockTable heads, TranslationOptions options, Statistics statistics)
    {
        if (!HasArena(2 * QuickTranslator.MostBytes)) return null;
        // Blocks are so small that looking at the clock would be a good part of the cost: one in 16 counts for all.
        bool timed = (++_quickCount & 15) == 0, sampled = (_quickCount & 63) == 0;
        ulong clock = sampled ? ThreadTime() : 0;
        long started = timed ? Stopwatch.GetTimestamp() : 0;
        int* counter = _arena!.NewCounter(options.QuickRuns - 1);
        if (!_quick.Emit(memory, pc, heads, cache.Stubs, (byte*)_arena.Cursor, QuickTranslator.MostBytes, (ulong)counter)) return null;
        var header = (BlockHeader*)_arena.Allocate(_quick.DescriptionBytes);
        _quick.Describe(header, counter);
        _cursorBefore = _arena.Cursor;
        _arena.Cursor = (header->CodeEnd + 15) & ~15UL;
        CountIn(statistics);
        _counters.Blocks++;
        _counters.QuickBlocks++;
        _counters.GuestInstructions += _quick.Count;
        _counters.QuickInstructions += _quick.Count;
        _counters.HostBytes += (long)(header->CodeEnd - header->Entry);
        if (timed)
        {
            long ticks = 16 * (Stopwatch.GetTimestamp() - started);
            _counters.Ticks += ticks;
            _counters.QuickTicks += ticks;
        }
        if (sampled) Sample(clock, _quick.Count, ref _counters.QuickSampledNanoseconds, ref _counters.QuickSampledInstructions);
        if (options.DumpSink is { } sink && pc >= options.DumpStart && pc < options.DumpEnd) DumpQuick(header, options, sink);
        return header;
    }

    private void CountIn(Statistics statistics)
    {
        if (_countersOf != statistics) (_countersOf, _counters) = (statistics, statistics.NewTranslator());
    }

    private const int ThreadCpuTime = 3; // CLOCK_THREAD_CPUTIME_ID

    private static ulong ThreadTime() => HostClock.Nanoseconds(ThreadCpuTime);

    private static void Sample(ulong started, int count, ref long nanoseconds, ref long instructions)
    {
        ulong now = ThreadTime();
        // What the clock itself costs, once, is not translation.
        ulong cost = ThreadTime() - now;
        nanoseconds += (long)Math.Max(now - started, cost) - (long)cost;
        instructions += count;
    }

    /// <summary>Sees to room for one block; false when the cache is full.</summary>
    private bool HasArena(int room)
    {
        if (_arena == null || _arena.Remaining < room)
        {
            if (_arena != null) _arena.IsFilling = false;
            _arena = _arenas!.Take(room);
            if (_arena == null) return false;
        }
        _arena.Prepare();
        return true;
    }

    /// <summary>Makes the last translated block findable by host address.</summary>
    public void Keep(BlockHeader* header) => _arena!.Add(header);

    /// <summary>Takes the last translated block's code back: somebody else was faster.</summary>
    public void Discard() => _arena!.Cursor = _cursorBefore;

    private BlockHeader* Describe()
    {
        int exits = _generator.RecordCount, targets = _generator.ExitCount - exits, faults = _generator.FaultCount, runs = _block.RunCount;
        int bytes = sizeof(BlockHeader) + exits * sizeof(ExitRecord) + runs * sizeof(GuestRun) + faults * sizeof(FaultPoint) + targets * sizeof(ulong);
        var header = (BlockHeader*)_arena!.Allocate(bytes);
        *header = default;
        var exitRecords = (ExitRecord*)(header + 1);
        var exitTargets = (ulong*)(exitRecords + exits);
        var guestRuns = (GuestRun*)(exitTargets + targets);
        var faultPoints = (FaultPoint*)(guestRuns + runs);
        _generator.Describe(header, exitRecords, faultPoints, exitTargets);
        header->Runs = guestRuns;
        header->RunCount = runs;
        ulong hash = GuestHash.Start;
        header->Page0 = _block.Start >> 12;
        header->Page1 = ulong.MaxValue;
        for (int i = 0; i < runs; i++)
        {
            (ulong start, int length) = _block.Runs[i];
            guestRuns[i] = new GuestRun { Start = start, Length = length };
            ulong first = start >> 12, last = start + (ulong)Math.Max(length, 1) - 1 >> 12;
            if (first != header->Page0) header->Page1 = first;
            if (last != header->Page0) header->Page1 = last;
        }
        for (int i = 0; i < _block.GuestCount; i++) hash = GuestHash.Add(hash, _block.Guest[i]);
        header->GuestHash = hash;
        _cursorBefore = _arena.Cursor;
        _arena.Cursor = (header->CodeEnd + 15) & ~15UL;
        return header;
    }

    private void Dump(BlockHeader* header, TranslationOptions options, Action<string> sink)
    {
        sink((options.DumpIr ? IrDumper.Dump(_block) : "") + Disassemble(header, options));
    }

    private void DumpQuick(BlockHeader* header, TranslationOptions options, Action<string> sink) =>
        sink((options.DumpIr ? $"quick block 0x{header->GuestPc:x} ({_quick.Count} instructions)\n" : "") + Disassemble(header, options));

    private static string Disassemble(BlockHeader* header, TranslationOptions options) =>
        options.Disassemble?.Invoke(new ReadOnlySpan<byte>((void*)header->Entry, (int)(header->CodeEnd - header->Entry)), header->Entry) ?? "";
}
