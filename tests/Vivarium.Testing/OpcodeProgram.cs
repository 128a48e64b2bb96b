using System.Buffers.Binary;
using Vivarium.RiscV.Isa;

namespace Vivarium.Testing;

/// <summary>
/// A guest program that executes instructions one by one over a table of operands and writes what each did: for every case, a loop
/// that loads operands, sets fcsr, executes it, and records destination registers, fcsr and memory. Executors are compared by its output.
/// </summary>
public sealed class OpcodeProgram
{
    private const ulong CodeStart = 0x0100_0000, TablesStart = 0x0300_0000, ScratchStart = 0x0500_0000, OutputStart = 0x0600_0000;
    private const int OperandSize = 32, RecordSize = 40;

    // Registers of the generated loop.
    private const int T0 = 5, T1 = 6, T2 = 7, S0 = 8, S1 = 9, A0 = 10, A1 = 11, A2 = 12, A3 = 13, A6 = 16, A7 = 17, S2 = 18, S3 = 19;
    private const int Fa0 = 10, Fa1 = 11, Fa2 = 12, Fa3 = 13;

    /// <summary>One instruction with its immediate and rounding mode, and what must stand around it.</summary>
    /// <param name="Name">For messages.</param>
    /// <param name="Table">Which operands: 0 integers, 1 singles, 2 doubles.</param>
    /// <param name="Code">The instruction, with what prepares and follows it.</param>
    public sealed record Case(string Name, int Table, uint[] Code);

    private readonly ulong[][] _tables;
    private readonly int _count;

    /// <param name="count">Operand sets per case.</param>
    public OpcodeProgram(int count, int seed)
    {
        _count = count;
        _tables = new ulong[3][];
        for (var table = 0; table < 3; table++)
        {
            var random = new Random(seed + table);
            ulong[] specials = table switch
            {
                0 => SpecialValues.Integers,
                1 => [.. SpecialValues.Singles.Select(SpecialValues.Boxed), 0x3f80_0000, 0x7fff_ffff_3f80_0000],
                _ => SpecialValues.Doubles,
            };
            var words = _tables[table] = new ulong[count * 4];
            for (var n = 0; n < count; n++)
            {
                // First every pair of special values that there is room for in half the table, in a shuffled order; then a random mix.
                var pair = (long)n * 7919 % (specials.Length * (long)specials.Length);
                var grid = n < count / 2;
                words[4 * n] = grid ? specials[pair / specials.Length] : Any();
                words[4 * n + 1] = grid ? specials[pair % specials.Length] : random.Next(4) == 0 ? words[4 * n] + (ulong)random.Next(-2, 3) : Any();
                words[4 * n + 2] = random.Next(3) == 0 ? words[4 * n] : Any();
                words[4 * n + 3] = (ulong)((n % 5) << 5 | (random.Next(4) == 0 ? random.Next(32) : 0));

                ulong Any() => table switch
                {
                    0 => SpecialValues.RandomInteger(random),
                    1 => random.Next(30) == 0 ? SpecialValues.RandomSingle(random) : SpecialValues.Boxed(SpecialValues.RandomSingle(random)),
                    _ => SpecialValues.RandomDouble(random),
                };
            }
        }
    }

    /// <summary>All the cases for the 32-bit instructions of an extension; CSR, jump and system instructions have none.</summary>
    public static List<Case> CasesOf(Extension extension)
    {
        var cases = new List<Case>();
        var random = new Random((int)extension);
        foreach (var row in InstructionTable.Rows)
        {
            if (row.Length != 4 || row.Extension != extension) continue;
            var op = row.Opcode;
            var doubleSource = (row.Match >> 25 & 3) == 1;
            switch (row.Class)
            {
                case SemanticsClass.Integer or SemanticsClass.Multiply:
                    foreach (var imm in Immediates(row.Format)) Add(op, 0, imm, 7);
                    break;
                case SemanticsClass.Float:
                    var table = op switch
                    {
                        Opcode.FcvtSD => 2,
                        Opcode.FcvtDS => 1,
                        _ when row.Syntax.StartsWith("D,s", StringComparison.Ordinal) => 0,
                        _ => doubleSource ? 2 : 1,
                    };
                    Add(op, table, 0, 7);
                    if (row.Format is OperandFormat.R4 or OperandFormat.RRm or OperandFormat.RUnaryRm && (row.Mask & 0x7000) == 0)
                    {
                        for (var rm = 0; rm < 5; rm++) Add(op, table, 0, rm);
                    }
                    if (op is Opcode.FliS or Opcode.FliD)
                    {
                        for (var n = 0; n < 32; n++) cases.Add(new($"{row.Mnemonic} {n}", 0, [Encoder.Encode(op, Fa3, n)]));
                    }
                    break;
                case SemanticsClass.Branch:
                    cases.Add(new(row.Mnemonic, 0, [Encoder.Encode(op, rs1: A0, rs2: A1, imm: 8), Encoder.Encode(Opcode.Addi, A3, imm: 1)]));
                    break;
                case SemanticsClass.Load:
                    for (var offset = 0; offset < 9; offset++) cases.Add(new($"{row.Mnemonic} {offset}", 0, [Encoder.Encode(op, A3, S3, imm: offset)]));
                    break;
                case SemanticsClass.Store:
                    for (var offset = 0; offset < 9; offset++) cases.Add(new($"{row.Mnemonic} {offset}", 0, [Encoder.Encode(op, rs1: S3, rs2: A2, imm: offset)]));
                    break;
                case SemanticsClass.FloatLoad:
                    foreach (var offset in (int[])[0, 4, 3]) cases.Add(new($"{row.Mnemonic} {offset}", 2, [Encoder.Encode(op, Fa3, S3, imm: offset)]));
                    break;
                case SemanticsClass.FloatStore:
                    foreach (var offset in (int[])[0, 4, 3]) cases.Add(new($"{row.Mnemonic} {offset}", 1, [Encoder.Encode(op, rs1: S3, rs2: Fa2, imm: offset)]));
                    break;
                case SemanticsClass.Atomic:
                    cases.Add(Atomic(row));
                    break;
            }

            void Add(Opcode opcode, int table, int imm, int rm)
            {
                var name = InstructionTable.BaseRow(opcode).Mnemonic + (imm != 0 ? $" {imm}" : "") + (rm != 7 ? $" rm {rm}" : "");
                cases.Add(new(name, table, [Encoder.Encode(opcode, 13, 10, 11, 12, imm, rm)])); // a3/fa3, a0/fa0, a1/fa1, fa2
            }
        }
        return cases;

        int[] Immediates(OperandFormat format) => format switch
        {
            OperandFormat.I => [0, 1, -1, 2047, -2048, random.Next(-2048, 2048), random.Next(-2048, 2048)],
            OperandFormat.Shift64 => [0, 1, 31, 32, 63, random.Next(64), random.Next(64)],
            OperandFormat.Shift32 => [0, 1, 15, 31, random.Next(32)],
            OperandFormat.U => [0, 0x1000, unchecked((int)0x8000_0000), 0x7fff_f000, -0x1000],
            _ => [0],
        };
    }

    private static Case Atomic(in InstructionRow row)
    {
        var op = row.Opcode;
        var instruction = Encoder.Encode(op, A3, S3, A2);
        return new(row.Mnemonic, 0, op switch
        {
            Opcode.LrW or Opcode.LrD => [Encoder.Encode(op, A3, S3)],
            Opcode.ScW => [Encoder.Encode(Opcode.LrW, T2, S3), instruction],
            Opcode.ScD => [Encoder.Encode(Opcode.LrD, T2, S3), instruction],
            // Expected: a third operand that often equals what is in memory.
            Opcode.AmocasW or Opcode.AmocasD => [Encoder.Encode(op, A3, S3, A1)],
            Opcode.AmocasQ =>
            [
                Encoder.Encode(Opcode.Addi, A3, A1),
                Encoder.Encode(Opcode.Xori, A6, A0, imm: -1), Encoder.Encode(Opcode.Xori, A7, A1, imm: -1),
                Encoder.Encode(op, A2, S3, A6),
                Encoder.Encode(Opcode.Add, A3, A3, A2),
            ],
            _ => [instruction],
        });
    }

    /// <summary>The program for some cases, in order.</summary>
    public GuestElf Build(IReadOnlyList<Case> cases)
    {
        var code = new List<uint>();
        Address(S3, ScratchStart);
        foreach (var c in cases)
        {
            Address(S0, TablesStart + (ulong)(c.Table * _count * OperandSize));
            Address(S2, OutputStart);
            Address(S1, (ulong)_count);
            var loop = code.Count;
            Emit(Opcode.Ld, A0, S0);
            Emit(Opcode.Ld, A1, S0, imm: 8);
            Emit(Opcode.Ld, A2, S0, imm: 16);
            Emit(Opcode.Ld, T0, S0, imm: 24);
            Emit(Opcode.FmvDX, Fa0, A0);
            Emit(Opcode.FmvDX, Fa1, A1);
            Emit(Opcode.FmvDX, Fa2, A2);
            Emit(Opcode.FmvDX, Fa3, A2);
            Emit(Opcode.Sd, rs1: S3, rs2: A0);
            Emit(Opcode.Sd, rs1: S3, rs2: A1, imm: 8);
            Emit(Opcode.Addi, A3, A2);
            Emit(Opcode.Csrrw, 0, T0, imm: 3);
            code.AddRange(c.Code);
            Emit(Opcode.Csrrs, T1, 0, imm: 3);
            Emit(Opcode.Sd, rs1: S2, rs2: A3);
            Emit(Opcode.Fsd, rs1: S2, rs2: Fa3, imm: 8);
            Emit(Opcode.Sd, rs1: S2, rs2: T1, imm: 16);
            Emit(Opcode.Ld, T2, S3);
            Emit(Opcode.Sd, rs1: S2, rs2: T2, imm: 24);
            Emit(Opcode.Ld, T2, S3, imm: 8);
            Emit(Opcode.Sd, rs1: S2, rs2: T2, imm: 32);
            Emit(Opcode.Addi, S0, S0, imm: OperandSize);
            Emit(Opcode.Addi, S2, S2, imm: RecordSize);
            Emit(Opcode.Addi, S1, S1, imm: -1);
            Emit(Opcode.Bne, rs1: S1, imm: (loop - code.Count) * 4);

            Emit(Opcode.Addi, A0, imm: 1); // write(1, output, size)
            Address(A1, OutputStart);
            Address(A2, (ulong)(_count * RecordSize));
            Emit(Opcode.Addi, A7, imm: 64);
            Emit(Opcode.Ecall);
        }
        Emit(Opcode.Addi, A0);
        Emit(Opcode.Addi, A7, imm: 93);
        Emit(Opcode.Ecall);

        var tables = _tables.SelectMany(t => t).SelectMany(BitConverter.GetBytes).ToArray();
        return new()
        {
            Entry = CodeStart,
            Segments =
            [
                new(CodeStart, [.. code.SelectMany(BitConverter.GetBytes)], (ulong)code.Count * 4),
                new(TablesStart, tables, (ulong)tables.Length),
                new(ScratchStart, [], 4096),
                new(OutputStart, [], (ulong)(_count * RecordSize)),
            ],
        };

        void Emit(Opcode opcode, int rd = 0, int rs1 = 0, int rs2 = 0, int imm = 0) => code.Add(Encoder.Encode(opcode, rd, rs1, rs2, imm: imm));

        void Address(int register, ulong value)
        {
            Emit(Opcode.Lui, register, imm: (int)(value + 0x800 & 0xffff_f000));
            Emit(Opcode.Addiw, register, register, imm: (int)value << 20 >> 20);
        }
    }

    /// <summary>The first difference of two outputs in words, and how many there are; null when they are the same.</summary>
    /// <param name="ignore">Says of a case and its operands that a difference is known and not ours.</param>
    public string? Difference(IReadOnlyList<Case> cases, byte[] ours, byte[] theirs, Func<Case, ulong[], bool>? ignore = null)
    {
        var total = cases.Count * _count * RecordSize;
        if (ours.Length != total || theirs.Length != total) return $"outputs of {ours.Length} and {theirs.Length} bytes, not {total}";
        string? first = null;
        var differences = 0;
        for (var at = 0; at < total; at += RecordSize)
        {
            if (ours.AsSpan(at, RecordSize).SequenceEqual(theirs.AsSpan(at, RecordSize))) continue;
            var c = cases[at / RecordSize / _count];
            var entry = at / RecordSize % _count;
            var operands = _tables[c.Table][(entry * 4)..(entry * 4 + 4)];
            if (ignore?.Invoke(c, operands) == true) continue;
            differences++;
            first ??= $"{c.Name}: operands {string.Join(' ', operands.Select(o => o.ToString("x")))}: x f fcsr memory {Record(ours)}, theirs {Record(theirs)}";

            string Record(byte[] output) => string.Join(' ', Enumerable.Range(0, 5).Select(n =>
                BinaryPrimitives.ReadUInt64LittleEndian(output.AsSpan(at + 8 * n)).ToString("x")));
        }
        return first is null ? null : $"{differences} differences; {first}";
    }
}
