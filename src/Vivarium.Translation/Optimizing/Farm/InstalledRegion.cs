using Vivarium.Translation.Cache;

namespace Vivarium.Translation.Optimizing.Farm;

/// <summary>A region in service: what the sampler has to know of it.</summary>
/// <remarks>The header may be read only while the region is in its engine's list, under the engine's eviction lock.</remarks>
internal sealed unsafe class InstalledRegion(BlockHeader* header, ulong code, int length, HashSet<ulong> addresses, int instructions, bool isComparable, ulong[] ways)
{
    public BlockHeader* Header => header;
    public ulong Head { get; } = header->GuestPc;

    /// <summary>Where it is entered, the head among them.</summary>
    public ulong[] Ways => ways;

    /// <summary>How often it was entered.</summary>
    public long Entered => header->Entries + header->Returns;

    /// <summary>Where its function lies.</summary>
    public ulong Code => code;
    public int Length => length;

    /// <summary>The guest addresses of its instructions.</summary>
    public HashSet<ulong> Addresses => addresses;
    public int Instructions => instructions;

    /// <summary>The region and tier 1 count the same: so work done by both can be compared.</summary>
    public bool IsComparable => isComparable;

    // What stayed for want of a comparison is tried again, more and more seldom.
    private const int Patience = 64, MostPatience = 4096;
    private int _patience, _seen;

    /// <summary>A trial has ended without a comparison: there shall be another when the region has been seen for some time.</summary>
    public void TryAgainLater()
    {
        _patience = _patience == 0 ? Patience : Math.Min(2 * _patience, MostPatience);
        _seen = 0;
    }

    /// <summary>A sample found the region outside of a trial: whether there shall be another trial now. The sampler's alone.</summary>
    public bool IsDueAgain()
    {
        if (_patience == 0 || ++_seen < _patience) return false;
        _seen = 0;
        return true;
    }

    /// <summary>Its record for the persistent cache, and where in that it goes; null where it cannot be kept.</summary>
    public byte[]? Record { get; set; }
    public Persistence.StoredBlocks? Store { get; set; }

    /// <summary>How often control has come to the head, by whatever way is counted.</summary>
    public long Progress => header->Entries + header->Rounds + header->Probes;

    public bool Covers(ulong hostPc)
    {
        ulong stubs = header->NextWay != null ? header->NextWay->Entry : header->Entry; // the head's stand behind the others
        return hostPc - code < (ulong)length || hostPc - stubs < header->CodeEnd - stubs;
    }
}
