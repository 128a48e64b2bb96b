using System.Runtime.InteropServices;
using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Interpreter;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Lowering;
using Vivarium.Translation.Tests.Differential;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>Indirect jumps with 2 to 200 targets inside regions: random interpreters of random byte code, with one dispatch or one behind each operation.</summary>
public sealed class RegionSwitchTests
{
    private const ulong Code = EngineGuest.Code, Table = EngineGuest.Data, Values = EngineGuest.Data + 0x1000, Bytes = EngineGuest.Data + 0x2000;
    private const int Length = 12_000, Head = 0, Pointer = 5, End = 6, Target = 8, Base = 9, Limit = 18, Memory = 19, Skip = 20;
    private static readonly int[] Registers = [10, 11, 12, 13, 14, 15, 7, 28, 29];
    private static readonly Opcode[] Operations = [Opcode.Add, Opcode.Sub, Opcode.Xor, Opcode.And, Opcode.Or, Opcode.Mul, Opcode.Sll, Opcode.Addw, Opcode.Sltu];
    private static readonly Opcode[] FloatOperations = [Opcode.FaddD, Opcode.FsubD, Opcode.FmulD, Opcode.FdivD];

    /// <summary>A program, and where each of its operations begins.</summary>
    private sealed record Program(uint[] Code, ulong[] Operations);

    /// <param name="random">Where all choices come from.</param>
    /// <param name="operations">How many there are.</param>
    /// <param name="ownDispatch">Of 10 operations, how many have their own jump to the next.</param>
    /// <param name="floats">Some compute with floating point.</param>
    private static Program Make(Random random, int operations, int ownDispatch, bool floats)
    {
        var code = new List<uint>();
        var starts = new List<ulong>();
        var ends = new List<int>(); // branches to the end
        bool bounds = random.Next(2) == 0, odd = random.Next(3) == 0;
        code.Add(EngineGuest.Jal(0, 4));
        int head = code.Count;
        Dispatch();
        int failed = code.Count;
        if (bounds)
        {
            // The branch in the dispatch at the head comes here for operations beyond the table.
            code.Add(EngineGuest.I(Opcode.Addi, 10, 10, 77));
            code.Add(EngineGuest.Jal(0, 4 * (head - code.Count)));
        }
        for (int n = 0; n < operations; n++)
        {
            starts.Add(Code + (ulong)code.Count * 4);
            for (int k = random.Next(1, 6); k > 0; k--) Work();
            if (random.Next(10) < ownDispatch) Dispatch();
            else code.Add(EngineGuest.Jal(0, 4 * (head - code.Count)));
        }
        foreach (int branch in ends) code[branch] = code[branch] == 0 ? EngineGuest.Jal(0, 4 * (code.Count - branch)) : EngineGuest.Branch(Opcode.Bgeu, Target, Limit, 4 * (failed - branch));
        code.Add(EngineGuest.Ecall);
        return new Program([.. code], [.. starts]);

        int Any() => Registers[random.Next(Registers.Length)];

        void Dispatch()
        {
            code.Add(EngineGuest.I(Opcode.Addi, Pointer, Pointer, 1));
            code.Add(EngineGuest.Branch(Opcode.Bltu, Pointer, End, 8));
            ends.Add(code.Count);
            code.Add(0);
            code.Add(EngineGuest.I(Opcode.Lbu, Target, Pointer, 0));
            if (bounds && code.Count < 12)
            {
                ends.Add(code.Count);
                code.Add(1);
            }
            code.Add(EngineGuest.I(Opcode.Slli, Target, Target, 3));
            code.Add(EngineGuest.R(Opcode.Add, Target, Target, Base));
            code.Add(EngineGuest.I(Opcode.Ld, Target, Target, 0));
            code.Add(EngineGuest.I(Opcode.Jalr, 0, Target, odd ? 1 : 0));
        }

        void Work()
        {
            int f = random.Next(10, 14), g = random.Next(10, 14);
            switch (random.Next(floats ? 10 : 6))
            {
                case 0: code.Add(EngineGuest.I(Opcode.Ld, Any(), Memory, random.Next(100) * 8)); break;
                case 1: code.Add(EngineGuest.Store(Opcode.Sd, Memory, Any())); break;
                case 2:
                    code.Add(EngineGuest.Branch(random.Next(2) == 0 ? Opcode.Beq : Opcode.Bltu, Any(), Any(), 8));
                    code.Add(EngineGuest.R(Opcode.Add, Any(), Any(), Any()));
                    break;
                case < 6: code.Add(EngineGuest.R(Operations[random.Next(Operations.Length)], Any(), Any(), Any())); break;
                case 6: code.Add(EngineGuest.I(Opcode.Fld, f, Memory, random.Next(100) * 8)); break;
                case 7: code.Add(EngineGuest.Store(Opcode.Fsd, Memory, 0) | (uint)f << 20); break;
                default: code.Add(EngineGuest.R(FloatOperations[random.Next(4)], f, f, g) | 7 << 12); break;
            }
        }
    }

    [Fact]
    public unsafe void RandomInterpretersDoWhatTheReferenceDoes()
    {
        int programs = int.TryParse(Environment.GetEnvironmentVariable("VIV_REGION_PROGRAMS"), out int count) ? count : 12;
        int seed = int.TryParse(Environment.GetEnvironmentVariable("VIV_DIFFERENTIAL_SEED"), out int s) ? s : 1;
        using CompileFarm? farm = Farms.Synchronous();
        if (farm == null) return;
        long entered = 0;
        int targets = 0;
        for (int end = seed + programs; seed < end; seed++)
        {
            var random = new Random(seed);
            int operations = seed % 4 == 0 ? random.Next(2, 6) : seed % 4 == 1 ? random.Next(50, 201) : random.Next(4, 50);
            Program program = Make(random, operations, random.Next(3) * 4, random.Next(3) == 0);
            using var guest = new EngineGuest(farm);
            using MemoryWindow other = MemoryWindow.Reserve(1UL << 30);
            Assert.Equal(0, other.MapAnonymous(Code, EngineGuest.CodeSize, Protection.Read | Protection.Write | Protection.Execute));
            Assert.Equal(0, other.MapAnonymous(EngineGuest.Data, EngineGuest.DataSize, Protection.Read | Protection.Write));

            // Some entries lead to the same operation; some operations come up only when the region has long been there, or hardly ever.
            int entries = Math.Min(operations + random.Next(20), 250);
            ulong[] table = [.. Enumerable.Range(0, entries).Select(n => program.Operations[n < operations ? n : random.Next(operations)])];
            var bytes = new byte[Length + 1];
            for (int n = 0; n < bytes.Length; n++)
                bytes[n] = (byte)(n > 9000 || random.Next(300) == 0 ? random.Next(entries) : n < 3000 ? random.Next(Math.Max(1, entries / 2)) : random.Next(3) == 0 ? n % entries : random.Next((entries + 9) / 10));
            foreach (MemoryWindow window in new[] { guest.Window, other })
            {
                window.Write(Code, MemoryMarshal.AsBytes(program.Code.AsSpan()));
                window.Write(Table, MemoryMarshal.AsBytes(table.AsSpan()));
                window.Write(Bytes, bytes);
            }
            using var reference = new ReferenceInterpreter();
            for (int round = 0; round < 3; round++)
            {
                using Hart actual = guest.NewHart(Code), expected = new(other) { Pc = Code };
                foreach (Hart hart in new[] { actual, expected })
                {
                    foreach (int r in Registers) hart[r] = (ulong)(r * 12345 + round);
                    (hart[Pointer], hart[End], hart[Base], hart[Limit], hart[Memory]) = (Bytes - 1, Bytes + Length, Table, (ulong)(round == 2 ? entries * 9 / 10 : entries), Values);
                    for (int f = 10; f < 14; f++) hart.State.F[f] = BitConverter.DoubleToUInt64Bits(f * 1.5);
                }
                if (round < 2) guest.Engine.ObserveTargets();
                Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.EnvironmentCall), reference.Run(expected, 10_000_000));
                guest.RunToEcall(actual);
                string what = $"seed {seed}, round {round}, {operations} operations";
                Assert.True(expected.Pc == actual.Pc, what);
                for (int r = 1; r < 32; r++) Assert.True(expected[r] == actual[r], $"{what}: x{r} is {actual[r]:x}, not {expected[r]:x}");
                for (int f = 0; f < 32; f++) Assert.True(expected.State.F[f] == actual.State.F[f], $"{what}: f{f} is {actual.State.F[f]:x}, not {expected.State.F[f]:x}");
                byte[] a = new byte[0x1000], b = new byte[0x1000];
                guest.Window.Read(Values, a);
                other.Read(Values, b);
                Assert.True(a.AsSpan().SequenceEqual(b), what + ": memory");
            }
            entered += guest.Engine.RegionEntries;
            targets = Math.Max(targets, guest.Engine.TargetsOf(Code + (ulong)program.Code.ToList().FindIndex(static c => (c & 0x707F) == 0x67) * 4).Length);
        }
        Assert.True(farm.Statistics.Regions >= programs / 2 && entered > programs && targets > 20, $"{farm.Statistics.Regions} regions, entered {entered} times, {targets} targets");
    }

    /// <summary>Calls through pointers: the functions that were seen are inlined, each with its own return, and others called.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    [InlineData(30)]
    public void FunctionsThatAPointerWasSeenToLeadToAreInlined(int functions)
    {
        using CompileFarm? farm = Farms.Synchronous();
        if (farm == null) return;
        using var guest = new EngineGuest(farm);
        // Two calls in a loop, of functions that add their number to x7 and count in x12; every third jumps to another by itself.
        uint[] load = [EngineGuest.I(Opcode.Slli, 8, 8, 3), EngineGuest.R(Opcode.Add, 8, 8, 9), EngineGuest.I(Opcode.Ld, 8, 8, 0), EngineGuest.I(Opcode.Jalr, 1, 8, 0)];
        guest.Write(Code,
        [
            EngineGuest.I(Opcode.Lbu, 8, 5, 0), .. load, EngineGuest.R(Opcode.Add, 7, 7, 7), EngineGuest.I(Opcode.Lbu, 8, 5, 1), .. load,
            EngineGuest.I(Opcode.Addi, 5, 5, 1), EngineGuest.Branch(Opcode.Bne, 5, 6, -48), EngineGuest.Ecall,
        ]);
        for (int n = 0; n < functions; n++)
        {
            ulong at = Code + 0x1000 + (ulong)n * 16;
            guest.Write(at, EngineGuest.I(Opcode.Addi, 7, 7, n), EngineGuest.I(Opcode.Addi, 12, 12, 1), n % 3 == 2 ? EngineGuest.Jal(0, -40) : EngineGuest.I(Opcode.Jalr, 0, 1, 0));
            guest.Window.Write(Table + (ulong)n * 8, BitConverter.GetBytes(at));
        }
        var bytes = new byte[9001];
        var random = new Random(functions);
        // The last function shows when the region has been there for long.
        for (int n = 0; n < bytes.Length; n++) bytes[n] = (byte)(n % 1000 == 999 && n > 8000 ? functions - 1 : random.Next(functions - 1));
        guest.Window.Write(Bytes, bytes);
        ulong expected = 0, counted = 0;
        for (int n = 0; n < 9000; n++)
        {
            Call(bytes[n]);
            expected *= 2;
            Call(bytes[n + 1]);
        }
        for (int round = 0; round < 3; round++)
        {
            if (round < 2) guest.Engine.ObserveTargets();
            using Hart hart = guest.NewHart(Code);
            (hart[5], hart[6], hart[9]) = (Bytes, Bytes + 9000, Table);
            guest.RunToEcall(hart);
            Assert.Equal(expected, hart[7]);
            Assert.Equal(counted, hart[12]);
            Assert.Equal(Code + 44, hart[1]);
        }
        Assert.True(farm.Statistics.Regions > 0 && guest.Engine.RegionEntries > 0, $"{farm.Statistics.Regions} regions, {guest.Engine.RegionEntries} entries");

        void Call(int n)
        {
            expected += (ulong)n;
            counted++;
            if (n % 3 == 2) Call(n - 2);
        }
    }

    [Theory]
    [InlineData(4, 2)]
    [InlineData(11, 40)]
    [InlineData(80, 60)]
    [InlineData(200, 100)]
    public void HashesArePerfectOrRefused(int count, int distance)
    {
        var random = new Random(count);
        for (int n = 0; n < 50; n++)
        {
            ulong at = 0x3F_1234_5678 + (ulong)random.Next();
            var pcs = new ulong[count];
            for (int k = 0; k < count; k++) pcs[k] = at = (at + (ulong)random.Next(1, distance + 1) * 2) & ~1UL;
            if (!TargetHash.TryFind(pcs, out TargetHash hash)) continue;
            Assert.Equal(count, pcs.Select(hash.Of).Distinct().Count());
            Assert.InRange(hash.Bits, 2, 12);
        }
    }
}
