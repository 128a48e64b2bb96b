using Vivarium.Machine.Buses;
using Vivarium.Machine.Harts;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using Vivarium.RiscV.Privileged;
using Vivarium.Translation;
using Vivarium.Translation.Machine;
using static Vivarium.Testing.Encoder;

namespace Vivarium.Machine.Tests.Harts;

/// <summary>Supervisor code full of CSR accesses, SUM switched on and off around accesses to user pages, cbo.zero and interrupts that become deliverable:
/// the translator does the common ones in place, and must agree with the interpreter.</summary>
public sealed class PrivilegedCodeTests
{
    private const ulong RamBase = 0x8000_0000, RamSize = 4 << 20, Code = RamBase + 0x10_0000, Data = RamBase + 0x20_0000, UserAlias = 0xC000_0000;
    private const ulong V = 1, R = 2, W = 4, X = 8, U = 16, A = 64, D = 128;
    private const int Sstatus = 0x100, Sscratch = 0x140, Sepc = 0x141, Scause = 0x142, Stval = 0x143;

    private sealed class Environment : IHartEnvironment
    {
        public MachineClock? Clock;

        public ulong Time => Clock?.Ticks ?? 0;

        public ulong? TimeOrigin => Clock?.Origin;

        public void SetSupervisorTimer(ulong compare) { }
    }

    private sealed class Machine : IDisposable
    {
        public readonly PhysicalMemory Memory = new(RamBase, RamSize);
        public readonly Hart Hart;
        public readonly PrivilegedUnit Unit;
        public readonly Executor Executor;

        public Machine(bool translated, MachineClock? clock = null, bool interpretFirst = false)
        {
            Hart = new Hart(Memory.Ram) { Reservations = new() };
            Unit = new PrivilegedUnit(Hart, 0, HartFeatures.Full, Memory, new Environment { Clock = clock });
            Executor = translated ? new MachineEngine(Memory, new TranslationOptions { Validate = true, InterpretFirst = interpretFirst }) : new ReferenceInterpreter();
            Memory.RamWritten = Executor.InvalidateCode;
            // RAM one to one for the supervisor, and once more as user pages.
            Memory.TryWrite(RamBase + 2 * 8, 8, RamBase >> 12 << 10 | V | R | W | X | A | D);
            Memory.TryWrite(RamBase + 3 * 8, 8, RamBase >> 12 << 10 | V | R | W | U | A | D);
            Unit.EnterSupervisor();
            Unit.WriteCsr(0x180, 8UL << 60 | RamBase >> 12);
            Hart.State.ExitRequest = 0;
        }

        public void Dispose()
        {
            Executor.Dispose();
            Hart.Dispose();
            Memory.Dispose();
        }
    }

    private static uint Csr(int funct3, int csr, int rd, int rs1) => (uint)(csr << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x73);

    private static uint Lui(int rd, int imm) => (uint)(imm << 12 | rd << 7 | 0x37);

    private static uint[] Program(Random random)
    {
        int Any() => random.Next(5, 16);
        var code = new List<uint>();
        while (code.Count < 60)
        {
            int rd = random.Next(4) == 0 ? 0 : Any(), rs = random.Next(6) == 0 ? 0 : Any();
            switch (random.Next(10))
            {
                case 0: code.Add(Csr(random.Next(1, 4), random.Next(Sscratch, Stval + 1), rd, rs)); break;
                case 1: code.Add(Csr(2, random.Next(5) == 0 ? Sstatus : random.Next(Sscratch, Stval + 1), rd, 0)); break;
                case 2: code.Add(Csr(random.Next(6, 8), Sstatus, rd, random.Next(3) == 0 ? random.Next(32) : 2)); break; // SIE
                case 3: code.AddRange([Lui(6, 0x40), Csr(random.Next(2, 4), Sstatus, rd, 6)]); break; // SUM
                case 4: code.AddRange([Lui(6, 0x46), Csr(3, Sstatus, rd, 6)]); break; // SUM and FS off
                case 5: code.Add(Csr(random.Next(1, 4), Sstatus, rd, rs)); break; // anything, also MXR
                case 6: code.Add((uint)(random.Next(64) * 8 << 20 | 31 << 15 | 3 << 12 | Any() << 7 | 0x03)); break; // ld from a user page
                case 7: code.Add((uint)(Any() << 20 | 31 << 15 | 3 << 12 | random.Next(4) * 8 << 7 | 0x23)); break; // sd to it
                case 8: code.Add((uint)(4 << 20 | (random.Next(2) == 0 ? 31 : 30) << 15 | 2 << 12 | 0x0f)); break; // cbo.zero
                default: code.Add((uint)(random.Next(4096) << 20 | rs << 15 | Any() << 7 | 0x13)); break; // addi
            }
        }
        code.Add(0x00100073);
        return [.. code];
    }

    [Theory]
    [InlineData(false), InlineData(true)]
    public unsafe void CsrAccessesInPlaceAgree(bool interpretFirst)
    {
        using var expected = new Machine(false);
        using var actual = new Machine(true, interpretFirst: interpretFirst);
        for (var seed = 1; seed <= 120; seed++)
        {
            var random = new Random(seed);
            var program = Program(random);
            var at = Code + (ulong)random.Next(8) * 0x1000;
            var (status, interrupt, environment) = (random.NextInt64() & 0xde122, random.Next(3) == 0, random.Next(4));
            var registers = Enumerable.Range(0, 32).Select(_ => (ulong)random.NextInt64()).ToArray();
            registers[31] = UserAlias + (Data - RamBase) + (ulong)random.Next(4) * 64;
            registers[30] = Data + 0x1000 + (ulong)random.Next(4096);
            foreach (var machine in new[] { expected, actual })
            {
                for (var i = 0; i < program.Length; i++) machine.Memory.TryWrite(at + (ulong)i * 4, 4, program[i]);
                machine.Unit.FenceInstructions();
                machine.Unit.WriteCsr(0x30a, environment == 0 ? 0UL : 0xf0);
                machine.Unit.WriteCsr(0x100, (ulong)status & ~(interrupt ? 2UL : 0)); // else it would have been taken already
                machine.Unit.WriteCsr(0x104, 2);
                machine.Unit.SetWire(1, interrupt);
                for (var r = 1; r < 32; r++) machine.Hart[r] = registers[r];
                machine.Hart.Pc = at;
                machine.Hart.State.ExitRequest = 0;
            }
            for (var step = 0; step < 200; step++)
            {
                var exit = expected.Executor.Run(expected.Hart);
                var other = actual.Executor.Run(actual.Hart);
                var where = $"seed {seed} exit {step} ({exit.Kind} {exit.Cause} at {expected.Hart.Pc:x}; {other.Kind} {other.Cause} at {actual.Hart.Pc:x})";
                Assert.True(exit == other && expected.Hart.Pc == actual.Hart.Pc, where);
                for (var r = 1; r < 32; r++) Assert.True(expected.Hart[r] == actual.Hart[r], $"{where}: x{r} {expected.Hart[r]:x} | {actual.Hart[r]:x}");
                foreach (var csr in (ReadOnlySpan<int>)[0x300, Sscratch, Sepc, Scause, Stval])
                    Assert.True(expected.Unit.ReadCsr(csr) == actual.Unit.ReadCsr(csr), $"{where}: csr {csr:x} {expected.Unit.ReadCsr(csr):x} | {actual.Unit.ReadCsr(csr):x}");
                if (exit.Kind == ExitKind.Trap && exit.Cause == TrapCause.Breakpoint) break;
                foreach (var machine in new[] { expected, actual })
                {
                    machine.Hart.State.ExitRequest = 0;
                    if (exit.Kind == ExitKind.Trap) machine.Hart.Pc += 4;
                    else machine.Unit.SetWire(1, false);
                }
            }
            var (left, right) = (new byte[0x3000], new byte[0x3000]);
            expected.Memory.TryReadBytes(Data, left);
            actual.Memory.TryReadBytes(Data, right);
            Assert.True(left.AsSpan().SequenceEqual(right), $"seed {seed}: memory");
        }
    }

    /// <summary>A loop with an addition that it never comes to, while FS is Initial: a block must not be interpreted each time for what it might do. (sqlite3 was.)</summary>
    [Fact]
    public void FloatingPointThatIsNeverReachedIsNotInterpretedForEver()
    {
        using var machine = new Machine(true);
        var (hart, engine) = (machine.Hart, (MachineEngine)machine.Executor);
        uint[] code =
        [
            Encode(Opcode.Addi, rd: 5, imm: 2000),
            Encode(Opcode.Bne, rs1: 5, imm: 8), // 1: over the addition
            Encode(Opcode.FaddD, rd: 1, rs1: 1, rs2: 1),
            Encode(Opcode.Addi, rd: 5, rs1: 5, imm: -1),
            Encode(Opcode.Bne, rs1: 5, imm: -12),
            0x00100073,
        ];
        for (var i = 0; i < code.Length; i++) machine.Memory.TryWrite(Code + (ulong)i * 4, 4, code[i]);
        for (var round = 0; round < 50; round++)
        {
            if (round == 0) machine.Unit.WriteCsr(0x100, 1 << 13); // FS Initial
            hart.Pc = Code;
            Assert.Equal(TrapCause.Breakpoint, machine.Executor.Run(hart).Cause);
        }
        Assert.InRange(engine.Statistics.Interpreted, 0, 10_000);
        Assert.Equal(0UL, hart[5]);
    }

    [Fact]
    public void TimeIsTheMachinesClock()
    {
        var clock = new MachineClock { Ticks = 123_456_789 };
        using var machine = new Machine(true, clock);
        machine.Memory.TryWrite(Code, 4, Csr(2, 0xc01, 10, 0));
        machine.Memory.TryWrite(Code + 4, 4, 0x00100073);
        for (var i = 0; i < 3; i++)
        {
            machine.Hart.Pc = Code;
            var before = clock.Ticks;
            Assert.Equal(TrapCause.Breakpoint, machine.Executor.Run(machine.Hart).Cause);
            Assert.InRange(machine.Hart[10], before, clock.Ticks);
        }
        machine.Unit.WriteCsr(0x306, 0); // mcounteren
        machine.Hart.Pc = Code;
        Assert.Equal(TrapCause.IllegalInstruction, machine.Executor.Run(machine.Hart).Cause);
    }

    /// <summary>Two address spaces with other pages at the same address, one of them with a fence in between; global pages are the same in both.</summary>
    [Theory]
    [InlineData(false), InlineData(true)]
    public void AddressSpacesKeepTheirTranslations(bool translated)
    {
        using var machine = new Machine(translated);
        var (memory, unit, hart) = (machine.Memory, machine.Unit, machine.Hart);
        const ulong other = RamBase + 0x1000, page = 0x40_0000_0000 - 0x4000_0000; // the last gigapage of the lower half
        foreach (var (root, number) in new[] { (RamBase, 0UL), (other, 1UL) })
        {
            memory.TryWrite(root + 2 * 8, 8, RamBase >> 12 << 10 | V | R | W | X | A | D | 32);
            Map(root, RamBase + 0x4000 + number * 0x2000, Data + number * 0x1000);
            memory.TryWrite(Data + number * 0x1000, 8, 100 + number);
        }
        memory.TryWrite(Data + 0x2000, 8, 102);
        void Map(ulong root, ulong tables, ulong target)
        {
            memory.TryWrite(root + 255 * 8, 8, tables >> 12 << 10 | V);
            memory.TryWrite(tables, 8, tables + 0x1000 >> 12 << 10 | V);
            memory.TryWrite(tables + 0x1000, 8, target >> 12 << 10 | V | R | W | A | D);
        }
        memory.TryWrite(Code, 4, 0x0005_3583); // ld a1, 0(a0)
        memory.TryWrite(Code + 4, 4, 0x00100073);
        ulong Load(ulong space)
        {
            unit.WriteCsr(0x180, 8UL << 60 | (space + 1) << 44 | (space == 0 ? RamBase : other) >> 12);
            hart[10] = page;
            hart.Pc = Code;
            Assert.Equal(TrapCause.Breakpoint, machine.Executor.Run(hart).Cause);
            return hart[11];
        }
        for (var round = 0; round < 3; round++) Assert.Equal((100UL, 101UL), (Load(0), Load(1)));
        Map(other, RamBase + 0x6000, Data + 0x2000);
        unit.FlushTranslations(null, 2); // ASID 2 is the other's
        Assert.Equal((100UL, 102UL), (Load(0), Load(1)));
        Map(RamBase, RamBase + 0x4000, Data + 0x2000);
        unit.FlushTranslations(page, 1);
        Assert.Equal((102UL, 102UL), (Load(0), Load(1)));
        Map(RamBase, RamBase + 0x4000, Data);
        unit.FlushTranslations();
        for (ulong asid = 3; asid < 20; asid++)
        {
            unit.WriteCsr(0x180, 8UL << 60 | asid << 44 | RamBase >> 12);
            hart.Pc = Code;
            Assert.Equal(TrapCause.Breakpoint, machine.Executor.Run(hart).Cause);
            Assert.Equal(100UL, hart[11]);
        }
    }
}
