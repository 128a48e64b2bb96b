using System.Runtime.InteropServices;
using Vivarium.Translation.Cache;

namespace Vivarium.Translation.Persistence;

// A block in the persistent cache: this head, then ExitCount StoredExits, RunCount StoredRuns, RelocationCount StoredRelocations,
// FaultCount FaultPoints (a quick block: FaultCount bytes, padded to 8), the guest bytes that it was made from, the code (from EntryOffset before its entry on), padding to 8 bytes.

/// <summary>The head of a stored block. Host addresses are offsets from the code's start, guest addresses are relative to the block's.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct StoredHead
{
    /// <summary>Bytes of the whole record, a multiple of 8.</summary>
    public uint Length;

    /// <summary>Where the block's guest address lies in the file that it comes from.</summary>
    public uint FileOffset;
    public ulong GuestHash;
    public fixed byte GuestOfHost[16];
    public ushort CodeLength, LoopOffset, ExitCount, FaultCount, RunCount, RelocationCount;
    public ushort GuestLength;

    /// <summary>1: made by the quick path.</summary>
    public ushort Flags;

    public readonly bool IsQuick => (Flags & Quick) != 0;

    public const ushort Quick = 1;

    /// <summary>Bytes of what tells guest addresses from host addresses.</summary>
    public readonly int FaultBytes => IsQuick ? FaultCount + 7 & ~7 : FaultCount * sizeof(FaultPoint);
}

/// <summary>See <see cref="Cache.ExitRecord"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StoredExit
{
    public long Target;

    /// <summary>0 where the exit cannot be chained.</summary>
    public uint Field;
    public uint Stub;
    public ulong Kind;
}

/// <summary>See <see cref="Cache.GuestRun"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StoredRun
{
    public long Start;
    public ulong Length;
}

/// <summary>A displacement that leads to a dispatch stub; behind that of a call stands the address of an exit's record.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StoredRelocation
{
    public ushort Offset;

    /// <summary>A <see cref="Dispatch.BlockExit"/>.</summary>
    public ushort Stub;

    /// <summary>Index of the exit, or -1.</summary>
    public int Exit;
}
