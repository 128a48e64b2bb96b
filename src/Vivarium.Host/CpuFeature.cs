namespace Vivarium.Host;

/// <summary>Instruction-set features of the host that emitted code may use where they are present. The bit numbers are part of cache
/// fingerprints: append, never renumber.</summary>
[Flags]
public enum CpuFeature : ulong
{
    None = 0,
    Sse42 = 1 << 0,
    Popcnt = 1 << 1,
    CmpXchg16B = 1 << 2,
    Lzcnt = 1 << 3,
    Bmi1 = 1 << 4,
    Bmi2 = 1 << 5,
    Pclmulqdq = 1 << 6,
    Aes = 1 << 7,
    Sha = 1 << 8,
    Movbe = 1 << 9,
    Adx = 1 << 10,

    /// <summary>Usable: the CPU has it and the kernel saves the registers. The same holds for what builds on it.</summary>
    Avx = 1 << 11,
    Avx2 = 1 << 12,
    Fma = 1 << 13,
    F16c = 1 << 14,

    /// <summary>F, VL, DQ and BW together (what every server CPU with AVX-512 has).</summary>
    Avx512 = 1 << 15,

    /// <summary>Fast <c>rep movsb/stosb</c>.</summary>
    Erms = 1 << 16,

    /// <summary><c>rdgsbase</c> and <c>wrgsbase</c>, allowed by the kernel.</summary>
    FsGsBase = 1 << 17,

    /// <summary>Fast <c>rep movsb</c> for short copies.</summary>
    Fsrm = 1 << 18,
    Gfni = 1 << 19,
}
