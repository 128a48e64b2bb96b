using System.Runtime.InteropServices;

namespace Vivarium.RiscV.Execution;

/// <summary>
/// Versions that let a store-conditional see that another one has stored since its load-reserved, even where the old value is back (ABA).
/// </summary>
/// <remarks>
/// One version per 8 bytes of page offset, so that all mappings of a shared page, in whatever address space, meet in the same one; hence
/// harts share <see cref="Shared"/>, one table for the host process, unless what they run must not depend on other harts. Bit 0 is a lock. LR remembers the version, then loads. SC takes the lock where
/// the version is still the same, compares the value and stores, and gives the lock back with the version advanced by 2; where
/// somebody holds the lock it fails. So nobody waits, and addresses that meet by chance make an SC fail that would have succeeded, which the manual
/// allows. AMOs and plain stores do not advance versions: against them the value decides.
/// </remarks>
public sealed unsafe class Reservations
{
    /// <summary>The bits of an address that choose its version; eight times that is its offset in the table (a cache line each).</summary>
    public const int AddressMask = 0xff8;

    // SAFETY: lives as long as this object, which every hart that uses it holds.
    private readonly ulong* _table;

    public Reservations()
    {
        const nuint size = (AddressMask + 8) * 8;
        _table = (ulong*)NativeMemory.AlignedAlloc(size, 64);
        new Span<byte>(_table, (int)size).Clear();
    }

    ~Reservations() => NativeMemory.AlignedFree(_table);

    /// <summary>The table that harts use unless they are told otherwise.</summary>
    public static Reservations Shared { get; } = new();

    internal ulong Address => (ulong)_table;

    /// <summary>Reserves <paramref name="address"/> anew with the value that the hart's last load-reserved read.</summary>
    public static void Renew(ref HartState state, ulong address)
    {
        // SAFETY: the table outlives the hart, and the mask keeps the index within it.
        state.ReservationVersion = Volatile.Read(ref *((ulong*)state.ReservationTable + (address & AddressMask)));
        state.ReservationAddress = address;
    }
}
