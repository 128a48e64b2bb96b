using System.Buffers.Binary;
using Vivarium.Machine.State;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Pci;

/// <summary>virtio over PCI without the legacy interface (virtio 1.2, section 4.1), interrupting by INTA. BAR 0 holds the four structures, a page each.</summary>
public sealed class VirtioPci : PciFunction, IVirtioTransport
{
    private const ushort VirtioVendor = 0x1af4, FirstDeviceId = 0x1040, NoVector = 0xffff;
    private const byte VendorCapability = 9;
    private const uint BarBytes = 0x4000, CommonPage = 0, IsrPage = 1, DevicePage = 2, NotifyPage = 3, NotifyMultiplier = 4;
    private const byte QueueInterrupt = 1, ConfigurationInterrupt = 2;

    private static class Common
    {
        public const int DeviceFeatureSelect = 0x00, DeviceFeature = 0x04, DriverFeatureSelect = 0x08, DriverFeature = 0x0c, ConfigurationVector = 0x10,
            QueueCount = 0x12, DeviceStatus = 0x14, ConfigurationGeneration = 0x15, QueueSelect = 0x16, QueueSize = 0x18, QueueVector = 0x1a,
            QueueEnable = 0x1c, QueueNotifyOffset = 0x1e, QueueDescriptors = 0x20, QueueDriver = 0x28, QueueDevice = 0x30, QueueReset = 0x3a;
    }

    private readonly VirtioDevice _device;
    private readonly Lock _interruptLock = new();
    private readonly int _accessCapability;
    private byte _isr;
    private volatile uint _deviceFeatureSelect, _driverFeatureSelect;
    private volatile ushort _queueSelect;

    public VirtioPci(VirtioDevice device)
        : base(VirtioVendor, (ushort)(FirstDeviceId + device.DeviceType), device.PciClass, 1, (ushort)(FirstDeviceId + device.DeviceType))
    {
        _device = device;
        AddMemoryBar(0, BarBytes);
        UsePin();
        AddStructure(1, CommonPage);
        AddStructure(2, NotifyPage, [(byte)NotifyMultiplier, 0, 0, 0]);
        AddStructure(3, IsrPage);
        AddStructure(4, DevicePage);
        // Access through configuration space (4.1.4.9): bar, offset, length and data are the driver's.
        _accessCapability = AddStructure(5, 0, [0, 0, 0, 0]);
        AllowWrites(_accessCapability + 4, 1);
        AllowWrites(_accessCapability + 8, 12);
        device.Attach(this);
    }

    /// <summary>The device behind it.</summary>
    public VirtioDevice Device => _device;

    private int AddStructure(byte type, uint page, ReadOnlySpan<byte> more = default)
    {
        Span<byte> body = stackalloc byte[14 + more.Length];
        body.Clear();
        body[0] = (byte)(2 + body.Length);
        body[1] = type;
        BinaryPrimitives.WriteUInt32LittleEndian(body[6..], page << 12);
        BinaryPrimitives.WriteUInt32LittleEndian(body[10..], type == 5 ? 0 : 0x1000u);
        more.CopyTo(body[14..]);
        return AddCapability(VendorCapability, body);
    }

    protected override ulong ReadBar(int bar, ulong offset, int size)
    {
        var within = (int)(offset & 0xfff);
        switch (offset >> 12)
        {
            case CommonPage: return ReadCommon(within, size);
            case IsrPage when within == 0: return TakeInterrupts();
            case DevicePage: return _device.ReadConfiguration((ulong)within, size);
            default: return 0;
        }
    }

    protected override void WriteBar(int bar, ulong offset, int size, ulong value)
    {
        var within = (int)(offset & 0xfff);
        switch (offset >> 12)
        {
            case CommonPage: WriteCommon(within, size, value); break;
            case DevicePage: _device.WriteConfiguration((ulong)within, size, value); break;
            case NotifyPage: _device.Notify(within / (int)NotifyMultiplier); break;
        }
    }

    private Virtqueue? Selected => _queueSelect < _device.Queues.Length ? _device.Queues[_queueSelect] : null;

    private ulong ReadCommon(int offset, int size)
    {
        // Fields are read with their own size (4.1.3.1); a quarter of an address is a half of one of its words.
        if (offset is >= Common.QueueDescriptors and < Common.QueueDevice + 8)
        {
            var address = (offset & ~7) switch
            {
                Common.QueueDescriptors => Selected?.DescriptorTable,
                Common.QueueDriver => Selected?.AvailableRing,
                _ => Selected?.UsedRing,
            } ?? 0;
            return offset % size == 0 ? address >> (8 * (offset & 7)) & (ulong.MaxValue >> (64 - 8 * size)) : 0;
        }
        return (offset, size) switch
        {
            (Common.DeviceFeatureSelect, 4) => _deviceFeatureSelect,
            (Common.DeviceFeature, 4) => _deviceFeatureSelect <= 1 ? (uint)(_device.OfferedFeatures >> (int)(32 * _deviceFeatureSelect)) : 0,
            (Common.DriverFeatureSelect, 4) => _driverFeatureSelect,
            (Common.DriverFeature, 4) => _driverFeatureSelect <= 1 ? (uint)(_device.DriverFeatures >> (int)(32 * _driverFeatureSelect)) : 0,
            (Common.ConfigurationVector or Common.QueueVector, 2) => NoVector,
            (Common.QueueCount, 2) => (ulong)_device.Queues.Length,
            (Common.DeviceStatus, 1) => (ulong)_device.Status,
            (Common.ConfigurationGeneration, 1) => _device.ConfigurationGeneration,
            (Common.QueueSelect, 2) => _queueSelect,
            (Common.QueueSize, 2) => Selected is { } queue ? queue.Size : 0u,
            (Common.QueueEnable, 2) => Selected is { IsReady: true } ? 1u : 0u,
            (Common.QueueNotifyOffset, 2) => _queueSelect,
            _ => 0,
        };
    }

    private void WriteCommon(int offset, int size, ulong value)
    {
        var word = (uint)value;
        if (offset is >= Common.QueueDescriptors and < Common.QueueDevice + 8)
        {
            if (size < 4 || offset % size != 0) return;
            ulong Change(ulong before) => size == 8 ? value : (offset & 4) == 0 ? VirtioMmio.Low(before, word) : VirtioMmio.High(before, word);
            _device.ConfigureQueue(_queueSelect, queue =>
            {
                switch (offset & ~7)
                {
                    case Common.QueueDescriptors: queue.DescriptorTable = Change(queue.DescriptorTable); break;
                    case Common.QueueDriver: queue.AvailableRing = Change(queue.AvailableRing); break;
                    default: queue.UsedRing = Change(queue.UsedRing); break;
                }
            });
            return;
        }
        switch (offset, size)
        {
            case (Common.DeviceFeatureSelect, 4): _deviceFeatureSelect = word; break;
            case (Common.DriverFeatureSelect, 4): _driverFeatureSelect = word; break;
            case (Common.DriverFeature, 4): _device.AcceptFeatures(_driverFeatureSelect, word); break;
            case (Common.DeviceStatus, 1): _device.Status = (VirtioStatus)(byte)word; break;
            case (Common.QueueSelect, 2): _queueSelect = (ushort)word; break;
            case (Common.QueueSize, 2): _device.ConfigureQueue(_queueSelect, queue => queue.Size = (ushort)word); break;
            case (Common.QueueEnable, 2): if (word == 1) _device.EnableQueue(_queueSelect, true); break;
            case (Common.QueueReset, 2): if (word == 1) _device.ResetQueue(_queueSelect); break;
        }
    }

    protected override uint? ReadSpecial(int offset, int size)
    {
        if (!IsAccess(offset, size, out var bar, out var at, out var length)) return null;
        return (uint)Read(bar, at, length);
    }

    protected override void ConfigurationWritten(int offset, int size)
    {
        if (IsAccess(offset, size, out var bar, out var at, out var length)) Write(bar, at, length, Peek(offset, length));
    }

    private bool IsAccess(int offset, int size, out int bar, out ulong at, out int length)
    {
        (bar, at, length) = ((int)Peek(_accessCapability + 4, 1), Peek(_accessCapability + 8, 4), (int)Peek(_accessCapability + 12, 4));
        return offset == _accessCapability + 16 && length is 1 or 2 or 4 && size >= length && BarSize(bar) != 0 && at % (ulong)length == 0;
    }

    public void InterruptQueue(Virtqueue queue) => Raise(QueueInterrupt);

    public void InterruptConfiguration() => Raise(ConfigurationInterrupt);

    public void DeviceReset() => TakeInterrupts();

    private void Raise(byte bits)
    {
        lock (_interruptLock)
        {
            _isr |= bits;
            SetInterrupt(true);
        }
    }

    // Reading acknowledges (4.1.4.5).
    private byte TakeInterrupts()
    {
        lock (_interruptLock)
        {
            var isr = _isr;
            _isr = 0;
            SetInterrupt(false);
            return isr;
        }
    }

    public void Save(StateWriter writer)
    {
        SaveConfiguration(writer);
        writer.Write(_isr);
        writer.Write(_deviceFeatureSelect);
        writer.Write(_driverFeatureSelect);
        writer.Write(_queueSelect);
    }

    public void Load(StateReader reader)
    {
        LoadConfiguration(reader);
        _isr = reader.ReadByte();
        _deviceFeatureSelect = reader.ReadUInt32();
        _driverFeatureSelect = reader.ReadUInt32();
        _queueSelect = reader.ReadUInt16();
    }
}
