namespace Vivarium.Linux.Ipc;

/// <summary>A realm's System V inter-process communication: shared memory, semaphores, message queues.</summary>
/// <remarks>One lock guards all of it; nothing waits with it held. Taken before an address space's lock.</remarks>
internal sealed class SystemV
{
    public const int Create = 0x200, Exclusive = 0x400, NoWait = 0x800;
    public const int Remove = 0, Set = 1, Stat = 2, Info = 3;

    public Lock Gate { get; } = new();

    /// <summary>How much of it there may be.</summary>
    public IpcLimits Limits { get; } = new();

    public IpcTable<SharedSegment> Segments { get; } = new();

    public IpcTable<SemaphoreSet> Semaphores { get; } = new();

    public IpcTable<MessageQueue> Queues { get; } = new();

    /// <summary>The ...get calls: the id of the object with a key, made where it may be. Call with the lock held.</summary>
    public static long Get<T>(IpcTable<T> table, GuestThread thread, int key, int flags, ulong most, Func<T, long> check, Func<T?> make) where T : IpcObject
    {
        if (table.ByKey(key) is { } found)
        {
            if ((flags & (Create | Exclusive)) == (Create | Exclusive)) return -Errno.EEXIST;
            int wanted = (flags >> 6 | flags >> 3 | flags) & 7;
            if (!found.Allows(thread.Process.Credentials, wanted & 6)) return -Errno.EACCES;
            return check(found) is < 0 and var refused ? refused : found.Id;
        }
        if (key != 0 && (flags & Create) == 0) return -Errno.ENOENT;
        if ((ulong)table.All.Count() >= most) return -Errno.ENOSPC;
        var made = make();
        if (made == null) return -Errno.ENOMEM;
        made.Key = key;
        return table.Add(made) ? made.Id : -Errno.ENOSPC;
    }

    /// <summary>The object of an id, or of a slot for the ..._STAT commands; null with a negative errno.</summary>
    public static T? Find<T>(IpcTable<T> table, GuestThread thread, int id, bool bySlot, int wanted, out long error) where T : IpcObject
    {
        var found = bySlot ? table.At(id) : table.Find(id);
        error = found == null ? -Errno.EINVAL : found.Allows(thread.Process.Credentials, wanted) ? 0 : -Errno.EACCES;
        return error < 0 ? null : found;
    }

    /// <summary>Waits for a change of an object. Call without the lock, and with the thread among the object's waiters since it was last held.</summary>
    /// <returns>0 to look again, or what the syscall returns.</returns>
    public long Wait(GuestThread thread, IpcObject item, long deadline = long.MaxValue)
    {
        long result = thread.Park(deadline);
        lock (Gate) item.Waiters.Remove(thread);
        return result switch
        {
            -Errno.EINTR => -Errno.ERESTARTNOHAND,
            -Errno.ETIMEDOUT => -Errno.EAGAIN,
            _ => 0,
        };
    }

    /// <summary>A process has ended: what it did with SEM_UNDO is taken back.</summary>
    public void Ended(GuestProcess process)
    {
        lock (Gate)
        {
            foreach (var set in Semaphores.All) set.Undo(process);
        }
    }
}
