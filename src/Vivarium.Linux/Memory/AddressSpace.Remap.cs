using Vivarium.Host;

namespace Vivarium.Linux.Memory;

// mremap, madvise, msync, mincore.
public sealed partial class AddressSpace
{
    private const int MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2, MREMAP_DONTUNMAP = 4;

    /// <summary>mremap: the new address or a negative errno.</summary>
    public long Remap(ulong oldStart, ulong oldLength, ulong newLength, int flags, ulong newStart)
    {
        bool mayMove = (flags & MREMAP_MAYMOVE) != 0, toFixed = (flags & MREMAP_FIXED) != 0, keepOld = (flags & MREMAP_DONTUNMAP) != 0;
        if ((flags & ~7) != 0 || oldStart % PageSize != 0 || newLength == 0 || (toFixed && !mayMove) ||
            (keepOld && (!mayMove || oldLength != newLength)))
            return -Errno.EINVAL;
        if (newLength > WindowSize || oldStart > WindowSize || oldLength > WindowSize - oldStart) return -Errno.ENOMEM;
        oldLength = RoundUp(oldLength);
        newLength = RoundUp(newLength);
        if (toFixed)
        {
            if (newStart % PageSize != 0 || newStart > WindowSize || newLength > WindowSize - newStart || newStart < Lowest) return -Errno.EINVAL;
            if (newStart < oldStart + oldLength && oldStart < newStart + newLength) return -Errno.EINVAL;
        }
        lock (_lock)
        {
            var vma = _table.Find(oldStart);
            if (vma == null) return -Errno.EFAULT;
            if (oldLength == 0) return RemapCopy(vma, oldStart, newLength, mayMove, toFixed ? newStart : 0);
            // One mapping only, as the kernel before 6.17 wants it, but for shrinking.
            bool oneMapping = oldLength <= vma.End - oldStart;
            if (!toFixed && !keepOld)
            {
                if (newLength <= oldLength)
                {
                    if (newLength < oldLength)
                    {
                        int error = UnmapLocked(oldStart + newLength, oldLength - newLength);
                        if (error < 0) return error;
                    }
                    return (long)oldStart;
                }
                if (!oneMapping) return -Errno.EFAULT;
                ulong oldEnd = oldStart + oldLength, newEnd = oldStart + newLength;
                if (oldEnd == vma.End && newEnd <= StackTop && newEnd > oldEnd && _table.IsFree(oldEnd, newEnd))
                {
                    GrowObject(vma, newEnd);
                    long tail = MapLocked(oldEnd, newEnd - oldEnd, vma.Protection, vma.IsShared, MapFlagsOf(vma), vma.File,
                        vma.File == null ? 0 : vma.FileOffset + vma.Length, vma.Name);
                    if (tail >= 0)
                    {
                        // One mapping again, with all that madvise said of it.
                        _table.Set(vma with { End = newEnd });
                        return (long)oldStart;
                    }
                }
                if (!mayMove) return -Errno.ENOMEM;
            }
            if (!oneMapping) return -Errno.EFAULT;
            return Move(vma.Clip(oldStart, oldStart + oldLength), newLength, toFixed ? newStart : 0, keepOld);
        }
    }

    private static MapFlags MapFlagsOf(Vma vma) => (vma.Flags & VmaFlags.NoReserve) != 0 ? MapFlags.NoReserve : 0;

    /// <summary>mremap with old size 0: a second view of a shared mapping.</summary>
    private long RemapCopy(Vma vma, ulong oldStart, ulong newLength, bool mayMove, ulong newStart)
    {
        if (!vma.IsShared || vma.File == null || !mayMove) return -Errno.EINVAL;
        ulong place = newStart != 0 ? newStart : _table.FindGapBelow(newLength, Lowest, _mmapTop);
        if (place == ulong.MaxValue) return -Errno.ENOMEM;
        return MapLocked(place, newLength, vma.Protection, true, MapFlagsOf(vma), vma.File, vma.FileOffset + (oldStart - vma.Start), null);
    }

    private static void GrowObject(Vma vma, ulong newEnd)
    {
        // A shared anonymous object is ours and has to be as large as what is mapped of it.
        if (vma.File is { IsRegular: true } || vma.File == null || !vma.IsShared) return;
        HostSyscall.Invoke(77 /* ftruncate */, vma.File.HostDescriptor, (long)(vma.FileOffset + (newEnd - vma.Start)));
    }

    private long Move(Vma old, ulong newLength, ulong newStart, bool keepOld)
    {
        if (newStart == 0)
        {
            newStart = _table.FindGapBelow(newLength, Lowest, _mmapTop);
            if (newStart == ulong.MaxValue) return -Errno.ENOMEM;
        }
        else
        {
            int error = UnmapLocked(newStart, newLength);
            if (error < 0) return error;
        }
        bool hadCode = old.IsExecutable;
        ulong moved = Math.Min(old.Length, newLength);
        int result = Window.Move(old.Start, moved, newStart, newLength);
        if (result < 0)
        {
            // The host holds this mapping in several pieces: copy. Only private memory has them.
            if (old.IsShared) return result;
            result = MoveByCopy(old, moved, newStart, newLength);
            if (result < 0) return result;
        }
        if (moved < old.Length) Window.Unmap(old.Start + moved, old.Length - moved);
        if (keepOld)
        {
            int error = old.File == null
                ? Window.MapAnonymous(old.Start, old.Length, HostProtection(old.Protection), noReserve: true)
                : Window.MapFile(old.Start, old.Length, HostProtection(old.Protection), old.File.HostDescriptor, old.FileOffset, old.IsShared);
            if (error < 0) keepOld = false;
        }
        // Set takes its own reference before the old one goes.
        _table.Set(old with { Start = newStart, End = newStart + newLength });
        if (!keepOld)
        {
            _table.Remove(old.Start, old.End);
        }
        CodeChanged(old.Start, old.End, hadCode);
        CodeChanged(newStart, newStart + newLength, false);
        return (long)newStart;
    }

    private int MoveByCopy(Vma old, ulong length, ulong newStart, ulong newLength)
    {
        int error = Window.MapAnonymous(newStart, newLength, Protection.Read | Protection.Write, noReserve: true);
        if (error < 0) return error;
        byte[] page = new byte[65536];
        for (ulong at = 0; at < length; at += (ulong)page.Length)
        {
            int size = (int)Math.Min((ulong)page.Length, length - at);
            if (Window.Read(old.Start + at, page.AsSpan(0, size)) < size) break;
            if (!page.AsSpan(0, size).ContainsAnyExcept((byte)0)) continue;
            Window.Write(newStart + at, page.AsSpan(0, size));
        }
        Window.Protect(newStart, newLength, HostProtection(old.Protection));
        return Window.Unmap(old.Start, length);
    }

    /// <summary>madvise: 0 or a negative errno.</summary>
    public int Advise(ulong start, ulong length, int advice)
    {
        if (start % PageSize != 0) return -Errno.EINVAL;
        if (length == 0) return 0;
        if (start > WindowSize || length > WindowSize - start) return -Errno.ENOMEM;
        ulong end = start + RoundUp(length);
        const int MADV_DONTNEED = 4, MADV_FREE = 8, MADV_REMOVE = 9, MADV_DONTFORK = 10, MADV_DOFORK = 11, MADV_WIPEONFORK = 18, MADV_KEEPONFORK = 19;
        lock (_lock)
        {
            bool whole = _table.CoveredUpTo(start, end) == end;
            switch (advice)
            {
                case 0 or 1 or 2 or 3 or 12 or 13 or 16 or 17 or 20 or 21:
                    break;
                case MADV_DONTNEED or MADV_FREE or MADV_REMOVE or 14 or 15 or 22 or 23 or 24:
                    foreach (var vma in _table.Within(start, end))
                    {
                        int error = Window.Advise(vma.Start, vma.Length, advice);
                        // Huge pages are a wish: hosts without them say EINVAL.
                        if (error < 0 && advice is not (14 or 15)) return error;
                        if (advice is MADV_DONTNEED or MADV_FREE or MADV_REMOVE && vma.IsExecutable)
                            Executor.InvalidateCode(vma.Start, vma.Length);
                    }
                    break;
                case MADV_DONTFORK: _table.Update(start, end, vma => vma with { Flags = vma.Flags | VmaFlags.DontFork }); break;
                case MADV_DOFORK: _table.Update(start, end, vma => vma with { Flags = vma.Flags & ~VmaFlags.DontFork }); break;
                case MADV_WIPEONFORK: _table.Update(start, end, vma => vma with { Flags = vma.Flags | VmaFlags.WipeOnFork }); break;
                case MADV_KEEPONFORK: _table.Update(start, end, vma => vma with { Flags = vma.Flags & ~VmaFlags.WipeOnFork }); break;
                default: return -Errno.EINVAL;
            }
            return whole ? 0 : -Errno.ENOMEM;
        }
    }

    /// <summary>msync: 0 or a negative errno.</summary>
    public int Sync(ulong start, ulong length, int flags)
    {
        if (start % PageSize != 0 || (flags & ~7) != 0 || (flags & 5) == 5) return -Errno.EINVAL;
        if (length == 0) return 0;
        if (start > WindowSize || length > WindowSize - start) return -Errno.ENOMEM;
        ulong end = start + RoundUp(length);
        List<Vma> mappings;
        bool whole;
        lock (_lock)
        {
            whole = _table.CoveredUpTo(start, end) == end;
            mappings = _table.Within(start, end);
        }
        foreach (var vma in mappings)
        {
            if (!vma.IsShared) continue;
            int error = Window.Sync(vma.Start, vma.Length, flags);
            if (error < 0) return error;
        }
        return whole ? 0 : -Errno.ENOMEM;
    }

    /// <summary>mincore: one byte per page to guest memory at <paramref name="vector"/>.</summary>
    public int InCore(ulong start, ulong length, ulong vector)
    {
        if (start % PageSize != 0) return -Errno.EINVAL;
        if (start > WindowSize || length > WindowSize - start) return -Errno.ENOMEM;
        length = RoundUp(length);
        lock (_lock)
        {
            if (_table.CoveredUpTo(start, start + length) != start + length) return -Errno.ENOMEM;
            if (!Window.TryGetHostAddress(vector, length / PageSize, out long host)) return -Errno.EFAULT;
            return (int)HostSyscall.Invoke(27 /* mincore */, (long)(Window.HostBase + start), (long)length, host);
        }
    }

    /// <summary>Whether [start, start+length) is mapped without a hole (mlock and its kin).</summary>
    public bool IsMapped(ulong start, ulong length)
    {
        if (start > WindowSize || length > WindowSize - start) return false;
        ulong end = RoundUp(start + length);
        start &= ~(PageSize - 1);
        lock (_lock) return _table.CoveredUpTo(start, end) == end;
    }
}
