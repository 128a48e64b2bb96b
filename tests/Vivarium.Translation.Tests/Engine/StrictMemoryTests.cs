using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Tests.Differential;
using static Vivarium.Translation.Tests.Engine.EngineGuest;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>With strict memory, no guest address reaches memory outside the window.</summary>
public sealed unsafe class StrictMemoryTests : IDisposable
{
    private static readonly TranslationOptions Strict = new() { Validate = true, StrictMemory = true };

    private readonly EngineGuest _guest = new();
    private readonly TranslationEngine _engine = new(null, Strict);
    private readonly ulong* _host = (ulong*)NativeMemory.AlignedAlloc(4096, 64);

    /// <summary>The guest address that the host's memory has.</summary>
    private ulong Wild => (ulong)_host - _guest.Window.HostBase;

    private ExecutionExit Run(Hart hart, params ReadOnlySpan<uint> code)
    {
        _guest.Write(Code, code);
        _engine.SynchronizeCode(Code, 0x1000);
        hart.Pc = Code;
        return _engine.Run(hart);
    }

    public static TheoryData<uint, bool> Accesses()
    {
        var data = new TheoryData<uint, bool>();
        foreach (Opcode o in (Opcode[])[Opcode.Lb, Opcode.Ld, Opcode.Lwu, Opcode.Flw, Opcode.Fld]) data.Add(I(o, 11, 10, 0), false);
        foreach (Opcode o in (Opcode[])[Opcode.Sb, Opcode.Sd, Opcode.Fsw, Opcode.Fsd]) data.Add(R(o, 0, 10, 12), true);
        data.Add(R(Opcode.LrD, 11, 10, 0), false);
        foreach (Opcode o in (Opcode[])[Opcode.AmoaddD, Opcode.AmoswapW, Opcode.AmomaxD, Opcode.AmocasD]) data.Add(R(o, 11, 10, 12), true);
        return data;
    }

    [Theory]
    [MemberData(nameof(Accesses))]
    public void WildAccessesTrap(uint access, bool isStore)
    {
        foreach (int register in (int[])[10, 30]) // mapped to a host register, and not
        {
            new Span<byte>(_host, 4096).Fill(0x5A);
            using Hart hart = _guest.NewHart(Code);
            hart[register] = Wild + 64;
            hart[12] = 1;
            uint code = access & ~(31u << 15) | (uint)register << 15;
            ExecutionExit exit = Run(hart, I(Opcode.Addi, 5, 0, 1), code, Ecall);
            Assert.Equal(isStore ? TrapCause.StorePageFault : TrapCause.LoadPageFault, exit.Cause);
            Assert.Equal(Wild + 64, exit.Value);
            Assert.Equal(Code + 4, hart.Pc);
            Assert.Equal(1ul, hart[5]);
            Assert.Equal(-1, new Span<byte>(_host, 4096).IndexOfAnyExcept((byte)0x5A));
        }
    }

    [Fact]
    public void LoopsCheckWhereTheyBegin()
    {
        using Hart hart = _guest.NewHart(Code);
        uint[] loop = [R(Opcode.Sd, 0, 10, 0), I(Opcode.Addi, 10, 10, 8), I(Opcode.Addi, 11, 11, -1), Branch(Opcode.Bne, 11, 0, -12), Ecall];
        hart[10] = Data;
        hart[11] = 100;
        Assert.Equal(TrapCause.EnvironmentCall, Run(hart, loop).Cause);
        Assert.Equal(Data + 800, hart[10]);
        hart[10] = Wild;
        hart[11] = 100;
        _host[0] = 7;
        ExecutionExit exit = Run(hart, loop);
        Assert.Equal(TrapCause.StorePageFault, exit.Cause);
        Assert.Equal((Wild, 100ul, Code, 7ul), (hart[10], hart[11], hart.Pc, _host[0]));
        // A pointer that comes from memory in every round is checked in every round.
        for (ulong i = 0; i < 3; i++) _guest.Window.TryStore64(Data + i * 64, i == 2 ? Wild : Data + (i + 1) * 64);
        hart[10] = Data;
        hart[11] = 0;
        exit = Run(hart, I(Opcode.Ld, 10, 10, 0), I(Opcode.Addi, 11, 11, 1), Branch(Opcode.Bne, 10, 0, -8), Ecall);
        Assert.Equal(TrapCause.LoadPageFault, exit.Cause);
        Assert.Equal((Wild, 3ul, Code), (hart[10], hart[11], hart.Pc));
        // A pointer that runs out of the window meets the guard.
        hart[10] = Data + DataSize - 64;
        hart[11] = 100;
        exit = Run(hart, loop);
        Assert.Equal((TrapCause.StorePageFault, Data + DataSize, 92ul), (exit.Cause, hart[10], hart[11]));
    }

    [Fact]
    public void RandomProgramsAgree()
    {
        using var runner = new DifferentialRunner(new ReferenceInterpreter(), new TranslationEngine(null, Strict));
        for (int seed = 1; runner.Executed < 500_000; seed++)
        {
            if (runner.Run(seed, new ProgramMix(MemoryShare: 40, FloatShare: 20, TrapShare: 10)) is { } difference) Assert.Fail(difference);
        }
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_host);
        _engine.Dispose();
        _guest.Dispose();
    }
}
