using System.Runtime.CompilerServices;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Float;

/// <summary>
/// The constants and scratch words of floating-point code in <see cref="HartState.Engine"/>, and the translation between fcsr and MXCSR.
/// Emitted code reaches them from rbp, which holds the hart state's address + 128.
/// </summary>
/// <remarks>
/// While emitted code runs, MXCSR holds the guest's rounding direction and accrued exceptions (IE, ZE, OE, UE, PE are NV, DZ, OF, UF, NX;
/// DE means nothing to the guest); the host masks all exceptions. <see cref="HartState.Fflags"/> is stale then; frm is not.
/// </remarks>
public static unsafe class FloatSlots
{
    private const int FirstSlot = 128;
    private const int Bias = 128;

    /// <summary>Byte offset of the area in the hart state, 16-byte aligned for legacy SSE operands.</summary>
    private static readonly int Area = HartStateLayout.Engine + FirstSlot * 8 + 15 & ~15;

    // Byte offsets in the area. 16-byte masks first.
    private const int SignDOffset = 0, AbsDOffset = 16, SignSOffset = 32, AbsSOffset = 48, BoxOffset = 64;
    private const int CanonicalDOffset = 80, CanonicalSOffset = 88, ScratchOffset = 96, ClassDOffset = 112, ClassSOffset = 152;
    private const int ClassTableOffset = 192, FlagsFromMxcsrOffset = 216, MxcsrFromFlagsOffset = 280, RoundingOffset = 312;
    private const int LimitsDOffset = 320, LimitsSOffset = 344, End = 360;

    private static Mem At(int offset) => Mem.At(Gpr.Rbp, Area + offset - Bias);

    internal static Mem SignD => At(SignDOffset);
    internal static Mem AbsD => At(AbsDOffset);
    internal static Mem SignS => At(SignSOffset);
    internal static Mem AbsS => At(AbsSOffset);

    /// <summary>All ones above the low 32 bits of each 64-bit lane: the NaN box.</summary>
    internal static Mem Box => At(BoxOffset);
    internal static Mem CanonicalD => At(CanonicalDOffset);

    /// <summary>The canonical single NaN in its box (8 bytes).</summary>
    internal static Mem CanonicalS => At(CanonicalSOffset);

    /// <summary>Four-byte scratch word 0..3.</summary>
    internal static Mem Scratch(int word) => At(ScratchOffset + word * 4);

    /// <summary>Bounds of fclass over the magnitude shifted left by one: five words of 8 (double) or 4 (single) bytes.</summary>
    internal static Mem ClassBound(bool isSingle, int n) => At(isSingle ? ClassSOffset + n * 4 : ClassDOffset + n * 8);

    /// <summary>The fclass mask (2 bytes) at index * 2: positive classes, then at 12 bytes negative ones.</summary>
    internal static Mem ClassTable(Gpr index) => Mem.At(Gpr.Rbp, index, 1, Area + ClassTableOffset - Bias);

    /// <summary>fflags (1 byte) by MXCSR's low six bits.</summary>
    internal static Mem FlagsFromMxcsr(Gpr index) => Mem.At(Gpr.Rbp, index, 0, Area + FlagsFromMxcsrOffset - Bias);

    /// <summary>MXCSR's flag bits (1 byte) by fflags.</summary>
    internal static Mem MxcsrFromFlags(Gpr index) => Mem.At(Gpr.Rbp, index, 0, Area + MxcsrFromFlagsOffset - Bias);

    /// <summary>MXCSR's rounding control in place, divided by 256 (1 byte), by frm.</summary>
    internal static Mem RoundingFromFrm(Gpr index) => Mem.At(Gpr.Rbp, index, 0, Area + RoundingOffset - Bias);

    /// <summary>The representable result that a conversion shares with its failure value: -2^31, 2^32-1, -2^63 (0..2).</summary>
    internal static Mem ConversionLimit(bool isSingle, int n) => At(isSingle ? LimitsSOffset + n * 4 : LimitsDOffset + n * 8);

    internal static Mem Frm => Mem.At(Gpr.Rbp, HartStateLayout.Frm - Bias);

    /// <summary>Rounding control bits of MXCSR.</summary>
    internal const int RoundingMask = 0x6000;

    /// <summary>All exceptions masked, round to nearest, no flags: the host's own setting.</summary>
    public const uint HostMxcsr = 0x1F80;

    /// <summary>MXCSR's rounding control by frm; modes that x86 lacks count as nearest (code never uses them then).</summary>
    private static ReadOnlySpan<byte> RoundingControl => [0, 3, 1, 2, 0, 0, 0, 0];

    /// <summary>Rounding control for a static rounding mode 0..3.</summary>
    internal static int RoundingBits(int rm) => RoundingControl[rm] << 13;

    /// <summary>Immediate of roundss/roundsd for a static rounding mode 0..3, inexact suppressed.</summary>
    internal static int RoundImmediate(int rm) => RoundingControl[rm] | 8;

    /// <summary>Prepares MXCSR for emitted code, and on first use of a hart the constants. fflags is stale from here to <see cref="Leave"/>.</summary>
    public static void Enter(ref HartState state)
    {
        if (Unsafe.As<byte, ulong>(ref Unsafe.AddByteOffset(ref Unsafe.As<HartState, byte>(ref state), Area + BoxOffset)) == 0) Initialise(ref state);
        ref ulong slot = ref state.Engine[EngineSlots.Mxcsr];
        slot = slot & 0xFFFF_FFFF_0000_0000 | ToMxcsr(state.Fflags, state.Frm);
    }

    /// <summary>fflags from what emitted code left in MXCSR.</summary>
    public static void Leave(ref HartState state) => state.Fflags = ToFflags((uint)state.Engine[EngineSlots.Mxcsr]);

    /// <summary>What an exit would have done: replaces NaNs in the registers that <paramref name="dirty"/> names by the canonical ones.</summary>
    internal static void Canonicalise(ref HartState state, FloatState dirty)
    {
        for (uint set = dirty.DirtyD; set != 0; set &= set - 1)
        {
            ref ulong f = ref state.F[System.Numerics.BitOperations.TrailingZeroCount(set)];
            if (double.IsNaN(BitConverter.UInt64BitsToDouble(f))) f = 0x7FF8000000000000;
        }
        for (uint set = dirty.DirtyS; set != 0; set &= set - 1)
        {
            ref ulong f = ref state.F[System.Numerics.BitOperations.TrailingZeroCount(set)];
            if (float.IsNaN(BitConverter.UInt32BitsToSingle((uint)f))) f = 0xFFFFFFFF_7FC00000;
        }
    }

    /// <summary>Writes the constants; once per hart, before emitted code runs on it.</summary>
    private static void Initialise(ref HartState state)
    {
        if (End > (HartState.EngineSlots - FirstSlot) * 8 - 16) throw new InvalidOperationException("the engine area is too small");
        byte* area = (byte*)Unsafe.AsPointer(ref state) + Area; // SAFETY: the state lies in native memory and the area inside of it
        Pair(SignDOffset, 1UL << 63);
        Pair(AbsDOffset, ~(1UL << 63));
        Pair(SignSOffset, 1UL << 31);
        Pair(AbsSOffset, ~(1UL << 31));
        Pair(BoxOffset, 0xFFFFFFFF_00000000);
        *(ulong*)(area + CanonicalDOffset) = 0x7FF8000000000000;
        *(ulong*)(area + CanonicalSOffset) = 0xFFFFFFFF_7FC00000;

        // Magnitude * 2 at least: 1 subnormal, 2 normal, 3 infinite, 4 signaling NaN, 5 quiet NaN.
        ReadOnlySpan<ulong> classD = [1, 1UL << 53, 0xFFEUL << 52, (0xFFEUL << 52) + 1, 0xFFFUL << 52];
        ReadOnlySpan<uint> classS = [1, 1u << 24, 0x1FEu << 23, (0x1FEu << 23) + 1, 0x1FFu << 23];
        classD.CopyTo(new Span<ulong>(area + ClassDOffset, 5));
        classS.CopyTo(new Span<uint>(area + ClassSOffset, 5));
        ReadOnlySpan<ushort> classes =
        [
            1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9, // +0, +subnormal, +normal, +inf, sNaN, qNaN
            1 << 3, 1 << 2, 1 << 1, 1 << 0, 1 << 8, 1 << 9,
        ];
        classes.CopyTo(new Span<ushort>(area + ClassTableOffset, 12));
        for (int mxcsr = 0; mxcsr < 64; mxcsr++) area[FlagsFromMxcsrOffset + mxcsr] = (byte)ToFflags((uint)mxcsr);
        for (int flags = 0; flags < 32; flags++) area[MxcsrFromFlagsOffset + flags] = (byte)(ToMxcsr((uint)flags, 0) & 0x3F);
        for (int frm = 0; frm < 8; frm++) area[RoundingOffset + frm] = (byte)(RoundingControl[frm] << 5);
        ReadOnlySpan<double> limitsD = [int.MinValue, uint.MaxValue, long.MinValue];
        ReadOnlySpan<float> limitsS = [int.MinValue, uint.MaxValue, long.MinValue];
        limitsD.CopyTo(new Span<double>(area + LimitsDOffset, 3));
        limitsS.CopyTo(new Span<float>(area + LimitsSOffset, 3));

        void Pair(int offset, ulong value)
        {
            ((ulong*)(area + offset))[0] = value;
            ((ulong*)(area + offset))[1] = value;
        }
    }

    /// <summary>fflags of an MXCSR value.</summary>
    public static uint ToFflags(uint mxcsr) =>
        (mxcsr & 1) << 4 | (mxcsr >> 2 & 1) << 3 | (mxcsr >> 3 & 1) << 2 | (mxcsr >> 4 & 1) << 1 | mxcsr >> 5 & 1;

    /// <summary>MXCSR for guest code with these accrued exceptions and this rounding mode.</summary>
    public static uint ToMxcsr(uint fflags, uint frm) =>
        HostMxcsr | (uint)RoundingControl[(int)(frm & 7)] << 13
        | fflags >> 4 & 1 | (fflags >> 3 & 1) << 2 | (fflags >> 2 & 1) << 3 | (fflags >> 1 & 1) << 4 | (fflags & 1) << 5;

    /// <summary>x86 has no counterpart of this rounding mode: while frm is one, the interpreter runs the hart.</summary>
    public static bool IsForeignRounding(uint frm) => frm > 3;
}
