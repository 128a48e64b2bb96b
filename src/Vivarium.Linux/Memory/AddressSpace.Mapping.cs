using Vivarium.Host;

namespace Vivarium.Linux.Memory;

/// <summary>MAP_* bits of mmap (asm-generic/mman.h).</summary>
[Flags]
public enum MapFlags
{
    None = 0,
    Shared = 0x01,
    Private = 0x02,
    SharedValidate = 0x03,
    TypeMask = 0x0f,
    Fixed = 0x10,
    Anonymous = 0x20,
    GrowsDown = 0x100,
    DenyWrite = 0x800,
    Locked = 0x2000,
    NoReserve = 0x4000,
    Populate = 0x8000,
    Stack = 0x20000,
    HugeTlb = 0x40000,
    FixedNoReplace = 0x100000,
}

// mmap, munmap, mprotect, brk.
public sealed partial class AddressSpace
{
    private ulong _brkStart, _brk;
    private MappedFile? _lastFile;

    /// <summary>
    /// mmap. With <see cref="MapFlags.Anonymous"/> <paramref name="file"/> is null. The table takes its own reference on the file.
    /// </summary>
    /// <returns>The address, or a negative errno.</returns>
    public long Map(ulong hint, ulong length, Protection protection, MapFlags flags, MappedFile? file = null, ulong fileOffset = 0, string? name = null)
    {
        if (length == 0 || fileOffset % PageSize != 0) return -Errno.EINVAL;
        if (length > Size) return -Errno.ENOMEM;
        length = RoundUp(length);
        if (fileOffset + length < fileOffset) return -Errno.EOVERFLOW;
        bool shared;
        switch (flags & MapFlags.TypeMask)
        {
            case MapFlags.Private: shared = false; break;
            case MapFlags.Shared: case MapFlags.SharedValidate: shared = true; break;
            default: return -Errno.EINVAL;
        }
        if ((flags & MapFlags.HugeTlb) != 0) return -Errno.ENOMEM;

        MappedFile? made = null;
        if (file == null && shared)
        {
            // Processes share it after a fork, so it must be an object that can be mapped twice.
            file = made = MappedFile.CreateAnonymous(length, out int error);
            if (made == null) return error;
            fileOffset = 0;
        }
        long result;
        lock (_lock)
        {
            long place = Place(hint, length, flags, file, fileOffset, protection);
            bool data = !shared && (protection & Protection.Write) != 0 && (flags & MapFlags.NoReserve) == 0;
            if (place >= 0 && !MayMap(length, data, (ulong)place, (ulong)place + length)) place = -Errno.ENOMEM;
            result = place < 0 ? place : MapLocked((ulong)place, length, protection, shared, flags, file, fileOffset, name);
        }
        made?.Release();
        if (result >= 0 && ((flags & (MapFlags.Populate | MapFlags.Locked)) != 0 || _populatesFuture))
            Window.Advise((ulong)result, length, (protection & Protection.Write) != 0 ? 23 : 22);
        return result;
    }

    private long Place(ulong hint, ulong length, MapFlags flags, MappedFile? file, ulong fileOffset, Protection protection)
    {
        if ((flags & (MapFlags.Fixed | MapFlags.FixedNoReplace)) != 0)
        {
            if (hint % PageSize != 0) return -Errno.EINVAL;
            if (hint > Size || length > Size - hint) return -Errno.ENOMEM;
            if (hint < Lowest) return -Errno.EPERM;
            if ((flags & MapFlags.FixedNoReplace) != 0 && !_table.IsFree(hint, hint + length)) return -Errno.EEXIST;
            return (long)hint;
        }
        hint = RoundUp(hint);
        if (hint >= Lowest && hint < StackTop && length <= StackTop - hint && _table.IsFree(hint, hint + length)) return (long)hint;
        if (_placement != null && file is { IsRegular: true } && fileOffset == 0 && hint == 0 && (flags & MapFlags.TypeMask) == MapFlags.Private &&
            ((protection & Protection.Execute) != 0 || (flags & MapFlags.DenyWrite) != 0))
        {
            ulong fixedPlace = _placement.Find(file.Identity, length);
            if (fixedPlace != 0 && _table.IsFree(fixedPlace, fixedPlace + length)) return (long)fixedPlace;
        }
        // Large blocks on a 2 MiB boundary, as the host's transparent huge pages like them.
        if (length >= 2UL << 20 && file == null)
        {
            ulong aligned = _table.FindGapBelow(length, Lowest, _mmapTop, 2UL << 20);
            if (aligned != ulong.MaxValue) return (long)aligned;
        }
        ulong gap = _table.FindGapBelow(length, Lowest, _mmapTop);
        if (gap == ulong.MaxValue) gap = _table.FindGapAbove(length, _mmapTop, StackTop);
        return gap == ulong.MaxValue ? -Errno.ENOMEM : (long)gap;
    }

    // Big arrays: on huge pages random accesses miss the TLB less. Smaller mappings, stacks and reservations would only grow by it.
    private const ulong WorthHugePages = 6UL << 20;
    private const int AdviseHugePages = 14;

    private long MapLocked(ulong start, ulong length, Protection protection, bool shared, MapFlags flags, MappedFile? file, ulong fileOffset, string? name)
    {
        bool hadCode = _table.AnyExecutable(start, start + length);
        int error = file == null
            ? _table.IsFree(start, start + length) ? Window.Open(start, length, HostProtection(protection)) : Window.MapAnonymous(start, length, HostProtection(protection), noReserve: true)
            : Window.MapFile(start, length, HostProtection(protection), file.HostDescriptor, fileOffset, shared);
        if (error < 0) return error;
        if (file == null && !shared && length >= WorthHugePages && (protection & Protection.Write) != 0
            && (flags & (MapFlags.NoReserve | MapFlags.Stack | MapFlags.GrowsDown)) == 0) Window.Advise(start, length, AdviseHugePages);
        var vmaFlags = (shared ? VmaFlags.Shared : 0) | ((flags & MapFlags.NoReserve) != 0 ? VmaFlags.NoReserve : 0) |
            (LocksFuture || (flags & MapFlags.Locked) != 0 ? VmaFlags.Locked : 0) |
            (!shared && file != null && (protection & Protection.Write) != 0 ? VmaFlags.MayDiffer : 0);
        _table.Set(new Vma(start, start + length, protection, vmaFlags, file, fileOffset, file == null ? name : null));
        CodeChanged(start, start + length, hadCode);
        return (long)start;
    }

    /// <summary>munmap: 0 or a negative errno.</summary>
    public int Unmap(ulong start, ulong length)
    {
        if (start % PageSize != 0 || length == 0 || start > Size || length > Size - start) return -Errno.EINVAL;
        length = RoundUp(length);
        lock (_lock) return UnmapLocked(start, length);
    }

    // Small blocks come and go all the time; large ones may have properties of their own (huge pages).
    private const ulong WorthClosing = 1UL << 20;

    // The guest has given advice that the kernel keeps with a mapping: what is unmapped must lose it.
    private bool _advised;

    private int UnmapLocked(ulong start, ulong length)
    {
        if (_table.IsFree(start, start + length)) return 0;
        BeforeRelease(length);
        bool hadCode = _table.AnyExecutable(start, start + length);
        int error = length <= WorthClosing && !_advised && _table.IsPlain(start, start + length) ? Window.Close(start, length) : Window.Unmap(start, length);
        if (error < 0) return error;
        DropFrozen(start, start + length);
        _table.Remove(start, start + length);
        CodeChanged(start, start + length, hadCode);
        return 0;
    }

    /// <summary>mprotect: 0 or a negative errno. Like Linux it changes what comes before a hole and then says ENOMEM.</summary>
    public int Protect(ulong start, ulong length, Protection protection)
    {
        if (start % PageSize != 0) return -Errno.EINVAL;
        if (length == 0) return 0;
        if (start > Size || length > Size - start) return -Errno.ENOMEM;
        ulong end = start + RoundUp(length);
        lock (_lock)
        {
            ulong covered = _table.CoveredUpTo(start, end);
            if (covered > start)
            {
                bool hadCode = _table.AnyExecutable(start, covered);
                int error = Window.Protect(start, covered - start, HostProtection(protection));
                if (error < 0) return error;
                _table.Update(start, covered, vma => vma with
                {
                    Protection = protection,
                    Flags = vma.File != null && !vma.IsShared && (protection & Protection.Write) != 0 ? vma.Flags | VmaFlags.MayDiffer : vma.Flags,
                });
                CodeChanged(start, covered, hadCode);
            }
            return covered == end ? 0 : -Errno.ENOMEM;
        }
    }

    /// <summary>Where the heap begins (the loader says: behind the program).</summary>
    public void SetBrk(ulong start)
    {
        lock (_lock) _brkStart = _brk = RoundUp(start);
    }

    /// <summary>brk: the new end of the heap, the old one where it cannot be had.</summary>
    public ulong Brk(ulong end)
    {
        lock (_lock)
        {
            if (end < _brkStart || end >= Size) return _brk;
            ulong oldTop = RoundUp(_brk), newTop = RoundUp(end);
            if (newTop > oldTop)
            {
                if (!_table.IsFree(oldTop, newTop + PageSize) || !MayMap(newTop - oldTop, data: true)) return _brk;
                if (MapLocked(oldTop, newTop - oldTop, Protection.Read | Protection.Write, false, 0, null, 0, "[heap]") < 0) return _brk;
            }
            else if (newTop < oldTop && UnmapLocked(newTop, oldTop - newTop) < 0)
            {
                return _brk;
            }
            return _brk = end;
        }
    }

    /// <summary>The mapped-file object for a host descriptor: the one that the last mapping used where it is the same file (a library's
    /// segments come in a row), else a new one. The caller releases it.</summary>
    public MappedFile? FileFor(int hostDescriptor, string path, int openFlags, out int error)
    {
        error = MappedFile.Stat(hostDescriptor, out var identity, out _);
        if (error < 0) return null;
        lock (_lock)
        {
            if (_lastFile != null && _lastFile.Matches(identity, path, openFlags))
            {
                _lastFile.AddReference();
                return _lastFile;
            }
            var file = MappedFile.Open(hostDescriptor, path, openFlags, out error);
            if (file == null) return null;
            _lastFile?.Release();
            _lastFile = file;
            file.AddReference();
            return file;
        }
    }

    internal static ulong RoundUp(ulong value) => (value + PageSize - 1) & ~(PageSize - 1);
}
