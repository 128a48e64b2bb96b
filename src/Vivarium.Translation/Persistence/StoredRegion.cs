using System.Runtime.InteropServices;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Lowering;

namespace Vivarium.Translation.Persistence;

// A region in the persistent cache: this head, then WayCount ways in (8 bytes each), ExitCount StoredRegionExits, RunCount StoredRuns, LinkCount StoredRegionLinks, and the code, padded to 8 bytes. The code
// runs anywhere that is aligned to 64 bytes, once its jumps to the exits lead there. Guest addresses are relative to the region's head. The first two fields are those of StoredHead.

/// <summary>The head of a stored region.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StoredRegionHead
{
    /// <summary>Bytes of the whole record, a multiple of 8.</summary>
    public uint Length;

    /// <summary>Where the region's head lies in the file that it comes from.</summary>
    public uint FileOffset;
    public ulong GuestHash;
    public RegionVerdict Verdict;
    public uint Instructions, UsedIntegers, WrittenIntegers, UsedFloats, WrittenFloats, Flags; // 1 counts rounds, 2 tier 1's block loops inside, 4 counts as tier 1, 8 can be entered elsewhere than at the head
    public uint WayCount, ExitCount, RunCount, LinkCount, CodeLength, FunctionOffset, FunctionLength, Vectors, Unused;
}

/// <summary>What the comparison with tier 1 said.</summary>
internal enum RegionVerdict : uint
{
    Untried,
    Stays,

    /// <summary>Tier 1 is faster: a record without exits, runs and code, so that nobody compiles the region again.</summary>
    Goes,
}

/// <summary>See <see cref="RegionExit"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StoredRegionExit
{
    public long Target;
    public ulong IsIndirect;
}

/// <summary>See <see cref="RegionLink"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StoredRegionLink
{
    public uint Offset, Exit;
}

/// <summary>Regions to records of the persistent cache and back. Nothing in a record is trusted.</summary>
internal static unsafe class StoredRegion
{
    /// <summary>Of <see cref="StoredRegionHead.Flags"/>.</summary>
    public const uint HasWays = 8;

    public const int MaxWays = 256, MaxExits = 4096, MaxRuns = 4096, MaxLinks = 1 << 16, MaxRunLength = 256, MaxCode = 1 << 20;

    /// <summary>The record of a region whose code needs no relocation but for its jumps to exits.</summary>
    public static byte[] Make(RegionShape shape, ulong guestHash, ReadOnlySpan<byte> code, int functionOffset, int functionLength, ulong bias)
    {
        int ways = shape.Ways.Length, exits = shape.Exits.Length, runs = shape.Runs.Length, links = shape.Links.Length;
        int length = (sizeof(StoredRegionHead) + ways * sizeof(long) + exits * sizeof(StoredRegionExit) + runs * sizeof(StoredRun) + links * sizeof(StoredRegionLink) + code.Length + 7) & ~7;
        var record = new byte[length];
        MemoryMarshal.Write(record, new StoredRegionHead
        {
            Length = (uint)length, FileOffset = (uint)(shape.Head - bias), GuestHash = guestHash, Instructions = (uint)shape.Instructions,
            UsedIntegers = shape.UsedIntegers, WrittenIntegers = shape.WrittenIntegers, UsedFloats = shape.UsedFloats, WrittenFloats = shape.WrittenFloats,
            Flags = (shape.CountsRounds ? 1u : 0) | (shape.LoopsInTierOne ? 2u : 0) | (shape.CountsAsTierOne ? 4u : 0) | (ways > 1 ? HasWays : 0), WayCount = (uint)ways, ExitCount = (uint)exits, RunCount = (uint)runs, LinkCount = (uint)links, CodeLength = (uint)code.Length,
            FunctionOffset = (uint)functionOffset, FunctionLength = (uint)functionLength, Vectors = shape.Vectors,
        });
        int at = sizeof(StoredRegionHead);
        Span<long> storedWays = MemoryMarshal.Cast<byte, long>(record.AsSpan(at, ways * sizeof(long)));
        for (int i = 0; i < ways; i++) storedWays[i] = (long)(shape.Ways[i] - shape.Head);
        at += ways * sizeof(long);
        Span<StoredRegionExit> storedExits = MemoryMarshal.Cast<byte, StoredRegionExit>(record.AsSpan(at, exits * sizeof(StoredRegionExit)));
        for (int i = 0; i < exits; i++)
        {
            RegionExit exit = shape.Exits[i];
            storedExits[i] = new StoredRegionExit { Target = (long)(exit.Pc - shape.Head), IsIndirect = exit.IsIndirect ? 1u : 0 };
        }
        at += exits * sizeof(StoredRegionExit);
        Span<StoredRun> storedRuns = MemoryMarshal.Cast<byte, StoredRun>(record.AsSpan(at, runs * sizeof(StoredRun)));
        for (int i = 0; i < runs; i++) storedRuns[i] = new StoredRun { Start = (long)(shape.Runs[i].Start - shape.Head), Length = (ulong)shape.Runs[i].Length };
        at += runs * sizeof(StoredRun);
        Span<StoredRegionLink> storedLinks = MemoryMarshal.Cast<byte, StoredRegionLink>(record.AsSpan(at, links * sizeof(StoredRegionLink)));
        for (int i = 0; i < links; i++) storedLinks[i] = new StoredRegionLink { Offset = (uint)shape.Links[i].Offset, Exit = (uint)shape.Links[i].Exit };
        code.CopyTo(record.AsSpan(at + links * sizeof(StoredRegionLink)));
        return record;
    }

    /// <summary>The record to keep once the verdict is known.</summary>
    public static byte[] Judge(byte[] record, RegionVerdict verdict)
    {
        StoredRegionHead head = MemoryMarshal.Read<StoredRegionHead>(record);
        head.Verdict = verdict;
        if (verdict == RegionVerdict.Goes)
        {
            head.Length = (uint)sizeof(StoredRegionHead);
            head.WayCount = head.ExitCount = head.RunCount = head.LinkCount = head.CodeLength = head.FunctionOffset = head.FunctionLength = 0;
        }
        byte[] judged = record.AsSpan(0, (int)head.Length).ToArray();
        MemoryMarshal.Write(judged, head);
        return judged;
    }

    /// <summary>Reads a record of the region at <paramref name="pc"/>. False where it is nonsense.</summary>
    /// <param name="record">At least a head.</param>
    /// <param name="pc">Guest address of its head.</param>
    /// <param name="range">Where its guest bytes must lie, pc among them.</param>
    /// <param name="head">The record's head.</param>
    /// <param name="shape">The region; null where the verdict is <see cref="RegionVerdict.Goes"/>.</param>
    /// <param name="code">Its code.</param>
    public static bool TryRead(ReadOnlySpan<byte> record, ulong pc, in CodeRange range, out StoredRegionHead head, out RegionShape? shape, out ReadOnlySpan<byte> code)
    {
        head = default;
        shape = null;
        code = default;
        if (record.Length < sizeof(StoredRegionHead)) return false;
        head = MemoryMarshal.Read<StoredRegionHead>(record);
        if (head.Verdict == RegionVerdict.Goes) return head.WayCount == 0 && head.ExitCount == 0 && head.RunCount == 0 && head.LinkCount == 0 && head.CodeLength == 0;
        if (head.Verdict > RegionVerdict.Goes || head.WayCount is 0 or > MaxWays || head.ExitCount > MaxExits || head.ExitCount < head.WayCount || head.RunCount is 0 or > MaxRuns || head.LinkCount > MaxLinks || head.CodeLength is 0 or > MaxCode) return false;
        int waysAt = sizeof(StoredRegionHead), exitsAt = waysAt + (int)head.WayCount * sizeof(long), runsAt = exitsAt + (int)head.ExitCount * sizeof(StoredRegionExit), linksAt = runsAt + (int)head.RunCount * sizeof(StoredRun),
            codeAt = linksAt + (int)head.LinkCount * sizeof(StoredRegionLink);
        if (codeAt + (long)head.CodeLength > record.Length) return false;
        if (head.FunctionLength == 0 || head.FunctionOffset > head.CodeLength || head.FunctionLength > head.CodeLength - head.FunctionOffset) return false;
        if (head.Flags > 15 || ((head.Flags & HasWays) != 0) != (head.WayCount > 1) || (head.WrittenIntegers & ~head.UsedIntegers) != 0 || ((head.UsedIntegers | head.WrittenIntegers) & 1) != 0) return false;
        if ((head.WrittenFloats & ~head.UsedFloats) != 0) return false;
        var ways = new ulong[head.WayCount];
        ReadOnlySpan<long> storedWays = MemoryMarshal.Cast<byte, long>(record[waysAt..exitsAt]);
        for (int i = 0; i < ways.Length; i++)
        {
            ways[i] = pc + (ulong)storedWays[i];
            if (ways[i] < range.Start || ways[i] >= range.End || (ways[i] & 1) != 0 || (ways[i] == pc) != (i == 0)) return false;
        }
        var exits = new RegionExit[head.ExitCount];
        ReadOnlySpan<StoredRegionExit> storedExits = MemoryMarshal.Cast<byte, StoredRegionExit>(record[exitsAt..runsAt]);
        for (int i = 0; i < exits.Length; i++)
        {
            if (storedExits[i].IsIndirect > 1 || (i < ways.Length && storedExits[i].IsIndirect != 0)) return false;
            exits[i] = new RegionExit(storedExits[i].IsIndirect != 0 || i < ways.Length ? 0 : pc + (ulong)storedExits[i].Target, storedExits[i].IsIndirect != 0, i < ways.Length ? i : 0);
        }
        var runs = new (ulong Start, int Length)[head.RunCount];
        ReadOnlySpan<StoredRun> storedRuns = MemoryMarshal.Cast<byte, StoredRun>(record[runsAt..linksAt]);
        for (int i = 0; i < runs.Length; i++)
        {
            ulong start = pc + (ulong)storedRuns[i].Start;
            if (storedRuns[i].Length is 0 or > MaxRunLength || start < range.Start || start >= range.End || storedRuns[i].Length > range.End - start) return false;
            runs[i] = (start, (int)storedRuns[i].Length);
        }
        var links = new RegionLink[head.LinkCount];
        ReadOnlySpan<StoredRegionLink> storedLinks = MemoryMarshal.Cast<byte, StoredRegionLink>(record[linksAt..codeAt]);
        for (int i = 0; i < links.Length; i++)
        {
            if (head.CodeLength < 4 || storedLinks[i].Offset > head.CodeLength - 4 || storedLinks[i].Exit >= head.ExitCount) return false;
            links[i] = new RegionLink((int)storedLinks[i].Offset, (int)storedLinks[i].Exit);
        }
        shape = new RegionShape
        {
            Head = pc, Ways = ways, Runs = runs, Instructions = (int)head.Instructions, Exits = exits, UsedIntegers = head.UsedIntegers, WrittenIntegers = head.WrittenIntegers,
            UsedFloats = head.UsedFloats, WrittenFloats = head.WrittenFloats, CountsRounds = (head.Flags & 1) != 0, LoopsInTierOne = (head.Flags & 2) != 0,
            CountsAsTierOne = (head.Flags & 4) != 0, Vectors = head.Vectors, Links = links,
        };
        code = record.Slice(codeAt, (int)head.CodeLength);
        return true;
    }

    /// <summary>Whether all guest bytes of a region lie in a range of one file.</summary>
    public static bool Fits(RegionShape shape, in CodeRange range)
    {
        if (range.Regions == null || shape.Exits.Length > MaxExits || shape.Ways.Length > MaxWays || shape.Runs.Length > MaxRuns || shape.Links.Length > MaxLinks) return false;
        foreach ((ulong start, int length) in shape.Runs)
        {
            if (start < range.Start || start >= range.End || (ulong)length > range.End - start || length is <= 0 or > MaxRunLength) return false;
        }
        return true;
    }
}
