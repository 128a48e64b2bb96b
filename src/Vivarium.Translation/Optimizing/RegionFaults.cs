using System.Numerics;
using Vivarium.RiscV.Execution;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Dispatch;

namespace Vivarium.Translation.Optimizing;

/// <summary>
/// A region with exact faults in service. Such a region keeps the hart's state, but for pc, as it was at its last checkpoint: where it was entered, or at the last guest store. After a fault
/// execution goes on from there, in the interpreter: what lies in between has only loaded, and comes to the same fault.
/// </summary>
/// <remarks>Does not change.</remarks>
internal sealed unsafe class RegionFaults
{
    private readonly ulong _head;
    private readonly uint _inVectors; // guest registers that stayed in host registers all the time

    public RegionFaults(RegionShape region, RegionCode code)
    {
        _head = region.Head;
        (Start, End) = (code.Function, code.Function + (ulong)code.FunctionLength);
        for (int f = 0; f < 32; f++)
        {
            int x = RegisterMap.FloatHost[f];
            if (x >= 0 && ((region.UsedFloats >> f | region.Vectors >> x) & 1) == 0) _inVectors |= 1u << f;
        }
    }

    /// <summary>Host addresses of the region's function.</summary>
    public ulong Start { get; }
    public ulong End { get; }

    /// <summary>Makes the state what it was at the last checkpoint, from the dump of the host's vector registers.</summary>
    public void Recover(HartState* state)
    {
        for (uint set = _inVectors; set != 0; set &= set - 1)
        {
            int f = BitOperations.TrailingZeroCount(set);
            state->F[f] = state->Engine[EngineSlots.VectorDump + RegisterMap.FloatHost[f] * 2];
        }
        state->Pc = _head + (ulong)(int)state->Engine[EngineSlots.RegionCheckpoint];
    }
}
