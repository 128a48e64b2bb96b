using Vivarium.Images.Archives;
using Vivarium.Images.Host;

namespace Vivarium.Images;

/// <summary>A layer as a file that may still be outside the store.</summary>
/// <param name="File">The blob.</param>
/// <param name="Descriptor">Its media type, digest and size.</param>
/// <param name="DiffId">Digest of the plain archive; null where only unpacking will tell.</param>
/// <param name="Origin">What a complaint about it should name.</param>
internal sealed record LayerFile(string File, OciDescriptor Descriptor, string? DiffId, string Origin);

/// <summary>Turns blobs into a tree.</summary>
internal static class LayerStack
{
    /// <summary>Unpacks layers, lowest first, into a new directory.</summary>
    /// <returns>The digests of the plain archives, and notes for people.</returns>
    public static (List<string> DiffIds, List<string> Notes) Unpack(IReadOnlyList<LayerFile> layers, string directory, Action<string, long>? progress)
    {
        Directory.CreateDirectory(directory);
        using var unpacker = new LayerUnpacker(directory, progress is null ? null : count => progress("unpacking", count));
        var diffIds = new List<string>();
        foreach (var layer in layers)
        {
            string diffId = UnpackOne(layer, unpacker);
            if (layer.DiffId is not null && layer.DiffId != diffId)
                throw new ImageException($"cannot unpack '{layer.Origin}': digest mismatch (its archive is {diffId}, the configuration says {layer.DiffId})");
            diffIds.Add(diffId);
        }

        unpacker.Finish();
        return (diffIds, [.. unpacker.Notes]);
    }

    /// <summary>Runs <paramref name="work"/> on an archive and tells its faults from the host's.</summary>
    public static T Read<T>(string origin, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (InvalidDataException e)
        {
            throw new ImageException($"cannot read archive '{origin}': {Lower(e.Message)}", e);
        }
        catch (EndOfStreamException e)
        {
            throw new ImageException($"cannot read archive '{origin}': it is truncated", e);
        }
        catch (IOException e) when (e.HResult is > 0 and < 4096)
        {
            throw new ImageException($"cannot import '{origin}': {HostFiles.Reason(e)}", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new ImageException($"cannot import '{origin}': {HostFiles.Reason(e)}", e);
        }
    }

    private static string UnpackOne(LayerFile layer, LayerUnpacker unpacker) => Read(layer.Origin, () =>
    {
        using var file = new FileStream(layer.File, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16);
        Span<byte> head = stackalloc byte[Compression.HeadLength];
        int count = file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        file.Position = 0;
        using var plain = Compression.Decompress(file, Compression.Detect(head[..count]));
        using var hashing = new HashingStream(plain);
        var archive = new TarReader(hashing);
        unpacker.Unpack(archive);
        archive.Drain();
        return hashing.Digest();
    });

    private static string Lower(string message) => message.Length > 1 && char.IsUpper(message[0]) ? char.ToLowerInvariant(message[0]) + message[1..].TrimEnd('.') : message.TrimEnd('.');
}
