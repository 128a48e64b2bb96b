using System.Buffers.Binary;
using Vivarium.Machine.State;

namespace Vivarium.Machine.Pci;

/// <summary>A device on the PCI bus: its configuration space with a type 0 header (PCI Local Bus 3.0, section 6), its memory BARs, and its interrupt pin.</summary>
/// <remarks>Called on hart threads, several at once; configuration space has its own lock. Bytes without a writable mask keep what the device put there.</remarks>
public abstract class PciFunction
{
    /// <summary>Bytes of configuration space by ECAM.</summary>
    public const int ConfigurationSize = 4096;

    private const int HeaderSize = 0x40, LegacySize = 256, BarCount = 6;
    private const int CommandOffset = 4, StatusOffset = 6, BarOffset = 0x10, CapabilitiesOffset = 0x34, LineOffset = 0x3c, PinOffset = 0x3d;
    private const ushort CommandMemory = 2, CommandMaster = 4, CommandInterruptDisable = 0x400, StatusInterrupt = 8, StatusCapabilities = 0x10;

    private readonly byte[] _space = new byte[ConfigurationSize];
    private readonly byte[] _writable = new byte[ConfigurationSize];
    private readonly uint[] _barSizes = new uint[BarCount];
    private readonly Lock _lock = new();
    private int _nextCapability = HeaderSize, _lastCapability;
    private bool _interrupt;
    private Action<bool>? _wire;

    /// <param name="vendor">Vendor ID.</param>
    /// <param name="device">Device ID.</param>
    /// <param name="classCode">Base class, subclass and interface, in 24 bits.</param>
    /// <param name="revision">Revision ID.</param>
    /// <param name="subsystem">Subsystem ID; the subsystem's vendor is the vendor.</param>
    protected PciFunction(ushort vendor, ushort device, uint classCode, byte revision, ushort subsystem)
    {
        Put16(0, vendor);
        Put16(2, device);
        Put32(8, classCode << 8 | revision);
        Put16(0x2c, vendor);
        Put16(0x2e, subsystem);
        Allow16(CommandOffset, CommandMemory | CommandMaster | CommandInterruptDisable);
        _writable[0xc] = 0xff; // cache line size: for software only
        _writable[LineOffset] = 0xff;
    }

    /// <summary>Gives BAR <paramref name="index"/> a size, a power of two of at least 16: 32-bit memory, not prefetchable.</summary>
    protected void AddMemoryBar(int index, uint size)
    {
        _barSizes[index] = size;
        BinaryPrimitives.WriteUInt32LittleEndian(_writable.AsSpan(BarOffset + 4 * index), ~(size - 1));
    }

    /// <summary>Appends a capability (without its two bytes of identifier and link); returns where it begins.</summary>
    protected int AddCapability(byte id, ReadOnlySpan<byte> body)
    {
        var at = _nextCapability;
        _nextCapability = (at + 2 + body.Length + 3) & ~3;
        if (_nextCapability > LegacySize) throw new InvalidOperationException("the capabilities do not fit");
        if (_lastCapability == 0) _space[CapabilitiesOffset] = (byte)at;
        else _space[_lastCapability + 1] = (byte)at;
        _lastCapability = at;
        _space[at] = id;
        body.CopyTo(_space.AsSpan(at + 2));
        Put16(StatusOffset, StatusCapabilities);
        return at;
    }

    /// <summary>Lets the guest write bytes of configuration space.</summary>
    protected void AllowWrites(int offset, int length) => _writable.AsSpan(offset, length).Fill(0xff);

    /// <summary>Says that it interrupts by INTA.</summary>
    protected void UsePin() => _space[PinOffset] = 1;

    internal void Connect(Action<bool> wire) => _wire = wire;

    /// <summary>Raises or lowers INTA.</summary>
    protected void SetInterrupt(bool asserted)
    {
        lock (_lock)
        {
            _interrupt = asserted;
            UpdateWire();
        }
    }

    private void UpdateWire()
    {
        var status = _space[StatusOffset];
        _space[StatusOffset] = (byte)(_interrupt ? status | StatusInterrupt : status & ~StatusInterrupt);
        _wire?.Invoke(_interrupt && (Get16(CommandOffset) & CommandInterruptDisable) == 0);
    }

    /// <summary>Reads a BAR's memory.</summary>
    protected abstract ulong ReadBar(int bar, ulong offset, int size);

    /// <summary>Writes a BAR's memory.</summary>
    protected abstract void WriteBar(int bar, ulong offset, int size, ulong value);

    /// <summary>A read of configuration space that means more than the bytes there; null for them.</summary>
    protected virtual uint? ReadSpecial(int offset, int size) => null;

    /// <summary>Configuration space was written.</summary>
    protected virtual void ConfigurationWritten(int offset, int size)
    {
    }

    /// <summary>Bytes of configuration space, for the device itself.</summary>
    protected uint Peek(int offset, int size)
    {
        uint value = 0;
        for (var index = size - 1; index >= 0; index--) value = value << 8 | _space[offset + index];
        return value;
    }

    internal uint ReadConfiguration(int offset, int size)
    {
        if (offset + size > ConfigurationSize) return 0;
        if (ReadSpecial(offset, size) is { } special) return special;
        lock (_lock) return Peek(offset, size);
    }

    internal void WriteConfiguration(int offset, int size, uint value)
    {
        if (offset + size > ConfigurationSize) return;
        lock (_lock)
        {
            for (var index = 0; index < size; index++)
            {
                var mask = _writable[offset + index];
                _space[offset + index] = (byte)((_space[offset + index] & ~mask) | ((byte)(value >> (8 * index)) & mask));
            }
            if (offset < StatusOffset + 2) UpdateWire();
        }
        ConfigurationWritten(offset, size);
    }

    /// <summary>The BAR that decodes an address now.</summary>
    internal bool TryFindBar(ulong address, out int bar, out ulong offset)
    {
        lock (_lock)
        {
            for (bar = 0; bar < BarCount; bar++)
            {
                if (_barSizes[bar] == 0 || (_space[CommandOffset] & CommandMemory) == 0) continue;
                offset = address - BinaryPrimitives.ReadUInt32LittleEndian(_space.AsSpan(BarOffset + 4 * bar));
                if (offset < _barSizes[bar]) return true;
            }
        }
        offset = 0;
        return false;
    }

    /// <summary>An access to a BAR, of a size that stays in it.</summary>
    internal ulong Read(int bar, ulong offset, int size) => offset + (ulong)size <= _barSizes[bar] ? ReadBar(bar, offset, size) : 0;

    internal void Write(int bar, ulong offset, int size, ulong value)
    {
        if (offset + (ulong)size <= _barSizes[bar]) WriteBar(bar, offset, size, value);
    }

    /// <summary>The size of a BAR, 0 where there is none.</summary>
    protected uint BarSize(int bar) => (uint)bar < BarCount ? _barSizes[bar] : 0;

    protected void SaveConfiguration(StateWriter writer)
    {
        lock (_lock)
        {
            writer.WriteBytes(_space.AsSpan(0, LegacySize));
            writer.Write(_interrupt);
        }
    }

    protected void LoadConfiguration(StateReader reader)
    {
        var space = reader.ReadBytes();
        if (space.Length != LegacySize) throw new StateException($"section '{reader.Section}' has a configuration space of {space.Length} bytes");
        lock (_lock)
        {
            for (var index = 0; index < LegacySize; index++) _space[index] = (byte)((_space[index] & ~_writable[index]) | (space[index] & _writable[index]));
            _interrupt = reader.ReadBool();
            UpdateWire();
        }
    }

    private void Put16(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(_space.AsSpan(offset), value);

    private void Put32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_space.AsSpan(offset), value);

    private ushort Get16(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(_space.AsSpan(offset));

    private void Allow16(int offset, ushort mask) => BinaryPrimitives.WriteUInt16LittleEndian(_writable.AsSpan(offset), mask);
}
