using System.Numerics;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Float;
using Vivarium.Translation.Optimizing.Llvm;

namespace Vivarium.Translation.Optimizing;

/// <summary>
/// Where a region with exact faults keeps the guest's registers at each of its accesses: from the host's registers and the region's frame at a fault the hart's state
/// becomes what it is in front of the guest's instruction.
/// </summary>
/// <remarks>Does not change once its region is in service.</remarks>
internal sealed unsafe class RegionFaults
{
    /// <summary>Where a value is.</summary>
    internal enum Place : byte { Integer, Vector, Memory, Constant }

    /// <summary>A guest register's value at an access. <paramref name="Number"/> is the host register (in memory, the base), <paramref name="Offset"/> an offset in memory or the index of a constant.</summary>
    internal readonly record struct Location(SavedValue Value, Place Place, byte Number, int Offset);

    private readonly int[] _offsets; // from the function's start, sorted
    private readonly ulong[] _pcs;
    private readonly int[] _first; // of each access in _locations, and the end
    private readonly Location[] _locations;
    private readonly ulong[] _constants;
    private uint _inVectors;

    private RegionFaults(int[] offsets, ulong[] pcs, int[] first, Location[] locations, ulong[] constants) =>
        (_offsets, _pcs, _first, _locations, _constants) = (offsets, pcs, first, locations, constants);

    /// <summary>Host addresses of the function that this is about.</summary>
    public ulong Start { get; private set; }
    public ulong End { get; private set; }

    /// <summary>x86 numbers of DWARF's integer registers; -1 for others.</summary>
    public static int IntegerOf(int dwarf) => (uint)dwarf < 16 ? (ReadOnlySpan<byte>)[0, 2, 1, 3, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15] is var map ? map[dwarf] : -1 : -1;

    /// <summary>The same of vector registers.</summary>
    public static int VectorOf(int dwarf) => dwarf switch { >= 17 and <= 32 => dwarf - 17, >= 67 and <= 82 => dwarf - 67 + 16, _ => -1 };

    /// <summary>Writes the accesses into a function's code, and notes where everything is at them.</summary>
    /// <param name="accesses">As the IR names them by number.</param>
    /// <param name="records">What LLVM has made of them.</param>
    /// <param name="function">The function's code.</param>
    /// <exception cref="InvalidOperationException">LLVM has put something where it cannot be.</exception>
    public static RegionFaults Build(IReadOnlyList<RegionAccess> accesses, StackMapRecord[] records, Span<byte> function)
    {
        Array.Sort(records, static (a, b) => a.Offset.CompareTo(b.Offset));
        var offsets = new int[records.Length];
        var pcs = new ulong[records.Length];
        var first = new int[records.Length + 1];
        var locations = new List<Location>();
        var constants = new List<ulong>();
        for (int n = 0; n < records.Length; n++)
        {
            StackMapRecord record = records[n];
            if (record.Id >= (ulong)accesses.Count) throw Bad();
            RegionAccess access = accesses[(int)record.Id];
            int room = access.Room;
            if (record.Locations.Length != RegionAccess.Operands + access.Saved.Length || record.Offset > function.Length - room || (n > 0 && record.Offset < offsets[n - 1] + 5)) throw Bad();
            StackMapLocation[] at = record.Locations;
            // A result comes first, a value to store last.
            if (access.Loads) access.Encode(function.Slice(record.Offset, room), at[0], at[1], at[2]);
            else access.Encode(function.Slice(record.Offset, room), at[2], at[0], at[1]);
            (offsets[n], pcs[n], first[n]) = (record.Offset, access.Pc, locations.Count);
            for (int i = 0; i < access.Saved.Length; i++) locations.Add(Locate(access.Saved[i], at[RegionAccess.Operands + i], constants));
        }
        first[records.Length] = locations.Count;
        return new RegionFaults(offsets, pcs, first, [.. locations], [.. constants]);
    }

    private static Location Locate(SavedValue value, StackMapLocation at, List<ulong> constants)
    {
        int size = value.Form is SavedForm.Single or SavedForm.DirtySingle ? 4 : 8;
        switch (at.Kind)
        {
            case StackMapKind.Register when at.Value == 0 && IntegerOf(at.Register) is >= 0 and var r && size == 8: return new Location(value, Place.Integer, (byte)r, 0);
            case StackMapKind.Register when at.Value == 0 && VectorOf(at.Register) is >= 0 and var x: return new Location(value, Place.Vector, (byte)x, 0);
            case StackMapKind.Indirect when at.Size == size && IntegerOf(at.Register) is 4 or 5: return new Location(value, Place.Memory, (byte)IntegerOf(at.Register), (int)at.Value);
            case StackMapKind.Constant when value.Form == SavedForm.Bits:
                constants.Add((ulong)at.Value);
                return new Location(value, Place.Constant, 0, constants.Count - 1);
            default: throw Bad();
        }
    }

    private static InvalidOperationException Bad() => new("the stack map does not fit the region");

    /// <summary>The region has been loaded. <paramref name="usedFloats"/> and <paramref name="vectors"/> are the shape's: which guest registers are in the state meanwhile.</summary>
    public void LoadedAt(RegionCode code, uint usedFloats, uint vectors)
    {
        (Start, End) = (code.Function, code.Function + (ulong)code.FunctionLength);
        _inVectors = 0;
        for (int f = 0; f < 32; f++)
        {
            int x = RegisterMap.FloatHost[f];
            if (x >= 0 && ((usedFloats >> f | vectors >> x) & 1) == 0) _inVectors |= 1u << f;
        }
    }

    /// <summary>Makes the state what it was in front of the instruction that faulted at a host address, from the dumps of the host's registers and the frame, which is
    /// still there. False where no access is there.</summary>
    public bool TryRecover(HartState* state, ulong hostPc)
    {
        int n = Array.BinarySearch(_offsets, (int)(hostPc - Start));
        if (n < 0) return false;
        ulong* integers = state->Engine + EngineSlots.RegisterDump, vectors = state->Engine + EngineSlots.VectorDump;
        for (uint set = _inVectors; set != 0; set &= set - 1)
        {
            int f = BitOperations.TrailingZeroCount(set);
            state->F[f] = vectors[RegisterMap.FloatHost[f] * 2];
        }
        uint dirtyDoubles = 0, dirtySingles = 0;
        for (int i = _first[n]; i < _first[n + 1]; i++)
        {
            Location at = _locations[i];
            bool isSingle = at.Value.Form is SavedForm.Single or SavedForm.DirtySingle;
            // SAFETY: LLVM's spill slots of the function that was interrupted; its frame has not been left.
            ulong value = at.Place switch
            {
                RegionFaults.Place.Integer => integers[at.Number],
                RegionFaults.Place.Vector => vectors[at.Number * 2],
                RegionFaults.Place.Memory => isSingle ? *(uint*)(integers[at.Number] + (ulong)at.Offset) : *(ulong*)(integers[at.Number] + (ulong)at.Offset),
                _ => _constants[at.Offset],
            };
            int r = at.Value.Register;
            if (r < 32)
            {
                state->X[r] = value;
                continue;
            }
            state->F[r - 32] = isSingle ? value | 0xFFFFFFFF_00000000 : value;
            if (at.Value.Form == SavedForm.DirtyDouble) dirtyDoubles |= 1u << (r - 32);
            if (at.Value.Form == SavedForm.DirtySingle) dirtySingles |= 1u << (r - 32);
        }
        FloatSlots.Canonicalise(ref *state, new FloatState(dirtyDoubles, dirtySingles));
        state->Pc = _pcs[n];
        return true;
    }
}
