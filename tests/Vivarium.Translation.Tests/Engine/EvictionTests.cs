using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Cache;
using static Vivarium.Translation.Tests.Engine.EngineGuest;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>More code than the cache holds: old code goes, programs do not notice.</summary>
public class EvictionTests
{
    [Theory]
    [InlineData(1, 0)]
    [InlineData(4, 0)]
    [InlineData(1, int.MaxValue)]
    [InlineData(4, 2)]
    public void FullCacheDropsOldCode(int threads, int quickRuns)
    {
        const ulong Area = 0x1000000;
        const int Functions = 40_000;
        using MemoryWindow window = MemoryWindow.Reserve(1UL << 30);
        Assert.Equal(0, window.MapAnonymous(Area, Functions * 64, Protection.Read | Protection.Write | Protection.Execute));
        Assert.Equal(0, window.MapAnonymous(Code, 0x1000, Protection.Read | Protection.Write | Protection.Execute));
        Assert.Equal(0, window.MapAnonymous(Data, 0x1000, Protection.Read | Protection.Write));
        using var cache = new CodeCache(3 << 20);
        using var engine = new TranslationEngine(cache, new TranslationOptions { QuickRuns = quickRuns });
        var code = new uint[Functions * 16];
        for (int f = 0; f < Functions; f++)
        {
            code[f * 16] = I(Opcode.Addi, 10, 10, f % 1000);
            for (int i = 1; i < 14; i++) code[f * 16 + i] = R(Opcode.Xor, 20 + i % 4, 21, 22);
            code[f * 16 + 14] = I(Opcode.Jalr, 0, 1, 0);
        }
        Assert.Equal(code.Length * 4, window.Write(Area, System.Runtime.InteropServices.MemoryMarshal.AsBytes<uint>(code)));
        // Calls every function in turn: a1 = function, a2 = how many, then again for a3 rounds.
        uint[] caller =
        [
            I(Opcode.Jalr, 1, 11, 0), I(Opcode.Addi, 11, 11, 64), I(Opcode.Addi, 12, 12, -1), Branch(Opcode.Bne, 12, 0, -12), Ecall,
        ];
        window.Write(Code, System.Runtime.InteropServices.MemoryMarshal.AsBytes<uint>(caller));
        // One thread never leaves its loop by itself, so eviction must push it out of old code.
        window.Write(Code + 0x100, System.Runtime.InteropServices.MemoryMarshal.AsBytes<uint>([I(Opcode.Addi, 10, 10, 1), I(Opcode.Lw, 11, 5, 0), Branch(Opcode.Beq, 11, 0, -8), Ecall]));
        using var spinning = new Hart(window) { Pc = Code + 0x100 };
        spinning[5] = Data;
        var spinner = new Thread(() => engine.Run(spinning)) { IsBackground = true }; // a test that fails before it stops the guest must end all the same
        spinner.Start();

        var failures = new List<string>();
        var workers = Enumerable.Range(0, threads).Select(t => new Thread(() =>
        {
            using var hart = new Hart(window);
            for (int round = 0; round < 3; round++)
            {
                hart.Pc = Code;
                hart[10] = 0;
                hart[11] = Area;
                hart[12] = Functions;
                ExecutionExit exit = engine.Run(hart);
                ulong expected = 0;
                for (int f = 0; f < Functions; f++) expected += (ulong)(f % 1000);
                if (exit.Cause != TrapCause.EnvironmentCall || hart[10] != expected)
                {
                    lock (failures) failures.Add($"{exit} 0x{hart.Pc:x} {hart[10]} instead of {expected}");
                }
            }
        }) { IsBackground = true }).ToList();
        foreach (Thread worker in workers) worker.Start();
        foreach (Thread worker in workers) Assert.True(worker.Join(120_000), "a thread hangs");
        Assert.True(window.TryStore32(Data, 1));
        Assert.True(spinner.Join(30_000));
        Assert.Empty(failures);
        Assert.True(engine.Statistics.Evictions > 0, "nothing was evicted");
        Assert.True(engine.Statistics.Interpreted < 1000, $"{engine.Statistics.Interpreted} instructions had to be interpreted");
    }
}
