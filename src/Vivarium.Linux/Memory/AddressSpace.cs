using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Memory;

/// <summary>A guest address space: the window, its executor and the table of mappings.</summary>
/// <remarks>
/// Thread-safe. Lock order of the memory subsystem: realm, process, <c>AddressSpace</c>'s lock, executor's locks. Nothing waits for a guest
/// or for input with the address space's lock held. The executor never takes it: <see cref="IsExecutable"/> reads a snapshot.
/// </remarks>
/// <remarks>
/// The layout is Linux's for Sv39 without randomisation: program low or at <see cref="PieBase"/>, brk heap behind it, file mappings of
/// libraries at addresses that depend on the file only (<see cref="LibraryPlacement"/>), everything else top-down below the stack.
/// </remarks>
public sealed partial class AddressSpace : IDisposable
{
    /// <summary>Sv39 user space: what a window has where nothing else is asked for.</summary>
    public const ulong WindowSize = 256UL << 30;

    public const ulong PageSize = 4096;

    /// <summary>Lowest address that mmap gives or takes (vm.mmap_min_addr).</summary>
    public const ulong Lowest = 0x10000;

    /// <summary>The largest window that can be asked for: 16 TiB.</summary>
    public const ulong LargestWindow = 16UL << 40;

    /// <summary>Bytes of this address space.</summary>
    public ulong Size => Window.Size;

    /// <summary>First address above the stack.</summary>
    public ulong StackTop => Window.Size - 0x10000;

    /// <summary>Where position-independent programs go: two thirds of the address space, as in Linux.</summary>
    public ulong PieBase => Window.Size / 3 * 2 & ~0xFFFUL;

    private readonly Lock _lock = new();
    private readonly VmaTable _table = new();
    private readonly LibraryPlacement? _placement;
    private (ulong Start, ulong End)[] _executable = [];
    private ulong _mmapTop;
    private int _users = 1;
    private GuestSymbols? _symbols;

    public AddressSpace(MemoryWindow window, Executor executor, LibraryPlacement? placement = null)
    {
        Window = window;
        _mmapTop = StackTop - (128UL << 20);
        Executor = executor;
        _placement = placement;
        executor.MayExecute = IsExecutable;
        executor.NameCode = address => (_symbols ??= new GuestSymbols(this)).Name(address);
    }

    /// <summary>The memory itself.</summary>
    public MemoryWindow Window { get; }

    /// <summary>What executes the code in this address space.</summary>
    public Executor Executor { get; }

    /// <summary>Another process uses this address space too (vfork).</summary>
    public void AddUser() => Interlocked.Increment(ref _users);

    /// <summary>More than one process uses it.</summary>
    public bool IsShared => Volatile.Read(ref _users) > 1;

    /// <summary>A process is done with it; the last one gives everything back.</summary>
    public void Release()
    {
        if (Interlocked.Decrement(ref _users) == 0) Dispose();
    }

    /// <summary>Whether the guest may execute at <paramref name="address"/>. Lock-free: reads the newest published snapshot.</summary>
    public bool IsExecutable(ulong address)
    {
        var ranges = Volatile.Read(ref _executable);
        int low = 0, high = ranges.Length;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (ranges[middle].End > address) high = middle;
            else low = middle + 1;
        }
        return low < ranges.Length && ranges[low].Start <= address;
    }

    /// <summary>The mapping at an address, for fault codes and reports.</summary>
    public Vma? Find(ulong address)
    {
        lock (_lock) return _table.Find(address);
    }

    /// <summary>A copy of all mappings.</summary>
    public List<Vma> Mappings()
    {
        lock (_lock) return _table.Within(0, Size);
    }

    /// <summary>Total of mapped bytes and of private writable ones, for /proc/self/statm and status.</summary>
    public (ulong Total, ulong Data) Usage()
    {
        lock (_lock) return UsageLocked();
    }

    /// <summary>Writes <c>/proc/self/maps</c>.</summary>
    public void WriteMaps(TextWriter writer)
    {
        Vma? pending = null;
        foreach (var next in Mappings())
        {
            // What a fork froze is still anonymous memory to the guest, and one mapping with what grew on it since.
            var thawed = next.Thawed();
            if (pending != null && pending.Joins(thawed)) pending = pending with { End = thawed.End };
            else
            {
                WriteMapping(writer, pending);
                pending = thawed;
            }
        }
        WriteMapping(writer, pending);
    }

    private static void WriteMapping(TextWriter writer, Vma? vma)
    {
        if (vma == null) return;
        {
            var identity = vma.File?.Identity ?? default;
            var p = vma.Protection;
            string line = $"{vma.Start:x8}-{vma.End:x8} {((p & Protection.Read) != 0 ? 'r' : '-')}{((p & Protection.Write) != 0 ? 'w' : '-')}" +
                $"{((p & Protection.Execute) != 0 ? 'x' : '-')}{(vma.IsShared ? 's' : 'p')} {vma.FileOffset:x8} " +
                $"{Major(identity.Device):x2}:{Minor(identity.Device):x2} {identity.Inode} ";
            string? name = vma.File?.Path ?? vma.Name;
            writer.Write(name == null ? line : line.PadRight(73) + name);
            writer.Write('\n');
        }
    }

    private static ulong Major(ulong device) => (device >> 8 & 0xfff) | (device >> 32 & ~0xfffUL);

    private static ulong Minor(ulong device) => (device & 0xff) | (device >> 12 & ~0xffUL);

    /// <summary>What the host maps for a guest protection: the host never executes guest pages, and whatever the guest may execute or
    /// write it may read.</summary>
    private static Protection HostProtection(Protection protection) =>
        (protection & Protection.Write) != 0 ? Protection.Read | Protection.Write
        : protection == Protection.None ? Protection.None : Protection.Read;

    private void PublishExecutable()
    {
        var ranges = new List<(ulong Start, ulong End)>();
        for (int i = 0; i < _table.Count; i++)
        {
            if (!_table[i].IsExecutable) continue;
            if (ranges.Count > 0 && ranges[^1].End == _table[i].Start) ranges[^1] = (ranges[^1].Start, _table[i].End);
            else ranges.Add((_table[i].Start, _table[i].End));
        }
        Volatile.Write(ref _executable, ranges.ToArray());
    }

    /// <summary>Tells the executor about a changed range. <paramref name="before"/>: whether code was executable there.</summary>
    private void CodeChanged(ulong start, ulong end, bool before)
    {
        bool after = _table.AnyExecutable(start, end);
        if (!before && !after) return;
        PublishExecutable();
        Executor.InvalidateCode(start, end - start);
        if (after) AnnounceCode(start, end);
    }

    private void AnnounceCode(ulong start, ulong end)
    {
        foreach (var vma in _table.Within(start, end))
        {
            if (vma.IsExecutable && vma.File is { IsRegular: true } file && (vma.Flags & (VmaFlags.Shared | VmaFlags.MayDiffer)) == 0)
                Executor.MapCode(vma.Start, vma.Length, file.Identity, vma.FileOffset);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _table.Clear();
            _lastFile?.Release();
            _lastFile = null;
            Executor.Dispose();
            Window.Dispose();
        }
    }
}
