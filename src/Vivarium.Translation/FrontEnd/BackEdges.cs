using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Vivarium.Translation.FrontEnd;

/// <summary>
/// Says where a loop may begin, so that <see cref="LoopRegion.Find"/> looks only there: compares the bytes behind an address, eight half-words at a time,
/// with the branches and jumps that lead back to it from their place. May say yes where such bits are not an instruction, never no where one is.
/// </summary>
internal static unsafe class BackEdges
{
    /// <summary>Bytes behind the address that are looked at: those of the longest loop.</summary>
    public const int Reach = Ir.IrBlock.MaxGuestInstructions * 4;

    private const int Places = Reach / 2;

    // c.beqz and c.bnez, c.j, branches (two halves), jal x0 (two halves), by place; those that do not reach match nothing.
    private const ushort CompressedMask = 0xDC7F, LowMask = 0x0FFF, HighMask = 0xFE00;
    private static readonly ushort[] Patterns = Build();

    /// <summary>Whether a branch or jump back to <paramref name="code"/> may stand in the <see cref="Reach"/> bytes there; two more can be read.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool MayLeadTo(byte* code)
    {
        ref ushort patterns = ref MemoryMarshal.GetArrayDataReference(Patterns);
        Vector128<ushort> found = default, compressedMask = Vector128.Create(CompressedMask), lowMask = Vector128.Create(LowMask), highMask = Vector128.Create(HighMask);
        for (nuint at = 0; at < Places; at += 8)
        {
            Vector128<ushort> half = Vector128.Load((ushort*)code + at), next = Vector128.LoadUnsafe(ref *((ushort*)code + 1), at);
            found |= Vector128.Equals(half & compressedMask, Vector128.LoadUnsafe(ref patterns, at))
                | Vector128.Equals(half, Vector128.LoadUnsafe(ref patterns, at + Places))
                | (Vector128.Equals(half & lowMask, Vector128.LoadUnsafe(ref patterns, at + 2 * Places)) & Vector128.Equals(next & highMask, Vector128.LoadUnsafe(ref patterns, at + 3 * Places)))
                | (Vector128.Equals(half, Vector128.LoadUnsafe(ref patterns, at + 4 * Places)) & Vector128.Equals(next, Vector128.LoadUnsafe(ref patterns, at + 5 * Places)));
        }
        return found != default;
    }

    private static ushort[] Build()
    {
        var table = new ushort[6 * Places];
        for (int place = 0; place < Places; place++)
        {
            int d = -2 * place;
            table[place] = d < -256 ? ushort.MaxValue
                : (ushort)(0xC001 | (d >> 8 & 1) << 12 | (d >> 3 & 3) << 10 | (d >> 6 & 3) << 5 | (d >> 1 & 3) << 3 | (d >> 5 & 1) << 2);
            table[Places + place] = (ushort)(0xA001 | (d >> 11 & 1) << 12 | (d >> 4 & 1) << 11 | (d >> 8 & 3) << 9 | (d >> 10 & 1) << 8 | (d >> 6 & 1) << 7
                | (d >> 7 & 1) << 6 | (d >> 1 & 7) << 3 | (d >> 5 & 1) << 2);
            table[2 * Places + place] = (ushort)(0x63 | (d >> 1 & 15) << 8 | (d >> 11 & 1) << 7);
            table[3 * Places + place] = (ushort)((d >> 12 & 1) << 15 | (d >> 5 & 63) << 9);
            table[4 * Places + place] = (ushort)(0x6F | (d >> 12 & 15) << 12);
            table[5 * Places + place] = (ushort)((d >> 20 & 1) << 15 | (d >> 1 & 1023) << 5 | (d >> 11 & 1) << 4 | d >> 16 & 15);
        }
        return table;
    }
}
