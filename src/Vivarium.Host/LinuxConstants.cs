namespace Vivarium.Host;

/// <summary>Numbers of the x86-64 Linux ABI that this room uses (asm/unistd_64.h, asm-generic/mman.h, asm/signal.h).</summary>
internal static class LinuxConstants
{
    public const int SysClose = 3, SysMmap = 9, SysMprotect = 10, SysMunmap = 11, SysRtSigaction = 13, SysRtSigprocmask = 14, SysMremap = 25,
        SysMsync = 26, SysMadvise = 28, SysGetpid = 39, SysFtruncate = 77, SysGetpriority = 140, SysSetpriority = 141, SysSchedSetscheduler = 144, SysGettid = 186, SysFutex = 202, SysSchedSetaffinity = 203, SysClockGettime = 228, SysExitGroup = 231, SysTgkill = 234, SysTgsigqueueinfo = 297, SysMemfdCreate = 319, SysFutexWaitV = 449;

    public const int ProtRead = 1, ProtWrite = 2, ProtExec = 4;

    public const int MapShared = 1, MapPrivate = 2, MapFixed = 0x10, MapAnonymous = 0x20, MapNoReserve = 0x4000,
        MapFixedNoReplace = 0x100000;

    public const int MremapMayMove = 1, MremapFixed = 2, MremapDontUnmap = 4;
    public const int MadvDontNeed = 4;
    public const int MadvPopulateWrite = 23;

    public const int SigBus = 7, SigFpe = 8, SigSegv = 11;

    public const int EIntr = 4, ENoMem = 12, EFault = 14, EExist = 17, EInval = 22, ENameTooLong = 36;

    public const ulong PageSize = 4096;
}
