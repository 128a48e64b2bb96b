using System.Runtime.CompilerServices;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;

namespace Vivarium.RiscV.Interpreter;

/// <summary>
/// The reference interpreter: it defines what an instruction does, and every other executor is tested against it. It is written to
/// be read beside the manual: one file per group of extensions (<see cref="BaseInteger"/>, <see cref="Atomics"/>, ...), one short method per
/// instruction.
/// </summary>
/// <remarks>
/// Thread-safe: one instance serves all harts of an address space, each on its own thread. It counts retired instructions and
/// honours budgets exactly, looks at <see cref="HartState.ExitRequest"/> before each instruction, and does not allocate once a hart has
/// its decode cache. A hart with a <see cref="PrivilegedUnit"/> is a machine's, in whatever mode; without one it is in user mode, where
/// privileged instructions and CSRs are illegal.
/// </remarks>
public sealed partial class ReferenceInterpreter : Executor
{
    private readonly CodePages _code = new();

    /// <inheritdoc/>
    public override bool CountsInstructions => true;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override ExecutionExit Run(Hart hart, ulong budget = ulong.MaxValue)
    {
        if (hart.Privileged is { } unit) return RunPrivileged(hart, unit, budget);
        var cache = CacheOf(hart);
        var core = new Core(hart, this);
        ref var state = ref core.State;
        while (true)
        {
            if (Volatile.Read(ref state.ExitRequest) != 0) return new(ExitKind.Interrupted);
            if (budget-- == 0) return new(ExitKind.Budget);
            if (!ExecuteOne(ref core, cache)) return core.Exit;
        }
    }

    /// <summary>Executes the one instruction at <see cref="Hart.Pc"/>, whether or not an exit was asked for.</summary>
    /// <returns>Null when it completed, else its trap, with the state untouched.</returns>
    public ExecutionExit? Step(Hart hart)
    {
        var core = new Core(hart, this);
        var done = hart.Privileged is { } unit ? ExecuteOnePrivileged(ref core, unit, CacheOf(hart)) : ExecuteOne(ref core, CacheOf(hart));
        return done ? null : core.Exit;
    }

    /// <inheritdoc/>
    public override void MapCode(ulong start, ulong length, CodeIdentity identity, ulong fileOffset) => _code.Invalidate(start, length);

    /// <inheritdoc/>
    public override void InvalidateCode(ulong start, ulong length) => _code.Invalidate(start, length);

    /// <inheritdoc/>
    public override void SynchronizeCode(ulong start, ulong length) => _code.Invalidate(start, length);

    private DecodeCache CacheOf(Hart hart)
    {
        if (hart.DecodeCache is { } cache && cache.Owner == this) return cache;
        return hart.DecodeCache = new DecodeCache(this, _code.Generation);
    }

    /// <summary>Fetch, decode, execute, and retire unless it trapped.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool ExecuteOne(ref Core core, DecodeCache cache)
    {
        if (cache.Generation != _code.Generation) cache.Flush(_code.Generation);

        ref var state = ref core.State;
        var pc = state.Pc;
        ref var entry = ref cache.At(pc);
        if (entry.Pc != pc)
        {
            if (!Fetch(ref core, cache)) return false;
            entry = ref cache.At(pc);
        }

        core.NextPc = pc + entry.Instruction.Length;
        if (!entry.Semantics.Execute(ref core, in entry.Instruction)) return false;
        state.Pc = core.NextPc;
        state.InstructionsRetired++;
        return true;
    }

    /// <summary>
    /// Fetches and decodes the instruction at pc into the cache. The second half of a 32-bit instruction is fetched only when
    /// the first asks for it, so a 16-bit instruction at the end of a page needs nothing of the next.
    /// </summary>
    private bool Fetch(ref Core core, DecodeCache cache)
    {
        var pc = core.State.Pc;
        if ((pc & 1) != 0) return core.Trap(TrapCause.InstructionAddressMisaligned, pc);
        if (!FetchHalf(ref core, cache, pc, out var low)) return false;
        uint bits = low;
        if ((low & 3) == 3)
        {
            if (!FetchHalf(ref core, cache, pc + 2, out var high)) return false;
            bits |= (uint)high << 16;
        }
        var instruction = Decoder.Decode(bits);
        cache.CountMiss();
        ref var entry = ref cache.At(pc);
        entry.Pc = pc;
        entry.Semantics = SemanticsTable.Instance.Of(instruction.Opcode);
        entry.Instruction = instruction;
        return true;
    }

    private bool FetchHalf(ref Core core, DecodeCache cache, ulong address, out ushort half)
    {
        var page = address / Core.PageSize;
        if (cache.AddPage(page)) _code.Add(page);
        if (MayExecute is { } mayExecute && !mayExecute(address))
        {
            half = 0;
            return core.Trap(TrapCause.InstructionPageFault, address, 11);
        }
        var signal = core.Memory.Load16(address, out half);
        return signal == 0 || core.Trap(TrapCause.InstructionPageFault, address, signal);
    }
}
