using System.Buffers.Binary;
using Vivarium.RiscV.Isa;

namespace Vivarium.Testing;

/// <summary>Makes one executable of many <see cref="RandomProgram"/>s. Each starts from its own state, and at its end writes all
/// registers, fcsr and the data pages; so other emulators can be compared by their output.</summary>
public static class RandomProgramElf
{
    // Where each program's pristine state is kept, and which registers of it go where.
    private const ulong ImagesStart = 0x2000_0000;
    private const int StatePart = 1024;
    private const int X0Offset = 0, F0Offset = 256, FcsrOffset = 512, RecordHead = 520;
    private const ulong ImageSize = StatePart + RandomProgram.DataSize + RandomProgram.ConstantsSize;

    /// <summary>Bytes that each program writes.</summary>
    public const int RecordSize = RecordHead + (int)RandomProgram.DataSize;

    /// <summary>Builds it. The programs must have been generated without traps.</summary>
    public static GuestElf Build(IReadOnlyList<RandomProgram> programs)
    {
        var code = new List<byte>();
        var images = new byte[programs.Count * (int)ImageSize];
        for (var n = 0; n < programs.Count; n++)
        {
            var p = programs[n];
            var image = images.AsSpan(n * (int)ImageSize, (int)ImageSize);
            for (var r = 0; r < 32; r++)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(image[(X0Offset + 8 * r)..], p.X[r]);
                BinaryPrimitives.WriteUInt64LittleEndian(image[(F0Offset + 8 * r)..], p.F[r]);
            }
            BinaryPrimitives.WriteUInt64LittleEndian(image[FcsrOffset..], p.Frm << 5 | p.Fflags);
            p.Data.CopyTo(image[StatePart..]);
            p.Constants.CopyTo(image[(StatePart + p.Data.Length)..]);
            EmitProgram(p, ImagesStart + (ulong)n * ImageSize);
        }
        Emit(Opcode.Addi, 10);
        Emit(Opcode.Addi, 17, imm: 93);
        Emit(Opcode.Ecall);
        return new()
        {
            Entry = RandomProgram.CodeStart,
            Segments =
            [
                new(RandomProgram.CodeStart, [.. code], (ulong)code.Count),
                new(RandomProgram.DataStart, [], RandomProgram.DataSize),
                new(RandomProgram.ConstantsStart, [], RandomProgram.ConstantsSize),
                new(ImagesStart, images, (ulong)images.Length),
            ],
        };

        void EmitProgram(RandomProgram p, ulong image)
        {
            Copy(image + StatePart, RandomProgram.DataStart, RandomProgram.DataSize);
            Copy(image + StatePart + RandomProgram.DataSize, RandomProgram.ConstantsStart, RandomProgram.ConstantsSize);
            // A reservation left from the program before would be one more bit of state: end it.
            Address(5, RandomProgram.DataStart);
            Emit(Opcode.ScD, 0, 5, 0);
            Address(31, image);
            Emit(Opcode.Ld, 5, 31, imm: FcsrOffset);
            Emit(Opcode.Csrrw, 0, 5, imm: 3);
            for (var r = 0; r < 32; r++) Emit(Opcode.Fld, r, 31, imm: F0Offset + 8 * r);
            for (var r = 1; r < 32; r++) Emit(Opcode.Ld, r, 31, imm: X0Offset + 8 * r); // x31 last

            // The program without its ecall, which is its last instruction.
            code.AddRange(p.Code.AsSpan(0, p.Code.Length - 4));
            if (code.Count % 4 != 0) code.AddRange([0x01, 0x00]); // c.nop

            // x18 still points to the middle of the constants, which are not needed any more.
            for (var r = 0; r < 32; r++) Emit(Opcode.Sd, rs1: 18, rs2: r, imm: X0Offset + 8 * r);
            for (var r = 0; r < 32; r++) Emit(Opcode.Fsd, rs1: 18, rs2: r, imm: F0Offset + 8 * r);
            Emit(Opcode.Csrrs, 5, 0, imm: 3);
            Emit(Opcode.Sd, rs1: 18, rs2: 5, imm: FcsrOffset);
            Write(RandomProgram.ConstantsStart + RandomProgram.ConstantsSize / 2, RecordHead);
            Write(RandomProgram.DataStart, RandomProgram.DataSize);
        }

        void Copy(ulong from, ulong to, ulong bytes)
        {
            Address(5, from);
            Address(6, to);
            Address(7, to + bytes);
            Emit(Opcode.Ld, 8, 5);
            Emit(Opcode.Sd, rs1: 6, rs2: 8);
            Emit(Opcode.Addi, 5, 5, imm: 8);
            Emit(Opcode.Addi, 6, 6, imm: 8);
            Emit(Opcode.Bne, rs1: 6, rs2: 7, imm: -16);
        }

        void Write(ulong address, ulong bytes)
        {
            Emit(Opcode.Addi, 10, imm: 1);
            Address(11, address);
            Address(12, bytes);
            Emit(Opcode.Addi, 17, imm: 64);
            Emit(Opcode.Ecall);
        }

        void Emit(Opcode opcode, int rd = 0, int rs1 = 0, int rs2 = 0, int imm = 0)
        {
            Span<byte> bytes = stackalloc byte[4];
            BinaryPrimitives.WriteUInt32LittleEndian(bytes, Encoder.Encode(opcode, rd, rs1, rs2, imm: imm));
            code.AddRange(bytes);
        }

        void Address(int register, ulong value)
        {
            Emit(Opcode.Lui, register, imm: (int)(value + 0x800 & 0xffff_f000));
            Emit(Opcode.Addiw, register, register, imm: (int)value << 20 >> 20);
        }
    }

    /// <summary>Where two outputs differ first, in words; null where they are the same.</summary>
    public static string? Difference(IReadOnlyList<RandomProgram> programs, byte[] ours, byte[] theirs)
    {
        if (ours.Length != programs.Count * RecordSize || theirs.Length != ours.Length) return $"outputs of {ours.Length} and {theirs.Length} bytes";
        var at = ours.AsSpan().CommonPrefixLength(theirs);
        if (at == ours.Length) return null;
        var offset = at % RecordSize / 8 * 8;
        at = at / RecordSize * RecordSize + offset;
        var what = offset < F0Offset ? $"x{offset / 8}" : offset < FcsrOffset ? $"f{(offset - F0Offset) / 8}" : offset < RecordHead ? "fcsr" : $"data+{offset - RecordHead:x}";
        return $"seed {programs[at / RecordSize].Seed}: {what}: {BitConverter.ToUInt64(ours, at):x}, theirs {BitConverter.ToUInt64(theirs, at):x}";
    }
}
