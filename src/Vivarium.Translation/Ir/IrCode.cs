namespace Vivarium.Translation.Ir;

/// <summary>What one IR operation does. Integer operations work on guest registers; a W suffix means 32 bits, result sign-extended.</summary>
public enum IrCode : byte
{
    Nop,

    /// <summary>dst = imm.</summary>
    Const,

    /// <summary>dst = a.</summary>
    Move,

    // dst = a op b, or a op imm with IrFlags.ImmB.
    Add, Sub, And, Or, Xor, Shl, Shr, Sar, SetLt, SetLtu, Rol, Ror, Mul,
    AddW, SubW, ShlW, ShrW, SarW, RolW, RorW, MulW,
    BitClear, BitExtract, BitInvert, BitSet,

    // dst = a op b, registers only.
    AndNot, OrNot, Xnor, Min, Max, MinU, MaxU,
    MulH, MulHsu, MulHu, Div, DivU, Rem, RemU, DivW, DivUW, RemW, RemUW,
    CzeroEqz, CzeroNez,

    // dst = op a.
    SextW, SextB, SextH, ZextB, ZextH, ZextW, Clz, ClzW, Ctz, CtzW, Cpop, CpopW, OrcB, Rev8,

    /// <summary>dst = (a &lt;&lt; c) + b.</summary>
    ShAdd,

    /// <summary>dst = (zext32(a) &lt;&lt; c) + b; b may be x0.</summary>
    ShAddUw,

    /// <summary>dst = zext32(a) &lt;&lt; imm.</summary>
    ShlUw,

    /// <summary>dst = memory[a + imm], width bytes, sign- or (IrFlags.Unsigned) zero-extended. With IrFlags.Absolute a is not added.</summary>
    Load,

    /// <summary>memory[a + imm] = b, width bytes; with IrFlags.ImmB the value is Target (0 when b is x0).</summary>
    Store,

    /// <summary>Leaves for Target when a cond b (b or, with IrFlags.ImmB, imm); with IrFlags.Internal goes to a label further down.</summary>
    Branch,

    /// <summary>Leaves for Target; with IrFlags.Internal goes to a label further down.</summary>
    Jump,

    /// <summary>Where internal branches and jumps lead.</summary>
    Label,

    /// <summary>dst = Target (the link address); leaves for (a + imm) &amp; ~1.</summary>
    JumpIndirect,

    // Leave with the guest pc of this instruction.
    Ecall, FenceI,

    /// <summary>Leaves; the interpreter executes this instruction and execution goes on after it.</summary>
    Interpret,

    /// <summary>Earlier stores before later loads.</summary>
    Fence,
    Pause,

    // Atomics: width 4 or 8, address in a, operand in b.
    LoadReserved, StoreConditional, AmoSwap, AmoAdd, AmoXor, AmoAnd, AmoOr, AmoMin, AmoMax, AmoMinU, AmoMaxU,

    /// <summary>dst = old value of memory[a]; memory[a] = b when it equals dst.</summary>
    AmoCas,

    /// <summary>dst = memory[a]; leaves for Target when it is not c, else memory[a] = b, in one step.</summary>
    CompareExchange,

    /// <summary>A load-reserved whose <see cref="StoreExclusive"/> follows in the block, with nothing but arithmetic and exits between.</summary>
    LoadLinked,

    /// <summary>memory[a] = b and dst = 0 when memory[a] is what <see cref="LoadLinked"/> read, else dst = 1.</summary>
    StoreExclusive,

    /// <summary>There is no reservation any more.</summary>
    EndReservation,

    /// <summary>A floating-point instruction, loads and stores included: Aux is its guest opcode. Registers are 32..63 where the opcode says so.</summary>
    Float,

    /// <summary>A CSR access of fflags, frm or fcsr: Aux is its guest opcode, imm the CSR number.</summary>
    FloatCsr,

    /// <summary>dst = the host's clock imm in nanoseconds, divided by Target.</summary>
    ReadClock,

    // Machines, in code for supervisor mode where nothing else is said.

    /// <summary>dst = time, where the mode may read it (Rm is the mode).</summary>
    ReadTime,

    /// <summary>dst = the CSR that lies at offset imm in the hart's state.</summary>
    CsrRead,

    /// <summary>dst = that CSR; the CSR = a &amp; Target.</summary>
    CsrSwap,

    /// <summary>dst = sstatus.</summary>
    StatusRead,

    /// <summary>dst = sstatus, whose bits imm are then set, or (c is 1) cleared. An interrupt that this lets in is the interpreter's.</summary>
    StatusSet,

    /// <summary>The 64 bytes around a become zero, where the mode may do so (Rm is the mode).</summary>
    ZeroBlock,
}

/// <summary>Conditions of <see cref="IrCode.Branch"/>; the low bit negates.</summary>
public enum IrCondition : byte { Equal, NotEqual, Less, GreaterEqual, LessUnsigned, GreaterEqualUnsigned }

/// <summary>Modifiers of an operation.</summary>
[Flags]
public enum IrFlags : byte
{
    None = 0,

    /// <summary>The second operand is the immediate.</summary>
    ImmB = 1,

    /// <summary>A load zero-extends.</summary>
    Unsigned = 2,

    /// <summary>The address is the immediate alone.</summary>
    Absolute = 4,

    /// <summary>An 8-byte load from a stack slot that this block has written in part: two halves, so that the processor can forward the
    /// store instead of waiting for it to reach the cache.</summary>
    Halves = 8,

    /// <summary>A branch or jump to a label of this block.</summary>
    Internal = 16,

    /// <summary>The result is computed only where the block is left before it is overwritten.</summary>
    Deferred = 32,

    /// <summary>An access through a that nobody has seen to point into the memory window yet.</summary>
    Check = 64,

    /// <summary>A load from memory[a + (b &lt;&lt; (c &amp; 3)) + imm]; only the low 32 bits of b count where c is 4 or more. Not in machines, and not where addresses are checked.</summary>
    Indexed = 128,
}
