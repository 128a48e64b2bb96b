namespace Vivarium.RiscV.Execution;

/// <summary>Why an executor returned.</summary>
public enum ExitKind : byte
{
    /// <summary>The instruction at <see cref="HartState.Pc"/> trapped; <see cref="ExecutionExit.Cause"/> says how. It had no effect. For
    /// <c>ecall</c> and <c>ebreak</c> too, <c>pc</c> is the instruction's own address.</summary>
    Trap,

    /// <summary><see cref="HartState.ExitRequest"/> was seen; state is precise at an instruction boundary.</summary>
    Interrupted,

    /// <summary>The instruction budget of <see cref="Executor.Run"/> ran out; state is precise at an instruction boundary.</summary>
    Budget,
}

/// <summary>Trap causes, numbered as <c>mcause</c> (Privileged Architecture, table "mcause values").</summary>
public enum TrapCause : byte
{
    InstructionAddressMisaligned = 0,
    InstructionAccessFault = 1,
    IllegalInstruction = 2,
    Breakpoint = 3,
    LoadAddressMisaligned = 4,
    LoadAccessFault = 5,
    StoreAddressMisaligned = 6,
    StoreAccessFault = 7,
    EnvironmentCall = 8,
    InstructionPageFault = 12,
    LoadPageFault = 13,
    StorePageFault = 15,
}

/// <summary>What <see cref="Executor.Run"/> returns.</summary>
/// <param name="Kind">Why.</param>
/// <param name="Cause">The trap cause; only for <see cref="ExitKind.Trap"/>.</param>
/// <param name="Value">What <c>mtval</c> would hold: the faulting guest address, or the bits of an illegal instruction.</param>
/// <param name="HostSignal">For page faults, the host signal behind it (SIGSEGV 11, SIGBUS 7 beyond a file's end), else 0.</param>
public readonly record struct ExecutionExit(ExitKind Kind, TrapCause Cause = default, ulong Value = 0, int HostSignal = 0);

/// <summary>
/// Something that runs harts over one address space: the reference interpreter, or the translator. One executor serves all threads of
/// an address space; every method but <see cref="Run"/> may be called from any thread.
/// </summary>
public abstract class Executor : IDisposable
{
    /// <summary>Runs <paramref name="hart"/> on the calling thread until something happens that the caller must see.</summary>
    /// <param name="hart">The hart; its state is read at entry and exact on return.</param>
    /// <param name="budget">At most about this many instructions (the interpreter: exactly); a translator may ignore it when it is
    /// <see cref="ulong.MaxValue"/> or honour it coarsely.</param>
    public abstract ExecutionExit Run(Hart hart, ulong budget = ulong.MaxValue);

    /// <summary>Whether <see cref="HartState.InstructionsRetired"/> is counted.</summary>
    public virtual bool CountsInstructions => false;

    /// <summary>Whether the guest may execute at an address; null lets it execute whatever is readable. Asked when code is fetched anew (decoded,
    /// translated), from any thread; a change is announced by <see cref="InvalidateCode"/>. Set before the first <see cref="Run"/>.</summary>
    public virtual Func<ulong, bool>? MayExecute { get; set; }

    /// <summary>Names the guest code at an address, for profiles; null where there is no name. Asked from any thread, with no lock held, and only while
    /// somebody wants names.</summary>
    public Func<ulong, string?>? NameCode { get; set; }

    /// <summary>The bytes of [start, start+length) are now backed by the file <paramref name="identity"/> from
    /// <paramref name="fileOffset"/>, privately and not writable: translations of it may be kept and shared under that name.</summary>
    public virtual void MapCode(ulong start, ulong length, CodeIdentity identity, ulong fileOffset) { }

    /// <summary>The mapping of [start, start+length) changed (munmap, mmap over it, mprotect, mremap): forget code from there. When it
    /// returns, no thread starts old code of that range any more; other threads inside it leave at their next block boundary.</summary>
    public virtual void InvalidateCode(ulong start, ulong length) { }

    /// <summary><c>fence.i</c> or <c>riscv_flush_icache</c>: instruction fetches after it see all earlier stores to the range.</summary>
    public virtual void SynchronizeCode(ulong start, ulong length) { }

    /// <summary>From now on registers must be exact at memory faults too: the guest has installed a handler that sees them. Until then an
    /// executor may report just the address.</summary>
    public virtual void RequirePreciseFaults() { }

    public virtual void Dispose() => GC.SuppressFinalize(this);
}

/// <summary>Names a file's content for shared and persistent translations: the same identity means the same bytes.</summary>
/// <param name="Device">st_dev.</param>
/// <param name="Inode">st_ino.</param>
/// <param name="Size">Bytes.</param>
/// <param name="ModifiedNanoseconds">st_mtim in nanoseconds since the epoch.</param>
public readonly record struct CodeIdentity(ulong Device, ulong Inode, ulong Size, long ModifiedNanoseconds);
