namespace Vivarium.Translation.Cache;

/// <summary>Hash of guest instructions, to see whether code changed.</summary>
internal static class GuestHash
{
    public const ulong Start = 0xCBF29CE484222325;

    public static ulong Add(ulong hash, uint bits)
    {
        hash = (hash ^ bits) * 0x9E3779B97F4A7C15;
        return hash ^ hash >> 29;
    }
}
