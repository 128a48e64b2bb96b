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
        if (newLength > Size || oldStart > Size || oldLength > Size - oldStart) return -Errno.ENOMEM;
        oldLength = RoundUp(oldLength);
        newLength = RoundUp(newLength);
        if (toFixed)
        {
            if (newStart % PageSize != 0 || newStart > Size || newLength > Size - newStart || newStart < Lowest) return -Errno.EINVAL;
            if (newStart < oldStart + oldLength && oldStart < newStart + newLength) return -Errno.EINVAL;
        }
        lock (_lock)
        {
            var vma = _table.Find(oldStart);
            if (vma == null) return -Errno.EFAULT;
            if (oldLength == 0) return RemapCopy(vma, oldStart, newLength, mayMove, toFixed ? newStart : 0);
            // One mapping only, as the kernel before 6.17 wants it, but for shrinking.
            ulong oneEnd = _table.EndOfOne(oldStart);
            bool oneMapping = oldLength <= oneEnd - oldStart;
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
                if (!MayMap(newLength - oldLength, !vma.IsShared && (vma.Protection & Protection.Write) != 0)) return -Errno.ENOMEM;
                ulong oldEnd = oldStart + oldLength, newEnd = oldStart + newLength;
                if (oldEnd == oneEnd && newEnd <= StackTop && newEnd > oldEnd && _table.IsFree(oldEnd, newEnd))
                {
                    var last = _table.Find(oldEnd - 1)!;
                    GrowObject(last, newEnd);
                    long tail = MapLocked(oldEnd, newEnd - oldEnd, last.Protection, last.IsShared, MapFlagsOf(last), last.IsFrozen ? null : last.File,
                        last.File == null || last.IsFrozen ? 0 : last.FileOffset + last.Length, last.Name);
                    if (tail >= 0)
                    {
                        // One mapping again, with all that madvise said of it.
                        _table.Set(last.IsFrozen ? last.Thawed() with { Start = oldEnd, End = newEnd } : last with { End = newEnd });
                        return (long)oldStart;
                    }
                }
                if (!mayMove) return -Errno.ENOMEM;
            }
            if (!oneMapping) return -Errno.EFAULT;
            return Move(oldStart, oldLength, newLength, toFixed ? newStart : 0, keepOld);
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

    private long Move(ulong oldStart, ulong oldLength, ulong newLength, ulong newStart, bool keepOld)
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
        bool hadCode = _table.AnyExecutable(oldStart, oldStart + oldLength);
        ulong moved = Math.Min(oldLength, newLength);
        // Several pieces where a fork froze a part of what is one mapping to the guest.
        foreach (var piece in _table.Within(oldStart, oldStart + moved))
        {
            ulong target = newStart + (piece.Start - oldStart);
            bool grows = piece.End == oldStart + moved && newLength > moved;
            ulong targetLength = grows && !piece.IsFrozen ? newStart + newLength - target : piece.Length;
            var placed = piece with { Start = target, End = target + targetLength };
            int result = Window.Move(piece.Start, piece.Length, target, targetLength);
            if (result < 0)
            {
                // The host holds this mapping in several pieces: copy. Only private memory has them.
                if (piece.IsShared) return result;
                result = MoveByCopy(piece, target, targetLength);
                if (result < 0) return result;
                placed = placed.Thawed();
            }
            // Set takes its own reference before the old one goes.
            _table.Set(placed);
            if (grows && piece.IsFrozen)
            {
                ulong tail = target + piece.Length;
                int error = Window.MapAnonymous(tail, newStart + newLength - tail, HostProtection(piece.Protection), noReserve: true);
                if (error < 0) return error;
                _table.Set(piece.Thawed() with { Start = tail, End = newStart + newLength });
            }
            if (keepOld)
            {
                int error = piece.File == null || piece.IsFrozen
                    ? Window.MapAnonymous(piece.Start, piece.Length, HostProtection(piece.Protection), noReserve: true)
                    : Window.MapFile(piece.Start, piece.Length, HostProtection(piece.Protection), piece.File.HostDescriptor, piece.FileOffset, piece.IsShared);
                if (error < 0) _table.Remove(piece.Start, piece.End);
                else _table.Set(piece.Thawed());
            }
        }
        if (moved < oldLength) Window.Unmap(oldStart + moved, oldLength - moved);
        if (!keepOld) _table.Remove(oldStart, oldStart + oldLength);
        CodeChanged(oldStart, oldStart + oldLength, hadCode);
        CodeChanged(newStart, newStart + newLength, false);
        return (long)newStart;
    }

    private int MoveByCopy(Vma old, ulong newStart, ulong newLength)
    {
        int error = Window.MapAnonymous(newStart, newLength, Protection.Read | Protection.Write, noReserve: true);
        if (error < 0) return error;
        byte[] page = new byte[65536];
        for (ulong at = 0; at < old.Length; at += (ulong)page.Length)
        {
            int size = (int)Math.Min((ulong)page.Length, old.Length - at);
            if (Window.Read(old.Start + at, page.AsSpan(0, size)) < size) break;
            // A page of zeroes may differ from the file's, and what a fork takes for the child's is told by who owns the page.
            if (old.IsAnonymous && !page.AsSpan(0, size).ContainsAnyExcept((byte)0)) continue;
            Window.Write(newStart + at, page.AsSpan(0, size));
        }
        Window.Protect(newStart, newLength, HostProtection(old.Protection));
        return Window.Unmap(old.Start, old.Length);
    }

    /// <summary>madvise: 0 or a negative errno.</summary>
    public int Advise(ulong start, ulong length, int advice)
    {
        if (start % PageSize != 0) return -Errno.EINVAL;
        if (length == 0) return 0;
        if (start > Size || length > Size - start) return -Errno.ENOMEM;
        ulong end = start + RoundUp(length);
        const int MADV_DONTNEED = 4, MADV_FREE = 8, MADV_REMOVE = 9, MADV_DONTFORK = 10, MADV_DOFORK = 11, MADV_WIPEONFORK = 18, MADV_KEEPONFORK = 19;
        lock (_lock)
        {
            bool whole = _table.CoveredUpTo(start, end) == end;
            switch (advice)
            {
                case 0 or 1 or 2 or 3 or 16 or 17 or 20 or 21:
                    break;
                case MADV_DONTNEED or MADV_FREE or MADV_REMOVE or 14 or 15 or 22 or 23 or 24:
                    foreach (var vma in _table.Within(start, end))
                    {
                        if ((vma.Flags & VmaFlags.Locked) != 0 && advice is MADV_DONTNEED or MADV_FREE or MADV_REMOVE) return -Errno.EINVAL;
                        if (vma.IsFrozen && advice is MADV_DONTNEED or MADV_FREE)
                        {
                            // The host would show what was frozen again, not zeroes.
                            int failed = Window.MapAnonymous(vma.Start, vma.Length, HostProtection(vma.Protection), noReserve: true);
                            if (failed < 0) return failed;
                            DropFrozen(vma.Start, vma.End);
                            _table.Set(vma.Thawed());
                            if (vma.IsExecutable) Executor.InvalidateCode(vma.Start, vma.Length);
                            continue;
                        }
                        if (advice is 14 or 15) _advised = true;
                        int error = Window.Advise(vma.Start, vma.Length, advice);
                        // Huge pages are a wish: hosts without them say EINVAL.
                        if (error < 0 && advice is not (14 or 15)) return error;
                        if (advice is MADV_DONTNEED or MADV_FREE or MADV_REMOVE && vma.IsExecutable)
                            Executor.InvalidateCode(vma.Start, vma.Length);
                    }
                    break;
                case MADV_DONTFORK: _table.Update(start, end, vma => vma with { Flags = vma.Flags | VmaFlags.DontFork }); break;
                case MADV_DOFORK: _table.Update(start, end, vma => vma with { Flags = vma.Flags & ~VmaFlags.DontFork }); break;
                case MADV_WIPEONFORK when _table.Within(start, end).Exists(vma => !vma.IsAnonymous): return -Errno.EINVAL;
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
        if (start > Size || length > Size - start) return -Errno.ENOMEM;
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
            if ((flags & 2 /* MS_INVALIDATE */) != 0 && (vma.Flags & VmaFlags.Locked) != 0) return -Errno.EBUSY;
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
        if (start > Size || length > Size - start) return -Errno.ENOMEM;
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
        if (start > Size || length > Size - start) return false;
        ulong end = RoundUp(start + length);
        start &= ~(PageSize - 1);
        lock (_lock) return _table.CoveredUpTo(start, end) == end;
    }
}
