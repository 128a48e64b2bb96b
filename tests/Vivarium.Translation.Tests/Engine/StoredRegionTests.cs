using System.Runtime.InteropServices;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Persistence;
using Vivarium.Translation.Tests.Differential;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>Regions in the persistent cache: used without compiling where they fit, refused where they do not, never harmful.</summary>
public sealed class StoredRegionTests : IDisposable
{
    private static readonly CodeIdentity File1 = new(8, 99, EngineGuest.CodeSize, 4321);

    private readonly CacheDirectory _directory = new();

    public StoredRegionTests() => Directory.CreateDirectory(_directory.Path);

    public void Dispose() => _directory.Dispose();

    /// <summary>A loop in a loop, with memory; the result is in x6.</summary>
    private static uint[] Program(int step) =>
    [
        EngineGuest.I(Opcode.Addi, 5, 0, 50), EngineGuest.I(Opcode.Addi, 6, 6, step), EngineGuest.I(Opcode.Ld, 8, 11, 0), EngineGuest.R(Opcode.Add, 6, 6, 8),
        EngineGuest.I(Opcode.Addi, 5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -16), EngineGuest.I(Opcode.Addi, 7, 7, -1), EngineGuest.Branch(Opcode.Bne, 7, 0, -28),
        EngineGuest.Ecall,
    ];

    /// <summary>Compiles at once, and keeps it; null without LLVM.</summary>
    private FarmStatistics? Run()
    {
        using CompileFarm? farm = Farms.Synchronous();
        if (farm == null) return null;
        using var cache = new CodeCache(4 << 20) { Store = _directory.Open() };
        Run(farm, cache, 3, File1, static _ => { });
        cache.Store!.Save();
        return farm.Statistics;
    }

    private static void Run(CompileFarm farm, CodeCache cache, int step, CodeIdentity identity, Action<TranslationEngine> between)
    {
        using var guest = new EngineGuest();
        using var engine = new TranslationEngine(cache, new TranslationOptions { Validate = true, Farm = farm });
        guest.Write(EngineGuest.Code, Program(step));
        guest.Window.Write(EngineGuest.Data, BitConverter.GetBytes(7UL));
        engine.MapCode(EngineGuest.Code, EngineGuest.CodeSize, identity, 0);
        for (int round = 0; round < 2; round++)
        {
            using Hart hart = guest.NewHart(EngineGuest.Code);
            hart[7] = 40;
            hart[11] = EngineGuest.Data;
            Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.EnvironmentCall), engine.Run(hart));
            Assert.Equal((ulong)(2000 * (step + 7)), hart[6]);
            between(engine);
        }
    }

    private string[] Files() => Directory.GetFiles(_directory.Path, "*" + TranslationFile.Extension);

    /// <summary>Compiles nothing (its sampler sleeps), and uses what is stored in its second half.</summary>
    private FarmStatistics RunStored(out long entries, int step = 3, CodeIdentity? identity = null)
    {
        using CompileFarm farm = CompileFarm.TryCreate(new OptimizerOptions { Threads = 1, SampleMilliseconds = int.MaxValue }, out _)!;
        using var cache = new CodeCache(4 << 20) { Store = _directory.Open() };
        long entered = 0;
        Run(farm, cache, step, identity ?? File1, engine =>
        {
            entered = engine.RegionEntries;
            engine.InstallStored(farm);
        });
        entries = entered;
        Assert.Equal(0, farm.Statistics.Regions);
        return farm.Statistics;
    }

    [Fact]
    public void ASecondRunUsesWhatTheFirstCompiled()
    {
        if (Run() is not { } first) return;
        Assert.True(first.Regions > 0);
        Assert.Equal(2, Files().Length); // blocks and regions
        FarmStatistics second = RunStored(out long entries);
        Assert.True(second.Loaded > 0 && entries > 0, $"{second.Loaded} loaded, {second.Stale} stale, {second.Lost} lost, {entries} entries");
    }

    /// <summary>The table of a dispatch, which lies behind the code, fits wherever the code is loaded.</summary>
    [Fact]
    public void ASwitchOfAnEarlierRunIsUsed()
    {
        const int operations = 9, length = 6000;
        using CompileFarm? farm = Farms.Synchronous();
        if (farm == null) return;
        using (var cache = new CodeCache(4 << 20) { Store = _directory.Open() })
        {
            Interpret(farm, cache, observes: true, static _ => { });
            cache.Store!.Save();
        }
        Assert.True(farm.Statistics.Regions > 0);
        using CompileFarm second = CompileFarm.TryCreate(new OptimizerOptions { Threads = 1, SampleMilliseconds = int.MaxValue }, out _)!;
        long entered = 0;
        using (var cache = new CodeCache(4 << 20) { Store = _directory.Open() })
        {
            Interpret(second, cache, observes: false, engine =>
            {
                entered = engine.RegionEntries;
                engine.InstallStored(second);
            });
        }
        Assert.True(second.Statistics.Loaded > 0 && entered > 0 && second.Statistics.Regions == 0, $"{second.Statistics.Loaded} loaded, {entered} entries");

        static void Interpret(CompileFarm farm, CodeCache cache, bool observes, Action<TranslationEngine> between)
        {
            using var guest = new EngineGuest();
            using var engine = new TranslationEngine(cache, new TranslationOptions { Validate = true, Farm = farm });
            List<uint> code =
            [
                EngineGuest.I(Opcode.Lbu, 8, 5, 0), EngineGuest.I(Opcode.Slli, 8, 8, 3), EngineGuest.R(Opcode.Add, 8, 8, 9), EngineGuest.I(Opcode.Ld, 8, 8, 0), EngineGuest.I(Opcode.Jalr, 0, 8, 0),
            ];
            for (int n = 0; n < operations; n++)
            {
                guest.Window.Write(EngineGuest.Data + (ulong)n * 8, BitConverter.GetBytes(EngineGuest.Code + (ulong)code.Count * 4));
                code.AddRange([EngineGuest.I(Opcode.Addi, 7, 7, 1 << n), EngineGuest.Jal(0, 4 * (5 + operations * 2 - code.Count - 1))]);
            }
            code.AddRange([EngineGuest.I(Opcode.Addi, 5, 5, 1), EngineGuest.Branch(Opcode.Bne, 5, 6, -4 * (code.Count + 1)), EngineGuest.Ecall]);
            guest.Write(EngineGuest.Code, [.. code]);
            byte[] bytes = [.. Enumerable.Range(0, length).Select(static n => (byte)(n * n % 31 % operations))];
            guest.Window.Write(EngineGuest.Data + 0x1000, bytes);
            ulong expected = 0;
            foreach (byte b in bytes) expected += 1UL << b;
            engine.MapCode(EngineGuest.Code, EngineGuest.CodeSize, File1, 0);
            for (int round = 0; round < 3; round++)
            {
                if (observes) engine.ObserveTargets();
                using Hart hart = guest.NewHart(EngineGuest.Code);
                (hart[5], hart[6], hart[9]) = (EngineGuest.Data + 0x1000, EngineGuest.Data + 0x1000 + length, EngineGuest.Data);
                Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.EnvironmentCall), engine.Run(hart));
                Assert.Equal(expected, hart[7]);
                between(engine);
            }
        }
    }

    [Fact]
    public void OtherCodeAndOtherFilesGetNone()
    {
        if (Run() == null) return;
        FarmStatistics otherCode = RunStored(out long entries, step: 4);
        Assert.Equal(0, otherCode.Loaded);
        Assert.True(otherCode.Stale > 0);
        Assert.Equal(0, entries);
        Assert.Equal(0, RunStored(out _, identity: File1 with { ModifiedNanoseconds = 4322 }).Loaded);
    }

    [Fact]
    public void DamagedFilesDoNoHarm()
    {
        if (Run() == null) return;
        string[] files = Files();
        byte[][] whole = [.. files.Select(File.ReadAllBytes)];
        var random = new Random(7);
        for (int attempt = 0; attempt < 60; attempt++)
        {
            for (int f = 0; f < files.Length; f++)
            {
                byte[] bytes = (byte[])whole[f].Clone();
                if (attempt % 6 == 0) bytes = bytes[..random.Next(bytes.Length)];
                else bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
                File.WriteAllBytes(files[f], bytes);
            }
            RunStored(out _); // right, whatever it found
        }
    }

    /// <summary>Records whose checksums are right but whose contents are not: bounds are checked one by one.</summary>
    [Fact]
    public unsafe void NonsenseInRecordsIsRefused()
    {
        var shape = new RegionShape
        {
            Head = 0x1000, Runs = [(0x1000, 12), (0x1100, 8)], Instructions = 5, Exits = [new(0, false), new(0, false, 1), new(0x1200, false), new(0, true)], Ways = [0x1000, 0x1104],
            UsedIntegers = 0x70, WrittenIntegers = 0x30, UsedFloats = 1, WrittenFloats = 1, CountsRounds = true, LoopsInTierOne = true, CountsAsTierOne = true,
            Vectors = 7, Links = [new(20, 1), new(96, 2)],
        };
        var range = new CodeRange(0x1000, 0x2000, 0, null);
        byte[] record = StoredRegion.Make(shape, 5, new byte[100], 16, 80, 0);
        Assert.True(StoredRegion.TryRead(record, 0x1000, range, out _, out RegionShape? read, out ReadOnlySpan<byte> code));
        Assert.Equal(100, code.Length);
        Assert.Equal(shape.Runs, read!.Runs);
        Assert.Equal(shape.Exits, read.Exits);
        Assert.Equal(shape.Links, read.Links);
        Assert.Equal(shape.Ways, read.Ways);
        Assert.Equal(shape with { Runs = read.Runs, Exits = read.Exits, Links = read.Links, Ways = read.Ways }, read);
        Assert.False(StoredRegion.TryRead(record, 0x1000, range with { End = 0x1104 }, out _, out _, out _));
        Assert.False(StoredRegion.TryRead(record, 0x1000, range with { Start = 0x1004 }, out _, out _, out _));
        for (int cut = 0; cut < record.Length; cut += 4) Assert.False(StoredRegion.TryRead(record.AsSpan(0, Math.Min(cut, record.Length - 8)), 0x1000, range, out _, out _, out _));
        var random = new Random(3);
        for (int i = 0; i < 20_000; i++)
        {
            byte[] bad = (byte[])record.Clone();
            for (int n = random.Next(1, 4); n > 0; n--) bad[random.Next(bad.Length)] = (byte)random.Next(256);
            if (!StoredRegion.TryRead(bad, 0x1000, range, out StoredRegionHead head, out RegionShape? other, out ReadOnlySpan<byte> otherCode) || other == null) continue;
            Assert.True(head.FunctionOffset + (long)head.FunctionLength <= otherCode.Length);
            foreach (ulong way in other.Ways) Assert.True(way >= range.Start && way < range.End);
            foreach (RegionLink link in other.Links) Assert.True(link.Offset >= 0 && link.Offset + 4L <= otherCode.Length && (uint)link.Exit < (uint)other.Exits.Length);
            foreach ((ulong start, int length) in other.Runs) Assert.True(start >= range.Start && length > 0 && start + (ulong)length <= range.End);
        }
        byte[] goes = StoredRegion.Judge(record, RegionVerdict.Goes);
        Assert.True(StoredRegion.TryRead(goes, 0x1000, range, out StoredRegionHead gone, out RegionShape? none, out _));
        Assert.Null(none);
        Assert.Equal(5u, gone.Instructions);
        Assert.Equal((uint)goes.Length, MemoryMarshal.Read<uint>(goes));
        byte[] stays = StoredRegion.Judge(record, RegionVerdict.Stays);
        Assert.Equal(record.Length, stays.Length);
        Assert.True(StoredRegion.TryRead(stays, 0x1000, range, out _, out RegionShape? kept, out _) && kept != null);
    }
}
