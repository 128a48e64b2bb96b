using System.Runtime.InteropServices;

namespace Vivarium.Linux.Signals;

/// <summary>The meaningful first 48 of the 128 bytes of a <c>siginfo_t</c>; which union member the last words are depends on the code.</summary>
[StructLayout(LayoutKind.Sequential)]
public record struct SigInfo(int Signal, int Error, int Code, int Padding, ulong Field0, ulong Field1, ulong Field2, ulong Field3)
{
    /// <summary>Bytes of a siginfo_t in memory.</summary>
    public const int Size = 128;

    // si_code values (asm-generic/siginfo.h).
    public const int SI_USER = 0, SI_KERNEL = 0x80, SI_QUEUE = -1, SI_TIMER = -2, SI_MESGQ = -3, SI_TKILL = -6;
    public const int SEGV_MAPERR = 1, SEGV_ACCERR = 2, BUS_ADRALN = 1, BUS_ADRERR = 2, ILL_ILLOPC = 1, TRAP_BRKPT = 1;
    public const int CLD_EXITED = 1, CLD_KILLED = 2, CLD_DUMPED = 3, CLD_TRAPPED = 4, CLD_STOPPED = 5, CLD_CONTINUED = 6;

    /// <summary>si_pid of kill, queue and child signals.</summary>
    public readonly int Pid => (int)Field0;

    /// <summary>si_uid.</summary>
    public readonly uint Uid => (uint)(Field0 >> 32);

    /// <summary>si_value of queued signals.</summary>
    public readonly ulong Value => Field1;

    public static SigInfo Kernel(int signal) => new(signal, 0, SI_KERNEL, 0, 0, 0, 0, 0);

    public static SigInfo From(int signal, int code, int pid, uint uid) => new(signal, 0, code, 0, (uint)pid | (ulong)uid << 32, 0, 0, 0);

    public static SigInfo Fault(int signal, int code, ulong address) => new(signal, 0, code, 0, address, 0, 0, 0);

    public static SigInfo Timer(int signal, int timer, int overrun, ulong value) =>
        new(signal, 0, SI_TIMER, 0, (uint)timer | (ulong)(uint)overrun << 32, value, 0, 0);

    /// <summary>SIGCHLD: times are clock ticks.</summary>
    public static SigInfo Child(int code, int pid, uint uid, int status, long userTicks, long systemTicks) =>
        new(Signals.Signal.SIGCHLD, 0, code, 0, (uint)pid | (ulong)uid << 32, (uint)status, (ulong)userTicks, (ulong)systemTicks);
}
