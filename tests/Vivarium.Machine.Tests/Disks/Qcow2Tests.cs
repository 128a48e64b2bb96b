using System.Buffers.Binary;
using Vivarium.Host;
using Vivarium.Machine.Disks;
using Vivarium.Machine.Disks.Qcow2;

namespace Vivarium.Machine.Tests.Disks;

public sealed class Qcow2Tests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("viv-qcow2-").FullName;

    public void Dispose() => Directory.Delete(_directory, true);

    private string At(string name) => Path.Combine(_directory, name);

    private static byte[] ReadAll(DiskImage image)
    {
        var bytes = new byte[image.Length];
        Assert.Equal(0, image.Read(0, bytes));
        return bytes;
    }

    /// <summary>Random operations on an image and on an array.</summary>
    private static void Exercise(DiskImage image, byte[] model, Random random, int rounds, int longest)
    {
        for (var round = 0; round < rounds; round++)
        {
            var offset = random.Next(model.Length / 512) * 512;
            var length = Math.Min(random.Next(1, longest / 512 + 1) * 512, model.Length - offset);
            switch (random.Next(8))
            {
                case 0:
                    Assert.Equal(0, image.WriteZeroes((ulong)offset, (ulong)length, random.Next(2) == 0));
                    model.AsSpan(offset, length).Clear();
                    break;
                case 1:
                    Assert.Equal(0, image.Discard((ulong)offset, (ulong)length));
                    Assert.Equal(0, image.Read((ulong)offset, model.AsSpan(offset, length))); // zero, or as before
                    break;
                case 2: Assert.Equal(0, image.Flush()); break;
                case 3:
                    var read = new byte[length];
                    Assert.Equal(0, image.Read((ulong)offset, read));
                    Assert.True(model.AsSpan(offset, length).SequenceEqual(read));
                    break;
                default:
                    random.NextBytes(model.AsSpan(offset, length));
                    Assert.Equal(0, image.Write((ulong)offset, model.AsSpan(offset, length)));
                    break;
            }
        }
    }

    [Fact]
    public void OurImagesAreValid()
    {
        var path = At("new.qcow2");
        Qcow2Image.Create(path, 100 << 20);
        QemuImg.Check(path);
        var model = new byte[100 << 20];
        using (var image = Qcow2Image.Open(path, false)) Exercise(image, model, new Random(1), 300, 1 << 20);
        QemuImg.Check(path);
        using (var image = Qcow2Image.Open(path, true))
        {
            Assert.True(model.AsSpan().SequenceEqual(ReadAll(image)));
            Assert.Equal(-30, image.Write(0, new byte[512]));
        }
        Assert.Throws<DiskException>(() => Qcow2Image.Create(path, 1 << 20));
    }

    [Theory]
    [InlineData("compat=v3")]
    [InlineData("compat=0.10")]
    [InlineData("compat=v3,cluster_size=512,refcount_bits=1")]
    [InlineData("compat=v3,cluster_size=512,refcount_bits=64")]
    [InlineData("compat=v3,cluster_size=4096,refcount_bits=8")]
    [InlineData("compat=v3,cluster_size=2M,refcount_bits=32")]
    [InlineData("compat=v3,preallocation=metadata,lazy_refcounts=on")]
    public void AgreesWithQemuImg(string options)
    {
        if (!QemuImg.IsThere) return;
        var (path, raw) = (At("image.qcow2"), At("image.raw"));
        const int size = (12 << 20) + 512 * 3;
        QemuImg.Run("create", "-q", "-f", "qcow2", "-o", options, path, size.ToString());
        var model = new byte[size];
        var random = new Random(options.Length);
        for (var round = 0; round < 3; round++)
        {
            using (var image = Qcow2Image.Open(path, false))
            {
                Assert.Equal((ulong)size, image.Length);
                Exercise(image, model, random, 150, 300_000);
            }
            QemuImg.Check(path);
            File.WriteAllBytes(raw, model);
            QemuImg.Run("compare", "-f", "qcow2", "-F", "raw", path, raw);
        }
    }

    [Theory]
    [InlineData("raw", "compat=v3")]
    [InlineData("qcow2", "compat=v3")]
    [InlineData("qcow2", "compat=0.10")]
    public void BackingImagesShowThrough(string format, string options)
    {
        if (!QemuImg.IsThere) return;
        var (raw, below, path) = (At("below.raw"), At("below"), At("image.qcow2"));
        var model = new byte[5 << 20];
        new Random(1).NextBytes(model);
        File.WriteAllBytes(raw, model);
        if (format == "raw") File.Copy(raw, below);
        else QemuImg.Run("convert", "-f", "raw", "-O", "qcow2", raw, below);
        // Larger than what is below: the rest reads as zero.
        QemuImg.Run("create", "-q", "-f", "qcow2", "-o", options, "-b", "below", "-F", format, path, "7M");
        Array.Resize(ref model, 7 << 20);
        var before = File.ReadAllBytes(below);
        using (var image = Qcow2Image.Open(path, false))
        {
            Assert.True(model.AsSpan().SequenceEqual(ReadAll(image)));
            Exercise(image, model, new Random(2), 200, 200_000);
        }
        QemuImg.Check(path);
        File.WriteAllBytes(raw, model);
        QemuImg.Run("compare", "-f", "qcow2", "-F", "raw", path, raw);
        Assert.True(before.AsSpan().SequenceEqual(File.ReadAllBytes(below)));
    }

    [Theory]
    [InlineData("zlib")]
    [InlineData("zstd")]
    public void CompressedClustersAreReadAndReplaced(string type)
    {
        if (!QemuImg.IsThere) return;
        var (raw, path) = (At("image.raw"), At("image.qcow2"));
        var model = new byte[4 << 20];
        var random = new Random(3);
        for (var i = 0; i < model.Length; i++) model[i] = (byte)(random.Next(4) == 0 ? random.Next(256) : i >> 12);
        File.WriteAllBytes(raw, model);
        QemuImg.Run("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", $"compression_type={type}", raw, path);
        using (var image = Qcow2Image.Open(path, false))
        {
            Assert.True(model.AsSpan().SequenceEqual(ReadAll(image)));
            Exercise(image, model, random, 60, 100_000);
        }
        QemuImg.Check(path);
        File.WriteAllBytes(raw, model);
        QemuImg.Run("compare", "-f", "qcow2", "-F", "raw", path, raw);
    }

    [Fact]
    public void SnapshotsKeepWhatTheyHold()
    {
        if (!QemuImg.IsThere) return;
        var (raw, path) = (At("image.raw"), At("image.qcow2"));
        var model = new byte[6 << 20];
        new Random(4).NextBytes(model);
        File.WriteAllBytes(raw, model);
        QemuImg.Run("convert", "-f", "raw", "-O", "qcow2", raw, path);
        QemuImg.Run("snapshot", "-c", "before", path);
        using (var image = Qcow2Image.Open(path, false)) Exercise(image, (byte[])model.Clone(), new Random(5), 100, 200_000);
        QemuImg.Check(path);
        QemuImg.Run("snapshot", "-a", "before", path);
        QemuImg.Run("compare", "-f", "qcow2", "-F", "raw", path, raw);
    }

    // Remembers what reached the file, and between which durability points.
    private sealed class Recorder(HostFile file, List<(ulong Offset, byte[]? Bytes)> log) : ImageFile(file)
    {
        public override int Write(ulong offset, ReadOnlySpan<byte> source)
        {
            log.Add((offset, source.ToArray()));
            return base.Write(offset, source);
        }

        public override int Sync()
        {
            log.Add((0, null));
            return base.Sync();
        }

        public override int PunchHole(ulong offset, ulong length)
        {
            log.Add((offset, new byte[length]));
            return base.PunchHole(offset, length);
        }
    }

    [Theory]
    [InlineData(false)] // the process is killed: writes are a prefix
    [InlineData(true)] // the host loses power: of the writes since the last sync, any may be missing
    public void IsConsistentAfterACrashAtAnyMoment(bool power)
    {
        var (path, crashed) = (At("image.qcow2"), At("crashed.qcow2"));
        const int size = 8 << 20, half = size / 2;
        if (QemuImg.IsThere) QemuImg.Run("create", "-q", "-f", "qcow2", "-o", "cluster_size=4096,refcount_bits=16", path, size.ToString());
        else Qcow2Image.Create(path, size);
        var start = File.ReadAllBytes(path);
        var log = new List<(ulong Offset, byte[]? Bytes)>();
        var flushed = new List<(int Position, byte[] Model)>();
        var model = new byte[size];
        using (var image = Qcow2Image.Open(path, false, 0, file => new Recorder(file, log)))
        {
            // The second half is written once, flushed, and left alone: it must survive everything later.
            var random = new Random(6);
            for (var at = half; at < size; at += 64 << 10)
            {
                random.NextBytes(model.AsSpan(at, 5000));
                Assert.Equal(0, image.Write((ulong)at, model.AsSpan(at, 5000)));
            }
            Assert.Equal(0, image.Flush());
            flushed.Add((log.Count, (byte[])model.Clone()));
            var first = new byte[half];
            for (var round = 0; round < 20; round++) Exercise(image, first, random, 10, 50_000);
        }
        var moments = new Random(7);
        for (var moment = 0; moment < 25; moment++)
        {
            var end = moments.Next(log.Count + 1);
            // Mostly just before a sync, when the most is at stake.
            if (moment % 4 != 0 && log.FindIndex(Math.Min(end, log.Count - 1), entry => entry.Bytes == null) is >= 0 and var sync) end = sync;
            var lastSync = log.FindLastIndex(Math.Max(end - 1, 0), entry => entry.Bytes == null);
            using (var file = File.Create(crashed))
            {
                file.Write(start);
                for (var index = 0; index < end; index++)
                {
                    if (log[index].Bytes is not { } bytes || (power && index > lastSync && moments.Next(2) == 0)) continue;
                    file.Position = (long)log[index].Offset;
                    file.Write(bytes);
                }
            }
            QemuImg.Check(crashed, afterCrash: true);
            using var image = Qcow2Image.Open(crashed, false);
            var survived = ReadAll(image);
            if (end >= flushed[0].Position) Assert.True(survived.AsSpan(half).SequenceEqual(flushed[0].Model.AsSpan(half)), $"flushed data is lost at {end} of {log.Count}");
            // And goes on from there.
            Exercise(image, survived, moments, 20, 50_000);
        }
    }

    [Fact]
    public void HeadersThatCannotBeUsedAreRefusedInOneLine()
    {
        var path = At("image.qcow2");
        Qcow2Image.Create(path, 1 << 20);
        var good = File.ReadAllBytes(path);
        string Refusal(Action<byte[]> change, bool readOnly = false)
        {
            var bad = (byte[])good.Clone();
            change(bad);
            File.WriteAllBytes(path, bad);
            var message = Assert.Throws<DiskException>(() => Qcow2Image.Open(path, readOnly).Dispose()).Message;
            Assert.StartsWith($"cannot open disk '{path}': ", message);
            return message[$"cannot open disk '{path}': ".Length..];
        }
        void Name(byte[] bytes, string name)
        {
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(8), 512);
            BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(16), (uint)name.Length);
            System.Text.Encoding.ASCII.GetBytes(name, bytes.AsSpan(512));
        }
        Assert.Equal("not a qcow2 image", Refusal(b => b[0] = 0));
        Assert.Equal("qcow2 version 4; this program knows 2 and 3", Refusal(b => b[7] = 4));
        Assert.Equal("damaged qcow2 header: clusters of 2^63 bytes", Refusal(b => b[23] = 63));
        Assert.Equal("encrypted images are not supported", Refusal(b => b[35] = 1));
        Assert.Equal("damaged qcow2 header: 1 L1 entries for a disk of 1099512676352 bytes", Refusal(b => b[26] = 1));
        Assert.Equal("damaged qcow2 header: the L1 table lies outside the file", Refusal(b => b[43] = 1));
        Assert.Equal("damaged qcow2 header: the reference count table lies outside the file", Refusal(b => b[55] = 1));
        Assert.Equal("images with an external data file are not supported", Refusal(b => b[79] = 4));
        Assert.Equal("extended L2 entries are not supported", Refusal(b => b[79] = 16));
        Assert.Equal("unknown qcow2 features 100", Refusal(b => b[78] = 1));
        Assert.Contains("qemu-img check -r all", Refusal(b => b[79] = 1));
        Assert.Contains("marked as corrupt", Refusal(b => b[79] = 2));
        Assert.Contains("does not say the format of its backing file 'secret'", Refusal(b => Name(b, "secret")));
        Assert.Contains("is not a file name", Refusal(b => Name(b, "nbd:localhost:10809")));
        File.WriteAllBytes(path, good.AsSpan(0, 40));
        Assert.Throws<DiskException>(() => Qcow2Image.Open(path, false));
    }

    [Fact]
    public void ChainsThatLoopAreRefused()
    {
        if (!QemuImg.IsThere) return;
        QemuImg.Run("create", "-q", "-f", "qcow2", At("a.qcow2"), "1M");
        QemuImg.Run("create", "-q", "-f", "qcow2", "-b", "a.qcow2", "-F", "qcow2", At("b.qcow2"), "1M");
        QemuImg.Run("rebase", "-q", "-u", "-f", "qcow2", "-b", "b.qcow2", "-F", "qcow2", At("a.qcow2"));
        Assert.Contains("more than 16 backing files", Assert.Throws<DiskException>(() => DiskImages.Open(At("b.qcow2"), readOnly: true)).Message);
    }

    [Fact]
    public void RandomDamageDoesNoHarm()
    {
        var (path, damaged) = (At("image.qcow2"), At("damaged.qcow2"));
        if (QemuImg.IsThere) QemuImg.Run("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", path, "256K");
        else Qcow2Image.Create(path, 1 << 18);
        using (var image = Qcow2Image.Open(path, false)) Exercise(image, new byte[1 << 18], new Random(8), 100, 4000);
        var good = File.ReadAllBytes(path);
        foreach (var seed in new Fuzz("qcow2 images").Seeds())
        {
            var random = new Random(seed);
            var bad = (byte[])good.Clone();
            for (var count = random.Next(1, 10); count > 0; count--)
            {
                // Headers and tables more often than data.
                var at = random.Next(3) == 0 ? random.Next(112) : random.Next(bad.Length);
                bad[at] = (byte)(random.Next(2) == 0 ? random.Next(256) : bad[at] ^ 1 << random.Next(8));
            }
            File.WriteAllBytes(damaged, bad.AsSpan(0, random.Next(5) == 0 ? random.Next(bad.Length) : bad.Length));
            try
            {
                using var image = Qcow2Image.Open(damaged, random.Next(3) == 0);
                var buffer = new byte[8192];
                for (var step = 0; step < 30 && image.Length > 16384; step++)
                {
                    var offset = (ulong)random.NextInt64((long)Math.Min(image.Length, 1 << 18) - 8192);
                    switch (random.Next(4))
                    {
                        case 0: image.Write(offset, buffer); break;
                        case 1: image.WriteZeroes(offset, 8192, true); break;
                        case 2: image.Flush(); break;
                        default: image.Read(offset, buffer); break;
                    }
                }
            }
            catch (DiskException)
            {
                // refused in one line
            }
        }
    }

    [Fact]
    public void FormatsAreNotGuessed()
    {
        var path = At("disk.img");
        Qcow2Image.Create(path, 1 << 20);
        Assert.Contains("say format=qcow2 or format=raw", Assert.Throws<DiskException>(() => DiskImages.Open(path)).Message);
        using (var image = DiskImages.Open(path, DiskFormat.Qcow2)) Assert.Equal(1UL << 20, image.Length);
        using (var image = DiskImages.Open(path, DiskFormat.Raw)) Assert.NotEqual(1UL << 20, image.Length);
        using (var image = DiskImages.Open(path, DiskFormat.Qcow2, temporary: true))
        {
            Assert.Equal(0, image.Write(0, new byte[512].Select(_ => (byte)7).ToArray()));
            Assert.Equal(7, ReadAll(image)[511]);
        }
        using (var image = DiskImages.Open(path, DiskFormat.Qcow2, readOnly: true)) Assert.Equal(0, ReadAll(image)[511]);
    }
}
