using System.Runtime.InteropServices;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Farm;
using Vivarium.Translation.Persistence;

namespace Vivarium.Translation;

// Regions that outlive the process. What was compiled is kept as it is, with what the comparison with tier 1 said; a later run puts a region in service as soon as
// the page of its head has been executed, without LLVM. The farm's sampler does that, so the guest does not wait for it.
public sealed unsafe partial class TranslationEngine
{
    private readonly Lock _storedLock = new(); // before _optimizeLock
    private readonly Dictionary<ulong, CodeRange> _pending = []; // heads of stored regions that have not been looked at; under _storedLock
    private readonly HashSet<ulong> _lookedAt = [];
    private readonly List<ulong> _arrived = [];
    private CodeRange[]? _rangesSeen;
    private byte[] _regionRecord = [];

    /// <summary>Puts those stored regions in service whose heads lie in pages that have been executed.</summary>
    internal void InstallStored(CompileFarm farm)
    {
        if (_cache.Store == null || !CanOptimize) return;
        lock (_storedLock)
        {
            FindStored();
            _arrived.Clear();
            if (_pending.Count == 0) return;
            lock (_lock)
            {
                // A page that runs: stored blocks may run through the head, and would never make it one of a block.
                foreach (ulong pc in _pending.Keys)
                {
                    if (_pages.ContainsKey(pc >> 12)) _arrived.Add(pc);
                }
            }
            foreach (ulong pc in _arrived)
            {
                CodeRange range = _pending[pc];
                _pending.Remove(pc);
                _lookedAt.Add(pc);
                InstallStored(farm, pc, range);
            }
        }
    }

    /// <summary>Whether a block runs through a way into a region, which would never be reached there.</summary>
    private bool RunsThroughRegion(BlockHeader* block)
    {
        if (_farm == null) return false;
        lock (_lock)
        {
            foreach (InstalledRegion region in _installed)
            {
                foreach (ulong pc in region.Ways)
                {
                    if (pc != block->GuestPc && Touches(block, pc, pc + 1)) return true;
                }
            }
        }
        return false;
    }

    private void FindStored()
    {
        CodeRange[] ranges = _codeRanges.All;
        if (ranges == _rangesSeen) return;
        _rangesSeen = ranges;
        _pending.Clear();
        foreach (CodeRange range in ranges)
        {
            if (range.Regions == null) continue;
            foreach (uint offset in range.Regions.Offsets())
            {
                ulong pc = offset + range.Bias;
                if (pc >= range.Start && pc < range.End && !_lookedAt.Contains(pc)) _pending.TryAdd(pc, range);
            }
        }
    }

    private void InstallStored(CompileFarm farm, ulong pc, in CodeRange range)
    {
        int length = range.Regions!.Find((uint)(pc - range.Bias), ref _regionRecord);
        if (length == 0) return;
        ReadOnlySpan<byte> record = _regionRecord.AsSpan(0, length);
        if (!StoredRegion.TryRead(record, pc, range, out StoredRegionHead head, out RegionShape? shape, out ReadOnlySpan<byte> code))
        {
            farm.Statistics.Stale++;
            range.Regions.Refuse();
            return;
        }
        if (shape == null)
        {
            lock (_lock) _demoted.Add(new CodePlace(pc, 0), (int)head.Instructions, (head.Flags & StoredRegion.HasWays) != 0, wasLeft: false);
            return;
        }
        if (HashOf(shape.Runs) != head.GuestHash || (shape.HasFloat && !AllowsFloatRegions))
        {
            farm.Statistics.Stale++;
            return;
        }
        ulong place = Regions.Load(code);
        if (place == 0) return;
        if (Install(shape, new RegionCode(place, code.Length, (int)head.FunctionOffset, (int)head.FunctionLength), head.GuestHash) is not { } installed)
        {
            farm.Statistics.Lost++;
            return;
        }
        farm.Statistics.Loaded++;
        if (head.Verdict == RegionVerdict.Stays) return;
        (installed.Record, installed.Store) = (record.ToArray(), range.Regions);
        farm.Try(this, installed);
    }

    /// <summary>Keeps a region that has just been compiled for later runs.</summary>
    internal void Keep(InstalledRegion installed, RegionShape shape, RegionCode code, ulong guestHash)
    {
        if (shape.IsExact) return;
        CodeRange range = _codeRanges.Find(shape.Head);
        if (code.Size > StoredRegion.MaxCode || !StoredRegion.Fits(shape, range)) return;
        installed.Record = StoredRegion.Make(shape, guestHash, code.Bytes, code.FunctionOffset, code.FunctionLength, range.Bias);
        installed.Store = range.Regions;
        installed.Store!.Add(installed.Record);
    }

    /// <summary>The comparison with tier 1 has ended.</summary>
    private static void Judged(InstalledRegion region, bool stays)
    {
        if (region.Record == null) return;
        region.Store!.Add(StoredRegion.Judge(region.Record, stays ? RegionVerdict.Stays : RegionVerdict.Goes));
        region.Record = null;
    }
}
