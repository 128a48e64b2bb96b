using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Persistence;

namespace Vivarium.Translation.Cache;

/// <summary>
/// The memory that translated code lives in: one reservation, the dispatch stubs at its start, then arenas that translating threads
/// take for themselves. Shared by the engines (address spaces) of a realm.
/// </summary>
/// <remarks>Thread-safe.</remarks>
public sealed unsafe class CodeCache : IDisposable
{
    /// <summary>Bytes reserved by default.</summary>
    public const ulong DefaultSize = 256UL << 20;

    private const ulong ArenaSize = 256UL << 10;

    private readonly CodeMemory _memory;
    private readonly CodeArena?[] _arenas;
    private readonly ConcurrentBag<BlockTranslator> _idle = [];
    private readonly uint* _emptyTable;
    private readonly ulong _arenasStart;
    private readonly ConcurrentBag<CodeArena> _free = [];
    private readonly Lazy<RegionMemory> _regions;
    private int _arenaCount, _freeCount;

    // Processes come and go: what so many small ones had of code is kept as it is for the next ones, what was more goes back to the host.
    private const int ArenasKept = 16, ChunksKept = 64, TablesKept = 16;
    private readonly PagePool _chunks = new(CodeArena.Step, ChunksKept, cleared: false);

    /// <param name="size">Bytes to reserve, at most 1 GiB; 1 MiB at least.</param>
    /// <param name="isMachine">For code of machines.</param>
    /// <exception cref="OutOfMemoryException">The host has no such range left.</exception>
    public CodeCache(ulong size = DefaultSize, bool isMachine = false)
    {
        size = Math.Clamp(size, 1UL << 20, 1UL << 30);
        size = (size + 4095) & ~4095UL;
        _memory = CodeMemory.Reserve(size + RegionMemory.Size);
        Stubs = new StubTable(_memory, isMachine);
        _arenasStart = _memory.Base + StubTable.Size;
        _arenas = new CodeArena?[(int)((size - StubTable.Size) / ArenaSize)];
        _emptyTable = (uint*)NativeMemory.AllocZeroed((nuint)JumpTable.OffsetMask + 4);
        FaultHandler.EnsureInstalled();
        FaultHandler.Register(new CodeRegion(
            Stubs.RegionStart, _memory.Base + size, RegisterMap.ContextBias,
            HartStateLayout.FaultHostPc, HartStateLayout.FaultHostAddress, HartStateLayout.FaultSignal, Stubs.FaultStub,
            HartStateLayout.KickHostPc, Stubs.KickStub));
        _regions = new Lazy<RegionMemory>(() => new RegionMemory(_memory, size, Stubs.RegionFaultStub));
    }

    /// <summary>Where regions of the optimising tier live.</summary>
    internal RegionMemory Regions => _regions.Value;

    internal StubTable Stubs { get; }

    /// <summary>Memory of jump tables.</summary>
    internal PagePool Tables { get; } = new(JumpTable.Size, TablesKept, cleared: true);

    /// <summary>What all engines on this cache did.</summary>
    public Statistics Statistics { get; } = new();

    /// <summary>Where translations are kept from run to run; null for nowhere. The owner of the cache saves it.</summary>
    public TranslationStore? Store
    {
        get;
        init
        {
            field = value;
            if (value != null) value.Statistics = Statistics;
        }
    }

    /// <summary>A jump table in which nothing is found: kicks switch harts to it.</summary>
    internal ulong EmptyTable => (ulong)_emptyTable;

    /// <summary>Bytes of arenas taken so far.</summary>
    public long BytesInUse => Volatile.Read(ref _arenaCount) * (long)ArenaSize;

    /// <summary>A translator for the calling thread; give it back with <see cref="Return"/>.</summary>
    internal BlockTranslator Rent() => _idle.TryTake(out BlockTranslator? translator) ? translator : new BlockTranslator(this);

    internal void Return(BlockTranslator translator) => _idle.Add(translator);

    /// <summary>A fresh arena, or null when the cache is full.</summary>
    internal CodeArena? TakeArena()
    {
        if (_free.TryTake(out CodeArena? free))
        {
            Interlocked.Decrement(ref _freeCount);
            return free;
        }
        int index = Interlocked.Increment(ref _arenaCount) - 1;
        if (index >= _arenas.Length)
        {
            Interlocked.Decrement(ref _arenaCount);
            return null;
        }
        ulong offset = StubTable.Size + (ulong)index * ArenaSize;
        _memory.Commit(offset, ArenaSize);
        var arena = new CodeArena(_memory.Base + offset, _memory.Base + offset + ArenaSize, _chunks);
        Volatile.Write(ref _arenas[index], arena);
        return arena;
    }

    /// <summary>Takes an arena back for the next <see cref="TakeArena"/>; no thread is inside any more.</summary>
    internal void GiveBack(CodeArena arena)
    {
        arena.Clear();
        if (Interlocked.Increment(ref _freeCount) > ArenasKept)
        {
            _memory.Decommit(arena.Start - _memory.Base, arena.End - arena.Start);
            arena.Decommitted();
        }
        _free.Add(arena);
    }

    /// <summary>The block whose code holds a host address, or null.</summary>
    internal BlockHeader* Find(ulong hostPc)
    {
        if (hostPc < _arenasStart) return null;
        ulong index = (hostPc - _arenasStart) / ArenaSize;
        if (index >= (ulong)_arenas.Length) return null;
        CodeArena? arena = Volatile.Read(ref _arenas[index]);
        return arena == null ? null : arena.Find(hostPc);
    }

    /// <summary>Frees everything. No thread may run translated code any more.</summary>
    public void Dispose()
    {
        FaultHandler.Unregister(Stubs.RegionStart);
        foreach (CodeArena? arena in _arenas) arena?.Dispose();
        _chunks.Dispose();
        Tables.Dispose();
        if (_regions.IsValueCreated) _regions.Value.Dispose();
        _memory.Dispose();
        NativeMemory.Free(_emptyTable);
    }
}
