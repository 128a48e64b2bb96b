using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Persistence;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>The persistent cache: used where it is right, refused where it is not, never harmful.</summary>
public sealed class PersistenceTests : IDisposable
{
    private static readonly CodeIdentity File1 = new(8, 77, EngineGuest.CodeSize, 1234);

    private readonly CacheDirectory _directory = new();

    /// <summary>A loop, a chain of blocks, an indirect call and a fault-free access to memory; the result is in x10.</summary>
    private static uint[] Program(int step) =>
    [
        EngineGuest.I(Opcode.Addi, 5, 0, 100), // count
        EngineGuest.I(Opcode.Addi, 10, 0, 0),
        EngineGuest.I(Opcode.Addi, 10, 10, step),
        EngineGuest.I(Opcode.Addi, 5, 5, -1),
        EngineGuest.Branch(Opcode.Bne, 5, 0, -8),
        EngineGuest.Branch(Opcode.Beq, 10, 0, 16),
        EngineGuest.I(Opcode.Ld, 6, 11, 0),
        EngineGuest.R(Opcode.Add, 10, 10, 6),
        EngineGuest.I(Opcode.Jalr, 1, 12, 0), // to the next instruction but one
        EngineGuest.I(Opcode.Addi, 10, 10, 1000),
        EngineGuest.I(Opcode.Addi, 10, 10, 1),
        EngineGuest.Ecall,
    ];

    private Statistics Run(
        int step = 3, CodeIdentity? identity = null, ulong fileOffset = 0, long limit = TranslationStore.DefaultLimit, bool save = true, ulong at = EngineGuest.Code,
        int quickRuns = 1000)
    {
        using var cache = new CodeCache(4 << 20) { Store = _directory.Open(limit) };
        Run(cache, step, identity ?? File1, fileOffset, at, quickRuns);
        if (save) cache.Store!.Save();
        return cache.Statistics;
    }

    private static void Run(CodeCache cache, int step, CodeIdentity identity, ulong fileOffset, ulong at = EngineGuest.Code, int quickRuns = 1000)
    {
        using var guest = new EngineGuest();
        guest.Write(at, Program(step));
        guest.Window.Write(EngineGuest.Data, BitConverter.GetBytes(7UL));
        using var engine = new TranslationEngine(cache, new TranslationOptions { Validate = true, QuickRuns = quickRuns });
        engine.MapCode(EngineGuest.Code, EngineGuest.CodeSize, identity, fileOffset);
        for (int round = 0; round < 2; round++)
        {
            using Hart hart = guest.NewHart(at);
            hart[11] = EngineGuest.Data;
            hart[12] = at + 40;
            Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.EnvironmentCall), engine.Run(hart));
            Assert.Equal((ulong)(step * 100 + 7 + 1), hart[10]);
            Assert.Equal(at + 44, hart.Pc);
        }
    }

    [Fact]
    public void ASecondRunTranslatesNothing()
    {
        Statistics first = Run(), second = Run();
        Assert.True(first.Blocks >= 3);
        Assert.Equal((first.Blocks, 0L), (first.PersistentStored, first.PersistentLoaded));
        Assert.Equal((0L, first.Blocks, 0L, 0L), (second.Blocks, second.PersistentLoaded, second.PersistentStored, second.PersistentRefused));
    }

    /// <summary>What the quick path has made is stored, until a block has shown that it runs often.</summary>
    [Fact]
    public void BlocksOfTheFullPipelineTakeThePlaceOfStoredQuickOnes()
    {
        Statistics first = Run(), second = Run(quickRuns: 20), third = Run(quickRuns: 20);
        Assert.Equal((first.Blocks, 0L), (first.QuickBlocks, first.Promotions));
        Assert.InRange(second.Promotions, 1, first.Blocks);
        Assert.Equal((second.Promotions, second.Promotions, first.Blocks), (second.Blocks, second.PersistentStored, second.PersistentLoaded));
        Assert.Equal((0L, 0L, first.Blocks, 0L), (third.Blocks, third.Promotions, third.PersistentLoaded, third.PersistentRefused));
        // Without the quick path nothing of it is used, and what takes its place stays.
        Statistics full = Run(quickRuns: 0), again = Run(quickRuns: 0);
        Assert.Equal((first.Blocks - second.Promotions, 0L), (full.Blocks, full.QuickBlocks));
        Assert.Equal((0L, first.Blocks), (again.Blocks, again.PersistentLoaded));
    }

    [Fact]
    public void ProgramsThatRunOnAreSavedMeanwhile()
    {
        using (var cache = new CodeCache(4 << 20) { Store = new TranslationStore(_directory.Path) { SaveInterval = TimeSpan.FromMilliseconds(20) } })
        {
            Run(cache, 3, File1, 0);
            Assert.True(SpinWait.SpinUntil(() => Directory.GetFiles(_directory.Path, "*" + TranslationFile.Extension).Length == 1, 30_000));
            // What comes later is added to what is there.
            Run(cache, 4, File1 with { Inode = 78 }, 0);
            Assert.True(SpinWait.SpinUntil(() => Directory.GetFiles(_directory.Path, "*" + TranslationFile.Extension).Length == 2, 30_000));
            Run(cache, 3, File1, 0);
            cache.Store!.Save();
        }
        Assert.Equal(0, Run().Blocks);
        Assert.Equal(0, Run(4, File1 with { Inode = 78 }).Blocks);
    }

    [Fact]
    public void ProcessesOfARunShare()
    {
        using var cache = new CodeCache(4 << 20) { Store = _directory.Open() };
        Run(cache, 3, File1, 0);
        long blocks = cache.Statistics.Blocks;
        Run(cache, 3, File1, 0);
        Assert.Equal(blocks, cache.Statistics.Blocks);
    }

    [Fact]
    public void AChangedFileIsNotReused()
    {
        Statistics first = Run();
        Assert.Equal(first.Blocks, Run(identity: File1 with { ModifiedNanoseconds = 1235 }).Blocks);
        Assert.Equal(first.Blocks, Run(fileOffset: 0x1000).Blocks);
        // Other bytes under the same name, which should not be: seen all the same, where the block differs.
        Assert.NotEqual(0, Run(step: 4).Blocks);
    }

    [Fact]
    public void CodeThatIsNoFileIsNotStored()
    {
        using var cache = new CodeCache(4 << 20) { Store = _directory.Open() };
        using var guest = new EngineGuest();
        guest.Write(EngineGuest.Code, Program(3));
        using var engine = new TranslationEngine(cache);
        engine.MapCode(EngineGuest.Code, EngineGuest.CodeSize, File1, 0);
        engine.InvalidateCode(EngineGuest.Code, 0x1000); // mapped over
        using Hart hart = guest.NewHart(EngineGuest.Code);
        (hart[11], hart[12]) = (EngineGuest.Data, EngineGuest.Code + 40);
        engine.Run(hart);
        cache.Store!.Save();
        Assert.Equal(0, cache.Statistics.PersistentStored);
        Assert.Empty(_directory.Files);
    }

    [Fact]
    public void DamagedFilesAreRefused()
    {
        Run();
        string file = Assert.Single(_directory.Files);
        byte[] whole = File.ReadAllBytes(file);
        var random = new Random(1);
        int refused = 0;
        for (int i = 0; i < 400; i++)
        {
            byte[] damaged = [.. whole];
            switch (i % 4)
            {
                case 0: damaged = damaged[..random.Next(whole.Length)]; break;
                case 1: damaged = [.. damaged, 0]; break;
                default: damaged[random.Next(whole.Length)] ^= (byte)(1 << random.Next(8)); break;
            }
            File.WriteAllBytes(file, damaged);
            Statistics run = Run(save: false); // and it computes the right result
            Assert.Equal(1, run.PersistentRefused);
            Assert.False(File.Exists(file));
            refused++;
        }
        Assert.Equal(400, refused);
        Assert.NotEqual(0, Run().PersistentStored); // it comes back
        Assert.Equal(0, Run().Blocks);
    }

    /// <summary>Records whose checksums are right but whose contents are not: nothing in them is believed before it is checked.</summary>
    [Fact]
    public void NonsenseWithRightChecksumsIsRefused()
    {
        var random = new Random(2);
        for (int i = 0; i < 300; i++)
        {
            byte[] record = new byte[random.Next(6, 40) * 8];
            random.NextBytes(record);
            // A head with plausible numbers, so that some get past the first checks.
            BitConverter.TryWriteBytes(record.AsSpan(0), record.Length);
            BitConverter.TryWriteBytes(record.AsSpan(4), 0);
            for (int h = 16; h < 32; h++) record[h] &= 31;
            for (int c = 32; c < 48; c += 2) BitConverter.TryWriteBytes(record.AsSpan(c), (ushort)random.Next(c < 36 ? 200 : 4));
            using var cache = new CodeCache(4 << 20) { Store = _directory.Open() };
            cache.Store!.Open(File1, EngineGuest.Code).Add(record);
            Run(cache, 3, File1, 0);
            Assert.True(cache.Statistics.Blocks >= 3);
        }
    }

    [Fact]
    public void SeveralWritersAtOnceLoseNothingAndDamageNothing()
    {
        // Each stores another program of the same file; every file that anybody sees is whole.
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, i =>
        {
            for (int round = 0; round < 5; round++) Assert.Equal(0, Run(at: EngineGuest.Code + (ulong)i * 0x1000).PersistentRefused);
        });
        Assert.Single(_directory.Files);
        Assert.Empty(Directory.GetFiles(_directory.Path, "*.tmp"));
        for (int i = 0; i < 8; i++) Assert.Equal(0, Run(at: EngineGuest.Code + (ulong)i * 0x1000).Blocks);
    }

    [Fact]
    public void TheDirectoryIsBounded()
    {
        for (int i = 0; i < 20; i++)
        {
            Run(identity: File1 with { Inode = (ulong)i }, limit: 8_000);
            foreach (string file in _directory.Files) File.SetLastWriteTimeUtc(file, File.GetLastWriteTimeUtc(file) - TimeSpan.FromMinutes(1));
        }
        long total = _directory.Files.Sum(file => new FileInfo(file).Length);
        Assert.InRange(total, 1, 8_000);
        Assert.True(_directory.Files.Length < 20);
        Assert.Equal(0, Run(identity: File1 with { Inode = 19 }).Blocks); // the youngest is there
        Assert.NotEqual(0, Run(identity: File1 with { Inode = 0 }).Blocks);
    }

    [Fact]
    public void OtherUsersMustNotWriteTheDirectory()
    {
        _directory.Open();
        const UnixFileMode mine = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        if (!OperatingSystem.IsLinux()) return;
        Assert.Equal(mine, File.GetUnixFileMode(_directory.Path));
        File.SetUnixFileMode(_directory.Path, mine | UnixFileMode.OtherWrite);
        Assert.Throws<IOException>(() => _directory.Open());
        File.SetUnixFileMode(_directory.Path, mine);
    }

    public void Dispose() => _directory.Dispose();
}
