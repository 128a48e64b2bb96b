using System.Text;
using Vivarium.Host;
using Vivarium.RiscV.Execution;

namespace Vivarium.Translation.Tests.Differential;

/// <summary>
/// Runs random programs on two executors, each with its own hart and memory, and compares everything: every trap, all registers, fflags,
/// frm, the data area. A difference is minimised and described.
/// </summary>
internal sealed class DifferentialRunner : IDisposable
{
    private const ulong CodeStart = 0x10_0000, CodeSize = 0x10_0000;

    private readonly Executor _reference, _tested;
    private readonly MemoryWindow _referenceMemory, _testedMemory;
    private readonly Hart _referenceHart, _testedHart;
    private readonly byte[] _left = new byte[StressProgram.DataSize], _right = new byte[StressProgram.DataSize];
    private readonly ulong[] _x = new ulong[32], _f = new ulong[32];
    private ulong _next = CodeStart;

    /// <param name="reference">What is right.</param>
    /// <param name="tested">What is tested. Both are disposed with this.</param>
    public DifferentialRunner(Executor reference, Executor tested)
    {
        _reference = reference;
        _tested = tested;
        (_referenceMemory, _referenceHart) = Prepare();
        (_testedMemory, _testedHart) = Prepare();
    }

    private static (MemoryWindow, Hart) Prepare()
    {
        MemoryWindow memory = MemoryWindow.Reserve(1UL << 38);
        if (memory.MapAnonymous(CodeStart, CodeSize, Protection.Read | Protection.Write | Protection.Execute) != 0
            || memory.MapAnonymous(StressProgram.DataStart, StressProgram.DataSize, Protection.Read | Protection.Write) != 0)
            throw new InvalidOperationException("cannot map guest memory");
        return (memory, new Hart(memory) { Reservations = new() });
    }

    /// <summary>fflags may differ: the optimising tier keeps them only where the guest looks.</summary>
    public bool IgnoreFlags { get; init; }

    /// <summary>Pages of the data are missing or must not be written, until somebody runs into it: then they come back, and go again at the next fault.</summary>
    public bool Faults { get; init; }

    /// <summary>Instructions that the reference executed so far (as it counts them).</summary>
    public ulong Executed { get; private set; }

    /// <summary>Traps that both executors agreed on.</summary>
    public long Traps { get; private set; }

    /// <summary>Programs that were given up because they did not end.</summary>
    public int Endless { get; private set; }

    /// <summary>Runs the program of one seed; null when both agree, else what differs, with the smallest program found.</summary>
    /// <param name="seed">Names the program.</param>
    /// <param name="mix">What it is made of.</param>
    /// <param name="runs">How often it runs: the same code, other registers and memory.</param>
    public string? Run(int seed, ProgramMix? mix = null, int runs = 1)
    {
        var program = StressProgram.Create(seed, _next, mix);
        // Programs follow each other in memory, and overwrite older ones when the area is full.
        _next = (_next + (ulong)program.Code.Length + 63) & ~63UL;
        if (_next > CodeStart + CodeSize - 0x4000) _next = CodeStart;
        string? difference = null;
        for (int endless = Endless; program.Data < runs && endless == Endless; program.Data++)
        {
            difference = Compare(program, isLoaded: program.Data > 0);
            if (difference != null) break;
        }
        if (difference == null) return null;
        program.Minimise(() => Compare(program) != null);
        return $"seed {seed}, data {program.Data}:\n{program.Listing()}{Compare(program) ?? "(the minimised program runs equally) " + difference}";
    }

    private string? Compare(StressProgram program, bool isLoaded = false)
    {
        program.FillRegisters(_x, _f);
        program.FillData(_left);
        Setup(program, _reference, _referenceMemory, _referenceHart, isLoaded);
        Setup(program, _tested, _testedMemory, _testedHart, isLoaded);
        ulong before = _referenceHart.State.InstructionsRetired;
        string? difference = null;
        var pages = new Random(program.Seed * 31 + program.Data);
        if (Faults) Forbid(pages, 0);
        for (int traps = 0; traps < 4096; traps++)
        {
            ExecutionExit expected = _reference.Run(_referenceHart, 1_000_000);
            if (expected.Kind != ExitKind.Trap)
            {
                // Some jump found a way around a loop's counter: nothing to compare.
                Endless++;
                if (Faults) Protect(StressProgram.DataStart, StressProgram.DataSize, Protection.Read | Protection.Write);
                return null;
            }
            ExecutionExit actual = _tested.Run(_testedHart);
            if (expected != actual) difference = $"  exit: expected {expected}, got {actual}\n";
            difference = (difference + CompareStates()) is { Length: > 0 } text ? text : null;
            if (difference != null || _referenceHart.Pc == program.End) break;
            if (Faults && expected.HostSignal != 0 && traps % 5 != 4)
            {
                // The page comes back, another one goes, and the instruction is tried again.
                Traps++;
                Forbid(pages, traps);
                continue;
            }
            // Go on behind the instruction that trapped.
            Traps++;
            ulong offset = _referenceHart.Pc - program.Start;
            if (offset >= (ulong)program.Code.Length) break;
            ulong next = _referenceHart.Pc + ((program.Code[offset] & 3) == 3 ? 4u : 2u);
            _referenceHart.Pc = _testedHart.Pc = next;
        }
        Executed += _referenceHart.State.InstructionsRetired - before;
        if (Faults) Protect(StressProgram.DataStart, StressProgram.DataSize, Protection.Read | Protection.Write);
        _referenceMemory.Read(StressProgram.DataStart, _left);
        _testedMemory.Read(StressProgram.DataStart, _right);
        int at = _left.AsSpan().CommonPrefixLength(_right);
        if (at < _left.Length) difference += $"  memory at 0x{StressProgram.DataStart + (ulong)at:x}: expected 0x{_left[at]:x2}, got 0x{_right[at]:x2}\n";
        return difference;
    }

    /// <summary>One of the data's pages changes its protection on both sides; the others are whole. After some faults none is forbidden any more, so that programs end.</summary>
    private void Forbid(Random random, int faults)
    {
        Protect(StressProgram.DataStart, StressProgram.DataSize, Protection.Read | Protection.Write);
        if (faults > 60) return;
        Protect(StressProgram.DataStart + (ulong)random.Next(StressProgram.DataSize / 4096) * 4096, 4096, random.Next(2) == 0 ? Protection.None : Protection.Read);
    }

    private void Protect(ulong start, ulong length, Protection protection)
    {
        _referenceMemory.Protect(start, length, protection);
        _testedMemory.Protect(start, length, protection);
    }

    private void Setup(StressProgram program, Executor executor, MemoryWindow memory, Hart hart, bool isLoaded)
    {
        if (!isLoaded)
        {
            // Not writable while it runs: a stray store must not change code without a fence.i.
            memory.Protect(CodeStart, CodeSize, Protection.Read | Protection.Write);
            memory.Write(program.Start, program.Code);
            memory.Protect(CodeStart, CodeSize, Protection.Read | Protection.Execute);
            executor.SynchronizeCode(program.Start, (ulong)program.Code.Length);
        }
        memory.Write(StressProgram.DataStart, _left);
        ref HartState state = ref hart.State;
        for (int i = 0; i < 32; i++)
        {
            hart[i] = _x[i];
            SetFloat(ref state, i, _f[i]);
        }
        state.Fflags = 0;
        state.Frm = 0;
        state.ReservationAddress = ulong.MaxValue;
        state.ReservationValue = 0;
        hart.Pc = program.Start;
    }

    private static unsafe void SetFloat(ref HartState state, int index, ulong value) => state.F[index] = value;

    private unsafe string CompareStates()
    {
        ref HartState a = ref _referenceHart.State, b = ref _testedHart.State;
        StringBuilder? text = null;
        Check("pc", a.Pc, b.Pc);
        for (int i = 0; i < 32; i++) Check("x", a.X[i], b.X[i], i);
        for (int i = 0; i < 32; i++) Check("f", a.F[i], b.F[i], i);
        if (!IgnoreFlags) Check("fflags", a.Fflags, b.Fflags);
        Check("frm", a.Frm, b.Frm);
        return text?.ToString() ?? "";

        void Check(string name, ulong expected, ulong actual, int index = -1)
        {
            if (expected == actual) return;
            (text ??= new StringBuilder()).AppendLine($"  {name}{(index < 0 ? "" : index)}: expected 0x{expected:x}, got 0x{actual:x}");
        }
    }

    public void Dispose()
    {
        _referenceHart.Dispose();
        _testedHart.Dispose();
        _reference.Dispose();
        _tested.Dispose();
        _referenceMemory.Dispose();
        _testedMemory.Dispose();
    }
}
