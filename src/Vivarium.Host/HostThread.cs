using System.Runtime.InteropServices;
using static Vivarium.Host.LinuxConstants;

namespace Vivarium.Host;

/// <summary>A host thread that can be kicked: out of a blocking host syscall, and out of emitted code.</summary>
/// <remarks>
/// Kick = a host signal by tgkill. Its handler is emitted machine code: in front of the <c>syscall</c> instruction of the
/// interruptible stub it rewinds to the EINTR exit (no lost wake-up); inside a registered code region it redirects to the region's kick
/// stub (see <see cref="FaultHandler"/>); elsewhere it does nothing, so who kicks sets a flag first.
/// </remarks>
public sealed unsafe class HostThread
{
    private const long Again = 11; // EAGAIN

    [ThreadStatic] private static HostThread? t_current;
    private static readonly long ProcessId = HostSyscall.InvokeFast(SysGetpid);

    // SAFETY: native memory that the interruptible stub polls. It lives as long as this object, and both who kicks and the thread
    // that polls hold the object meanwhile (GC.KeepAlive), so a late kick never writes to freed memory.
    private readonly int* _kicked;

    private HostThread()
    {
        FaultHandler.EnsureInstalled();
        _kicked = (int*)NativeMemory.AllocZeroed(sizeof(int));
        Id = (int)HostSyscall.InvokeFast(SysGettid);
        // Whoever started this process may have left the kick signal blocked.
        const int unblock = 1;
        var mask = 1UL << (FaultHandler.KickSignal - 1) | 1UL << (FaultHandler.SampleSignal - 1);
        HostSyscall.InvokeFast(SysRtSigprocmask, unblock, (long)&mask, 0, sizeof(ulong));
    }

    ~HostThread() => NativeMemory.Free(_kicked);

    /// <summary>The calling thread's object; made (and the handlers installed) at first use.</summary>
    public static HostThread Current => t_current ??= new HostThread();

    /// <summary>Host thread id (gettid).</summary>
    public int Id { get; }

    /// <summary>Whether a kick is pending for the next <see cref="BlockingSyscall"/>.</summary>
    public bool IsKicked
    {
        get
        {
            var kicked = Volatile.Read(ref *_kicked) != 0;
            GC.KeepAlive(this);
            return kicked;
        }
    }

    /// <summary>Processor time that the thread has used, ns; 0 when it has ended.</summary>
    public long ProcessorTime
    {
        get
        {
            long* time = stackalloc long[2];
            // The kernel's clock id of a thread's CPUCLOCK_SCHED.
            return HostSyscall.InvokeFast(SysClockGettime, ~(long)Id << 3 | 6, (long)time) == 0 ? time[0] * 1_000_000_000 + time[1] : 0;
        }
    }

    /// <summary>Ends the process now; nothing that runs at its end does.</summary>
    public static void EndProcess(int status) => HostSyscall.InvokeFast(SysExitGroup, status);

    /// <summary>Raises the calling thread's nice value; a host that refuses changes nothing.</summary>
    public static void AddNice(int more)
    {
        long priority = HostSyscall.InvokeFast(SysGetpriority, 0, 0); // 20 - nice
        if (priority > 0) HostSyscall.InvokeFast(SysSetpriority, 0, 0, Math.Min(19, 20 - priority + more));
    }

    /// <summary>Lets the calling thread run behind others: <see cref="AddNice"/>, and it never takes the processor from a thread because it wakes up.</summary>
    public static void StayBehind(int nice)
    {
        const int SchedBatch = 3;
        int priority = 0;
        // SAFETY: the kernel reads struct sched_param, one int. A refusal changes nothing.
        HostSyscall.InvokeFast(SysSchedSetscheduler, 0, SchedBatch, (long)&priority);
        AddNice(nice);
    }

    /// <summary>Keeps the calling thread on these processors; empty, or refused by the host, changes nothing.</summary>
    public static void StayOn(IReadOnlyList<int> processors)
    {
        if (processors.Count == 0) return;
        Span<ulong> mask = stackalloc ulong[ProcessorList.Most / 64];
        mask.Clear();
        foreach (int n in processors) mask[n / 64] |= 1UL << n;
        // SAFETY: the kernel reads as many bytes as it is told.
        fixed (ulong* bits = mask) HostSyscall.InvokeFast(SysSchedSetaffinity, 0, ProcessorList.Most / 8, (long)bits);
    }

    /// <summary>Interrupts this thread. Sticky for <see cref="BlockingSyscall"/>: a kick that comes between blocking calls makes the next
    /// one return -EINTR at once, until <see cref="ClearKick"/>. Harmless when the thread has ended.</summary>
    public void Kick()
    {
        Interlocked.Exchange(ref *_kicked, 1);
        // The id of an ended thread is gone (ESRCH) or another thread's of this process, which then sees a spurious kick: allowed. A real-time signal is
        // refused (EAGAIN) while the user has as many of them waiting as RLIMIT_SIGPENDING allows: a lost kick would leave the thread in its loop for ever.
        while (HostSyscall.InvokeFast(SysTgkill, ProcessId, Id, FaultHandler.KickSignal) == -Again) Thread.Sleep(1);
        GC.KeepAlive(this);
    }

    /// <summary>Asks where this thread is: its rip is written to <paramref name="cell"/>. It goes on undisturbed, save that a host syscall that it
    /// is in may return less than it would, or -EINTR. False where the thread could not be asked.</summary>
    /// <param name="cell">Host address of 8 bytes, which may be written at any later time.</param>
    public bool Sample(ulong cell)
    {
        QueuedSignal signal = default;
        signal.Signal = FaultHandler.SampleSignal;
        signal.Code = -1; // SI_QUEUE
        signal.Pid = (int)ProcessId;
        signal.Value = cell;
        bool sent = HostSyscall.InvokeFast(SysTgsigqueueinfo, ProcessId, Id, FaultHandler.SampleSignal, (long)&signal) == 0;
        GC.KeepAlive(this);
        return sent;
    }

    /// <summary>The kernel's siginfo_t of a queued signal.</summary>
    [System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Explicit, Size = 128)]
    private struct QueuedSignal
    {
        [System.Runtime.InteropServices.FieldOffset(0)] public int Signal;
        [System.Runtime.InteropServices.FieldOffset(8)] public int Code;
        [System.Runtime.InteropServices.FieldOffset(16)] public int Pid;
        [System.Runtime.InteropServices.FieldOffset(24)] public ulong Value;
    }

    /// <summary>Forgets a pending kick. Only from the thread itself.</summary>
    public void ClearKick()
    {
        Interlocked.Exchange(ref *_kicked, 0);
        GC.KeepAlive(this);
    }

    /// <summary>A raw host syscall that a kick interrupts without a race; returns the kernel's result or negative errno (-4 EINTR; other
    /// host signals may cause one as well). Only from the thread itself. The GC is not held up while it blocks.</summary>
    public long BlockingSyscall(long number, long a0 = 0, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0)
    {
        // SAFETY: the stub has exactly this signature and _kicked outlives the call.
        var result = ((delegate* unmanaged<int*, long, long, long, long, long, long, long, long>)StubPage.Syscalls.Interruptible)(
            _kicked, number, a0, a1, a2, a3, a4, a5);
        GC.KeepAlive(this);
        return result;
    }
}
