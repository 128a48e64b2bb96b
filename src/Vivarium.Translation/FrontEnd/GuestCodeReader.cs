using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using Vivarium.Host;

namespace Vivarium.Translation.FrontEnd;

/// <summary>Fetches guest instructions through a small window of bytes read at once.</summary>
internal sealed class GuestCodeReader
{
    private readonly byte[] _bytes = new byte[160];
    private MemoryWindow _memory = null!;
    private Func<ulong, bool>? _mayExecute;
    private ulong _start;
    private int _length;
    private ulong _addend;
    private bool _onePage;

    /// <summary>Forgets what was read: the next fetch reads memory again.</summary>
    public void Reset(MemoryWindow memory, Func<ulong, bool>? mayExecute)
    {
        _memory = memory;
        _mayExecute = mayExecute;
        _length = 0;
        (_addend, _onePage) = (0, false);
    }

    /// <summary>A machine's code: the page of a virtual address lies at that address plus <paramref name="addend"/> in the window, and nothing else is known.</summary>
    public void ResetToPage(MemoryWindow memory, ulong addend)
    {
        Reset(memory, null);
        (_addend, _onePage) = (addend, true);
    }

    /// <summary>The 2 or 4 bytes of the instruction at <paramref name="pc"/>; false where they cannot be read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool TryFetch(ulong pc, out uint bits)
    {
        ulong offset = pc - _start;
        if (offset >= (ulong)_length || offset + 4 > (ulong)_length)
        {
            if (!Fill(pc, out bits)) return false;
            offset = 0;
            if (_length < 4) return true;
        }
        bits = BinaryPrimitives.ReadUInt32LittleEndian(_bytes.AsSpan((int)offset));
        if ((bits & 3) != 3) bits &= 0xFFFF;
        return true;
    }

    private bool Fill(ulong pc, out uint bits)
    {
        _start = pc;
        bits = 0;
        ulong offset = pc + _addend;
        if ((pc & 1) != 0 || offset >= _memory.Size)
        {
            _length = 0;
            return false;
        }
        int want = (int)Math.Min(128, _memory.Size - offset);
        if (_onePage) want = Math.Min(want, 4096 - (int)(pc & 4095));
        if (_mayExecute is { } mayExecute)
        {
            _length = 0;
            if (!mayExecute(pc)) return false;
            int inPage = 4096 - (int)(pc & 4095);
            if (inPage < want && !mayExecute(pc + (ulong)inPage)) want = inPage;
        }
        _length = _memory.Read(offset, _bytes.AsSpan(0, want));
        if (_length >= 4) return true;
        if (_length < 2) return false;
        bits = BinaryPrimitives.ReadUInt16LittleEndian(_bytes);
        return (bits & 3) != 3; // a 4-byte instruction whose second half cannot be read
    }
}
