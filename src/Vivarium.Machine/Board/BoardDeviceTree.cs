using Vivarium.Machine.Devices;
using Vivarium.Machine.Firmware;
using Vivarium.Machine.Harts;
using Vivarium.RiscV.Privileged;

namespace Vivarium.Machine.Board;

/// <summary>What the generated device tree tells of a machine.</summary>
public sealed record BoardDescription
{
    public required int HartCount { get; init; }

    public required ulong MemorySize { get; init; }

    public HartFeatures Features { get; init; } = HartFeatures.Full;

    /// <summary>Whether firmware runs in M-mode: then the ACLINT is told of.</summary>
    public bool MachineMode { get; init; }

    public bool Rtc { get; init; } = true;

    /// <summary>Virtio-MMIO slots with or without a device behind them.</summary>
    public int VirtioMmioSlots { get; init; } = MemoryMap.VirtioMmioSlots;

    public bool Pci { get; init; }
}

/// <summary>Generates the device tree of a board.</summary>
public static class BoardDeviceTree
{
    private const uint PlicHandle = 1;
    private const uint SysconHandle = 2;
    private const uint FirstHartHandle = 16;
    private const uint SupervisorExternal = 9, MachineExternal = 11, MachineSoftware = 3, MachineTimer = 7;

    public static DeviceTreeNode Create(BoardDescription board)
    {
        var root = new DeviceTreeNode("");
        root.Cells("#address-cells", 2).Cells("#size-cells", 2).Text("compatible", "vivarium,board", "riscv-virtio").Text("model", "vivarium,board");
        root.Add("chosen").Text("stdout-path", $"/soc/serial@{MemoryMap.Uart:x}");
        root.Add("aliases").Text("serial0", $"/soc/serial@{MemoryMap.Uart:x}");
        root.Add($"memory@{MemoryMap.Ram:x}").Text("device_type", "memory").Wide("reg", MemoryMap.Ram, board.MemorySize);
        AddHarts(root, board);
        var soc = root.Add("soc").Cells("#address-cells", 2).Cells("#size-cells", 2).Text("compatible", "simple-bus").Flag("ranges");
        AddInterruptControllers(soc, board);
        soc.Add($"serial@{MemoryMap.Uart:x}").Text("compatible", "ns16550a").Wide("reg", MemoryMap.Uart, Uart16550.Size)
            .Cells("clock-frequency", 3_686_400).Cells("interrupt-parent", PlicHandle).Cells("interrupts", MemoryMap.UartInterrupt);
        AddSyscon(root, soc);
        if (board.Rtc)
        {
            soc.Add($"rtc@{MemoryMap.Rtc:x}").Text("compatible", "google,goldfish-rtc").Wide("reg", MemoryMap.Rtc, GoldfishRtc.Size)
                .Cells("interrupt-parent", PlicHandle).Cells("interrupts", MemoryMap.RtcInterrupt);
        }

        for (int i = 0; i < board.VirtioMmioSlots; i++)
        {
            ulong at = MemoryMap.VirtioMmio + (ulong)i * MemoryMap.VirtioMmioStride;
            soc.Add($"virtio_mmio@{at:x}").Text("compatible", "virtio,mmio").Wide("reg", at, MemoryMap.VirtioMmioStride)
                .Flag("dma-coherent").Cells("interrupt-parent", PlicHandle).Cells("interrupts", (uint)(MemoryMap.VirtioMmioInterrupt + i));
        }

        if (board.Pci)
            AddPci(soc);
        return root;
    }

    /// <summary>Fills in what the boot loader knows: the command line and the initrd.</summary>
    /// <param name="tree">The root.</param>
    /// <param name="arguments">The kernel's command line; null leaves what is there.</param>
    /// <param name="initrd">[start, end); empty without one.</param>
    /// <param name="seed">Randomness for the kernel's generator; at most once per boot.</param>
    public static void SetChosen(DeviceTreeNode tree, string? arguments, (ulong Start, ulong End) initrd, byte[]? seed)
    {
        var chosen = tree.GetOrAdd("chosen");
        if (arguments is not null)
            chosen.Text("bootargs", arguments);
        if (initrd.End > initrd.Start)
            chosen.Wide("linux,initrd-start", initrd.Start).Wide("linux,initrd-end", initrd.End);
        if (seed is not null)
            chosen["rng-seed"] = seed;
    }

    private static void AddHarts(DeviceTreeNode root, BoardDescription board)
    {
        var cpus = root.Add("cpus").Cells("#address-cells", 1).Cells("#size-cells", 0).Cells("timebase-frequency", (uint)MachineClock.Frequency);
        for (uint i = 0; i < board.HartCount; i++)
        {
            var cpu = cpus.Add($"cpu@{i:x}").Text("device_type", "cpu").Cells("reg", i).Text("status", "okay").Text("compatible", "riscv")
                .Text("riscv,isa", IsaString.Isa(board.Features)).Text("riscv,isa-base", "rv64i")
                .Text("riscv,isa-extensions", [.. IsaString.Names(board.Features)]).Text("mmu-type", IsaString.MmuType(board.Features));
            if (board.Features.Extensions.Contains(RiscV.Isa.Extension.Zicbom))
                cpu.Cells("riscv,cbom-block-size", 64);
            if (board.Features.Extensions.Contains(RiscV.Isa.Extension.Zicbop))
                cpu.Cells("riscv,cbop-block-size", 64);
            if (board.Features.Extensions.Contains(RiscV.Isa.Extension.Zicboz))
                cpu.Cells("riscv,cboz-block-size", 64);
            cpu.Add("interrupt-controller").Cells("#address-cells", 0).Cells("#interrupt-cells", 1).Flag("interrupt-controller").Text("compatible", "riscv,cpu-intc")
                .Cells("phandle", FirstHartHandle + i);
        }
    }

    private static void AddInterruptControllers(DeviceTreeNode soc, BoardDescription board)
    {
        uint[] plic = new uint[board.HartCount * 4], clint = new uint[board.HartCount * 4];
        for (uint i = 0; i < board.HartCount; i++)
        {
            uint hart = FirstHartHandle + i;
            // Without firmware no one takes the machine-mode interrupts: -1 says that the context leads nowhere.
            ReadOnlySpan<uint> contexts = [hart, board.MachineMode ? MachineExternal : uint.MaxValue, hart, SupervisorExternal];
            contexts.CopyTo(plic.AsSpan((int)i * 4));
            ReadOnlySpan<uint> local = [hart, MachineSoftware, hart, MachineTimer];
            local.CopyTo(clint.AsSpan((int)i * 4));
        }

        soc.Add($"plic@{MemoryMap.Plic:x}").Text("compatible", "sifive,plic-1.0.0", "riscv,plic0").Cells("#address-cells", 0).Cells("#interrupt-cells", 1)
            .Flag("interrupt-controller").Wide("reg", MemoryMap.Plic, Plic.Size).Cells("interrupts-extended", plic)
            .Cells("riscv,ndev", Plic.SourceCount - 1).Cells("phandle", PlicHandle);
        if (board.MachineMode)
        {
            soc.Add($"clint@{MemoryMap.Aclint:x}").Text("compatible", "sifive,clint0", "riscv,clint0").Wide("reg", MemoryMap.Aclint, Aclint.Size)
                .Cells("interrupts-extended", clint);
        }
    }

    private static void AddSyscon(DeviceTreeNode root, DeviceTreeNode soc)
    {
        soc.Add($"test@{MemoryMap.Syscon:x}").Text("compatible", "sifive,test1", "sifive,test0", "syscon").Wide("reg", MemoryMap.Syscon, Syscon.Size)
            .Cells("phandle", SysconHandle);
        root.Add("poweroff").Text("compatible", "syscon-poweroff").Cells("regmap", SysconHandle).Cells("offset", 0).Cells("value", Syscon.PowerOff);
        root.Add("reboot").Text("compatible", "syscon-reboot").Cells("regmap", SysconHandle).Cells("offset", 0).Cells("value", Syscon.Reset);
    }

    private static void AddPci(DeviceTreeNode soc)
    {
        const uint ioSpace = 0x0100_0000, memorySpace = 0x0200_0000;
        var pci = soc.Add($"pci@{MemoryMap.PciEcam:x}").Text("compatible", "pci-host-ecam-generic").Text("device_type", "pci")
            .Cells("#address-cells", 3).Cells("#size-cells", 2).Cells("#interrupt-cells", 1).Wide("reg", MemoryMap.PciEcam, MemoryMap.PciEcamSize)
            .Cells("bus-range", 0, 255).Cells("linux,pci-domain", 0).Flag("dma-coherent");
        pci.Cells("ranges",
            ioSpace, 0, 0, 0, (uint)MemoryMap.PciIo, 0, (uint)MemoryMap.PciIoSize,
            memorySpace, 0, (uint)MemoryMap.PciMmio, 0, (uint)MemoryMap.PciMmio, 0, (uint)MemoryMap.PciMmioSize);
        // Pin p of device d goes to wire (d + p) mod 4, as on every PCI board.
        var map = new List<uint>();
        for (uint device = 0; device < 4; device++)
        {
            for (uint pin = 1; pin <= 4; pin++)
                map.AddRange([device << 11, 0, 0, pin, PlicHandle, MemoryMap.PciInterrupt + (device + pin - 1) % 4]);
        }

        pci.Cells("interrupt-map-mask", 3 << 11, 0, 0, 7).Cells("interrupt-map", [.. map]);
    }
}
