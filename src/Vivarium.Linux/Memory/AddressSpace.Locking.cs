using Vivarium.Host;

namespace Vivarium.Linux.Memory;

// mlock and its kin. What is locked is brought into memory and counted; to lock it in the host's memory is not ours to ask for.
public sealed partial class AddressSpace
{
    private const int MADV_POPULATE_READ = 22, MADV_POPULATE_WRITE = 23;

    private bool _populatesFuture;

    /// <summary>mlockall(MCL_FUTURE): what is mapped from now on is locked.</summary>
    internal bool LocksFuture { get; private set; }

    /// <summary>Bytes that are locked.</summary>
    internal ulong LockedBytes()
    {
        lock (_lock) return LockedWithin(0, Size);
    }

    /// <summary>Whether so much more may be locked.</summary>
    internal bool MayLock(ulong bytes, ulong limit)
    {
        if (limit == ulong.MaxValue) return true;
        lock (_lock) return bytes <= limit && LockedWithin(0, Size) <= limit - bytes;
    }

    private ulong LockedWithin(ulong start, ulong end)
    {
        ulong total = 0;
        for (int i = _table.IndexAfter(start); i < _table.Count && _table[i].Start < end; i++)
        {
            if ((_table[i].Flags & VmaFlags.Locked) != 0) total += _table[i].Clip(start, end).Length;
        }
        return total;
    }

    /// <summary>mlock2: 0 or a negative errno.</summary>
    internal long LockRange(ulong start, ulong length, bool populate, ulong limit)
    {
        if (start + length < start) return -Errno.EINVAL;
        if (length == 0) return 0;
        if (start > Size || length > Size - start) return -Errno.ENOMEM;
        ulong end = RoundUp(start + length);
        start &= ~(PageSize - 1);
        ulong covered;
        lock (_lock)
        {
            if (limit != ulong.MaxValue && LockedWithin(0, Size) - LockedWithin(start, end) + (end - start) > limit) return -Errno.ENOMEM;
            covered = _table.CoveredUpTo(start, end);
            SetLocked(start, covered, true);
        }
        bool all = !populate || Populate(start, covered);
        return covered == end && all ? 0 : -Errno.ENOMEM;
    }

    /// <summary>munlock: 0 or a negative errno.</summary>
    internal long UnlockRange(ulong start, ulong length)
    {
        if (start + length < start) return -Errno.EINVAL;
        if (length == 0) return 0;
        if (start > Size || length > Size - start) return -Errno.ENOMEM;
        ulong end = RoundUp(start + length);
        start &= ~(PageSize - 1);
        lock (_lock)
        {
            ulong covered = _table.CoveredUpTo(start, end);
            SetLocked(start, covered, false);
            return covered == end ? 0 : -Errno.ENOMEM;
        }
    }

    /// <summary>mlockall, with neither of the first two munlockall: 0 or a negative errno.</summary>
    internal long LockAll(bool current, bool future, bool populate, ulong limit)
    {
        lock (_lock)
        {
            if (current && limit != ulong.MaxValue && UsageLocked().Total > limit) return -Errno.ENOMEM;
            (LocksFuture, _populatesFuture) = (future, future && populate);
            if (current || !future) SetLocked(0, Size, current);
        }
        if (current && populate) Populate(0, Size);
        return 0;
    }

    private void SetLocked(ulong start, ulong end, bool locked) =>
        _table.Update(start, end, vma => vma with { Flags = locked ? vma.Flags | VmaFlags.Locked : vma.Flags & ~VmaFlags.Locked });

    /// <summary>Brings a range into memory; false where some of it cannot be.</summary>
    private bool Populate(ulong start, ulong end)
    {
        List<Vma> mappings;
        lock (_lock) mappings = _table.Within(start, end);
        bool all = true;
        foreach (var vma in mappings)
        {
            bool writes = !vma.IsShared && (vma.Protection & Protection.Write) != 0;
            if (vma.Protection == Protection.None || Window.Advise(vma.Start, vma.Length, writes ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == -Errno.EFAULT) all = false;
        }
        return all;
    }

    /// <summary>A fork's child has no locks.</summary>
    private static Vma Unlocked(Vma vma) => (vma.Flags & VmaFlags.Locked) == 0 ? vma : vma with { Flags = vma.Flags & ~VmaFlags.Locked };
}
