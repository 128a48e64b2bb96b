namespace Vivarium.RiscV.Isa;

/// <summary>A small operand: <c>Base | (bits >> Shift &amp; Mask)</c>. With mask 0 a constant.</summary>
internal readonly record struct OperandField(byte Shift, byte Mask, byte Base = 0);

/// <summary>A 32-bit format as masks over shifted views of the bits, ready for <see cref="Instruction"/>'s words.</summary>
internal struct WideLayout
{
    /// <summary>Rd and Rs1, both 9 bits above where the encoding has them.</summary>
    public uint RdRs1;
    public uint Rs2, Rs3, Rm, AqRl, FenceSets;
    public uint ImmI, ImmS, ImmU, ImmB11, ImmJ11;

    public WideLayout(in OperandLayout layout)
    {
        RdRs1 = (uint)(layout.Rd.Mask << 16 | layout.Rs1.Mask << 24);
        Rs2 = layout.Rs2.Mask;
        Rs3 = (uint)layout.Rs3.Mask << 8;
        Rm = (uint)layout.Rm.Mask << 16;
        if (layout.AqRl.Shift == 25) AqRl = layout.AqRl.Mask; else FenceSets = layout.AqRl.Mask;
        (ImmI, ImmS, ImmU, ImmB11, ImmJ11) = ((uint)layout.ImmI, layout.ImmS, layout.ImmU, layout.ImmB11, layout.ImmJ11);
    }
}

/// <summary>A compressed format likewise.</summary>
internal struct CompressedLayout
{
    /// <summary>Constants: registers that the format implies.</summary>
    public uint Destination, Sources;

    /// <summary>Masks for Rd in bits 11..7 or 4..2 and Rs1 in bits 11..7, moved to their bytes, and for Rs2.</summary>
    public uint Rd7, Rd2, Rs1, Rs2;
    public CompressedImmediateField Imm;

    public CompressedLayout(in OperandLayout layout)
    {
        Destination = (uint)(layout.Rd.Base << 16 | layout.Rs1.Base << 24);
        Sources = layout.Rs2.Base;
        if (layout.Rd.Shift == 2) Rd2 = (uint)layout.Rd.Mask << 16; else Rd7 = (uint)layout.Rd.Mask << 16;
        Rs1 = (uint)layout.Rs1.Mask << 24;
        Rs2 = layout.Rs2.Mask;
        Imm = layout.CompressedImm;
    }
}

/// <summary>Where a compressed immediate is looked up: its scattered bits, brought together, index a table.</summary>
internal readonly record struct CompressedImmediateField(ushort Start, byte Shift1, ushort Mask1, byte Shift2, ushort Mask2)
{
    public uint IndexOf(uint bits) => Start + ((bits >> Shift1 & Mask1) | (bits >> Shift2 & Mask2));
}

/// <summary>
/// An <see cref="OperandFormat"/> as masks and shifts. A 32-bit immediate is the OR of five views of the bits: <c>(int)bits >> 20</c>
/// under <see cref="ImmI"/>, <c>bits >> 7</c> under <see cref="ImmS"/>, <c>bits</c> under <see cref="ImmU"/>, and bit 11 of branches and
/// jumps under <see cref="ImmB11"/> and <see cref="ImmJ11"/>.
/// </summary>
internal struct OperandLayout
{
    public OperandField Rd, Rs1, Rs2, Rs3, Rm, AqRl;
    public int ImmI;
    public uint ImmS, ImmU, ImmB11, ImmJ11;
    public CompressedImmediateField CompressedImm;

    private static readonly OperandField WideRd = new(7, 31), WideRs1 = new(15, 31), WideRs2 = new(20, 31), Funct3 = new(12, 7);
    private static readonly OperandField CompressedRs2 = new(2, 31), RdPrime = new(2, 7, 8), Rs1Prime = new(7, 7, 8);
    private static readonly OperandField Ra = new(0, 0, 1), Sp = new(0, 0, 2);

    /// <summary>The layouts of all formats, and the immediates of compressed ones that <see cref="CompressedImm"/> points into.</summary>
    public static OperandLayout[] Build(out int[] compressedImmediates)
    {
        var layouts = new OperandLayout[(int)OperandFormat.CAdd + 1];
        // Entry 0 is for formats without an immediate.
        var immediates = new List<int>(4096) { 0 };

        layouts[(int)OperandFormat.R] = new() { Rd = WideRd, Rs1 = WideRs1, Rs2 = WideRs2 };
        layouts[(int)OperandFormat.RUnary] = new() { Rd = WideRd, Rs1 = WideRs1 };
        layouts[(int)OperandFormat.R4] = new() { Rd = WideRd, Rs1 = WideRs1, Rs2 = WideRs2, Rs3 = new(27, 31), Rm = Funct3 };
        layouts[(int)OperandFormat.RRm] = new() { Rd = WideRd, Rs1 = WideRs1, Rs2 = WideRs2, Rm = Funct3 };
        layouts[(int)OperandFormat.RUnaryRm] = new() { Rd = WideRd, Rs1 = WideRs1, Rm = Funct3 };
        layouts[(int)OperandFormat.Amo] = new() { Rd = WideRd, Rs1 = WideRs1, Rs2 = WideRs2, AqRl = new(25, 3) };
        layouts[(int)OperandFormat.I] = new() { Rd = WideRd, Rs1 = WideRs1, ImmI = -1 };
        layouts[(int)OperandFormat.Shift64] = new() { Rd = WideRd, Rs1 = WideRs1, ImmI = 63 };
        layouts[(int)OperandFormat.Shift32] = new() { Rd = WideRd, Rs1 = WideRs1, ImmI = 31 };
        layouts[(int)OperandFormat.S] = new() { Rs1 = WideRs1, Rs2 = WideRs2, ImmI = ~31, ImmS = 31 };
        layouts[(int)OperandFormat.B] = new() { Rs1 = WideRs1, Rs2 = WideRs2, ImmI = ~0x81f, ImmS = 0x1e, ImmB11 = 0x800 };
        layouts[(int)OperandFormat.U] = new() { Rd = WideRd, ImmU = 0xffff_f000 };
        layouts[(int)OperandFormat.J] = new() { Rd = WideRd, ImmI = ~0xf_f801, ImmU = 0xf_f000, ImmJ11 = 0x800 };
        layouts[(int)OperandFormat.Fence] = new() { AqRl = new(20, 255) };
        layouts[(int)OperandFormat.Csr] = new() { Rd = WideRd, Rs1 = WideRs1, ImmI = 0xfff };
        layouts[(int)OperandFormat.CsrImmediate] = new() { Rd = WideRd, Rs1 = WideRs1, ImmI = 0xfff };
        layouts[(int)OperandFormat.CacheBlock] = new() { Rs1 = WideRs1 };
        layouts[(int)OperandFormat.Prefetch] = new() { Rs1 = WideRs1, ImmI = ~31 };

        layouts[(int)OperandFormat.FenceVma] = new() { Rs1 = WideRs1, Rs2 = WideRs2 };

        // Immediates in the bits 12 and 6..2; 12..10 and 6..5; 12..7; 12..10 and 6..2; 12..5; 12..2.
        layouts[(int)OperandFormat.CI] = new() { Rd = WideRd, Rs1 = WideRd, CompressedImm = Imm6(i => Signed6(i)) };
        layouts[(int)OperandFormat.CLi] = new() { Rd = WideRd, CompressedImm = Imm6(i => Signed6(i)) };
        layouts[(int)OperandFormat.CLui] = new() { Rd = WideRd, CompressedImm = Imm6(i => Signed6(i) << 12) };
        layouts[(int)OperandFormat.CSlli] = new() { Rd = WideRd, Rs1 = WideRd, CompressedImm = Imm6(i => i) };
        layouts[(int)OperandFormat.CShift] = new() { Rd = Rs1Prime, Rs1 = Rs1Prime, CompressedImm = Imm6(i => i) };
        layouts[(int)OperandFormat.CAndi] = new() { Rd = Rs1Prime, Rs1 = Rs1Prime, CompressedImm = Imm6(i => Signed6(i)) };
        layouts[(int)OperandFormat.CAddi16sp] = new()
        {
            Rd = Sp, Rs1 = Sp,
            CompressedImm = Imm6(i => Sign(i >> 5, 9) | Bit(i, 4, 4) | Bit(i, 3, 6) | (i >> 1 & 3) << 7 | Bit(i, 0, 5)),
        };
        layouts[(int)OperandFormat.CLwsp] = new() { Rd = WideRd, Rs1 = Sp, CompressedImm = Imm6(i => Bit(i, 5, 5) | (i >> 2 & 7) << 2 | (i & 3) << 6) };
        layouts[(int)OperandFormat.CLdsp] = new() { Rd = WideRd, Rs1 = Sp, CompressedImm = Imm6(i => Bit(i, 5, 5) | (i >> 3 & 3) << 3 | (i & 7) << 6) };

        CompressedImmediateField word = Imm(32, 8, 0x1c, 5, 3, i => (i >> 2) << 3 | Bit(i, 1, 2) | Bit(i, 0, 6));
        CompressedImmediateField doubleword = Imm(32, 8, 0x1c, 5, 3, i => (i >> 2) << 3 | (i & 3) << 6);
        layouts[(int)OperandFormat.CLw] = new() { Rd = RdPrime, Rs1 = Rs1Prime, CompressedImm = word };
        layouts[(int)OperandFormat.CLd] = new() { Rd = RdPrime, Rs1 = Rs1Prime, CompressedImm = doubleword };
        layouts[(int)OperandFormat.CSw] = new() { Rs2 = RdPrime, Rs1 = Rs1Prime, CompressedImm = word };
        layouts[(int)OperandFormat.CSd] = new() { Rs2 = RdPrime, Rs1 = Rs1Prime, CompressedImm = doubleword };
        layouts[(int)OperandFormat.CSwsp] = new() { Rs2 = CompressedRs2, Rs1 = Sp, CompressedImm = Imm(64, 7, 63, 0, 0, i => (i >> 2) << 2 | (i & 3) << 6) };
        layouts[(int)OperandFormat.CSdsp] = new() { Rs2 = CompressedRs2, Rs1 = Sp, CompressedImm = Imm(64, 7, 63, 0, 0, i => (i >> 3) << 3 | (i & 7) << 6) };

        layouts[(int)OperandFormat.CB] = new()
        {
            Rs1 = Rs1Prime,
            CompressedImm = Imm(256, 5, 0xe0, 2, 0x1f, i => Sign(i >> 7, 8) | (i >> 5 & 3) << 3 | (i >> 3 & 3) << 6 | (i >> 1 & 3) << 1 | Bit(i, 0, 5)),
        };
        layouts[(int)OperandFormat.CAddi4spn] = new()
        {
            Rd = RdPrime, Rs1 = Sp,
            CompressedImm = Imm(256, 5, 0xff, 0, 0, i => (i >> 6 & 3) << 4 | (i >> 2 & 15) << 6 | Bit(i, 1, 2) | Bit(i, 0, 3)),
        };
        layouts[(int)OperandFormat.CJ] = new()
        {
            CompressedImm = Imm(2048, 2, 0x7ff, 0, 0, i => Sign(i >> 10, 11) | Bit(i, 9, 4) | (i >> 7 & 3) << 8 | Bit(i, 6, 10) | Bit(i, 5, 6)
                | Bit(i, 4, 7) | (i >> 1 & 7) << 1 | Bit(i, 0, 5)),
        };

        layouts[(int)OperandFormat.CA] = new() { Rd = Rs1Prime, Rs1 = Rs1Prime, Rs2 = RdPrime };
        layouts[(int)OperandFormat.CJr] = new() { Rs1 = WideRd };
        layouts[(int)OperandFormat.CJalr] = new() { Rd = Ra, Rs1 = WideRd };
        layouts[(int)OperandFormat.CMv] = new() { Rd = WideRd, Rs2 = CompressedRs2 };
        layouts[(int)OperandFormat.CAdd] = new() { Rd = WideRd, Rs1 = WideRd, Rs2 = CompressedRs2 };
        compressedImmediates = [.. immediates];
        return layouts;

        CompressedImmediateField Imm6(Func<int, int> value) => Imm(64, 7, 0x20, 2, 0x1f, value);

        CompressedImmediateField Imm(int count, byte shift1, ushort mask1, byte shift2, ushort mask2, Func<int, int> value)
        {
            int start = immediates.Count;
            for (int i = 0; i < count; i++) immediates.Add(value(i));
            return new((ushort)start, shift1, mask1, shift2, mask2);
        }
    }

    private static int Signed6(int i) => i << 26 >> 26;

    /// <summary>Bit <paramref name="from"/> of <paramref name="i"/>, moved to <paramref name="to"/>.</summary>
    private static int Bit(int i, int from, int to) => (i >> from & 1) << to;

    /// <summary>A sign bit: from <paramref name="at"/> up.</summary>
    private static int Sign(int bit, int at) => -(bit & 1) << at;
}
