using Vivarium.Machine.Boot;
using Vivarium.Machine.Devices;
using Vivarium.Machine.Disks;
using Vivarium.Machine.Network;
using Vivarium.Machine.Pci;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Board;

/// <summary>The virtio devices of a machine, in its memory-mapped slots or on its PCI bus: disks in their order, then the network card and the source of
/// entropy.</summary>
internal sealed class VirtioDevices : IDisposable
{
    private readonly List<VirtioDevice> _devices = [];
    private readonly List<VirtioMmio> _slots = [];
    private readonly List<DiskImage> _images = [];

    /// <param name="configuration">What there is.</param>
    /// <param name="memory">The machine's RAM and address space.</param>
    /// <param name="plic">Where interrupts go.</param>
    /// <param name="print">Where a console's output goes.</param>
    /// <exception cref="BootException">A disk cannot be used, or there are too many devices.</exception>
    public VirtioDevices(MachineConfiguration configuration, Buses.PhysicalMemory memory, Plic plic, Action<ReadOnlySpan<byte>> print)
    {
        try
        {
            for (int i = 0; i < configuration.Disks.Count; i++)
            {
                var image = OpenDisk(configuration.Disks[i]);
                _images.Add(image);
                _devices.Add(new VirtioBlock(memory, image, $"viv-disk-{i}", $"virtio-blk@{i}"));
            }

            if (configuration.Network)
                _devices.Add(new VirtioNetwork(memory, OpenNetwork(configuration)));
            if (configuration.VirtioConsole)
                _devices.Add(Console = new VirtioConsole(memory, print));
            if (!configuration.Minimal)
                _devices.Add(new VirtioEntropy(memory));
            int room = configuration.Pci ? PciHost.MostDevices - 1 : MemoryMap.VirtioMmioSlots;
            if (_devices.Count > room)
                throw new BootException($"a machine has room for {room} devices, not {_devices.Count}");
            if (configuration.Pci)
            {
                AddPciBus(memory, plic);
                return;
            }

            for (int i = 0; i < _devices.Count; i++)
            {
                var slot = new VirtioMmio(_devices[i], plic.Line(MemoryMap.VirtioMmioInterrupt + i));
                memory.Map(MemoryMap.VirtioMmio + (ulong)i * MemoryMap.VirtioMmioStride, VirtioMmio.Size, slot);
                _slots.Add(slot);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Slots in use, from the first.</summary>
    public int SlotCount => _slots.Count;

    public IReadOnlyList<VirtioDevice> Devices => _devices;

    /// <summary>The virtio console, where there is one.</summary>
    public VirtioConsole? Console { get; }

    /// <summary>The PCI bus, where there is one.</summary>
    public PciHost? Pci { get; private set; }

    public void Dispose()
    {
        foreach (var device in _devices)
            device.Dispose();
        foreach (var image in _images)
            image.Dispose();
    }

    private void AddPciBus(Buses.PhysicalMemory memory, Plic plic)
    {
        var host = Pci = new PciHost([.. Enumerable.Range(MemoryMap.PciInterrupt, 4).Select(plic.Line)], MemoryMap.PciMmio);
        foreach (var device in _devices)
            host.Add(new VirtioPci(device));
        memory.Map(MemoryMap.PciEcam, MemoryMap.PciEcamSize, host.Configuration);
        memory.Map(MemoryMap.PciMmio, MemoryMap.PciMmioSize, host.Window);
    }

    private static UserNetwork OpenNetwork(MachineConfiguration configuration)
    {
        try
        {
            return new UserNetwork(configuration.Forwards);
        }
        catch (NetworkException e)
        {
            throw new BootException(e.Message);
        }
    }

    private static DiskImage OpenDisk(DiskConfiguration disk)
    {
        try
        {
            return DiskImages.Open(disk.File, disk.Format, disk.ReadOnly, disk.Temporary);
        }
        catch (DiskException e)
        {
            throw new BootException(e.Message);
        }
    }
}
