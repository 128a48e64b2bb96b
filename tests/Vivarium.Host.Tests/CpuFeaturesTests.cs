using System.Runtime.Intrinsics.X86;
using Vivarium.Host;

namespace Vivarium.Host.Tests;

public sealed class CpuFeaturesTests
{
    [Fact]
    public void What_the_kernel_lists_is_what_is_detected()
    {
        var words = File.ReadLines("/proc/cpuinfo").First(line => line.StartsWith("flags", StringComparison.Ordinal)).Split(' ').ToHashSet();
        var host = CpuFeatures.Host;
        Assert.Equal(words.Contains("sse4_2"), host.Has(CpuFeature.Sse42));
        Assert.Equal(words.Contains("popcnt"), host.Popcnt);
        Assert.Equal(words.Contains("cx16"), host.CmpXchg16B);
        Assert.Equal(words.Contains("abm"), host.Lzcnt);
        Assert.Equal(words.Contains("bmi1"), host.Bmi1);
        Assert.Equal(words.Contains("bmi2"), host.Bmi2);
        Assert.Equal(words.Contains("pclmulqdq"), host.Pclmulqdq);
        Assert.Equal(words.Contains("avx"), host.Avx);
        Assert.Equal(words.Contains("avx2"), host.Avx2);
        Assert.Equal(words.Contains("fma"), host.Fma);
        Assert.Equal(words.Contains("erms"), host.Erms);
        Assert.Equal(words.Contains("fsgsbase"), host.FsGsBase);
        Assert.Equal(words.Contains("sha_ni"), host.Has(CpuFeature.Sha));
        Assert.Equal(words.Contains("avx512f") && words.Contains("avx512vl") && words.Contains("avx512dq") && words.Contains("avx512bw"), host.Avx512);
        Assert.True(!Avx2.IsSupported || host.Avx2);
    }

    [Fact]
    public void Masks_take_away_what_depends_on_them_too()
    {
        var all = new CpuFeatures((CpuFeature)((1 << 20) - 1));
        Assert.Equal(all, all.Without(null));
        Assert.Equal(default, all.Without("all"));
        var without = all.Without("avx, BMI2");
        Assert.False(without.Avx2 || without.Avx512 || without.Fma || without.Bmi2);
        Assert.True(without.Bmi1);
        Assert.NotEqual(all.Fingerprint, without.Fingerprint);
        Assert.Contains("warp", Assert.Throws<FormatException>(() => all.Without("warp")).Message);
        Assert.Throws<FormatException>(() => all.Without("3"));
    }
}
