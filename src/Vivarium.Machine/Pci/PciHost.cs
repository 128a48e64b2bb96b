using Vivarium.Machine.Buses;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Pci;

/// <summary>A PCI Express host bridge: configuration space by ECAM (PCI Express 5.0, 7.2.2), one window of memory in which the BARs lie, and four
/// interrupt wires. One bus, functions 0 only.</summary>
/// <remarks>A guest may put BARs anywhere: what lies outside the window, or under another BAR, cannot be reached, and nothing else happens.</remarks>
public sealed class PciHost : IStateful
{
    /// <summary>Devices on the bus, with the bridge itself as device 0.</summary>
    public const int MostDevices = 32;

    private const int Wires = 4;

    private readonly PciFunction?[] _functions = new PciFunction?[MostDevices];
    private readonly IInterruptLine[] _lines;
    private readonly uint[] _asserted = new uint[Wires]; // by wire: the devices that hold it
    private readonly ulong _windowBase;
    private readonly Bridge _bridge = new();
    private int _count;

    /// <param name="lines">The four wires INTA to INTD of device 0.</param>
    /// <param name="windowBase">Physical address of the memory window; bus addresses are the same.</param>
    public PciHost(IReadOnlyList<IInterruptLine> lines, ulong windowBase)
    {
        (_lines, _windowBase) = ([.. lines], windowBase);
        if (_lines.Length != Wires) throw new ArgumentException("a PCI host has four interrupt wires", nameof(lines));
        (Configuration, Window) = (new Ecam(this), new MemoryWindow(this));
        Add(_bridge);
    }

    public string SectionName => "pci";

    /// <summary>The bridge's own configuration; functions save theirs.</summary>
    public void Save(StateWriter writer) => _bridge.Save(writer);

    public void Load(StateReader reader) => _bridge.Load(reader);

    /// <summary>Configuration space: 1 MiB a bus.</summary>
    public IMmioDevice Configuration { get; }

    /// <summary>The memory window.</summary>
    public IMmioDevice Window { get; }

    /// <summary>Plugs a device in before the machine runs; returns its number.</summary>
    public int Add(PciFunction function)
    {
        if (_count == MostDevices) throw new InvalidOperationException("the PCI bus is full");
        var number = _count++;
        _functions[number] = function;
        function.Connect(level => Drive(number, level));
        return number;
    }

    // Devices share wires: a wire is high while any of its devices holds it. Pin A of device d is wire d mod 4.
    private void Drive(int device, bool level)
    {
        var wire = device % Wires;
        lock (_asserted)
        {
            if (level) _asserted[wire] |= 1U << device;
            else _asserted[wire] &= ~(1U << device);
            _lines[wire].Set(_asserted[wire] != 0);
        }
    }

    private sealed class Ecam(PciHost host) : IMmioDevice
    {
        public ulong Read(ulong offset, int size)
        {
            if (size == 8) return Read(offset, 4) | Read(offset + 4, 4) << 32;
            var absent = (1UL << (8 * size)) - 1; // what no device answers reads as ones
            return Find(offset) is { } function ? function.ReadConfiguration((int)(offset & 0xfff), size) : absent;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            if (size == 8)
            {
                Write(offset, 4, (uint)value);
                Write(offset + 4, 4, value >> 32);
                return;
            }
            Find(offset)?.WriteConfiguration((int)(offset & 0xfff), size, (uint)value);
        }

        // Bus 27:20, device 19:15, function 14:12.
        private PciFunction? Find(ulong offset) => (offset >> 20) != 0 || (offset >> 12 & 7) != 0 ? null : host._functions[offset >> 15 & 31];
    }

    private sealed class MemoryWindow(PciHost host) : IMmioDevice
    {
        public ulong Read(ulong offset, int size)
        {
            foreach (var function in host._functions.AsSpan(0, host._count))
            {
                if (function!.TryFindBar(host._windowBase + offset, out var bar, out var within)) return function.Read(bar, within, size);
            }
            return ulong.MaxValue;
        }

        public void Write(ulong offset, int size, ulong value)
        {
            foreach (var function in host._functions.AsSpan(0, host._count))
            {
                if (!function!.TryFindBar(host._windowBase + offset, out var bar, out var within)) continue;
                function.Write(bar, within, size, value);
                return;
            }
        }
    }

    private sealed class Bridge() : PciFunction(0x1b36, 0x0008, 0x060000, 0, 0x1100)
    {
        public void Save(StateWriter writer) => SaveConfiguration(writer);

        public void Load(StateReader reader) => LoadConfiguration(reader);

        protected override ulong ReadBar(int bar, ulong offset, int size) => 0;

        protected override void WriteBar(int bar, ulong offset, int size, ulong value)
        {
        }
    }
}
