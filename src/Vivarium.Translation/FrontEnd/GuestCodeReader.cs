using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Vivarium.Host;

namespace Vivarium.Translation.FrontEnd;

/// <summary>Fetches guest instructions through a small window of bytes read at once.</summary>
internal sealed unsafe class GuestCodeReader
{
    private const int WindowSize = BackEdges.Reach + 8; // what is looked at for loops first

    private readonly byte[] _bytes = GC.AllocateArray<byte>(WindowSize + 32, pinned: true);
    private readonly byte* _p; // the bytes, pinned
    private MemoryWindow _memory = null!;
    private Func<ulong, bool>? _mayExecute;
    private ulong _start;
    private int _length;
    private ulong _addend;
    private bool _onePage;
    private Func<ulong, ulong?>? _pageOf;

    private readonly int _ahead;

    /// <param name="ahead">Bytes to read at once; without, as many as <see cref="MayBeLoop"/> looks at.</param>
    public GuestCodeReader(int ahead = WindowSize)
    {
        _p = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_bytes));
        _ahead = ahead;
    }

    /// <summary>Forgets what was read: the next fetch reads memory again.</summary>
    public void Reset(MemoryWindow memory, Func<ulong, bool>? mayExecute)
    {
        _memory = memory;
        _mayExecute = mayExecute;
        _length = 0;
        (_addend, _onePage, _pageOf) = (0, false, null);
    }

    /// <summary>A machine's code: the page of a virtual address lies at that address plus <paramref name="addend"/> in the window, and nothing else is known.</summary>
    public void ResetToPage(MemoryWindow memory, ulong addend)
    {
        Reset(memory, null);
        (_addend, _onePage) = (addend, true);
    }

    /// <summary>A machine's code of many pages: <paramref name="pageOf"/> gives the offset in the window of a virtual page's number, where it is known.</summary>
    public void ResetToPages(MemoryWindow memory, Func<ulong, ulong?> pageOf)
    {
        Reset(memory, null);
        (_pageOf, _onePage) = (pageOf, true);
    }

    /// <summary>The 2 or 4 bytes of the instruction at <paramref name="pc"/>; false where they cannot be read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryFetch(ulong pc, out uint bits)
    {
        ulong offset = pc - _start;
        // SAFETY: the window is longer than what counts as read, by more than four bytes.
        if ((long)offset > _length - 4 || (long)offset < 0) return Refill(pc, out bits);
        bits = *(uint*)(_p + offset);
        bits &= 0xFFFF | 0 - ((bits & 3) + 1 >> 2); // all of them, or the lower half: no branch, the processor could not predict it
        return true;
    }

    /// <summary>Whether a branch further down may lead back to <paramref name="pc"/>, as far as code can be read.</summary>
    public bool MayBeLoop(ulong pc)
    {
        if ((pc != _start || _length < WindowSize) && !Fill(pc, out _)) return false;
        if (_length < WindowSize) new Span<byte>(_p + _length, WindowSize - _length).Clear();
        return BackEdges.MayLeadTo(_p);
    }

    private bool Refill(ulong pc, out uint bits)
    {
        if (!Fill(pc, out bits)) return false;
        if (_length < 4) return true;
        bits = *(uint*)_p;
        if ((bits & 3) != 3) bits = (ushort)bits;
        return true;
    }

    private bool Fill(ulong pc, out uint bits)
    {
        _start = pc;
        bits = 0;
        if (_pageOf != null)
        {
            if (_pageOf(pc >> 12) is not { } page)
            {
                _length = 0;
                return false;
            }
            _addend = page - (pc & ~4095UL);
        }
        ulong offset = pc + _addend;
        if ((pc & 1) != 0 || offset >= _memory.Size)
        {
            _length = 0;
            return false;
        }
        int want = (int)Math.Min((ulong)_ahead, _memory.Size - offset);
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
        if ((bits & 3) != 3) return true;
        // A 4-byte instruction whose second half cannot be read, or lies in the next page.
        if (_pageOf == null || (pc & 4095) != 4094 || _pageOf((pc >> 12) + 1) is not { } next || _memory.Read(next, _bytes.AsSpan(2, 2)) != 2) return false;
        bits |= (uint)BinaryPrimitives.ReadUInt16LittleEndian(_bytes.AsSpan(2)) << 16;
        return true;
    }
}
