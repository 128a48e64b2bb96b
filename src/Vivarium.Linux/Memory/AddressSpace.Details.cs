using System.Globalization;
using Vivarium.Host;

namespace Vivarium.Linux.Memory;

// /proc/PID/smaps: how much of each mapping is in memory.
public sealed partial class AddressSpace
{
    /// <summary>Bytes of a mapping. Of what several processes share the host does not tell us who has it: as many share as hold the same object.</summary>
    private record struct Sizes(ulong Total, ulong Resident, ulong Proportional, ulong ProportionalAnonymous, ulong Anonymous, ulong SharedClean, ulong SharedDirty, ulong PrivateClean, ulong PrivateDirty, ulong Locked)
    {
        public static Sizes operator +(Sizes a, Sizes b) => new(a.Total + b.Total, a.Resident + b.Resident, a.Proportional + b.Proportional, a.ProportionalAnonymous + b.ProportionalAnonymous,
            a.Anonymous + b.Anonymous, a.SharedClean + b.SharedClean, a.SharedDirty + b.SharedDirty, a.PrivateClean + b.PrivateClean, a.PrivateDirty + b.PrivateDirty, a.Locked + b.Locked);
    }

    private Sizes Measure(Vma vma)
    {
        var (own, object_) = Meter?.Measure(Window.HostBase + vma.Start, vma.Length) ?? default;
        ulong sharers = vma.File == null ? 1 : (ulong)Math.Max(1, vma.File.References / Math.Max(1, _table.CountOf(vma.File)));
        bool memory = vma.IsFrozen || vma.File is { IsMemory: true };
        // A shared mapping without a file is an object of its own to the host.
        var sizes = new Sizes { Total = vma.Length, Resident = own + object_, Proportional = own + object_ / sharers, PrivateDirty = own, Anonymous = own, ProportionalAnonymous = own };
        if (vma.IsFrozen)
        {
            sizes.Anonymous += object_;
            sizes.ProportionalAnonymous += object_ / sharers;
        }
        if (sharers == 1 && memory) sizes.PrivateDirty += object_;
        else if (memory) sizes.SharedDirty = object_;
        else if (sharers == 1) sizes.PrivateClean = object_;
        else sizes.SharedClean = object_;
        if ((vma.Flags & VmaFlags.Locked) != 0) sizes.Locked = sizes.Proportional;
        return sizes;
    }

    /// <summary>Writes <c>/proc/self/smaps</c>, or the sum of it, <c>smaps_rollup</c>.</summary>
    public void WriteDetails(TextWriter writer, bool rollup)
    {
        var all = new List<(Vma Shown, Sizes Sizes)>();
        lock (_lock)
        {
            for (int i = 0; i < _table.Count; i++)
            {
                var (shown, sizes) = (_table[i].Thawed(), Measure(_table[i]));
                if (all.Count > 0 && all[^1].Shown.Joins(shown)) all[^1] = (all[^1].Shown with { End = shown.End }, all[^1].Sizes + sizes);
                else all.Add((shown, sizes));
            }
        }
        if (rollup)
        {
            if (all.Count == 0) return;
            var sum = all.Aggregate(default(Sizes), (total, one) => total + one.Sizes);
            writer.Write($"{all[0].Shown.Start:x8}-{all[^1].Shown.End:x8} ---p 00000000 00:00 0 ".PadRight(73) + "[rollup]\n");
            WriteSizes(writer, sum, rollup: true);
            return;
        }
        foreach (var (vma, sizes) in all)
        {
            WriteMapping(writer, vma);
            Row(writer, "Size", sizes.Total);
            Row(writer, "KernelPageSize", PageSize);
            Row(writer, "MMUPageSize", PageSize);
            WriteSizes(writer, sizes, rollup: false);
            writer.Write("THPeligible:           0\n");
            writer.Write($"VmFlags: {FlagNames(vma)}\n");
        }
    }

    private static void WriteSizes(TextWriter writer, Sizes sizes, bool rollup)
    {
        Row(writer, "Rss", sizes.Resident);
        Row(writer, "Pss", sizes.Proportional);
        Row(writer, "Pss_Dirty", Math.Min(sizes.Proportional, sizes.PrivateDirty + sizes.SharedDirty));
        if (rollup)
        {
            Row(writer, "Pss_Anon", sizes.ProportionalAnonymous);
            Row(writer, "Pss_File", sizes.Proportional - sizes.ProportionalAnonymous);
            Row(writer, "Pss_Shmem", 0);
        }
        Row(writer, "Shared_Clean", sizes.SharedClean);
        Row(writer, "Shared_Dirty", sizes.SharedDirty);
        Row(writer, "Private_Clean", sizes.PrivateClean);
        Row(writer, "Private_Dirty", sizes.PrivateDirty);
        Row(writer, "Referenced", sizes.Resident);
        Row(writer, "Anonymous", sizes.Anonymous);
        foreach (string none in (ReadOnlySpan<string>)["KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss"]) Row(writer, none, 0);
        Row(writer, "Locked", sizes.Locked);
    }

    private static void Row(TextWriter writer, string name, ulong bytes) => writer.Write(string.Create(CultureInfo.InvariantCulture, $"{name + ":",-16}{bytes >> 10,8} kB\n"));

    private static string FlagNames(Vma vma)
    {
        var p = vma.Protection;
        return ((p & Protection.Read) != 0 ? "rd " : "") + ((p & Protection.Write) != 0 ? "wr " : "") + ((p & Protection.Execute) != 0 ? "ex " : "") + (vma.IsShared ? "sh " : "")
            + "mr mw me " + (vma.IsShared ? "ms " : "") + ((vma.Flags & VmaFlags.Locked) != 0 ? "lo " : "") + ((vma.Flags & VmaFlags.DontFork) != 0 ? "dc " : "")
            + ((vma.Flags & VmaFlags.NoReserve) != 0 ? "nr " : "") + ((vma.Flags & VmaFlags.WipeOnFork) != 0 ? "wf " : "");
    }
}
