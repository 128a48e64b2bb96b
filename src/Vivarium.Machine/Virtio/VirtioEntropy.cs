using System.Security.Cryptography;
using Vivarium.Machine.Buses;

namespace Vivarium.Machine.Virtio;

/// <summary>virtio-rng (virtio 1.2, section 5.4): fills buffers from the host's random number generator.</summary>
public sealed class VirtioEntropy : VirtioDevice
{
    // Enough for any driver; a guest that offers gigabytes gets the rest when it asks again.
    private const int MostBytes = 4096;

    private readonly DescriptorChain _chain;
    private readonly byte[] _buffer = new byte[MostBytes];
    private readonly DeviceThread _thread;

    public VirtioEntropy(PhysicalMemory memory, string name = "virtio-rng") : base(memory, name, 4, 256)
    {
        _chain = new DescriptorChain(memory);
        _thread = new DeviceThread(name, Service);
        _thread.Start();
    }

    protected override ulong DeviceFeatures => 0;

    public override int ConfigurationSize => 0;

    public override TimeSpan CpuTime => _thread.CpuTime;

    public override uint PciClass => 0x00ff00;

    protected override void FillConfiguration(Span<byte> space)
    {
    }

    protected override void Wake() => _thread.Wake();

    protected override void Process()
    {
        var queue = Queues[0];
        do
        {
            while (queue.TryPop(_chain))
            {
                var bytes = _buffer.AsSpan(0, (int)Math.Min(_chain.WritableLength, MostBytes));
                RandomNumberGenerator.Fill(bytes);
                queue.Push(_chain, (ulong)_chain.Write(0, bytes));
            }
        }
        while (!queue.EnableNotifications());
    }

    protected override void Dispose(bool disposing) => _thread.Dispose();
}
