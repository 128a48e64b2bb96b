using Vivarium.Images.Host;

namespace Vivarium.Images;

/// <summary>Images on this machine: an OCI image layout with the trees unpacked from it.</summary>
/// <remarks>Any number of processes and threads may use one store at once. Every change is atomic: a crash at any moment leaves the old
/// or the new. All methods throw <see cref="ImageException"/> with one line for people.</remarks>
public sealed class ImageStore
{
    private ImageStore(StoreLayout layout) => Layout = layout;

    internal StoreLayout Layout { get; }

    /// <summary>The store's directory.</summary>
    public string Directory => Layout.Directory;

    /// <summary>Where the store is unless told otherwise: <c>$VIV_STORE</c>, else <c>$XDG_DATA_HOME/vivarium</c>, else
    /// <c>~/.local/share/vivarium</c>.</summary>
    public static string DefaultDirectory
    {
        get
        {
            if (Environment.GetEnvironmentVariable("VIV_STORE") is { Length: > 0 } store)
                return store;
            string? data = Environment.GetEnvironmentVariable("XDG_DATA_HOME");
            if (data is not { Length: > 0 } || !Path.IsPathRooted(data))
                data = Path.Combine(Environment.GetEnvironmentVariable("HOME") is { Length: > 0 } home ? home : "/", ".local/share");
            return Path.Combine(data, "vivarium");
        }
    }

    /// <summary>Opens a store, and makes it where there is none.</summary>
    public static ImageStore Open(string? directory)
    {
        string path = Path.GetFullPath(directory ?? DefaultDirectory);
        var layout = new StoreLayout(path);
        try
        {
            layout.Create();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException($"cannot open the image store '{path}': {HostFiles.Reason(e)}", e);
        }

        return new ImageStore(layout);
    }

    /// <summary>Makes an image, or replaces the one of that name.</summary>
    public ImportResult Import(ImportRequest request)
    {
        try
        {
            return new ImageImporter(this, request).Run();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ImageException($"cannot import '{request.Source}': {HostFiles.Reason(e)}", e);
        }
    }

    /// <summary>All images by name.</summary>
    public IReadOnlyList<ImageSummary> List()
    {
        using var held = FileLock.Acquire(Layout.LockFile, shared: true);
        return [.. Layout.ReadIndex().Manifests.Where(m => NameOf(m) is not null).Select(Summarise).OrderBy(s => s.Name, StringComparer.Ordinal)];
    }

    /// <summary>All about one image.</summary>
    public ImageDetails Inspect(string name)
    {
        using var held = FileLock.Acquire(Layout.LockFile, shared: true);
        var descriptor = Find(name, "inspect");
        var manifest = Layout.ReadManifest(descriptor);
        var config = Layout.ReadConfig(manifest);
        string tree = Layout.Tree(Digest.Chain(config.Rootfs.DiffIds));
        return new ImageDetails { Name = name, Digest = descriptor.Digest, Manifest = manifest, Config = config, Tree = System.IO.Directory.Exists(tree) ? StoreLayout.RootOf(tree) : null };
    }

    /// <summary>Reads an image's blobs through and compares all digests.</summary>
    public void Verify(string name)
    {
        using var held = FileLock.Acquire(Layout.LockFile, shared: true);
        var manifest = Layout.ReadManifest(Find(name, "verify"));
        Layout.ReadConfig(manifest);
        foreach (var layer in manifest.Layers)
            Layout.VerifyLayer(layer);
    }

    /// <summary>Removes an image and what only it used. Refuses while a program runs in it.</summary>
    public void Remove(string name)
    {
        using var held = FileLock.Acquire(Layout.LockFile, shared: false);
        var descriptor = Find(name, "remove");
        var index = Layout.ReadIndex();
        string? chain = TryChain(descriptor);
        bool shared = index.Manifests.Any(m => NameOf(m) != name && TryChain(m) == chain);
        if (chain is not null && !shared)
        {
            using var use = FileLock.TryAcquire(Layout.TreeLock(chain), shared: false)
                ?? throw new ImageException($"cannot remove image '{name}': a program is running in it");
        }

        Layout.WriteIndex(index with { Manifests = [.. index.Manifests.Where(m => NameOf(m) != name)] });
        CollectGarbage();
    }

    /// <summary>Gives an image's tree to run in, unpacking it where it is not there. It stays until the result is disposed of.</summary>
    public RunnableImage Prepare(string name)
    {
        for (; ; )
        {
            using (FileLock.Acquire(Layout.LockFile, shared: true))
            {
                var manifest = Layout.ReadManifest(Find(name, "run"));
                var config = Layout.ReadConfig(manifest);
                string chain = Digest.Chain(config.Rootfs.DiffIds);
                if (System.IO.Directory.Exists(Layout.Tree(chain)))
                    return new RunnableImage(name, StoreLayout.RootOf(Layout.Tree(chain)), config.Config ?? new OciProcessConfig(), FileLock.Acquire(Layout.TreeLock(chain), shared: true), Layout);
            }

            Unpack(name);
        }
    }

    /// <summary>The descriptor of a name. The caller holds the store's lock.</summary>
    internal OciDescriptor Find(string name, string verb) =>
        Layout.ReadIndex().Manifests.FirstOrDefault(m => NameOf(m) == name)
        ?? throw new ImageException($"cannot {verb} image '{name}': there is none of that name (viv image ls)");

    internal static string? NameOf(OciDescriptor descriptor) => descriptor.Annotations?.GetValueOrDefault(StoreLayout.NameAnnotation);

    /// <summary>Removes blobs and trees that no image names. The caller holds the store's lock exclusively.</summary>
    /// <remarks>Where any image cannot be read nothing is removed: what it needs is not known. Trees in use stay until next time.</remarks>
    internal void CollectGarbage()
    {
        var blobs = new HashSet<string>();
        var trees = new HashSet<string>();
        foreach (var descriptor in Layout.ReadIndex().Manifests)
        {
            if (TryChain(descriptor) is not { } chain)
                return;
            var manifest = Layout.ReadManifest(descriptor);
            blobs.UnionWith([Digest.Hex(descriptor.Digest), Digest.Hex(manifest.Config.Digest), .. manifest.Layers.Select(layer => Digest.Hex(layer.Digest))]);
            trees.Add(Digest.Hex(chain));
        }

        foreach (string blob in System.IO.Directory.EnumerateFiles(Layout.Blobs).ToList())
        {
            if (!blobs.Contains(Path.GetFileName(blob)))
                File.Delete(blob);
        }

        foreach (string tree in System.IO.Directory.EnumerateDirectories(Layout.Trees).ToList())
        {
            if (trees.Contains(Path.GetFileName(tree)))
                continue;
            using var use = FileLock.TryAcquire(tree + ".lock", shared: false);
            if (use is null)
                continue;
            // A half-removed tree must never pass for a whole one.
            string gone = Path.Combine(Layout.Work, "gone-" + Guid.NewGuid().ToString("N"));
            HostFiles.Rename(tree, gone);
            HostFiles.RemoveTree(gone);
            File.Delete(tree + ".lock");
        }
    }

    private void Unpack(string name)
    {
        using var work = WorkArea.Begin(Layout);
        var details = Inspect(name);
        var layers = new List<LayerFile>();
        for (int i = 0; i < details.Manifest.Layers.Count; i++)
        {
            var layer = details.Manifest.Layers[i];
            Layout.VerifyLayer(layer);
            layers.Add(new LayerFile(Layout.BlobFile(layer.Digest), layer, details.Config.Rootfs.DiffIds[i], Layout.BlobFile(layer.Digest)));
        }

        string tree = work.PathOf("tree");
        LayerStack.Unpack(layers, StoreLayout.RootOf(tree), null);
        HostFiles.SyncFileSystem(Layout.Directory);
        using var held = FileLock.Acquire(Layout.LockFile, shared: false);
        string place = Layout.Tree(Digest.Chain(details.Config.Rootfs.DiffIds));
        if (!System.IO.Directory.Exists(place))
            HostFiles.Rename(tree, place);
    }

    private string? TryChain(OciDescriptor descriptor)
    {
        try
        {
            return Digest.Chain(Layout.ReadConfig(Layout.ReadManifest(descriptor)).Rootfs.DiffIds);
        }
        catch (ImageException)
        {
            return null;
        }
    }

    private ImageSummary Summarise(OciDescriptor descriptor)
    {
        string name = NameOf(descriptor)!;
        try
        {
            var manifest = Layout.ReadManifest(descriptor);
            var config = Layout.ReadConfig(manifest);
            return new ImageSummary
            {
                Name = name,
                Digest = descriptor.Digest,
                Created = config.Created,
                Layers = manifest.Layers.Count,
                Size = manifest.Layers.Sum(layer => layer.Size),
                Architecture = config.Architecture,
            };
        }
        catch (ImageException e)
        {
            return new ImageSummary { Name = name, Digest = descriptor.Digest, Damage = e.Message };
        }
    }
}
