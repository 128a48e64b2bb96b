using Vivarium.RiscV.Execution;

namespace Vivarium.Translation.Dispatch;

/// <summary>Between <c>fcsr</c> in the hart's state and the MXCSR that emitted code runs with.</summary>
/// <remarks>While emitted code runs, accrued exceptions are MXCSR's sticky flags on top of <see cref="HartState.Fflags"/>.</remarks>
internal static unsafe class FloatControl
{
    private const uint AllMasked = 0x1F80;

    /// <summary>MXCSR rounding control (bits 14..13) by frm; RMM has no counterpart.</summary>
    private static ReadOnlySpan<byte> RoundingControl => [0, 3, 1, 2, 0, 0, 0, 0];

    /// <summary>Prepares the MXCSR slot: rounding mode from frm, no flags.</summary>
    public static void Load(ref HartState state)
    {
        ref ulong slot = ref state.Engine[EngineSlots.Mxcsr];
        slot = slot & 0xFFFF_FFFF_0000_0000 | AllMasked | (uint)RoundingControl[(int)(state.Frm & 7)] << 13;
    }

    /// <summary>Adds the flags that emitted code raised to fflags.</summary>
    public static void Store(ref HartState state)
    {
        uint flags = (uint)state.Engine[EngineSlots.Mxcsr];
        if ((flags & 0x3D) == 0) return;
        // MXCSR: IE 0, ZE 2, OE 3, UE 4, PE 5. fflags: NX 0, UF 1, OF 2, DZ 3, NV 4.
        state.Fflags |= (flags & 1) << 4 | (flags >> 2 & 1) << 3 | (flags >> 3 & 1) << 2 | (flags >> 4 & 1) << 1 | flags >> 5 & 1;
        state.Engine[EngineSlots.Mxcsr] &= ~0x3FUL;
    }
}
