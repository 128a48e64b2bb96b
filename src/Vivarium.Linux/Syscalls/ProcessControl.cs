using System.Text;
using Vivarium.Linux.Signals;

namespace Vivarium.Linux.Syscalls;

/// <summary>prctl.</summary>
internal static class ProcessControl
{
    public static long Call(GuestThread thread, in SyscallArgs args)
    {
        var process = thread.Process;
        switch ((int)args.A0)
        {
            case 1: // PR_SET_PDEATHSIG
                if (args.A1 > Signal.Count) return -Errno.EINVAL;
                process.ParentDeathSignal = (int)args.A1;
                return 0;
            case 2: return thread.Window.TryStore32(args.A1, (uint)process.ParentDeathSignal) ? 0 : -Errno.EFAULT;
            case 3: return 1; // PR_GET_DUMPABLE
            case 4: return args.A1 <= 1 ? 0 : -Errno.EINVAL;
            case 7: return 0; // PR_GET_KEEPCAPS
            case 8: return 0;
            case 15: // PR_SET_NAME
            {
                Span<byte> name = stackalloc byte[16];
                int length = thread.Window.ReadCString(args.A1, name);
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
                return thread.Window.TryWriteBytes(args.A1, name) ? 0 : -Errno.EFAULT;
            }
            case 21: return 0; // PR_GET_SECCOMP: none
            case 22: return -Errno.EINVAL;
            case 23: return args.A1 <= 40 ? 1 : -Errno.EINVAL; // PR_CAPBSET_READ
            case 24: return args.A1 <= 40 ? 0 : -Errno.EINVAL;
            case 27: return 0; // PR_GET_SECUREBITS
            case 28: return 0;
            case 29: return 0; // PR_SET_TIMERSLACK
            case 30: return 50_000;
            case 36: // PR_SET_CHILD_SUBREAPER
                process.IsSubreaper = args.A1 != 0;
                return 0;
            case 37: return thread.Window.TryStore32(args.A1, process.IsSubreaper ? 1u : 0) ? 0 : -Errno.EFAULT;
            case 38: // PR_SET_NO_NEW_PRIVS
                if (args.A1 != 1) return -Errno.EINVAL;
                process.NoNewPrivileges = true;
                return 0;
            case 39: return process.NoNewPrivileges ? 1 : 0;
            case 40: return thread.Window.TryStore64(args.A1, thread.ClearChildTid) ? 0 : -Errno.EFAULT; // PR_GET_TID_ADDRESS
            case 41: return 0; // PR_SET_THP_DISABLE
            case 42: return 0;
            case 47: return args.A1 == 4 ? 0 : -Errno.EINVAL; // PR_CAP_AMBIENT: only CLEAR_ALL
            case 0x53564d41: return 0; // PR_SET_VMA: names are not kept
            case 0x59616d61: return 0; // PR_SET_PTRACER
            default: return -Errno.EINVAL;
        }
    }
}
