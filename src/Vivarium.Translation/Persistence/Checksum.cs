using System.Numerics;
using System.Runtime.InteropServices;

namespace Vivarium.Translation.Persistence;

/// <summary>A fast 64-bit checksum in four lanes: every step is a bijection of its lane, so that no single changed word goes unseen. It tells
/// damage, not malice: against that stand the directory's owner and mode.</summary>
internal static class Checksum
{
    private const ulong Prime = 0x9E3779B97F4A7C15, Other = 0xC2B2AE3D27D4EB4F;

    public static ulong Of(ReadOnlySpan<byte> bytes, ulong seed = 0)
    {
        ulong a = seed + Prime, b = seed ^ Other, c = seed - Prime, d = ~seed;
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes);
        int i = 0;
        for (; i + 4 <= words.Length; i += 4)
        {
            a = Step(a, words[i]);
            b = Step(b, words[i + 1]);
            c = Step(c, words[i + 2]);
            d = Step(d, words[i + 3]);
        }
        for (; i < words.Length; i++) a = Step(a, words[i]);
        foreach (byte rest in bytes[(words.Length * 8)..]) b = Step(b, rest);
        ulong hash = Step(Step(Step(Step((ulong)bytes.Length, a), b), c), d);
        hash ^= hash >> 32;
        return hash * Other;
    }

    private static ulong Step(ulong hash, ulong word) => BitOperations.RotateLeft((hash ^ word) * Prime, 29);
}
