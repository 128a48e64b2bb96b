using System.Runtime.Intrinsics;
using Vivarium.Translation.Cache;
using Vivarium.Translation.Ir;
using Vivarium.Translation.Passes;

namespace Vivarium.Translation.CodeGen;

// Results that are computed only where the block is left before they are overwritten: see DeferredResults.
public sealed unsafe partial class CodeGenerator
{
    private readonly short[] _deferredOps = new short[DeferredResults.Max]; // indices of operations, in program order
    private ulong _deferred; // bits by number: not computed, not overwritten yet
    private int _deferredCount;

    private void ResetDeferred()
    {
        _deferred = 0;
        _deferredCount = 0;
        _indexedLoad = -1;
        Vector128<byte>.Zero.Store(_deferredOf);
        Vector128<byte>.Zero.Store(_deferredOf + 16);
    }

    /// <summary>Instead of emitting the operation. What the register holds meanwhile is of no use to anybody.</summary>
    private void Defer(in IrOp op)
    {
        Overwrite(op.Dst);
        _deferredOps[_deferredCount] = (short)_opIndex;
        _deferred |= 1UL << _deferredCount;
        _deferredOf[op.Dst] = (byte)++_deferredCount;
        _pending &= ~(1u << op.Dst);
        _known32 &= ~(1u << op.Dst);
    }

    /// <summary>Register <paramref name="g"/> has a new value.</summary>
    private void Overwrite(int g)
    {
        if (g >= 32 || _deferredOf[g] == 0) return;
        _deferred &= ~(1UL << _deferredOf[g] - 1);
        _deferredOf[g] = 0;
    }

    /// <summary>In cold code: computes what an exit has to leave. Sources are as they were there.</summary>
    private void EmitDeferred(ulong deferred, uint pending)
    {
        _pending = pending;
        _known32 = 0;
        for (; deferred != 0; deferred &= deferred - 1)
        {
            _opIndex = _deferredOps[System.Numerics.BitOperations.TrailingZeroCount(deferred)];
            Lower(ref _block.Ops[_opIndex]);
        }
        CanonicalAll(_pending);
        _pending = 0;
    }

    /// <summary>Behind a fault point: how to evaluate what was not computed.</summary>
    private void DescribeDeferred(uint codeOffset)
    {
        for (ulong set = _deferred; set != 0; set &= set - 1)
        {
            ref readonly IrOp op = ref _block.Ops[_deferredOps[System.Numerics.BitOperations.TrailingZeroCount(set)]];
            NewFault() = FaultPoint.Deferred(codeOffset, op.Code, op.Dst, op.A, op.B, op.C, op.HasImmB || op.Code == IrCode.Const, op.Imm);
        }
    }

    private ref FaultPoint NewFault()
    {
        if (_faultCount == _faults.Length) Array.Resize(ref _faults, _faultCount * 2);
        return ref _faults[_faultCount++];
    }
}
