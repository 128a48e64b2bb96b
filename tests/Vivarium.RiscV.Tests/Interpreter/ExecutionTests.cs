using Vivarium.Host;
using Vivarium.RiscV.Execution;
using static Vivarium.RiscV.Tests.Interpreter.Guest;

namespace Vivarium.RiscV.Tests.Interpreter;

/// <summary>Run and Step themselves: traps, budgets, exit requests, fetching, code that changes.</summary>
public sealed class ExecutionTests : IDisposable
{
    private const uint Ecall = 0x73, Ebreak = 0x100073, FenceI = 0x100f;

    private readonly Guest _guest = new();

    public void Dispose() => _guest.Dispose();

    private static uint Addi(int rd, int rs1, int imm) => 0x13 | (uint)rd << 7 | (uint)rs1 << 15 | (uint)imm << 20;

    [Fact]
    public void EcallAndEbreakLeavePcWhereTheyAre()
    {
        _guest.Load(Addi(1, 0, 5), Ecall);
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.EnvironmentCall), _guest.Interpreter.Run(_guest.Hart));
        Assert.Equal(Code + 4, _guest.Hart.Pc);
        Assert.Equal(5UL, _guest[1]);
        Assert.Equal(1UL, _guest.State.InstructionsRetired);
        Assert.Equal(TrapCause.Breakpoint, _guest.Execute(Ebreak)!.Value.Cause);
        Assert.Equal(Code, _guest.Hart.Pc);
    }

    [Fact]
    public void BudgetIsExact()
    {
        _guest.Load(Addi(1, 1, 1), 0xffdff06f); // addi x1, x1, 1; j .-4
        Assert.Equal(ExitKind.Budget, _guest.Interpreter.Run(_guest.Hart, 1001).Kind);
        Assert.Equal(501UL, _guest[1]);
        Assert.Equal(Code + 4, _guest.Hart.Pc);
        Assert.Equal(ExitKind.Budget, _guest.Interpreter.Run(_guest.Hart, 0).Kind);
        Assert.Equal(1001UL, _guest.State.InstructionsRetired);
    }

    [Fact]
    public async Task ExitRequestStopsALoop()
    {
        _guest.Load(0x6f); // j .
        var runner = Task.Run(() => _guest.Interpreter.Run(_guest.Hart));
        _guest.Hart.RequestExit();
        Assert.Equal(ExitKind.Interrupted, (await runner.WaitAsync(TimeSpan.FromSeconds(60))).Kind);
        Assert.Equal(Code, _guest.Hart.Pc);
        Assert.Null(_guest.Interpreter.Step(_guest.Hart)); // Step goes on regardless
    }

    [Fact]
    public void FetchOfTwoHalves()
    {
        const ulong end = Code + CodeSize;
        Assert.True(_guest.Window.TryStore16(end - 2, 0x4505)); // c.li a0, 1: the last two bytes before the hole
        _guest.Hart.Pc = end - 2;
        Assert.Null(_guest.Interpreter.Step(_guest.Hart));
        Assert.Equal(1UL, _guest[10]);
        var expected = new ExecutionExit(ExitKind.Trap, TrapCause.InstructionPageFault, end, 11);
        Assert.Equal(expected, _guest.Interpreter.Step(_guest.Hart));

        // The first half of a 32-bit instruction: the fault is the second half's.
        Assert.True(_guest.Window.TryStore16(end - 2, 0x0513));
        _guest.Interpreter.SynchronizeCode(end - 2, 2);
        _guest.Hart.Pc = end - 2;
        Assert.Equal(expected, _guest.Interpreter.Step(_guest.Hart));
        Assert.Equal(end - 2, _guest.Hart.Pc);

        _guest.Hart.Pc = Code + 1;
        Assert.Equal(TrapCause.InstructionAddressMisaligned, _guest.Interpreter.Step(_guest.Hart)!.Value.Cause);
        _guest.Hart.Pc = 0xffff_ffff_ffff_fffe;
        Assert.Equal(TrapCause.InstructionPageFault, _guest.Interpreter.Step(_guest.Hart)!.Value.Cause);
    }

    [Theory]
    [InlineData(0x0000_0000u, 0u)] // all zeroes, 16 bits
    [InlineData(0xffff_ffffu, 0xffff_ffffu)]
    [InlineData(0x3020_0073u, 0x3020_0073u)] // mret
    [InlineData(0x1050_0073u, 0x1050_0073u)] // wfi
    [InlineData(0x3000_2573u, 0x3000_2573u)] // csrr a0, mstatus
    [InlineData(0xc800_2573u, 0xc800_2573u)] // csrr a0, cycleh: RV32 only
    [InlineData(0xc000_1573u, 0xc000_1573u)] // csrrw a0, cycle, x0: writes a read-only CSR
    [InlineData(0xc010_e573u, 0xc010_e573u)] // csrrsi a0, time, 1
    [InlineData(0x0005_200fu, 0x0005_200fu)] // cbo.inval (a0)
    [InlineData(0x0220_d553u, 0x0220_d553u)] // fadd.d, rm 5
    [InlineData(0x0220_e553u, 0x0220_e553u)] // fadd.d, rm 6
    [InlineData(0x2875_c5afu, 0x2875_c5afu)] // amocas.q a1, t2, (a1): odd pairs
    public void IllegalInstructions(uint bits, uint value)
    {
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.IllegalInstruction, value), _guest.Execute(bits));
        Assert.Equal(Code, _guest.Hart.Pc);
    }

    [Theory]
    [InlineData(5u)]
    [InlineData(6u)]
    [InlineData(7u)]
    public void ReservedDynamicRoundingModes(uint frm)
    {
        _guest.State.Frm = frm;
        _guest.State.Fflags = 0;
        Assert.Equal(TrapCause.IllegalInstruction, _guest.Execute(0x0220_f553)!.Value.Cause); // fadd.d fa0, ft1, ft2, dyn
        Assert.Equal(TrapCause.IllegalInstruction, _guest.Execute(0xd200_7553)!.Value.Cause); // fcvt.d.w fa0, zero, dyn: exact, still
        Assert.Null(_guest.Execute(0x0220_8553)); // static rne
        Assert.Null(_guest.Execute(0x0020_2573)); // csrr a0, frm
        Assert.Equal(frm, _guest[10]);
    }

    [Fact]
    public void ControlAndStatusRegisters()
    {
        _guest[5] = 0xffff_ffff_ffff_ffff;
        Assert.Null(_guest.Execute(0x0032_9573)); // csrrw a0, fcsr, t0
        Assert.Equal((7u, 31u), (_guest.State.Frm, _guest.State.Fflags));
        Assert.Null(_guest.Execute(0x0031_7573)); // csrrci a0, fcsr, 2
        Assert.Equal(0xffUL, _guest[10]);
        Assert.Equal(29u, _guest.State.Fflags);
        Assert.Null(_guest.Execute(0x0022_d573)); // csrrwi a0, frm, 5
        Assert.Equal((5u, 29u), (_guest.State.Frm, _guest.State.Fflags));
        Assert.Null(_guest.Execute(0x0011_5573)); // csrrwi a0, fflags, 2
        Assert.Equal((5u, 2u, 29UL), (_guest.State.Frm, _guest.State.Fflags, _guest[10]));

        _guest.State.InstructionsRetired = 1000;
        Assert.Null(_guest.Execute(0xc020_2573)); // rdinstret a0
        Assert.Equal(1000UL, _guest[10]);
        Assert.Null(_guest.Execute(0xc010_2573)); // rdtime a0
        var before = _guest[10];
        Thread.Sleep(2);
        Assert.Null(_guest.Execute(0xc010_2573));
        Assert.InRange(_guest[10] - before, 20_000UL, 600_000_000UL);
        Assert.Null(_guest.Execute(0xc000_2573)); // rdcycle a0
    }

    [Fact]
    public void FaultsSayWhereAndChangeNothing()
    {
        const ulong end = Data + DataSize;
        _guest[5] = end - 4;
        _guest[6] = 0x1122334455667788;
        _guest[10] = 77;
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.LoadPageFault, end, 11), _guest.Execute(0x0002_b503)); // ld a0, 0(t0): crosses
        Assert.Equal(77UL, _guest[10]);
        _guest.Write64(end - 8, 0);
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.StorePageFault, end, 11), _guest.Execute(0x0062_b023)); // sd t1, 0(t0)
        Assert.Equal(0UL, _guest.Read64(end - 8));
        _guest[5] = ReadOnly + 8;
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.StorePageFault, ReadOnly + 8, 11), _guest.Execute(0x0062_b023));
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.StorePageFault, ReadOnly + 8, 11), _guest.Execute(0x0062_b52f)); // amoadd.d
        _guest[5] = 0x8000_0000_0000_0000;
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.LoadPageFault, 1UL << 63, 11), _guest.Execute(0x0002_b503));
        Assert.Equal(77UL, _guest[10]);
    }

    [Fact]
    public void StaleCodeIsDroppedWhenItMust()
    {
        var cached = Addi(1, 0, 1);
        _guest.Load(cached);
        Assert.Null(_guest.Interpreter.Step(_guest.Hart));
        Assert.True(_guest.Window.TryStore32(Code, Addi(1, 0, 2)));
        _guest.Interpreter.InvalidateCode(Data, DataSize); // not this page
        _guest.Interpreter.InvalidateCode(Code, 1);
        _guest.Hart.Pc = Code;
        Assert.Null(_guest.Interpreter.Step(_guest.Hart));
        Assert.Equal(2UL, _guest[1]);

        // fence.i, in a loop that rewrites its own first instruction.
        _guest[5] = Code;
        _guest[6] = Addi(1, 0, 3);
        _guest.Load(Addi(1, 0, 1), 0x0062_a023, FenceI, 0xff5ff06f); // addi; sw t1, 0(t0); fence.i; j .-12
        Assert.Equal(ExitKind.Budget, _guest.Interpreter.Run(_guest.Hart, 5).Kind);
        Assert.Equal(3UL, _guest[1]);

        // Two harts, one interpreter.
        using var other = new Hart(_guest.Window) { Pc = Code, Reservations = _guest.Hart.Reservations };
        _guest.Load(Addi(1, 0, 4));
        Assert.Null(_guest.Interpreter.Step(other));
        Assert.True(_guest.Window.TryStore32(Code, Addi(1, 0, 5)));
        _guest.Interpreter.SynchronizeCode(0, ulong.MaxValue);
        other.Pc = Code;
        Assert.Null(_guest.Interpreter.Step(other));
        Assert.Equal(5UL, other[1]);
    }

    [Fact]
    public void RunningDoesNotAllocate()
    {
        _guest.Load(Addi(1, 1, 1), 0x0220_f553, 0x0002_b503, 0xff5ff06f); // addi; fadd.d; ld a0, (t0); j .-12
        _guest[5] = Data;
        _guest.Interpreter.Run(_guest.Hart, 10_000);
        // The runtime itself may allocate on this thread once, when it recompiles something: the least of a few attempts counts.
        var least = long.MaxValue;
        for (var attempt = 0; attempt < 5 && least != 0; attempt++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            _guest.Interpreter.Run(_guest.Hart, 100_000);
            for (var n = 0; n < 100; n++) _guest.Interpreter.Step(_guest.Hart);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        Assert.Equal(0, least);
    }

    [Fact]
    public void CacheBlocks()
    {
        for (ulong offset = 0; offset < 256; offset += 8) _guest.Write64(Data + offset, ulong.MaxValue);
        _guest[10] = Data + 64 + 13;
        Assert.Null(_guest.Execute(0x0045_200f)); // cbo.zero (a0)
        Assert.Equal(ulong.MaxValue, _guest.Read64(Data + 56));
        for (ulong offset = 64; offset < 128; offset += 8) Assert.Equal(0UL, _guest.Read64(Data + offset));
        Assert.Equal(ulong.MaxValue, _guest.Read64(Data + 128));
        Assert.Null(_guest.Execute(0x0015_200f)); // cbo.clean
        Assert.Null(_guest.Execute(0x0025_200f)); // cbo.flush
        _guest[10] = ReadOnly + 9;
        Assert.Null(_guest.Execute(0x0025_200f));
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.StorePageFault, ReadOnly + 9, 11), _guest.Execute(0x0045_200f));
        _guest[10] = 1;
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.StorePageFault, 1, 11), _guest.Execute(0x0015_200f));
        Assert.Null(_guest.Execute(0x0015_6013)); // prefetch.r 0(a0): never faults
    }

    [Fact]
    public void FilesBeyondTheirEndAreSigbus()
    {
        var path = Path.GetTempFileName();
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
            var fd = (int)file.DangerousGetHandle();
            Assert.Equal(0, _guest.Window.MapFile(0x40000, 0x1000, Protection.Read, fd, 0, shared: true));
            _guest[5] = 0x40000;
            Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.LoadPageFault, 0x40000, 7), _guest.Execute(0x0002_b503));
            _guest.Hart.Pc = 0x40000;
            Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.InstructionPageFault, 0x40000, 7), _guest.Interpreter.Step(_guest.Hart));
        }
        finally
        {
            File.Delete(path);
        }
    }
}
