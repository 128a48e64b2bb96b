using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Virtio;

/// <summary>How a device reaches its driver: registers and interrupts of virtio-mmio or virtio-pci.</summary>
public interface IVirtioTransport
{
    /// <summary>Requests came back on a queue. Any thread.</summary>
    void InterruptQueue(Virtqueue queue);

    /// <summary>The configuration changed, or the device needs a reset. Any thread.</summary>
    void InterruptConfiguration();

    /// <summary>The device was reset: no interrupt is pending any more.</summary>
    void DeviceReset();

    void Save(StateWriter writer);

    void Load(StateReader reader);
}

/// <summary>A virtio device without its transport: status, features, queues, and the rules between them (virtio 1.2, sections 2 and 3).</summary>
/// <remarks>
/// Harts come in through the transport and take <see cref="_registers"/> only for short. The work on queues happens on a host thread of the
/// device under <see cref="Work"/>. Lock order: _registers before Work. Reset, queue changes and <see cref="Quiesce"/> take Work and so wait for
/// the request in progress: afterwards no chain is held by anybody, which is what makes saving simple.
/// </remarks>
public abstract class VirtioDevice : IStateful, IDisposable
{
    private readonly Lock _registers = new();
    private IVirtioTransport? _transport;
    private ulong _driverFeatures;
    private volatile byte _status;
    private byte _generation;
    private bool _quiet;

    protected VirtioDevice(PhysicalMemory memory, string name, uint deviceType, params ReadOnlySpan<ushort> queueSizes)
    {
        (Memory, SectionName, DeviceType) = (memory, name, deviceType);
        Queues = new Virtqueue[queueSizes.Length];
        for (var index = 0; index < queueSizes.Length; index++) Queues[index] = new Virtqueue(memory, index, queueSizes[index]);
    }

    public string SectionName { get; }

    /// <summary>The device type (virtio 1.2, section 5): 1 network, 2 block, 3 console, 4 entropy.</summary>
    public uint DeviceType { get; }

    /// <summary>PCI class code of such a device: base class, subclass, interface.</summary>
    public virtual uint PciClass => 0x00ff00;

    /// <summary>CPU time of its host thread.</summary>
    public abstract TimeSpan CpuTime { get; }

    /// <summary>Its queues, in the device type's order.</summary>
    public Virtqueue[] Queues { get; }

    /// <summary>All features offered.</summary>
    public ulong OfferedFeatures => VirtioFeatures.Common | DeviceFeatures;

    /// <summary>The features that the driver accepted.</summary>
    public ulong DriverFeatures => _driverFeatures;

    /// <summary>Counts changes of the configuration.</summary>
    public byte ConfigurationGeneration => _generation;

    protected PhysicalMemory Memory { get; }

    /// <summary>Held while requests are worked on.</summary>
    protected Lock Work { get; } = new();

    /// <summary>Features of the device type.</summary>
    protected abstract ulong DeviceFeatures { get; }

    /// <summary>Whether requests may be worked on. Stable under <see cref="Work"/>.</summary>
    protected bool IsLive => !_quiet && (_status & (byte)(VirtioStatus.DriverOk | VirtioStatus.NeedsReset)) == (byte)VirtioStatus.DriverOk;

    /// <summary>Whether drivers must accept VIRTIO_F_VERSION_1: not where requests are the same without it, and small systems do not.</summary>
    protected virtual bool NeedsVersion1 => true;

    /// <summary>Writes the configuration space as the driver sees it; what is behind it reads 0.</summary>
    protected abstract void FillConfiguration(Span<byte> space);

    /// <summary>Bytes of the configuration space.</summary>
    public abstract int ConfigurationSize { get; }

    /// <summary>The driver wrote to the configuration space.</summary>
    protected virtual void WriteConfiguration(int offset, int size, ulong value)
    {
    }

    /// <summary>Wakes the thread that calls <see cref="Service"/>. On a hart's thread: short.</summary>
    protected abstract void Wake();

    /// <summary>Works on what waits in the queues, under <see cref="Work"/>, while the device is live.</summary>
    protected abstract void Process();

    /// <summary>Forgets what the driver set, under <see cref="Work"/>.</summary>
    protected virtual void ResetDevice()
    {
    }

    /// <summary>The driver has just become ready, under <see cref="Work"/>.</summary>
    protected virtual void Started()
    {
    }

    internal void Attach(IVirtioTransport transport) => _transport = transport;

    /// <summary>Whether a feature was negotiated.</summary>
    protected bool Has(ulong feature) => (_driverFeatures & feature) != 0;

    /// <summary>One turn of the device: everything that waits, then interrupts where the driver wants them. On the device's thread.</summary>
    public void Service()
    {
        lock (Work)
        {
            if (!IsLive) return;
            Process();
            Signal();
        }
    }

    /// <summary>Sends the interrupts that are due. Under <see cref="Work"/>.</summary>
    protected void Signal()
    {
        foreach (var queue in Queues)
        {
            if (queue.TakeInterrupt()) _transport?.InterruptQueue(queue);
            if (queue.IsBroken) AskForReset();
        }
    }

    /// <summary>The driver did what it must not: nothing more is done until it resets the device (2.1.2).</summary>
    protected void AskForReset()
    {
        if ((_status & (byte)VirtioStatus.NeedsReset) != 0) return;
        _status |= (byte)VirtioStatus.NeedsReset;
        if ((_status & (byte)VirtioStatus.DriverOk) != 0) _transport?.InterruptConfiguration();
    }

    /// <summary>Tells the driver that the configuration space changed.</summary>
    protected void ConfigurationChanged()
    {
        _generation++; // a byte that one thread counts; drivers only compare it
        if ((_status & (byte)VirtioStatus.DriverOk) != 0) _transport?.InterruptConfiguration();
    }

    /// <summary>The status field. Writing 0 resets and returns when that is done.</summary>
    public VirtioStatus Status
    {
        get => (VirtioStatus)_status;
        set
        {
            lock (_registers)
            {
                if (value == 0)
                {
                    lock (Work) ResetAll();
                    return;
                }
                lock (Work)
                {
                    // A bit once set stays (NEEDS_RESET is the device's own).
                    var before = _status;
                    var next = (byte)(before | (byte)(value & ~VirtioStatus.NeedsReset));
                    // 6.1: no legacy drivers where that makes a difference, and nothing that was not offered.
                    if ((next & (byte)VirtioStatus.FeaturesOk) != 0 && (before & (byte)VirtioStatus.FeaturesOk) == 0
                        && ((NeedsVersion1 && !Has(VirtioFeatures.Version1)) || (_driverFeatures & ~OfferedFeatures) != 0))
                        next &= unchecked((byte)~VirtioStatus.FeaturesOk);
                    if ((next & (byte)VirtioStatus.FeaturesOk) == 0) next &= unchecked((byte)~VirtioStatus.DriverOk);
                    _status = next;
                    if ((next & ~before & (byte)VirtioStatus.DriverOk) != 0) Started();
                    if (Array.Exists(Queues, queue => queue.IsBroken)) AskForReset();
                }
            }
            Wake();
        }
    }

    private void ResetAll()
    {
        _status = 0;
        _driverFeatures = 0;
        foreach (var queue in Queues) queue.Reset();
        ResetDevice();
        _transport?.DeviceReset();
    }

    /// <summary>Sets half of the features that the driver accepts; ignored after FEATURES_OK.</summary>
    public void AcceptFeatures(uint half, uint bits)
    {
        lock (_registers)
        {
            if (half > 1 || (_status & (byte)VirtioStatus.FeaturesOk) != 0) return;
            _driverFeatures = half == 0 ? (_driverFeatures & ~0xffff_ffffUL) | bits : (_driverFeatures & 0xffff_ffffUL) | ((ulong)bits << 32);
        }
    }

    /// <summary>Changes a queue that is not enabled.</summary>
    public void ConfigureQueue(int index, Action<Virtqueue> change)
    {
        lock (_registers)
        {
            if ((uint)index < (uint)Queues.Length && !Queues[index].IsReady) change(Queues[index]);
        }
    }

    /// <summary>Enables or disables a queue.</summary>
    public void EnableQueue(int index, bool enable)
    {
        lock (_registers)
        {
            if ((uint)index >= (uint)Queues.Length) return;
            var queue = Queues[index];
            lock (Work)
            {
                if (!enable) queue.Disable();
                else if (!queue.IsReady && (_status & (byte)VirtioStatus.FeaturesOk) != 0)
                {
                    queue.Enable(_driverFeatures);
                    if (queue.IsBroken && (_status & (byte)VirtioStatus.DriverOk) != 0) AskForReset();
                }
            }
        }
        Wake();
    }

    /// <summary>Resets one queue (2.6.1); all its requests are back when it returns.</summary>
    public void ResetQueue(int index)
    {
        lock (_registers)
        {
            if ((uint)index >= (uint)Queues.Length || !Has(VirtioFeatures.RingReset)) return;
            lock (Work) Queues[index].Reset();
        }
    }

    /// <summary>The driver made requests available. On a hart's thread.</summary>
    public void Notify(int index)
    {
        if ((uint)index < (uint)Queues.Length) Wake();
    }

    /// <summary>Reads 1, 2, 4 or 8 bytes of the configuration space.</summary>
    public ulong ReadConfiguration(ulong offset, int size)
    {
        Span<byte> space = stackalloc byte[ConfigurationSize + 8];
        if (offset >= (ulong)ConfigurationSize) return 0;
        space.Clear();
        lock (_registers) FillConfiguration(space[..ConfigurationSize]);
        ulong value = 0;
        for (var index = size - 1; index >= 0; index--) value = value << 8 | space[(int)offset + index];
        return value;
    }

    /// <summary>Writes to the configuration space.</summary>
    public void WriteConfiguration(ulong offset, int size, ulong value)
    {
        if (offset + (ulong)size > (ulong)ConfigurationSize || offset > int.MaxValue) return;
        lock (_registers) WriteConfiguration((int)offset, size, value);
    }

    /// <summary>Finishes the request in progress and starts no other until <see cref="Resume"/>.</summary>
    public virtual void Quiesce()
    {
        lock (Work) _quiet = true;
    }

    /// <summary>Ends <see cref="Quiesce"/>.</summary>
    public virtual void Resume()
    {
        lock (Work) _quiet = false;
        Wake();
    }

    public virtual void Save(StateWriter writer)
    {
        lock (_registers)
        lock (Work)
        {
            writer.Write(DeviceType);
            writer.Write(_status);
            writer.Write(_driverFeatures);
            writer.Write(_generation);
            writer.Write(Queues.Length);
            foreach (var queue in Queues) queue.Save(writer);
            writer.Write(_transport != null);
            _transport?.Save(writer);
            SaveDevice(writer);
        }
    }

    public virtual void Load(StateReader reader)
    {
        lock (_registers)
        lock (Work)
        {
            var type = reader.ReadUInt32();
            if (type != DeviceType) throw new StateException($"'{SectionName}' was saved as a virtio device of type {type}, but is one of type {DeviceType}");
            var status = reader.ReadByte();
            var features = reader.ReadUInt64();
            if ((features & ~OfferedFeatures) != 0)
                throw new StateException($"'{SectionName}' was saved with features {features & ~OfferedFeatures:x} that this device does not offer");
            var generation = reader.ReadByte();
            if (reader.ReadInt32() != Queues.Length) throw new StateException($"'{SectionName}' was saved with another number of queues");
            (_status, _driverFeatures, _generation) = (status, features, generation);
            foreach (var queue in Queues) queue.Load(reader, features);
            if (reader.ReadBool() != (_transport != null)) throw new StateException($"'{SectionName}' was saved with another transport");
            _transport?.Load(reader);
            LoadDevice(reader);
        }
        Wake();
    }

    /// <summary>Writes what the device type adds.</summary>
    protected virtual void SaveDevice(StateWriter writer)
    {
    }

    /// <summary>Reads what <see cref="SaveDevice"/> wrote.</summary>
    protected virtual void LoadDevice(StateReader reader)
    {
    }

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
    }
}
