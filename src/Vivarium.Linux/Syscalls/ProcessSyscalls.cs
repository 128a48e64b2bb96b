using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Vivarium.Host;
using Vivarium.Linux.Memory;
using Vivarium.Linux.Threads;
using Vivarium.Linux.Time;

namespace Vivarium.Linux.Syscalls;

/// <summary>Processes: exec, wait, groups, limits, names, the machine.</summary>
public static class ProcessSyscalls
{
    public static readonly SyscallRow[] Rows =
    [
        new(30, "ioprio_set", "int int hex", SetIoPriority),
        new(31, "ioprio_get", "int int", GetIoPriority),
        new(92, "personality", "hex", Personality),
        new(95, "waitid", "int int ptr hex ptr", Waiting.WaitId),
        new(97, "unshare", "flags:clone", Unshare),
        new(116, "syslog", "int ptr int", (_, in _) => -Errno.EPERM),
        new(140, "setpriority", "int int int", SetPriority),
        new(141, "getpriority", "int int", GetPriority),
        new(154, "setpgid", "int int", SetProcessGroup),
        new(155, "getpgid", "int", (thread, in args) => Find(thread, args.A0)?.ProcessGroup ?? -Errno.ESRCH),
        new(156, "getsid", "int", (thread, in args) => Find(thread, args.A0)?.Session ?? -Errno.ESRCH),
        new(157, "setsid", "", SetSession),
        new(160, "uname", "ptr", Uname),
        new(161, "sethostname", "str uint", (thread, in args) => SetName(thread, args, domain: false)),
        new(162, "setdomainname", "str uint", (thread, in args) => SetName(thread, args, domain: true)),
        new(163, "getrlimit", "rlimit ptr", (thread, in args) => Limit(thread, 0, args.A0, 0, args.A1)),
        new(164, "setrlimit", "rlimit ptr", (thread, in args) => Limit(thread, 0, args.A0, args.A1, 0)),
        new(165, "getrusage", "int ptr", GetResourceUsage),
        new(167, "prctl", "prctl hex hex hex hex", ProcessControl.Call),
        new(172, "getpid", "", (thread, in _) => thread.Process.Pid),
        new(173, "getppid", "", (thread, in _) => thread.Process.Parent?.Pid ?? 0),
        new(179, "sysinfo", "ptr", SystemInformation),
        new(221, "execve", "path argv ptr", (thread, in args) => Executing.Execute(thread, args.A0, args.A1, args.A2)),
        new(241, "perf_event_open", "ptr int int int hex", (_, in _) => -Errno.ENOENT),
        new(258, "riscv_hwprobe", "ptr size size ptr hex", HardwareProbe),
        new(260, "wait4", "int ptr hex ptr", Waiting.Wait4),
        new(261, "prlimit64", "int rlimit ptr ptr", (thread, in args) => Limit(thread, args.A0, args.A1, args.A2, args.A3)),
        new(268, "setns", "fd hex", SetNamespace),
        new(277, "seccomp", "int hex ptr", (_, in _) => -Errno.EINVAL),
        new(278, "getrandom", "ptr size hex", GetRandom),
        new(280, "bpf", "int ptr uint", (_, in _) => -Errno.EPERM),
        new(281, "execveat", "fd path argv ptr hex", Executing.ExecuteAt),
        // Honest absence: a guest's restartable sequences would need help from the executor.
        new(293, "rseq", "ptr uint hex hex", (_, in _) => -Errno.ENOSYS),
        .. CredentialSyscalls.Rows,
        .. PidFds.Rows,
    ];

    internal static GuestProcess? Find(GuestThread thread, ulong pid) =>
        (int)pid == 0 || (int)pid == thread.Process.Pid ? thread.Process : thread.Process.Realm.Processes.GetValueOrDefault((int)pid);

    /// <summary>The processes that PRIO_PROCESS, PRIO_PGRP or PRIO_USER mean.</summary>
    private static IEnumerable<GuestProcess> Selected(GuestThread thread, int kind, int id)
    {
        var self = thread.Process;
        return kind switch
        {
            0 => self.Realm.Processes.Values.Where(other => other.Pid == (id == 0 ? self.Pid : id)),
            1 => self.Realm.Processes.Values.Where(other => other.ProcessGroup == (id == 0 ? self.ProcessGroup : id)),
            _ => self.Realm.Processes.Values.Where(other => other.Credentials.Uid == (id == 0 ? self.Credentials.Uid : (uint)id)),
        };
    }

    // ioprio_set(2): who is counted from 1 there. Kept, and without effect.
    private static long SetIoPriority(GuestThread thread, in SyscallArgs args)
    {
        if (args.A0 - 1 > 2) return -Errno.EINVAL;
        uint value = (uint)args.A2, kind = value >> 13 & 7, level = value & 7;
        if (value >> 16 != 0 || (value & 0x1fff) > 7 || kind > 3 || kind == 0 && level != 0) return -Errno.EINVAL;
        if (kind == 1 && thread.Process.Credentials.EffectiveUid != 0) return -Errno.EPERM;
        long result = -Errno.ESRCH;
        foreach (var target in Selected(thread, (int)args.A0 - 1, (int)args.A1))
        {
            target.Traits = target.Traits with { IoPriority = value };
            result = 0;
        }
        return result;
    }

    private static long GetIoPriority(GuestThread thread, in SyscallArgs args)
    {
        if (args.A0 - 1 > 2) return -Errno.EINVAL;
        uint? best = null;
        foreach (var target in Selected(thread, (int)args.A0 - 1, (int)args.A1))
        {
            uint value = target.Traits.IoPriority;
            if (best == null || value < best) best = value;
        }
        return best is { } found ? found : -Errno.ESRCH;
    }

    private static long SetPriority(GuestThread thread, in SyscallArgs args)
    {
        if (args.A0 > 2) return -Errno.EINVAL;
        int nice = Math.Clamp((int)args.A2, -20, 19);
        long result = -Errno.ESRCH;
        foreach (var target in Selected(thread, (int)args.A0, (int)args.A1))
        {
            var (mine, its) = (thread.Process.Credentials, target.Credentials);
            if (mine.EffectiveUid != 0 && mine.EffectiveUid != its.Uid && mine.EffectiveUid != its.EffectiveUid)
            {
                result = -Errno.EPERM;
                continue;
            }
            if (nice < target.Nice && thread.Process.Credentials.EffectiveUid != 0) return -Errno.EACCES;
            target.Nice = nice;
            result = 0;
        }
        return result;
    }

    private static long GetPriority(GuestThread thread, in SyscallArgs args)
    {
        if (args.A0 > 2) return -Errno.EINVAL;
        int lowest = int.MaxValue;
        foreach (var target in Selected(thread, (int)args.A0, (int)args.A1)) lowest = Math.Min(lowest, target.Nice);
        return lowest == int.MaxValue ? -Errno.ESRCH : 20 - lowest;
    }

    private static long SetProcessGroup(GuestThread thread, in SyscallArgs args)
    {
        if ((int)args.A1 < 0) return -Errno.EINVAL;
        var self = thread.Process;
        var target = Find(thread, args.A0);
        if (target == null || (target != self && target.Parent != self)) return -Errno.ESRCH;
        int group = (int)args.A1 == 0 ? target.Pid : (int)args.A1;
        lock (self.Realm.Tree)
        {
            if (target.Session != self.Session || target.Session == target.Pid) return -Errno.EPERM;
            if (target != self && target.HasExecuted) return -Errno.EACCES;
            if (group != target.Pid && !self.Realm.Processes.Values.Any(other => other.ProcessGroup == group && other.Session == self.Session)) return -Errno.EPERM;
            target.ProcessGroup = group;
        }
        return 0;
    }

    /// <summary>Descriptors and working directory of one's own; namespaces there are none.</summary>
    private static long Unshare(GuestThread thread, in SyscallArgs args)
    {
        const CloneFlags Known = CloneFlags.Files | CloneFlags.Fs | CloneFlags.SysVSem | CloneFlags.Thread | CloneFlags.Sighand | CloneFlags.Vm;
        var (flags, process) = ((CloneFlags)args.A0, thread.Process);
        if ((flags & ~(Known | CloneFlags.Namespaces)) != 0) return -Errno.EINVAL;
        if ((flags & CloneFlags.Namespaces) != 0) return -Errno.EPERM;
        // What threads of one process share, they share for good here.
        if (flags != 0 && process.ThreadCount > 1) return -Errno.EINVAL;
        if ((flags & (CloneFlags.Vm | CloneFlags.Sighand)) != 0 && process.Memory.IsShared) return -Errno.EINVAL;
        if ((flags & CloneFlags.Files) != 0) process.UnshareFiles();
        if ((flags & CloneFlags.Fs) != 0)
        {
            var shared = process.Fs;
            process.Fs = shared.Clone();
            shared.Release();
        }
        return 0;
    }

    private static long SetNamespace(GuestThread thread, in SyscallArgs args)
    {
        if (thread.Process.Files.HostDescriptor((int)args.A0, out _, out _) < 0) return -Errno.EBADF;
        return ((CloneFlags)args.A1 & ~CloneFlags.Namespaces) != 0 ? -Errno.EINVAL : -Errno.EPERM;
    }

    private static long SetSession(GuestThread thread, in SyscallArgs args)
    {
        var self = thread.Process;
        lock (self.Realm.Tree)
        {
            if (self.ProcessGroup == self.Pid) return -Errno.EPERM;
            self.Session = self.ProcessGroup = self.Pid;
        }
        return self.Pid;
    }

    private static long Uname(GuestThread thread, in SyscallArgs args)
    {
        Span<byte> names = stackalloc byte[6 * 65];
        names.Clear();
        Encoding.UTF8.GetBytes("Linux", names);
        Encoding.Latin1.GetBytes(thread.Process.Realm.HostName, names[65..]);
        Encoding.UTF8.GetBytes(Vfs.ProcFileSystem.KernelRelease, names[130..]);
        Encoding.UTF8.GetBytes(Vfs.ProcFileSystem.KernelVersion, names[195..]);
        Encoding.UTF8.GetBytes("riscv64", names[260..]);
        Encoding.Latin1.GetBytes(thread.Process.Realm.DomainName, names[325..]);
        return thread.Window.TryWriteBytes(args.A0, names) ? 0 : -Errno.EFAULT;
    }

    private static long SetName(GuestThread thread, in SyscallArgs args, bool domain)
    {
        const int Longest = 64;
        if (thread.Process.Credentials.EffectiveUid != 0) return -Errno.EPERM;
        if ((int)args.A1 is < 0 or > Longest) return -Errno.EINVAL;
        Span<byte> name = stackalloc byte[(int)args.A1];
        if (!thread.Window.TryReadBytes(args.A0, name)) return -Errno.EFAULT;
        int end = name.IndexOf((byte)0);
        string text = Encoding.Latin1.GetString(end < 0 ? name : name[..end]);
        if (domain) thread.Process.Realm.DomainName = text;
        else thread.Process.Realm.HostName = text;
        return 0;
    }

    private static long Limit(GuestThread thread, ulong pid, ulong resource, ulong newLimit, ulong oldLimit)
    {
        var target = Find(thread, pid);
        if (target == null) return -Errno.ESRCH;
        if (resource >= ResourceLimits.Count) return -Errno.EINVAL;
        var (mine, its) = (thread.Process.Credentials, target.Credentials);
        if (target != thread.Process && mine.EffectiveUid != 0 && mine.Uid != its.Uid) return -Errno.EPERM;
        int number = (int)resource;
        var limits = target.Limits;
        var (soft, hard) = (limits.Soft(number), limits.Hard(number));
        if (newLimit != 0)
        {
            if (!thread.Window.TryLoad64(newLimit, out ulong newSoft) || !thread.Window.TryLoad64(newLimit + 8, out ulong newHard)) return -Errno.EFAULT;
            if (newSoft > newHard) return -Errno.EINVAL;
            if (number == ResourceLimits.OpenFiles && newHard > 1048576) return -Errno.EPERM; // fs.nr_open
            if (newHard > hard && thread.Process.Credentials.EffectiveUid != 0) return -Errno.EPERM;
            limits.Set(number, newSoft, newHard);
            if (number == ResourceLimits.Cpu) ProcessTimers.WatchCpuLimit(target);
        }
        if (oldLimit != 0 && (!thread.Window.TryStore64(oldLimit, soft) || !thread.Window.TryStore64(oldLimit + 8, hard))) return -Errno.EFAULT;
        return 0;
    }

    /// <summary>The value is kept; that addresses are not random is true with ADDR_NO_RANDOMIZE and without. Other systems' personalities change nothing.</summary>
    private static long Personality(GuestThread thread, in SyscallArgs args)
    {
        const uint Query = 0xffffffff;
        var process = thread.Process;
        uint old = process.Traits.Personality;
        if ((uint)args.A0 == Query) return old;
        process.Traits = process.Traits with { Personality = (uint)args.A0 };
        return old;
    }

    private static long GetResourceUsage(GuestThread thread, in SyscallArgs args)
    {
        var process = thread.Process;
        CpuTimes cpu;
        ulong peak;
        switch ((int)args.A0)
        {
            case 0: (cpu, peak) = (process.CpuTimes(), process.PeakMemory); break;
            case -1: (cpu, peak) = (process.ChildrenCpu, process.ChildrenPeak); break;
            case 1: (cpu, peak) = (thread.CpuTimes(), process.PeakMemory); break;
            default: return -Errno.EINVAL;
        }
        return WriteUsage(thread, args.A1, cpu, peak) ? 0 : -Errno.EFAULT;
    }

    /// <summary><c>struct rusage</c>: user time, system time, peak memory, and for the rest the host process's.</summary>
    internal static bool WriteUsage(GuestThread thread, ulong address, CpuTimes cpu, ulong peak)
    {
        var buffer = HostBuffer.Current;
        HostSyscall.Invoke(98 /* getrusage */, 0, buffer.Address);
        var usage = buffer.Bytes[..144];
        BinaryPrimitives.WriteInt64LittleEndian(usage, cpu.User / 1_000_000_000);
        BinaryPrimitives.WriteInt64LittleEndian(usage[8..], cpu.User % 1_000_000_000 / 1000);
        BinaryPrimitives.WriteInt64LittleEndian(usage[16..], cpu.System / 1_000_000_000);
        BinaryPrimitives.WriteInt64LittleEndian(usage[24..], cpu.System % 1_000_000_000 / 1000);
        BinaryPrimitives.WriteInt64LittleEndian(usage[32..], (long)(peak / 1024));
        return thread.Window.TryWriteBytes(address, usage);
    }

    private static long SystemInformation(GuestThread thread, in SyscallArgs args)
    {
        if (!thread.Window.TryGetHostAddress(args.A0, 112, out long address)) return -Errno.EFAULT;
        long result = HostSyscall.Invoke(99, address);
        // struct sysinfo: totalram at 32, freeram at 40, mem_unit at 104.
        if (result == 0 && thread.Process.Realm.MemoryWatch is { } watch && thread.Window.TryLoad32(args.A0 + 104, out uint unit) && unit > 0)
        {
            thread.Window.TryStore64(args.A0 + 32, watch.Limit / unit);
            thread.Window.TryStore64(args.A0 + 40, (watch.Limit - Math.Min(watch.Limit, watch.Used)) / unit);
        }
        return result;
    }

    private static long GetRandom(GuestThread thread, in SyscallArgs args)
    {
        ulong size = Math.Min(args.A1, 0x1ff_ffff);
        if (!thread.Window.TryGetHostAddress(args.A0, size, out long address)) return -Errno.EFAULT;
        return thread.Block(318, address, (long)size, (long)args.A2);
    }

    /// <summary>riscv_hwprobe: keys below this are known; the one that differs between address spaces.</summary>
    internal const int ProbeKeys = 10, HighestAddressKey = 7;

    /// <summary>What riscv_hwprobe says: exactly the extensions of the instruction table.</summary>
    internal static ulong? Probe(ulong key, ulong addressSpace)
    {
        const int FD = 0, C = 1, Zba = 3, Zbb = 4, Zbs = 5, Zicboz = 6, Zbc = 7, Zfa = 32, Zacas = 34, Zicond = 35, Zihintpause = 36, Zca = 43, Zcd = 45, Zawrs = 48;
        ReadOnlySpan<int> extensions = [FD, C, Zba, Zbb, Zbs, Zicboz, Zbc, Zfa, Zacas, Zicond, Zihintpause, Zca, Zcd, Zawrs];
        switch (key)
        {
            case 0 or 1 or 2: return 0; // mvendorid, marchid, mimpid
            case 3: return 1; // RV64IMA user-visible base behaviour
            case 4:
                ulong bits = 0;
                foreach (int bit in extensions) bits |= 1UL << bit;
                return bits;
            case 5 or 9: return 3; // misaligned scalar accesses are fast
            case 6: return 64; // Zicboz block size
            case HighestAddressKey: return addressSpace - 1;
            case 8: return 10_000_000; // the time CSR's frequency
            default: return null;
        }
    }

    private static long HardwareProbe(GuestThread thread, in SyscallArgs args)
    {
        if (args.A4 != 0) return -Errno.EINVAL;
        for (ulong i = 0; i < args.A1; i++)
        {
            ulong pair = args.A0 + i * 16;
            if (!thread.Window.TryLoad64(pair, out ulong key)) return -Errno.EFAULT;
            var value = Probe(key, thread.Process.Memory.Size);
            if (value == null && !thread.Window.TryStore64(pair, ulong.MaxValue)) return -Errno.EFAULT;
            if (!thread.Window.TryStore64(pair + 8, value ?? 0)) return -Errno.EFAULT;
        }
        return 0;
    }
}
