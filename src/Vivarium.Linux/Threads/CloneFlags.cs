namespace Vivarium.Linux.Threads;

/// <summary>CLONE_* bits (uapi/linux/sched.h).</summary>
[Flags]
public enum CloneFlags : ulong
{
    SignalMask = 0xff,
    Vm = 0x100,
    Fs = 0x200,
    Files = 0x400,
    Sighand = 0x800,
    Pidfd = 0x1000,
    Vfork = 0x4000,
    Parent = 0x8000,
    Thread = 0x10000,
    NewNamespace = 0x20000,
    SysVSem = 0x40000,
    SetTls = 0x80000,
    ParentSetTid = 0x100000,
    ChildClearTid = 0x200000,
    Detached = 0x400000,
    ChildSetTid = 0x1000000,
    NewCgroup = 0x02000000,
    NewUts = 0x04000000,
    NewIpc = 0x08000000,
    NewUser = 0x10000000,
    NewPid = 0x20000000,
    NewNet = 0x40000000,
    ClearSighand = 0x1_0000_0000,
    IntoCgroup = 0x2_0000_0000,
    Namespaces = NewNamespace | NewCgroup | NewUts | NewIpc | NewUser | NewPid | NewNet,
}
