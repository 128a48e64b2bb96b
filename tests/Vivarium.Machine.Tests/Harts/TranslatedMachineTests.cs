using Vivarium.Machine.Buses;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Privileged;
using Vivarium.Testing;
using Vivarium.Translation;
using Vivarium.Translation.Machine;
using Vivarium.Translation.Optimizing;

namespace Vivarium.Machine.Tests.Harts;

/// <summary>Random programs in U- and S-mode under paging behave on the translator as on the interpreter, trap by trap. Pages lie scattered in RAM, and
/// are mapped, made accessible, moved and rewritten while the program runs. VIV_RANDOM_PROGRAMS sets how many (default 150).</summary>
public sealed partial class TranslatedMachineTests
{
    private const ulong RamBase = 0x8000_0000, RamSize = 8 << 20, Root = RamBase;
    private const ulong V = 1, R = 2, W = 4, X = 8, U = 16, A = 64, D = 128;
    private const ulong Fs = 3UL << 13, Sum = 1UL << 18, Spp = 1UL << 8;

    private static int Programs => int.TryParse(Environment.GetEnvironmentVariable("VIV_RANDOM_PROGRAMS"), out var n) ? n : 150;

    private sealed class Clock : IHartEnvironment
    {
        public ulong Time => 0;
        public void SetSupervisorTimer(ulong compare) { }
    }

    /// <summary>One of the two machines.</summary>
    private sealed class Machine : IDisposable
    {
        public readonly PhysicalMemory Memory = new(RamBase, RamSize);
        public readonly Hart Hart;
        public readonly PrivilegedUnit Unit;
        public readonly Executor Executor;

        public Machine(bool translated, ulong cacheSize = 64 << 20, bool interpretFirst = false, CompileFarm? farm = null)
        {
            Hart = new Hart(Memory.Ram) { Reservations = new() };
            Unit = new PrivilegedUnit(Hart, 0, HartFeatures.Full, Memory, new Clock());
            Executor = translated ? new MachineEngine(Memory, new TranslationOptions { Validate = true, MachineCacheSize = cacheSize, InterpretFirst = interpretFirst, Farm = farm }) : new ReferenceInterpreter();
            Memory.RamWritten = Executor.InvalidateCode;
        }

        public void Dispose()
        {
            Executor.Dispose();
            Hart.Dispose();
            Memory.Dispose();
        }
    }

    /// <summary>Virtual pages of the program: where each lies and what its leaf allows now.</summary>
    private sealed class Pages(Random random, ulong user)
    {
        private readonly SortedDictionary<ulong, (ulong Physical, ulong Flags)> _pages = [];
        private ulong _next = RamBase + 0x10_0000;

        public static ulong Full(ulong page, ulong user) => V | R | W | A | D | user | (page < RandomProgram.DataStart ? X : 0);

        public void Add(ulong page)
        {
            _next += (ulong)random.Next(1, 4) << 12;
            var flags = Full(page, user);
            if (random.Next(3) == 0) flags &= ~(new[] { V, A, D, R | W, W | D }[random.Next(5)]);
            if (page < RandomProgram.DataStart && (flags & V) == 0 && page == RandomProgram.CodeStart) flags |= V;
            _pages[page] = (_next, flags);
        }

        public bool Allow(ulong page)
        {
            if (!_pages.TryGetValue(page, out var known) || known.Flags == Full(page, user)) return false;
            _pages[page] = (known.Physical, Full(page, user));
            return true;
        }

        /// <summary>Takes rights of a page away.</summary>
        public void Restrict()
        {
            var page = _pages.Keys.ElementAt(random.Next(_pages.Count));
            _pages[page] = (_pages[page].Physical, _pages[page].Flags & ~(new[] { V, A, D, R | W, W | D }[random.Next(5)]));
        }

        /// <summary>Copies a page elsewhere, as a kernel does that compacts memory.</summary>
        public ulong Move(params ReadOnlySpan<Machine> machines)
        {
            var page = _pages.Keys.ElementAt(random.Next(_pages.Count));
            var (from, flags) = _pages[page];
            _next += 0x1000;
            var bytes = new byte[4096];
            foreach (var machine in machines)
            {
                machine.Memory.TryReadBytes(from, bytes);
                machine.Memory.TryWriteBytes(_next, bytes);
                machine.Memory.TryWriteBytes(from, new byte[4096]);
            }
            _pages[page] = (_next, flags);
            return page;
        }

        public ulong Physical(ulong address) => _pages[address & ~4095UL].Physical | (address & 4095);

        public void WriteTables(Machine machine)
        {
            // Three levels with one table for each 2 MiB that is used; all in the first 256 KiB.
            var next = Root + 0x2000;
            var middle = Root + 0x1000;
            machine.Memory.TryWriteBytes(Root, new byte[0x4_0000]);
            machine.Memory.TryWrite(Root, 8, middle >> 12 << 10 | V);
            var tables = new Dictionary<ulong, ulong>();
            foreach (var (page, (physical, flags)) in _pages)
            {
                if (!tables.TryGetValue(page >> 21, out var table))
                {
                    tables[page >> 21] = table = next;
                    next += 0x1000;
                    machine.Memory.TryWrite(middle + (page >> 21 & 511) * 8, 8, table >> 12 << 10 | V);
                }
                machine.Memory.TryWrite(table + (page >> 12 & 511) * 8, 8, physical >> 12 << 10 | flags);
            }
        }
    }

    [Theory]
    [InlineData(PrivilegeMode.User, 1, false), InlineData(PrivilegeMode.Supervisor, 100_000, false), InlineData(PrivilegeMode.User, 200_000, true)]
    public void ProgramsUnderPagingAgree(PrivilegeMode mode, int firstSeed, bool interpretFirst)
    {
        using var expected = new Machine(false);
        using var actual = new Machine(true, interpretFirst: interpretFirst);
        for (var seed = firstSeed; seed < firstSeed + Programs; seed++) Run(seed, mode, expected, actual);
    }

    /// <summary>Every backward jump of user mode is compiled by the optimising tier at once.</summary>
    [Theory]
    [InlineData(false, 64), InlineData(true, 64), InlineData(false, 1)]
    public void RegionsUnderPagingAgree(bool floats, int cacheSize)
    {
        using var farm = Farm();
        if (farm is null) return;
        using var expected = new Machine(false);
        using var actual = new Machine(true, (ulong)cacheSize << 20, farm: farm);
        for (var seed = 300_000; seed < 300_000 + Programs; seed++)
        {
            Run(seed, PrivilegeMode.User, expected, actual, new() { Float = floats, AdditionalFloat = floats, ControlStatus = false }, ignoresFlags: floats);
        }
        var entries = ((MachineEngine)actual.Executor).RegionCounts.Entered;
        Console.WriteLine($"{farm.Statistics.Regions} regions of user mode, entered {entries} times");
        // Regions with floating point refuse other rounding modes than the nearest, and FS that is not Dirty.
        Assert.True(farm.Statistics.Regions > Programs / 8 && entries > (floats ? Programs / 4 : Programs), $"{farm.Statistics.Regions} regions, entered {entries} times");
    }

    /// <summary>A code cache that is full all the time: what is oldest goes, and the programs do not notice.</summary>
    [Fact]
    public void FullCachesEvict()
    {
        using var expected = new Machine(false);
        using var actual = new Machine(true, 1 << 20);
        for (var seed = 200_000; seed < 200_000 + Programs / 3; seed++) Run(seed, PrivilegeMode.User, expected, actual);
        Assert.InRange(((MachineEngine)actual.Executor).Statistics.Evictions, 1, long.MaxValue);
    }

    /// <summary>A structure and single bytes around every address of some pages that lie scattered: what shares a look into the TLB must notice where a page ends.</summary>
    [Theory]
    [InlineData(10, 0), InlineData(10, 3), InlineData(2, 0), InlineData(2, 5), InlineData(20, 1)]
    public unsafe void AccessesAroundEveryPageBoundaryAgree(int pointer, int start)
    {
        const int value = 5, sum = 11, end = 12, loaded = 13, first = 24;
        uint[] code =
        [
            Store(3, -24, value, pointer), Store(3, -16, pointer, pointer), Load(3, -24, loaded, pointer), Register(0, sum, sum, loaded),
            Store(2, 4, value, pointer), Store(0, 20, pointer, pointer), Load(4, 20, loaded, pointer), Register(4, sum, sum, loaded), Load(3, -9, loaded, pointer),
            Register(0, sum, sum, loaded), Store(3, -8, sum, pointer), Immediate(1, value, value), Immediate(1, pointer, pointer),
            0x00000063 | Branch(1, pointer, end, -13 * 4), 0x00100073,
        ];
        var random = new Random(start);
        var pages = new Pages(random, 0);
        using var expected = new Machine(false);
        using var actual = new Machine(true);
        var all = Enumerable.Range(0, (int)(RandomProgram.DataSize >> 12)).Select(i => RandomProgram.DataStart + (ulong)i * 4096).Prepend(RandomProgram.CodeStart).ToArray();
        foreach (var page in all)
        {
            pages.Add(page);
            pages.Allow(page);
        }
        foreach (var machine in new[] { expected, actual })
        {
            pages.WriteTables(machine);
            for (var i = 0; i < code.Length; i++) Assert.True(machine.Memory.TryWrite(pages.Physical(RandomProgram.CodeStart) + (ulong)i * 4, 4, code[i]));
            machine.Unit.EnterSupervisor();
            machine.Unit.WriteCsr(0x180, 8UL << 60 | Root >> 12);
            machine.Unit.WriteCsr(0x300, 3UL << 11 | Spp);
            ref var state = ref machine.Hart.State;
            state.X[pointer] = RandomProgram.DataStart + first + (ulong)start;
            state.X[end] = RandomProgram.DataStart + RandomProgram.DataSize - 64;
            state.Pc = RandomProgram.CodeStart;
        }
        Compare(start, 0, expected, actual, expected.Executor.Run(expected.Hart), actual.Executor.Run(actual.Hart), pages, null!);
        Assert.Equal(expected.Hart.State.X[end], actual.Hart.State.X[pointer]);

        static uint Load(uint width, int offset, int rd, int rs) => (uint)offset << 20 | (uint)rs << 15 | width << 12 | (uint)rd << 7 | 0x03;
        static uint Store(uint width, int offset, int rs2, int rs1) => ((uint)offset >> 5 & 127) << 25 | (uint)rs2 << 20 | (uint)rs1 << 15 | width << 12 | ((uint)offset & 31) << 7 | 0x23;
        static uint Register(uint operation, int rd, int rs1, int rs2) => (uint)rs2 << 20 | (uint)rs1 << 15 | operation << 12 | (uint)rd << 7 | 0x33;
        static uint Immediate(int value, int rd, int rs) => (uint)value << 20 | (uint)rs << 15 | (uint)rd << 7 | 0x13;
        static uint Branch(uint condition, int rs1, int rs2, int offset) => ((uint)offset >> 12 & 1) << 31 | ((uint)offset >> 5 & 63) << 25 | (uint)rs2 << 20 | (uint)rs1 << 15
            | condition << 12 | ((uint)offset >> 1 & 15) << 8 | ((uint)offset >> 11 & 1) << 7;
    }

    private static unsafe void Run(int seed, PrivilegeMode mode, Machine expected, Machine actual, RandomProgramOptions? options = null, bool ignoresFlags = false)
    {
        var random = new Random(seed);
        var program = RandomProgram.Generate(seed, (options ?? new()) with { Length = random.Next(20, 400), Traps = random.Next(4) == 0, CacheAndFences = true });
        var user = mode == PrivilegeMode.User ? U : 0;
        var pages = new Pages(random, user);
        for (var page = RandomProgram.CodeStart; page < RandomProgram.CodeStart + (ulong)program.Code.Length; page += 4096) pages.Add(page);
        for (var page = RandomProgram.DataStart; page < RandomProgram.DataStart + RandomProgram.DataSize; page += 4096) pages.Add(page);
        pages.Add(RandomProgram.ConstantsStart);

        var menvcfg = (random.Next(2) == 0 ? 1UL << 61 : 0) | 0xf0;
        var status = (ulong)random.Next(4) << 13 | (random.Next(2) == 0 ? Sum : 0) | (mode == PrivilegeMode.Supervisor ? Spp : 0) | 1UL << 5;
        foreach (var machine in new[] { expected, actual })
        {
            Install(machine, program, pages);
            machine.Unit.Reset();
            machine.Unit.EnterSupervisor();
            machine.Unit.WriteCsr(0x30a, menvcfg);
            machine.Unit.WriteCsr(0x180, 8UL << 60 | Root >> 12);
            machine.Unit.WriteCsr(0x300, status | 3UL << 11);
            if (mode == PrivilegeMode.User) LeaveTo(machine, RandomProgram.CodeStart);
            ref var state = ref machine.Hart.State;
            for (var r = 0; r < 32; r++) (state.X[r], state.F[r]) = (program.X[r], program.F[r]);
            (state.Pc, state.Frm, state.Fflags, state.ReservationAddress, state.ExitRequest) = (RandomProgram.CodeStart, program.Frm, program.Fflags, ulong.MaxValue, 0);
        }

        for (var trap = 0; trap < 200; trap++)
        {
            var expectedExit = expected.Executor.Run(expected.Hart);
            var actualExit = actual.Executor.Run(actual.Hart);
            if (ignoresFlags) actual.Hart.State.Fflags = expected.Hart.State.Fflags;
            Compare(seed, trap, expected, actual, expectedExit, actualExit, pages, program);
            if (!Fix(expectedExit, pages, expected, actual)) return;
            if (random.Next(3) == 0) pages.Move(expected, actual);
            foreach (var machine in new[] { expected, actual })
            {
                pages.WriteTables(machine);
                machine.Unit.FlushTranslations();
                machine.Unit.FenceInstructions();
            }
        }
        Assert.Fail($"seed {seed} does not end");
    }

    /// <summary>What an operating system would do; false where the program is over.</summary>
    private static bool Fix(in ExecutionExit exit, Pages pages, params ReadOnlySpan<Machine> machines)
    {
        switch (exit.Cause)
        {
            case TrapCause.InstructionPageFault or TrapCause.LoadPageFault or TrapCause.StorePageFault:
                return pages.Allow(exit.Value & ~4095UL);
            case TrapCause.IllegalInstruction when (machines[0].Unit.ReadCsr(0x300) & Fs) == 0:
                foreach (var machine in machines) machine.Unit.WriteCsr(0x300, machine.Unit.ReadCsr(0x300) | 1UL << 13);
                return true;
            default:
                return false;
        }
    }

    private static void Install(Machine machine, RandomProgram program, Pages pages)
    {
        machine.Memory.TryWriteBytes(RamBase, new byte[RamSize]);
        Write(RandomProgram.CodeStart, program.Code);
        Write(RandomProgram.DataStart, program.Data);
        Write(RandomProgram.ConstantsStart, program.Constants);
        pages.WriteTables(machine);

        void Write(ulong address, byte[] bytes)
        {
            for (var at = 0; at < bytes.Length; at += 4096)
                Assert.True(machine.Memory.TryWriteBytes(pages.Physical(address + (ulong)at), bytes.AsSpan(at, Math.Min(4096, bytes.Length - at))));
        }
    }

    /// <summary>To U-mode by the sret that lies at the start of a page of its own.</summary>
    private static void LeaveTo(Machine machine, ulong pc)
    {
        // Bare for one instruction: the page table need not hold it.
        const ulong at = RamBase + 0x5_0000;
        var satp = machine.Unit.ReadCsr(0x180);
        machine.Unit.WriteCsr(0x180, 0);
        machine.Memory.TryWrite(at, 4, 0x10200073);
        machine.Unit.WriteCsr(0x141, pc);
        machine.Hart.Pc = at;
        machine.Hart.State.ExitRequest = 0;
        using var interpreter = new ReferenceInterpreter();
        Assert.Null(interpreter.Step(machine.Hart));
        machine.Unit.WriteCsr(0x180, satp);
        Assert.Equal(PrivilegeMode.User, machine.Unit.Mode);
    }

    private static unsafe void Compare(int seed, int trap, Machine expected, Machine actual, in ExecutionExit expectedExit, in ExecutionExit actualExit,
        Pages pages, RandomProgram program)
    {
        var where = $"seed {seed} trap {trap} (expected {expectedExit.Cause} at {expected.Hart.Pc:x})";
        Assert.True(expectedExit == actualExit, $"{where}: {expectedExit} | {actualExit}, pc {actual.Hart.Pc:x}");
        Assert.True(expected.Hart.Pc == actual.Hart.Pc, $"{where}: pc {actual.Hart.Pc:x}");
        ref var a = ref expected.Hart.State;
        ref var b = ref actual.Hart.State;
        for (var r = 0; r < 32; r++)
        {
            Assert.True(a.X[r] == b.X[r], $"{where}: x{r} {a.X[r]:x} | {b.X[r]:x}");
            Assert.True(a.F[r] == b.F[r], $"{where}: f{r} {a.F[r]:x} | {b.F[r]:x}");
        }
        Assert.True(a.Fflags == b.Fflags && a.Frm == b.Frm, $"{where}: fflags {a.Fflags:x} | {b.Fflags:x}, frm {a.Frm} | {b.Frm}");
        // FS may be Dirty too early (but not where it is Off), and nothing else may differ.
        const ulong dirty = 1UL << 63 | 3UL << 13;
        ulong wanted = expected.Unit.ReadCsr(0x300), got = actual.Unit.ReadCsr(0x300);
        Assert.True(wanted == got || ((wanted & 3UL << 13) != 0 && (wanted | dirty) == got), $"{where}: mstatus");
        var (left, right) = (new byte[4096], new byte[4096]);
        for (var page = RandomProgram.DataStart; page < RandomProgram.DataStart + RandomProgram.DataSize; page += 4096)
        {
            expected.Memory.TryReadBytes(pages.Physical(page), left);
            actual.Memory.TryReadBytes(pages.Physical(page), right);
            Assert.True(left.AsSpan().SequenceEqual(right), $"{where}: data page {page:x}");
        }
        _ = program;
    }
}
