using System.Buffers.Binary;
using System.Text;

namespace Vivarium.Machine.State;

/// <summary>Takes the content of one section apart again. Every read checks its bounds: a section that is too short is refused, never misread. Not
/// thread-safe.</summary>
public sealed class StateReader(string section, int version, ReadOnlyMemory<byte> content)
{
    private int _position;

    /// <summary>The section's name.</summary>
    public string Section { get; } = section;

    /// <summary>The <see cref="IStateful.SectionVersion"/> that it was written with.</summary>
    public int Version { get; } = version;

    /// <summary>Bytes that have not been read.</summary>
    public int Remaining => content.Length - _position;

    public byte ReadByte() => Take(1)[0];

    public bool ReadBool() => Take(1)[0] switch
    {
        0 => false,
        1 => true,
        byte other => throw new StateException($"section '{Section}' holds {other} where it should hold 0 or 1"),
    };

    public ushort ReadUInt16() => BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

    public int ReadInt32() => BinaryPrimitives.ReadInt32LittleEndian(Take(4));

    public uint ReadUInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    public long ReadInt64() => BinaryPrimitives.ReadInt64LittleEndian(Take(8));

    public ulong ReadUInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    /// <summary>What <see cref="StateWriter.WriteBytes"/> wrote.</summary>
    public ReadOnlySpan<byte> ReadBytes() => Take(ReadInt32());

    public string ReadString() => Encoding.UTF8.GetString(ReadBytes());

    /// <summary>Words into <paramref name="values"/>, which must have as many as were written.</summary>
    public void ReadWords(Span<uint> values)
    {
        Expect(values.Length);
        foreach (ref uint value in values)
            value = ReadUInt32();
    }

    /// <summary>Words into <paramref name="values"/>, which must have as many as were written.</summary>
    public void ReadWords(Span<ulong> values)
    {
        Expect(values.Length);
        foreach (ref ulong value in values)
            value = ReadUInt64();
    }

    /// <summary>Refuses a section in a layout that this program does not know.</summary>
    public void RequireVersion(int newest)
    {
        if (Version < 1 || Version > newest)
            throw new StateException($"section '{Section}' has version {Version}; this program reads up to {newest}");
    }

    private void Expect(int count)
    {
        int there = ReadInt32();
        if (there != count)
            throw new StateException($"section '{Section}' holds {there} values where this machine has {count}");
    }

    private ReadOnlySpan<byte> Take(int size)
    {
        if (size < 0 || size > Remaining)
            throw new StateException($"section '{Section}' ends too early");
        var taken = content.Span.Slice(_position, size);
        _position += size;
        return taken;
    }
}
