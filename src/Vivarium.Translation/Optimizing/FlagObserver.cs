using Vivarium.RiscV.Isa;
using Vivarium.Translation.FrontEnd;
using Vivarium.Translation.Optimizing.Lowering;

namespace Vivarium.Translation.Optimizing;

/// <summary>Finds guest code that looks at the accrued floating-point exceptions.</summary>
/// <remarks>
/// Setting flags (<c>csrs fflags</c>, as soft floating point and <c>feraiseexcept</c> do) looks at nothing. Nor does code that saves them and puts them back around what shall
/// raise none, as compilers write quiet comparisons and libraries <c>floor</c>: then what <c>frflags</c> read goes to an <c>fsflags</c>, or nowhere, on all ways on.
/// </remarks>
internal static class FlagObserver
{
    private const uint System = 0x73, Fflags = 1, Fcsr = 3;
    private const int MaxSteps = 48, Reach = 96; // instructions followed, and bytes that an fsflags may stand behind its frflags

    /// <summary>Where an instruction of <paramref name="code"/>, which lies at <paramref name="start"/>, looks at the flags or clears some; null where none does.</summary>
    /// <param name="code">Bytes of instructions.</param>
    /// <param name="start">Where they lie.</param>
    /// <param name="reader">Reads the code around them.</param>
    public static ulong? Find(ReadOnlySpan<byte> code, ulong start, GuestCodeReader reader)
    {
        for (int at = 0; at + 4 <= code.Length;)
        {
            uint bits = (uint)(code[at] | code[at + 1] << 8 | code[at + 2] << 16 | code[at + 3] << 24);
            if ((bits & 3) != 3)
            {
                at += 2;
                continue;
            }
            if (LooksAtFlags(bits, start + (ulong)at, reader)) return start + (ulong)at;
            at += 4;
        }
        return null;
    }

    /// <summary>Whether the instruction <paramref name="bits"/> at <paramref name="pc"/> looks at the flags or clears some.</summary>
    public static bool LooksAtFlags(uint bits, ulong pc, GuestCodeReader reader)
    {
        if (!IsFlagAccess(bits)) return false;
        uint rd = bits >> 7 & 31, function = bits >> 12 & 7;
        if (function is 2 or 6 && rd == 0) return false; // csrs, csrsi
        Instruction i = Decoder.Decode(bits);
        return RegionLowering.IsFlagRead(i) ? !IsQuietRead(pc, reader) : !RegionLowering.IsFlagRestore(i) || !IsQuietRestore(pc, i.Rs1, reader);
    }

    private static bool IsFlagAccess(uint bits) => (bits & 0x7F) == System && (bits >> 12 & 3) != 0 && bits >> 20 is Fflags or Fcsr;

    /// <summary>Whether what the frflags at <paramref name="pc"/> reads can only be put back.</summary>
    public static bool IsQuietRead(ulong pc, GuestCodeReader reader) => Follow(pc, reader, null);

    /// <summary>Whether the fsflags at <paramref name="pc"/> puts back what a quiet frflags in front of it has read.</summary>
    public static bool IsQuietRestore(ulong pc, int register, GuestCodeReader reader)
    {
        uint read = System | (uint)register << 7 | 2 << 12 | Fflags << 20;
        for (ulong at = pc - 4; at + Reach >= pc && at < pc; at -= 2)
        {
            if (!reader.TryFetch(at, out uint bits) || bits != read) continue;
            var restores = new List<ulong>();
            if (Follow(at, reader, restores) && restores.Contains(pc)) return true;
        }
        return false;
    }

    /// <summary>Follows all ways from an frflags until the register is put back, overwritten, or dead by the calling convention. False where it may be used otherwise.</summary>
    private static bool Follow(ulong pc, GuestCodeReader reader, List<ulong>? restores)
    {
        if (!reader.TryFetch(pc, out uint first)) return false;
        int flags = (int)(first >> 7 & 31);
        bool isTemporary = flags is (>= 5 and <= 7) or (>= 12 and <= 17) or >= 28; // neither kept across calls nor a result
        var seen = new HashSet<ulong>();
        var work = new Stack<ulong>();
        work.Push(pc + 4);
        while (work.TryPop(out ulong at))
        {
            while (seen.Add(at))
            {
                if (seen.Count > MaxSteps || !reader.TryFetch(at, out uint bits)) return false;
                Instruction i = Decoder.Decode(bits);
                if (RegionLowering.IsFlagRestore(i) && i.Rs1 == flags)
                {
                    restores?.Add(at);
                    break;
                }
                if (RegionLowering.ReadsInteger(i, flags)) return false;
                if (i.Opcode == Opcode.Jalr)
                {
                    if (!isTemporary || i.Rd != 0 || i.Rs1 != 1) return false;
                    break; // a return
                }
                if (i.Opcode is Opcode.Illegal or Opcode.Ecall or Opcode.Ebreak || (i.Opcode == Opcode.Jal && i.Rd != 0)) return false;
                if (RegionLowering.WritesInteger(i, flags)) break;
                if (i.Opcode is >= Opcode.Beq and <= Opcode.Bgeu) work.Push(at + (ulong)i.Imm);
                at += i.Opcode == Opcode.Jal ? (ulong)i.Imm : i.Length;
            }
        }
        return true;
    }
}
