using System.Globalization;
using System.Text;

namespace Vivarium.Linux.Vfs;

/// <summary>/proc/PID: one guest process.</summary>
internal static partial class ProcFileSystem
{
    private static SyntheticNode ProcessDirectory(string path, GuestProcess process, bool task = false, GuestThread? thread = null)
    {
        SyntheticNode? Child(string name, GuestProcess? caller)
        {
            string child = path + "/" + name;
            return name switch
            {
                "exe" => new LinkNode(child, _ => process.ExecutablePath),
                "cwd" => new LinkNode(child, _ => process.Fs.WorkingDirectory),
                "root" => new LinkNode(child, "/"),
                "maps" => new ContentFile(child, _ => Maps(process)),
                "smaps" => new ContentFile(child, _ => Details(process, rollup: false)),
                "smaps_rollup" => new ContentFile(child, _ => Details(process, rollup: true)),
                "cmdline" => new ContentFile(child, _ => Joined(process.HasEnded ? [] : process.Arguments)),
                "environ" => new ContentFile(child, _ => Joined(process.HasEnded ? [] : process.Environment), 0x100),
                "auxv" => new ContentFile(child, _ => process.AuxiliaryVector, 0x100),
                "comm" => new ContentFile(child, _ => (thread?.Name ?? process.Name) + "\n", 0x1A4) { Writer = (caller, text) => Rename(caller, process, thread, text) },
                "status" => new ContentFile(child, _ => Status(process, thread)),
                "stat" => new ContentFile(child, _ => Stat(process, thread)),
                "statm" => new ContentFile(child, _ => StatM(process)),
                "limits" => new ContentFile(child, _ => Limits(process)),
                "mounts" => new ContentFile(child, _ => Mounts(process)),
                "mountinfo" => new ContentFile(child, _ => MountInfo(process)),
                "cgroup" => new ContentFile(child, _ => "0::/\n"),
                "loginuid" => new ContentFile(child, _ => "4294967295", 0x1A4),
                "sessionid" => new ContentFile(child, _ => "4294967295"),
                "oom_score" => new ContentFile(child, _ => "0\n"),
                "oom_score_adj" => new ContentFile(child, _ => process.Traits.OutOfMemoryScore.ToString(CultureInfo.InvariantCulture) + "\n", 0x1A4) { Writer = (caller, text) => SetScore(caller, process, text) },
                "personality" => new ContentFile(child, _ => process.Traits.Personality.ToString("x8", CultureInfo.InvariantCulture) + "\n"),
                "mem" => new Ptrace.ProcessMemoryFile(child, process),
                "wchan" => new ContentFile(child, _ => "0"),
                "setgroups" => new ContentFile(child, _ => "allow\n"),
                "uid_map" or "gid_map" => new ContentFile(child, _ => "         0          0 4294967295\n"),
                "io" => new ContentFile(child, _ => "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"),
                "fd" => Descriptors(child, process),
                "fdinfo" => DescriptorInfos(child, process),
                "net" => Net(child),
                "task" when !task => Tasks(child, process),
                _ => null,
            };
        }

        return new DynamicDirectory(path, 0x16D, Child, caller => ProcessNames.Select(name => Child(name, caller)).OfType<SyntheticNode>());
    }

    private static readonly string[] ProcessNames =
    [
        "auxv", "cgroup", "cmdline", "comm", "cwd", "environ", "exe", "fd", "fdinfo", "gid_map", "io", "limits", "loginuid", "maps", "mem", "mountinfo", "mounts", "net",
        "oom_score", "oom_score_adj", "personality", "root", "sessionid", "setgroups", "smaps", "smaps_rollup", "stat", "statm", "status", "task", "uid_map", "wchan",
    ];

    private static DynamicDirectory Descriptors(string path, GuestProcess process)
    {
        DescriptorLink? Link(string name) => int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int fd) && process.Files.IsCloseOnExec(fd) != null
            ? new DescriptorLink($"{path}/{name}", process, fd) : null;
        return new DynamicDirectory(path, 0x140, (name, _) => Link(name),
            _ => process.Files.Numbers().Select(fd => Link(fd.ToString(CultureInfo.InvariantCulture))).OfType<SyntheticNode>());
    }

    private static DynamicDirectory DescriptorInfos(string path, GuestProcess process)
    {
        ContentFile? Info(string name)
        {
            if (!int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int fd)) return null;
            var file = process.Files.Acquire(fd);
            if (file == null) return null;
            long host = file.HostDescriptor;
            file.Release();
            return new ContentFile($"{path}/{name}", _ => DescriptorInfo(process, fd, ReadHost($"/proc/self/fdinfo/{host}")), 0x100);
        }

        return new DynamicDirectory(path, 0x140, (name, _) => Info(name),
            _ => process.Files.Numbers().Select(fd => Info(fd.ToString(CultureInfo.InvariantCulture))).OfType<SyntheticNode>());
    }

    // All descriptors of the host are closed by its exec; the guest's mark is the slot's.
    private static string DescriptorInfo(GuestProcess process, int fd, string host)
    {
        const string key = "flags:\t";
        const int closeOnExec = OpenFlags.CloseOnExec;
        int at = host.IndexOf(key, StringComparison.Ordinal), end = at < 0 ? -1 : host.IndexOf('\n', at);
        if (end < 0) return host;
        int flags = Convert.ToInt32(host[(at + key.Length)..end], 8) & ~closeOnExec | (process.Files.IsCloseOnExec(fd) == true ? closeOnExec : 0);
        return $"{host[..at]}{key}0{Convert.ToString(flags, 8)}{host[end..]}";
    }

    private static long SetScore(GuestProcess caller, GuestProcess process, string text)
    {
        if (!int.TryParse(text.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int score) || score is < -1000 or > 1000) return -Errno.EINVAL;
        if (score < process.Traits.OutOfMemoryScore && caller.Credentials.EffectiveUid != 0) return -Errno.EACCES;
        process.Traits = process.Traits with { OutOfMemoryScore = score };
        return 0;
    }

    private static long Rename(GuestProcess caller, GuestProcess process, GuestThread? thread, string text)
    {
        if (caller != process) return -Errno.EINVAL;
        string name = text.TrimEnd('\n', '\0');
        if (name.Length > 15) name = name[..15];
        if (thread == null || thread.Tid == process.Pid) process.Name = name;
        thread ??= process.Threads().FirstOrDefault(one => one.Tid == process.Pid);
        if (thread != null) thread.Name = name;
        return 0;
    }

    private static DynamicDirectory Tasks(string path, GuestProcess process)
    {
        IEnumerable<int> Tids() => process.Realm.Threads.Values.Where(thread => thread.Process == process).Select(thread => thread.Tid).Append(process.Pid).Distinct().Order();
        SyntheticNode Task(int tid) => ProcessDirectory($"{path}/{tid}", process, task: true, process.Realm.Threads.GetValueOrDefault(tid));
        return new DynamicDirectory(path, 0x16D,
            (name, _) => int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int tid) && Tids().Contains(tid) ? Task(tid) : null,
            _ => Tids().Select(Task));
    }

    // The network is the host's: so are its tables.
    private static FixedDirectory Net(string path)
    {
        var nodes = new List<SyntheticNode>();
        foreach (var name in (ReadOnlySpan<string>)["dev", "route", "tcp", "tcp6", "udp", "udp6", "unix", "if_inet6", "ipv6_route", "arp", "protocols", "snmp"])
            nodes.Add(new HostNode($"{path}/{name}", "/proc/net/" + name, FileType.Regular | 0x124));
        return new FixedDirectory(path, 0x16D, [.. nodes]);
    }

    private static string ReadHost(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            return "";
        }
    }

    private static string Maps(GuestProcess process)
    {
        using var writer = new StringWriter(CultureInfo.InvariantCulture);
        process.Memory.WriteMaps(writer);
        return writer.ToString();
    }

    private static string Details(GuestProcess process, bool rollup)
    {
        if (process.HasEnded) return "";
        using var writer = new StringWriter(CultureInfo.InvariantCulture);
        process.Memory.WriteDetails(writer, rollup);
        return writer.ToString();
    }

    private static byte[] Joined(IReadOnlyList<string> strings) => Encoding.Latin1.GetBytes(string.Concat(strings.Select(text => text + "\0")));

    private static int ThreadCount(GuestProcess process) => Math.Max(1, process.Realm.Threads.Values.Count(thread => thread.Process == process));

    private static (ulong Size, ulong Data, ulong Anonymous, ulong File) MemoryUse(GuestProcess process)
    {
        if (process.HasEnded) return default;
        var (size, data) = process.Memory.Usage();
        var (anonymous, file) = process.Memory.Resident();
        return (size, data, anonymous, file);
    }

    // What the host's kernel says of the thread that runs it: asleep in a call, or running.
    private static string StateName(GuestProcess process, GuestThread? thread)
    {
        if (process.HasEnded) return "Z (zombie)";
        var threads = process.Threads();
        if (thread == null ? threads.Any(one => one.Tracee is { Stopped: true }) : thread.Tracee is { Stopped: true }) return "t (tracing stop)";
        if (process.IsStopped) return "T (stopped)";
        thread ??= threads.FirstOrDefault(one => one.Tid == process.Pid);
        // The first thread has left, others go on.
        if (thread == null) return "Z (zombie)";
        return thread.HostThread is not { } host ? "R (running)" : Time.CpuTimes.StateOf(host.Id) switch { 'S' => "S (sleeping)", 'D' => "D (disk sleep)", _ => "R (running)" };
    }

    private static string Status(GuestProcess process, GuestThread? thread)
    {
        var who = process.Credentials;
        var (size, data, anonymous, file) = MemoryUse(process);
        ulong resident = anonymous + file;
        var signals = process.SignalSets();
        return string.Create(CultureInfo.InvariantCulture, $"""
            Name:	{thread?.Name ?? process.Name}
            Umask:	{Convert.ToString(process.Fs.Umask, 8).PadLeft(4, '0')}
            State:	{StateName(process, thread)}
            Tgid:	{process.Pid}
            Ngid:	0
            Pid:	{thread?.Tid ?? process.Pid}
            PPid:	{process.Parent?.Pid ?? 0}
            TracerPid:	{process.Threads().FirstOrDefault(thread => thread.Tracee != null)?.Tracee?.By.Tid ?? 0}
            Uid:	{who.Uid}	{who.EffectiveUid}	{who.SavedUid}	{who.FsUid}
            Gid:	{who.Gid}	{who.EffectiveGid}	{who.SavedGid}	{who.FsGid}
            FDSize:	256
            Groups:	{string.Join(' ', who.Groups)} 
            VmPeak:	{size / 1024,8} kB
            VmSize:	{size / 1024,8} kB
            VmLck:	{(process.HasEnded ? 0 : process.Memory.LockedBytes() / 1024),8} kB
            VmPin:	       0 kB
            VmHWM:	{process.PeakMemory / 1024,8} kB
            VmRSS:	{resident / 1024,8} kB
            RssAnon:	{anonymous / 1024,8} kB
            RssFile:	{file / 1024,8} kB
            RssShmem:	       0 kB
            VmData:	{data / 1024,8} kB
            VmStk:	     136 kB
            VmSwap:	       0 kB
            Threads:	{ThreadCount(process)}
            SigQ:	0/95000
            SigPnd:	{signals.ThreadPending:x16}
            ShdPnd:	{signals.Pending:x16}
            SigBlk:	{signals.Blocked:x16}
            SigIgn:	{signals.Ignored:x16}
            SigCgt:	{signals.Caught:x16}
            CapInh:	{who.InheritableCapabilities:x16}
            CapPrm:	{who.PermittedCapabilities:x16}
            CapEff:	{who.EffectiveCapabilities:x16}
            CapBnd:	{who.BoundingCapabilities:x16}
            CapAmb:	0000000000000000
            NoNewPrivs:	{(process.NoNewPrivileges ? 1 : 0)}
            Seccomp:	0
            Seccomp_filters:	0
            Cpus_allowed:	{(1UL << Math.Min(63, Environment.ProcessorCount)) - 1:x}
            Cpus_allowed_list:	0-{Environment.ProcessorCount - 1}
            Mems_allowed:	1
            Mems_allowed_list:	0
            voluntary_ctxt_switches:	0
            nonvoluntary_ctxt_switches:	0

            """);
    }

    private static string Stat(GuestProcess process, GuestThread? thread)
    {
        const long Tick = 10_000_000;
        var (size, _, anonymous, file) = MemoryUse(process);
        ulong resident = anonymous + file;
        var terminal = process.Realm.Terminals.OfSession(process.Session);
        var (own, children, signals) = (thread?.CpuTimes() ?? process.CpuTimes(), process.ChildrenCpu, process.SignalSets());
        return string.Create(CultureInfo.InvariantCulture, $"{thread?.Tid ?? process.Pid} ({thread?.Name ?? process.Name}) {StateName(process, thread)[0]} {process.Parent?.Pid ?? 0} "
            + $"{process.ProcessGroup} {process.Session} {terminal?.Device ?? 0} {terminal?.Foreground ?? -1} 4194304 0 0 0 0 {own.User / Tick} {own.System / Tick} "
            + $"{children.User / Tick} {children.System / Tick} {20 + process.Nice} {process.Nice} {ThreadCount(process)} 0 {process.StartTime / Tick} {size} {resident / 4096} "
            + $"{process.Limits.Soft(5)} 0 0 0 0 0 {signals.Pending} {signals.Blocked} {signals.Ignored} {signals.Caught} 0 0 0 {process.ExitSignal} 0 0 0 0 0 0 0 0 0 0 0 0 0 {(process.HasEnded ? process.WaitStatus : 0)}\n");
    }

    private static string StatM(GuestProcess process)
    {
        var (size, data, anonymous, file) = MemoryUse(process);
        return string.Create(CultureInfo.InvariantCulture, $"{size / 4096} {(anonymous + file) / 4096} {file / 4096} 0 0 {data / 4096} 0\n");
    }

    private static readonly (string Name, int Resource, string Unit)[] LimitRows =
    [
        ("Max cpu time", 0, "seconds"), ("Max file size", 1, "bytes"), ("Max data size", 2, "bytes"), ("Max stack size", 3, "bytes"),
        ("Max core file size", 4, "bytes"), ("Max resident set", 5, "bytes"), ("Max processes", 6, "processes"), ("Max open files", 7, "files"),
        ("Max locked memory", 8, "bytes"), ("Max address space", 9, "bytes"), ("Max file locks", 10, "locks"), ("Max pending signals", 11, "signals"),
        ("Max msgqueue size", 12, "bytes"), ("Max nice priority", 13, ""), ("Max realtime priority", 14, ""), ("Max realtime timeout", 15, "us"),
    ];

    private static string Limits(GuestProcess process)
    {
        static string Value(ulong limit) => limit == ulong.MaxValue ? "unlimited" : limit.ToString(CultureInfo.InvariantCulture);
        var text = new StringBuilder("Limit                     Soft Limit           Hard Limit           Units     \n");
        foreach (var (name, resource, unit) in LimitRows)
            text.Append(CultureInfo.InvariantCulture, $"{name,-25} {Value(process.Limits.Soft(resource)),-20} {Value(process.Limits.Hard(resource)),-20} {unit,-10}\n");
        return text.ToString();
    }

    private static string Mounts(GuestProcess process)
    {
        if (!process.Fs.Space.Confined) return ReadHost("/proc/self/mounts");
        var text = new StringBuilder();
        foreach (var (mount, path) in process.Fs.Space.VisibleMounts())
            text.Append(CultureInfo.InvariantCulture, $"{Escaped(mount.Source)} {Escaped(path)} {mount.Type} {mount.Options} 0 0\n");
        return text.ToString();
    }

    // 36 35 98:0 /root /mount-point options - type source super-options (proc(5)).
    private static string MountInfo(GuestProcess process)
    {
        if (!process.Fs.Space.Confined) return ReadHost("/proc/self/mountinfo");
        var text = new StringBuilder();
        foreach (var (mount, path) in process.Fs.Space.VisibleMounts())
        {
            string root = mount.FileSystem is SubtreeFileSystem subtree ? "/" + Encoding.Latin1.GetString(subtree.Prefix) : "/";
            // The size is the file system's, the rest this mount's.
            int size = mount.Options.IndexOf(",size=", StringComparison.Ordinal);
            string own = size < 0 ? mount.Options : mount.Options[..size], ofFileSystem = size < 0 ? "" : mount.Options[size..];
            string access = mount.Options.StartsWith("ro", StringComparison.Ordinal) ? "ro" : "rw";
            text.Append(CultureInfo.InvariantCulture, $"{mount.Id} {(mount.Id == 20 ? 1 : 20)} 0:{mount.Id} {Escaped(root)} {Escaped(path)} {own} - {mount.Type} {Escaped(mount.Source)} {access}{ofFileSystem}\n");
        }
        return text.ToString();
    }

    private static string Escaped(string text) => text.Replace("\\", "\\134").Replace(" ", "\\040").Replace("\t", "\\011").Replace("\n", "\\012");
}
