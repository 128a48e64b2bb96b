using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

/// <summary>
/// A reserved range of host addresses in which somebody else's memory lives, addressed by offset. Nothing here dereferences the
/// contents from C#: every access goes through emitted copy stubs with fault fix-up or through host syscalls (which answer EFAULT), so an
/// unmapped or protected page is a <c>false</c>, never a crash.
/// </summary>
/// <remarks>
/// Thread-safe; what concurrent remapping does to a concurrent access is what the hardware would do. Only <see cref="Dispose"/> must
/// come after everything else. This file maps and unmaps; <c>MemoryWindow.Access.cs</c> and <c>MemoryWindow.Bulk.cs</c> load, store and copy.
/// </remarks>
public sealed unsafe partial class MemoryWindow : IDisposable
{
    /// <summary>Inaccessible bytes on each side, so that emitted code may add a 32-bit displacement to a checked offset.</summary>
    public const ulong GuardSize = 4UL << 30;

    private const ulong HugePageSize = 2UL << 20;

    // Only one Move at a time, so that two of them cannot use the same scratch address.
    private readonly Lock _moving = new();
    private readonly ulong _base;
    private readonly ulong _size;
    private readonly ulong _reservation;
    private readonly ulong _reservationSize;
    private readonly CopyStubs _stubs;
    private bool _disposed;

    // Where windows should go, from 1 to 84 TiB: only hints, the kernel knows what is free.
    private const long HintStart = 0x0100_0000_0000, HintEnd = 0x5400_0000_0000, HintStep = 1L << 30;
    private const int HintTries = 16;

    private MemoryWindow(ulong start, ulong size, ulong reservation, ulong reservationSize)
    {
        (_base, _size, _reservation, _reservationSize) = (start, size, reservation, reservationSize);
        _stubs = StubPage.Copy;
    }

    /// <summary>Reserves <paramref name="size"/> bytes (multiple of 4096) with inaccessible guard space on both sides. The base is
    /// 2 MiB aligned, so that huge pages line up with offsets.</summary>
    /// <exception cref="OutOfMemoryException">The host has no such range left.</exception>
    public static MemoryWindow Reserve(ulong size)
    {
        if (size == 0 || size % PageSize != 0 || size > 1UL << 46)
            throw new ArgumentOutOfRangeException(nameof(size), size, "must be a multiple of 4096 up to 64 TiB");
        FaultHandler.EnsureInstalled();
        var reservation = size + 2 * GuardSize + HugePageSize;
        // Emitted code adds any 64-bit number to the base: a wild guest pointer should meet nothing there. So windows lie far from where the
        // kernel puts programs, libraries, stacks and heaps, and anywhere: what is mapped of them is thinly spread over all that room.
        long start = -1;
        for (var attempt = 0; attempt < HintTries; attempt++)
        {
            var places = (HintEnd - HintStart - (long)reservation) / HintStep;
            var hint = places > 0 ? HintStart + Random.Shared.NextInt64(places) * HintStep : 0;
            var flags = MapPrivate | LinuxConstants.MapAnonymous | MapNoReserve | (places > 0 && attempt < HintTries - 1 ? MapFixedNoReplace : 0);
            start = HostSyscall.Invoke(SysMmap, hint, (long)reservation, 0, flags, -1, 0);
            if (start >= 0) break;
        }
        if (start < 0) throw new OutOfMemoryException($"cannot reserve {size >> 20} MiB of address space for a memory window: errno {-start}");
        var first = ((ulong)start + GuardSize + HugePageSize - 1) & ~(HugePageSize - 1);
        return new MemoryWindow(first, size, (ulong)start, reservation);
    }

    /// <summary>Bytes in the window; offsets are 0..Size-1.</summary>
    public ulong Size => _size;

    /// <summary>Host address of offset 0. For emitted code only.</summary>
    public ulong HostBase => _base;

    /// <summary>The host address of a range, checked against the bounds only. Only to be passed to a host syscall, which answers EFAULT
    /// where the memory is not accessible.</summary>
    /// <returns>False where the range is not wholly inside the window.</returns>
    public bool TryGetHostAddress(ulong offset, ulong length, out long address)
    {
        address = (long)(_base + offset);
        if (offset <= _size && length <= _size - offset) return true;
        address = 0;
        return false;
    }

    // Mapping. Offsets and lengths are page multiples; the result is 0 or a negative errno.

    /// <summary>Maps zeroes over the range; <paramref name="noReserve"/> (MAP_NORESERVE) does not count them against the host's commit limit.</summary>
    public int MapAnonymous(ulong offset, ulong length, Protection protection, bool shared = false, bool noReserve = false) =>
        Map(offset, length, protection, (shared ? MapShared : MapPrivate) | LinuxConstants.MapAnonymous | (noReserve ? MapNoReserve : 0), -1, 0);

    /// <summary>Maps a file over the range. Pages beyond the file's end fault with SIGBUS.</summary>
    public int MapFile(ulong offset, ulong length, Protection protection, int fileDescriptor, ulong fileOffset, bool shared) =>
        Map(offset, length, protection, shared ? MapShared : MapPrivate, fileDescriptor, fileOffset);

    private int Map(ulong offset, ulong length, Protection protection, int flags, int fileDescriptor, ulong fileOffset)
    {
        if (length == 0) return -EInval;
        var check = CheckRange(offset, length);
        if (check != 0) return check;
        var result = HostSyscall.Invoke(SysMmap, (long)(_base + offset), (long)length, HostProtection(protection), flags | MapFixed,
            fileDescriptor, (long)fileOffset);
        return result < 0 ? (int)result : 0;
    }

    /// <summary>Gives the range back to the reservation: inaccessible, contents dropped.</summary>
    public int Unmap(ulong offset, ulong length) =>
        Map(offset, length, Protection.None, MapPrivate | LinuxConstants.MapAnonymous | MapNoReserve, -1, 0);

    /// <summary>Makes zeroes accessible where nothing is mapped: cheaper than a mapping of its own over the reservation.</summary>
    public int Open(ulong offset, ulong length, Protection protection) => Protect(offset, length, protection);

    /// <summary>Gives private memory without a file back as <see cref="Open"/> took it: cheaper than <see cref="Unmap"/> where the kernel's mapping need not
    /// be made anew. What madvise set for the mapping stays.</summary>
    public int Close(ulong offset, ulong length)
    {
        const int DontNeed = 4;
        // Dropping pages before the protection changes spares the kernel the change of each. The second look is for a thread that still wrote in
        // between: it must not leave a page behind for who opens the range next.
        int error = Advise(offset, length, DontNeed);
        if (error >= 0) error = Protect(offset, length, Protection.None);
        return error < 0 ? error : Advise(offset, length, DontNeed);
    }

    /// <summary>mprotect. The caller knows what is mapped: on reserved pages this would map zeroes.</summary>
    public int Protect(ulong offset, ulong length, Protection protection)
    {
        var check = CheckRange(offset, length);
        return check != 0 ? check : (int)HostSyscall.Invoke(SysMprotect, (long)(_base + offset), (long)length, HostProtection(protection));
    }

    /// <summary>madvise with the kernel's advice number.</summary>
    public int Advise(ulong offset, ulong length, int advice)
    {
        var check = CheckRange(offset, length);
        return check != 0 ? check : (int)HostSyscall.Invoke(SysMadvise, (long)(_base + offset), (long)length, advice);
    }

    /// <summary>msync with the kernel's flags. May wait for the disk; the GC is not held up.</summary>
    public int Sync(ulong offset, ulong length, int flags)
    {
        var check = CheckRange(offset, length);
        return check != 0 ? check : (int)HostSyscall.Invoke(SysMsync, (long)(_base + offset), (long)length, flags);
    }

    /// <summary>Moves mapped pages of one mapping (mremap MAYMOVE|FIXED) and resizes it; the old range returns to the reservation and
    /// what was at the new one is replaced. The ranges must not overlap (-EINVAL): growing or shrinking in place is mapping or unmapping the tail.</summary>
    public int Move(ulong offset, ulong length, ulong newOffset, ulong newLength)
    {
        if (length == 0 || newLength == 0) return -EInval;
        var check = CheckRange(offset, length);
        if (check == 0) check = CheckRange(newOffset, newLength);
        if (check != 0) return check;
        if (offset < newOffset + newLength && newOffset < offset + length) return -EInval;
        lock (_moving)
        {
            // A plain mremap would leave a hole in the window that any other mmap of this process could land in; DONTUNMAP leaves the
            // (emptied) mapping behind until the reservation covers it.
            var moved = newLength <= length
                ? Remap(_base + offset, newLength, newLength, MremapDontUnmap, _base + newOffset)
                : MoveAndGrow(_base + offset, length, _base + newOffset, newLength);
            if (moved == -EInval) // mappings and kernels that cannot DONTUNMAP: the hole lasts until the next line
                moved = Remap(_base + offset, length, newLength, 0, _base + newOffset);
            return moved < 0 ? (int)moved : Unmap(offset, length);
        }
    }

    /// <summary>DONTUNMAP cannot resize, so pages that grow go through a scratch range outside the window.</summary>
    private static long MoveAndGrow(ulong from, ulong length, ulong to, ulong newLength)
    {
        var scratch = HostSyscall.Invoke(SysMmap, 0, (long)length, 0, MapPrivate | LinuxConstants.MapAnonymous | MapNoReserve, -1, 0);
        if (scratch < 0) return scratch;
        var moved = Remap(from, length, length, MremapDontUnmap, (ulong)scratch);
        if (moved >= 0)
        {
            moved = Remap((ulong)scratch, length, newLength, 0, to);
            if (moved >= 0) return moved;
            Remap((ulong)scratch, length, length, 0, from); // no memory to grow: put it back
            return moved;
        }
        HostSyscall.Invoke(SysMunmap, scratch, (long)length);
        return moved;
    }

    private static long Remap(ulong from, ulong length, ulong newLength, int flags, ulong to) =>
        HostSyscall.Invoke(SysMremap, (long)from, (long)length, (long)newLength, MremapMayMove | MremapFixed | flags, (long)to);

    /// <summary>Releases the whole range. Nothing may use the window afterwards.</summary>
    public void Dispose()
    {
        if (_disposed) return;
        _disposed = true;
        HostSyscall.Invoke(SysMunmap, (long)_reservation, (long)_reservationSize);
    }

    private int CheckRange(ulong offset, ulong length)
    {
        if (((offset | length) & (PageSize - 1)) != 0) return -EInval;
        return offset <= _size && length <= _size - offset ? 0 : -ENoMem;
    }

    private static int HostProtection(Protection protection)
    {
        var host = (int)protection & (ProtRead | ProtWrite);
        return (protection & Protection.Execute) != 0 ? host | ProtRead : host;
    }
}
