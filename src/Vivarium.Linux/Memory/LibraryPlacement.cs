using Vivarium.RiscV.Execution;

namespace Vivarium.Linux.Memory;

/// <summary>
/// Gives each library file its load address: the same in every process of a realm and, as a rule, in every run, so that one translation
/// (in memory or in the persistent cache) serves all. The address is a hash of the file's identity; a collision within the realm moves on to
/// the next free place.
/// </summary>
/// <remarks>Thread-safe. One per realm.</remarks>
public sealed class LibraryPlacement
{
    /// <summary>The area of the address space that libraries get: [Low, High).</summary>
    public const ulong Low = 0x10_0000_0000, High = 0x28_0000_0000;

    private const ulong Slot = 1UL << 20;

    private readonly Dictionary<CodeIdentity, (ulong Start, ulong Length)> _known = [];
    private readonly SortedDictionary<ulong, ulong> _taken = [];

    /// <summary>The place for a file that needs <paramref name="length"/> bytes; 0 where there is none.</summary>
    public ulong Find(in CodeIdentity identity, ulong length)
    {
        length = (length + Slot - 1) & ~(Slot - 1);
        if (length > (High - Low) / 16) return 0;
        lock (_known)
        {
            if (_known.TryGetValue(identity, out var place) && place.Length >= length) return place.Start;
            ulong slots = (High - Low - length) / Slot;
            ulong start = Low + Hash(identity) % slots * Slot;
            for (int attempt = 0; attempt < 1000; attempt++)
            {
                if (IsFree(start, length))
                {
                    _taken[start] = start + length;
                    _known[identity] = (start, length);
                    return start;
                }
                start += 16 * Slot;
                if (start + length > High) start = Low;
            }
            return 0;
        }
    }

    private bool IsFree(ulong start, ulong length)
    {
        foreach (var (takenStart, takenEnd) in _taken)
        {
            if (takenStart >= start + length) return true;
            if (takenEnd > start) return false;
        }
        return true;
    }

    /// <summary>FNV-1a over the identity's words: stable between runs, unlike <see cref="object.GetHashCode"/>.</summary>
    private static ulong Hash(in CodeIdentity identity)
    {
        ulong hash = 0xcbf29ce484222325;
        ReadOnlySpan<ulong> words = [identity.Device, identity.Inode, identity.Size, (ulong)identity.ModifiedNanoseconds];
        foreach (ulong word in words)
        {
            for (int shift = 0; shift < 64; shift += 8) hash = (hash ^ (word >> shift & 0xff)) * 0x100000001b3;
        }
        return hash >> 7;
    }
}
