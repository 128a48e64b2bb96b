using Vivarium.RiscV.Execution;
using Vivarium.Translation.Dispatch;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.CodeGen;

// Privileged instructions that kernels execute all the time, on the unit's state in HartState. What is rare in them is the interpreter's: the instruction is
// left before it has had an effect.
public sealed unsafe partial class CodeGenerator
{
    private const int Sie = 1 << 1, Sum = 1 << 18, FloatStatus = 3 << 13, VisibleStatus = Sie | 1 << 5 | 1 << 8 | FloatStatus | Sum | 1 << 19;

    private static Mem State(int offset) => Mem.At(RegisterMap.Context, offset - RegisterMap.ContextBias);

    private void AccessCsr(in IrOp op)
    {
        Mem csr = State((int)op.Imm);
        if (op.Code == IrCode.CsrRead)
        {
            Gpr d = Target(op.Dst);
            _asm.Mov(d, csr);
            Finish64(op.Dst, d);
            return;
        }
        Load64(Rcx, op.A);
        if (op.Target != ulong.MaxValue) _asm.And(Rcx, (int)(long)op.Target);
        if (op.Dst == 0)
        {
            _asm.Mov(csr, Rcx);
            return;
        }
        _asm.Mov(Rax, csr);
        _asm.Mov(csr, Rcx);
        Finish64(op.Dst, Rax);
    }

    /// <summary>sstatus is a view: UXL is 2, and SD says that FS is Dirty.</summary>
    private void ReadStatus(int dst)
    {
        _asm.Mov32(Rax, State(HartStateLayout.Mstatus));
        _asm.Mov32(Rcx, Rax);
        _asm.And32(Rax, VisibleStatus);
        _asm.And32(Rcx, FloatStatus);
        _asm.Add32(Rcx, 1 << 13); // bit 15 where FS was 3
        _asm.And32(Rcx, 1 << 15);
        _asm.Shl(Rcx, 63 - 15);
        _asm.Or(Rax, Rcx);
        _asm.Bts(Rax, 33);
        Finish64(dst, Rax);
    }

    private void SetStatus(in IrOp op)
    {
        int bits = (int)op.Imm;
        bool clears = op.C != 0;
        if (!clears && (bits & Sie) != 0)
        {
            _asm.Mov32(Rcx, State(HartStateLayout.InterruptWires));
            _asm.Or32(Rcx, State(HartStateLayout.InterruptLatches));
            _asm.And32(Rcx, State(HartStateLayout.Mie));
            ExitAt(Cond.Ne, BlockExit.Interpret, op);
        }
        if (op.Dst != 0) ReadStatus(op.Dst);
        if (bits == 0) return;
        if (clears) _asm.And32(State(HartStateLayout.Mstatus), ~bits);
        else _asm.Or32(State(HartStateLayout.Mstatus), bits);
        if ((bits & FloatStatus) != 0) _asm.Mov32(State(HartStateLayout.FloatReady), 0);
        if ((bits & Sum) == 0) return;
        Label same = default;
        _asm.Mov(Rcx, State(clears ? HartStateLayout.SupervisorTlb : HartStateLayout.SupervisorSumTlb));
        _asm.Cmp(Rcx, RegisterMap.MemoryBase);
        _asm.Jcc(Cond.E, ref same);
        ForgetNear();
        _asm.Mov(RegisterMap.MemoryBase, Rcx);
        _asm.Mov(State(HartStateLayout.DataTlb), Rcx);
        _asm.Bind(ref same);
    }

    private void ReadTime(in IrOp op)
    {
        const int monotonic = 1, nanosecondsPerTick = 100;
        _asm.Test32(State(HartStateLayout.TimeAllowed), 1 << op.Rm);
        ExitAt(Cond.E, BlockExit.Interpret, op);
        _asm.MovImmediate(Rax, monotonic);
        _asm.MovImmediate(Rcx, nanosecondsPerTick);
        _asm.CallTo((long)(_stubs.Clock - (ulong)_asm.Start));
        ExitAt(Cond.Ne, BlockExit.Interpret, op);
        _asm.Sub(Rax, State(HartStateLayout.TimeOrigin));
        Finish64(op.Dst, Rax);
    }

    private void ZeroBlock(in IrOp op)
    {
        _asm.Test32(State(HartStateLayout.ZeroAllowed), 1 << op.Rm);
        ExitAt(Cond.E, BlockExit.Interpret, op);
        Mem m = Lookup(op, BlockSize, isStore: true, 0);
        for (int i = 0; i < BlockSize; i += 8) _asm.Mov(m.Plus(i), 0);
    }
}
