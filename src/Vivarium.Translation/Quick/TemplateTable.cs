using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Vivarium.Translation.Quick;

/// <summary>
/// Code that instructions became, by their bits: programs use the same few thousand instructions over and over, and nothing is cheaper than copying what
/// there is. Direct-mapped; small at first, and larger once a program shows that it has much code.
/// </summary>
/// <remarks>Not thread-safe. Entries are 32 bytes: a key (4 bytes), the code's length (1 byte), room, the code.</remarks>
internal sealed unsafe class TemplateTable
{
    /// <summary>Where in an entry the length and the code stand, and most bytes of the code.</summary>
    public const int LengthAt = 4, CodeAt = 8, MostBytes = 24;

    private const int EntryBits = 5, SmallBits = 9, MiddleBits = 11, LargeBits = 13;

    /// <summary>Misses after which a larger table is made: not in programs that only say hello.</summary>
    private const int ManyMisses = 4 << 10, MoreMisses = 12 << 10;

    private byte* _entries;
    private int _shift, _misses;
    private byte[] _memory = null!; // keeps the entries alive

    public TemplateTable() => Allocate(SmallBits);

    /// <summary>What an entry for these bits begins with; never 0, which an empty one does: no instruction has bits 1..0 other than 11 and more than 16 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Key(uint bits) => bits ^ 0x10000;

    /// <summary>The entry that the bits may have.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Find(uint bits) => _entries + ((ulong)(bits * 0x9E3779B1 >> _shift) << EntryBits);

    /// <summary>Keeps the <paramref name="bytes"/> bytes of code that end at <paramref name="end"/> in the entry that <see cref="Find"/> gave.</summary>
    public void Set(byte* entry, uint bits, byte* end, int bytes)
    {
        if (bytes > MostBytes) return;
        if (++_misses is ManyMisses or MoreMisses)
        {
            Allocate(_misses == ManyMisses ? MiddleBits : LargeBits);
            entry = Find(bits);
        }
        *(uint*)entry = Key(bits);
        entry[LengthAt] = (byte)bytes;
        Unsafe.CopyBlockUnaligned(entry + CodeAt, end - bytes, (uint)bytes);
    }

    private void Allocate(int bits)
    {
        // SAFETY: pinned, and as long as the entries that the hash can choose, from the first 32-byte boundary on.
        _memory = GC.AllocateArray<byte>((1 << bits + EntryBits) + (1 << EntryBits), pinned: true);
        _entries = (byte*)(((ulong)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_memory)) + 31) & ~31UL);
        _shift = 32 - bits;
    }
}
