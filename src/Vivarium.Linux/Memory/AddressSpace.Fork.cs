using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Memory;

// fork: a second address space with the same contents.
public sealed partial class AddressSpace
{
    /// <summary>
    /// A copy for a child. Shared mappings and untouched file pages are mapped again; pages of its own that the parent has (and only those:
    /// the host's page table says which) are copied. Other threads of the parent may go on: they see what they would see beside a fork.
    /// </summary>
    public AddressSpace Fork(MemoryWindow window, Executor executor)
    {
        var child = new AddressSpace(window, executor, _placement);
        using var pages = new PageMap();
        lock (_lock)
        {
            child._brkStart = _brkStart;
            child._brk = _brk;
            for (int i = 0; i < _table.Count; i++)
            {
                var vma = _table[i];
                if ((vma.Flags & VmaFlags.DontFork) != 0) continue;
                child.Inherit(this, vma, pages);
                child._table.Set(vma);
            }
        }
        child.PublishExecutable();
        child.AnnounceCode(0, WindowSize);
        return child;
    }

    private void Inherit(AddressSpace parent, Vma vma, PageMap pages)
    {
        bool copies = !vma.IsShared && (vma.File == null || (vma.Flags & VmaFlags.MayDiffer) != 0) && (vma.Flags & VmaFlags.WipeOnFork) == 0;
        var final = HostProtection(vma.Protection);
        var first = copies ? Protection.Read | Protection.Write : final;
        int error = vma.File == null || (vma.Flags & VmaFlags.WipeOnFork) != 0
            ? Window.MapAnonymous(vma.Start, vma.Length, first, noReserve: true)
            : Window.MapFile(vma.Start, vma.Length, first, vma.File.HostDescriptor, vma.FileOffset, vma.IsShared);
        if (error < 0) throw new OutOfMemoryException($"fork: mapping {vma.Start:x}: errno {-error}");
        if (!copies) return;
        bool unreadable = HostProtection(vma.Protection) == Protection.None;
        pages.ForEachOwnRun(parent.Window.HostBase + vma.Start, vma.Length, (offset, length) =>
        {
            // What the guest may not read we may not either: open it for the copy.
            if (unreadable) parent.Window.Protect(vma.Start + offset, length, Protection.Read);
            // One call for all the pages of a long run instead of a fault for each.
            if (length >= 16 * PageSize) Window.Advise(vma.Start + offset, length, 23 /* MADV_POPULATE_WRITE */);
            parent.Window.CopyTo(vma.Start + offset, Window, vma.Start + offset, length);
            if (unreadable) parent.Window.Protect(vma.Start + offset, length, Protection.None);
        });
        if (final != first) Window.Protect(vma.Start, vma.Length, final);
    }

    /// <summary>Which pages of this host process exist and are no file's: /proc/self/pagemap.</summary>
    private sealed class PageMap : IDisposable
    {
        private const ulong Present = 1UL << 63, Swapped = 1UL << 62, OfFile = 1UL << 61;

        private readonly HostBuffer _buffer = new(64 << 10);
        private readonly int _descriptor;

        public PageMap()
        {
            "/proc/self/pagemap\0"u8.CopyTo(_buffer.Bytes);
            _descriptor = (int)HostSyscall.Invoke(2 /* open */, _buffer.Address, 0x80000 /* O_CLOEXEC */);
        }

        /// <summary>Calls <paramref name="action"/> with offset and length of each run of pages of the process's own.</summary>
        public void ForEachOwnRun(ulong hostAddress, ulong length, Action<ulong, ulong> action)
        {
            if (_descriptor < 0)
            {
                action(0, length);
                return;
            }
            ulong runStart = ulong.MaxValue;
            for (ulong at = 0; at < length;)
            {
                ulong count = Math.Min((length - at) / PageSize, (ulong)_buffer.Bytes.Length / 8);
                long read = HostSyscall.Invoke(17 /* pread64 */, _descriptor, _buffer.Address, (long)(count * 8), (long)((hostAddress + at) / PageSize * 8));
                if (read <= 0)
                {
                    action(at, length - at);
                    return;
                }
                for (int i = 0; i < (int)read; i += 8, at += PageSize)
                {
                    ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(_buffer.Bytes[i..]);
                    bool own = (entry & (Present | Swapped)) != 0 && (entry & OfFile) == 0;
                    if (own && runStart == ulong.MaxValue) runStart = at;
                    if (own || runStart == ulong.MaxValue) continue;
                    action(runStart, at - runStart);
                    runStart = ulong.MaxValue;
                }
            }
            if (runStart != ulong.MaxValue) action(runStart, length - runStart);
        }

        public void Dispose()
        {
            if (_descriptor >= 0) HostSyscall.Invoke(3, _descriptor);
        }
    }
}
