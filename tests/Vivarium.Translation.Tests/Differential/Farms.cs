using Vivarium.Translation.Optimizing;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>The optimising tier for tests.</summary>
internal static class Farms
{
    /// <summary>A farm that compiles at once on the running thread; null without LLVM, which CI must have.</summary>
    public static CompileFarm? Synchronous(OptimizerOptions? options = null)
    {
        CompileFarm? farm = CompileFarm.TryCreate((options ?? new OptimizerOptions()) with { Threads = 0 }, out string problem);
        if (farm != null) return farm;
        Console.WriteLine($"SKIPPED: {problem}");
        Assert.Null(Environment.GetEnvironmentVariable("VIV_CI"));
        return null;
    }
}
