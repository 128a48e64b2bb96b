using System.Buffers.Binary;
using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Virtio;

/// <summary>virtio-console (virtio 1.2, section 5.3) with one port: what the guest prints goes to a delegate, on the device's thread; input comes
/// from anywhere.</summary>
public sealed class VirtioConsole : VirtioDevice, Devices.IConsolePort
{
    /// <summary>Input that waits for the guest, in bytes.</summary>
    public const int QueueCapacity = 4096;

    private const ulong SizeFeature = 1;
    private const int ReceiveQueue = 0, SendQueue = 1;

    private readonly Action<ReadOnlySpan<byte>> _output;
    private readonly DescriptorChain _chain;
    private readonly byte[] _buffer = new byte[4096];
    private readonly Queue<byte> _input = new(64);
    private readonly DeviceThread _thread;
    private volatile uint _size = 80 | 25 << 16; // columns, rows
    private bool _full;

    /// <param name="memory">The machine's RAM.</param>
    /// <param name="output">Takes what the guest prints; may wait, then the guest's driver does.</param>
    /// <param name="name">Name of the state section.</param>
    public VirtioConsole(PhysicalMemory memory, Action<ReadOnlySpan<byte>> output, string name = "virtio-console") : base(memory, name, 3, 64, 64)
    {
        _output = output;
        _chain = new DescriptorChain(memory);
        _thread = new DeviceThread(name, Service);
        _thread.Start();
    }

    public override TimeSpan CpuTime => _thread.CpuTime;

    public override uint PciClass => 0x078000;

    protected override ulong DeviceFeatures => SizeFeature;

    public override int ConfigurationSize => 12;

    /// <summary>Called (on the device's thread) when the guest made room in a full queue.</summary>
    public Action? RoomMade { get; set; }

    /// <summary>Hands input to the guest; returns how many bytes were taken. Any thread.</summary>
    public int Receive(ReadOnlySpan<byte> bytes)
    {
        int count;
        lock (_input)
        {
            count = Math.Min(bytes.Length, QueueCapacity - _input.Count);
            foreach (var value in bytes[..count]) _input.Enqueue(value);
            _full = count < bytes.Length;
        }
        _thread.Wake();
        return count;
    }

    /// <summary>Tells the guest the size of its terminal.</summary>
    public void Resize(int columns, int rows)
    {
        _size = (ushort)columns | (uint)(ushort)rows << 16;
        ConfigurationChanged();
    }

    protected override void FillConfiguration(Span<byte> space)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(space, _size);
        BinaryPrimitives.WriteUInt32LittleEndian(space[4..], 1); // ports
    }

    protected override void Wake() => _thread.Wake();

    protected override void Process()
    {
        Send();
        Receive();
    }

    private void Send()
    {
        var queue = Queues[SendQueue];
        do
        {
            while (queue.TryPop(_chain))
            {
                for (ulong done = 0; done < _chain.ReadableLength;)
                {
                    var piece = _buffer.AsSpan(0, (int)Math.Min((ulong)_buffer.Length, _chain.ReadableLength - done));
                    _chain.Read(done, piece);
                    _output(piece);
                    done += (ulong)piece.Length;
                }
                queue.Push(_chain, 0);
                Signal();
            }
        }
        while (!queue.EnableNotifications());
    }

    private void Receive()
    {
        var queue = Queues[ReceiveQueue];
        var roomMade = false;
        lock (_input)
        {
            while (_input.Count > 0)
            {
                if (!queue.TryPop(_chain))
                {
                    if (queue.EnableNotifications()) break;
                    continue;
                }
                var count = (int)Math.Min(_chain.WritableLength, (ulong)Math.Min(_input.Count, _buffer.Length));
                for (var index = 0; index < count; index++) _buffer[index] = _input.Dequeue();
                _chain.Write(0, _buffer.AsSpan(0, count));
                queue.Push(_chain, (ulong)count);
            }
            if (_full && _input.Count < QueueCapacity)
            {
                _full = false;
                roomMade = true;
            }
        }
        if (roomMade) RoomMade?.Invoke();
    }

    protected override void SaveDevice(StateWriter writer)
    {
        lock (_input) writer.WriteBytes(_input.ToArray());
    }

    protected override void LoadDevice(StateReader reader)
    {
        lock (_input)
        {
            _input.Clear();
            var input = reader.ReadBytes();
            if (input.Length > QueueCapacity) throw new StateException($"section '{reader.Section}' holds {input.Length} bytes of input; {QueueCapacity} is the most");
            foreach (var value in input) _input.Enqueue(value);
        }
    }

    protected override void Dispose(bool disposing) => _thread.Dispose();
}
