using System.Runtime.InteropServices;

namespace Vivarium.RiscV.Execution;

/// <summary>
/// Versions that let a store-conditional see that somebody has stored since its load-reserved, even where the old value is back (ABA).
/// </summary>
/// <remarks>
/// One version per 8 bytes of page offset, so that all mappings of a shared page, in whatever address space, meet in the same one; hence
/// harts share <see cref="Shared"/>, one table for the host process, unless what they run must not depend on other harts. Bit 0 is a lock, bit 1 says that
/// somebody may hold a reservation ("watched"). LR sets that, remembers the version, then loads. SC takes the lock where
/// the version is still the same, compares the value and stores, and gives the lock back with the next version, unwatched; where
/// somebody holds the lock it fails. Addresses that meet by chance make an SC fail that would have succeeded, which the manual allows.
/// <para>AMOs, Zacas and fused LR/SC sequences look at a byte that says whether any load-reserved has ever run (<see cref="InUseOffset"/>; hardly any
/// program has one that is not fused), then whether their version is watched, and only then take the lock and leave the next version behind. What began before
/// the load-reserved and ends after it is not seen: for an SC to be fooled, two other harts must be in these few instructions at once, and the second must put back the
/// value that the first replaced. Plain stores that do that are not seen at all: against them the value decides.</para>
/// </remarks>
public sealed unsafe class Reservations
{
    /// <summary>The bits of an address that choose its version; eight times that is its offset in the table (a cache line each).</summary>
    public const int AddressMask = 0xff8;

    /// <summary>Bits of a version.</summary>
    public const int Locked = 1, Watched = 2;

    /// <summary>Offset in the table of a byte that is not 0 once there has been a load-reserved.</summary>
    public const int InUseOffset = (AddressMask + 8) * 8;

    private const ulong Step = 4;

    // SAFETY: lives as long as this object, which every hart that uses it holds.
    private readonly ulong* _table;

    public Reservations()
    {
        const nuint size = InUseOffset + 64;
        _table = (ulong*)NativeMemory.AlignedAlloc(size, 64);
        new Span<byte>(_table, (int)size).Clear();
    }

    ~Reservations() => NativeMemory.AlignedFree(_table);

    /// <summary>The table that harts use unless they are told otherwise.</summary>
    public static Reservations Shared { get; } = new();

    internal ulong Address => (ulong)_table;

    // SAFETY: the table outlives the hart, and the mask keeps the index within it.
    private static ref ulong Version(ref HartState state, ulong address) => ref *((ulong*)state.ReservationTable + (address & AddressMask));

    /// <summary>Before a load-reserved loads: the version to remember.</summary>
    internal static ulong Watch(ref HartState state, ulong address)
    {
        ref byte inUse = ref *((byte*)state.ReservationTable + InUseOffset);
        if (Volatile.Read(ref inUse) == 0)
        {
            // From here on every hart looks at versions before it changes memory atomically.
            Volatile.Write(ref inUse, 1);
            Interlocked.MemoryBarrierProcessWide();
        }
        ref ulong version = ref Version(ref state, address);
        while (true)
        {
            ulong now = Volatile.Read(ref version);
            if ((now & Watched) != 0) return now;
            Interlocked.Or(ref version, Watched);
        }
    }

    /// <summary>Reserves <paramref name="address"/> anew with the value that the hart's last load-reserved read.</summary>
    public static void Renew(ref HartState state, ulong address)
    {
        state.ReservationVersion = Watch(ref state, address);
        state.ReservationAddress = address;
    }

    /// <summary>For a store-conditional: takes the lock if nobody has stored since the load-reserved.</summary>
    internal static bool TryLock(ref HartState state, ulong address)
    {
        ulong version = state.ReservationVersion;
        return (version & (Locked | Watched)) == Watched && Interlocked.CompareExchange(ref Version(ref state, address), version | Locked, version) == version;
    }

    /// <summary>Gives the lock back.</summary>
    internal static void Unlock(ref HartState state, ulong address, bool changed)
    {
        ref ulong version = ref Version(ref state, address);
        ulong now = version & ~(ulong)Locked;
        Volatile.Write(ref version, changed ? (now & ~(ulong)Watched) + Step : now);
    }

    /// <summary>Before an atomic change that is no store-conditional: whether the version is watched, and now locked until <see cref="Unlock"/>.</summary>
    internal static bool LockWatched(ref HartState state, ulong address)
    {
        if (Volatile.Read(ref *((byte*)state.ReservationTable + InUseOffset)) == 0) return false;
        ref ulong version = ref Version(ref state, address);
        var wait = new SpinWait();
        while (true)
        {
            ulong now = Volatile.Read(ref version);
            if ((now & Watched) == 0) return false;
            if ((now & Locked) == 0 && Interlocked.CompareExchange(ref version, now | Locked, now) == now) return true;
            wait.SpinOnce();
        }
    }
}
