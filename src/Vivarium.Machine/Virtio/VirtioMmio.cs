using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Virtio;

/// <summary>virtio over memory-mapped registers, version 2 (virtio 1.2, section 4.2). 4 KiB of address space and one interrupt line.</summary>
public sealed class VirtioMmio : IMmioDevice, IVirtioTransport
{
    /// <summary>Bytes of address space.</summary>
    public const ulong Size = 0x1000;

    private const ulong Magic = 0x74726976, Vendor = 0x554d4551; // "virt", and "QEMU": small systems for the board of these addresses look for it
    private const uint QueueInterrupt = 1, ConfigurationInterrupt = 2;

    private static class Register
    {
        public const ulong Magic = 0x000, Version = 0x004, DeviceId = 0x008, VendorId = 0x00c, DeviceFeatures = 0x010, DeviceFeaturesSelect = 0x014,
            DriverFeatures = 0x020, DriverFeaturesSelect = 0x024, QueueSelect = 0x030, QueueSizeMaximum = 0x034, QueueSize = 0x038, QueueReady = 0x044,
            QueueNotify = 0x050, InterruptStatus = 0x060, InterruptAcknowledge = 0x064, Status = 0x070, DescriptorLow = 0x080, DescriptorHigh = 0x084,
            DriverLow = 0x090, DriverHigh = 0x094, DeviceLow = 0x0a0, DeviceHigh = 0x0a4, SharedMemoryLengthLow = 0x0b0, SharedMemoryBaseHigh = 0x0bc,
            QueueReset = 0x0c0, ConfigurationGeneration = 0x0fc, Configuration = 0x100;
    }

    private readonly VirtioDevice _device;
    private readonly IInterruptLine _line;
    private readonly Lock _interruptLock = new();
    private uint _interrupts;
    // Selectors. Harts that race on them get what they deserve, but nothing breaks.
    private volatile uint _deviceFeaturesSelect, _driverFeaturesSelect, _queueSelect;

    public VirtioMmio(VirtioDevice device, IInterruptLine line)
    {
        (_device, _line) = (device, line);
        device.Attach(this);
    }

    /// <summary>The device behind the registers.</summary>
    public VirtioDevice Device => _device;

    public ulong Read(ulong offset, int size)
    {
        if (offset >= Register.Configuration) return _device.ReadConfiguration(offset - Register.Configuration, size);
        if (size != 4 || offset % 4 != 0) return 0;
        switch (offset)
        {
            case Register.Magic: return Magic;
            case Register.Version: return 2;
            case Register.DeviceId: return _device.DeviceType;
            case Register.VendorId: return Vendor;
            case Register.DeviceFeatures: return _deviceFeaturesSelect <= 1 ? (uint)(_device.OfferedFeatures >> (int)(32 * _deviceFeaturesSelect)) : 0;
            case Register.QueueSizeMaximum: return Selected?.MaximumSize ?? 0u;
            case Register.QueueReady: return Selected is { IsReady: true } ? 1u : 0u;
            case Register.InterruptStatus: return Volatile.Read(ref _interrupts);
            case Register.Status: return (ulong)_device.Status;
            case >= Register.SharedMemoryLengthLow and <= Register.SharedMemoryBaseHigh: return uint.MaxValue; // there is none
            case Register.ConfigurationGeneration: return _device.ConfigurationGeneration;
            default: return 0; // QueueReset reads 0: it is done when the write returns
        }
    }

    public void Write(ulong offset, int size, ulong value)
    {
        if (offset >= Register.Configuration)
        {
            _device.WriteConfiguration(offset - Register.Configuration, size, value);
            return;
        }
        if (size != 4 || offset % 4 != 0) return;
        var word = (uint)value;
        var queue = (int)Math.Min(_queueSelect, int.MaxValue);
        switch (offset)
        {
            case Register.QueueNotify: _device.Notify((int)Math.Min(word & 0xffff, int.MaxValue)); break;
            case Register.InterruptAcknowledge: Acknowledge(word); break;
            case Register.DeviceFeaturesSelect: _deviceFeaturesSelect = word; break;
            case Register.DriverFeaturesSelect: _driverFeaturesSelect = word; break;
            case Register.DriverFeatures: _device.AcceptFeatures(_driverFeaturesSelect, word); break;
            case Register.QueueSelect: _queueSelect = word; break;
            case Register.QueueSize: _device.ConfigureQueue(queue, q => q.Size = (ushort)Math.Min(word, ushort.MaxValue)); break;
            case Register.QueueReady: _device.EnableQueue(queue, (word & 1) != 0); break;
            case Register.QueueReset: if (word == 1) _device.ResetQueue(queue); break;
            case Register.Status: _device.Status = (VirtioStatus)(byte)word; break;
            case Register.DescriptorLow: _device.ConfigureQueue(queue, q => q.DescriptorTable = Low(q.DescriptorTable, word)); break;
            case Register.DescriptorHigh: _device.ConfigureQueue(queue, q => q.DescriptorTable = High(q.DescriptorTable, word)); break;
            case Register.DriverLow: _device.ConfigureQueue(queue, q => q.AvailableRing = Low(q.AvailableRing, word)); break;
            case Register.DriverHigh: _device.ConfigureQueue(queue, q => q.AvailableRing = High(q.AvailableRing, word)); break;
            case Register.DeviceLow: _device.ConfigureQueue(queue, q => q.UsedRing = Low(q.UsedRing, word)); break;
            case Register.DeviceHigh: _device.ConfigureQueue(queue, q => q.UsedRing = High(q.UsedRing, word)); break;
        }
    }

    private Virtqueue? Selected => _queueSelect < (uint)_device.Queues.Length ? _device.Queues[_queueSelect] : null;

    internal static ulong Low(ulong before, uint word) => (before & ~0xffff_ffffUL) | word;

    internal static ulong High(ulong before, uint word) => (before & 0xffff_ffffUL) | ((ulong)word << 32);

    public void InterruptQueue(Virtqueue queue) => Raise(QueueInterrupt);

    public void InterruptConfiguration() => Raise(ConfigurationInterrupt);

    public void DeviceReset() => Acknowledge(uint.MaxValue);

    // The wire follows the register, so both change under one lock.
    private void Raise(uint bits)
    {
        lock (_interruptLock)
        {
            _interrupts |= bits;
            _line.Set(true);
        }
    }

    private void Acknowledge(uint bits)
    {
        lock (_interruptLock)
        {
            _interrupts &= ~bits;
            _line.Set(_interrupts != 0);
        }
    }

    public void Save(StateWriter writer)
    {
        writer.Write(_interrupts);
        writer.Write(_deviceFeaturesSelect);
        writer.Write(_driverFeaturesSelect);
        writer.Write(_queueSelect);
    }

    public void Load(StateReader reader)
    {
        lock (_interruptLock)
        {
            _interrupts = reader.ReadUInt32();
            _deviceFeaturesSelect = reader.ReadUInt32();
            _driverFeaturesSelect = reader.ReadUInt32();
            _queueSelect = reader.ReadUInt32();
            _line.Set(_interrupts != 0);
        }
    }
}
