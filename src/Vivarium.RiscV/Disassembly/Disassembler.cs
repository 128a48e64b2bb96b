using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Vivarium.RiscV.Isa;
using Decoder = Vivarium.RiscV.Isa.Decoder;

namespace Vivarium.RiscV.Disassembly;

/// <summary>Whose spelling to follow where versions of <c>objdump</c> differ.</summary>
public enum DisassemblyStyle
{
    /// <summary>binutils 2.41 to 2.44: <c>addi</c>, <c>srli</c>, <c>.insn 4, 0x...</c>.</summary>
    Binutils244,
    /// <summary>binutils 2.40: <c>add a0,a0,1</c>, <c>srl a0,a0,0x1</c>, <c>.4byte 0x...</c>.</summary>
    Binutils240,
}

/// <summary>
/// Writes instructions in the syntax of <c>objdump -d</c>. An instance follows addresses that <c>lui</c> and <c>auipc</c> build through the
/// instructions that it is given in order, for the comments after loads, stores, additions and jumps.
/// </summary>
/// <remarks>Not thread-safe; <see cref="Format"/> is.</remarks>
public sealed class Disassembler
{
    private static readonly string[] X =
    [
        "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
        "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
    ];

    private static readonly string[] F =
    [
        "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5",
        "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
    ];

    private static readonly string[] RoundingModes = ["rne", "rtz", "rdn", "rup", "rmm", "unknown", "unknown", "dyn"];

    /// <summary>The constants of <c>fli</c> (Zfa, table "immediate values loaded by the FLI instructions").</summary>
    private static readonly string[] FliConstants =
    [
        "-0x1p+0", "min", "0x1p-16", "0x1p-15", "0x1p-8", "0x1p-7", "0x1p-4", "0x1p-3", "0x1p-2", "0x1.4p-2", "0x1.8p-2", "0x1.cp-2",
        "0x1p-1", "0x1.4p-1", "0x1.8p-1", "0x1.cp-1", "0x1p+0", "0x1.4p+0", "0x1.8p+0", "0x1.cp+0", "0x1p+1", "0x1.4p+1", "0x1.8p+1",
        "0x1p+2", "0x1p+3", "0x1p+4", "0x1p+7", "0x1p+8", "0x1p+15", "0x1p+16", "inf", "nan",
    ];

    private readonly Action<StringBuilder, ulong> _appendAddress;
    private readonly ulong[] _upper = new ulong[32];
    private uint _upperKnown;
    private ulong? _comment;

    /// <param name="extensions">Instructions of other extensions are written as raw words.</param>
    /// <param name="appendAddress">Writes an address with its symbol; by default <c>0x</c> and hexadecimal digits.</param>
    /// <param name="style">Whose spelling.</param>
    public Disassembler(ExtensionSet extensions, Action<StringBuilder, ulong>? appendAddress = null, DisassemblyStyle style = default)
    {
        Extensions = extensions;
        Style = style;
        _appendAddress = appendAddress ?? (static (text, address) => text.Append("0x").Append(address.ToString("x", CultureInfo.InvariantCulture)));
    }

    /// <summary>The extensions whose instructions are written as such; mapping symbols may change them midway.</summary>
    public ExtensionSet Extensions { get; set; }

    public DisassemblyStyle Style { get; }

    /// <summary>What <c>gp</c> holds (<c>__global_pointer$</c>), for comments; null when unknown.</summary>
    public ulong? GlobalPointer { get; set; }

    /// <summary>One instruction on its own: mnemonic, tab, operands.</summary>
    /// <param name="instruction">From <see cref="Decoder.Decode"/>.</param>
    /// <param name="pc">Its address.</param>
    /// <param name="appendAddress">As in the constructor.</param>
    public static string Format(in Instruction instruction, ulong pc, Action<StringBuilder, ulong>? appendAddress = null)
    {
        var text = new StringBuilder();
        new Disassembler(ExtensionSet.All, appendAddress).Append(text, in instruction, pc);
        return text.ToString();
    }

    /// <summary>Appends mnemonic, tab, operands and, where known, <c> # address &lt;symbol&gt;</c>.</summary>
    public void Append(StringBuilder text, in Instruction instruction, ulong pc)
    {
        _comment = null;
        if (!IsWritable(in instruction, out Opcode opcode))
        {
            AppendRaw(text, instruction.Bits, instruction.Length);
            return;
        }
        Instruction i = instruction;
        if (opcode != i.Opcode) i = AsBase(in i, opcode);
        if (i.Length == 2 && AppendHint(text, in i)) return;

        string mnemonic, syntax;
        if (Find(in i, out Alias alias))
        {
            (mnemonic, syntax) = (alias.Mnemonic, alias.Syntax);
        }
        else
        {
            ref readonly InstructionRow row = ref InstructionTable.BaseRow(i.Opcode);
            (mnemonic, syntax) = (row.Mnemonic, row.Syntax);
        }
        if (i.Opcode == Opcode.Fence && i.AqRl == 0xff) syntax = "";
        // c.mv is an addition of x0 that an assembler never writes as one.
        if (i.Length == 2 && i.Opcode == Opcode.Add && i.Rs1 == 0) (mnemonic, syntax) = ("mv", "d,t");

        text.Append(mnemonic);
        if (InstructionTable.BaseRow(i.Opcode).Format == OperandFormat.Amo) text.Append(OrderingSuffix(i.AqRl));
        if (syntax.Length > 0)
        {
            text.Append('\t');
            AppendOperands(text, in i, syntax, pc);
        }
        if (_comment is { } address)
        {
            text.Append(" # ");
            _appendAddress(text, address);
        }
    }

    private bool Find(in Instruction i, out Alias found)
    {
        foreach (ref readonly Alias alias in Aliases.Of(i.Opcode))
        {
            if (!alias.Matches(in i, Style)) continue;
            found = alias;
            return true;
        }
        found = default;
        return false;
    }

    /// <summary>Whether the instruction is written as one: it is defined, in the extensions, and its ignored fields are 0.</summary>
    private bool IsWritable(in Instruction i, out Opcode opcode)
    {
        opcode = i.Opcode;
        if (opcode == Opcode.Illegal) return i.Bits == 0 && i.Length == 2;
        Extension extension = InstructionTable.Rows[i.Row].Extension;
        if (!Extensions.Contains(extension))
        {
            // Hints fall back to the instruction whose space they lie in.
            if (opcode == Opcode.Pause) opcode = Opcode.Fence;
            else if (opcode is Opcode.PrefetchI or Opcode.PrefetchR or Opcode.PrefetchW) opcode = Opcode.Ori;
            else return false;
        }
        return opcode switch
        {
            Opcode.Fence => (i.Bits & 0xf00f_ff80) == 0,
            Opcode.FenceTso => (i.Bits & 0x000f_ff80) == 0,
            Opcode.FenceI => (i.Bits & 0xffff_8f80) == 0,
            // Exact conversions: objdump knows them with rm = 0 only.
            Opcode.FcvtDS or Opcode.FcvtDW or Opcode.FcvtDWu => i.Rm == 0,
            _ => true,
        };
    }

    private static Instruction AsBase(in Instruction i, Opcode opcode) => opcode == Opcode.Fence
        ? i with { Opcode = opcode, AqRl = (byte)(i.Bits >> 20) }
        : i with { Opcode = opcode, Imm = (int)i.Bits >> 20, Rd = 0 };

    /// <summary>Compressed encodings that are written with their own names because they do nothing.</summary>
    private static bool AppendHint(StringBuilder text, in Instruction i)
    {
        if (i.Opcode == Opcode.Illegal)
        {
            text.Append("unimp");
            return true;
        }
        ref readonly InstructionRow row = ref InstructionTable.Rows[i.Row];
        string? hint = row.Format switch
        {
            OperandFormat.CI when i.Opcode == Opcode.Addi && i.Rd == 0 && i.Imm != 0 => $"c.nop\t{i.Imm}",
            OperandFormat.CLi when i.Rd == 0 => $"c.li\tzero,{i.Imm}",
            OperandFormat.CLui when i.Rd == 0 => $"c.lui\tzero,0x{i.Imm >> 12 & 0xfffff:x}",
            OperandFormat.CSlli when i.Imm == 0 => $"c.slli64\t{X[i.Rd]}",
            OperandFormat.CSlli when i.Rd == 0 => $"c.slli\tzero,0x{i.Imm:x}",
            OperandFormat.CShift when i.Imm == 0 => $"{row.Mnemonic}64\t{X[i.Rd]}",
            OperandFormat.CMv when i.Rd == 0 => $"c.mv\tzero,{X[i.Rs2]}",
            OperandFormat.CAdd when i.Rd == 0 => $"c.add\tzero,{X[i.Rs2]}",
            _ => null,
        };
        text.Append(hint);
        return hint != null;
    }

    /// <summary>Appends bits that are no instruction, as the style does.</summary>
    public void AppendRaw(StringBuilder text, uint bits, int length)
    {
        if (Style == DisassemblyStyle.Binutils240)
        {
            text.Append(CultureInfo.InvariantCulture, $".{length}byte\t0x{bits:x}");
            return;
        }
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, bits);
        text.Append(CultureInfo.InvariantCulture, $".insn\t{length}, 0x");
        AppendHalfwords(text, bytes[..length]);
    }

    /// <summary>Little-endian bytes as hexadecimal halfwords, highest first, without leading zero halfwords.</summary>
    internal static void AppendHalfwords(StringBuilder text, ReadOnlySpan<byte> bytes)
    {
        int i = bytes.Length - 2;
        while (i > 0 && bytes[i] == 0 && bytes[i + 1] == 0) i -= 2;
        for (; i >= 0; i -= 2) text.Append((bytes[i + 1] << 8 | bytes[i]).ToString("x4", CultureInfo.InvariantCulture));
    }

    private static string OrderingSuffix(int aqrl) => aqrl switch { 1 => ".rl", 2 => ".aq", 3 => ".aqrl", _ => "" };

    private void AppendOperands(StringBuilder text, in Instruction i, string syntax, ulong pc)
    {
        int start = text.Length;
        foreach (char letter in syntax)
        {
            switch (letter)
            {
                case 'd':
                    text.Append(X[i.Rd]);
                    if (i.Opcode == Opcode.Auipc) SetUpper(i.Rd, pc + (ulong)i.Imm);
                    else if (i.Opcode == Opcode.Lui) SetUpper(i.Rd, (ulong)i.Imm);
                    break;
                case 's':
                    if (i.Opcode == Opcode.Jalr && i.Length == 4) NoteAddress(i.Rs1, i.Imm);
                    text.Append(X[i.Rs1]);
                    break;
                case 't': text.Append(X[i.Rs2]); break;
                case 'D': text.Append(F[i.Rd]); break;
                case 'S': text.Append(F[i.Rs1]); break;
                case 'T': text.Append(F[i.Rs2]); break;
                case 'R': text.Append(F[i.Rs3]); break;
                case 'i':
                    NoteImmediate(in i);
                    text.Append(CultureInfo.InvariantCulture, $"{i.Imm}");
                    break;
                case 'h': text.Append(CultureInfo.InvariantCulture, $"0x{i.Imm:x}"); break;
                case 'u': text.Append(CultureInfo.InvariantCulture, $"0x{i.Imm >> 12 & 0xfffff:x}"); break;
                case 'b': _appendAddress(text, pc + (ulong)i.Imm); break;
                case 'c': text.Append(CsrNames.NameOf(i.Imm) ?? $"0x{i.Imm:x}"); break;
                case 'z': text.Append(CultureInfo.InvariantCulture, $"{i.Rs1}"); break;
                case 'f':
                    AppendFenceSet(text, i.AqRl >> 4);
                    text.Append(',');
                    AppendFenceSet(text, i.AqRl & 15);
                    break;
                case 'l': text.Append(FliConstants[i.Rs1]); break;
                case 'r':
                    // The dynamic mode is not written, nor is the one mode of the exact conversions.
                    if (i.Rm == 7 || (i.Rm == 0 && i.Opcode is Opcode.FcvtDS or Opcode.FcvtDW or Opcode.FcvtDWu)) text.Length--;
                    else text.Append(RoundingModes[i.Rm]);
                    break;
                default: text.Append(letter); break;
            }
        }
        if (text.Length == start) text.Length--;
    }

    private static void AppendFenceSet(StringBuilder text, int set)
    {
        if (set == 0) text.Append("unknown");
        if ((set & 8) != 0) text.Append('i');
        if ((set & 4) != 0) text.Append('o');
        if ((set & 2) != 0) text.Append('r');
        if ((set & 1) != 0) text.Append('w');
    }

    private void SetUpper(int register, ulong value)
    {
        _upper[register] = value;
        _upperKnown |= 1u << register;
    }

    /// <summary>Loads, stores, additions and jumps complete an address that lui or auipc began.</summary>
    private void NoteImmediate(in Instruction i)
    {
        switch (InstructionTable.ClassOf(i.Opcode))
        {
            case SemanticsClass.Load or SemanticsClass.Store or SemanticsClass.FloatLoad or SemanticsClass.FloatStore or SemanticsClass.Jump:
                if (i.Length == 4) NoteAddress(i.Rs1, i.Imm);
                break;
            case SemanticsClass.Integer when i.Opcode == Opcode.Addi && i.Rs1 != 0 && InstructionTable.Rows[i.Row].Format is OperandFormat.I or OperandFormat.CI:
                NoteAddress(i.Rs1, i.Imm);
                break;
            case SemanticsClass.Integer when i.Opcode == Opcode.Addiw && i.Rs1 != 0:
                NoteAddress(i.Rs1, i.Imm);
                if (_comment is { } wide) _comment = (ulong)(int)wide;
                break;
        }
    }

    private void NoteAddress(int register, int offset)
    {
        if ((_upperKnown >> register & 1) != 0)
        {
            _comment = (register != 0 ? _upper[register] : 0) + (ulong)offset;
            _upperKnown &= ~(1u << register);
        }
        else if (register == 3 && GlobalPointer is { } gp)
        {
            _comment = gp + (ulong)offset;
        }
        else if (register is 0 or 4)
        {
            _comment = (ulong)offset;
        }
    }
}
