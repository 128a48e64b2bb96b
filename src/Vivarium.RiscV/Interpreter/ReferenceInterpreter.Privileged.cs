using System.Runtime.CompilerServices;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;

namespace Vivarium.RiscV.Interpreter;

// A machine's hart: instructions are fetched through the MMU, and the decode cache is keyed by physical address, so that it outlives changes of
// address space. It may be stale until fence.i, which the manual allows.
public sealed partial class ReferenceInterpreter
{
    private ExecutionExit RunPrivileged(Hart hart, PrivilegedUnit unit, ulong budget)
    {
        var cache = CacheOf(hart);
        var core = new Core(hart, this);
        ref var state = ref core.State;
        while (true)
        {
            if (Volatile.Read(ref state.ExitRequest) != 0) return new(ExitKind.Interrupted);
            if (budget-- == 0) return new(ExitKind.Budget);
            if (!ExecuteOnePrivileged(ref core, unit, cache)) return core.Exit;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool ExecuteOnePrivileged(ref Core core, PrivilegedUnit unit, DecodeCache cache)
    {
        // The tag has the generation in it; only where that comes round must old entries go.
        if (cache.Generation != unit.CodeGeneration >> 8) cache.Flush(unit.CodeGeneration >> 8);

        ref var state = ref core.State;
        var pc = state.Pc;
        if (!unit.FetchAddress(pc, out var physical)) return core.Trap(unit.FaultCause, unit.FaultAddress);
        ref var entry = ref cache.At(physical);
        var tag = physical | (ulong)(byte)unit.CodeGeneration << 56;
        if (entry.Pc != tag)
        {
            if ((pc & Core.PageSize - 1) == Core.PageSize - 2) return ExecuteAnew(ref core, unit); // what it goes on with may be mapped elsewhere in other address spaces
            uint bits = unit.FetchHalf(physical);
            if ((bits & 3) == 3) bits |= (uint)unit.FetchHalf(physical + 2) << 16;
            cache.CountMiss();
            entry = ref cache.At(physical);
            Enter(ref entry, unit, tag, bits);
        }
        return Retire(ref core, unit, ref entry);
    }

    /// <summary>Executes one instruction of a machine's hart as memory has it now: nothing that was decoded before counts. For code that is executed once, and for executors
    /// that see stores to code without <c>fence.i</c>.</summary>
    public ExecutionExit? StepAnew(Hart hart, PrivilegedUnit unit)
    {
        var core = new Core(hart, this);
        return ExecuteAnew(ref core, unit) ? null : core.Exit;
    }

    private static bool ExecuteAnew(ref Core core, PrivilegedUnit unit)
    {
        var pc = core.State.Pc;
        if (!unit.FetchAddress(pc, out var physical)) return core.Trap(unit.FaultCause, unit.FaultAddress);
        uint bits = unit.FetchHalf(physical);
        if ((bits & 3) == 3)
        {
            var second = physical + 2;
            if ((pc & Core.PageSize - 1) == Core.PageSize - 2 && !unit.FetchAddress(pc + 2, out second)) return core.Trap(unit.FaultCause, unit.FaultAddress);
            bits |= (uint)unit.FetchHalf(second) << 16;
        }
        DecodeCache.Entry entry = default;
        Enter(ref entry, unit, physical, bits);
        return Retire(ref core, unit, ref entry);
    }

    private static void Enter(ref DecodeCache.Entry entry, PrivilegedUnit unit, ulong tag, uint bits)
    {
        var instruction = Decoder.Decode(bits);
        ref readonly var row = ref InstructionTable.Rows[instruction.Row];
        // pause and the prefetches are encoded as hints (a fence, ori x0): harts without them do nothing there, but they do not trap.
        if (row.Extension is not (Extension.Zihintpause or Extension.Zicbop) && !unit.Features.Extensions.Contains(row.Extension)) instruction = instruction with { Opcode = Opcode.Illegal };
        entry.Pc = tag;
        entry.Semantics = SemanticsTable.Instance.Of(instruction.Opcode);
        entry.Instruction = instruction;
        entry.Float = instruction.Opcode == Opcode.Illegal ? FloatUse.None : row.Class switch
        {
            SemanticsClass.Float or SemanticsClass.FloatLoad => FloatUse.Writes,
            SemanticsClass.FloatStore => FloatUse.Reads,
            _ => FloatUse.None,
        };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Retire(ref Core core, PrivilegedUnit unit, ref DecodeCache.Entry entry)
    {
        if (entry.Float != FloatUse.None && !unit.FloatEnabled) return core.Illegal(in entry.Instruction);
        ref var state = ref core.State;
        core.NextPc = state.Pc + entry.Instruction.Length;
        if (!entry.Semantics.Execute(ref core, in entry.Instruction)) return false;
        if (entry.Float == FloatUse.Writes) unit.DirtyFloat();
        state.Pc = core.NextPc;
        state.InstructionsRetired++;
        return true;
    }
}
