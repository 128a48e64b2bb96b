namespace Vivarium.Host;

/// <summary>The host's clocks, read by its vDSO where it has one: without entering the kernel, and the same clock that the kernel's own calls show.</summary>
/// <remarks>Thread-safe. The vDSO is the kernel's code, which uses no vector registers.</remarks>
public static unsafe class HostClock
{
    private const ulong AT_SYSINFO_EHDR = 33;
    private const uint LoadSegment = 1, DynamicSegment = 2;
    private const long HashTable = 4, StringTable = 5, SymbolTable = 6, GnuHashTable = 0x6ffffef5;

    /// <summary>Address of <c>int clock_gettime(int clock, struct timespec *)</c> for emitted code; 0 where the host has no vDSO.</summary>
    public static ulong EntryPoint { get; } = FindEntryPoint();

    /// <summary>A clock in nanoseconds; 0 for one that the host does not have.</summary>
    public static ulong Nanoseconds(int clock) => TryRead(clock, out long seconds, out long nanoseconds) ? (ulong)(seconds * 1_000_000_000 + nanoseconds) : 0;

    /// <summary>Reads a clock; false for one that the host does not have.</summary>
    public static bool TryRead(int clock, out long seconds, out long nanoseconds)
    {
        long* time = stackalloc long[2];
        // SAFETY: the function has exactly this signature, and writes 16 bytes.
        long status = EntryPoint != 0
            ? ((delegate* unmanaged[SuppressGCTransition]<int, long*, int>)EntryPoint)(clock, time)
            : HostSyscall.InvokeFast(LinuxConstants.SysClockGettime, clock, (long)time);
        (seconds, nanoseconds) = status == 0 ? (time[0], time[1]) : (0, 0);
        return status == 0;
    }

    // SAFETY (both): the kernel maps a well-formed ELF file of its own at the address that it names, and never unmaps it.
    private static ulong FindEntryPoint()
    {
        ulong start = Libc.GetAuxiliaryValue(AT_SYSINFO_EHDR);
        if (start == 0 || *(uint*)start != 0x464c457f) return 0;
        ulong header = start + *(ulong*)(start + 32), bias = ulong.MaxValue, dynamic = 0;
        int size = *(ushort*)(start + 54), count = *(ushort*)(start + 56);
        for (int i = 0; i < count; i++, header += (ulong)size)
        {
            if (*(uint*)header == LoadSegment && bias == ulong.MaxValue) bias = start + *(ulong*)(header + 8) - *(ulong*)(header + 16);
            if (*(uint*)header == DynamicSegment) dynamic = start + *(ulong*)(header + 8);
        }
        if (bias == ulong.MaxValue || dynamic == 0) return 0;
        ulong hash = 0, gnuHash = 0, strings = 0, symbols = 0;
        for (; *(long*)dynamic != 0; dynamic += 16)
        {
            ulong value = bias + *(ulong*)(dynamic + 8);
            switch (*(long*)dynamic)
            {
                case HashTable: hash = value; break;
                case GnuHashTable: gnuHash = value; break;
                case StringTable: strings = value; break;
                case SymbolTable: symbols = value; break;
            }
        }
        if (strings == 0 || symbols == 0) return 0;
        uint total = hash != 0 ? *(uint*)(hash + 4) : gnuHash != 0 ? CountOfGnuHash(gnuHash) : 0;
        for (uint i = 0; i < total; i++)
        {
            ulong symbol = symbols + i * 24;
            if (*(ushort*)(symbol + 6) == 0) continue; // not defined here
            var name = System.Runtime.InteropServices.MemoryMarshal.CreateReadOnlySpanFromNullTerminated((byte*)(strings + *(uint*)symbol));
            if (name.SequenceEqual("__vdso_clock_gettime"u8)) return bias + *(ulong*)(symbol + 8);
        }
        return 0;
    }

    /// <summary>Number of symbols: DT_GNU_HASH does not say it, but its last chain ends with the last symbol.</summary>
    private static uint CountOfGnuHash(ulong table)
    {
        uint buckets = *(uint*)table, first = *(uint*)(table + 4), bloom = *(uint*)(table + 8), last = 0;
        var bucket = (uint*)(table + 16 + bloom * 8UL);
        for (uint i = 0; i < buckets; i++) last = Math.Max(last, bucket[i]);
        if (last < first) return first;
        uint* chain = bucket + buckets;
        while ((chain[last - first] & 1) == 0) last++;
        return last + 1;
    }
}
