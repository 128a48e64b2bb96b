using System.Text.Json.Nodes;

namespace Vivarium.Images.Tests;

public sealed class StoreTests : IDisposable
{
    private readonly TemporaryDirectory _temporary = new();

    private string StorePath => _temporary["store"];

    private ImageStore Store => ImageStore.Open(StorePath);

    public void Dispose() => _temporary.Dispose();

    private void Import(string name, string content) =>
        Store.Import(new ImportRequest { Source = new Archive().File("f", content).Save(_temporary["a.tar"]), Name = name });

    private string LayerBlob(string name) => Path.Combine(StorePath, "blobs/sha256", Store.Inspect(name).Manifest.Layers[0].Digest[7..]);

    [Fact]
    public void Importing_listing_and_removing()
    {
        Assert.Empty(Store.List());
        Import("b", "1");
        Import("a", "2");
        Assert.Equal(["a", "b"], Store.List().Select(s => s.Name));
        Import("a", "3");
        Assert.Equal(2, Store.List().Count);
        using (var image = Store.Prepare("a"))
            Assert.Equal("3", File.ReadAllText(Path.Combine(image.Root, "f")));
        Assert.Equal(2, Directory.GetDirectories(Path.Combine(StorePath, "trees")).Length);
        Store.Remove("a");
        Store.Remove("b");
        Assert.Empty(Store.List());
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(StorePath, "blobs/sha256")));
        Assert.Empty(Directory.EnumerateDirectories(Path.Combine(StorePath, "trees")));
        Assert.Contains("cannot remove image 'a': there is none", Assert.Throws<ImageException>(() => Store.Remove("a")).Message);
    }

    [Fact]
    public void The_store_is_an_OCI_image_layout()
    {
        Import("a", "1");
        Assert.Equal("1.0.0", JsonNode.Parse(File.ReadAllText(Path.Combine(StorePath, "oci-layout")))!["imageLayoutVersion"]!.GetValue<string>());
        var manifest = JsonNode.Parse(File.ReadAllText(Path.Combine(StorePath, "index.json")))!["manifests"]![0]!;
        Assert.Equal("a", manifest["annotations"]!["org.opencontainers.image.ref.name"]!.GetValue<string>());
        Assert.Equal("riscv64", manifest["platform"]!["architecture"]!.GetValue<string>());
        foreach (string blob in Directory.EnumerateFiles(Path.Combine(StorePath, "blobs/sha256")))
            Assert.Equal(Path.GetFileName(blob), Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(blob))));
        // And another store takes it over whole.
        var other = ImageStore.Open(_temporary["other"]);
        other.Import(new ImportRequest { Source = StorePath, Name = "copy" });
        using var image = other.Prepare("copy");
        Assert.Equal("1", File.ReadAllText(Path.Combine(image.Root, "f")));
    }

    [Fact]
    public void A_damaged_layer_is_refused()
    {
        Import("a", "1");
        string blob = LayerBlob("a");
        byte[] content = File.ReadAllBytes(blob);
        content[^1] ^= 1;
        File.WriteAllBytes(blob, content);
        Assert.Contains("digest mismatch", Assert.Throws<ImageException>(() => Store.Verify("a")).Message);
        Assert.Contains("digest mismatch", Assert.Throws<ImageException>(() => ImageStore.Open(_temporary["other"]).Import(new ImportRequest { Source = StorePath, Name = "copy" })).Message);
        // The tree that is there is whole; only making it again needs the layer.
        Store.Prepare("a").Dispose();
        Directory.Delete(Directory.GetDirectories(Path.Combine(StorePath, "trees"))[0], recursive: true);
        Assert.Contains("digest mismatch", Assert.Throws<ImageException>(() => Store.Prepare("a")).Message);
        File.WriteAllBytes(blob, content[..^1]);
        Assert.Contains("bytes, not", Assert.Throws<ImageException>(() => Store.Prepare("a")).Message);
        File.Delete(blob);
        Assert.Contains("cannot read layer", Assert.Throws<ImageException>(() => Store.Prepare("a")).Message);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(StorePath, "tmp")));
    }

    [Fact]
    public void A_missing_tree_is_made_again()
    {
        Import("a", "1");
        Directory.Delete(Directory.GetDirectories(Path.Combine(StorePath, "trees"))[0], recursive: true);
        Assert.Null(Store.Inspect("a").Tree);
        using var image = Store.Prepare("a");
        Assert.Equal("1", File.ReadAllText(Path.Combine(image.Root, "f")));
    }

    [Theory]
    [InlineData("{")]
    [InlineData("null")]
    [InlineData("{\"schemaVersion\":2,\"manifests\":[null]}")]
    [InlineData("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"m\",\"digest\":\"sha256:../../x\",\"size\":1}]}")]
    [InlineData("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"m\",\"size\":1}]}")]
    public void A_damaged_index_is_refused(string index)
    {
        Import("a", "1");
        File.WriteAllText(Path.Combine(StorePath, "index.json"), index);
        Assert.Contains("index.json", Assert.Throws<ImageException>(() => Store.List()).Message);
        Assert.Contains("index.json", Assert.Throws<ImageException>(() => Store.Prepare("a")).Message);
    }

    [Fact]
    public void A_damaged_manifest_is_shown_and_costs_no_other_image()
    {
        Import("a", "1");
        Import("b", "2");
        File.WriteAllText(Path.Combine(StorePath, "blobs/sha256", Store.Inspect("a").Digest[7..]), "{}");
        Assert.Contains("does not have the digest", Store.List()[0].Damage);
        Assert.Null(Store.List()[1].Damage);
        Store.Remove("a");
        Store.Verify("b");
    }

    [Fact]
    public void An_image_in_use_stays()
    {
        Import("a", "1");
        using (var image = Store.Prepare("a"))
        {
            Assert.Contains("a program is running in it", Assert.Throws<ImageException>(() => Store.Remove("a")).Message);
            // Replacing the name leaves the running program its tree.
            Import("a", "2");
            Assert.Equal("1", File.ReadAllText(Path.Combine(image.Root, "f")));
        }

        Store.Remove("a");
        Assert.Empty(Directory.EnumerateDirectories(Path.Combine(StorePath, "trees")));
    }

    [Fact]
    public void Work_of_dead_processes_is_removed_and_that_of_living_ones_kept()
    {
        Import("a", "1");
        Directory.CreateDirectory(Path.Combine(StorePath, "tmp/dead/x"));
        using var living = WorkArea.Begin(Store.Layout);
        Assert.False(Directory.Exists(Path.Combine(StorePath, "tmp/dead")));
        Import("b", "2");
        Assert.True(Directory.Exists(living.Directory));
    }

    [Fact]
    public void Many_at_once_leave_a_whole_store()
    {
        var files = Enumerable.Range(0, 8).Select(i => new Archive().File("f", "c" + i % 4).Save(_temporary[$"{i}.tar"])).ToArray();
        Parallel.For(0, 32, i =>
        {
            Store.Import(new ImportRequest { Source = files[i % 8], Name = "n" + i % 8 });
            try
            {
                using var image = Store.Prepare("n" + (i + 3) % 8);
                Assert.Equal("c" + (i + 3) % 4, File.ReadAllText(Path.Combine(image.Root, "f")));
                Store.Remove("n" + (i + 5) % 8);
            }
            catch (ImageException e)
            {
                Assert.Matches("there is none of that name|a program is running", e.Message);
            }
        });
        foreach (var image in Store.List())
            Store.Verify(image.Name);
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(StorePath, "tmp")));
    }

    [Fact]
    public void Another_directory_is_not_taken_for_a_store()
    {
        Directory.CreateDirectory(StorePath);
        File.WriteAllText(Path.Combine(StorePath, "precious"), "");
        Assert.Contains("it holds other files", Assert.Throws<ImageException>(() => Store).Message);
        File.WriteAllText(_temporary["file"], "");
        Assert.Contains("cannot open the image store", Assert.Throws<ImageException>(() => ImageStore.Open(_temporary["file/x"])).Message);
    }
}
