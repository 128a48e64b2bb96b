using Vivarium.Host;

namespace Vivarium.Translation.CodeGen;

/// <summary>What the emitter may use beyond x86-64-v2, as constants that the compiler can fold. VIV_CPU_MASK (feature names separated by
/// commas, or <c>all</c>) hides features, for tests of the paths of lesser machines.</summary>
public static class HostFeatures
{
    /// <summary>The features that code is emitted for.</summary>
    public static readonly CpuFeatures Cpu = CpuFeatures.Host.Without(Environment.GetEnvironmentVariable("VIV_CPU_MASK"));

    public static readonly bool HasBmi1 = Cpu.Bmi1, HasBmi2 = Cpu.Bmi2, HasLzcnt = Cpu.Lzcnt, HasAvx = Cpu.Avx, HasAvx2 = Cpu.Avx2,
        HasFma = Cpu.Fma, HasAvx512Vl = Cpu.Avx512;
}
