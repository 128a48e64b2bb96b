using System.Buffers.Binary;
using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Virtio;

/// <summary>The device's side of a split virtqueue (virtio 1.2, section 2.7), the one implementation that all devices use.</summary>
/// <remarks>
/// Nothing in it trusts the guest. What breaks the rules (an address outside RAM, a chain that loops, an index out of range) makes the queue
/// <see cref="IsBroken"/>, and the device asks for a reset. The fields that the transport sets belong to the device's lock; pop and push to
/// its <see cref="VirtioDevice.Work"/> lock.
/// <para>Order: the host is x86-64, where loads stay in order and stores stay in order. Only store-then-load needs a fence: before the driver's
/// index is looked at again after asking for kicks, and before its wish for interrupts is read after the used index was published.</para>
/// </remarks>
public sealed class Virtqueue(PhysicalMemory memory, int index, ushort maximumSize)
{
    private const ushort FlagNext = 1, FlagWrite = 2, FlagIndirect = 4;
    private const ushort NoInterrupt = 1, NoNotify = 1;
    private const int DescriptorSize = 16;

    private ushort _nextAvailable, _nextUsed, _signalledUsed;
    private bool _signalledValid, _eventIndex, _indirect;

    /// <summary>Its number in the device.</summary>
    public int Index { get; } = index;

    /// <summary>Most entries that the driver may ask for; a power of two.</summary>
    public ushort MaximumSize { get; } = maximumSize;

    /// <summary>Entries.</summary>
    public ushort Size { get; set; } = maximumSize;

    /// <summary>Guest physical address of the descriptor table.</summary>
    public ulong DescriptorTable { get; set; }

    /// <summary>Guest physical address of the available ring (the "driver area").</summary>
    public ulong AvailableRing { get; set; }

    /// <summary>Guest physical address of the used ring (the "device area").</summary>
    public ulong UsedRing { get; set; }

    /// <summary>The MSI-X vector of its interrupts; only PCI uses it.</summary>
    public ushort Vector { get; set; } = 0xffff;

    /// <summary>Whether the driver has enabled it.</summary>
    public bool IsReady { get; private set; }

    /// <summary>Whether the driver broke the rules on it.</summary>
    public bool IsBroken { get; private set; }

    /// <summary>Enables it with what the driver has set. A queue that cannot work is broken at once.</summary>
    public void Enable(ulong features)
    {
        _eventIndex = (features & VirtioFeatures.EventIndex) != 0;
        _indirect = (features & VirtioFeatures.IndirectDescriptors) != 0;
        (_nextAvailable, _nextUsed, _signalledUsed, _signalledValid) = (0, 0, 0, false);
        IsReady = true;
        IsBroken = Size == 0 || Size > MaximumSize || (Size & (Size - 1)) != 0
            || DescriptorTable % 16 != 0 || AvailableRing % 2 != 0 || UsedRing % 4 != 0
            || !memory.IsRam(DescriptorTable, (ulong)Size * DescriptorSize)
            || !memory.IsRam(AvailableRing, 6UL + 2UL * Size) || !memory.IsRam(UsedRing, 6UL + 8UL * Size);
    }

    /// <summary>Stops using it, keeps what the driver has set.</summary>
    public void Disable() => IsReady = false;

    /// <summary>As after a reset of the device.</summary>
    public void Reset()
    {
        Size = MaximumSize;
        (DescriptorTable, AvailableRing, UsedRing, Vector) = (0, 0, 0, 0xffff);
        (_nextAvailable, _nextUsed, _signalledUsed, _signalledValid) = (0, 0, 0, false);
        IsReady = IsBroken = false;
    }

    /// <summary>Takes the next request; false where there is none or the queue is broken.</summary>
    public bool TryPop(DescriptorChain chain)
    {
        if (!HasWork()) return false;
        if (!memory.TryLoad16(AvailableRing + 4 + 2 * (ulong)(_nextAvailable & (Size - 1)), out var head) || head >= Size || !TryWalk(head, chain)) return Break();
        _nextAvailable++;
        return true;
    }

    /// <summary>Puts the requests that were popped last back: the next <see cref="TryPop"/> finds them again.</summary>
    public void Unpop(int count) => _nextAvailable -= (ushort)count;

    /// <summary>Whether a request waits.</summary>
    public bool HasWork()
    {
        if (!IsReady || IsBroken) return false;
        if (!memory.TryLoad16(AvailableRing + 2, out var available)) return Break();
        var waiting = (ushort)(available - _nextAvailable);
        return waiting != 0 && (waiting <= Size || Break());
    }

    private bool TryWalk(ushort head, DescriptorChain chain)
    {
        Span<byte> descriptor = stackalloc byte[DescriptorSize];
        chain.Start(head);
        ulong table = DescriptorTable;
        uint entries = Size, steps = 0, index = head;
        var nested = false;
        while (true)
        {
            // More steps than entries: the chain loops.
            if (index >= entries || ++steps > entries || !memory.TryReadBytes(table + index * DescriptorSize, descriptor)) return false;
            var address = BinaryPrimitives.ReadUInt64LittleEndian(descriptor);
            var length = BinaryPrimitives.ReadUInt32LittleEndian(descriptor[8..]);
            var flags = BinaryPrimitives.ReadUInt16LittleEndian(descriptor[12..]);
            index = BinaryPrimitives.ReadUInt16LittleEndian(descriptor[14..]);
            if ((flags & FlagIndirect) != 0)
            {
                // 2.7.5.3: not within another table, not with a next one, whole descriptors.
                if (!_indirect || nested || (flags & FlagNext) != 0 || length == 0 || length % DescriptorSize != 0 || length / DescriptorSize > 65536) return false;
                (table, entries, steps, index, nested) = (address, length / DescriptorSize, 0, 0, true);
                continue;
            }
            if (!chain.TryAdd(address, length, (flags & FlagWrite) != 0)) return false;
            if ((flags & FlagNext) == 0) return true;
        }
    }

    /// <summary>Gives a request back with the number of bytes that were written to it.</summary>
    public void Push(DescriptorChain chain, ulong written) => Push(chain.Head, written);

    /// <summary>As above, by the head of the chain.</summary>
    public void Push(ushort head, ulong written)
    {
        PushUnpublished(head, written, 0);
        Publish(1);
    }

    /// <summary>Gives the <paramref name="ahead"/>-th request of a group back; the driver sees the group at once, with <see cref="Publish"/>.</summary>
    public void PushUnpublished(ushort head, ulong written, int ahead)
    {
        if (!IsReady || IsBroken) return;
        var element = UsedRing + 4 + 8 * (ulong)((_nextUsed + ahead) & (Size - 1));
        if (!memory.TryStore32(element, head) || !memory.TryStore32(element + 4, (uint)Math.Min(written, uint.MaxValue))) Break();
    }

    /// <summary>Shows the driver <paramref name="count"/> more returned requests.</summary>
    public void Publish(int count)
    {
        if (!IsReady || IsBroken) return;
        _nextUsed += (ushort)count;
        if (!memory.TryStore16(UsedRing + 2, _nextUsed)) Break();
    }

    /// <summary>Whether the driver wants an interrupt for what was pushed since this was asked last.</summary>
    public bool TakeInterrupt()
    {
        if (!IsReady || IsBroken) return false;
        var (before, now) = (_signalledUsed, _nextUsed);
        if (_signalledValid && before == now) return false;
        var first = !_signalledValid;
        (_signalledUsed, _signalledValid) = (now, true);
        if (first && now == 0) return false;
        Interlocked.MemoryBarrier();
        if (_eventIndex)
        {
            if (!memory.TryLoad16(AvailableRing + 4 + 2 * (ulong)Size, out var wanted)) return Break();
            return first || (ushort)(now - wanted - 1) < (ushort)(now - before);
        }
        return memory.TryLoad16(AvailableRing, out var flags) ? (flags & NoInterrupt) == 0 : Break();
    }

    /// <summary>Asks the driver to notify the device of the next request; false where requests came meanwhile and must be looked at now.</summary>
    public bool EnableNotifications()
    {
        if (!IsReady || IsBroken) return true;
        var stored = _eventIndex
            ? memory.TryStore16(UsedRing + 4 + 8 * (ulong)Size, _nextAvailable)
            : memory.TryStore16(UsedRing, 0);
        if (!stored)
        {
            Break();
            return true;
        }
        Interlocked.MemoryBarrier();
        return !HasWork();
    }

    /// <summary>Tells the driver that notifications are a waste for now. With event indices, the old index says so already.</summary>
    public void DisableNotifications()
    {
        if (IsReady && !IsBroken && !_eventIndex && !memory.TryStore16(UsedRing, NoNotify)) Break();
    }

    private bool Break()
    {
        IsBroken = true;
        return false;
    }

    internal void Save(StateWriter writer)
    {
        writer.Write(Size);
        writer.Write(DescriptorTable);
        writer.Write(AvailableRing);
        writer.Write(UsedRing);
        writer.Write(Vector);
        writer.Write(IsReady);
        writer.Write(IsBroken);
        writer.Write(_nextAvailable);
        writer.Write(_nextUsed);
        writer.Write(_signalledUsed);
        writer.Write(_signalledValid);
    }

    internal void Load(StateReader reader, ulong features)
    {
        Size = reader.ReadUInt16();
        DescriptorTable = reader.ReadUInt64();
        AvailableRing = reader.ReadUInt64();
        UsedRing = reader.ReadUInt64();
        Vector = reader.ReadUInt16();
        var ready = reader.ReadBool();
        var broken = reader.ReadBool();
        if (ready) Enable(features);
        else IsReady = IsBroken = false;
        IsBroken |= broken;
        _nextAvailable = reader.ReadUInt16();
        _nextUsed = reader.ReadUInt16();
        _signalledUsed = reader.ReadUInt16();
        _signalledValid = reader.ReadBool();
    }
}
