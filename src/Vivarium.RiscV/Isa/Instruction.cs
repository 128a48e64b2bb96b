namespace Vivarium.RiscV.Isa;

/// <summary>One decoded instruction. Compressed instructions are expanded to what they stand for; <see cref="Length"/> keeps their size.</summary>
/// <remarks>Held as words rather than as a field each, because the decoder makes them by the word.</remarks>
public readonly record struct Instruction
{
    private readonly uint _destination; // Opcode (16 bits), Rd, Rs1
    private readonly uint _sources;     // Rs2, Rs3, Rm, nothing
    private readonly uint _rowWord;     // AqRl, nothing, Row (16 bits)

    /// <summary>All fields, for tests and for who makes instructions of their own.</summary>
    public Instruction(Opcode opcode, byte rd, byte rs1, byte rs2, byte rs3, byte rm, byte aqRl, ushort row, int imm, uint bits)
        : this((uint)opcode | (uint)rd << 16 | (uint)rs1 << 24, (uint)(rs2 | rs3 << 8 | rm << 16), aqRl | (uint)row << 16, imm, bits)
    {
    }

    internal Instruction(uint destination, uint sources, uint rowWord, int imm, uint bits)
    {
        _destination = destination;
        _sources = sources;
        _rowWord = rowWord;
        Imm = imm;
        Bits = bits;
    }

    /// <summary>What it does; <see cref="Opcode.Illegal"/> for what the table does not know.</summary>
    public Opcode Opcode
    {
        get => (Opcode)(ushort)_destination;
        init => _destination = (_destination & 0xffff_0000) | (uint)value;
    }

    /// <summary>Destination register number (integer or floating point, as the opcode says).</summary>
    public byte Rd
    {
        get => (byte)(_destination >> 16);
        init => _destination = (_destination & 0xff00_ffff) | (uint)value << 16;
    }

    /// <summary>First source; zimm of CSR instructions.</summary>
    public byte Rs1
    {
        get => (byte)(_destination >> 24);
        init => _destination = (_destination & 0x00ff_ffff) | (uint)value << 24;
    }

    /// <summary>Second source.</summary>
    public byte Rs2
    {
        get => (byte)_sources;
        init => _sources = (_sources & 0xffff_ff00) | value;
    }

    /// <summary>Third source (fused multiply-add).</summary>
    public byte Rs3 => (byte)(_sources >> 8);

    /// <summary>Rounding mode field (0..7; 7 is dynamic) where the opcode has one.</summary>
    public byte Rm => (byte)(_sources >> 16);

    /// <summary>2 or 4 bytes. From the bits alone, so that the next instruction's address need not wait for the decoder's tables.</summary>
    public byte Length => (byte)((Bits & 3) == 3 ? 4 : 2);

    /// <summary>Bit 1 aq, bit 0 rl (atomics); for fence: pred in bits 7..4, succ in bits 3..0.</summary>
    public byte AqRl
    {
        get => (byte)_rowWord;
        init => _rowWord = (_rowWord & 0xffff_ff00) | value;
    }

    /// <summary>Index into the instruction table: the encoding that matched (compressed forms have their own rows).</summary>
    public ushort Row => (ushort)(_rowWord >> 16);

    /// <summary>Sign-extended immediate (lui, auipc: already shifted left by 12), shift amount, CSR number.</summary>
    public int Imm { get; init; }

    /// <summary>The instruction's bits (16 or 32).</summary>
    public uint Bits { get; }

    /// <summary>For debugging: the opcode with its fields.</summary>
    public override string ToString() => $"{Opcode} rd={Rd} rs1={Rs1} rs2={Rs2} imm={Imm} ({Bits:x})";
}
