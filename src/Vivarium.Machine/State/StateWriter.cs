using System.Buffers.Binary;
using System.Text;

namespace Vivarium.Machine.State;

/// <summary>Collects the content of one section: plain little-endian values one after the other, in the order in which <see cref="StateReader"/> takes
/// them. Not thread-safe.</summary>
public sealed class StateWriter
{
    private byte[] _buffer = new byte[256];
    private int _length;

    /// <summary>What has been written.</summary>
    public ReadOnlySpan<byte> Content => _buffer.AsSpan(0, _length);

    public void Write(byte value) => Room(1)[0] = value;

    public void Write(bool value) => Write(value ? (byte)1 : (byte)0);

    public void Write(uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Room(4), value);

    public void Write(int value) => BinaryPrimitives.WriteInt32LittleEndian(Room(4), value);

    public void Write(ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(Room(2), value);

    public void Write(ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Room(8), value);

    public void Write(long value) => BinaryPrimitives.WriteInt64LittleEndian(Room(8), value);

    /// <summary>A length and the bytes.</summary>
    public void WriteBytes(ReadOnlySpan<byte> value)
    {
        Write(value.Length);
        value.CopyTo(Room(value.Length));
    }

    /// <summary>A length and the text in UTF-8.</summary>
    public void Write(string value) => WriteBytes(Encoding.UTF8.GetBytes(value));

    /// <summary>A length and the words.</summary>
    public void WriteWords(ReadOnlySpan<uint> values)
    {
        Write(values.Length);
        foreach (uint value in values)
            Write(value);
    }

    /// <summary>A length and the words.</summary>
    public void WriteWords(ReadOnlySpan<ulong> values)
    {
        Write(values.Length);
        foreach (ulong value in values)
            Write(value);
    }

    private Span<byte> Room(int size)
    {
        if (_length + size > _buffer.Length)
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + size));
        var room = _buffer.AsSpan(_length, size);
        _length += size;
        return room;
    }
}
