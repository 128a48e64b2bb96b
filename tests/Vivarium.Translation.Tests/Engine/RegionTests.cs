using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Regions;
using Vivarium.Translation.Tests.Differential;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>Regions of the optimising tier and what comes at them from outside: kicks, faults, code changes, other harts.</summary>
public sealed class RegionTests : IDisposable
{
    private const int Patience = 60_000;

    private readonly CompileFarm? _farm = Farms.Synchronous();
    private readonly EngineGuest? _guest;

    public RegionTests() => _guest = _farm == null ? null : new EngineGuest(_farm);

    public void Dispose()
    {
        _guest?.Dispose();
        _farm?.Dispose();
    }

    private static uint Addi(int rd, int rs1, int imm) => EngineGuest.I(Opcode.Addi, rd, rs1, imm);

    [Fact]
    public void ACountingLoopRunsAsARegion()
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, Addi(6, 6, 3), Addi(5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -8), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[5] = 1_000_003;
        guest.RunToEcall(hart);
        Assert.Equal(3_000_009UL, hart[6]);
        Assert.Equal(0UL, hart[5]);
        Assert.Equal(EngineGuest.Code + 12, hart.Pc);
        Assert.Equal(1, _farm!.Statistics.Regions);
    }

    /// <summary>From any start, any step and any condition the round count is right, also where the counter wraps or never fits exactly.</summary>
    [Theory]
    [InlineData(Opcode.Bne, 5, 6, 8, 0, 800)]
    [InlineData(Opcode.Bne, 5, 6, -8, 80000, 0)]
    [InlineData(Opcode.Blt, 5, 6, 7, -100, 100)]
    [InlineData(Opcode.Blt, 6, 5, -7, 100, -100)]
    [InlineData(Opcode.Bge, 5, 6, -3, 100, -100)]
    [InlineData(Opcode.Bge, 6, 5, 3, -100, 100)]
    [InlineData(Opcode.Bltu, 5, 6, 5, 3, 200_000)]
    [InlineData(Opcode.Bgeu, 5, 6, -5, 200_000, 3)]
    [InlineData(Opcode.Blt, 5, 6, 1, 100, -100)]
    [InlineData(Opcode.Bltu, 5, 6, 1, -3, 5)]
    [InlineData(Opcode.Bne, 5, 6, 2047, long.MaxValue - 2047 * 50, long.MaxValue)]
    [InlineData(Opcode.Blt, 5, 6, 2000, long.MaxValue - 5000, long.MaxValue)]
    [InlineData(Opcode.Bgeu, 5, 6, -2000, 9001, 0)]
    [InlineData(Opcode.Bne, 5, 6, 8, 0, 800, true)]
    [InlineData(Opcode.Blt, 5, 6, 1000, int.MaxValue - 5000, int.MaxValue, true)]
    [InlineData(Opcode.Bne, 5, 6, 1, int.MaxValue - 5, 1L << 31, true)]
    [InlineData(Opcode.Bne, 5, 6, 1, 1L << 33, (1L << 33) + 50, true)]
    [InlineData(Opcode.Bltu, 5, 6, 16, -5000, -1, true)]
    [InlineData(Opcode.Bge, 5, 6, -7, 5000, int.MinValue, true)]
    [InlineData(Opcode.Bne, 5, 6, 8, 0, 800, true, true)]
    [InlineData(Opcode.Blt, 5, 6, 1000, int.MaxValue - 5000, int.MaxValue, true, true)]
    [InlineData(Opcode.Bne, 5, 6, 1, int.MaxValue - 5, 1L << 31, true, true)]
    [InlineData(Opcode.Bne, 5, 6, 1, 1L << 33, (1L << 33) + 50, true, true)]
    [InlineData(Opcode.Bltu, 5, 6, 16, -5000, -1, true, true)]
    [InlineData(Opcode.Bge, 5, 6, -7, 5000, int.MinValue, true, true)]
    [InlineData(Opcode.Bne, 5, 6, 8, 0, 800, false, true)]
    public void LoopsCountTheirRounds(Opcode branch, int a, int b, int step, long from, long to, bool words = false, bool late = false)
    {
        if (_guest is not { } guest) return;
        // The outer loop makes the inner one hot before it counts. The counter's step is at the loop's head, or in its last block.
        uint count = EngineGuest.I(words ? Opcode.Addiw : Opcode.Addi, 5, 5, step);
        if (late)
            guest.Write(EngineGuest.Code,
                Addi(5, 10, 0), Addi(7, 7, 1), Addi(8, 8, 1), EngineGuest.Branch(Opcode.Bltu, 9, 8, 12), count,
                EngineGuest.Branch(branch, a, b, -16), Addi(8, 0, 0), Addi(11, 11, -1), EngineGuest.Branch(Opcode.Bne, 11, 0, -32), EngineGuest.Ecall);
        else
            guest.Write(EngineGuest.Code,
                Addi(5, 10, 0), count, Addi(7, 7, 1), Addi(8, 8, 1), EngineGuest.Branch(Opcode.Bltu, 9, 8, 8),
                EngineGuest.Branch(branch, a, b, -16), Addi(8, 0, 0), Addi(11, 11, -1), EngineGuest.Branch(Opcode.Bne, 11, 0, -32), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[10] = (ulong)from;
        hart[6] = (ulong)to;
        hart[9] = 100_000; // gives up loops that take too long
        hart[11] = 3;
        guest.RunToEcall(hart);
        ulong x = (ulong)from, rounds = 0;
        for (bool more = true; more && rounds <= 100_000;)
        {
            rounds++;
            if (late && rounds > 100_000) break;
            x += (ulong)(long)step;
            if (words) x = (ulong)(int)x;
            ulong left = a == 5 ? x : (ulong)to, right = a == 5 ? (ulong)to : x;
            more = branch switch
            {
                Opcode.Bne => left != right, Opcode.Blt => (long)left < (long)right, Opcode.Bge => (long)left >= (long)right,
                Opcode.Bltu => left < right, _ => left >= right,
            };
        }
        Assert.Equal(x, hart[5]);
        Assert.Equal(3 * rounds, hart[7]);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AnEndlessLoopStaysEndlessAndCanBeLeft(bool counts)
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, Addi(5, 5, counts ? 1 : 0), EngineGuest.Jal(0, -4));
        using Hart hart = guest.NewHart(EngineGuest.Code);
        HostThread? host = null;
        ExecutionExit exit = default;
        var thread = new Thread(() =>
        {
            Volatile.Write(ref host, HostThread.Current);
            exit = guest.Engine.Run(hart);
        });
        thread.Start();
        bool entered = SpinWait.SpinUntil(() => Volatile.Read(ref host) != null && guest.Engine.RegionEntries > 0, Patience);
        hart.RequestExit();
        host!.Kick();
        Assert.True(thread.Join(Patience), "the kick was lost");
        Assert.True(entered, "the loop did not become a region");
        Assert.Equal(ExitKind.Interrupted, exit.Kind);
        Assert.True(hart.Pc is EngineGuest.Code or EngineGuest.Code + 4);
    }

    [Fact]
    public void ManyForcedExitsChangeNothing()
    {
        if (_guest is not { } guest) return;
        // Sums and stores in an inner loop of odd length within an outer one.
        guest.Write(EngineGuest.Code,
            Addi(5, 0, 0), Addi(12, 10, 0), EngineGuest.I(Opcode.Lw, 13, 12, 0), EngineGuest.R(Opcode.Add, 14, 14, 13), EngineGuest.R(Opcode.Xor, 13, 13, 14),
            EngineGuest.Store(Opcode.Sw, 12, 13), Addi(12, 12, 4), Addi(5, 5, 1), EngineGuest.Branch(Opcode.Bltu, 5, 15, -24),
            Addi(11, 11, -1), EngineGuest.Branch(Opcode.Bne, 11, 0, -40), EngineGuest.Ecall);
        (ulong Sum, ulong Last) calm = Round(disturbed: false), disturbed = Round(disturbed: true);
        Assert.Equal(calm, disturbed);

        (ulong, ulong) Round(bool disturbed)
        {
            guest.Window.Write(EngineGuest.Data, new byte[4096]);
            guest.Window.Write(EngineGuest.Data, [1, 2, 3, 4, 5]);
            using Hart hart = guest.NewHart(EngineGuest.Code);
            hart[10] = EngineGuest.Data;
            hart[15] = 997;
            hart[11] = 20_000;
            HostThread host = HostThread.Current;
            bool done = false;
            int interrupts = 0;
            // One kick at a time, and a while of random length before the next: kicks without a pause would leave no time to go on.
            var kicker = new Thread(() =>
            {
                var random = new Random(1);
                while (!Volatile.Read(ref done))
                {
                    int before = Volatile.Read(ref interrupts);
                    hart.RequestExit();
                    host.Kick();
                    while (Volatile.Read(ref interrupts) == before && !Volatile.Read(ref done)) Thread.Yield();
                    Thread.SpinWait(random.Next(2000));
                }
            }) { IsBackground = true };
            if (disturbed)
            {
                kicker.Start();
                // On a busy machine the guest could be done before the other thread runs at all.
                Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref hart.State.ExitRequest) != 0, Patience), "no kick came");
            }
            while (true)
            {
                ExecutionExit exit = guest.Engine.Run(hart);
                if (exit.Kind == ExitKind.Trap) break;
                hart.State.ExitRequest = 0;
                Volatile.Write(ref interrupts, interrupts + 1);
            }
            Volatile.Write(ref done, true);
            if (disturbed)
            {
                Assert.True(kicker.Join(Patience));
                Assert.True(interrupts > 0);
            }
            Assert.Equal(EngineGuest.Code + 44, hart.Pc);
            return (hart[14], hart[13]);
        }
    }

    [Fact]
    public void AFaultInARegionNamesItsAddress()
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, EngineGuest.I(Opcode.Ld, 6, 10, 0), EngineGuest.R(Opcode.Add, 7, 7, 6), Addi(10, 10, 8), EngineGuest.Branch(Opcode.Bne, 10, 11, -12), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[10] = EngineGuest.Data;
        hart[11] = EngineGuest.Data + (1 << 20);
        ExecutionExit exit = guest.Engine.Run(hart);
        Assert.Equal(1, _farm!.Statistics.Regions);
        Assert.Equal((ExitKind.Trap, TrapCause.LoadPageFault, 11), (exit.Kind, exit.Cause, exit.HostSignal));
        Assert.Equal((EngineGuest.Data + EngineGuest.DataSize) & ~4095UL, exit.Value & ~4095UL);
    }

    /// <summary>fcvt.d.w rounds nothing, and yet traps with a reserved rounding mode.</summary>
    [Theory]
    [InlineData(5)]
    [InlineData(6)]
    public void AReservedRoundingModeTrapsWhereNothingIsRounded(int mode)
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, Addi(10, 10, -1), EngineGuest.Branch(Opcode.Bne, 10, 11, 8), 0xD2060053u | (uint)mode << 12,
            EngineGuest.Branch(Opcode.Bne, 10, 0, -12), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[10] = 1000;
        hart[11] = 3;
        ExecutionExit exit = guest.Engine.Run(hart);
        Assert.Equal((ExitKind.Trap, TrapCause.IllegalInstruction, EngineGuest.Code + 8), (exit.Kind, exit.Cause, hart.Pc));
        Assert.Equal(3UL, hart[10]);
    }

    /// <summary>A comparison between frflags and fsflags, which raises nothing, is no reason to stay out of a region; unless something jumps in between.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public unsafe void QuietComparisonsArePartOfRegions(bool jumpsInside)
    {
        if (_guest is not { } guest) return;
        const uint Frflags14 = 0x00102773, Fsflags14 = 0x00171073, Flt6F1F2 = 0xA2209353, FaddF1F3 = 0x0230F0D3;
        guest.Write(EngineGuest.Code, FaddF1F3, jumpsInside ? EngineGuest.Branch(Opcode.Beq, 5, 9, 12) : Addi(0, 0, 0), Frflags14, Flt6F1F2, Fsflags14,
            EngineGuest.R(Opcode.Add, 7, 7, 6), Addi(5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -28), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[5] = 100_000;
        hart.State.F[1] = BitConverter.DoubleToUInt64Bits(0);
        hart.State.F[2] = BitConverter.DoubleToUInt64Bits(12.5);
        hart.State.F[3] = BitConverter.DoubleToUInt64Bits(0.5);
        guest.RunToEcall(hart);
        Assert.Equal(24UL, hart[7]);
        Assert.Equal(jumpsInside ? 0 : 1, _farm!.Statistics.Regions);
    }

    // floor of glibc: what it raises is undone by an fsflags, or nothing was raised and what was saved is dropped.
    private static uint[] Floor =>
    [
        0x00102773, 0xA2A527D3, 0x22A527D3, EngineGuest.Branch(Opcode.Beq, 15, 0, 36), 0x00043707, 0xA2E797D3, EngineGuest.Branch(Opcode.Beq, 15, 0, 20),
        0xC22527D3, 0xD227A7D3, 0x22A78553, 0x00171073, EngineGuest.I(Opcode.Jalr, 0, 1, 0), 0x02A57553, EngineGuest.I(Opcode.Jalr, 0, 1, 0),
    ];

    [Fact]
    public void FunctionsThatPutFlagsBackArePartOfRegions()
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, [0x00053507, EngineGuest.Jal(1, 28), 0xC2251353, EngineGuest.R(Opcode.Add, 7, 7, 6), Addi(10, 10, 8), Addi(5, 5, -1),
            EngineGuest.Branch(Opcode.Bne, 5, 0, -24), EngineGuest.Ecall, .. Floor]);
        double[] values = [1.5, -1.5, 0.25, -0.25, 3, -7, 1e15 + 0.5, -4503599627370495.5, 4503599627370497, -1e18];
        double sum = 0;
        Span<byte> bytes = stackalloc byte[8];
        for (int n = 0; n < 100; n++)
        {
            double value = values[n % values.Length] + (n < 50 ? n : 0);
            sum += Math.Floor(value);
            BitConverter.TryWriteBytes(bytes, value);
            guest.Window.Write(EngineGuest.Data + (ulong)n * 8, bytes);
        }
        BitConverter.TryWriteBytes(bytes, 4503599627370496.0);
        guest.Window.Write(EngineGuest.Data + 4096, bytes);
        long expected = 0;
        for (int n = 0; n < 100; n++) expected += (long)Math.Floor(values[n % values.Length] + (n < 50 ? n : 0));
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[5] = 100;
        hart[8] = EngineGuest.Data + 4096;
        hart[10] = EngineGuest.Data;
        guest.RunToEcall(hart);
        Assert.Equal(expected, (long)hart[7]);
        Assert.Equal(0, _farm!.Statistics.FlagAccess);
        Assert.True(_farm.Statistics.Regions > 0, "no region was made");
    }

    /// <summary>What reads flags to look at them, or clears some, is found; what sets some or puts back what it has read is not.</summary>
    [Fact]
    public void WhoLooksAtFlagsIsKnown()
    {
        if (_guest is not { } guest) return;
        uint ret = EngineGuest.I(Opcode.Jalr, 0, 1, 0), read = 0x00102773 /* frflags a4 */, restore = 0x00171073;
        Assert.Null(Look(Floor));
        Assert.Null(Look([0x00152073, ret])); // csrs fflags, a0
        Assert.Null(Look([read, 0xA2209353, restore]));
        Assert.Null(Look([read, EngineGuest.Branch(Opcode.Beq, 15, 0, 8), restore, ret]));
        Assert.Equal(0, Look([0x001027F3, EngineGuest.R(Opcode.And, 10, 10, 15), ret])); // fetestexcept
        Assert.Equal(0, Look([0x00102573, ret])); // the result in a0
        Assert.Equal(0, Look([read, EngineGuest.Jal(1, 64)])); // an argument of a call, perhaps
        Assert.Equal(0, Look([read, EngineGuest.Branch(Opcode.Beq, 15, 0, 8), restore, Addi(14, 14, 1), ret]));
        Assert.Equal(0, Look([0x003FF773, ret])); // csrrci a4, fcsr, 31
        Assert.Equal(0, Look([0x0015B073, ret])); // csrc fflags, a1
        Assert.Equal(4, Look([Addi(0, 0, 0), restore, ret]));

        int? Look(uint[] code)
        {
            guest.Write(EngineGuest.Code, new uint[80]);
            guest.Write(EngineGuest.Code + 128, code);
            var reader = new FrontEnd.GuestCodeReader(128);
            reader.Reset(guest.Window, null);
            var bytes = new byte[code.Length * 4];
            Buffer.BlockCopy(code, 0, bytes, 0, bytes.Length);
            return (int?)(FlagObserver.Find(bytes, EngineGuest.Code + 128, reader) - EngineGuest.Code - 128);
        }
    }

    /// <summary>Code without a loop of its own is compiled with the loop of who was seen to call it.</summary>
    [Fact]
    public void FunctionsGrowIntoTheirCallersLoops()
    {
        if (_guest is not { } guest) return;
        const ulong Outer = EngineGuest.Code, Middle = EngineGuest.Code + 64, Inner = EngineGuest.Code + 128;
        guest.Write(Outer, EngineGuest.Jal(1, 64), Addi(5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -8), EngineGuest.Ecall);
        guest.Write(Middle, Addi(8, 1, 0), EngineGuest.Jal(1, 60), Addi(1, 8, 0), EngineGuest.I(Opcode.Jalr, 0, 1, 0));
        guest.Write(Inner, Addi(6, 6, 1), Addi(7, 7, 2), EngineGuest.I(Opcode.Jalr, 0, 1, 0));
        var builder = new Optimizing.Regions.RegionBuilder();
        Assert.Null(builder.Build(guest.Window, null, Inner, static _ => true, 0, true, static _ => []));
        Assert.Equal(2, builder.UnknownJumps); // where it returns to, and where it begins
        Optimizing.Regions.GuestRegion? region = builder.Build(guest.Window, null, Inner, static _ => true, 0, true,
            static pc => pc == Inner + 8 ? [Middle + 8] : pc == Middle + 12 ? [Outer + 4] : []);
        Assert.NotNull(region);
        Assert.Equal(Outer, region.Head);
        Assert.Contains(region.Blocks, b => b.Instructions.Exists(static i => i.Pc == Inner));
    }

    /// <summary>Code in no loop that is known of becomes a region with its function, which is left where that returns.</summary>
    [Fact]
    public void FunctionsWithoutLoopsBecomeRegions()
    {
        if (_guest is not { } guest) return;
        const ulong Function = EngineGuest.Code + 256;
        guest.Write(Function, [.. Enumerable.Repeat(Addi(6, 6, 3), 30), EngineGuest.Branch(Opcode.Beq, 6, 0, 8), EngineGuest.I(Opcode.Jalr, 0, 1, 0), EngineGuest.I(Opcode.Jalr, 0, 1, 0)]);
        var builder = new Optimizing.Regions.RegionBuilder();
        Optimizing.Regions.GuestRegion? region = builder.Build(guest.Window, null, Function + 40, static _ => true, 0, true, static _ => [], functionsAround: static _ => [Function + 60, Function]);
        Assert.NotNull(region);
        Assert.Equal((Function, 33), (region.Head, region.Instructions));
        Assert.DoesNotContain(region.Blocks, static b => b.IsLoopHead);
    }

    /// <summary>Tier 1's block has a short branch forward inside itself: nobody made a block at its target.</summary>
    [Fact]
    public void BranchesInsideBlocksStayInTheRegion()
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, Addi(7, 7, 1), EngineGuest.Branch(Opcode.Bne, 7, 8, 8), Addi(6, 6, 1), Addi(5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -16),
            EngineGuest.Ecall);
        Optimizing.Regions.GuestRegion? region = new Optimizing.Regions.RegionBuilder().Build(guest.Window, null, EngineGuest.Code, static pc => pc == EngineGuest.Code, 0, true, static _ => []);
        Assert.NotNull(region);
        Assert.Equal(5, region.Instructions);
        Optimizing.Regions.RegionBlock branch = Assert.Single(region.Blocks, b => b.Instructions[^1].Pc == EngineGuest.Code + 4);
        Assert.NotNull(branch.Taken.Block);
    }

    /// <summary>Of a loop that is too large what was never seen to run leads out.</summary>
    [Fact]
    public void LargeLoopsLeaveOutWhatDoesNotRun()
    {
        if (_guest is not { } guest) return;
        uint[] cold = [.. Enumerable.Repeat(Addi(6, 6, 1), 30)];
        guest.Write(EngineGuest.Code, [Addi(7, 7, 1), EngineGuest.Branch(Opcode.Bne, 7, 8, 4 + 30 * 4), .. cold, Addi(5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -33 * 4), EngineGuest.Ecall]);
        var builder = new Optimizing.Regions.RegionBuilder { MaxInstructions = 16 };
        Assert.Null(builder.Build(guest.Window, null, EngineGuest.Code, static _ => true, 0, true, static _ => [], branchAt: static _ => default));
        Optimizing.Regions.GuestRegion? region = builder.Build(guest.Window, null, EngineGuest.Code, static _ => true, 0, true, static _ => [],
            branchAt: static pc => pc == EngineGuest.Code + 4 ? (100, 0) : default);
        Assert.NotNull(region);
        Assert.Equal(4, region.Instructions);
    }

    [Fact]
    public void WhoWantsPreciseFaultsGetsThem()
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, EngineGuest.I(Opcode.Ld, 6, 10, 0), EngineGuest.R(Opcode.Add, 7, 7, 6), Addi(10, 10, 8), EngineGuest.Branch(Opcode.Bne, 10, 11, -12), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[10] = EngineGuest.Data;
        hart[11] = EngineGuest.Data + EngineGuest.DataSize;
        guest.RunToEcall(hart);
        Assert.True(guest.Engine.RegionEntries > 0);
        guest.Engine.RequirePreciseFaults();
        Assert.Equal(0, guest.Engine.RegionEntries);
        hart.Pc = EngineGuest.Code;
        hart[10] = EngineGuest.Data;
        hart[11] = 0;
        ExecutionExit exit = guest.Engine.Run(hart);
        Assert.Equal(EngineGuest.Data + EngineGuest.DataSize, exit.Value);
        Assert.Equal(EngineGuest.Data + EngineGuest.DataSize, hart[10]);
        Assert.Equal(EngineGuest.Code, hart.Pc);
    }

    [Fact]
    public void CodeThatChangesUnderARegionIsLeft()
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, Addi(5, 5, 1), EngineGuest.Jal(0, -4));
        using Hart hart = guest.NewHart(EngineGuest.Code);
        ExecutionExit exit = default;
        var thread = new Thread(() => exit = guest.Engine.Run(hart));
        thread.Start();
        bool entered = SpinWait.SpinUntil(() => guest.Engine.RegionEntries > 0, Patience);
        guest.Write(EngineGuest.Code, EngineGuest.Ecall, EngineGuest.Ecall);
        guest.Engine.InvalidateCode(EngineGuest.Code, 4096);
        Assert.True(thread.Join(Patience), "the change was not seen");
        Assert.True(entered, "the loop did not become a region");
        Assert.Equal(new ExecutionExit(ExitKind.Trap, TrapCause.EnvironmentCall), exit);
    }

    /// <summary>Who has changed code and flushed may tell other harts: what a hart executes after it has read that must be the new code. The inner loop keeps the hart
    /// inside its region, without a poll, for longer than the flush takes.</summary>
    [Fact]
    public void NobodyExecutesOldCodeWhoKnowsOfTheChange()
    {
        if (_guest is not { } guest) return;
        const int Inner = 16_000, Rounds = 300;
        guest.Write(EngineGuest.Code,
            Addi(5, 12, 0), Addi(6, 6, 3), Addi(5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -8), // the inner loop
            EngineGuest.I(Opcode.Ld, 7, 10, 0), // which version was announced
            Addi(8, 0, 0), // the version that is executed
            EngineGuest.Branch(Opcode.Bge, 8, 7, 8), Addi(9, 9, 1), EngineGuest.Branch(Opcode.Bne, 11, 0, -32), EngineGuest.Ecall);
        ulong version = EngineGuest.Code + 20;
        guest.Window.Write(EngineGuest.Data, new byte[8]);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[10] = EngineGuest.Data;
        hart[11] = 1;
        hart[12] = Inner;
        var thread = new Thread(() => guest.RunToEcall(hart));
        thread.Start();
        long entered = 0;
        for (int i = 1; i <= Rounds; i++)
        {
            if (SpinWait.SpinUntil(() => guest.Engine.RegionEntries > 0, 1000)) entered++;
            Thread.SpinWait(i * 37 % 2000);
            guest.Write(version, Addi(8, 0, i));
            guest.Engine.SynchronizeCode(version, 4);
            guest.Window.Write(EngineGuest.Data, BitConverter.GetBytes((long)i));
        }
        guest.Write(EngineGuest.Code + 32, Addi(0, 0, 0));
        guest.Engine.SynchronizeCode(EngineGuest.Code + 32, 4);
        bool seen = thread.Join(Patience);
        hart.RequestExit(); // ends the thread in any case
        Assert.True(seen, "the last change was not seen");
        Assert.True(entered > Rounds / 2, $"only {entered} regions were entered");
        Assert.Equal(0UL, hart[9]);
    }

    /// <summary>An interpreter's loop: where its indirect jump was seen to lead becomes part of the region, and anywhere else leads out.</summary>
    [Fact]
    public void ObservedTargetsOfAJumpAreLifted()
    {
        if (_guest is not { } guest) return;
        ulong table = EngineGuest.Data + 0x2000;
        guest.Write(EngineGuest.Code,
            EngineGuest.I(Opcode.Lbu, 8, 5, 0), EngineGuest.I(Opcode.Slli, 8, 8, 3), EngineGuest.R(Opcode.Add, 8, 8, 9), EngineGuest.I(Opcode.Ld, 8, 8, 0),
            EngineGuest.I(Opcode.Jalr, 0, 8, 0),
            Addi(7, 7, 1), EngineGuest.Branch(Opcode.Beq, 0, 0, 24),
            Addi(7, 7, 10), EngineGuest.Branch(Opcode.Beq, 0, 0, 16),
            EngineGuest.I(Opcode.Xori, 7, 7, 5), EngineGuest.Branch(Opcode.Beq, 0, 0, 8),
            EngineGuest.R(Opcode.Add, 7, 7, 7),
            Addi(5, 5, 1), EngineGuest.Branch(Opcode.Bne, 5, 6, -52), EngineGuest.Ecall);
        for (int t = 0; t < 4; t++) guest.Window.Write(table + (ulong)t * 8, BitConverter.GetBytes(EngineGuest.Code + 20 + (ulong)t * 8));
        var data = new byte[6000];
        var random = new Random(5);
        // The fourth target shows when the region has been compiled.
        for (int i = 0; i < data.Length; i++) data[i] = (byte)(i == 5500 ? 3 : random.Next(3));
        guest.Window.Write(EngineGuest.Data, data);
        ulong expected = 0;
        foreach (byte b in data) expected = b switch { 0 => expected + 1, 1 => expected + 10, 2 => expected ^ 5, _ => expected * 2 };
        Assert.True(guest.Engine.ObserveTargets());
        for (int round = 0; round < 3; round++)
        {
            using Hart hart = guest.NewHart(EngineGuest.Code);
            (hart[5], hart[6], hart[9]) = (EngineGuest.Data, EngineGuest.Data + (ulong)data.Length, table);
            guest.RunToEcall(hart);
            Assert.Equal(expected, hart[7]);
        }
        Assert.Equal(3, guest.Engine.TargetsOf(EngineGuest.Code + 16).Length);
        Assert.True(_farm!.Statistics.Regions > 0);
        Assert.InRange(guest.Engine.RegionEntries, 3, 60); // once a run, and again behind the fourth target
    }

    [Fact]
    public void ALoopThatTierOneRunsAsOneBlockIsCountedWhereItIsEntered()
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, Addi(6, 6, 3), Addi(7, 7, -1), EngineGuest.Branch(Opcode.Bne, 7, 0, -8), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        Run();
        Run();
        Run();
        (long entries, long rounds, _) = guest.Engine.RegionCounts;
        Assert.True(entries is > 0 and < 6 && rounds == 0, $"{entries} entries, {rounds} rounds");
        guest.Engine.SetAside(true);
        Run();
        // The block's own back edge is linked again: no round of it comes to the dispatcher.
        Assert.InRange(guest.Engine.RegionCounts.Probes, 1, 3);
        guest.Engine.SetAside(false);
        Run();
        Assert.True(guest.Engine.RegionCounts.Entries > entries);

        void Run()
        {
            hart.Pc = EngineGuest.Code;
            hart[6] = 0;
            hart[7] = 5000;
            guest.RunToEcall(hart);
            Assert.Equal(15_000UL, hart[6]);
        }
    }

    /// <summary>A process ended while a compiling thread was about to look at its blocks: viv crashed.</summary>
    [Fact]
    public void AnEngineThatHasEndedHasNoBlocks()
    {
        if (_farm == null) return;
        using CompileFarm farm = Farms.Synchronous()!;
        var guest = new EngineGuest(farm);
        guest.Write(EngineGuest.Code, Addi(6, 6, 3), Addi(7, 7, -1), EngineGuest.Branch(Opcode.Bne, 7, 0, -8), EngineGuest.Ecall);
        using (Hart hart = guest.NewHart(EngineGuest.Code))
        {
            hart[7] = 50;
            guest.RunToEcall(hart);
        }
        IRegionEngine engine = guest.Engine;
        GuestRegion region = engine.Grow(new RegionBuilder(), new CodePlace(EngineGuest.Code, 0), 0, true)!;
        Assert.NotEmpty(engine.LoopOfTierOne(region));
        guest.Engine.Dispose();
        Assert.Empty(engine.LoopOfTierOne(region));
        guest.Window.Dispose();
    }

    [Fact]
    public void RoundsAreCountedByRegionsAndByThoseSetAside()
    {
        if (_guest is not { } guest) return;
        // A loop of 1000 rounds with a loop of 50 in it: the outer one's head is reached as often whoever runs it.
        guest.Write(EngineGuest.Code,
            Addi(5, 0, 50), Addi(6, 6, 3), Addi(5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -8), Addi(7, 7, -1), EngineGuest.Branch(Opcode.Bne, 7, 0, -20), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        Run();
        Run();
        (long entries, long rounds, long probes) = guest.Engine.RegionCounts;
        Assert.True(entries > 0 && rounds is > 900 and < 2000 && probes == 0, $"{entries} entries, {rounds} rounds, {probes} probes");
        guest.Engine.SetAside(true);
        Run();
        (long entriesAside, long roundsAside, probes) = guest.Engine.RegionCounts;
        Assert.Equal((entries, rounds), (entriesAside, roundsAside));
        Assert.InRange(probes, 999, 1001);
        guest.Engine.SetAside(false);
        Run();
        Assert.True(guest.Engine.RegionCounts.Rounds > rounds + 900);

        void Run()
        {
            hart.Pc = EngineGuest.Code;
            hart[6] = 0;
            hart[7] = 1000;
            guest.RunToEcall(hart);
            Assert.Equal(150_000UL, hart[6]);
        }
    }

    [Fact]
    public void DoublewordsOfStoredWordsAreWhole()
    {
        if (_guest is not { } guest) return;
        // Words are stored and loaded again as doublewords, with an overlapping store between in every second round.
        guest.Write(EngineGuest.Code,
            EngineGuest.Store(Opcode.Sw, 10, 5), EngineGuest.I(Opcode.Ld, 6, 10, 0), EngineGuest.R(Opcode.Add, 7, 7, 6),
            EngineGuest.Store(Opcode.Sw, 11, 6), EngineGuest.I(Opcode.Ld, 8, 11, -4), EngineGuest.I(Opcode.Ld, 6, 10, 0), EngineGuest.R(Opcode.Xor, 7, 7, 8), EngineGuest.R(Opcode.Sub, 7, 7, 6),
            Addi(5, 5, -7), EngineGuest.Branch(Opcode.Bge, 5, 0, -36), EngineGuest.Ecall);
        guest.Window.Write(EngineGuest.Data, [1, 2, 3, 4, 5, 6, 7, 0x88, 9, 10, 11, 12]);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        (hart[5], hart[7], hart[10], hart[11]) = (70_000, 0, EngineGuest.Data, EngineGuest.Data + 4);
        guest.RunToEcall(hart);
        ulong memory = 0x8807060504030201, expected = 0;
        for (long x = 70_000; x >= 0; x -= 7)
        {
            memory = memory & ~0xFFFFFFFFUL | (uint)x;
            ulong first = memory;
            expected += first;
            memory = memory & 0xFFFFFFFF | first << 32;
            expected = (expected ^ memory) - memory;
        }
        Assert.True(guest.Engine.RegionEntries > 0);
        Assert.Equal(expected, hart[7]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ALoopThatOnlyLoadsSeesAStoreOfTheHost(bool counts)
    {
        if (_guest is not { } guest) return;
        // The load's address does not change: nothing in the loop but the poll says that its value may.
        guest.Write(EngineGuest.Code, EngineGuest.I(Opcode.Lw, 6, 10, 0), Addi(7, 7, counts ? 1 : 0), EngineGuest.Branch(Opcode.Beq, 6, 0, -8), EngineGuest.Ecall);
        guest.Window.Write(EngineGuest.Data, new byte[8]);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[10] = EngineGuest.Data;
        var thread = new Thread(() => guest.RunToEcall(hart));
        thread.Start();
        Assert.True(SpinWait.SpinUntil(() => guest.Engine.RegionEntries > 0, 30_000), "the region was not entered within 30 s");
        Thread.Sleep(2);
        guest.Window.Write(EngineGuest.Data, [7]);
        bool ended = thread.Join(30_000);
        hart.RequestExit(); // ends the thread in any case
        Assert.True(ended, "the loop did not see the store within 30 s");
        Assert.Equal(7UL, hart[6]);
    }

    [Fact]
    public void HartsThatWaitForEachOtherSeeStores()
    {
        if (_guest is not { } guest) return;
        // Two harts take turns: each waits for the other's number in a loop that only loads.
        guest.Write(EngineGuest.Code,
            EngineGuest.I(Opcode.Ld, 6, 10, 0), EngineGuest.Branch(Opcode.Bne, 6, 12, -4), Addi(7, 12, 1),
            EngineGuest.Store(Opcode.Sd, 10, 7), Addi(12, 12, 2), Addi(11, 11, -1), EngineGuest.Branch(Opcode.Bne, 11, 0, -24), EngineGuest.Ecall);
        guest.Window.Write(EngineGuest.Data, new byte[8]);
        var threads = new Thread[2];
        for (int n = 0; n < 2; n++)
        {
            int turn = n;
            threads[n] = new Thread(() =>
            {
                using Hart hart = guest.NewHart(EngineGuest.Code);
                hart[10] = EngineGuest.Data;
                hart[12] = (ulong)turn;
                hart[11] = 300;
                guest.RunToEcall(hart);
            });
            threads[n].Start();
        }
        foreach (Thread thread in threads) Assert.True(thread.Join(Patience), "a hart waits for ever");
        var last = new byte[8];
        guest.Window.Read(EngineGuest.Data, last);
        Assert.Equal(600UL, BitConverter.ToUInt64(last));
    }
}
