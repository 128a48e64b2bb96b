using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Vivarium.Linux.Ipc;

/// <summary>A queue of typed messages.</summary>
internal sealed class MessageQueue : IpcObject
{
    public LinkedList<(long Type, byte[] Text)> Messages { get; } = new();
    public long Bytes { get; set; }
    public long MaximumBytes { get; set; }
    public long SendTime { get; set; }
    public long ReceiveTime { get; set; }
    public int LastSender { get; set; }
    public int LastReceiver { get; set; }
}

/// <summary>msgget, msgsnd, msgrcv, msgctl.</summary>
internal static class MessageQueueSyscalls
{
    private const int LargestMessage = 1 << 24, NoError = 0x1000, Except = 0x2000, Copy = 0x4000;
    private const int StatSlot = 11, Information = 12, StatAny = 13;
    private const int DescriptionSize = 120;

    public static readonly SyscallRow[] Rows =
    [
        new(186, "msgget", "hex hex", Get),
        new(187, "msgctl", "int int ptr", Control),
        new(188, "msgrcv", "int ptr size int hex", Receive),
        new(189, "msgsnd", "int ptr size hex", Send),
    ];

    private static long Get(GuestThread thread, in SyscallArgs args)
    {
        var (key, flags) = ((int)args.A0, (int)args.A1);
        var ipc = thread.Process.Realm.Ipc;
        var who = thread.Process.Credentials;
        lock (ipc.Gate)
        {
            return SystemV.Get(ipc.Queues, thread, key, flags, ipc.Limits.Queues, _ => 0, () => new MessageQueue
            {
                MaximumBytes = (long)ipc.Limits.QueueBytes,
                Uid = who.EffectiveUid, Gid = who.EffectiveGid, CreatorUid = who.EffectiveUid, CreatorGid = who.EffectiveGid, Mode = flags & 0x1ff,
            });
        }
    }

    private static long Send(GuestThread thread, in SyscallArgs args)
    {
        var (id, address, size, flags) = ((int)args.A0, args.A1, args.A2, (int)args.A3);
        if (size > Math.Min(LargestMessage, thread.Process.Realm.Ipc.Limits.MessageBytes)) return -Errno.EINVAL;
        if (!thread.Window.TryLoad64(address, out ulong type)) return -Errno.EFAULT;
        if ((long)type < 1) return -Errno.EINVAL;
        byte[] text = new byte[size];
        if (!thread.Window.TryReadBytes(address + 8, text)) return -Errno.EFAULT;
        var ipc = thread.Process.Realm.Ipc;
        for (bool first = true; ; first = false)
        {
            MessageQueue? queue;
            lock (ipc.Gate)
            {
                queue = SystemV.Find(ipc.Queues, thread, id, false, IpcObject.Write, out long error);
                if (queue == null) return error == -Errno.EINVAL && !first ? -Errno.EIDRM : error;
                if (queue.Bytes + text.Length <= queue.MaximumBytes && queue.Messages.Count < queue.MaximumBytes)
                {
                    queue.Messages.AddLast(((long)type, text));
                    queue.Bytes += text.Length;
                    queue.SendTime = IpcObject.Now();
                    queue.LastSender = thread.Process.Pid;
                    queue.Wake();
                    return 0;
                }
                if ((flags & SystemV.NoWait) != 0) return -Errno.EAGAIN;
                queue.Waiters.Add(thread);
            }
            if (ipc.Wait(thread, queue) is < 0 and var interrupted) return interrupted;
        }
    }

    // MSG_COPY: by its place in the queue.
    private static LinkedListNode<(long Type, byte[] Text)>? At(MessageQueue queue, long index)
    {
        var node = queue.Messages.First;
        for (; node != null && index > 0; index--) node = node.Next;
        return index < 0 ? null : node;
    }

    private static long Receive(GuestThread thread, in SyscallArgs args)
    {
        var (id, address, size, type, flags) = ((int)args.A0, args.A1, args.A2, (long)args.A3, (int)args.A4);
        if ((long)size < 0) return -Errno.EINVAL;
        if ((flags & Copy) != 0 && ((flags & SystemV.NoWait) == 0 || (flags & Except) != 0)) return -Errno.EINVAL;
        var ipc = thread.Process.Realm.Ipc;
        for (bool first = true; ; first = false)
        {
            MessageQueue? queue;
            lock (ipc.Gate)
            {
                queue = SystemV.Find(ipc.Queues, thread, id, false, IpcObject.Read, out long error);
                if (queue == null) return error == -Errno.EINVAL && !first ? -Errno.EIDRM : error;
                if (((flags & Copy) != 0 ? At(queue, type) : Select(queue, type, (flags & Except) != 0)) is { } found)
                {
                    var (foundType, text) = found.Value;
                    if ((ulong)text.Length > size && (flags & NoError) == 0) return -Errno.E2BIG;
                    int length = (int)Math.Min((ulong)text.Length, size);
                    if (!thread.Window.TryStore64(address, (ulong)foundType) || !thread.Window.TryWriteBytes(address + 8, text.AsSpan(0, length))) return -Errno.EFAULT;
                    if ((flags & Copy) != 0) return length;
                    queue.Messages.Remove(found);
                    queue.Bytes -= text.Length;
                    queue.ReceiveTime = IpcObject.Now();
                    queue.LastReceiver = thread.Process.Pid;
                    queue.Wake();
                    return length;
                }
                if ((flags & SystemV.NoWait) != 0) return -Errno.ENOMSG;
                queue.Waiters.Add(thread);
            }
            if (ipc.Wait(thread, queue) is < 0 and var interrupted) return interrupted;
        }
    }

    /// <summary>The first message; of a type or of any other; or of the lowest type up to -type.</summary>
    private static LinkedListNode<(long Type, byte[] Text)>? Select(MessageQueue queue, long type, bool except)
    {
        LinkedListNode<(long Type, byte[] Text)>? best = null;
        for (var node = queue.Messages.First; node != null; node = node.Next)
        {
            if (type == 0 || (type > 0 && (node.Value.Type == type) != except)) return node;
            long most = type == long.MinValue ? long.MaxValue : -type;
            if (type < 0 && node.Value.Type <= most && (best == null || node.Value.Type < best.Value.Type)) best = node;
        }
        return best;
    }

    private static long Control(GuestThread thread, in SyscallArgs args)
    {
        var (id, command, buffer) = ((int)args.A0, (int)args.A1 & ~0x100, args.A2);
        var ipc = thread.Process.Realm.Ipc;
        Span<byte> description = stackalloc byte[DescriptionSize];
        description.Clear();
        lock (ipc.Gate)
        {
            switch (command)
            {
                case SystemV.Info or Information:
                {
                    // struct msginfo: msgpool, msgmap, msgmax, msgmnb, msgmni, msgssz, msgtql, msgseg; MSG_INFO has counts in three of them.
                    bool counts = command == Information;
                    Span<int> info = [counts ? ipc.Queues.All.Count() : 0, counts ? ipc.Queues.All.Sum(queue => queue.Messages.Count) : 16384, (int)ipc.Limits.MessageBytes, (int)ipc.Limits.QueueBytes, (int)ipc.Limits.Queues, 16,
                        counts ? (int)ipc.Queues.All.Sum(queue => queue.Bytes) : 16384, 0xffff];
                    return thread.Window.TryWriteBytes(buffer, MemoryMarshal.AsBytes(info)[..30]) ? ipc.Queues.Highest : -Errno.EFAULT;
                }
                case SystemV.Stat or StatSlot or StatAny:
                {
                    var queue = SystemV.Find(ipc.Queues, thread, id, command != SystemV.Stat, command == StatAny ? 0 : IpcObject.Read, out long error);
                    if (queue == null) return error;
                    queue.WritePermission(description);
                    ReadOnlySpan<long> words = [queue.SendTime, queue.ReceiveTime, queue.ChangeTime, queue.Bytes, queue.Messages.Count, queue.MaximumBytes];
                    MemoryMarshal.AsBytes(words).CopyTo(description[48..]);
                    BinaryPrimitives.WriteInt32LittleEndian(description[96..], queue.LastSender);
                    BinaryPrimitives.WriteInt32LittleEndian(description[100..], queue.LastReceiver);
                    return !thread.Window.TryWriteBytes(buffer, description) ? -Errno.EFAULT : command == SystemV.Stat ? 0 : queue.Id;
                }
                case SystemV.Set or SystemV.Remove:
                {
                    var queue = SystemV.Find(ipc.Queues, thread, id, false, 0, out long error);
                    if (queue == null) return error;
                    if (!queue.IsOwnedBy(thread.Process.Credentials)) return -Errno.EPERM;
                    if (command == SystemV.Set)
                    {
                        if (!thread.Window.TryReadBytes(buffer, description)) return -Errno.EFAULT;
                        long most = BinaryPrimitives.ReadInt64LittleEndian(description[88..]);
                        if (most > (long)ipc.Limits.QueueBytes && thread.Process.Credentials.EffectiveUid != 0) return -Errno.EPERM;
                        queue.ReadPermission(description);
                        queue.MaximumBytes = most;
                    }
                    else
                    {
                        queue.IsRemoved = true;
                        ipc.Queues.Remove(queue);
                    }
                    queue.Wake();
                    return 0;
                }
                default: return -Errno.EINVAL;
            }
        }
    }
}
