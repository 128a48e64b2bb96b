using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Vivarium.Linux.Ipc;

/// <summary>A set of semaphores.</summary>
internal sealed class SemaphoreSet(int count) : IpcObject
{
    public const int MaximumValue = 32767;

    private readonly Dictionary<GuestProcess, int[]> _undo = [];

    public int[] Values { get; } = new int[count];

    /// <summary>Who changed each last.</summary>
    public int[] Pids { get; } = new int[count];

    /// <summary>Threads that wait for each to grow, and for each to be 0.</summary>
    public int[] WaitForMore { get; } = new int[count];
    public int[] WaitForZero { get; } = new int[count];

    public long OperationTime { get; set; }

    public void Remember(GuestProcess process, int number, int change)
    {
        if (!_undo.TryGetValue(process, out int[]? adjustments)) _undo[process] = adjustments = new int[Values.Length];
        adjustments[number] -= change;
    }

    /// <summary>SETVAL and SETALL forget what would be taken back.</summary>
    public void Forget(int number)
    {
        foreach (int[] adjustments in _undo.Values) adjustments[number] = 0;
    }

    public void Undo(GuestProcess process)
    {
        if (!_undo.Remove(process, out int[]? adjustments)) return;
        for (int i = 0; i < Values.Length; i++)
        {
            if (adjustments[i] == 0) continue;
            Values[i] = Math.Clamp(Values[i] + adjustments[i], 0, MaximumValue);
            Pids[i] = process.Pid;
        }
        Wake();
    }
}

/// <summary>semget, semop, semtimedop, semctl.</summary>
internal static class SemaphoreSyscalls
{
    private const int MaximumOperations = 500, WithUndo = 0x1000;
    private const int GetPid = 11, GetValue = 12, GetAll = 13, GetWaitMore = 14, GetWaitZero = 15, SetValue = 16, SetAll = 17, StatSlot = 18, Information = 19, StatAny = 20;
    private const int DescriptionSize = 88;

    public static readonly SyscallRow[] Rows =
    [
        new(190, "semget", "hex int hex", Get),
        new(191, "semctl", "int int int hex", Control),
        new(192, "semtimedop", "int ptr uint timespec", (thread, in args) => Operate(thread, (int)args.A0, args.A1, args.A2, args.A3)),
        new(193, "semop", "int ptr uint", (thread, in args) => Operate(thread, (int)args.A0, args.A1, args.A2, 0)),
    ];

    private static long Get(GuestThread thread, in SyscallArgs args)
    {
        var (key, count, flags) = ((int)args.A0, (int)args.A1, (int)args.A2);
        var ipc = thread.Process.Realm.Ipc;
        if (count < 0 || (ulong)count > ipc.Limits.SetSize) return -Errno.EINVAL;
        lock (ipc.Gate)
        {
            if (count == 0 && ipc.Semaphores.ByKey(key) == null) return key != 0 && (flags & SystemV.Create) == 0 ? -Errno.ENOENT : -Errno.EINVAL;
            var who = thread.Process.Credentials;
            return SystemV.Get(ipc.Semaphores, thread, key, flags, ipc.Limits.Sets, found => count > found.Values.Length ? -Errno.EINVAL : 0, () => new SemaphoreSet(count)
            {
                Uid = who.EffectiveUid, Gid = who.EffectiveGid, CreatorUid = who.EffectiveUid, CreatorGid = who.EffectiveGid, Mode = flags & 0x1ff,
            });
        }
    }

    /// <summary><c>struct sembuf</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private record struct Operation(ushort Number, short Change, short Flags);

    private static long Operate(GuestThread thread, int id, ulong address, ulong count, ulong timeout)
    {
        if (count == 0) return -Errno.EINVAL;
        if (count > Math.Min(MaximumOperations, thread.Process.Realm.Ipc.Limits.Operations)) return -Errno.E2BIG;
        long deadline = long.MaxValue;
        if (timeout != 0)
        {
            if (!thread.Window.TryRead(timeout, out Timespec time)) return -Errno.EFAULT;
            if (!time.IsValid) return -Errno.EINVAL;
            deadline = thread.Deadline(time.ToNanoseconds());
        }
        Span<Operation> operations = stackalloc Operation[(int)count];
        if (!thread.Window.TryReadBytes(address, MemoryMarshal.AsBytes(operations))) return -Errno.EFAULT;
        bool alters = false;
        foreach (var operation in operations) alters |= operation.Change != 0;
        var ipc = thread.Process.Realm.Ipc;
        for (bool first = true; ; first = false)
        {
            SemaphoreSet? set;
            int blocked;
            lock (ipc.Gate)
            {
                set = SystemV.Find(ipc.Semaphores, thread, id, false, alters ? IpcObject.Write : IpcObject.Read, out long error);
                if (set == null) return error == -Errno.EINVAL && !first ? -Errno.EIDRM : error;
                foreach (var operation in operations)
                {
                    if (operation.Number >= set.Values.Length) return -Errno.EFBIG;
                }
                blocked = Try(set, operations, out error);
                if (error < 0) return error;
                if (blocked < 0)
                {
                    set.OperationTime = IpcObject.Now();
                    foreach (var operation in operations)
                    {
                        set.Pids[operation.Number] = thread.Process.Pid;
                        if ((operation.Flags & WithUndo) != 0 && operation.Change != 0) set.Remember(thread.Process, operation.Number, operation.Change);
                    }
                    if (alters) set.Wake();
                    return 0;
                }
                if ((operations[blocked].Flags & SystemV.NoWait) != 0) return -Errno.EAGAIN;
                set.Waiters.Add(thread);
                (operations[blocked].Change == 0 ? set.WaitForZero : set.WaitForMore)[operations[blocked].Number]++;
            }
            long waited = ipc.Wait(thread, set, deadline);
            lock (ipc.Gate) (operations[blocked].Change == 0 ? set.WaitForZero : set.WaitForMore)[operations[blocked].Number]--;
            if (waited < 0) return waited;
        }
    }

    /// <summary>Does all operations or none. The index of the one that has to wait, or -1.</summary>
    private static int Try(SemaphoreSet set, ReadOnlySpan<Operation> operations, out long error)
    {
        error = 0;
        int done = 0, blocked = -1;
        for (; done < operations.Length; done++)
        {
            ref int value = ref set.Values[operations[done].Number];
            int change = operations[done].Change;
            if (change == 0 ? value != 0 : value + change < 0)
            {
                blocked = done;
                break;
            }
            if (value + change > SemaphoreSet.MaximumValue)
            {
                error = -Errno.ERANGE;
                break;
            }
            value += change;
        }
        if (done < operations.Length)
        {
            while (--done >= 0) set.Values[operations[done].Number] -= operations[done].Change;
        }
        return blocked;
    }

    private static long Control(GuestThread thread, in SyscallArgs args)
    {
        var (id, number, command, argument) = ((int)args.A0, (int)args.A1, (int)args.A2 & ~0x100, args.A3);
        var ipc = thread.Process.Realm.Ipc;
        Span<byte> description = stackalloc byte[DescriptionSize];
        description.Clear();
        lock (ipc.Gate)
        {
            if (command is SystemV.Info or Information)
            {
                // struct seminfo: semmap, semmni, semmns, semmnu, semmsl, semopm, semume, semusz, semvmx, semaem; SEM_INFO has counts in two of them.
                int sets = ipc.Semaphores.All.Count(), all = ipc.Semaphores.All.Sum(set => set.Values.Length);
                ReadOnlySpan<int> info = [1024000000, (int)ipc.Limits.Sets, (int)ipc.Limits.Semaphores, 1024000000, (int)ipc.Limits.SetSize, (int)ipc.Limits.Operations, (int)ipc.Limits.Operations,
                    command == Information ? sets : 20, SemaphoreSet.MaximumValue, command == Information ? all : SemaphoreSet.MaximumValue];
                return thread.Window.TryWriteBytes(argument, MemoryMarshal.AsBytes(info)) ? ipc.Semaphores.Highest : -Errno.EFAULT;
            }
            bool bySlot = command is StatSlot or StatAny;
            int wanted = command switch { SetValue or SetAll => IpcObject.Write, SystemV.Set or SystemV.Remove or StatAny => 0, _ => IpcObject.Read };
            var set = SystemV.Find(ipc.Semaphores, thread, id, bySlot, wanted, out long error);
            if (set == null) return error;
            bool one = command is GetPid or GetValue or GetWaitMore or GetWaitZero or SetValue;
            if (one && (uint)number >= (uint)set.Values.Length) return -Errno.EINVAL;
            switch (command)
            {
                case GetPid: return set.Pids[number];
                case GetValue: return set.Values[number];
                case GetWaitMore: return set.WaitForMore[number];
                case GetWaitZero: return set.WaitForZero[number];
                case SetValue:
                    if ((int)argument < 0 || (int)argument > SemaphoreSet.MaximumValue) return -Errno.ERANGE;
                    set.Values[number] = (int)argument;
                    set.Pids[number] = thread.Process.Pid;
                    set.Forget(number);
                    set.ChangeTime = IpcObject.Now();
                    set.Wake();
                    return 0;
                case GetAll:
                    for (int i = 0; i < set.Values.Length; i++)
                    {
                        if (!thread.Window.TryStore16(argument + (ulong)i * 2, (ushort)set.Values[i])) return -Errno.EFAULT;
                    }
                    return 0;
                case SetAll:
                {
                    ushort[] values = new ushort[set.Values.Length];
                    if (!thread.Window.TryReadBytes(argument, MemoryMarshal.AsBytes(values.AsSpan()))) return -Errno.EFAULT;
                    if (values.Any(value => value > SemaphoreSet.MaximumValue)) return -Errno.ERANGE;
                    for (int i = 0; i < values.Length; i++)
                    {
                        set.Values[i] = values[i];
                        set.Pids[i] = thread.Process.Pid;
                        set.Forget(i);
                    }
                    set.ChangeTime = IpcObject.Now();
                    set.Wake();
                    return 0;
                }
                case SystemV.Stat or StatSlot or StatAny:
                    set.WritePermission(description);
                    BinaryPrimitives.WriteInt64LittleEndian(description[48..], set.OperationTime);
                    BinaryPrimitives.WriteInt64LittleEndian(description[56..], set.ChangeTime);
                    BinaryPrimitives.WriteInt64LittleEndian(description[64..], set.Values.Length);
                    return !thread.Window.TryWriteBytes(argument, description) ? -Errno.EFAULT : bySlot ? set.Id : 0;
                case SystemV.Set or SystemV.Remove:
                    if (!set.IsOwnedBy(thread.Process.Credentials)) return -Errno.EPERM;
                    if (command == SystemV.Set)
                    {
                        if (!thread.Window.TryReadBytes(argument, description)) return -Errno.EFAULT;
                        set.ReadPermission(description);
                        return 0;
                    }
                    set.IsRemoved = true;
                    ipc.Semaphores.Remove(set);
                    set.Wake();
                    return 0;
                default: return -Errno.EINVAL;
            }
        }
    }
}
