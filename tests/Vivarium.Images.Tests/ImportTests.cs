namespace Vivarium.Images.Tests;

public sealed class ImportTests : IDisposable
{
    private readonly TemporaryDirectory _temporary = new();

    private ImageStore Store => ImageStore.Open(_temporary["store"]);

    public void Dispose() => _temporary.Dispose();

    private static Archive Small() => new Archive().Dir("./").Dir("./etc").File("./etc/os-release", "ID=test\n").Dir("./usr").Dir("./usr/bin")
        .File("./usr/bin/tool", "#!/bin/sh\n", 0x1ed).Link("./bin", "usr/bin").HardLink("./usr/bin/other", "./usr/bin/tool");

    private string Import(byte[] archive, string name = "test", string? lower = null)
    {
        string file = _temporary[Guid.NewGuid().ToString("N")];
        File.WriteAllBytes(file, archive);
        Store.Import(new ImportRequest { Source = file, Name = name, Base = lower });
        using var image = Store.Prepare(name);
        return image.Root;
    }

    private string Complaint(byte[] archive)
    {
        string file = _temporary["bad.tar"];
        File.WriteAllBytes(file, archive);
        var e = Assert.Throws<ImageException>(() => Store.Import(new ImportRequest { Source = file, Name = "bad" }));
        Assert.DoesNotContain('\n', e.Message);
        Assert.Empty(Store.List());
        Assert.Empty(Directory.EnumerateFileSystemEntries(_temporary["store/tmp"]));
        Assert.Empty(Directory.EnumerateFileSystemEntries(_temporary["store/trees"]));
        Assert.Empty(Directory.EnumerateFileSystemEntries(_temporary["store/blobs/sha256"]));
        return e.Message;
    }

    [Theory]
    [InlineData("tar")]
    [InlineData("gzip")]
    [InlineData("zstd")]
    [InlineData("xz")]
    public void Every_compression_gives_the_same_tree(string kind)
    {
        byte[] plain = Small().Bytes();
        string root = Import(kind switch { "gzip" => Archive.Gzip(plain), "zstd" => Archive.Zstd(plain), "xz" => Archive.Xz(plain), _ => plain });
        Assert.Equal("ID=test\n", File.ReadAllText(Path.Combine(root, "etc/os-release")));
        Assert.Equal("usr/bin", new FileInfo(Path.Combine(root, "bin")).LinkTarget);
        Assert.Equal("#!/bin/sh\n", File.ReadAllText(Path.Combine(root, "bin/other")));
        Assert.True(File.GetUnixFileMode(Path.Combine(root, "usr/bin/tool")).HasFlag(UnixFileMode.UserExecute));
        Assert.Equal(DateTime.UnixEpoch.AddSeconds(1_700_000_000), File.GetLastWriteTimeUtc(Path.Combine(root, "usr/bin")));
        Store.Verify("test");
    }

    [Fact]
    public void A_directory_comes_back_as_it_was()
    {
        string source = _temporary["source"];
        Directory.CreateDirectory(Path.Combine(source, "a/b"));
        string longName = new string('n', 200);
        File.WriteAllText(Path.Combine(source, "a/b", longName), "long");
        File.WriteAllText(Path.Combine(source, "a/x"), "");
        File.SetUnixFileMode(Path.Combine(source, "a/x"), UnixFileMode.UserRead | UnixFileMode.SetUser);
        File.CreateSymbolicLink(Path.Combine(source, "link"), "/nowhere/" + longName);
        File.SetLastWriteTimeUtc(Path.Combine(source, "a/x"), DateTime.UnixEpoch.AddTicks(12_345_678_901));
        File.SetUnixFileMode(Path.Combine(source, "a/b"), UnixFileMode.UserRead | UnixFileMode.UserExecute);
        var first = Store.Import(new ImportRequest { Source = source, Name = "one" });
        using (var image = Store.Prepare("one"))
            Assert.Equal(TemporaryDirectory.Files(source), TemporaryDirectory.Files(image.Root));
        // The same tree gives the same layer: nothing is stored twice.
        Store.Import(new ImportRequest { Source = source, Name = "two" });
        Assert.Equal(Store.Inspect("one").Manifest.Layers[0].Digest, Store.Inspect("two").Manifest.Layers[0].Digest);
        Assert.Single(Directory.EnumerateDirectories(_temporary["store/trees"]));
        Assert.Equal(first.Digest, Store.Inspect("one").Digest);
    }

    [Fact]
    public void Names_that_are_no_text_survive()
    {
        byte[] archive = new Archive().File("a__b", "x").Bytes();
        int at = archive.AsSpan().IndexOf("a__b"u8);
        (archive[at + 1], archive[at + 2]) = (0xe9, 0xff);
        // The checksum knows the sum alone: two underscores against these two bytes.
        int sum = Convert.ToInt32(System.Text.Encoding.ASCII.GetString(archive, 148, 6), 8) - 2 * '_' + 0xe9 + 0xff;
        System.Text.Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0')).CopyTo(archive, 148);
        string root = Import(archive);
        using var directory = Host.Descriptor.Open(root, Host.Libc.O_RDONLY | Host.Libc.O_DIRECTORY);
        Assert.Equal([(byte)'a', 0xe9, 0xff, (byte)'b', 0], Assert.Single(directory.ReadNames()));
    }

    [Fact]
    public void Symlinks_absolute_names_and_dots_stay_inside()
    {
        string outside = _temporary["outside"];
        Directory.CreateDirectory(outside);
        string root = Import(new Archive().Link("out", outside).Link("up", "../../../../../../../..").Link("self", ".")
            .Dir(outside.TrimStart('/')).File("out/planted").File("up/top").File("/absolute").File("self/here").Bytes());
        Assert.Empty(Directory.EnumerateFileSystemEntries(outside));
        Assert.True(File.Exists(Path.Combine(root, outside.TrimStart('/'), "planted")));
        Assert.True(File.Exists(Path.Combine(root, "top")));
        Assert.True(File.Exists(Path.Combine(root, "absolute")));
        Assert.True(File.Exists(Path.Combine(root, "here")));
    }

    [Fact]
    public void Writing_over_a_symlink_replaces_it()
    {
        string victim = _temporary["victim"];
        File.WriteAllText(victim, "safe");
        string root = Import(new Archive().Link("x", victim).File("x", "new").Bytes());
        Assert.Equal("safe", File.ReadAllText(victim));
        Assert.Equal("new", File.ReadAllText(Path.Combine(root, "x")));
    }

    [Fact]
    public void A_hard_link_cannot_take_a_file_from_outside()
    {
        string victim = _temporary["victim"];
        File.WriteAllText(victim, "secret");
        Assert.Contains("which is not there", Complaint(new Archive().Link("out", _temporary.Path).HardLink("taken", "out/victim").Bytes()));
        Assert.Contains("leads out of the image", Complaint(new Archive().HardLink("taken", "../../victim").Bytes()));
        Assert.Contains("leads out of the image", Complaint(new Archive().File("../planted").Bytes()));
        Assert.Contains("leads out of the image", Complaint(new Archive().File("a/../../planted").Bytes()));
    }

    [Fact]
    public void Layers_hide_files_of_those_below()
    {
        Import(new Archive().Dir("d").File("d/old").File("d/kept", "1").Dir("o").File("o/old").Dir("o/deep").File("o/deep/old").File("f").Bytes(), "base");
        string root = Import(new Archive().File("d/.wh.old", "").File("o/new").File("o/deep/new").File("o/.wh..wh..opq", "").File(".wh.f", "").File("d/kept", "2").Bytes(), "top", "base");
        Assert.Equal(["d", "d/kept", "o", "o/deep", "o/deep/new", "o/new"], TemporaryDirectory.Files(root).Keys);
        Assert.Equal("2", File.ReadAllText(Path.Combine(root, "d/kept")));
        using var lower = Store.Prepare("base");
        Assert.True(File.Exists(Path.Combine(lower.Root, "o/deep/old")));
    }

    [Fact]
    public void Damaged_archives_are_named_with_the_reason()
    {
        byte[] plain = Small().Bytes(), gzip = Archive.Gzip(plain), zstd = Archive.Zstd(plain), xz = Archive.Xz(plain);
        Assert.Contains("bad.tar': it is empty", Complaint([]));
        Assert.Contains("it is not a tar archive", Complaint("hello"u8.ToArray()));
        Assert.Contains("it is not a tar archive", Complaint([.. Enumerable.Repeat((byte)'x', 4096)]));
        Assert.Contains("it is truncated", Complaint(plain[..1536]));
        Assert.Contains("it is truncated", Complaint(plain[..1700]));
        Assert.Contains("it is truncated", Complaint(gzip[..^20]));
        Assert.Contains("it is truncated", Complaint(zstd[..^20]));
        Assert.Contains("cannot read archive", Complaint(xz[..^40]));
        byte[] wrong = (byte[])plain.Clone();
        wrong[513] ^= 1;
        Assert.Contains("a header's checksum is wrong", Complaint(wrong));
        byte[] flipped = (byte[])xz.Clone();
        flipped[2000] ^= 1;
        Complaint(flipped);
    }

    [Fact]
    public void What_cannot_be_read_is_named()
    {
        string Message(string source) => Assert.Throws<ImageException>(() => Store.Import(new ImportRequest { Source = source, Name = "x" })).Message;
        Assert.Equal($"cannot import '{_temporary["none"]}': No such file or directory", Message(_temporary["none"]));
        Assert.Contains("use letters, digits", Assert.Throws<ImageException>(() => Store.Import(new ImportRequest { Source = ".", Name = "../x" })).Message);
        Assert.Contains("cannot use image 'nobody'", Assert.Throws<ImageException>(() => Store.Import(new ImportRequest { Source = Small().Save(_temporary["s.tar"]), Name = "x", Base = "nobody" })).Message);
    }

    [Fact]
    public void The_configuration_is_kept_and_inherited()
    {
        Store.Import(new ImportRequest { Source = Small().Save(_temporary["s.tar"]), Name = "a", Config = new OciProcessConfig { Env = ["A=1", "B=2"], Cmd = ["sh"], WorkingDir = "/etc", User = "1:2" } });
        Store.Import(new ImportRequest { Source = Small().Save(_temporary["t.tar"]), Name = "b", Base = "a", Config = new OciProcessConfig { Env = ["B=3"], Entrypoint = ["/bin/e"] } });
        using var a = Store.Prepare("a");
        using var b = Store.Prepare("b");
        Assert.Equal(["A=1", "B=2"], a.Config.Env!);
        Assert.Equal(["sh"], a.Config.Cmd!);
        Assert.Equal(["A=1", "B=3"], b.Config.Env!);
        Assert.Equal(["/bin/e"], b.Config.Entrypoint!);
        Assert.Null(b.Config.Cmd);
        Assert.Equal(("/etc", "1:2"), (b.Config.WorkingDir, b.Config.User));
    }
}
