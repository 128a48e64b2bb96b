using System.Globalization;
using Vivarium.Machine.Board;
using Vivarium.Machine.Disks;
using Vivarium.Machine.Network;

namespace Vivarium.Cli.Boot;

/// <summary>What a setting takes.</summary>
internal enum SettingKind
{
    Text,

    /// <summary>A path; one in a machine file is relative to that file's directory.</summary>
    File,
    Number,
    Switch,
    List,

    /// <summary>A list whose elements begin with a path.</summary>
    FileList,
}

/// <summary>One setting of a machine, for the command line and for machine files.</summary>
/// <param name="Option">With its dashes.</param>
/// <param name="Table">The table of a machine file.</param>
/// <param name="Key">The key in that table.</param>
/// <param name="Kind">What it takes.</param>
/// <param name="ValueName">What help calls the value.</param>
/// <param name="Help">One line.</param>
/// <param name="Apply">Stores a value (for lists each of them; "true" or "false" for a switch); returns what is wrong with it, or null.</param>
internal sealed record BootSetting(string Option, string Table, string Key, SettingKind Kind, string? ValueName, string Help, Func<MachineConfiguration, string, string?> Apply)
{
    /// <summary>The values there are, for completion; null where anything goes.</summary>
    public string[]? Values { get; init; }
}

/// <summary>All settings of a machine: the one table behind the options of <c>viv boot</c>, its help and machine files.</summary>
internal static class BootSettings
{
    public static BootSetting[] All { get; } =
    [
        new("--kernel", "boot", "kernel", SettingKind.File, "FILE", "Linux kernel: an Image as Debian's vmlinuz, also gzip or zstd, or an ELF file", (c, v) => Set(() => c.Kernel = v)),
        new("--initrd", "boot", "initrd", SettingKind.File, "FILE", "Initial RAM file system", (c, v) => Set(() => c.Initrd = v)),
        new("--append", "boot", "append", SettingKind.Text, "TEXT", "The kernel's command line (default: console=ttyS0, or hvc0 with --console virtio)", (c, v) => Set(() => c.Append = v)),
        new("--firmware", "boot", "firmware", SettingKind.File, "FILE", "Run this in M-mode (OpenSBI, U-Boot) instead of the built-in SBI", (c, v) => Set(() => c.Firmware = v)),
        new("--dtb", "boot", "dtb", SettingKind.File, "FILE", "Device tree blob instead of the generated one", (c, v) => Set(() => c.DeviceTree = v)),
        new("--cpus", "machine", "cpus", SettingKind.Number, "N", "Harts (default: 1)", SetHarts),
        new("--memory", "machine", "memory", SettingKind.Text, "SIZE", "RAM, for instance 512M or 4G (default: 1G)", SetMemory),
        new("--minimal", "machine", "minimal", SettingKind.Switch, null, "The smallest machine that boots Debian's kernel: rv64imafdc, Sv39, serial port, no PCI", (c, v) => Set(() => c.Minimal = v == "true")),
        new("--tier", "machine", "tier", SettingKind.Text, "interp|1|2", "Execute with the reference interpreter, the tier-1 translator, or that and the optimising tier for user mode", SetTier) { Values = ["interp", "1", "2"] },
        new("--jit-threads", "machine", "jit-threads", SettingKind.Number, "N", "Threads that optimise (0: on the harts' own, at once)", (c, v) => SetCount(v, 0, 64, n => c.Optimizer = c.Optimizer with { Threads = n })),
        new("--jit-threshold", "machine", "jit-threshold", SettingKind.Number, "N", "Samples (milliseconds) of a block that make it hot", (c, v) => SetCount(v, 1, 1_000_000, n => c.Optimizer = c.Optimizer with { Threshold = n, WarmUp = 0 })),
        new("--disk", "devices", "disks", SettingKind.FileList, "FILE[,ro][,temporary][,format=raw|qcow2]", "Disk image (qcow2 where it is called so); 'ro' write-protects it, 'temporary' throws away what is written", AddDisk),
        new("--bus", "devices", "bus", SettingKind.Text, "mmio|pci", "Where the devices are: memory-mapped slots (default), or a PCI Express bus", SetBus) { Values = ["mmio", "pci"] },
        new("--console", "devices", "console", SettingKind.Text, "uart|virtio", "What is typed goes to the serial port (default), or to a virtio console (hvc0)", SetConsole) { Values = ["uart", "virtio"] },
        new("--net", "devices", "net", SettingKind.Text, "user|none", "Network card behind a NAT to the host's network (default: none)", SetNetwork) { Values = ["user", "none"] },
        new("--forward", "devices", "forward", SettingKind.List, "[ADDRESS:]PORT:GUESTPORT", "Lead a TCP port of the host to one of the guest; implies --net user", AddForward),
    ];

    private static string? Set(Action assign)
    {
        assign();
        return null;
    }

    private static string? SetHarts(MachineConfiguration configuration, string value)
    {
        if (!int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int harts) || harts is < 1 or > MachineConfiguration.MaximumHarts)
            return $"is 1 to {MachineConfiguration.MaximumHarts}, not '{value}'";
        configuration.Harts = harts;
        return null;
    }

    private static string? SetMemory(MachineConfiguration configuration, string value)
    {
        int shift = value.Length == 0 ? 0 : char.ToUpperInvariant(value[^1]) switch { 'K' => 10, 'M' => 20, 'G' => 30, 'T' => 40, _ => 0 };
        if (!ulong.TryParse(shift == 0 ? value : value[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out ulong size) || size == 0 || size > ulong.MaxValue >> shift)
            return $"needs a size such as 512M, not '{value}'";
        configuration.Memory = size << shift;
        return null;
    }

    private static string? SetTier(MachineConfiguration configuration, string value)
    {
        switch (value)
        {
            case "interp":
                configuration.Execution = HartExecution.Interpreter;
                return null;
            case "1":
                configuration.Execution = HartExecution.Translator;
                return null;
            case "2":
                configuration.Execution = HartExecution.Optimizer;
                return null;
            default:
                return $"is interp, 1 or 2, not '{value}'";
        }
    }

    private static string? SetCount(string value, int least, int most, Action<int> assign)
    {
        if (!int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int n) || n < least || n > most)
            return $"is {least} to {most}, not '{value}'";
        assign(n);
        return null;
    }

    private static string? AddDisk(MachineConfiguration configuration, string value)
    {
        string[] parts = value.Split(',');
        var disk = new DiskConfiguration(parts[0]);
        if (parts[0].Length == 0)
            return "needs a file";
        foreach (string word in parts.AsSpan(1))
        {
            switch (word)
            {
                case "ro":
                    disk = disk with { ReadOnly = true };
                    break;
                case "temporary":
                    disk = disk with { Temporary = true };
                    break;
                case "format=raw":
                    disk = disk with { Format = DiskFormat.Raw };
                    break;
                case "format=qcow2":
                    disk = disk with { Format = DiskFormat.Qcow2 };
                    break;
                default:
                    return $"knows ro, temporary and format=raw|qcow2 after the file, not '{word}'";
            }
        }

        configuration.Disks.Add(disk);
        return null;
    }

    private static string? SetBus(MachineConfiguration configuration, string value)
    {
        if (value is not ("mmio" or "pci"))
            return $"is mmio or pci, not '{value}'";
        configuration.Pci = value == "pci";
        return null;
    }

    private static string? SetConsole(MachineConfiguration configuration, string value)
    {
        if (value is not ("uart" or "virtio"))
            return $"is uart or virtio, not '{value}'";
        configuration.VirtioConsole = value == "virtio";
        return null;
    }

    private static string? SetNetwork(MachineConfiguration configuration, string value)
    {
        if (value is not ("user" or "none"))
            return $"is user or none, not '{value}'";
        configuration.Network = value == "user";
        return null;
    }

    private static string? AddForward(MachineConfiguration configuration, string value)
    {
        if (!PortForward.TryParse(value, out var forward))
            return $"needs [ADDRESS:]PORT:GUESTPORT, for instance 2222:22, not '{value}'";
        configuration.Network = true;
        configuration.Forwards.Add(forward!);
        return null;
    }
}
