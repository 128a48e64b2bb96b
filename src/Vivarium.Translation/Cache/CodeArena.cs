using System.Runtime.InteropServices;
using Vivarium.Host;

namespace Vivarium.Translation.Cache;

/// <summary>A piece of the code cache that one thread fills with blocks, with the blocks' metadata beside it.</summary>
internal sealed unsafe class CodeArena : IDisposable
{
    /// <summary>Pages come by so many bytes, which costs two thirds of what faults do; but one by one in the first bytes of a process's first arena and for
    /// the first chunks of its metadata, so that a small program has no more than it needs.</summary>
    public const int Step = 64 << 10;

    private const int OneByOne = 128 << 10, ChunksOneByOne = 4;
    private const ulong PageSize = 4096;

    /// <param name="start">First byte.</param>
    /// <param name="end">Behind the last.</param>
    /// <param name="pool">Gives pieces of <see cref="Step"/> bytes for metadata.</param>
    public CodeArena(ulong start, ulong end, PagePool pool) => (Start, End, Cursor, _counters, _populated, _pool) = (start, end, start, end, start, pool);

    private readonly PagePool _pool;

    private readonly List<nint> _chunks = [], _large = [];
    private byte* _chunk, _chunkEnd;
    private nint[] _blocks = new nint[64];
    private int _blockCount;
    private ulong _populated; // pages up to here need not be asked for
    private ulong _counters; // the words that quick blocks count in grow downwards from the end

    public ulong Start { get; }
    public ulong End { get; }

    /// <summary>Where the next block's code goes, 16-byte aligned.</summary>
    public ulong Cursor { get; set; }

    /// <summary>Before a block is emitted at <see cref="Cursor"/>: sees to pages for it and for the next ones.</summary>
    public void Prepare()
    {
        if (Cursor + PageSize <= _populated || (IsFirst && Cursor < Start + OneByOne)) return;
        ulong begin = Math.Max(_populated, Cursor & ~(PageSize - 1)), end = Math.Min(begin + Step, _counters & ~(PageSize - 1));
        if (end <= begin) return;
        CodeMemory.Populate(begin, end);
        _populated = end;
    }


    /// <summary>Its address space has no other arena yet.</summary>
    public bool IsFirst { get; set; }

    /// <summary>A thread adds blocks to it.</summary>
    public bool IsFilling { get; set; }

    /// <summary>Bytes for code. Counters are on pages of their own: the processor takes a store near code that runs for a change of the code.</summary>
    public int Remaining => (int)((_counters & ~4095UL) - Cursor);

    /// <summary>A word for a quick block to count in, within reach of its code.</summary>
    public int* NewCounter(int value)
    {
        // SAFETY: the arena's memory, which no code takes: see Remaining.
        var counter = (int*)(_counters -= sizeof(int));
        *counter = value;
        return counter;
    }

    /// <summary>Blocks in order of their code.</summary>
    public ReadOnlySpan<nint> Blocks => new(_blocks, 0, Volatile.Read(ref _blockCount));

    /// <summary>Zeroed-or-not metadata that lives as long as the arena's contents; 8-byte aligned.</summary>
    public void* Allocate(int bytes)
    {
        bytes = (bytes + 15) & ~15;
        if (_chunkEnd - _chunk < bytes)
        {
            if (bytes > Step)
            {
                void* large = NativeMemory.Alloc((nuint)bytes);
                _large.Add((nint)large);
                return large;
            }
            bool small = IsFirst && _chunks.Count < ChunksOneByOne;
            _chunk = (byte*)_pool.Rent();
            _chunkEnd = _chunk + Step;
            if (!small) CodeMemory.Populate((ulong)_chunk, (ulong)_chunkEnd);
            _chunks.Add((nint)_chunk);
        }
        byte* p = _chunk;
        _chunk += bytes;
        return p;
    }

    /// <summary>Publishes a block to <see cref="Find"/>. Only from the thread that fills the arena.</summary>
    public void Add(BlockHeader* block)
    {
        if (_blockCount == _blocks.Length)
        {
            var bigger = new nint[_blocks.Length * 2];
            _blocks.CopyTo(bigger, 0);
            Volatile.Write(ref _blocks, bigger);
        }
        _blocks[_blockCount] = (nint)block;
        Volatile.Write(ref _blockCount, _blockCount + 1);
    }

    /// <summary>The block whose code holds <paramref name="hostPc"/>, or null. From any thread.</summary>
    public BlockHeader* Find(ulong hostPc)
    {
        int high = Volatile.Read(ref _blockCount) - 1, low = 0;
        nint[] blocks = Volatile.Read(ref _blocks);
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            var block = (BlockHeader*)blocks[middle];
            if (hostPc < block->Entry) high = middle - 1;
            else if (hostPc >= block->CodeEnd) low = middle + 1;
            else return block;
        }
        return null;
    }

    /// <summary>Its pages are gone: they come anew.</summary>
    public void Decommitted() => _populated = Start;

    /// <summary>Forgets everything; no thread may be inside.</summary>
    public void Clear()
    {
        Volatile.Write(ref _blockCount, 0);
        Cursor = Start;
        _counters = End;
        Dispose();
    }

    public void Dispose()
    {
        foreach (nint chunk in _chunks) _pool.Return(chunk);
        foreach (nint piece in _large) NativeMemory.Free((void*)piece);
        _chunks.Clear();
        _large.Clear();
        _chunk = _chunkEnd = null;
    }
}
