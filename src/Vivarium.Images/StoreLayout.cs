using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Vivarium.Images.Archives;
using Vivarium.Images.Host;

namespace Vivarium.Images;

/// <summary>
/// Where things are in a store, and how its documents are read and written.
/// <code>
/// oci-layout, index.json, blobs/sha256/HEX   an OCI image layout: everything that counts
/// trees/CHAIN/root                           unpacked layers, made again from blobs where missing
/// trees/CHAIN.lock                           shared while a program runs in the tree, exclusive to remove it
/// tmp/WORK                                   unfinished work; tmp/WORK.lock is held by its process
/// lock                                       shared to look names up, exclusive to change anything above
/// </code>
/// Lock order: <c>lock</c>, then <c>tmp/WORK.lock</c> or <c>trees/CHAIN.lock</c>; the latter two are waited for only in shared mode.
/// </summary>
internal sealed class StoreLayout(string directory)
{
    public const string ManifestMediaType = "application/vnd.oci.image.manifest.v1+json";
    public const string IndexMediaType = "application/vnd.oci.image.index.v1+json";
    public const string ConfigMediaType = "application/vnd.oci.image.config.v1+json";
    public const string NameAnnotation = "org.opencontainers.image.ref.name";
    private const string LayoutVersion = "1.0.0";

    /// <summary>Documents are small; a larger one is damaged or hostile.</summary>
    private const int MaxDocument = 4 << 20;

    public string Directory { get; } = directory;

    public string Blobs => Path.Combine(Directory, "blobs", "sha256");

    public string Trees => Path.Combine(Directory, "trees");

    public string Work => Path.Combine(Directory, "tmp");

    public string LockFile => Path.Combine(Directory, "lock");

    private string IndexFile => Path.Combine(Directory, "index.json");

    public string BlobFile(string digest) => Path.Combine(Blobs, Digest.Hex(digest));

    public string Tree(string chain) => Path.Combine(Trees, Digest.Hex(chain));

    /// <summary>The guest's root inside a tree's directory, which stays writable whatever mode the image gives its root.</summary>
    public static string RootOf(string tree) => Path.Combine(tree, "root");

    public string TreeLock(string chain) => Tree(chain) + ".lock";

    /// <summary>Makes what is missing of an empty store; refuses a directory that is something else.</summary>
    public void Create()
    {
        string marker = Path.Combine(Directory, "oci-layout");
        if (!File.Exists(marker))
        {
            System.IO.Directory.CreateDirectory(Directory);
            if (System.IO.Directory.EnumerateFileSystemEntries(Directory).Any(entry => Path.GetFileName(entry) is not ("blobs" or "trees" or "tmp" or "lock" or "index.json" or "oci-layout")))
                throw new ImageException($"cannot use '{Directory}' as an image store: it holds other files");
            System.IO.Directory.CreateDirectory(Blobs);
            System.IO.Directory.CreateDirectory(Trees);
            System.IO.Directory.CreateDirectory(Work);
            using var held = FileLock.Acquire(LockFile, shared: false);
            if (!File.Exists(IndexFile))
                WriteIndex(new OciIndex { MediaType = IndexMediaType });
            HostFiles.Replace(marker, Path.Combine(Work, "oci-layout"), JsonSerializer.SerializeToUtf8Bytes(new OciLayout { ImageLayoutVersion = LayoutVersion }, OciJson.Default.OciLayout));
            return;
        }

        CheckVersion();
    }

    /// <summary>Refuses a layout of another version.</summary>
    public void CheckVersion()
    {
        var layout = ReadFile(Path.Combine(Directory, "oci-layout"), OciJson.Default.OciLayout);
        if (layout.ImageLayoutVersion != LayoutVersion)
            throw new ImageException($"cannot use '{Directory}' as an image store: its layout has version '{layout.ImageLayoutVersion}', not {LayoutVersion}");
    }

    public OciIndex ReadIndex()
    {
        var index = ReadFile(IndexFile, OciJson.Default.OciIndex);
        foreach (var descriptor in index.Manifests)
            CheckDescriptor(descriptor, IndexFile);
        return index;
    }

    /// <summary>Replaces the index. The caller holds the store's lock exclusively.</summary>
    public void WriteIndex(OciIndex index) =>
        HostFiles.Replace(IndexFile, Path.Combine(Work, "index.json"), JsonSerializer.SerializeToUtf8Bytes(index, OciJson.Default.OciIndex));

    public OciManifest ReadManifest(OciDescriptor descriptor)
    {
        var manifest = ReadBlob(descriptor, OciJson.Default.OciManifest);
        CheckDescriptor(manifest.Config, BlobFile(descriptor.Digest));
        foreach (var layer in manifest.Layers)
            CheckDescriptor(layer, BlobFile(descriptor.Digest));
        return manifest;
    }

    public OciImageConfig ReadConfig(OciManifest manifest)
    {
        var config = ReadBlob(manifest.Config, OciJson.Default.OciImageConfig);
        if (config.Rootfs.DiffIds.Count != manifest.Layers.Count || !config.Rootfs.DiffIds.All(Digest.IsValid))
            throw new ImageException($"cannot read '{BlobFile(manifest.Config.Digest)}': its layers do not fit the manifest's");
        return config;
    }

    /// <summary>Reads a document whose digest is checked.</summary>
    public T ReadBlob<T>(OciDescriptor descriptor, JsonTypeInfo<T> type)
    {
        string path = BlobFile(descriptor.Digest);
        byte[] content = ReadDocument(path);
        if (content.Length != descriptor.Size || Digest.Of(content) != descriptor.Digest)
            throw new ImageException($"cannot read '{path}': its content does not have the digest {descriptor.Digest}");
        return Parse(content, path, type);
    }

    /// <summary>Reads a layer through and checks its size and digest.</summary>
    public void VerifyLayer(OciDescriptor layer)
    {
        string path = BlobFile(layer.Digest);
        try
        {
            using var file = File.OpenRead(path);
            using var hashing = new HashingStream(file);
            hashing.CopyTo(Stream.Null, 1 << 20);
            if (hashing.Count != layer.Size)
                throw new ImageException($"cannot use layer '{path}': it has {hashing.Count} bytes, not {layer.Size}");
            if (hashing.Digest() is var digest && digest != layer.Digest)
                throw new ImageException($"cannot use layer '{path}': digest mismatch (it is {digest})");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException($"cannot read layer '{path}': {HostFiles.Reason(e)}", e);
        }
    }

    private static void CheckDescriptor(OciDescriptor? descriptor, string where)
    {
        if (descriptor is null || !Digest.IsValid(descriptor.Digest) || descriptor.Size < 0)
            throw new ImageException($"cannot read '{where}': it names a blob without a valid digest and size");
    }

    private static T ReadFile<T>(string path, JsonTypeInfo<T> type) => Parse(ReadDocument(path), path, type);

    private static byte[] ReadDocument(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            if (file.Length > MaxDocument)
                throw new ImageException($"cannot read '{path}': it is too large for what it should be");
            var content = new byte[file.Length];
            file.ReadExactly(content);
            return content;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException($"cannot read '{path}': {HostFiles.Reason(e)}", e);
        }
    }

    private static T Parse<T>(byte[] content, string path, JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(content, type) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw new ImageException($"cannot read '{path}': it is damaged (line {e.LineNumber + 1 ?? 1})", e);
        }
    }
}
