namespace Vivarium.Linux.Vfs;

/// <summary>/dev of a root directory: the host's harmless devices, the terminals that the guests opened, links to descriptors.</summary>
internal static class DeviceFileSystem
{
    private const uint Character = FileType.Character | 0x1B6;

    /// <summary>The whole directory.</summary>
    public static SyntheticNode Create(NameSpace space)
    {
        var children = new List<SyntheticNode>();
        foreach (var name in (ReadOnlySpan<string>)["null", "zero", "full", "random", "urandom", "tty", "ptmx"])
            children.Add(new HostNode("/dev/" + name, "/dev/" + name, Character));
        children.Add(Terminals(space));
        children.Add(new FixedDirectory("/dev/shm", 0x3FF));
        children.Add(new FixedDirectory("/dev/mqueue", 0x3FF));
        foreach (var (_, node) in DescriptorLinks()) children.Add(node);
        children.Add(new LinkNode("/dev/core", "/proc/kcore"));
        var devices = new FixedDirectory("/dev", 0x1ED, [.. children]);
        return new DynamicDirectory("/dev", 0x1ED,
            (name, caller) => name == "tty" && caller?.Realm.Terminals.OfSession(caller.Session) is { } terminal
                ? new HostNode("/dev/tty", $"/dev/pts/{terminal.Number}", Character)
                : devices.Lookup(name, caller),
            devices.List);
    }

    /// <summary>fd, stdin, stdout and stderr, which mean the caller's own.</summary>
    public static IEnumerable<(string Name, SyntheticNode Node)> DescriptorLinks()
    {
        yield return ("fd", new LinkNode("/dev/fd", "/proc/self/fd"));
        yield return ("stdin", new LinkNode("/dev/stdin", "/proc/self/fd/0"));
        yield return ("stdout", new LinkNode("/dev/stdout", "/proc/self/fd/1"));
        yield return ("stderr", new LinkNode("/dev/stderr", "/proc/self/fd/2"));
    }

    /// <summary>/dev/pts.</summary>
    public static DynamicDirectory Terminals(NameSpace space)
    {
        SyntheticNode Node(string name) => new HostNode("/dev/pts/" + name, "/dev/pts/" + name, FileType.Character | 0x190);
        return new DynamicDirectory("/dev/pts", 0x1ED,
            (name, _) => name == "ptmx" || int.TryParse(name, out int number) && IsOurs(space, number) ? Node(name) : null,
            _ => space.Terminals.Keys.Union(OwnTerminals()).Order().Select(number => Node(number.ToString())));
    }

    // What a guest opened through ptmx, and the terminal viv itself was started on.
    private static bool IsOurs(NameSpace space, int number) => space.Terminals.ContainsKey(number) || OwnTerminals().Contains(number);

    private static HashSet<int> OwnTerminals()
    {
        const string prefix = "/dev/pts/";
        var numbers = new HashSet<int>();
        for (int fd = 0; fd < 3; fd++)
        {
            string name = HostPaths.Describe(fd, null);
            if (name.StartsWith(prefix, StringComparison.Ordinal) && int.TryParse(name.AsSpan(prefix.Length), out int number)) numbers.Add(number);
        }
        return numbers;
    }
}

/// <summary>The files of /sys that programs ask for the number of processors.</summary>
internal static class SysFileSystem
{
    public static SyntheticNode Create()
    {
        string range = Environment.ProcessorCount == 1 ? "0\n" : $"0-{Environment.ProcessorCount - 1}\n";
        const string cpu = "/sys/devices/system/cpu";
        var cpus = new List<SyntheticNode>
        {
            new ContentFile(cpu + "/online", _ => range),
            new ContentFile(cpu + "/possible", _ => range),
            new ContentFile(cpu + "/present", _ => range),
            new ContentFile(cpu + "/kernel_max", _ => "8191\n"),
        };
        for (int i = 0; i < Environment.ProcessorCount; i++)
        {
            string one = $"{cpu}/cpu{i}", siblings = $"{i}\n", number = $"{i}\n";
            cpus.Add(new FixedDirectory(one, 0x1ED, new FixedDirectory(one + "/topology", 0x1ED,
                new ContentFile(one + "/topology/core_id", _ => number),
                new ContentFile(one + "/topology/physical_package_id", _ => "0\n"),
                new ContentFile(one + "/topology/thread_siblings_list", _ => siblings),
                new ContentFile(one + "/topology/core_siblings_list", _ => range))));
        }
        return new FixedDirectory("/sys", 0x1ED,
            new FixedDirectory("/sys/devices", 0x1ED, new FixedDirectory("/sys/devices/system", 0x1ED,
                new FixedDirectory(cpu, 0x1ED, [.. cpus]),
                new FixedDirectory("/sys/devices/system/node", 0x1ED, new ContentFile("/sys/devices/system/node/online", _ => "0\n")))),
            new FixedDirectory("/sys/kernel", 0x1ED, new FixedDirectory("/sys/kernel/mm", 0x1ED,
                new FixedDirectory("/sys/kernel/mm/transparent_hugepage", 0x1ED,
                    new ContentFile("/sys/kernel/mm/transparent_hugepage/enabled", _ => "always [madvise] never\n"),
                    new ContentFile("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", _ => "2097152\n")))),
            new FixedDirectory("/sys/fs", 0x1ED, new FixedDirectory("/sys/fs/cgroup", 0x1ED)),
            new FixedDirectory("/sys/class", 0x1ED, new FixedDirectory("/sys/class/net", 0x1ED)),
            new FixedDirectory("/sys/block", 0x1ED));
    }
}
