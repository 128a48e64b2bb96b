using System.Text;
using Vivarium.Linux.Signals;

namespace Vivarium.Linux.Syscalls;

/// <summary>What prctl sets of a process and fork hands on.</summary>
internal sealed record ProcessTraits
{
    /// <summary>PR_SET_DUMPABLE.</summary>
    public bool Dumpable { get; init; } = true;

    /// <summary>PR_SET_KEEPCAPS; execve clears it.</summary>
    public bool KeepCapabilities { get; init; }

    /// <summary>PR_SET_SECUREBITS.</summary>
    public uint SecureBits { get; init; }

    /// <summary>PR_SET_TIMERSLACK in nanoseconds; timers here have none.</summary>
    public ulong TimerSlack { get; init; } = 50_000;

    /// <summary>PR_SET_THP_DISABLE.</summary>
    public bool NoHugePages { get; init; }

    /// <summary>PR_MCE_KILL: 0 late, 1 early, 2 default.</summary>
    public int MachineCheck { get; init; } = 2;

    /// <summary>personality's flags.</summary>
    public uint Personality { get; init; }

    /// <summary>ioprio_set: class and level; none until it is set.</summary>
    public uint IoPriority { get; init; }

    /// <summary>/proc/PID/oom_score_adj: -1000 is never killed for memory.</summary>
    public int OutOfMemoryScore { get; init; }

    /// <summary>PR_SET_IO_FLUSHER.</summary>
    public bool FlushesIo { get; init; }
}

/// <summary>prctl.</summary>
internal static class ProcessControl
{
    private const int LastCapability = 40;
    private const uint SecureBitsMask = 0xff;

    public static long Call(GuestThread thread, in SyscallArgs args)
    {
        var process = thread.Process;
        var traits = process.Traits;
        var (a1, a2, a3, a4) = (args.A1, args.A2, args.A3, args.A4);
        bool root = process.Credentials.EffectiveUid == 0;
        switch ((int)args.A0)
        {
            case 1: // PR_SET_PDEATHSIG
                if (a1 > Signal.Count) return -Errno.EINVAL;
                process.ParentDeathSignal = (int)a1;
                return 0;
            case 2: return thread.Window.TryStore32(a1, (uint)process.ParentDeathSignal) ? 0 : -Errno.EFAULT;
            case 3: return traits.Dumpable ? 1 : 0;
            case 4: return a1 <= 1 ? Set(traits with { Dumpable = a1 != 0 }) : -Errno.EINVAL;
            case 7: return traits.KeepCapabilities ? 1 : 0;
            case 8: return a1 <= 1 ? Set(traits with { KeepCapabilities = a1 != 0 }) : -Errno.EINVAL;
            case 13: return 0; // PR_GET_TIMING: PR_TIMING_STATISTICAL
            case 14: return a1 == 0 ? 0 : -Errno.EINVAL;
            case 15: // PR_SET_NAME
            {
                Span<byte> name = stackalloc byte[16];
                int length = thread.Window.ReadCString(a1, name);
                if (length == -Errno.EFAULT) return length;
                thread.Name = Encoding.Latin1.GetString(name[..(length < 0 ? 15 : Math.Min(length, 15))]);
                if (thread.Tid == process.Pid) process.Name = thread.Name;
                return 0;
            }
            case 16: // PR_GET_NAME
            {
                Span<byte> name = stackalloc byte[16];
                name.Clear();
                Encoding.Latin1.GetBytes(thread.Name.Length > 15 ? thread.Name[..15] : thread.Name, name);
                return thread.Window.TryWriteBytes(a1, name) ? 0 : -Errno.EFAULT;
            }
            case 21: return 0; // PR_GET_SECCOMP: none
            case 22: return -Errno.EINVAL;
            case 23: return a1 <= LastCapability ? (long)(process.Credentials.BoundingCapabilities >> (int)a1 & 1) : -Errno.EINVAL; // PR_CAPBSET_READ
            case 24: // PR_CAPBSET_DROP
                if (!process.Credentials.Has(Credentials.CapSetPCap)) return -Errno.EPERM;
                if (a1 > LastCapability) return -Errno.EINVAL;
                process.Credentials = process.Credentials with { BoundingCapabilities = process.Credentials.BoundingCapabilities & ~(1UL << (int)a1) };
                return 0;
            case 27: return traits.SecureBits;
            case 28: return !process.Credentials.Has(Credentials.CapSetPCap) || (a1 & ~(ulong)SecureBitsMask) != 0 ? -Errno.EPERM : Set(traits with { SecureBits = (uint)a1 });
            case 29: return Set(traits with { TimerSlack = (long)a1 <= 0 ? 50_000 : a1 });
            case 30: return (long)Math.Min(traits.TimerSlack, int.MaxValue);
            case 31 or 32: return 0; // PR_TASK_PERF_EVENTS_DISABLE, ENABLE: there are none
            case 33: // PR_MCE_KILL
                if ((a3 | a4) != 0 || a1 > 1 || (a1 == 0 ? a2 != 0 : a2 > 2)) return -Errno.EINVAL;
                return Set(traits with { MachineCheck = a1 == 0 ? 2 : (int)a2 });
            case 34: return (a1 | a2 | a3 | a4) != 0 ? -Errno.EINVAL : traits.MachineCheck;
            case 35: return root ? -Errno.EINVAL : -Errno.EPERM; // PR_SET_MM
            case 36: // PR_SET_CHILD_SUBREAPER
                process.IsSubreaper = a1 != 0;
                return 0;
            case 37: return thread.Window.TryStore32(a1, process.IsSubreaper ? 1u : 0) ? 0 : -Errno.EFAULT;
            case 38: // PR_SET_NO_NEW_PRIVS
                if (a1 != 1 || (a2 | a3 | a4) != 0) return -Errno.EINVAL;
                process.NoNewPrivileges = true;
                return 0;
            case 39: return (a1 | a2 | a3 | a4) != 0 ? -Errno.EINVAL : process.NoNewPrivileges ? 1 : 0;
            case 40: return thread.Window.TryStore64(a1, thread.ClearChildTid) ? 0 : -Errno.EFAULT; // PR_GET_TID_ADDRESS
            case 41: return (a2 | a3 | a4) != 0 ? -Errno.EINVAL : Set(traits with { NoHugePages = a1 != 0 }); // PR_SET_THP_DISABLE
            case 42: return (a1 | a2 | a3 | a4) != 0 ? -Errno.EINVAL : traits.NoHugePages ? 1 : 0;
            case 47: return Ambient(a1, a2, a3 | a4);
            case 57: return !root ? -Errno.EPERM : (a2 | a3 | a4) != 0 || a1 > 1 ? -Errno.EINVAL : Set(traits with { FlushesIo = a1 != 0 }); // PR_SET_IO_FLUSHER
            case 58: return !root ? -Errno.EPERM : (a1 | a2 | a3 | a4) != 0 ? -Errno.EINVAL : traits.FlushesIo ? 1 : 0;
            case 0x41555856: // PR_GET_AUXV
            {
                if ((a3 | a4) != 0) return -Errno.EINVAL;
                var vector = process.AuxiliaryVector;
                int count = (int)Math.Min(a2, (ulong)vector.Length);
                return thread.Window.TryWriteBytes(a1, vector.AsSpan(0, count)) ? vector.Length : -Errno.EFAULT;
            }
            case 0x53564d41: return a1 == 0 ? 0 : -Errno.EINVAL; // PR_SET_VMA, PR_SET_VMA_ANON_NAME: names are not kept
            case 0x59616d61: return 0; // PR_SET_PTRACER
            default: return -Errno.EINVAL;
        }

        long Set(ProcessTraits changed)
        {
            process.Traits = changed;
            return 0;
        }
    }

    /// <summary>PR_CAP_AMBIENT: nobody has an ambient capability, since nobody has an inheritable one.</summary>
    private static long Ambient(ulong operation, ulong capability, ulong rest)
    {
        const int IsSet = 1, Raise = 2, Lower = 3, ClearAll = 4;
        if (rest != 0) return -Errno.EINVAL;
        if (operation == ClearAll) return capability == 0 ? 0 : -Errno.EINVAL;
        if (operation is not (IsSet or Raise or Lower) || capability > LastCapability) return -Errno.EINVAL;
        return operation == Raise ? -Errno.EPERM : 0;
    }
}
