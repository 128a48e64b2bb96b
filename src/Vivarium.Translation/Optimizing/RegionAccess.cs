using System.Buffers.Binary;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Optimizing.Llvm;

namespace Vivarium.Translation.Optimizing;

/// <summary>What an access of a region with exact faults does.</summary>
internal enum AccessKind : byte { Lb, Lbu, Lh, Lhu, Lw, Lwu, Ld, LoadSingle, LoadDouble, Sb, Sh, Sw, Sd, StoreSingle, StoreDouble }

/// <summary>In which form a region keeps a guest register at an access; the dirty ones may hold other NaNs than the canonical one.</summary>
internal enum SavedForm : byte { Bits, Double, DirtyDouble, Single, DirtySingle }

/// <summary>A guest register at an access: 0..31, floating point from 32 on.</summary>
internal readonly record struct SavedValue(byte Register, SavedForm Form);

/// <summary>
/// A guest's load or store in a region with exact faults: one instruction, which is written into the room of a patch point of LLVM once that has chosen registers.
/// </summary>
/// <param name="Pc">Address of the guest's instruction.</param>
/// <param name="Kind">What it does.</param>
/// <param name="Displacement">Bytes to add to the address.</param>
/// <param name="Saved">What the region holds in front of it, in the order of the patch point's live values.</param>
internal readonly record struct RegionAccess(ulong Pc, AccessKind Kind, int Displacement, SavedValue[] Saved)
{
    public bool Loads => Kind <= AccessKind.LoadDouble;

    /// <summary>Registers in front of the live values in its record: what is loaded or stored, the memory's base and the address.</summary>
    public const int Operands = 3;

    private static readonly byte[][] Nops =
    [
        [], [0x90], [0x66, 0x90], [0x0F, 0x1F, 0x00], [0x0F, 0x1F, 0x40, 0], [0x0F, 0x1F, 0x44, 0, 0], [0x66, 0x0F, 0x1F, 0x44, 0, 0], [0x0F, 0x1F, 0x80, 0, 0, 0, 0],
        [0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0], [0x66, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],
    ];

    private static bool IsFloat(AccessKind kind) => kind is AccessKind.LoadSingle or AccessKind.LoadDouble or AccessKind.StoreSingle or AccessKind.StoreDouble;

    /// <summary>Bytes that the instruction takes at most.</summary>
    public int Room
    {
        get
        {
            int displacement = Displacement is >= -128 and <= 127 ? 1 : 4;
            if (IsFloat(Kind)) return HostFeatures.HasAvx512Vl ? 11 : 6 + displacement;
            return displacement + Kind switch { AccessKind.Lw or AccessKind.Lwu or AccessKind.Ld or AccessKind.Sb or AccessKind.Sw or AccessKind.Sd => 4, _ => 5 };
        }
    }

    /// <summary>Writes the instruction, and no-ops behind it, into <paramref name="room"/>.</summary>
    /// <exception cref="InvalidOperationException">Not in registers that it can have.</exception>
    public void Encode(Span<byte> room, StackMapLocation value, StackMapLocation memory, StackMapLocation address)
    {
        bool isFloat = IsFloat(Kind);
        int data = isFloat ? Vector(value) : Integer(value), @base = Integer(memory), index = Integer(address);
        if (index == 4) throw new InvalidOperationException("an address in rsp");
        int at = 0;
        bool isFar = Displacement is < -128 or > 127;
        int mode = isFar ? 2 : Displacement != 0 || (@base & 7) == 5 ? 1 : 0;
        int high = (data >> 3 & 1) << 2 | (index >> 3) << 1 | @base >> 3;
        if (!isFloat)
        {
            (byte prefix, bool wide, bool twoBytes, byte opcode) = Kind switch
            {
                AccessKind.Lb => ((byte)0, true, true, (byte)0xBE), AccessKind.Lbu => ((byte)0, false, true, (byte)0xB6),
                AccessKind.Lh => ((byte)0, true, true, (byte)0xBF), AccessKind.Lhu => ((byte)0, false, true, (byte)0xB7),
                AccessKind.Lw => ((byte)0, true, false, (byte)0x63), AccessKind.Lwu => ((byte)0, false, false, (byte)0x8B),
                AccessKind.Ld => ((byte)0, true, false, (byte)0x8B), AccessKind.Sb => ((byte)0, false, false, (byte)0x88),
                AccessKind.Sh => ((byte)0x66, false, false, (byte)0x89), AccessKind.Sw => ((byte)0, false, false, (byte)0x89), _ => ((byte)0, true, false, (byte)0x89),
            };
            if (prefix != 0) room[at++] = prefix;
            room[at++] = (byte)(0x40 | (wide ? 8 : 0) | high); // always: of sb's register the low byte is meant
            if (twoBytes) room[at++] = 0x0F;
            room[at++] = opcode;
        }
        else
        {
            bool isDouble = Kind is AccessKind.LoadDouble or AccessKind.StoreDouble;
            byte opcode = (byte)(Loads ? 0x10 : 0x11);
            if (data >= 16)
            {
                // EVEX scales short displacements.
                if (mode == 1) mode = 2;
                room[at++] = 0x62;
                room[at++] = (byte)(((data >> 3 & 1) == 0 ? 0x80 : 0) | (index < 8 ? 0x40 : 0) | (@base < 8 ? 0x20 : 0) | ((data & 16) == 0 ? 0x10 : 0) | 1);
                room[at++] = (byte)((isDouble ? 0x80 : 0) | 0x7C | (isDouble ? 3 : 2));
                room[at++] = 0x08;
            }
            else if (HostFeatures.HasAvx)
            {
                room[at++] = 0xC4;
                room[at++] = (byte)((data < 8 ? 0x80 : 0) | (index < 8 ? 0x40 : 0) | (@base < 8 ? 0x20 : 0) | 1);
                room[at++] = (byte)(0x78 | (isDouble ? 3 : 2));
            }
            else
            {
                room[at++] = (byte)(isDouble ? 0xF2 : 0xF3);
                room[at++] = (byte)(0x40 | high);
                room[at++] = 0x0F;
            }
            room[at++] = opcode;
        }
        room[at++] = (byte)(mode << 6 | (data & 7) << 3 | 4);
        room[at++] = (byte)((index & 7) << 3 | @base & 7);
        if (mode == 1) room[at++] = (byte)Displacement;
        else if (mode == 2)
        {
            BinaryPrimitives.WriteInt32LittleEndian(room[at..], Displacement);
            at += 4;
        }
        while (at < room.Length)
        {
            byte[] nop = Nops[Math.Min(room.Length - at, Nops.Length - 1)];
            nop.CopyTo(room[at..]);
            at += nop.Length;
        }
    }

    private static int Integer(StackMapLocation location) =>
        location is { Kind: StackMapKind.Register, Value: 0 } && RegionFaults.IntegerOf(location.Register) is >= 0 and var r ? r : throw new InvalidOperationException("an operand of an access is in no integer register");

    private static int Vector(StackMapLocation location) =>
        location is { Kind: StackMapKind.Register, Value: 0 } && RegionFaults.VectorOf(location.Register) is >= 0 and var r ? r : throw new InvalidOperationException("an operand of an access is in no vector register");
}
