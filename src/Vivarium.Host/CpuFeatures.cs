using System.Runtime.Intrinsics.X86;

namespace Vivarium.Host;

/// <summary>A set of <see cref="CpuFeature"/>s: what the host has, less what somebody masked.</summary>
/// <remarks>Read from CPUID and XCR0, not from the runtime's IsSupported properties: those also say what the runtime was built for.</remarks>
public readonly record struct CpuFeatures(CpuFeature Flags)
{
    /// <summary>Everything this host has.</summary>
    public static CpuFeatures Host { get; } = new(Detect());

    public bool Has(CpuFeature feature) => (Flags & feature) == feature;

    public bool Popcnt => Has(CpuFeature.Popcnt);
    public bool CmpXchg16B => Has(CpuFeature.CmpXchg16B);
    public bool Lzcnt => Has(CpuFeature.Lzcnt);
    public bool Bmi1 => Has(CpuFeature.Bmi1);
    public bool Bmi2 => Has(CpuFeature.Bmi2);
    public bool Pclmulqdq => Has(CpuFeature.Pclmulqdq);
    public bool Avx => Has(CpuFeature.Avx);
    public bool Avx2 => Has(CpuFeature.Avx2);
    public bool Fma => Has(CpuFeature.Fma);
    public bool Avx512 => Has(CpuFeature.Avx512);
    public bool Erms => Has(CpuFeature.Erms);
    public bool FsGsBase => Has(CpuFeature.FsGsBase);

    /// <summary>Names this set in persistent caches: code for one fingerprint runs wherever all its bits are present.</summary>
    public ulong Fingerprint => (ulong)Flags;

    /// <summary>This set without the named features and what depends on them.</summary>
    /// <param name="names">Feature names (any case) separated by commas, or empty; <c>all</c> leaves none.</param>
    /// <exception cref="FormatException">A name is unknown.</exception>
    public CpuFeatures Without(string? names)
    {
        var flags = Flags;
        foreach (var part in (names ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (part.Equals("all", StringComparison.OrdinalIgnoreCase)) return default;
            if (!Enum.TryParse<CpuFeature>(part, ignoreCase: true, out var feature) || char.IsAsciiDigit(part[0]))
                throw new FormatException($"unknown CPU feature '{part}'; known: {string.Join(", ", Enum.GetNames<CpuFeature>())}");
            flags &= ~feature;
        }
        return new CpuFeatures(Close(flags));
    }

    public override string ToString() => Flags.ToString();

    /// <summary>Removes what needs something that is missing.</summary>
    private static CpuFeature Close(CpuFeature flags)
    {
        if ((flags & CpuFeature.Avx) == 0) flags &= ~(CpuFeature.Avx2 | CpuFeature.Fma | CpuFeature.F16c | CpuFeature.Avx512);
        if ((flags & CpuFeature.Avx2) == 0) flags &= ~CpuFeature.Avx512;
        if ((flags & CpuFeature.Erms) == 0) flags &= ~CpuFeature.Fsrm;
        return flags;
    }

    private static CpuFeature Detect()
    {
        var highest = X86Base.CpuId(0, 0).Eax;
        var highestExtended = (uint)X86Base.CpuId(unchecked((int)0x80000000), 0).Eax;
        var (_, _, c1, _) = X86Base.CpuId(1, 0);
        var (_, b7, c7, d7) = highest >= 7 ? X86Base.CpuId(7, 0) : default;
        var extended = highestExtended >= 0x80000001 ? X86Base.CpuId(unchecked((int)0x80000001), 0).Ecx : 0;

        // Which register files the kernel saves: XCR0 bits 1, 2 (SSE, AVX) and 5, 6, 7 (opmask, upper halves, upper sixteen).
        const int osXsave = 27;
        var xcr0 = Bit(c1, osXsave) ? StubPage.ReadXcr0() : 0;
        var avxState = (xcr0 & 0x6) == 0x6;
        var avx512State = (xcr0 & 0xE6) == 0xE6;

        var flags = CpuFeature.None;
        void Add(CpuFeature feature, bool present)
        {
            if (present) flags |= feature;
        }
        Add(CpuFeature.Pclmulqdq, Bit(c1, 1));
        Add(CpuFeature.Fma, Bit(c1, 12));
        Add(CpuFeature.CmpXchg16B, Bit(c1, 13));
        Add(CpuFeature.Sse42, Bit(c1, 20));
        Add(CpuFeature.Movbe, Bit(c1, 22));
        Add(CpuFeature.Popcnt, Bit(c1, 23));
        Add(CpuFeature.Aes, Bit(c1, 25));
        Add(CpuFeature.Avx, Bit(c1, 28) && avxState);
        Add(CpuFeature.F16c, Bit(c1, 29));
        Add(CpuFeature.Lzcnt, Bit(extended, 5));
        Add(CpuFeature.Bmi1, Bit(b7, 3));
        Add(CpuFeature.Avx2, Bit(b7, 5));
        Add(CpuFeature.Bmi2, Bit(b7, 8));
        Add(CpuFeature.Erms, Bit(b7, 9));
        Add(CpuFeature.Adx, Bit(b7, 19));
        Add(CpuFeature.Sha, Bit(b7, 29));
        Add(CpuFeature.Gfni, Bit(c7, 8));
        Add(CpuFeature.Fsrm, Bit(d7, 4));
        Add(CpuFeature.Avx512, avx512State && Bit(b7, 16) && Bit(b7, 17) && Bit(b7, 30) && Bit(b7, 31));

        // CPUID shows FSGSBASE even where CR4 forbids it; the kernel says in AT_HWCAP2 whether it allows it.
        const ulong atHwcap2 = 26, hwcap2FsGsBase = 2;
        Add(CpuFeature.FsGsBase, Bit(b7, 0) && (Libc.GetAuxiliaryValue(atHwcap2) & hwcap2FsGsBase) != 0);
        return Close(flags);
    }

    private static bool Bit(int word, int bit) => (word >>> bit & 1) != 0;
}
