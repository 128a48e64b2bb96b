using System.Buffers.Binary;

namespace Vivarium.Testing;

/// <summary>A static riscv64 program in memory: segments at fixed addresses. It can be written as an ELF file, for another emulator to
/// run, or mapped by <see cref="MiniLinux"/>.</summary>
public sealed class GuestElf
{
    /// <summary>A segment, readable, writable and executable.</summary>
    /// <param name="Address">Guest address, a multiple of 4096.</param>
    /// <param name="Bytes">The contents; the rest up to <paramref name="Size"/> is zero.</param>
    /// <param name="Size">Bytes in memory.</param>
    public sealed record Segment(ulong Address, byte[] Bytes, ulong Size);

    public required ulong Entry { get; init; }

    public required IReadOnlyList<Segment> Segments { get; init; }

    /// <summary>Writes an executable file and returns its path.</summary>
    public string Save(string path)
    {
        const int headerSize = 64, programHeaderSize = 56, page = 4096;
        using var file = File.Create(path);
        var head = new byte[(headerSize + programHeaderSize * Segments.Count + page - 1) / page * page];
        ReadOnlySpan<byte> ident = [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        ident.CopyTo(head);
        U16(16, 2); // ET_EXEC
        U16(18, 243); // EM_RISCV
        U32(20, 1);
        U64(24, Entry);
        U64(32, headerSize);
        U32(48, 5); // RVC, double-precision ABI
        U16(52, headerSize);
        U16(54, programHeaderSize);
        U16(56, (ushort)Segments.Count);
        U16(58, 64);
        var offset = (ulong)head.Length;
        for (var n = 0; n < Segments.Count; n++)
        {
            var segment = Segments[n];
            var at = headerSize + n * programHeaderSize;
            U32(at, 1); // PT_LOAD
            U32(at + 4, 7);
            U64(at + 8, offset);
            U64(at + 16, segment.Address);
            U64(at + 24, segment.Address);
            U64(at + 32, (ulong)segment.Bytes.Length);
            U64(at + 40, segment.Size);
            U64(at + 48, page);
            offset += Aligned(segment);
        }
        file.Write(head);
        foreach (var segment in Segments)
        {
            file.Write(segment.Bytes);
            file.Write(new byte[(int)(Aligned(segment) - (ulong)segment.Bytes.Length)]);
        }
        file.Dispose();
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return path;

        static ulong Aligned(Segment segment) => ((ulong)segment.Bytes.Length + page - 1) / page * page;
        void U16(int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(at), value);
        void U32(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(at), value);
        void U64(int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(head.AsSpan(at), value);
    }
}
