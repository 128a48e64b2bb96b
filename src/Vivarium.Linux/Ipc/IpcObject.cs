using System.Buffers.Binary;

namespace Vivarium.Linux.Ipc;

/// <summary>What shared memory segments, semaphore sets and message queues of System V have in common: a key, owners, a mode.</summary>
/// <remarks>Guarded by the lock of the realm's <see cref="SystemV"/>.</remarks>
internal abstract class IpcObject
{
    public const int Read = 4, Write = 2;

    public int Id { get; set; }
    public int Key { get; set; }
    public required uint Uid { get; set; }
    public required uint Gid { get; set; }
    public required uint CreatorUid { get; init; }
    public required uint CreatorGid { get; init; }

    /// <summary>The nine permission bits.</summary>
    public required int Mode { get; set; }

    /// <summary>Seconds since the epoch of the last change of owner or mode.</summary>
    public long ChangeTime { get; set; } = Now();

    /// <summary>IPC_RMID was called.</summary>
    public bool IsRemoved { get; set; }

    /// <summary>Threads that wait for a change.</summary>
    public List<GuestThread> Waiters { get; } = [];

    public static long Now() => Time.Clocks.Now(Time.Clocks.Realtime) / 1_000_000_000;

    public bool Allows(Credentials who, int wanted)
    {
        if (who.EffectiveUid == 0) return true;
        int bits = who.EffectiveUid == Uid || who.EffectiveUid == CreatorUid ? Mode >> 6
            : who.EffectiveGid == Gid || who.EffectiveGid == CreatorGid || who.Groups.Contains(Gid) ? Mode >> 3 : Mode;
        return (bits & wanted) == wanted;
    }

    public bool IsOwnedBy(Credentials who) => who.EffectiveUid == 0 || who.EffectiveUid == Uid || who.EffectiveUid == CreatorUid;

    public void Wake()
    {
        foreach (var thread in Waiters) thread.Unpark();
    }

    /// <summary><c>struct ipc64_perm</c>: 48 bytes.</summary>
    public void WritePermission(Span<byte> to)
    {
        BinaryPrimitives.WriteInt32LittleEndian(to, Key);
        BinaryPrimitives.WriteUInt32LittleEndian(to[4..], Uid);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], Gid);
        BinaryPrimitives.WriteUInt32LittleEndian(to[12..], CreatorUid);
        BinaryPrimitives.WriteUInt32LittleEndian(to[16..], CreatorGid);
        BinaryPrimitives.WriteInt32LittleEndian(to[20..], Mode | (IsRemoved ? 0x200 /* SHM_DEST */ : 0));
        BinaryPrimitives.WriteUInt16LittleEndian(to[24..], (ushort)(Id >> 15));
    }

    /// <summary>IPC_SET: owner and mode from a structure that begins with <c>struct ipc64_perm</c>.</summary>
    public void ReadPermission(ReadOnlySpan<byte> from)
    {
        Uid = BinaryPrimitives.ReadUInt32LittleEndian(from[4..]);
        Gid = BinaryPrimitives.ReadUInt32LittleEndian(from[8..]);
        Mode = BinaryPrimitives.ReadInt32LittleEndian(from[20..]) & 0x1ff;
        ChangeTime = Now();
    }
}

/// <summary>The objects of one kind. An id is a slot and how often it was used, so that old ids are not mistaken for new objects.</summary>
internal sealed class IpcTable<T> where T : IpcObject
{
    public const int Capacity = 32000;

    private readonly List<T?> _slots = [];
    private int _sequence;

    public IEnumerable<T> All => _slots.Where(slot => slot != null)!;

    public T? Find(int id) => id >= 0 && (id & 0x7fff) < _slots.Count && _slots[id & 0x7fff] is { } found && found.Id == id ? found : null;

    /// <summary>The object of a slot (SHM_STAT and its kin).</summary>
    public T? At(int slot) => (uint)slot < (uint)_slots.Count ? _slots[slot] : null;

    /// <summary>The highest slot in use; 0 without any.</summary>
    public int Highest => Math.Max(0, _slots.FindLastIndex(slot => slot != null));

    public T? ByKey(int key) => key == 0 ? null : All.FirstOrDefault(item => item.Key == key && !item.IsRemoved);

    /// <summary>Gives it an id; false where the table is full.</summary>
    public bool Add(T item)
    {
        int slot = _slots.IndexOf(null);
        if (slot < 0)
        {
            if (_slots.Count >= Capacity) return false;
            slot = _slots.Count;
            _slots.Add(null);
        }
        item.Id = (_sequence++ & 0xffff) << 15 | slot;
        _slots[slot] = item;
        return true;
    }

    public void Remove(T item) => _slots[item.Id & 0x7fff] = null;
}
