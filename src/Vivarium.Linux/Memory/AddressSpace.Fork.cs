using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Memory;

// fork: a second address space with the same contents.
public sealed partial class AddressSpace
{
    /// <summary>
    /// A copy for a child. Shared mappings and untouched file pages are mapped again. Of the pages that the parent has of its own (the host's
    /// page table says which) few are copied; many are frozen, if <paramref name="alone"/> or after <paramref name="standStill"/> has said true: then
    /// nothing else runs in or writes to the parent's memory. Otherwise other threads of the parent go on: they see what they would see beside a fork.
    /// </summary>
    public AddressSpace Fork(MemoryWindow window, Executor executor, bool alone = false, Func<bool>? standStill = null)
    {
        var child = new AddressSpace(window, executor, _placement) { FreezeAtOnce = FreezeAtOnce, LargestMapping = LargestMapping, Meter = Meter };
        using var pages = new PageMap();
        var runs = new List<(ulong Offset, ulong Length)>();
        lock (_lock)
        {
            _forks++;
            child._brkStart = _brkStart;
            child._brk = _brk;
            for (int i = 0; i < _table.Count; i++)
            {
                var vma = _table[i];
                if ((vma.Flags & VmaFlags.DontFork) != 0) continue;
                if ((vma.Flags & VmaFlags.WipeOnFork) != 0)
                {
                    vma = vma.Thawed();
                    child.MapForChild(vma, HostProtection(vma.Protection), anonymous: true);
                    child._table.Set(Unlocked(vma));
                    continue;
                }
                bool copies = !vma.IsShared && (vma.File == null || (vma.Flags & VmaFlags.MayDiffer) != 0);
                if (copies)
                {
                    pages.OwnRuns(Window.HostBase + vma.Start, vma.Length, runs);
                    copies = runs.Count > 0;
                    if (copies && !alone && standStill != null && IsWorthFreezing(vma, runs))
                    {
                        alone = standStill();
                        standStill = null;
                        if (alone) pages.OwnRuns(Window.HostBase + vma.Start, vma.Length, runs);
                    }
                    if (copies && alone && IsWorthFreezing(vma, runs) && Freeze(vma, runs))
                    {
                        vma = _table[i];
                        copies = false;
                    }
                }
                var final = HostProtection(vma.Protection);
                var first = copies ? Protection.Read | Protection.Write : final;
                child.MapForChild(vma, first, vma.File == null);
                if (copies) child.CopyFrom(this, vma, runs);
                if (final != first) window.Protect(vma.Start, vma.Length, final);
                child._table.Set(Unlocked(vma));
            }
            EndFreeze();
        }
        child.PublishExecutable();
        child.AnnounceCode(0, Size);
        return child;
    }

    private void MapForChild(Vma vma, Protection protection, bool anonymous)
    {
        int error = anonymous
            ? Window.MapAnonymous(vma.Start, vma.Length, protection, noReserve: true)
            : Window.MapFile(vma.Start, vma.Length, protection, vma.File!.HostDescriptor, vma.FileOffset, vma.IsShared);
        if (error < 0) throw new OutOfMemoryException($"fork: mapping {vma.Start:x}: errno {-error}");
    }

    private void CopyFrom(AddressSpace parent, Vma vma, List<(ulong Offset, ulong Length)> runs)
    {
        bool unreadable = HostProtection(vma.Protection) == Protection.None;
        foreach (var (offset, length) in runs)
        {
            // What the guest may not read we may not either: open it for the copy.
            if (unreadable) parent.Window.Protect(vma.Start + offset, length, Protection.Read);
            // One call for all the pages of a long run instead of a fault for each.
            if (length >= 4 * PageSize) Window.Advise(vma.Start + offset, length, 23 /* MADV_POPULATE_WRITE */);
            parent.Window.CopyTo(vma.Start + offset, Window, vma.Start + offset, length);
            if (unreadable) parent.Window.Protect(vma.Start + offset, length, Protection.None);
        }
    }
}
