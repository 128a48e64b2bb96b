namespace Vivarium.Linux.Vfs;

/// <summary>x86-64 numbers of the host syscalls that files, sockets and events use (arch/x86/entry/syscalls/syscall_64.tbl).</summary>
internal static class HostCall
{
    public const long Read = 0, Write = 1, Close = 3, Poll = 7, LSeek = 8, IoCtl = 16, PRead64 = 17, PWrite64 = 18, ReadV = 19, WriteV = 20,
        SendFile = 40, Socket = 41, Connect = 42, SendTo = 44, RecvFrom = 45, SendMsg = 46, RecvMsg = 47, Shutdown = 48,
        Bind = 49, Listen = 50, GetSockName = 51, GetPeerName = 52, SocketPair = 53, SetSockOpt = 54, GetSockOpt = 55, FCntl = 72, FLock = 73,
        FSync = 74, FDataSync = 75, Truncate = 76, FTruncate = 77, Chmod = 90, FChMod = 91, FChOwn = 93, UMask = 95, StatFs = 137, FStatFs = 138,
        Sync = 162, ReadAhead = 187, SetXAttr = 188, LSetXAttr = 189, FSetXAttr = 190, GetXAttr = 191, LGetXAttr = 192, FGetXAttr = 193,
        ListXAttr = 194, LListXAttr = 195, FListXAttr = 196, RemoveXAttr = 197, LRemoveXAttr = 198, FRemoveXAttr = 199, GetDEnts64 = 217,
        FAdvise64 = 221, EPollCtl = 233, INotifyAddWatch = 254, INotifyRmWatch = 255, OpenAt = 257, MkDirAt = 258, MkNodAt = 259,
        FChOwnAt = 260, NewFStatAt = 262, UnlinkAt = 263, LinkAt = 265, SymlinkAt = 266, ReadLinkAt = 267, Unshare = 272,
        Splice = 275, Tee = 276, SyncFileRange = 277, VmSplice = 278, UTimeNsAt = 280, EPollPWait = 281, TimerFdCreate = 283, FAllocate = 285,
        TimerFdSetTime = 286, TimerFdGetTime = 287, Accept4 = 288, SignalFd4 = 289, EventFd2 = 290, EPollCreate1 = 291, Dup3 = 292,
        Pipe2 = 293, INotifyInit1 = 294, PReadV2 = 327, PWriteV2 = 328, SyncFs = 306, RenameAt2 = 316, MemFdCreate = 319, CopyFileRange = 326,
        StatX = 332, OpenAt2 = 437, FAccessAt2 = 439, FStat = 5, PPoll = 271;
}

/// <summary>Flag values shared by riscv64 and x86-64: x86-64 overrides nothing of asm-generic/fcntl.h.</summary>
internal static class OpenFlags
{
    public const int AccessMode = 3, ReadOnly = 0, WriteOnly = 1, ReadWrite = 2, Create = 0x40, Exclusive = 0x80, NoCtty = 0x100, Truncate = 0x200,
        Append = 0x400, NonBlock = 0x800, DSync = 0x1000, Direct = 0x4000, LargeFile = 0x8000, Directory = 0x10000, NoFollow = 0x20000,
        NoATime = 0x40000, CloseOnExec = 0x80000, Path = 0x200000, TmpFileBit = 0x400000;

    /// <summary>What openat honours; it ignores the rest (openat2 refuses it).</summary>
    public const int Known = AccessMode | Create | Exclusive | NoCtty | Truncate | Append | NonBlock | DSync | 0x2000 | Direct | LargeFile
        | Directory | NoFollow | NoATime | CloseOnExec | 0x100000 | Path | TmpFileBit;

    /// <summary>With O_PATH everything but these is ignored.</summary>
    public const int KnownWithPath = Path | Directory | NoFollow | CloseOnExec;
}

/// <summary>AT_* values (linux/fcntl.h).</summary>
internal static class At
{
    public const int FdCwd = -100, SymlinkNoFollow = 0x100, RemoveDir = 0x200, EAccess = 0x200, SymlinkFollow = 0x400, NoAutomount = 0x800,
        EmptyPath = 0x1000;
}

/// <summary>RESOLVE_* values (linux/openat2.h).</summary>
internal static class ResolveFlags
{
    public const ulong NoXDev = 1, NoMagicLinks = 2, NoSymlinks = 4, Beneath = 8, InRoot = 16, Cached = 32, All = 63;
}

/// <summary>S_IF* file types.</summary>
internal static class FileType
{
    public const uint Mask = 0xF000, Socket = 0xC000, Link = 0xA000, Regular = 0x8000, Block = 0x6000, Directory = 0x4000, Character = 0x2000, Fifo = 0x1000;
}
