using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Privileged;
using Vivarium.Testing;
using Vivarium.Translation.Machine;
using Vivarium.Translation.Optimizing;

namespace Vivarium.Machine.Tests.Harts;

// Loops for the optimising tier: pointers that walk through pages which lie scattered, are missing, cannot be written, move, or hold code.
public sealed partial class TranslatedMachineTests
{
    private const int LoopPages = 12, OuterCounter = 30, Counter = 31, Limit = 8, Index = 28, FirstPointer = 10, FirstHome = 18, Pointers = 4;
    private static readonly int[] Values = [5, 6, 7, 14, 15, 16, 17, 29];

    [Theory]
    [InlineData(1), InlineData(500_000), InlineData(1_000_000), InlineData(1_500_000, true)]
    public void LoopsOverManyPagesAgree(int firstSeed, bool calls = false)
    {
        using var farm = Farm();
        if (farm is null) return;
        using var expected = new Machine(false);
        using var actual = new Machine(true, farm: farm);
        for (var seed = firstSeed; seed < firstSeed + Programs / 3; seed++) RunLoops(seed, expected, actual, calls);
        Console.WriteLine($"{farm.Statistics.Regions} regions of loops over pages, entered {((MachineEngine)actual.Executor).RegionCounts.Entered} times");
        if (calls) Assert.InRange(((MachineEngine)actual.Executor).RegionReturns, Programs, long.MaxValue);
        Assert.True(farm.Statistics.Regions > Programs / 3 && ((MachineEngine)actual.Executor).RegionCounts.Entered > Programs / 3, $"{farm.Statistics.Regions} regions");
    }

    /// <summary>A region that leaves in front of its first instruction does not come back to itself: its page would never be in the TLB.</summary>
    [Fact]
    public void ALoopThatBeginsWithALoadOfANewPageGoesOn()
    {
        using var farm = Farm();
        if (farm is null) return;
        uint[] code = [0x00053283, 0x00530333, 0x00b50533, 0xfec51ae3, 0x00000073]; // ld, add, add, bne, ecall
        var pages = new Pages(new Random(1), U);
        using var actual = new Machine(true, farm: farm);
        pages.Add(RandomProgram.CodeStart);
        pages.Allow(RandomProgram.CodeStart);
        for (var i = 0UL; i < 40; i++)
        {
            pages.Add(RandomProgram.DataStart + i * 4096);
            pages.Allow(RandomProgram.DataStart + i * 4096);
        }
        pages.WriteTables(actual);
        for (var i = 0UL; i < 40; i++) Assert.True(actual.Memory.TryWrite(pages.Physical(RandomProgram.DataStart + i * 4096), 8, i));
        for (var i = 0; i < code.Length; i++) Assert.True(actual.Memory.TryWrite(pages.Physical(RandomProgram.CodeStart) + (ulong)i * 4, 4, code[i]));
        actual.Unit.EnterSupervisor();
        actual.Unit.WriteCsr(0x180, 8UL << 60 | Root >> 12);
        actual.Unit.WriteCsr(0x300, 3UL << 11);
        LeaveTo(actual, RandomProgram.CodeStart);
        (actual.Hart[10], actual.Hart[11], actual.Hart[12], actual.Hart[6]) = (RandomProgram.DataStart, 4096, RandomProgram.DataStart + 40 * 4096, 0);
        actual.Hart.Pc = RandomProgram.CodeStart;
        Assert.Equal(TrapCause.EnvironmentCall, actual.Executor.Run(actual.Hart).Cause);
        Assert.Equal(780UL, actual.Hart[6]);
        Assert.InRange(((MachineEngine)actual.Executor).RegionCounts.Entered, 1, 100);
    }

    private static CompileFarm? Farm()
    {
        var farm = CompileFarm.TryCreate(new OptimizerOptions { Threads = 0 }, out var problem);
        if (farm is not null) return farm;
        Console.WriteLine($"SKIPPED: {problem}");
        Assert.Null(Environment.GetEnvironmentVariable("VIV_CI"));
        return null;
    }

    private static unsafe void RunLoops(int seed, Machine expected, Machine actual, bool calls)
    {
        var random = new Random(seed);
        var atCode = random.Next(16) == 0; // the first pointer begins behind the code, and goes upwards: stores there drop the code
        var code = MakeLoops(random, atCode, calls);
        var pages = new Pages(random, U);
        // Sometimes the loop lies across a page's end, and even an instruction does.
        var start = RandomProgram.CodeStart + (ulong)(random.Next(2) == 0 ? 2 * random.Next(4) : 4096 - 2 * random.Next(1, 2 * code.Count));
        pages.Add(RandomProgram.CodeStart);
        pages.Add(RandomProgram.CodeStart + 4096);
        for (var i = 0; i < LoopPages; i++) pages.Add(RandomProgram.DataStart + (ulong)i * 4096);
        var data = new byte[4096];
        foreach (var machine in new[] { expected, actual })
        {
            machine.Memory.TryWriteBytes(RamBase, new byte[RamSize]);
            pages.WriteTables(machine);
        }
        for (var i = 0; i < LoopPages; i++)
        {
            random.NextBytes(data);
            foreach (var machine in new[] { expected, actual }) Assert.True(machine.Memory.TryWriteBytes(pages.Physical(RandomProgram.DataStart + (ulong)i * 4096), data));
        }
        var floats = new ulong[32];
        var values = new ulong[32];
        for (var r = 1; r < 32; r++) (values[r], floats[r]) = ((ulong)random.NextInt64(), BitConverter.DoubleToUInt64Bits(random.NextDouble() * 1000 - 500));
        for (var p = 0; p < Pointers; p++) values[FirstHome + p] = RandomProgram.DataStart + (ulong)random.Next(4096 * 4, 4096 * 8);
        if (atCode) values[FirstHome] = start + (ulong)code.Count * 4 + 128;
        foreach (var machine in new[] { expected, actual })
        {
            for (var i = 0; i < code.Count * 4; i++)
                Assert.True(machine.Memory.TryWrite(pages.Physical(start + (ulong)i), 1, code[i / 4] >> i % 4 * 8 & 0xff));
            machine.Unit.Reset();
            machine.Unit.EnterSupervisor();
            machine.Unit.WriteCsr(0x180, 8UL << 60 | Root >> 12);
            machine.Unit.WriteCsr(0x300, Fs | 3UL << 11);
            LeaveTo(machine, start);
            ref var state = ref machine.Hart.State;
            for (var r = 1; r < 32; r++) (state.X[r], state.F[r]) = (values[r], floats[r]);
            (state.Pc, state.Frm, state.Fflags, state.ExitRequest) = (start, 0, 0, 0);
        }
        for (var trap = 0; trap < 200; trap++)
        {
            var expectedExit = expected.Executor.Run(expected.Hart);
            var actualExit = actual.Executor.Run(actual.Hart);
            actual.Hart.State.Fflags = expected.Hart.State.Fflags;
            Compare(seed, trap, expected, actual, expectedExit, actualExit, pages, null!);
            CompareLoopPages(seed, trap, expected, actual, pages);
            if (!Fix(expectedExit, pages, expected, actual)) return;
            if (trap < 20 && random.Next(2) == 0) pages.Restrict();
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

    private static void CompareLoopPages(int seed, int trap, Machine expected, Machine actual, Pages pages)
    {
        var (left, right) = (new byte[4096], new byte[4096]);
        for (var i = 0; i < LoopPages; i++)
        {
            var page = RandomProgram.DataStart + (ulong)i * 4096;
            expected.Memory.TryReadBytes(pages.Physical(page), left);
            actual.Memory.TryReadBytes(pages.Physical(page), right);
            Assert.True(left.AsSpan().SequenceEqual(right), $"seed {seed} trap {trap}: page {page:x}");
        }
    }

    /// <summary>A loop in a loop, counted in one of several ways; with <paramref name="calls"/> by a pointer to a function behind it.</summary>
    private static List<uint> MakeLoops(Random random, bool atCode, bool calls)
    {
        const int link = 1, function = 26;
        var pointers = new List<int>();
        var code = new List<uint> { Immediate(0, OuterCounter, 0, random.Next(2, 5)) };
        var outer = code.Count;
        for (var p = 0; p < Pointers; p++) code.Add(Immediate(0, FirstPointer + p, FirstHome + p, random.Next(-64, 64)));
        int count = random.Next(4) == 0 || atCode ? random.Next(1, 10) : random.Next(10, 1200), form = random.Next(5);
        var most = 4096 * 3 / count + 1;
        var steps = Enumerable.Range(0, Pointers).Select(_ => random.Next(3) == 0 ? 8 * random.Next(-1, 2) : random.Next(-Math.Min(most, 300), Math.Min(most, 300) + 1)).ToArray();
        if (atCode) steps[0] = Math.Abs(steps[0]);
        if (form == 4) steps[0] = Math.Clamp(steps[0], 1, most);
        Constant(Limit, count);
        if (form == 4)
        {
            Constant(Index, count * steps[0]);
            code.Add(Register(0, 0, Limit, FirstPointer, Index)); // add
        }
        code.Add(Immediate(0, Counter, 0, 0));
        if (form == 0) code.Add(Immediate(0, Counter, Limit, 0));
        var inner = code.Count;
        var stepped = new bool[Pointers];
        var items = random.Next(2, 14);
        for (var n = 0; n < items; n++)
        {
            var p = random.Next(Pointers);
            if (calls && (n == 0 || random.Next(5) == 0))
            {
                pointers.Add(code.Count);
                code.AddRange([function << 7 | 0x17, 0, (uint)function << 15 | link << 7 | 0x67]); // auipc, addi, jalr
            }
            switch (random.Next(12))
            {
                case < 4: AddAccess(FirstPointer + p, random.Next(-40, 40)); break;
                case < 6: code.Add(Register(random.Next(8) is var f && f == 5 ? 4 : f, 0, Value(), Value(), Value())); break;
                case 6 when !stepped[p]:
                    stepped[p] = true;
                    code.Add(Immediate(0, FirstPointer + p, FirstPointer + p, steps[p]));
                    break;
                case 7:
                    // An index, scaled; of a counter that grows.
                    code.Add(Immediate(1, Index, form is 1 or 2 ? Counter : OuterCounter, random.Next(4)));
                    code.Add(Register(0, 0, Index, Index, FirstHome + p));
                    AddAccess(Index, random.Next(-40, 40));
                    break;
                case 8:
                    // Over an access, or a step.
                    code.Add(Branch(random.Next(2), Value(), Value(), 8));
                    if (random.Next(2) == 0) AddAccess(FirstPointer + p, random.Next(-40, 40));
                    else code.Add(Immediate(0, FirstPointer + p, FirstPointer + p, random.Next(atCode ? 0 : -8, 9)));
                    break;
                case 9:
                    int a = random.Next(32), b = random.Next(32);
                    code.Add(0x02000053 | (uint)b << 20 | (uint)a << 15 | 7u << 12 | (uint)random.Next(32) << 7); // fadd.d
                    break;
                case 10: code.Add((random.Next(2) == 0 ? 0x3007u : 0x2007u) | (uint)random.Next(-10, 10) << 20 | (uint)(FirstPointer + p) << 15 | (uint)random.Next(32) << 7); break; // fld, flw
                default: AddFloatStore(FirstPointer + p, random.Next(-40, 40)); break;
            }
        }
        for (var p = 0; p < Pointers; p++)
        {
            if (!stepped[p] && (random.Next(2) == 0 || (form == 4 && p == 0))) code.Add(Immediate(0, FirstPointer + p, FirstPointer + p, steps[p]));
        }
        var back = 0;
        switch (form)
        {
            case 0:
                code.Add(Immediate(0, Counter, Counter, -1));
                back = code.Count;
                code.Add(Branch(1, Counter, 0, (inner - back) * 4));
                break;
            case 1 or 3:
                code.Add(Immediate(0, Counter, Counter, 1));
                back = code.Count;
                code.Add(Branch(form == 1 ? 4 : 6, Counter, Limit, (inner - back) * 4)); // blt, bltu
                break;
            case 2:
                code.Add(Immediate(0, Counter, Counter, 1) | 0x8); // addiw
                if (random.Next(2) == 0) AddAccess(FirstPointer, 0);
                back = code.Count;
                code.Add(Branch(1, Counter, Limit, (inner - back) * 4));
                break;
            default:
                back = code.Count;
                code.Add(Branch(6, FirstPointer, Limit, (inner - back) * 4)); // bltu
                break;
        }
        code.Add(Immediate(0, OuterCounter, OuterCounter, -1));
        code.Add(Branch(1, OuterCounter, 0, (outer - code.Count) * 4));
        code.Add(0x00000073); // ecall
        foreach (var at in pointers) code[at + 1] = Immediate(0, function, function, (code.Count - at) * 4);
        if (calls) code.AddRange([Immediate(0, Value(), Value(), 7), link << 15 | 0x67]); // addi, ret
        return code;

        int Value() => Values[random.Next(Values.Length)];

        void Constant(int register, int value)
        {
            code.Add((uint)(value + 0x800 & ~0xfff) | (uint)register << 7 | 0x37);
            code.Add(Immediate(0, register, register, value << 20 >> 20));
        }

        void AddAccess(int pointer, int offset)
        {
            if (random.Next(2) == 0) code.Add((uint)offset << 20 | (uint)pointer << 15 | (uint)random.Next(7) << 12 | (uint)Value() << 7 | 0x03);
            else code.Add(((uint)offset >> 5 & 127) << 25 | (uint)Value() << 20 | (uint)pointer << 15 | (uint)random.Next(4) << 12 | ((uint)offset & 31) << 7 | 0x23);
        }

        void AddFloatStore(int pointer, int offset) =>
            code.Add(((uint)offset >> 5 & 127) << 25 | (uint)random.Next(32) << 20 | (uint)pointer << 15 | (uint)random.Next(2, 4) << 12 | ((uint)offset & 31) << 7 | 0x27);

        static uint Register(int operation, int upper, int rd, int rs1, int rs2) => (uint)upper << 25 | (uint)rs2 << 20 | (uint)rs1 << 15 | (uint)operation << 12 | (uint)rd << 7 | 0x33;
        static uint Immediate(int operation, int rd, int rs, int value) => (uint)value << 20 | (uint)rs << 15 | (uint)operation << 12 | (uint)rd << 7 | 0x13;
        static uint Branch(int condition, int rs1, int rs2, int offset) => ((uint)offset >> 12 & 1) << 31 | ((uint)offset >> 5 & 63) << 25 | (uint)rs2 << 20 | (uint)rs1 << 15
            | (uint)condition << 12 | ((uint)offset >> 1 & 15) << 8 | ((uint)offset >> 11 & 1) << 7 | 0x63;
    }
}
