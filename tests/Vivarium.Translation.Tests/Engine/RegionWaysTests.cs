using Vivarium.Host;
using Vivarium.RiscV.Execution;
using Vivarium.RiscV.Isa;
using Vivarium.Translation.Optimizing;
using Vivarium.Translation.Optimizing.Farm;
using Vivarium.Translation.Optimizing.Regions;
using Vivarium.Translation.Tests.Differential;

namespace Vivarium.Translation.Tests.Engine;

/// <summary>Regions that control leaves in the midst of a loop, and comes back to behind what it has called.</summary>
public sealed class RegionWaysTests : IDisposable
{
    private const int Patience = 60_000;
    private const ulong Function = EngineGuest.Code + 0x100;

    private readonly CompileFarm? _farm = Farms.Synchronous();
    private readonly EngineGuest? _guest;

    public RegionWaysTests() => _guest = _farm == null ? null : new EngineGuest(_farm);

    public void Dispose()
    {
        _guest?.Dispose();
        _farm?.Dispose();
    }

    private static uint Addi(int rd, int rs1, int imm) => EngineGuest.I(Opcode.Addi, rd, rs1, imm);

    /// <summary>x5 rounds: x6 += 3, a call by the pointer in x20, x7 += <paramref name="step"/>; the function does x8 += 5.</summary>
    private static void WriteLoop(EngineGuest guest, int step)
    {
        guest.Write(EngineGuest.Code,
            Addi(6, 6, 3), EngineGuest.I(Opcode.Jalr, 1, 20, 0), Addi(5, 5, -1), Addi(7, 7, step), EngineGuest.Branch(Opcode.Bne, 5, 0, -16), EngineGuest.Ecall);
        guest.Write(Function, Addi(8, 8, 5), EngineGuest.I(Opcode.Jalr, 0, 1, 0));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void CallsByPointersComeBackIntoTheRegion(bool disturbed)
    {
        if (_guest is not { } guest) return;
        const int rounds = 300_000;
        WriteLoop(guest, 1);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[5] = rounds;
        hart[20] = Function;
        HostThread host = HostThread.Current;
        bool done = false;
        int interrupts = 0;
        var kicker = new Thread(() =>
        {
            var random = new Random(1);
            for (bool aside = false; !Volatile.Read(ref done); aside = !aside)
            {
                int before = Volatile.Read(ref interrupts);
                guest.Engine.SetAside(aside);
                hart.RequestExit();
                host.Kick();
                while (Volatile.Read(ref interrupts) == before && !Volatile.Read(ref done)) Thread.Yield();
                Thread.SpinWait(random.Next(2000));
            }
        }) { IsBackground = true };
        if (disturbed)
        {
            kicker.Start();
            Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref hart.State.ExitRequest) != 0, Patience), "no kick came");
        }
        while (guest.Engine.Run(hart).Kind != ExitKind.Trap)
        {
            hart.State.ExitRequest = 0;
            Volatile.Write(ref interrupts, interrupts + 1);
        }
        Volatile.Write(ref done, true);
        if (disturbed) Assert.True(kicker.Join(Patience), "the kicking thread did not end");
        Assert.Equal((3UL * rounds, (ulong)rounds, 5UL * rounds), (hart[6], hart[7], hart[8]));
        Assert.Equal(EngineGuest.Code + 20, hart.Pc);
        Assert.Equal(1, _farm!.Statistics.Regions);
        if (disturbed) return;
        Assert.InRange(guest.Engine.RegionReturns, rounds - 10, rounds);
        // Tier 1 would come to the head as often.
        (long entries, long inside, _) = guest.Engine.RegionCounts;
        Assert.InRange(entries + inside, rounds - 10, rounds);
    }

    [Fact]
    public void SystemCallsComeBackIntoTheRegion()
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code, Addi(6, 6, 3), EngineGuest.Ecall, Addi(5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -12), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[5] = 1000;
        for (int calls = 0; calls < 1000; calls++)
        {
            guest.RunToEcall(hart);
            Assert.Equal(EngineGuest.Code + 4, hart.Pc);
            Assert.Equal(3UL * (ulong)(calls + 1), hart[6]);
            hart.Pc += 4;
        }
        guest.RunToEcall(hart);
        Assert.Equal(EngineGuest.Code + 16, hart.Pc);
        Assert.InRange(guest.Engine.RegionReturns, 990, 1000);
    }

    [Fact]
    public void RecursionOutOfALoopComesBack()
    {
        if (_guest is not { } guest) return;
        // f(n): three times x12 += 1 and, unless n is 0, f(n - 1).
        guest.Write(EngineGuest.Code,
            Addi(2, 2, -8), EngineGuest.Store(Opcode.Sd, 2, 1), Addi(2, 2, -8), EngineGuest.Store(Opcode.Sd, 2, 8), Addi(2, 2, -8), EngineGuest.Store(Opcode.Sd, 2, 9),
            Addi(8, 10, -1), Addi(9, 0, 3), Addi(12, 12, 1), EngineGuest.Branch(Opcode.Blt, 8, 0, 12), Addi(10, 8, 0), EngineGuest.Jal(1, -44),
            Addi(9, 9, -1), EngineGuest.Branch(Opcode.Bne, 9, 0, -20),
            EngineGuest.I(Opcode.Ld, 9, 2, 0), EngineGuest.I(Opcode.Ld, 8, 2, 8), EngineGuest.I(Opcode.Ld, 1, 2, 16), Addi(2, 2, 24), EngineGuest.I(Opcode.Jalr, 0, 1, 0));
        guest.Write(Function, EngineGuest.Jal(1, -0x100), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(Function);
        for (int run = 0; run < 3; run++)
        {
            hart.Pc = Function;
            hart[2] = EngineGuest.Data + EngineGuest.DataSize;
            hart[10] = 8;
            hart[12] = 0;
            guest.RunToEcall(hart);
            Assert.Equal(29523UL, hart[12]);
            Assert.Equal(EngineGuest.Data + EngineGuest.DataSize, hart[2]);
        }
        Assert.True(guest.Engine.RegionReturns > 1000, $"{guest.Engine.RegionReturns} returns");
    }

    /// <summary>A region that was slower is not made again unless it has become another one; one that was left at once is, when it has grown at all, but not for ever.</summary>
    [Fact]
    public void WhatFailedIsNotMadeAgain()
    {
        var failed = new DemotedRegions();
        CodePlace head = new(0x1000, 0), other = new(0x2000, 0);
        failed.Add(head, 80, hasWays: false, wasLeft: false);
        Assert.True(failed.Contains(0x1000) && !failed.Contains(0x2000));
        Assert.True(failed.HasLike(head, Region(80)) && failed.HasLike(head, Region(90)) && failed.HasLike(head, Region(70)));
        Assert.False(failed.HasLike(head, Region(91)) || failed.HasLike(head, Region(80, ways: 2)) || failed.HasLike(other, Region(80)));
        for (int size = 30; size < 35; size++)
        {
            Assert.False(failed.HasLike(other, Region(40)));
            failed.Add(other, size, hasWays: false, wasLeft: true);
            Assert.True(failed.HasLike(other, Region(size)));
        }
        Assert.False(failed.HasLike(other, Region(29)) || failed.HasLike(other, Region(35)));
        failed.Add(other, 35, hasWays: false, wasLeft: true);
        Assert.True(failed.HasLike(other, Region(40)));

        static GuestRegion Region(int instructions, int ways = 1) =>
            new() { Head = 0x1000, Blocks = [], Runs = [], Hash = 0, Instructions = instructions, Ways = [.. Enumerable.Range(0, ways).Select(static n => new RegionBlock(n, 0x1000, 0))] };
    }

    [Fact]
    public void ChangedCodeBehindACallIsSeen()
    {
        if (_guest is not { } guest) return;
        using Hart hart = guest.NewHart(EngineGuest.Code);
        for (int step = 1; step < 6; step++)
        {
            WriteLoop(guest, step);
            guest.Engine.SynchronizeCode(EngineGuest.Code, 0x200);
            hart.Pc = EngineGuest.Code;
            hart[5] = 5000;
            hart[7] = 0;
            hart[20] = Function;
            guest.RunToEcall(hart);
            Assert.Equal(5000UL * (ulong)step, hart[7]);
            Assert.True(guest.Engine.RegionReturns > 4000, $"{guest.Engine.RegionReturns} returns");
        }
    }

    /// <summary>Where load-reserved is in use, regions leave in front of each AMO: at the head that must not lead to the head again.</summary>
    [Fact]
    public void AnAmoAtTheHeadGoesOnInTierOne()
    {
        if (_guest is not { } guest) return;
        guest.Write(EngineGuest.Code,
            EngineGuest.R(Opcode.LrD, 13, 11, 0), EngineGuest.R(Opcode.AmoaddD, 14, 11, 12), Addi(5, 5, -1), EngineGuest.Branch(Opcode.Bne, 5, 0, -8), EngineGuest.Ecall);
        using Hart hart = guest.NewHart(EngineGuest.Code);
        hart[5] = 1000;
        hart[11] = EngineGuest.Data;
        hart[12] = 2;
        HostThread host = HostThread.Current;
        using var watch = new Timer(_ =>
        {
            hart.RequestExit();
            host.Kick();
        }, null, Patience, Timeout.Infinite);
        guest.RunToEcall(hart);
        Assert.Equal(1998UL, hart[14]);
    }
}
