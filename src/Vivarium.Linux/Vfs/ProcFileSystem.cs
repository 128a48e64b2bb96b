using System.Globalization;
using System.Text;

namespace Vivarium.Linux.Vfs;

/// <summary>/proc: the realm's processes, and the machine as a riscv64 guest should see it.</summary>
internal static partial class ProcFileSystem
{
    /// <param name="hostTree">Names we do not have show the host's (<c>/proc/net</c>...).</param>
    public static SyntheticNode Create(bool hostTree)
    {
        var top = new Dictionary<string, SyntheticNode>(StringComparer.Ordinal);
        void Add(SyntheticNode node) => top.Add(node.NameOf, node);
        Add(new LinkNode("/proc/self", caller => caller?.Pid.ToString(CultureInfo.InvariantCulture)));
        Add(new LinkNode("/proc/thread-self", caller => caller == null ? null : $"{caller.Pid}/task/{caller.Pid}"));
        Add(new ContentFile("/proc/cpuinfo", _ => CpuInfo()));
        Add(new LinkNode("/proc/mounts", "self/mounts"));
        Add(new ContentFile("/proc/version", _ => $"Linux version {KernelRelease} (viv) {KernelVersion}\n"));
        Add(new ContentFile("/proc/filesystems", _ => "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tdevpts\n\text4\n"));
        Add(new ContentFile("/proc/cmdline", _ => "\n"));
        Add(new ContentFile("/proc/devices", _ => "Character devices:\n  1 mem\n  5 /dev/tty\n136 pts\n\nBlock devices:\n"));
        Add(new ContentFile("/proc/modules", _ => ""));
        Add(new ContentFile("/proc/swaps", _ => "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"));
        Add(new ContentFile("/proc/partitions", _ => "major minor  #blocks  name\n\n"));
        foreach (var name in (ReadOnlySpan<string>)["meminfo", "stat", "uptime", "loadavg", "vmstat"])
            Add(new HostNode("/proc/" + name, "/proc/" + name, FileType.Regular | 0x124));
        Add(System());
        Add(SystemVTables());
        Add(new LinkNode("/proc/net", "self/net"));
        return new DynamicDirectory("/proc", 0x16D, (name, caller) => top.GetValueOrDefault(name) ?? Process(name, caller) ?? (hostTree ? Host(name) : null),
            caller => top.Values.Concat(Processes(caller)));
    }

    /// <summary>What uname says.</summary>
    internal const string KernelRelease = "6.12.0-viv";

    /// <inheritdoc cref="KernelRelease"/>
    internal const string KernelVersion = "#1 SMP Vivarium";

    private static IEnumerable<SyntheticNode> Processes(GuestProcess? caller) => caller == null ? []
        : caller.Realm.Processes.Keys.Append(caller.Pid).Distinct().Order().Select(pid => Process(pid.ToString(CultureInfo.InvariantCulture), caller)!).Where(node => node != null);

    private static SyntheticNode? Process(string name, GuestProcess? caller)
    {
        if (caller == null || !int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int pid)) return null;
        var process = pid == caller.Pid ? caller : caller.Realm.Processes.GetValueOrDefault(pid);
        if (process == null && caller.Realm.Threads.TryGetValue(pid, out var thread)) process = thread.Process;
        return process == null ? null : ProcessDirectory("/proc/" + name, process);
    }

    // Things like /proc/pressure are the host's own where its tree is shown; a process directory never is.
    private static HostNode? Host(string name) => name.Length == 0 || char.IsAsciiDigit(name[0]) || name is "self" or "thread-self" ? null : HostNode.At("/proc/" + name, "/proc/" + name);

    private static string CpuInfo()
    {
        var text = new StringBuilder();
        for (int i = 0; i < Environment.ProcessorCount; i++)
        {
            text.Append(CultureInfo.InvariantCulture, $"processor\t: {i}\nhart\t\t: {i}\n");
            text.Append("isa\t\t: rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicond_zicsr_zifencei_zihintpause_zawrs_zacas_zfa_zba_zbb_zbc_zbs\n");
            text.Append("mmu\t\t: sv39\nmvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\n\n");
        }
        return text.ToString();
    }

    private static FixedDirectory System()
    {
        const string sys = "/proc/sys", kernel = sys + "/kernel", vm = sys + "/vm", fs = sys + "/fs", net = sys + "/net";
        static ContentFile Value(string path, string value) => new(path, _ => value + "\n");
        return new FixedDirectory(sys, 0x16D,
            new FixedDirectory(kernel, 0x16D,
                Value(kernel + "/osrelease", KernelRelease), Value(kernel + "/ostype", "Linux"), Value(kernel + "/version", KernelVersion), Value(kernel + "/tainted", "0"),
                Name(kernel + "/hostname", realm => realm.HostName, (realm, name) => realm.HostName = name), Name(kernel + "/domainname", realm => realm.DomainName, (realm, name) => realm.DomainName = name),
                Kept(kernel + "/pid_max", "4194304"), Kept(kernel + "/threads-max", "127000"), Value(kernel + "/cap_last_cap", "40"),
                Value(kernel + "/ngroups_max", "65536"), Value(kernel + "/overflowuid", "65534"), Value(kernel + "/overflowgid", "65534"),
                Setting(kernel + "/core_pattern", realm => realm.Settings.GetValueOrDefault(kernel + "/core_pattern", "core"), (realm, text) => { realm.Settings[kernel + "/core_pattern"] = text; return 0; }),
                Kept(kernel + "/randomize_va_space", "0"), Limits(kernel + "/shmmax", limits => ref limits.SegmentBytes), Limits(kernel + "/shmall", limits => ref limits.SegmentPages),
                Limits(kernel + "/shmmni", limits => ref limits.Segments),
                Limits(kernel + "/sem", limits => ref limits.SetSize, limits => ref limits.Semaphores, limits => ref limits.Operations, limits => ref limits.Sets),
                Limits(kernel + "/msgmax", limits => ref limits.MessageBytes), Limits(kernel + "/msgmnb", limits => ref limits.QueueBytes), Limits(kernel + "/msgmni", limits => ref limits.Queues),
                Value(kernel + "/seccomp/actions_avail", "").Under(kernel + "/seccomp"),
                new FixedDirectory(kernel + "/random", 0x16D,
                    new ContentFile(kernel + "/random/uuid", _ => Guid.NewGuid().ToString("D") + "\n"),
                    Value(kernel + "/random/boot_id", BootId), Value(kernel + "/random/entropy_avail", "256"), Value(kernel + "/random/poolsize", "256"))),
            new FixedDirectory(vm, 0x16D, Kept(vm + "/overcommit_memory", "0"), Kept(vm + "/max_map_count", "65530"), Value(vm + "/mmap_min_addr", "65536"), Kept(vm + "/drop_caches", "0"),
                Kept(vm + "/swappiness", "60"), Kept(vm + "/overcommit_ratio", "50")),
            new FixedDirectory(fs, 0x16D, Kept(fs + "/file-max", "9223372036854775807"), Kept(fs + "/nr_open", "1048576"), Kept(fs + "/lease-break-time", "45"),
                Value(fs + "/pipe-user-pages-soft", "16384"), Value(fs + "/pipe-user-pages-hard", "0"),
                new FixedDirectory(fs + "/mqueue", 0x16D, Value(fs + "/mqueue/queues_max", "256"), Value(fs + "/mqueue/msg_max", "10"), Value(fs + "/mqueue/msgsize_max", "8192"),
                    Value(fs + "/mqueue/msg_default", "10"), Value(fs + "/mqueue/msgsize_default", "8192")), Value(fs + "/pipe-max-size", "1048576"),
                Value(fs + "/file-nr", "1024\t0\t9223372036854775807"),
                new FixedDirectory(fs + "/inotify", 0x16D, Value(fs + "/inotify/max_user_watches", "65536"), Value(fs + "/inotify/max_user_instances", "128"),
                    Value(fs + "/inotify/max_queued_events", "16384"))),
            new FixedDirectory(net, 0x16D, new FixedDirectory(net + "/core", 0x16D, Kept(net + "/core/somaxconn", "4096"), Kept(net + "/core/rmem_max", "212992"),
                Kept(net + "/core/wmem_max", "212992")),
                new FixedDirectory(net + "/ipv4", 0x16D, Value(net + "/ipv4/ip_local_port_range", "32768\t60999"))));
    }

    private static readonly string BootId = Guid.NewGuid().ToString("D");

    private static FixedDirectory Under(this ContentFile file, string directory) => new(directory, 0x16D, file);
}
