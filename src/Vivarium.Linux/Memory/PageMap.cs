using System.Runtime.InteropServices;
using Vivarium.Host;

namespace Vivarium.Linux.Memory;

/// <summary>Which pages of this host process exist and are no file's: /proc/self/pagemap, by PAGEMAP_SCAN where the kernel has it (Linux 6.7), which
/// steps over what is not there.</summary>
/// <remarks>Not thread-safe.</remarks>
internal sealed class PageMap : IDisposable
{
    private const ulong Present = 1UL << 63, Swapped = 1UL << 62, OfFile = 1UL << 61;

    private const long PagemapScan = 0xC0606610;
    private const ulong IsFile = 4, IsPresent = 8, IsSwapped = 16, IsZero = 32;

    /// <summary><c>struct pm_scan_arg</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private record struct ScanArguments(
        ulong Size, ulong Flags, ulong Start, ulong End, ulong WalkEnd, ulong Vector, ulong VectorLength, ulong MaxPages,
        ulong Inverted, ulong All, ulong Any, ulong Return);

    /// <summary><c>struct page_region</c>.</summary>
    private record struct Region(ulong Start, ulong End, ulong Categories);

    private static bool s_hasNoScan;

    private readonly HostBuffer _buffer = new(64 << 10);
    private readonly int _descriptor;

    public PageMap()
    {
        "/proc/self/pagemap\0"u8.CopyTo(_buffer.Bytes);
        _descriptor = (int)HostSyscall.Invoke(2 /* open */, _buffer.Address, 0x80000 /* O_CLOEXEC */);
    }

    /// <summary>Fills <paramref name="runs"/> with the runs of pages of the process's own; all of it where the host does not say.</summary>
    public void OwnRuns(ulong hostAddress, ulong length, List<(ulong Offset, ulong Length)> runs)
    {
        runs.Clear();
        if (!s_hasNoScan && Scan(hostAddress, length, runs)) return;
        s_hasNoScan = true;
        runs.Clear();
        ulong runStart = ulong.MaxValue;
        for (ulong at = 0; at < length;)
        {
            ulong count = Math.Min((length - at) / AddressSpace.PageSize, (ulong)_buffer.Bytes.Length / 8);
            long read = _descriptor < 0 ? -1
                : HostSyscall.Invoke(17 /* pread64 */, _descriptor, _buffer.Address, (long)(count * 8), (long)((hostAddress + at) / AddressSpace.PageSize * 8));
            if (read <= 0)
            {
                if (runStart == ulong.MaxValue) runStart = at;
                break;
            }
            foreach (ulong entry in MemoryMarshal.Cast<byte, ulong>(_buffer.Bytes[..(int)read]))
            {
                bool own = (entry & (Present | Swapped)) != 0 && (entry & OfFile) == 0;
                if (own && runStart == ulong.MaxValue) runStart = at;
                if (!own && runStart != ulong.MaxValue)
                {
                    runs.Add((runStart, at - runStart));
                    runStart = ulong.MaxValue;
                }
                at += AddressSpace.PageSize;
            }
        }
        if (runStart != ulong.MaxValue) runs.Add((runStart, length - runStart));
    }

    /// <summary>The host has no PAGEMAP_SCAN: large ranges take long.</summary>
    public static bool HasNoScan => Volatile.Read(ref s_hasNoScan);

    /// <summary>As <see cref="Resident"/>, entry by entry.</summary>
    internal (ulong Anonymous, ulong File) ResidentByEntries(ulong hostAddress, ulong length)
    {
        ulong anonymous = 0, file = 0;
        for (ulong at = 0; at < length && _descriptor >= 0;)
        {
            ulong count = Math.Min((length - at) / AddressSpace.PageSize, (ulong)_buffer.Bytes.Length / 8);
            long read = HostSyscall.Invoke(17 /* pread64 */, _descriptor, _buffer.Address, (long)(count * 8), (long)((hostAddress + at) / AddressSpace.PageSize * 8));
            if (read <= 0) break;
            foreach (ulong entry in MemoryMarshal.Cast<byte, ulong>(_buffer.Bytes[..(int)read]))
            {
                if ((entry & Present) == 0) continue;
                if ((entry & OfFile) != 0) file += AddressSpace.PageSize;
                else anonymous += AddressSpace.PageSize;
            }
            at += (ulong)read / 8 * AddressSpace.PageSize;
        }
        return (anonymous, file);
    }

    // A range that a host without PAGEMAP_SCAN is still asked about.
    private const ulong LargestByEntries = 4UL << 30;

    /// <summary>Bytes of a range that are in memory, without a file and with one.</summary>
    /// <remarks>Where it need not be <paramref name="divided"/> all of it counts as anonymous, which takes fewer regions.</remarks>
    public (ulong Anonymous, ulong File) Resident(ulong hostAddress, ulong length, bool divided = true)
    {
        const int ArgumentBytes = 96, RegionBytes = 24;
        ulong anonymous = 0, file = 0, end = hostAddress + length;
        int capacity = (_buffer.Bytes.Length - ArgumentBytes) / RegionBytes;
        for (ulong at = hostAddress; at < end && _descriptor >= 0;)
        {
            _buffer.At<ScanArguments>(0) = new ScanArguments(ArgumentBytes, 0, at, end, 0, (ulong)_buffer.Address + ArgumentBytes, (ulong)capacity, 0,
                IsZero, IsPresent | IsZero, 0, divided ? IsFile : IsPresent);
            long found = HostSyscall.Invoke(16 /* ioctl */, _descriptor, PagemapScan, _buffer.Address);
            if (found < 0)
            {
                Volatile.Write(ref s_hasNoScan, true);
                return length <= LargestByEntries ? ResidentByEntries(hostAddress, length) : default;
            }
            foreach (var region in MemoryMarshal.Cast<byte, Region>(_buffer.Bytes.Slice(ArgumentBytes, (int)found * RegionBytes)))
            {
                if ((region.Categories & IsFile) != 0) file += region.End - region.Start;
                else anonymous += region.End - region.Start;
            }
            ulong reached = _buffer.At<ScanArguments>(0).WalkEnd;
            if (found < capacity || reached <= at) break;
            at = reached;
        }
        return (anonymous, file);
    }

    private bool Scan(ulong hostAddress, ulong length, List<(ulong Offset, ulong Length)> runs)
    {
        if (_descriptor < 0) return false;
        const int ArgumentBytes = 96, RegionBytes = 24;
        ulong end = hostAddress + length;
        int capacity = (_buffer.Bytes.Length - ArgumentBytes) / RegionBytes;
        for (ulong at = hostAddress; at < end;)
        {
            ref var arguments = ref _buffer.At<ScanArguments>(0);
            arguments = new ScanArguments(ArgumentBytes, 0, at, end, 0, (ulong)_buffer.Address + ArgumentBytes, (ulong)capacity, 0,
                IsFile | IsZero, IsFile | IsZero, IsPresent | IsSwapped, IsPresent);
            long found = HostSyscall.Invoke(16 /* ioctl */, _descriptor, PagemapScan, _buffer.Address);
            if (found < 0) return false;
            foreach (var region in MemoryMarshal.Cast<byte, Region>(_buffer.Bytes.Slice(ArgumentBytes, (int)found * RegionBytes)))
            {
                ulong offset = region.Start - hostAddress;
                if (runs.Count > 0 && runs[^1].Offset + runs[^1].Length == offset) runs[^1] = (runs[^1].Offset, region.End - hostAddress - runs[^1].Offset);
                else runs.Add((offset, region.End - region.Start));
            }
            if (found < capacity || arguments.WalkEnd <= at) break;
            at = arguments.WalkEnd;
        }
        return true;
    }

    public void Dispose()
    {
        if (_descriptor >= 0) HostSyscall.Invoke(3, _descriptor);
    }
}
