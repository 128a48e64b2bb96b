using System.Runtime.CompilerServices;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.FloatingPoint;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;

namespace Vivarium.RiscV.Interpreter;

/// <summary>
/// What the semantics of one instruction sees: the hart's registers, its memory, where to go next, and how to trap. It lives on
/// the stack of <see cref="ReferenceInterpreter.Run"/>.
/// </summary>
/// <remarks>Every method that can fail returns whether execution goes on, so that semantics read as a chain of steps:
/// load <c>&amp;&amp;</c> write back. False means that <see cref="Exit"/> holds the trap and that nothing was changed.</remarks>
internal unsafe ref struct Core(Hart hart, ReferenceInterpreter interpreter)
{
    /// <summary>The hart's state.</summary>
    public readonly ref HartState State = ref hart.State;

    public readonly GuestMemory Memory = new(hart.Memory, hart.Privileged);

    /// <summary>The privileged part of a machine's hart; null in process mode.</summary>
    public readonly PrivilegedUnit? Unit = hart.Privileged;

    public readonly ReferenceInterpreter Interpreter = interpreter;

    /// <summary>Where execution goes on; preset to the instruction after this one.</summary>
    public ulong NextPc;

    /// <summary>The trap, once a step returned false.</summary>
    public ExecutionExit Exit;

    // Integer registers.

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly ulong X(int index) => State.X[index];

    /// <summary>Writes an integer register; writes to x0 are dropped.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool SetX(int index, ulong value)
    {
        State.X[index] = value;
        State.X[0] = 0;
        return true;
    }

    /// <summary>Writes a 32-bit result, sign-extended as RV64 keeps them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool SetW(int index, uint value) => SetX(index, (ulong)(int)value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool SetX(int index, bool value) => SetX(index, value ? 1UL : 0UL);

    // Floating-point registers.

    /// <summary>A double.</summary>
    public readonly ulong D(int index) => State.F[index];

    /// <summary>A single; one that is not NaN-boxed reads as the canonical NaN (manual, D extension, "NaN Boxing of Narrower
    /// Values").</summary>
    public readonly ulong S(int index)
    {
        var bits = State.F[index];
        return bits >> 32 == 0xffff_ffff ? (uint)bits : Binary32.CanonicalNaN;
    }

    public readonly bool SetD(int index, ulong value)
    {
        State.F[index] = value;
        return true;
    }

    /// <summary>Writes a single, NaN-boxed.</summary>
    public readonly bool SetS(int index, ulong value) => SetD(index, 0xffff_ffff_0000_0000 | value);

    /// <summary><c>fflags</c>, to be accumulated into.</summary>
    public readonly ref FloatFlags Flags => ref Unsafe.As<uint, FloatFlags>(ref State.Fflags);

    /// <summary>The rounding mode of an instruction; reserved ones, also in <c>frm</c>, are illegal instructions.</summary>
    public bool Rounding(in Instruction i, out RoundingMode mode)
    {
        const int dynamic = 7;
        var rm = i.Rm == dynamic ? State.Frm : i.Rm;
        mode = (RoundingMode)rm;
        return rm <= (uint)RoundingMode.NearestMaxMagnitude || Illegal(i);
    }

    // Control flow.

    /// <summary>Jumps to pc + immediate if the condition holds.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Branch(bool condition, in Instruction i)
    {
        if (condition) NextPc = State.Pc + (ulong)i.Imm;
        return true;
    }

    public bool Trap(TrapCause cause, ulong value, int hostSignal = 0)
    {
        Exit = new(ExitKind.Trap, cause, value, hostSignal);
        return false;
    }

    public bool Illegal(in Instruction i) => Trap(TrapCause.IllegalInstruction, i.Bits);

    // Memory. Misaligned loads and stores work, as Linux promises its user space; atomics check alignment themselves.

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Load8(ulong address, out byte value)
    {
        var signal = Memory.Load8(address, out value);
        return signal == 0 || MemoryTrap(TrapCause.LoadPageFault, address, signal);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Load16(ulong address, out ushort value)
    {
        var signal = Memory.Load16(address, out value);
        return signal == 0 || LoadFault(address, sizeof(ushort), signal);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Load32(ulong address, out uint value)
    {
        var signal = Memory.Load32(address, out value);
        return signal == 0 || LoadFault(address, sizeof(uint), signal);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Load64(ulong address, out ulong value)
    {
        var signal = Memory.Load64(address, out value);
        return signal == 0 || LoadFault(address, sizeof(ulong), signal);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Store8(ulong address, byte value)
    {
        var signal = Memory.Store8(address, value);
        return signal == 0 || MemoryTrap(TrapCause.StorePageFault, address, signal);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Store16(ulong address, ushort value)
    {
        var signal = Memory.Store16(address, value);
        return signal == 0 || StoreFault(address, sizeof(ushort), signal);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Store32(ulong address, uint value)
    {
        var signal = Memory.Store32(address, value);
        return signal == 0 || StoreFault(address, sizeof(uint), signal);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool Store64(ulong address, ulong value)
    {
        var signal = Memory.Store64(address, value);
        return signal == 0 || StoreFault(address, sizeof(ulong), signal);
    }

    public bool CompareExchange32(ulong address, uint expected, uint desired, out uint observed)
    {
        var signal = Memory.CompareExchange32(address, expected, desired, out observed);
        return signal == 0 || MemoryTrap(TrapCause.StorePageFault, address, signal);
    }

    public bool CompareExchange64(ulong address, ulong expected, ulong desired, out ulong observed)
    {
        var signal = Memory.CompareExchange64(address, expected, desired, out observed);
        return signal == 0 || MemoryTrap(TrapCause.StorePageFault, address, signal);
    }

    public bool CompareExchange128(ulong address, UInt128 expected, UInt128 desired, out UInt128 observed)
    {
        var signal = Memory.CompareExchange128(address, expected, desired, out observed);
        return signal == 0 || MemoryTrap(TrapCause.StorePageFault, address, signal);
    }

    // Where an access crosses into another page, the trap value is the address of the part that faulted (Privileged Architecture, stval).

    /// <summary>The trap of an access that failed: the unit's own where there is one.</summary>
    public bool MemoryTrap(TrapCause cause, ulong address, int signal) =>
        signal > 0 ? Trap(cause, address, signal) : Trap(Unit!.FaultCause, Unit.FaultAddress);

    private bool LoadFault(ulong address, uint size, int signal)
    {
        if (signal < 0) return MemoryTrap(default, address, signal);
        var second = (address + size - 1) & ~(PageSize - 1);
        var firstIsFine = second > address && Memory.Load8(address, out _) == 0;
        return Trap(TrapCause.LoadPageFault, firstIsFine ? second : address, signal);
    }

    private bool StoreFault(ulong address, uint size, int signal)
    {
        if (signal < 0) return MemoryTrap(default, address, signal);
        var second = (address + size - 1) & ~(PageSize - 1);
        var firstIsFine = second > address && Memory.ProbeStore(address) == 0;
        return Trap(TrapCause.StorePageFault, firstIsFine ? second : address, signal);
    }

    public const ulong PageSize = 4096;
}
