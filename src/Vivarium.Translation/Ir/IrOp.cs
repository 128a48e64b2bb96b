using System.Runtime.InteropServices;
using Vivarium.RiscV.Isa;

namespace Vivarium.Translation.Ir;

/// <summary>One operation of the linear IR: 32 bytes, no references. Register numbers: 0..31 integer, 32..63 floating point.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct IrOp
{
    public IrCode Code;
    public IrFlags Flags;

    /// <summary>Destination; 0 where the result is not wanted (the side effects are).</summary>
    public byte Dst;
    public byte A;
    public byte B;

    /// <summary>Third source (fused multiply-add, compare-exchange), shift amount, or <see cref="IrCondition"/>.</summary>
    public byte C;

    /// <summary>Bytes of a memory access.</summary>
    public byte Width;

    /// <summary>Rounding mode field of floating-point operations.</summary>
    public byte Rm;

    /// <summary>Guest opcode of <see cref="IrCode.Float"/> operations.</summary>
    public Opcode Aux;

    /// <summary>Index of the guest instruction in the block.</summary>
    public ushort Guest;

    /// <summary>Number of the label that stands here, or that an internal branch or jump leads to.</summary>
    public int Label;
    public long Imm;

    /// <summary>Guest address of a branch or jump, link address of an indirect jump, value of a constant store.</summary>
    public ulong Target;

    /// <summary>A branch or jump to a label further down in the block.</summary>
    public readonly bool IsInternal => (Flags & IrFlags.Internal) != 0;

    public readonly bool HasImmB => (Flags & IrFlags.ImmB) != 0;
    public readonly IrCondition Condition => (IrCondition)C;
}
