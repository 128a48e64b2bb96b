namespace Vivarium.Translation.Optimizing;

/// <summary>A region's code where it was loaded.</summary>
/// <param name="Place">Host address; 0 where there was no room.</param>
/// <param name="Size">Bytes, with the constants that it uses.</param>
/// <param name="FunctionOffset">Where in it the function begins.</param>
/// <param name="FunctionLength">Bytes of the function.</param>
internal readonly record struct RegionCode(ulong Place, int Size, int FunctionOffset, int FunctionLength)
{
    /// <summary>Host address of the function.</summary>
    public ulong Function => Place + (ulong)FunctionOffset;

    // SAFETY: loaded code of that length, which stays where it is.
    public unsafe ReadOnlySpan<byte> Bytes => new((void*)Place, Size);

    public ReadOnlySpan<byte> FunctionBytes => Bytes.Slice(FunctionOffset, FunctionLength);
}

/// <summary>A jump of a region's code to one of its exits: where the 4 bytes of its displacement are, and the exit's index.</summary>
internal readonly record struct RegionLink(int Offset, int Exit);
