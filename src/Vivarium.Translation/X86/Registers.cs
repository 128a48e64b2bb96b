namespace Vivarium.Translation.X86;

/// <summary>General-purpose registers, numbered as the encoding does.</summary>
public enum Gpr : byte
{
    Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8, R9, R10, R11, R12, R13, R14, R15,
}

/// <summary>Vector registers; 16 and up exist only with AVX-512VL and are encoded with EVEX.</summary>
public enum Xmm : byte
{
    Xmm0, Xmm1, Xmm2, Xmm3, Xmm4, Xmm5, Xmm6, Xmm7, Xmm8, Xmm9, Xmm10, Xmm11, Xmm12, Xmm13, Xmm14, Xmm15,
    Xmm16, Xmm17, Xmm18, Xmm19, Xmm20, Xmm21, Xmm22, Xmm23, Xmm24, Xmm25, Xmm26, Xmm27, Xmm28, Xmm29, Xmm30, Xmm31,
}

/// <summary>Condition codes, numbered as in jcc, setcc and cmovcc; inverting bit 0 negates.</summary>
public enum Cond : byte
{
    O, No, B, Ae, E, Ne, Be, A, S, Ns, P, Np, L, Ge, Le, G,
}

/// <summary>Operand size of an integer instruction.</summary>
public enum Size : byte
{
    S8, S16, S32, S64,
}

/// <summary>The eight two-operand arithmetic instructions, numbered as the encoding does.</summary>
public enum AluOp : byte
{
    Add, Or, Adc, Sbb, And, Sub, Xor, Cmp,
}

/// <summary>Shifts and rotates, numbered as the encoding's /digit.</summary>
public enum ShiftOp : byte
{
    Rol = 0, Ror = 1, Shl = 4, Shr = 5, Sar = 7,
}

/// <summary>Bit tests, numbered as the encoding's /digit.</summary>
public enum BitOp : byte
{
    Bt = 4, Bts = 5, Btr = 6, Btc = 7,
}

/// <summary>A memory operand: [base + index * 2^scale + displacement], base and index optional.</summary>
public readonly struct Mem
{
    internal const byte None = 16;
    internal readonly byte Base, Index, Scale;

    /// <summary>Displacement in bytes.</summary>
    public readonly int Displacement;

    private Mem(byte baseRegister, byte index, byte scale, int displacement)
    {
        Base = baseRegister;
        Index = index;
        Scale = scale;
        Displacement = displacement;
    }

    /// <summary>[base + displacement].</summary>
    public static Mem At(Gpr baseRegister, int displacement = 0) => new((byte)baseRegister, None, 0, displacement);

    /// <summary>[base + index * 2^scale + displacement]; the index may not be rsp, scale is 0..3.</summary>
    public static Mem At(Gpr baseRegister, Gpr index, int scale, int displacement = 0) =>
        new((byte)baseRegister, (byte)index, (byte)scale, displacement);

    /// <summary>[index * 2^scale + displacement].</summary>
    public static Mem Indexed(Gpr index, int scale, int displacement) => new(None, (byte)index, (byte)scale, displacement);

    /// <summary>The same operand <paramref name="bytes"/> further on.</summary>
    public Mem Plus(int bytes) => new(Base, Index, Scale, Displacement + bytes);

    /// <summary>For dumps: [base+index*scale+displacement].</summary>
    public override string ToString()
    {
        string text = Base == None ? "[" : "[" + ((Gpr)Base).ToString().ToLowerInvariant() + "+";
        if (Index != None) text += ((Gpr)Index).ToString().ToLowerInvariant() + "*" + (1 << Scale) + "+";
        return text + Displacement.ToString(System.Globalization.CultureInfo.InvariantCulture) + "]";
    }
}

/// <summary>A place in the code that jumps name before or after it is known. The default value is an unbound label.</summary>
/// <remarks>Unresolved jumps are chained through their own displacement fields, so a label allocates nothing.</remarks>
public struct Label
{
    internal int Position;   // offset + 1; 0 while unbound
    internal int Chain;      // last rel32 field that waits, offset + 1
    internal int ShortChain; // last rel8 field that waits, offset + 1

    /// <summary>Whether <see cref="Assembler.Bind"/> has placed it.</summary>
    public readonly bool IsBound => Position != 0;

    /// <summary>Whether some jump still waits for it.</summary>
    public readonly bool IsAwaited => Position == 0 && (Chain | ShortChain) != 0;

    /// <summary>Offset of the place from the start of the code; only when bound.</summary>
    public readonly int Offset => Position - 1;
}
