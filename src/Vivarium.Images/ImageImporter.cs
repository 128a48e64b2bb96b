using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Vivarium.Images.Archives;
using Vivarium.Images.Host;

namespace Vivarium.Images;

/// <summary>Makes an image out of an archive, a directory or an OCI image layout.</summary>
/// <remarks>Everything is made in a work area and unpacked there once, which proves it; the store changes only in the last step, by
/// renames under its lock, the index last.</remarks>
internal sealed class ImageImporter(ImageStore store, ImportRequest request)
{
    private readonly StoreLayout _layout = store.Layout;
    private readonly List<LayerFile> _layers = [];
    private readonly Dictionary<string, string> _newBlobs = []; // digest -> file in the work area
    private readonly List<string> _notes = [];
    private OciImageConfig? _config;

    public ImportResult Run()
    {
        ImageName.Check(request.Name);
        using var work = WorkArea.Begin(_layout);
        if (request.Base is not null)
            AddBase(request.Base);
        string origin = request.Source == "-" ? "standard input" : request.Source;
        if (request.Source != "-" && Directory.Exists(request.Source))
        {
            if (File.Exists(Path.Combine(request.Source, "oci-layout")))
                AddLayout(work);
            else
                AddDirectory(work);
        }
        else
        {
            AddArchive(work, origin);
        }

        string tree = work.PathOf("tree");
        var (diffIds, notes) = LayerStack.Unpack(_layers, StoreLayout.RootOf(tree), request.Progress);
        _notes.AddRange(notes);
        return Commit(work, tree, diffIds);
    }

    private void AddBase(string name)
    {
        using var held = FileLock.Acquire(_layout.LockFile, shared: true);
        var manifest = _layout.ReadManifest(store.Find(name, "use"));
        _config = _layout.ReadConfig(manifest);
        for (int i = 0; i < manifest.Layers.Count; i++)
        {
            var layer = manifest.Layers[i];
            _layout.VerifyLayer(layer);
            _layers.Add(new LayerFile(_layout.BlobFile(layer.Digest), layer, _config.Rootfs.DiffIds[i], _layout.BlobFile(layer.Digest)));
        }
    }

    private void AddDirectory(WorkArea work)
    {
        string file = work.PathOf("layer");
        AddCompressed(file, request.Source, plain =>
        {
            var packer = DirectoryPacker.Pack(request.Source, plain, request.Progress is { } progress ? count => progress("packing", count) : null);
            _notes.AddRange(packer.Notes);
        });
    }

    private void AddArchive(WorkArea work, string origin)
    {
        string file = work.PathOf("layer");
        using var source = OpenSource();
        var head = new byte[Compression.HeadLength];
        int count = source.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        var kind = Compression.Detect(head.AsSpan(0, count));
        var whole = new HeadStream(head.AsMemory(0, count), source);
        if (kind is CompressionKind.None or CompressionKind.Xz)
        {
            // OCI knows no xz, and a plain archive is better compressed.
            AddCompressed(file, origin, plain =>
            {
                using var input = Compression.Decompress(whole, kind);
                Copy(input, plain);
            });
            return;
        }

        var (digest, size) = LayerStack.Read(origin, () =>
        {
            using var output = new FileStream(file, FileMode.CreateNew, FileAccess.Write);
            using var hashing = new HashingStream(output);
            Copy(whole, hashing);
            output.Flush(flushToDisk: true);
            return (hashing.Digest(), hashing.Count);
        });
        AddLayer(new LayerFile(file, Describe(Compression.LayerMediaType(kind), digest, size), null, origin));
    }

    private FileStream OpenSource()
    {
        try
        {
            return request.Source == "-"
                ? new FileStream(new Microsoft.Win32.SafeHandles.SafeFileHandle(0, ownsHandle: false), FileAccess.Read, 0)
                : new FileStream(request.Source, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new ImageException($"cannot import '{request.Source}': {HostFiles.Reason(e)}", e);
        }
    }

    private void Copy(Stream from, Stream to)
    {
        var buffer = new byte[256 * 1024];
        long total = 0;
        for (int count; (count = from.Read(buffer)) > 0;)
        {
            to.Write(buffer, 0, count);
            request.Progress?.Invoke("reading", total += count);
        }
    }

    /// <summary>Writes a layer with zstd, with the digests of both sides.</summary>
    private void AddCompressed(string file, string origin, Action<Stream> write)
    {
        var layer = LayerStack.Read(origin, () =>
        {
            using var output = new FileStream(file, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);
            using var outer = new HashingStream(output);
            using var compressor = new ZstdSharp.CompressionStream(outer, level: 3, leaveOpen: true);
            using var inner = new HashingStream(compressor);
            var buffered = new BufferedStream(inner, 1 << 17);
            write(buffered);
            buffered.Flush();
            string diffId = inner.Digest();
            compressor.Dispose();
            output.Flush(flushToDisk: true);
            return new LayerFile(file, Describe(Compression.LayerMediaType(CompressionKind.Zstd), outer.Digest(), outer.Count), diffId, origin);
        });
        AddLayer(layer);
    }

    private void AddLayer(LayerFile layer)
    {
        _layers.Add(layer);
        _newBlobs[layer.Descriptor.Digest] = layer.File;
    }

    /// <summary>Takes over an OCI image layout: for Linux on riscv64, or the only one there is.</summary>
    private void AddLayout(WorkArea work)
    {
        if (request.Base is not null)
            throw new ImageException($"cannot import '{request.Source}': it is a whole image, which --base does not go with");
        var from = new StoreLayout(request.Source);
        from.CheckVersion();
        var descriptor = Choose(from, from.ReadIndex(), depth: 0);
        var manifest = from.ReadManifest(descriptor);
        _config = from.ReadConfig(manifest);
        for (int i = 0; i < manifest.Layers.Count; i++)
        {
            var layer = manifest.Layers[i];
            from.VerifyLayer(layer);
            string file = work.PathOf("layer" + i), origin = from.BlobFile(layer.Digest);
            File.Copy(origin, file);
            from.VerifyLayer(layer);
            AddLayer(new LayerFile(file, Describe(layer.MediaType, layer.Digest, layer.Size), _config.Rootfs.DiffIds[i], origin));
        }
    }

    private OciDescriptor Choose(StoreLayout from, OciIndex index, int depth)
    {
        var fitting = index.Manifests.Where(m => m.Platform is { Architecture: "riscv64", OS: "linux" }).ToList();
        var all = index.Manifests.Where(m => m.Platform?.Architecture != "unknown").ToList();
        var chosen = fitting.Count >= 1 ? fitting[0] : all.Count == 1 ? all[0]
            : throw new ImageException($"cannot import '{request.Source}': {(all.Count == 0 ? "it holds no image" : "of its images none is for linux/riscv64")}");
        return chosen.MediaType == StoreLayout.IndexMediaType && depth < 4 ? Choose(from, from.ReadBlob(chosen, OciJson.Default.OciIndex), depth + 1) : chosen;
    }

    private ImportResult Commit(WorkArea work, string tree, List<string> diffIds)
    {
        var now = Now();
        var config = new OciImageConfig
        {
            Created = now,
            Architecture = _config?.Architecture ?? "riscv64",
            OS = _config?.OS ?? "linux",
            Config = Merge(_config?.Config, request.Config),
            Rootfs = new OciRootFs { DiffIds = diffIds },
            History = [.. _config?.History ?? [], new OciHistory { Created = now, CreatedBy = "viv image import" }],
        };
        var configDescriptor = AddDocument(work, "config", config, OciJson.Default.OciImageConfig, StoreLayout.ConfigMediaType);
        var manifest = new OciManifest { MediaType = StoreLayout.ManifestMediaType, Config = configDescriptor, Layers = [.. _layers.Select(layer => layer.Descriptor)] };
        var descriptor = AddDocument(work, "manifest", manifest, OciJson.Default.OciManifest, StoreLayout.ManifestMediaType) with
        {
            Platform = new OciPlatform { Architecture = config.Architecture, OS = config.OS },
            Annotations = new Dictionary<string, string> { [StoreLayout.NameAnnotation] = request.Name },
        };

        request.Progress?.Invoke("writing to disk", 0);
        HostFiles.SyncFileSystem(_layout.Directory);
        using (FileLock.Acquire(_layout.LockFile, shared: false))
        {
            // A base's blobs must still be there: it may have been removed meanwhile.
            foreach (var layer in _layers.Where(layer => !_newBlobs.ContainsKey(layer.Descriptor.Digest)))
            {
                if (!File.Exists(_layout.BlobFile(layer.Descriptor.Digest)))
                    throw new ImageException($"cannot import '{request.Source}': image '{request.Base}' was removed meanwhile");
            }

            foreach (var (digest, file) in _newBlobs)
                HostFiles.Rename(file, _layout.BlobFile(digest));
            string place = _layout.Tree(Digest.Chain(diffIds));
            if (!Directory.Exists(place))
                HostFiles.Rename(tree, place);
            var index = _layout.ReadIndex();
            _layout.WriteIndex(index with { Manifests = [.. index.Manifests.Where(m => ImageStore.NameOf(m) != request.Name), descriptor] });
            store.CollectGarbage();
        }

        return new ImportResult { Name = request.Name, Digest = descriptor.Digest, Size = manifest.Layers.Sum(layer => layer.Size), Notes = _notes };
    }

    private OciDescriptor AddDocument<T>(WorkArea work, string name, T document, JsonTypeInfo<T> type, string mediaType)
    {
        byte[] content = JsonSerializer.SerializeToUtf8Bytes(document, type);
        string file = work.PathOf(name);
        using (var stream = new FileStream(file, FileMode.CreateNew, FileAccess.Write))
        {
            stream.Write(content);
            stream.Flush(flushToDisk: true);
        }

        var descriptor = Describe(mediaType, Digest.Of(content), content.Length);
        _newBlobs[descriptor.Digest] = file;
        return descriptor;
    }

    private static OciDescriptor Describe(string mediaType, string digest, long size) => new() { MediaType = mediaType, Digest = digest, Size = size };

    private static OciProcessConfig Merge(OciProcessConfig? below, OciProcessConfig above)
    {
        var environment = new List<string>(below?.Env ?? []);
        foreach (string pair in above.Env ?? [])
        {
            string name = pair.Split('=')[0] + "=";
            environment.RemoveAll(old => old.StartsWith(name, StringComparison.Ordinal));
            environment.Add(pair);
        }

        return new OciProcessConfig
        {
            User = above.User ?? below?.User,
            Env = environment.Count > 0 ? environment : null,
            Entrypoint = above.Entrypoint ?? below?.Entrypoint,
            // A new entry point makes the old command's arguments meaningless.
            Cmd = above.Cmd ?? (above.Entrypoint is null ? below?.Cmd : null),
            WorkingDir = above.WorkingDir ?? below?.WorkingDir,
        };
    }

    /// <summary>Reproducible builds set the time.</summary>
    private static DateTimeOffset Now() =>
        long.TryParse(Environment.GetEnvironmentVariable("SOURCE_DATE_EPOCH"), out long epoch) && epoch is >= 0 and < 253402300800
            ? DateTimeOffset.FromUnixTimeSeconds(epoch)
            : DateTimeOffset.FromUnixTimeSeconds(DateTimeOffset.UtcNow.ToUnixTimeSeconds());
}
