using Vivarium.Machine.Boot;
using Vivarium.Machine.Devices;
using Vivarium.Machine.Disks;
using Vivarium.Machine.Network;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Board;

/// <summary>The virtio devices of a machine, in its memory-mapped slots: disks in their order, then the network card and the source of entropy.</summary>
internal sealed class VirtioDevices : IDisposable
{
    private readonly List<VirtioDevice> _devices = [];
    private readonly List<VirtioMmio> _slots = [];
    private readonly List<DiskImage> _images = [];

    /// <exception cref="BootException">A disk cannot be used, or there are too many devices.</exception>
    public VirtioDevices(MachineConfiguration configuration, Buses.PhysicalMemory memory, Plic plic)
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
            if (!configuration.Minimal)
                _devices.Add(new VirtioEntropy(memory));
            if (_devices.Count > MemoryMap.VirtioMmioSlots)
                throw new BootException($"a machine has room for {MemoryMap.VirtioMmioSlots} devices, not {_devices.Count}");
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

    public void Dispose()
    {
        foreach (var device in _devices)
            device.Dispose();
        foreach (var image in _images)
            image.Dispose();
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
            if (!File.Exists(disk.File))
                throw new BootException($"disk '{disk.File}' does not exist");
            DiskImage image = RawImage.Open(disk.File, disk.ReadOnly || disk.Temporary);
            return disk.Temporary ? new ThrowAwayOverlay(image) : image;
        }
        catch (DiskException e)
        {
            throw new BootException(e.Message);
        }
    }
}
