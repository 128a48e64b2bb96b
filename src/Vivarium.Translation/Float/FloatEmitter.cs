using System.Runtime.CompilerServices;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.CodeGen;
using Vivarium.Translation.Ir;
using Vivarium.Translation.X86;

namespace Vivarium.Translation.Float;

/// <summary>What floating-point lowering needs of the code generator around it.</summary>
internal interface IFloatContext
{
    /// <summary>A host register with the full 64-bit value of integer register x; <paramref name="scratch"/> where it has none.</summary>
    Gpr UseInteger(int x, Gpr scratch);

    /// <summary>The host register to write integer register x (not 0) into; <paramref name="scratch"/> where it has none.</summary>
    Gpr DefineInteger(int x, Gpr scratch);

    /// <summary>The 64-bit value of integer register x stands in <paramref name="host"/>; fits: it is the sign extension of its low half.</summary>
    void CommitInteger(int x, Gpr host, bool fits);

    /// <summary>The low 32 bits of integer register x stand in <paramref name="host"/>; the value is their sign extension.</summary>
    void CommitInteger32(int x, Gpr host);

    /// <summary>Emits a jump that, on a condition, leaves the block for the interpreter to execute the current guest instruction, which
    /// must not have had effects yet.</summary>
    void InterpretWhen(Cond condition);
}

/// <summary>What is known of the floating-point registers at a place in a block: bit n stands for fn.</summary>
/// <param name="DirtyD">Holds a double result that may be a NaN with another payload or sign than the canonical one.</param>
/// <param name="DirtyS">The same for single precision.</param>
internal readonly record struct FloatState(uint DirtyD, uint DirtyS)
{
    public bool IsClean => (DirtyD | DirtyS) == 0;
}

/// <summary>
/// Lowers F, D and Zfa instructions to SSE, AVX and FMA. Arithmetic runs in MXCSR's rounding mode and accrues its flags there.
/// </summary>
/// <remarks>
/// NaNs: x86 makes negative or payload-carrying NaNs where RISC-V wants the canonical one. Within a block such results stay as they are
/// (arithmetic and comparisons see only that they are quiet NaNs) and are replaced where their bits can be seen: stores, moves to integer
/// registers, sign injection, exits (<see cref="Flush"/>). Registers without a host register are kept canonical at all times.
/// Singles: values in registers carry their NaN box; sources that are not known to have one are checked once per block, and a missing
/// box sends the instruction to the interpreter.
/// Scratch: xmm0..xmm2, rax, rcx and the flags.
/// </remarks>
internal sealed partial class FloatEmitter
{
    private const Xmm T0 = Xmm.Xmm0, T1 = Xmm.Xmm1, T2 = Xmm.Xmm2;

    private readonly Assembler _asm;
    private readonly IFloatContext _context;
    private readonly sbyte[] _host;
    private readonly bool _avx, _avx512, _fma;
    private readonly uint _mapped;
    private uint _dirtyD, _dirtyS, _boxed;
    private FloatLoop _loop;

    public FloatEmitter(Assembler asm, IFloatContext context)
    {
        _asm = asm;
        _context = context;
        _host = RegisterMap.FloatHost;
        for (int f = 0; f < 32; f++)
        {
            if (_host[f] >= 0) _mapped |= Bit(f);
        }
        _avx = HostFeatures.HasAvx;
        _avx512 = HostFeatures.HasAvx512Vl;
        _fma = HostFeatures.HasFma;
    }

    /// <summary>Forgets everything: a block begins.</summary>
    public void Begin()
    {
        _dirtyD = _dirtyS = _boxed = 0;
        _coldCount = 0;
        _loop = default;
        RestoresFlags = false;
    }

    /// <summary>At the start of a block that is no loop: checks the boxes that it will need for sure, together.</summary>
    public void BeginStraight(IrBlock block)
    {
        uint singles = FloatLoop.LiveInSingles(block, toExit: true);
        if ((singles & singles - 1) == 0) return;
        CheckBoxes(singles);
        _boxed = singles;
    }

    /// <summary>Emits a loop's prologue: checks what the body takes for granted; where it does not hold, the interpreter goes on.</summary>
    public void BeginLoop(IrBlock block)
    {
        _loop = FloatLoop.Analyse(block, _mapped);
        CheckBoxes(_loop.Boxed);
        CheckCanonical(false, _loop.Dirty.DirtyD);
        CheckCanonical(true, _loop.Dirty.DirtyS);
        _boxed = _loop.Boxed;
        _dirtyD = _loop.Dirty.DirtyD;
        _dirtyS = _loop.Dirty.DirtyS;
    }

    /// <summary>Before a jump to the loop's head: makes canonical what the head expects so. True when that clobbered the flags.</summary>
    public bool FlushForLoop()
    {
        uint d = _dirtyD & ~_loop.Dirty.DirtyD, s = _dirtyS & ~_loop.Dirty.DirtyS;
        FlushSet(false, d);
        FlushSet(true, s);
        _dirtyD &= ~d;
        _dirtyS &= ~s;
        if ((_loop.Boxed & ~_boxed) != 0) throw new InvalidOperationException("a loop loses the box that its head takes for granted");
        return (d | s) != 0;
    }

    /// <summary>Leaves for the interpreter unless all of these registers hold boxed singles.</summary>
    private void CheckBoxes(uint set)
    {
        Xmm all = T0;
        bool any = false;
        for (; set != 0; set &= set - 1)
        {
            int f = System.Numerics.BitOperations.TrailingZeroCount(set);
            if (_host[f] < 0)
            {
                _asm.Cmp32(Home(f).Plus(4), -1);
                _context.InterpretWhen(Cond.Ne);
                continue;
            }
            if (any)
            {
                Op(VecOp.Andps, T0, all, (Xmm)_host[f]);
                all = T0;
            }
            else all = (Xmm)_host[f];
            any = true;
        }
        if (!any) return;
        MoveToGpr(Size.S64, Gpr.Rax, all);
        _asm.Sar(Gpr.Rax, 32);
        _asm.Cmp32(Gpr.Rax, -1);
        _context.InterpretWhen(Cond.Ne);
    }

    /// <summary>Leaves for the interpreter if one of these registers holds a NaN with a payload worth keeping.</summary>
    private void CheckCanonical(bool isSingle, uint set)
    {
        for (; set != 0; set &= set - 1)
        {
            Xmm x = (Xmm)_host[System.Numerics.BitOperations.TrailingZeroCount(set)];
            Label good = default;
            // Compare bits: a comparison of values would raise NV for a signaling NaN.
            MoveToGpr(isSingle ? Size.S32 : Size.S64, Gpr.Rax, x);
            _asm.Alu(AluOp.Add, isSingle ? Size.S32 : Size.S64, Gpr.Rax, Gpr.Rax);
            if (isSingle) _asm.Cmp32(Gpr.Rax, FloatSlots.ClassBound(true, 2));
            else _asm.Cmp(Gpr.Rax, FloatSlots.ClassBound(false, 2));
            _asm.JccShort(Cond.Be, ref good);
            MoveToGpr(Size.S64, Gpr.Rax, x);
            _asm.Cmp(Gpr.Rax, isSingle ? FloatSlots.CanonicalS : FloatSlots.CanonicalD);
            _context.InterpretWhen(Cond.Ne);
            _asm.Bind(ref good);
        }
    }

    /// <summary>What an exit emitted here has to put right.</summary>
    public FloatState State
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => new(_dirtyD, _dirtyS);
    }

    // Registers.

    private static uint Bit(int f) => 1u << f;

    private static Mem Home(int f) => RegisterMap.Home(32 + f);

    /// <summary>A vector register with f as a double (or as raw bits).</summary>
    private Xmm UseD(int f, Xmm scratch)
    {
        int host = _host[f];
        if (host >= 0) return (Xmm)host;
        Load(VecOp.Movsd, scratch, Home(f));
        return scratch;
    }

    /// <summary>A vector register with f as a boxed single; a jump to the interpreter precedes it where the box is not certain.</summary>
    private Xmm UseS(int f, Xmm scratch)
    {
        if ((_boxed & Bit(f)) == 0)
        {
            CanonicaliseD(f);
            int host = _host[f];
            if (host >= 0)
            {
                MoveToGpr(Size.S64, Gpr.Rax, (Xmm)host);
                _asm.Sar(Gpr.Rax, 32);
                _asm.Cmp32(Gpr.Rax, -1);
            }
            else
            {
                _asm.Cmp32(Home(f).Plus(4), -1);
            }
            _context.InterpretWhen(Cond.Ne);
            _boxed |= Bit(f);
        }
        return UseD(f, scratch);
    }

    private Xmm Use(bool isSingle, int f, Xmm scratch) => isSingle ? UseS(f, scratch) : UseD(f, scratch);

    /// <summary>Where to compute f: its register, or xmm0.</summary>
    private Xmm Destination(int f)
    {
        int host = _host[f];
        return host >= 0 ? (Xmm)host : T0;
    }

    /// <summary>f was computed into <see cref="Destination"/>; dirty: it may be a NaN that is not canonical.</summary>
    private void Define(bool isSingle, int f, bool dirty)
    {
        uint bit = Bit(f);
        _dirtyD &= ~bit;
        _dirtyS &= ~bit;
        if (isSingle) _boxed |= bit;
        else _boxed &= ~bit;
        if (_host[f] >= 0)
        {
            if (!dirty) return;
            if (isSingle) _dirtyS |= bit;
            else _dirtyD |= bit;
            return;
        }
        if (dirty) EmitCanonicalise(isSingle, T0);
        Store(VecOp.MovsdStore, Home(f), T0);
    }

    // Canonical NaNs.

    /// <summary>Makes f's bits what RISC-V says they are.</summary>
    private void Canonicalise(int f)
    {
        uint bit = Bit(f);
        if (((_dirtyD | _dirtyS) & bit) == 0) return;
        EmitCanonicalise((_dirtyS & bit) != 0, (Xmm)_host[f]);
        _dirtyD &= ~bit;
        _dirtyS &= ~bit;
    }

    private void CanonicaliseD(int f)
    {
        if ((_dirtyD & Bit(f)) != 0) Canonicalise(f);
    }

    private void EmitCanonicalise(bool isSingle, Xmm x)
    {
        Compare(isSingle, false, x, x);
        ref ColdPart cold = ref AddCold(isSingle ? Cold.CanonicalS : Cold.CanonicalD);
        cold.A = x;
        _asm.Jcc(Cond.P, ref cold.From);
        _asm.Bind(ref cold.Back);
    }

    /// <summary>Makes all registers canonical before the block is left here. Clobbers the flags.</summary>
    public void Flush()
    {
        FlushSet(false, _dirtyD);
        FlushSet(true, _dirtyS);
        _dirtyD = _dirtyS = 0;
    }

    private void FlushSet(bool isSingle, uint set)
    {
        while (set != 0)
        {
            Xmm a = (Xmm)_host[System.Numerics.BitOperations.TrailingZeroCount(set)];
            set &= set - 1;
            Xmm b = a;
            if (set != 0)
            {
                // One unordered comparison answers for two registers.
                b = (Xmm)_host[System.Numerics.BitOperations.TrailingZeroCount(set)];
                set &= set - 1;
            }
            Compare(isSingle, false, a, b);
            ref ColdPart cold = ref AddCold(isSingle ? Cold.CanonicalS : Cold.CanonicalD);
            cold.A = a;
            cold.B = b;
            _asm.Jcc(Cond.P, ref cold.From);
            _asm.Bind(ref cold.Back);
        }
    }

    /// <summary>The same for an exit stub in cold code that was reached from where <paramref name="state"/> held.</summary>
    public void FlushCold(FloatState state)
    {
        EmitFlushCold(false, state.DirtyD);
        EmitFlushCold(true, state.DirtyS);
    }

    private void EmitFlushCold(bool isSingle, uint set)
    {
        for (; set != 0; set &= set - 1) EmitReplaceNaN(isSingle, (Xmm)_host[System.Numerics.BitOperations.TrailingZeroCount(set)]);
    }

    private void EmitReplaceNaN(bool isSingle, Xmm x)
    {
        Label number = default;
        Compare(isSingle, false, x, x);
        _asm.JccShort(Cond.Np, ref number);
        Load(VecOp.Movsd, x, isSingle ? FloatSlots.CanonicalS : FloatSlots.CanonicalD);
        _asm.Bind(ref number);
    }

    // Encoding choice: VEX (or EVEX) where the host has AVX, else the destructive legacy forms.

    private void Op(VecOp op, Xmm d, Xmm a, Xmm b)
    {
        if (_avx)
        {
            _asm.Vex(op, d, a, b);
            return;
        }
        if (d == b && d != a)
        {
            // Only two different sources with the second one as destination need a copy.
            _asm.Sse(VecOp.Movaps, T2, b);
            b = T2;
        }
        if (d != a) _asm.Sse(VecOp.Movaps, d, a);
        _asm.Sse(op, d, b);
    }

    private void Op(VecOp op, Xmm d, Xmm a, Mem m)
    {
        if (_avx)
        {
            _asm.Vex(op, d, a, m);
            return;
        }
        if (d != a) _asm.Sse(VecOp.Movaps, d, a);
        _asm.Sse(op, d, m);
    }

    private void Copy(Xmm d, Xmm s)
    {
        if (d == s) return;
        if (_avx) _asm.Vex(VecOp.Movaps, d, s);
        else _asm.Sse(VecOp.Movaps, d, s);
    }

    private void Load(VecOp op, Xmm d, Mem m)
    {
        if (_avx) _asm.Vex(op, d, m);
        else _asm.Sse(op, d, m);
    }

    private void Store(VecOp op, Mem m, Xmm s)
    {
        if (_avx) _asm.Vex(op, s, m);
        else _asm.Sse(op, s, m);
    }

    /// <summary>ucomis (quiet) or comis (signaling).</summary>
    private void Compare(bool isSingle, bool signaling, Xmm a, Xmm b)
    {
        VecOp op = isSingle ? signaling ? VecOp.Comiss : VecOp.Ucomiss : signaling ? VecOp.Comisd : VecOp.Ucomisd;
        if (_avx) _asm.Vex(op, a, b);
        else _asm.Sse(op, a, b);
    }

    private void Compare(bool isSingle, Xmm a, Mem b)
    {
        VecOp op = isSingle ? VecOp.Ucomiss : VecOp.Ucomisd;
        if (_avx) _asm.Vex(op, a, b);
        else _asm.Sse(op, a, b);
    }

    private void MoveToGpr(Size size, Gpr d, Xmm s)
    {
        if (_avx) _asm.Vex(VecGprOp.MovTo, size, d, s);
        else _asm.Sse(VecGprOp.MovTo, size, d, s);
    }

    private void MoveFromGpr(Size size, Xmm d, Gpr s)
    {
        if (_avx) _asm.Vex(VecGprOp.MovFrom, size, d, s);
        else _asm.Sse(VecGprOp.MovFrom, size, d, s);
    }

    private void ToInteger(VecGprOp op, Size size, Gpr d, Xmm s)
    {
        if (_avx) _asm.Vex(op, size, d, s);
        else _asm.Sse(op, size, d, s);
    }

    /// <summary>xmm0..15 = all ones, which also boxes what is merged into it.</summary>
    private void Ones(Xmm d) => Op(VecOp.Pcmpeqd, d, d, d);

    private void ZeroVector(Xmm d) => Op(VecOp.Xorps, d, d, d);

    // Cold code.

    private enum Cold : byte { CanonicalD, CanonicalS, FusedNaN, MinMaxNaN, SaturateSigned, SaturateUnsigned, RestoreFlags }

    private struct ColdPart
    {
        public Cold Kind;
        public Label From, Back, Back2;
        public Xmm A, B, C;
        public Gpr General;
        public bool IsSingle, IsWide, Flag;
    }

    private ColdPart[] _cold = new ColdPart[64];
    private int _coldCount;

    private ref ColdPart AddCold(Cold kind)
    {
        if (_coldCount == _cold.Length) Array.Resize(ref _cold, _coldCount * 2);
        ref ColdPart part = ref _cold[_coldCount++];
        part = default;
        part.Kind = kind;
        return ref part;
    }

    /// <summary>Emits what the hot path jumps to; the code generator calls it behind the block.</summary>
    public void EmitCold()
    {
        for (int i = 0; i < _coldCount; i++)
        {
            ref ColdPart part = ref _cold[i];
            _asm.Bind(ref part.From);
            switch (part.Kind)
            {
                case Cold.CanonicalD or Cold.CanonicalS:
                    EmitReplaceNaN(part.Kind == Cold.CanonicalS, part.A);
                    if (part.B != Xmm.Xmm0 && part.B != part.A) EmitReplaceNaN(part.Kind == Cold.CanonicalS, part.B);
                    _asm.Jmp(ref part.Back);
                    break;
                case Cold.FusedNaN: EmitFusedNaN(ref part); break;
                case Cold.MinMaxNaN: EmitMinMaxNaN(ref part); break;
                case Cold.SaturateSigned: EmitSaturateSigned(ref part); break;
                case Cold.SaturateUnsigned: EmitSaturateUnsigned(ref part); break;
                case Cold.RestoreFlags:
                    _asm.Ldmxcsr(FloatSlots.Scratch(0));
                    _asm.Jmp(ref part.Back);
                    break;
            }
        }
        _coldCount = 0;
    }
}
