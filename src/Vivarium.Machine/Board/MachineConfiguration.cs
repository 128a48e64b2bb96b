using Vivarium.Machine.Disks;
using Vivarium.Machine.Network;
using Vivarium.Translation.Optimizing;

namespace Vivarium.Machine.Board;

/// <summary>How a machine's harts execute.</summary>
public enum HartExecution
{
    /// <summary>The best that there is.</summary>
    Default,

    /// <summary>The reference interpreter.</summary>
    Interpreter,

    /// <summary>The tier-1 translator.</summary>
    Translator,

    /// <summary>The tier-1 translator, and the optimising tier where it can be had.</summary>
    Optimizer,
}

/// <summary>A disk of a machine.</summary>
/// <param name="File">Path of the image.</param>
/// <param name="ReadOnly">The guest cannot write.</param>
/// <param name="Temporary">What the guest writes is thrown away at the end.</param>
/// <param name="Format">Raw or qcow2.</param>
public sealed record DiskConfiguration(string File, bool ReadOnly = false, bool Temporary = false, DiskFormat Format = DiskFormat.ByName);

/// <summary>Everything that a machine is made of; plain data, checked by <see cref="VirtualMachine"/>.</summary>
public sealed record MachineConfiguration
{
    public const int MaximumHarts = 64;
    public const ulong MinimumMemory = 16ul << 20;
    public const ulong MaximumMemory = 1ul << 40;

    public int Harts { get; set; } = 1;

    /// <summary>Bytes of RAM; a multiple of 2 MiB.</summary>
    public ulong Memory { get; set; } = 1ul << 30;

    public string? Kernel { get; set; }

    public string? Initrd { get; set; }

    /// <summary>The kernel's command line; null leaves the default (or the device tree's own).</summary>
    public string? Append { get; set; }

    /// <summary>What runs in M-mode instead of the built-in SBI.</summary>
    public string? Firmware { get; set; }

    /// <summary>A device tree blob instead of the generated one.</summary>
    public string? DeviceTree { get; set; }

    /// <summary>The minimal machine: rv64imafdc, Sv39, 16550, PLIC; no PCI.</summary>
    public bool Minimal { get; set; }

    public List<DiskConfiguration> Disks { get; } = [];

    /// <summary>Devices on a PCI Express bus instead of in memory-mapped slots.</summary>
    public bool Pci { get; set; }

    /// <summary>A network card behind a user-mode NAT.</summary>
    public bool Network { get; set; }

    public List<PortForward> Forwards { get; } = [];

    /// <summary>A virtio console takes what is typed, instead of the serial port; output of both shows.</summary>
    public bool VirtioConsole { get; set; }

    public HartExecution Execution { get; set; }

    /// <summary>How the optimising tier works.</summary>
    public OptimizerOptions Optimizer { get; set; } = new();
}
