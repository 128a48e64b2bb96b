using Vivarium.Host;
using Vivarium.Linux.Memory;

namespace Vivarium.Linux.Syscalls;

/// <summary>Memory: mmap and its family, brk, membarrier, riscv_flush_icache.</summary>
public static class MemorySyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(214, "brk", "ptr", Brk),
        new(215, "munmap", "ptr size", Munmap),
        new(216, "mremap", "ptr size size flags:mremap ptr", Mremap),
        new(222, "mmap", "ptr size prot flags:mmap fd hex", Mmap),
        new(226, "mprotect", "ptr size prot", Mprotect),
        new(227, "msync", "ptr size flags:msync", Msync),
        new(228, "mlock", "ptr size", Mlock),
        new(229, "munlock", "ptr size", Munlock),
        new(230, "mlockall", "hex", MlockAll),
        new(231, "munlockall", "", (thread, in _) => thread.Process.Memory.LockAll(false, false, false, ulong.MaxValue)),
        new(232, "mincore", "ptr size ptr", Mincore),
        new(233, "madvise", "ptr size madv", Madvise),
        new(236, "get_mempolicy", "ptr ptr uint ptr hex", GetMempolicy),
        new(259, "riscv_flush_icache", "ptr ptr hex", FlushInstructionCache),
        new(283, "membarrier", "int hex int", Membarrier),
        new(284, "mlock2", "ptr size hex", (thread, in args) => (args.A2 & ~1UL) != 0 ? -Errno.EINVAL : Mlock(thread, args.A0, args.A1, (args.A2 & 1) == 0)),
    ];

    private static long Brk(GuestThread thread, in SyscallArgs args) => (long)thread.Process.Memory.Brk(args.A0);

    private static long Mmap(GuestThread thread, in SyscallArgs args)
    {
        var flags = (MapFlags)args.A3;
        var protection = (Protection)args.A2;
        if ((args.A2 & ~0x0100_000FUL) != 0 || args.A5 % AddressSpace.PageSize != 0) return -Errno.EINVAL;
        protection &= Protection.Read | Protection.Write | Protection.Execute;
        var memory = thread.Process.Memory;
        if (((flags & MapFlags.Locked) != 0 || memory.LocksFuture) && !memory.MayLock(args.A1, LockLimit(thread))) return LockLimit(thread) == 0 ? -Errno.EPERM : -Errno.EAGAIN;
        if ((flags & MapFlags.Anonymous) != 0) return memory.Map(args.A0, args.A1, protection, flags);

        int host = thread.Process.Files.HostDescriptor((int)args.A4, out int openFlags, out string path);
        if (host < 0) return host;
        const int SharedValidateKnown = 0x03 | 0x10 | 0x20 | 0x100 | 0x800 | 0x1000 | 0x2000 | 0x4000 | 0x8000 | 0x10000 | 0x20000 | 0x40000 | 0x100000;
        int access = openFlags & 3;
        if (((flags & MapFlags.TypeMask) is not (MapFlags.Shared or MapFlags.Private or MapFlags.SharedValidate))) return -Errno.EINVAL;
        if ((flags & MapFlags.TypeMask) == MapFlags.SharedValidate && ((int)flags & ~SharedValidateKnown) != 0) return -Errno.EOPNOTSUPP;
        if (access == 1 /* O_WRONLY */) return -Errno.EACCES;
        bool shared = (flags & MapFlags.TypeMask) != MapFlags.Private;
        if (shared && (protection & Protection.Write) != 0 && access != 2 /* O_RDWR */) return -Errno.EACCES;
        var file = memory.FileFor(host, path, openFlags, out int error);
        if (file == null) return error;
        long result = memory.Map(args.A0, args.A1, protection, flags, file, args.A5);
        file.Release();
        return result;
    }

    private static long Munmap(GuestThread thread, in SyscallArgs args) => thread.Process.Memory.Unmap(args.A0, args.A1);

    private static long Mprotect(GuestThread thread, in SyscallArgs args)
    {
        // PROT_GROWSDOWN and PROT_GROWSUP make no difference where stacks have their full size from the start.
        if ((args.A2 & ~0x0300_000FUL) != 0) return -Errno.EINVAL;
        return thread.Process.Memory.Protect(args.A0, args.A1, (Protection)(args.A2 & 7));
    }

    private static long Mremap(GuestThread thread, in SyscallArgs args) =>
        thread.Process.Memory.Remap(args.A0, args.A1, args.A2, (int)args.A3, args.A4);

    private static long Msync(GuestThread thread, in SyscallArgs args) => thread.Process.Memory.Sync(args.A0, args.A1, (int)args.A2);

    private static long Madvise(GuestThread thread, in SyscallArgs args) => thread.Process.Memory.Advise(args.A0, args.A1, (int)args.A2);

    private static long Mincore(GuestThread thread, in SyscallArgs args) => thread.Process.Memory.InCore(args.A0, args.A1, args.A2);

    private static long Munlock(GuestThread thread, in SyscallArgs args) => thread.Process.Memory.UnlockRange(args.A0, args.A1);

    private static long Mlock(GuestThread thread, in SyscallArgs args) => Mlock(thread, args.A0, args.A1, populate: true);

    private static long Mlock(GuestThread thread, ulong start, ulong length, bool populate)
    {
        ulong most = LockLimit(thread);
        return most == 0 ? -Errno.EPERM : thread.Process.Memory.LockRange(start, length, populate, most);
    }

    private static long MlockAll(GuestThread thread, in SyscallArgs args)
    {
        const ulong current = 1, future = 2, onFault = 4;
        if (args.A0 is 0 or onFault || (args.A0 & ~(current | future | onFault)) != 0) return -Errno.EINVAL;
        ulong most = LockLimit(thread);
        return most == 0 ? -Errno.EPERM : thread.Process.Memory.LockAll((args.A0 & current) != 0, (args.A0 & future) != 0, (args.A0 & onFault) == 0, most);
    }

    /// <summary>Bytes that the caller may lock.</summary>
    private static ulong LockLimit(GuestThread thread) =>
        thread.Process.Credentials.Has(Credentials.CapIpcLock) ? ulong.MaxValue : thread.Process.Limits.Soft(ResourceLimits.LockedMemory);

    private static long GetMempolicy(GuestThread thread, in SyscallArgs args) =>
        args.A0 != 0 && !thread.Window.TryStore32(args.A0, 0) ? -Errno.EFAULT : 0;

    private static long FlushInstructionCache(GuestThread thread, in SyscallArgs args)
    {
        if ((args.A2 & ~1UL) != 0) return -Errno.EINVAL;
        if (args.A1 > args.A0) thread.Process.Memory.Executor.SynchronizeCode(args.A0, args.A1 - args.A0);
        return 0;
    }

    /// <summary>All commands are the host's barrier over this host process, which all guest threads are part of; SYNC_CORE needs no more, for a
    /// guest's instruction fetches go through the executor, which <c>riscv_flush_icache</c> and <c>fence.i</c> inform.</summary>
    private static long Membarrier(GuestThread thread, in SyscallArgs args)
    {
        const int Query = 0, Global = 1, GlobalExpedited = 2, RegisterGlobal = 4, Private = 8, RegisterPrivate = 16, PrivateCore = 32, RegisterCore = 64;
        if (args.A1 != 0) return -Errno.EINVAL;
        switch ((int)args.A0)
        {
            case Query: return Global | GlobalExpedited | RegisterGlobal | Private | RegisterPrivate | PrivateCore | RegisterCore;
            case RegisterGlobal or RegisterPrivate or RegisterCore: return 0;
            case Global or GlobalExpedited or Private or PrivateCore:
                Interlocked.MemoryBarrierProcessWide();
                return 0;
            default: return -Errno.EINVAL;
        }
    }
}
