using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Ipc;

/// <summary>A shared memory segment: a file in memory that processes map.</summary>
internal sealed class SharedSegment : IpcObject
{
    public required MappedFile File { get; init; }
    public required ulong Size { get; init; }
    public required int Creator { get; init; }
    public long AttachTime { get; set; }
    public long DetachTime { get; set; }
    public int LastUser { get; set; }

    /// <summary>How often it is mapped: who maps it holds a reference, and so do we.</summary>
    public int Attached => File.References - 1;
}

/// <summary>shmget, shmat, shmdt, shmctl.</summary>
internal static class SharedSegmentSyscalls
{
    private const int ReadOnly = 0x1000, Round = 0x2000, Replace = 0x4000, Execute = 0x8000;
    private const int Lock = 11, Unlock = 12, StatSlot = 13, Information = 14, StatAny = 15;
    private const int DescriptionSize = 112;

    public static readonly SyscallRow[] Rows =
    [
        new(194, "shmget", "hex size hex", Get),
        new(195, "shmctl", "int int ptr", Control),
        new(196, "shmat", "int ptr hex", Attach),
        new(197, "shmdt", "ptr", Detach),
    ];

    private static long Get(GuestThread thread, in SyscallArgs args)
    {
        var (key, size, flags) = ((int)args.A0, args.A1, (int)args.A2);
        var ipc = thread.Process.Realm.Ipc;
        lock (ipc.Gate)
        {
            Sweep(ipc);
            if (ipc.Segments.ByKey(key) == null && (size == 0 || size > Math.Min(ipc.Limits.SegmentBytes, AddressSpace.WindowSize))) return key != 0 && (flags & SystemV.Create) == 0 ? -Errno.ENOENT : -Errno.EINVAL;
            if (ipc.Segments.ByKey(key) == null && (flags & SystemV.Create) != 0 | key == 0 && TotalPages(ipc) + Pages(size) > ipc.Limits.SegmentPages) return -Errno.ENOSPC;
            var who = thread.Process.Credentials;
            return SystemV.Get(ipc.Segments, thread, key, flags, ipc.Limits.Segments, found => size > found.Size ? -Errno.EINVAL : 0, () =>
                MappedFile.CreateAnonymous(AddressSpace.RoundUp(size), out _, $"/SYSV{key:x8} (deleted)") is not { } file ? null : new SharedSegment
                {
                    Uid = who.EffectiveUid, Gid = who.EffectiveGid, CreatorUid = who.EffectiveUid, CreatorGid = who.EffectiveGid, Mode = flags & 0x1ff,
                    File = file, Size = size, Creator = thread.Process.Pid,
                });
        }
    }

    private static ulong Pages(ulong size) => AddressSpace.RoundUp(size) / AddressSpace.PageSize;

    private static ulong TotalPages(SystemV ipc)
    {
        ulong pages = 0;
        foreach (var one in ipc.Segments.All) pages += Pages(one.Size);
        return pages;
    }

    private static long Attach(GuestThread thread, in SyscallArgs args)
    {
        var (address, flags) = (args.A1, (int)args.A2);
        if (address % AddressSpace.PageSize != 0)
        {
            if ((flags & Round) == 0) return -Errno.EINVAL;
            address &= ~(AddressSpace.PageSize - 1);
        }
        if (address == 0 && (flags & Replace) != 0) return -Errno.EINVAL;
        var ipc = thread.Process.Realm.Ipc;
        lock (ipc.Gate)
        {
            var segment = SystemV.Find(ipc.Segments, thread, (int)args.A0, false, (flags & ReadOnly) != 0 ? IpcObject.Read : IpcObject.Read | IpcObject.Write, out long error);
            if (segment == null) return error;
            var protection = Protection.Read | ((flags & ReadOnly) == 0 ? Protection.Write : 0) | ((flags & Execute) != 0 ? Protection.Execute : 0);
            var how = MapFlags.Shared | (address == 0 ? 0 : (flags & Replace) != 0 ? MapFlags.Fixed : MapFlags.FixedNoReplace);
            long result = thread.Process.Memory.Map(address, segment.Size, protection, how, segment.File);
            if (result < 0) return result == -Errno.EEXIST ? -Errno.EINVAL : result;
            segment.AttachTime = IpcObject.Now();
            segment.LastUser = thread.Process.Pid;
            return result;
        }
    }

    private static long Detach(GuestThread thread, in SyscallArgs args)
    {
        var (memory, address) = (thread.Process.Memory, args.A0);
        var ipc = thread.Process.Realm.Ipc;
        lock (ipc.Gate)
        {
            if (memory.Find(address) is not { } vma || vma.Start != address || vma.FileOffset != 0) return -Errno.EINVAL;
            var segment = ipc.Segments.All.FirstOrDefault(item => ReferenceEquals(item.File, vma.File));
            if (segment == null) return -Errno.EINVAL;
            ulong end = address + AddressSpace.RoundUp(segment.Size);
            foreach (var part in memory.Mappings().Where(part => ReferenceEquals(part.File, segment.File) && part.Start >= address && part.End <= end && part.FileOffset == part.Start - address))
                memory.Unmap(part.Start, part.Length);
            segment.DetachTime = IpcObject.Now();
            segment.LastUser = thread.Process.Pid;
            Sweep(ipc);
            return 0;
        }
    }

    /// <summary>Removed segments go when nobody maps them any more.</summary>
    private static void Sweep(SystemV ipc)
    {
        foreach (var segment in ipc.Segments.All.Where(segment => segment.IsRemoved && segment.Attached == 0).ToList())
        {
            ipc.Segments.Remove(segment);
            segment.File.Release();
        }
    }

    private static long Control(GuestThread thread, in SyscallArgs args)
    {
        var (id, command, buffer) = ((int)args.A0, (int)args.A1 & ~0x100, args.A2);
        var ipc = thread.Process.Realm.Ipc;
        Span<byte> description = stackalloc byte[DescriptionSize];
        description.Clear();
        lock (ipc.Gate)
        {
            Sweep(ipc);
            switch (command)
            {
                case SystemV.Info:
                {
                    // struct shminfo: shmmax, shmmin, shmmni, shmseg, shmall.
                    ReadOnlySpan<ulong> limits = [ipc.Limits.SegmentBytes, 1, ipc.Limits.Segments, ipc.Limits.Segments, ipc.Limits.SegmentPages, 0, 0, 0, 0];
                    return thread.Window.TryWriteBytes(buffer, System.Runtime.InteropServices.MemoryMarshal.AsBytes(limits)) ? ipc.Segments.Highest : -Errno.EFAULT;
                }
                case Information:
                {
                    // struct shm_info: used_ids, shm_tot, shm_rss, shm_swp and two counters.
                    ulong pages = TotalPages(ipc);
                    ReadOnlySpan<ulong> usage = [(ulong)ipc.Segments.All.Count(), pages, pages, 0, 0, 0];
                    return thread.Window.TryWriteBytes(buffer, System.Runtime.InteropServices.MemoryMarshal.AsBytes(usage)) ? ipc.Segments.Highest : -Errno.EFAULT;
                }
                case SystemV.Stat or StatSlot or StatAny:
                {
                    var segment = SystemV.Find(ipc.Segments, thread, id, command != SystemV.Stat, command == StatAny ? 0 : IpcObject.Read, out long error);
                    if (segment == null) return error;
                    segment.WritePermission(description);
                    BinaryPrimitives.WriteUInt64LittleEndian(description[48..], segment.Size);
                    BinaryPrimitives.WriteInt64LittleEndian(description[56..], segment.AttachTime);
                    BinaryPrimitives.WriteInt64LittleEndian(description[64..], segment.DetachTime);
                    BinaryPrimitives.WriteInt64LittleEndian(description[72..], segment.ChangeTime);
                    BinaryPrimitives.WriteInt32LittleEndian(description[80..], segment.Creator);
                    BinaryPrimitives.WriteInt32LittleEndian(description[84..], segment.LastUser);
                    BinaryPrimitives.WriteInt64LittleEndian(description[88..], segment.Attached);
                    return !thread.Window.TryWriteBytes(buffer, description) ? -Errno.EFAULT : command == SystemV.Stat ? 0 : segment.Id;
                }
                case SystemV.Set or SystemV.Remove or Lock or Unlock:
                {
                    var segment = SystemV.Find(ipc.Segments, thread, id, false, 0, out long error);
                    if (segment == null) return error;
                    if (!segment.IsOwnedBy(thread.Process.Credentials)) return -Errno.EPERM;
                    if (command == SystemV.Set)
                    {
                        if (!thread.Window.TryReadBytes(buffer, description)) return -Errno.EFAULT;
                        segment.ReadPermission(description);
                    }
                    else if (command == SystemV.Remove)
                    {
                        segment.IsRemoved = true;
                        segment.Key = 0;
                        Sweep(ipc);
                    }
                    return 0;
                }
                default: return -Errno.EINVAL;
            }
        }
    }
}
