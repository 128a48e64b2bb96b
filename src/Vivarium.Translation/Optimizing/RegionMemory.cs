using Vivarium.Host;
using Vivarium.Translation.Optimizing.Llvm;

namespace Vivarium.Translation.Optimizing;

/// <summary>
/// Where the code of regions lives: apart from tier 1's, because faults are found otherwise there. Every region keeps a frame pointer, so at
/// a fault rbp points at the saved rbp (tier 1's context), behind which stand the return address and the scratch words of the dispatcher's frame; the
/// fault handler writes into those. Kicks do not concern regions: they poll.
/// </summary>
/// <remarks>Thread-safe. Code is never moved; room is not reused before the whole memory goes.</remarks>
internal sealed unsafe class RegionMemory : IDisposable
{
    /// <summary>Offsets from a region's rbp.</summary>
    public const int FaultHostPcOffset = 16, FaultAddressOffset = 24, FaultSignalOffset = 32;

    /// <summary>Bytes that it takes of the code cache's reservation.</summary>
    public const ulong Size = 64UL << 20;

    private const ulong Chunk = 256UL << 10;

    private readonly CodeMemory _memory;
    private readonly ulong _offset, _base;
    private readonly Lock _lock = new();
    private ulong _used, _committed;

    /// <param name="memory">The code cache's reservation: jumps reach tier 1's code.</param>
    /// <param name="offset">Where its part begins.</param>
    /// <param name="faultStub">Where faults go on.</param>
    public RegionMemory(CodeMemory memory, ulong offset, ulong faultStub)
    {
        (_memory, _offset, _base) = (memory, offset, memory.Base + offset);
        FaultHandler.Register(new CodeRegion(_base, _base + Size, 0, FaultHostPcOffset, FaultAddressOffset, FaultSignalOffset, faultStub, 0, 0));
    }

    /// <summary>Loads an object's code.</summary>
    /// <exception cref="InvalidOperationException">It needs something that is not there.</exception>
    public RegionCode Load(ElfObject code, string function)
    {
        Span<byte> room = Take(code.Size, out ulong place);
        if (room.IsEmpty) return default;
        (ulong address, int length) = code.Load(room, place, function);
        return new RegionCode(place, code.Size, (int)(address - place), length);
    }

    /// <summary>Loads code that needs no relocation; its address, or 0 when there is no room.</summary>
    public ulong Load(ReadOnlySpan<byte> code)
    {
        Span<byte> room = Take(code.Length, out ulong place);
        if (room.IsEmpty) return 0;
        code.CopyTo(room);
        return place;
    }

    private Span<byte> Take(int size, out ulong place)
    {
        place = 0;
        ulong at;
        lock (_lock)
        {
            at = (_used + 63) & ~63UL;
            ulong end = at + (ulong)size;
            if (end > Size) return default;
            if (end > _committed)
            {
                ulong more = (end - _committed + Chunk - 1) / Chunk * Chunk;
                more = Math.Min(more, Size - _committed);
                _memory.Commit(_offset + _committed, more);
                _committed += more;
            }
            _used = end;
        }
        // SAFETY: the range is committed and this call's alone.
        place = _base + at;
        return new Span<byte>((void*)place, size);
    }

    private readonly Lock _faultLock = new();
    private readonly List<RegionFaults> _faults = []; // by their addresses

    /// <summary>A region with exact faults comes into service.</summary>
    public void Add(RegionFaults faults)
    {
        lock (_faultLock)
        {
            int at = _faults.Count; // mostly the last one
            while (at > 0 && _faults[at - 1].Start > faults.Start) at--;
            _faults.Insert(at, faults);
        }
    }

    /// <summary>What is known of faults of the region that a host address lies in; null where they are not exact.</summary>
    public RegionFaults? FaultsAt(ulong hostPc)
    {
        lock (_faultLock)
        {
            int low = 0, high = _faults.Count;
            while (low < high)
            {
                int middle = (low + high) >>> 1;
                if (_faults[middle].End <= hostPc) low = middle + 1;
                else high = middle;
            }
            return low < _faults.Count && _faults[low].Start <= hostPc ? _faults[low] : null;
        }
    }

    public void Dispose() => FaultHandler.Unregister(_base);
}
