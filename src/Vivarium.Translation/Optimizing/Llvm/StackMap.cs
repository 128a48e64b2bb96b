using System.Buffers.Binary;

namespace Vivarium.Translation.Optimizing.Llvm;

/// <summary>Where a value is at a patch point.</summary>
internal enum StackMapKind : byte
{
    Register = 1,

    /// <summary>The value is an address: a register's content plus an offset.</summary>
    Direct,

    /// <summary>In memory, at a register's content plus an offset.</summary>
    Indirect,
    Constant,
}

/// <summary>A location of a record.</summary>
/// <param name="Kind">What kind of place it is.</param>
/// <param name="Size">Bytes of the value.</param>
/// <param name="Register">DWARF's number.</param>
/// <param name="Value">The offset, or the constant.</param>
internal readonly record struct StackMapLocation(StackMapKind Kind, int Size, int Register, long Value);

/// <summary>What LLVM says of a patch point.</summary>
/// <param name="Id">As given by the IR; several may have the same.</param>
/// <param name="Offset">Bytes from the function's start.</param>
/// <param name="Locations">Results and arguments, then the live values.</param>
internal readonly record struct StackMapRecord(ulong Id, int Offset, StackMapLocation[] Locations);

/// <summary>Reads the section .llvm_stackmaps of an object with one function (version 3, LLVM's "Stack maps and patch points").</summary>
internal static class StackMap
{
    private const int HeadSize = 16, FunctionSize = 24, ConstantSize = 8, RecordHead = 16, LocationSize = 12, LiveOutSize = 4;

    /// <exception cref="InvalidOperationException">The section is not as it should be.</exception>
    public static StackMapRecord[] Read(ReadOnlySpan<byte> section)
    {
        if (section.IsEmpty) return [];
        if (section.Length < HeadSize || section[0] != 3) throw Bad();
        uint functions = Word(section, 4), constants = Word(section, 8), count = Word(section, 12);
        if (functions > 1) throw Bad();
        long at = HeadSize + functions * FunctionSize, constantsAt = at;
        at += (long)constants * ConstantSize;
        if (at > section.Length || count > (section.Length - at) / RecordHead) throw Bad();
        var records = new StackMapRecord[count];
        for (int n = 0; n < records.Length; n++)
        {
            if (at + RecordHead > section.Length) throw Bad();
            ReadOnlySpan<byte> record = section[(int)at..];
            uint offset = Word(record, 8);
            int locations = BinaryPrimitives.ReadUInt16LittleEndian(record[14..]);
            long liveOuts = (RecordHead + locations * LocationSize + 7) & ~7;
            if (liveOuts + 4 > record.Length || offset > int.MaxValue) throw Bad();
            var list = new StackMapLocation[locations];
            for (int i = 0; i < locations; i++)
            {
                ReadOnlySpan<byte> location = record.Slice(RecordHead + i * LocationSize, LocationSize);
                int kind = location[0], value = BinaryPrimitives.ReadInt32LittleEndian(location[8..]);
                if (kind is < 1 or > 5) throw Bad();
                long content = value;
                if (kind == 5)
                {
                    if ((uint)value >= constants) throw Bad();
                    content = BinaryPrimitives.ReadInt64LittleEndian(section[(int)(constantsAt + (long)value * ConstantSize)..]);
                }
                list[i] = new StackMapLocation(kind == 5 ? StackMapKind.Constant : (StackMapKind)kind, BinaryPrimitives.ReadUInt16LittleEndian(location[2..]),
                    BinaryPrimitives.ReadUInt16LittleEndian(location[4..]), content);
            }
            records[n] = new StackMapRecord(BinaryPrimitives.ReadUInt64LittleEndian(record), (int)offset, list);
            int outs = BinaryPrimitives.ReadUInt16LittleEndian(record[(int)(liveOuts + 2)..]);
            at += (liveOuts + 4 + outs * LiveOutSize + 7) & ~7;
        }
        return records;
    }

    private static uint Word(ReadOnlySpan<byte> data, int at) => BinaryPrimitives.ReadUInt32LittleEndian(data[at..]);

    private static InvalidOperationException Bad() => new("the stack map is damaged");
}
