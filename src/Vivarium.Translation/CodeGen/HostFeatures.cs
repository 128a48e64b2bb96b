using System.Runtime.Intrinsics.X86;

namespace Vivarium.Translation.CodeGen;

/// <summary>What the host processor offers beyond x86-64-v2, read from cpuid (the runtime's own switches say what the runtime was compiled for).</summary>
public static class HostFeatures
{
    public static readonly bool HasBmi1, HasBmi2, HasLzcnt, HasAvx, HasAvx2, HasFma, HasAvx512Vl;

    static HostFeatures()
    {
        (_, _, int c1, _) = X86Base.CpuId(1, 0);
        (_, int b7, _, _) = X86Base.CpuId(7, 0);
        (_, _, int ce, _) = X86Base.CpuId(unchecked((int)0x80000001), 0);
        HasBmi1 = (b7 >> 3 & 1) != 0;
        HasBmi2 = (b7 >> 8 & 1) != 0;
        HasLzcnt = (ce >> 5 & 1) != 0;
        HasAvx = (c1 >> 27 & 1) != 0 && (c1 >> 28 & 1) != 0 && Avx.IsSupported;
        HasAvx2 = HasAvx && (b7 >> 5 & 1) != 0;
        HasFma = HasAvx && (c1 >> 12 & 1) != 0;
        HasAvx512Vl = HasAvx2 && (b7 >> 16 & 1) != 0 && (b7 >> 17 & 1) != 0 && (b7 >> 31 & 1) != 0 && Avx512F.VL.IsSupported;
    }
}
