namespace Vivarium.Images.Tests;

/// <summary>Mutated archives: whatever is in them, an import ends in an image or in one line.</summary>
public sealed class FuzzTests : IDisposable
{
    private readonly TemporaryDirectory _temporary = new();

    public void Dispose() => _temporary.Dispose();

    [Theory]
    [InlineData("tar", 800)]
    [InlineData("gzip", 300)]
    [InlineData("zstd", 400)]
    [InlineData("xz", 400)]
    public void Mutated_archives_import_or_complain(string kind, int rounds)
    {
        var random = new Random(kind.Length * 7919 + 1);
        byte[] plain = new Archive().Dir("d").File("d/" + new string('l', 150), new string('x', 3000)).File("e", "text").Link("s", "d").HardLink("h", "e")
            .Link("long", new string('t', 300)).File("s/through").Add(Archives.TarKind.Fifo, "p").Add(Archives.TarKind.CharacterDevice, "null").Bytes();
        int good = 0, bad = 0;
        for (int round = 0; round < rounds; round++)
        {
            byte[] mutated = Mutate(plain, kind, random);
            string tree = _temporary["tree"];
            try
            {
                string file = _temporary["layer"];
                File.WriteAllBytes(file, mutated);
                LayerStack.Unpack([new LayerFile(file, new OciDescriptor { MediaType = "", Digest = "", Size = 0 }, null, "layer")], tree, null);
                good++;
            }
            catch (ImageException e)
            {
                Assert.DoesNotContain('\n', e.Message);
                bad++;
            }

            Host.HostFiles.RemoveTree(tree);
            Assert.Equal(["layer"], Directory.EnumerateFileSystemEntries(_temporary.Path).Select(p => Path.GetFileName(p)));
        }

        Assert.True(good > 0 && bad > 0, $"{good} good, {bad} bad: the mutations test nothing");
    }

    private static byte[] Mutate(byte[] plain, string kind, Random random)
    {
        byte[] bytes = (byte[])plain.Clone();
        if (kind == "tar" || random.Next(2) == 0)
        {
            Change(ref bytes, random);
            // With right checksums the mutations reach further than the header's sum.
            for (int at = 0; at + 512 <= bytes.Length; at += 512)
            {
                if (!bytes.AsSpan(at + 257, 5).SequenceEqual("ustar"u8))
                    continue;
                bytes.AsSpan(at + 148, 8).Fill((byte)' ');
                int sum = 0;
                foreach (byte value in bytes.AsSpan(at, 512))
                    sum += value;
                System.Text.Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0')).CopyTo(bytes, at + 148);
            }
        }

        byte[] packed = kind switch { "gzip" => Archive.Gzip(bytes), "zstd" => Archive.Zstd(bytes), "xz" => Archive.Xz(bytes), _ => bytes };
        if (kind != "tar" && random.Next(2) == 0)
            Change(ref packed, random);
        return packed;
    }

    private static void Change(ref byte[] bytes, Random random)
    {
        for (int count = random.Next(1, 4); count > 0; count--)
        {
            int at = random.Next(bytes.Length);
            switch (random.Next(6))
            {
                case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 1: bytes[at] = (byte)random.Next(256); break;
                case 2: bytes[at] = random.Next(2) == 0 ? (byte)0xff : (byte)0; break;
                case 3: bytes = bytes[..Math.Max(at, 1)]; break;
                case 4: bytes[at & ~511] = (byte)"/.\0"[random.Next(3)]; break;
                default:
                    int length = Math.Min(random.Next(1, 600), bytes.Length - at), to = random.Next(bytes.Length - length + 1);
                    bytes.AsSpan(at, length).ToArray().CopyTo(bytes, to);
                    break;
            }
        }
    }
}
