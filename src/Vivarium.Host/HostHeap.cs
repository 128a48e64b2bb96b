namespace Vivarium.Host;

/// <summary>The C library's heap, as a process with hundreds of short-lived threads wants it.</summary>
public static class HostHeap
{
    private const int TrimThreshold = -1, MapThreshold = -3, ArenaMaximum = -8;

    /// <summary>Bounds what the heap keeps of what was freed: by itself glibc makes eight arenas per processor, raises the size from which memory is mapped
    /// and given back alone to that of the largest piece that was ever freed, and so keeps tens of megabytes for ever. Call once, early; does nothing
    /// where the C library is another one.</summary>
    public static void KeepSmall()
    {
        try
        {
            Libc.MallOpt(ArenaMaximum, Math.Max(2, Environment.ProcessorCount));
            Libc.MallOpt(MapThreshold, 128 << 10);
            Libc.MallOpt(TrimThreshold, 2 << 20);
        }
        catch (EntryPointNotFoundException)
        {
            // musl has no such call, and no such heap.
        }
    }
}
