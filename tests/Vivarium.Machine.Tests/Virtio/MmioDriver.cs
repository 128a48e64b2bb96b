using System.Buffers.Binary;
using Vivarium.Machine.Buses;
using Vivarium.Machine.Tests.Devices;
using Vivarium.Machine.Virtio;

namespace Vivarium.Machine.Tests.Virtio;

/// <summary>The driver's side of a virtio-mmio device: rings in guest memory, registers through the transport.</summary>
internal sealed class MmioDriver
{
    public const ulong RamBase = 0x8000_0000, RamSize = 32 << 20;
    private const ulong QueueArea = 0x10000, BufferArea = 0x400000;

    private readonly Dictionary<int, Ring> _rings = [];
    private ulong _nextBuffer = RamBase + BufferArea;

    private sealed class Ring
    {
        public ulong Descriptors, Available, Used;
        public ushort Size, NextDescriptor, AvailableIndex, UsedIndex;
    }

    public MmioDriver(PhysicalMemory memory, VirtioMmio transport, Wire wire) => (Memory, Transport, Wire) = (memory, transport, wire);

    public PhysicalMemory Memory { get; }

    public VirtioMmio Transport { get; private set; }

    /// <summary>Goes on with the same rings behind other registers.</summary>
    public void MoveTo(VirtioMmio transport) => Transport = transport;

    public Wire Wire { get; }

    public static PhysicalMemory NewMemory() => new(RamBase, RamSize);

    public static MmioDriver For(PhysicalMemory memory, VirtioDevice device)
    {
        var wire = new Wire();
        return new MmioDriver(memory, new VirtioMmio(device, wire), wire);
    }

    public uint Get(ulong register) => (uint)Transport.Read(register, 4);

    public void Set(ulong register, ulong value) => Transport.Write(register, 4, (uint)value);

    public ulong OfferedFeatures
    {
        get
        {
            Set(0x14, 0);
            ulong low = Get(0x10);
            Set(0x14, 1);
            return low | (ulong)Get(0x10) << 32;
        }
    }

    /// <summary>Reset, features, queues, DRIVER_OK; the features are all offered ones but those left out.</summary>
    public void Start(ulong without = 0, int queues = 1, ushort size = 64)
    {
        Set(0x70, 0);
        Set(0x70, 1);
        Set(0x70, 3);
        var features = OfferedFeatures & ~without;
        Set(0x24, 0);
        Set(0x20, (uint)features);
        Set(0x24, 1);
        Set(0x20, features >> 32);
        Set(0x70, 11);
        Assert.Equal(11u, Get(0x70));
        for (var queue = 0; queue < queues; queue++) EnableQueue(queue, size);
        Set(0x70, 15);
    }

    public void EnableQueue(int queue, ushort size)
    {
        var at = RamBase + QueueArea + (ulong)queue * 0x10000;
        var ring = new Ring { Descriptors = at, Available = at + 0x6000, Used = at + 0x8000, Size = size };
        _rings[queue] = ring;
        Memory.TryWriteBytes(at, new byte[0x10000]);
        Set(0x30, (uint)queue);
        Set(0x38, size);
        Set(0x80, ring.Descriptors);
        Set(0x84, ring.Descriptors >> 32);
        Set(0x90, ring.Available);
        Set(0x94, ring.Available >> 32);
        Set(0xa0, ring.Used);
        Set(0xa4, ring.Used >> 32);
        Set(0x44, 1);
    }

    /// <summary>A piece of guest memory for buffers.</summary>
    public ulong Allocate(int length)
    {
        var at = _nextBuffer;
        _nextBuffer += ((ulong)length + 63) & ~63UL;
        if (_nextBuffer > RamBase + RamSize) throw new InvalidOperationException("the test needs more guest memory");
        return at;
    }

    public ulong Allocate(ReadOnlySpan<byte> content)
    {
        var at = Allocate(content.Length);
        Assert.True(Memory.TryWriteBytes(at, content));
        return at;
    }

    public void FreeBuffers() => _nextBuffer = RamBase + BufferArea;

    public byte[] Bytes(ulong address, int length)
    {
        var bytes = new byte[length];
        Assert.True(Memory.TryReadBytes(address, bytes));
        return bytes;
    }

    public void WriteDescriptor(int queue, int index, ulong address, uint length, ushort flags, ushort next) =>
        WriteDescriptorAt(_rings[queue].Descriptors + 16 * (ulong)index, address, length, flags, next);

    public void WriteDescriptorAt(ulong at, ulong address, uint length, ushort flags, ushort next)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, address);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], length);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[12..], flags);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[14..], next);
        Assert.True(Memory.TryWriteBytes(at, bytes));
    }

    /// <summary>Makes a chain available and notifies the device. Returns its head.</summary>
    public ushort Submit(int queue, params (ulong Address, int Length, bool Writable)[] segments)
    {
        var ring = _rings[queue];
        var head = ring.NextDescriptor;
        for (var i = 0; i < segments.Length; i++)
        {
            var index = (head + i) % ring.Size;
            var last = i == segments.Length - 1;
            WriteDescriptor(queue, index, segments[i].Address, (uint)segments[i].Length, (ushort)((last ? 0 : 1) | (segments[i].Writable ? 2 : 0)),
                (ushort)((index + 1) % ring.Size));
        }
        ring.NextDescriptor = (ushort)((head + segments.Length) % ring.Size);
        MakeAvailable(queue, head);
        return head;
    }

    public void MakeAvailable(int queue, ushort head, bool notify = true)
    {
        var ring = _rings[queue];
        Memory.TryWrite(ring.Available + 4 + 2 * (ulong)(ring.AvailableIndex % ring.Size), 2, head);
        ring.AvailableIndex++;
        Memory.TryWrite(ring.Available + 2, 2, ring.AvailableIndex);
        // Wants an interrupt for the next one (event index), as drivers do.
        Memory.TryWrite(ring.Available + 4 + 2 * (ulong)ring.Size, 2, ring.UsedIndex);
        if (notify) Set(0x50, (uint)queue);
    }

    /// <summary>The next returned chain; null while there is none.</summary>
    public (uint Head, uint Written)? TakeUsed(int queue)
    {
        var ring = _rings[queue];
        Assert.True(Memory.TryRead(ring.Used + 2, 2, out var index));
        if ((ushort)index == ring.UsedIndex) return null;
        var at = ring.Used + 4 + 8 * (ulong)(ring.UsedIndex % ring.Size);
        Memory.TryRead(at, 4, out var head);
        Memory.TryRead(at + 4, 4, out var written);
        ring.UsedIndex++;
        return ((uint)head, (uint)written);
    }

    /// <summary>Waits for the next returned chain.</summary>
    public (uint Head, uint Written) WaitUsed(int queue)
    {
        (uint, uint)? used = null;
        Wait(() => (used = TakeUsed(queue)) != null, "no chain came back");
        return used!.Value;
    }

    public static void Wait(Func<bool> condition, string complaint)
    {
        for (var i = 0; !condition(); i++)
        {
            if (i > 10_000) Assert.Fail(complaint);
            if (i > 100) Thread.Sleep(1);
            else Thread.Yield();
        }
    }
}
