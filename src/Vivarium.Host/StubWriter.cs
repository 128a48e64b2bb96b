using System.Buffers.Binary;

namespace Vivarium.Host;

/// <summary>Writes the few machine-code stubs of this room: raw bytes (the mnemonic stands beside them), 64-bit immediates and short
/// jumps to labels. The translator has a real assembler; this one only needs to exist before anything else does.</summary>
internal sealed unsafe class StubWriter(byte* start, int capacity)
{
    private readonly List<(int Position, int Label)> _jumps = [];
    private readonly List<int> _labels = [];
    private int _length;

    /// <summary>Address of the next byte.</summary>
    public ulong Here => (ulong)(start + _length);

    public void Bytes(params ReadOnlySpan<byte> code)
    {
        // SAFETY: the span is bounded by the capacity that the owner allocated at `start`; slicing throws beyond it.
        code.CopyTo(new Span<byte>(start, capacity)[_length..]);
        _length += code.Length;
    }

    /// <summary>Writes <c>movabs register, value</c>; <paramref name="rex"/> and <paramref name="opcode"/> name the register.</summary>
    public void MoveImmediate(byte rex, byte opcode, ulong value)
    {
        Bytes(rex, opcode);
        Span<byte> immediate = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(immediate, value);
        Bytes(immediate);
    }

    public void Align(int alignment)
    {
        while (_length % alignment != 0) Bytes(0x90);
    }

    public int NewLabel()
    {
        _labels.Add(-1);
        return _labels.Count - 1;
    }

    public void Bind(int label) => _labels[label] = _length;

    /// <summary>Writes a short jump (EB, or 70..7F for a condition).</summary>
    public void Jump(byte opcode, int label)
    {
        Bytes(opcode, 0);
        _jumps.Add((_length - 1, label));
    }

    /// <summary>Resolves the jumps.</summary>
    public void Finish()
    {
        foreach (var (position, label) in _jumps) start[position] = (byte)checked((sbyte)(_labels[label] - position - 1));
        _jumps.Clear();
    }
}
