using Vivarium.Host;

namespace Vivarium.Linux.Memory;

// fork without a copy: private memory moves into a file in memory, which parent and child then map privately; the host's kernel copies what
// either of them writes.
public sealed partial class AddressSpace
{
    private const int SysPwrite64 = 18, SysLseek = 8, SysFallocate = 285, SeekData = 3, SeekHole = 4;

    /// <summary>A mapping with this many bytes of its own is worth a freeze at once: below, copying for the child is cheaper than the faults
    /// that follow a freeze.</summary>
    internal ulong FreezeAtOnce { get; set; } = 2 << 20;

    /// <summary>The same for who forks again and again: what is frozen once need not be copied the next time.</summary>
    private ulong FreezeOften => Math.Min(FreezeAtOnce, 128 << 10);

    private const int Often = 3;

    private int _forks;

    /// <summary>The file of the fork in progress and how much of it is taken.</summary>
    private MappedFile? _freezer;
    private ulong _frozenBytes;

    /// <summary>
    /// Freezes one mapping with <paramref name="runs"/>, its pages that are no file's. Nothing may write to it
    /// meanwhile: no other thread runs. The table may change, but not its order or number of entries.
    /// </summary>
    /// <returns>Whether the child need only map what the table says now.</returns>
    private bool Freeze(Vma vma, List<(ulong Offset, ulong Length)> runs)
    {
        ulong own = BytesOf(runs);
        if (vma.IsFrozen)
        {
            // Nobody else has the file any more: what was written since goes into it. Otherwise a new file with everything, when most of it is new.
            if (vma.File!.References == _table.CountOf(vma.File)) return Write(vma, vma.File, vma.FileOffset, runs) && Thaw(vma, vma.File, vma.FileOffset);
            if (own * 2 < vma.Length) return false;
            runs = WithFrozen(vma, runs);
        }
        _freezer ??= MappedFile.CreateFrozen(out _);
        if (_freezer == null) return false;
        ulong offset = _frozenBytes;
        // A gap, so that neighbours do not become one entry of the table while somebody walks it.
        _frozenBytes += vma.Length + PageSize;
        return Write(vma, _freezer, offset, runs) && Thaw(vma, _freezer, offset);
    }

    private bool IsWorthFreezing(Vma vma, List<(ulong Offset, ulong Length)> runs) =>
        vma.IsAnonymous && HostProtection(vma.Protection) != Protection.None && BytesOf(runs) >= (_forks >= Often ? FreezeOften : FreezeAtOnce);

    private static ulong BytesOf(List<(ulong Offset, ulong Length)> runs)
    {
        ulong bytes = 0;
        foreach (var (_, length) in runs) bytes += length;
        return bytes;
    }

    private bool Write(Vma vma, MappedFile file, ulong fileOffset, List<(ulong Offset, ulong Length)> runs)
    {
        foreach (var (offset, length) in runs)
        {
            for (ulong done = 0; done < length;)
            {
                long written = HostSyscall.Invoke(SysPwrite64, file.HostDescriptor, (long)(Window.HostBase + vma.Start + offset + done), (long)(length - done),
                    (long)(fileOffset + offset + done));
                if (written <= 0) return false;
                done += (ulong)written;
            }
        }
        return true;
    }

    /// <summary>Replaces a mapping by a private one of the file that has the same contents.</summary>
    private bool Thaw(Vma vma, MappedFile file, ulong fileOffset)
    {
        if (Window.MapFile(vma.Start, vma.Length, HostProtection(vma.Protection), file.HostDescriptor, fileOffset, shared: false) < 0) return false;
        _table.Set(vma with { File = file, FileOffset = fileOffset, Flags = vma.Flags | VmaFlags.MayDiffer });
        return true;
    }

    /// <summary>The pages that a mapping's frozen file has, and <paramref name="runs"/>.</summary>
    private static List<(ulong Offset, ulong Length)> WithFrozen(Vma vma, List<(ulong Offset, ulong Length)> runs)
    {
        var all = new List<(ulong, ulong)>(runs);
        int descriptor = vma.File!.HostDescriptor;
        for (ulong at = vma.FileOffset, end = vma.FileOffset + vma.Length; at < end;)
        {
            long data = HostSyscall.Invoke(SysLseek, descriptor, (long)at, SeekData);
            if (data < 0 || (ulong)data >= end) break;
            ulong hole = Math.Min((ulong)HostSyscall.Invoke(SysLseek, descriptor, data, SeekHole), end);
            all.Add(((ulong)data - vma.FileOffset, hole - (ulong)data));
            at = hole;
        }
        return all;
    }

    private void EndFreeze()
    {
        _freezer?.Release();
        _freezer = null;
        _frozenBytes = 0;
    }

    /// <summary>Memory of frozen files that is mapped in [start, end) and nowhere else goes back to the host; its mapping is gone.</summary>
    private void DropFrozen(ulong start, ulong end)
    {
        for (int i = _table.IndexAfter(start); i < _table.Count && _table[i].Start < end; i++)
        {
            if (!_table[i].IsFrozen) continue;
            var vma = _table[i].Clip(start, end);
            if (vma.File!.References == _table.CountOf(vma.File))
                HostSyscall.Invoke(SysFallocate, vma.File.HostDescriptor, 3 /* PUNCH_HOLE | KEEP_SIZE */, (long)vma.FileOffset, (long)vma.Length);
        }
    }
}
