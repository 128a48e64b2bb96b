using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Persistence;
using Vivarium.Translation.Tests.Engine;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>Random programs on blocks that another engine translated and stored: they do what the reference does.</summary>
public sealed class PersistentStressTests
{
    private static readonly ProgramMix[] Mixes =
    [
        new(), new(FloatShare: 95, MemoryShare: 3), new(FloatShare: 0, MemoryShare: 30, BranchShare: 16), new(Items: 30, FloatShare: 60), new(Items: 300, TrapShare: 30),
    ];

    [Fact]
    public void StoredBlocksDoWhatTheReferenceDoes()
    {
        using var directory = new CacheDirectory();
        Statistics first = Run(directory), second = Run(directory);
        Assert.True(first.PersistentStored > 1000, $"only {first.PersistentStored} blocks stored");
        Assert.True(second.PersistentLoaded > 1000, $"only {second.PersistentLoaded} blocks loaded");
        // What cannot be stored is translated again: code outside the file, and blocks that end in addresses that cannot be executed.
        Assert.True(second.Blocks < first.Blocks / 5, $"{second.Blocks} of {first.Blocks} blocks translated again");
        Assert.Equal(0, second.PersistentRefused);
    }

    private static Statistics Run(CacheDirectory directory)
    {
        // Elsewhere than the last time: what is loaded must have been moved.
        using var cache = new CodeCache(8 << 20) { Store = directory.Open() };
        var engine = new TranslationEngine(cache, new TranslationOptions { Validate = true });
        engine.MapCode(0x10_0000, 0x10_0000, new CodeIdentity(1, 2, 0x10_0000, 3), 0);
        using (var runner = new DifferentialRunner(new ReferenceInterpreter(), engine))
        {
            for (int seed = 1; seed < 400; seed++)
            {
                if (runner.Run(seed, Mixes[seed % Mixes.Length]) is { } difference) Assert.Fail(difference);
            }
        }
        cache.Store!.Save();
        return cache.Statistics;
    }
}
