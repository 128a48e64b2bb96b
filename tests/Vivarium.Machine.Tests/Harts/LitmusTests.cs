using Vivarium.RiscV.Isa;
using static Vivarium.Testing.Encoder;

namespace Vivarium.Machine.Tests.Harts;

/// <summary>Litmus tests of the memory model (RVWMO) across harts: what it forbids is never seen. Harts run through arrays of variables side by side, and write
/// down what they read. VIV_LITMUS_ROUNDS sets how many rounds of 4096 runs there are (default 12).</summary>
public sealed class LitmusTests
{
    private const int Runs = 4096, Stride = 128, ResultBytes = 16;
    private const ulong X = SmpGuest.Ram + 0x10_0000, Y = SmpGuest.Ram + 0x20_0000, Results = SmpGuest.Ram + 0x30_0000, Parameters = SmpGuest.Ram + 0x1000;

    // x[i], y[i], 1, and what was read first and second.
    private const int AtX = 10, AtY = 11, One = 12, First = 13, Second = 14, ResultAt = 15, Left = 16;

    private static int Rounds => int.TryParse(Environment.GetEnvironmentVariable("VIV_LITMUS_ROUNDS"), out var n) ? n : 12;

    private static readonly uint FenceAll = Fence(0x33), FenceWrites = Fence(0x11), FenceReads = Fence(0x22), FenceTso = 0x8330000f;

    private static uint Fence(int predecessorsAndSuccessors) => (uint)predecessorsAndSuccessors << 20 | 0x0f;

    private static uint Store(int at) => Encode(Opcode.Sd, rs1: at, rs2: One);

    private static uint Load(int at, int into) => Encode(Opcode.Ld, rd: into, rs1: at);

    private static uint Swap(int at, int aqrl, int old = 0) => Encode(Opcode.AmoswapD, rd: old, rs1: at, rs2: One, aqrl: aqrl);

    private static uint[] StoreConditional(int at, int aq, int rl) =>
        [Encode(Opcode.LrD, rd: 28, rs1: at, aqrl: aq), Encode(Opcode.ScD, rd: 28, rs1: at, rs2: One, aqrl: rl), Encode(Opcode.Bne, rs1: 28, imm: -8)];

    private static uint LoadAcquire(int at, int into) => Encode(Opcode.LrD, rd: into, rs1: at, aqrl: 2);

    /// <summary>A test: each hart's code, and what must not be seen in (first, second) of each hart.</summary>
    private sealed record Litmus(uint[][] Harts, Func<(ulong First, ulong Second)[], bool> Forbidden);

    private static readonly Func<(ulong First, ulong Second)[], bool> BothMissed = r => r[0].First == 0 && r[1].First == 0,
        FlagWithoutData = r => r[1].First == 1 && r[1].Second == 0, BothFromTheFuture = r => r[0].First == 1 && r[1].First == 1,
        Disagree = r => r[2] == (1, 0) && r[3] == (1, 0);

    private static readonly Dictionary<string, Litmus> Tests = new()
    {
        ["SB+fence.rw.rw"] = new([[Store(AtX), FenceAll, Load(AtY, First)], [Store(AtY), FenceAll, Load(AtX, First)]], BothMissed),
        ["SB+amoswap.aqrl"] = new([[Swap(AtX, 3), Encode(Opcode.LrD, rd: First, rs1: AtY, aqrl: 3)], [Swap(AtY, 3), Encode(Opcode.LrD, rd: First, rs1: AtX, aqrl: 3)]], BothMissed),
        ["SB+sc.aqrl"] = new([[.. StoreConditional(AtX, 3, 3), Encode(Opcode.LrD, rd: First, rs1: AtY, aqrl: 3)], [.. StoreConditional(AtY, 3, 3), Encode(Opcode.LrD, rd: First, rs1: AtX, aqrl: 3)]], BothMissed),
        ["SB+amoor+fence"] = new([[Store(AtX), FenceAll, Encode(Opcode.AmoorD, rd: First, rs1: AtY)], [Store(AtY), FenceAll, Encode(Opcode.AmoorD, rd: First, rs1: AtX)]], BothMissed),
        ["MP+fence.w.w+fence.r.r"] = new([[Store(AtX), FenceWrites, Store(AtY)], [Load(AtY, First), FenceReads, Load(AtX, Second)]], FlagWithoutData),
        ["MP+fence.tso"] = new([[Store(AtX), FenceTso, Store(AtY)], [Load(AtY, First), FenceTso, Load(AtX, Second)]], FlagWithoutData),
        ["MP+amoswap.rl+lr.aq"] = new([[Store(AtX), Swap(AtY, 1)], [LoadAcquire(AtY, First), Load(AtX, Second)]], FlagWithoutData),
        ["MP+sc.rl+lr.aq"] = new([[Store(AtX), .. StoreConditional(AtY, 0, 1)], [LoadAcquire(AtY, First), Load(AtX, Second)]], FlagWithoutData),
        ["MP+fence.w.w+address"] = new([[Store(AtX), FenceWrites, Store(AtY)],
            [Load(AtY, First), Encode(Opcode.Xor, rd: 28, rs1: First, rs2: First), Encode(Opcode.Add, rd: 28, rs1: 28, rs2: AtX), Load(28, Second)]], FlagWithoutData),
        ["LB+fence.rw.rw"] = new([[Load(AtX, First), FenceAll, Store(AtY)], [Load(AtY, First), FenceAll, Store(AtX)]], BothFromTheFuture),
        ["LB+data"] = new([[Load(AtX, First), Encode(Opcode.Sd, rs1: AtY, rs2: First)], [Load(AtY, First), Encode(Opcode.Sd, rs1: AtX, rs2: First)]],
            r => r[0].First != 0 || r[1].First != 0), // nothing out of thin air
        ["CoRR"] = new([[Store(AtX)], [Load(AtX, First), Load(AtX, Second)]], r => r[1] == (1, 0)),
        ["CoRR+sizes"] = new([[Store(AtX)], [Encode(Opcode.Lbu, rd: First, rs1: AtX), Encode(Opcode.Lwu, rd: Second, rs1: AtX)]], r => r[1] == (1, 0)),
        ["IRIW+fence.r.r"] = new([[Store(AtX)], [Store(AtY)], [Load(AtX, First), FenceReads, Load(AtY, Second)], [Load(AtY, First), FenceReads, Load(AtX, Second)]], Disagree),
    };

    public static TheoryData<string> Names => [.. Tests.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void WhatTheModelForbidsIsNotSeen(string name)
    {
        var litmus = Tests[name];
        using var guest = new SmpGuest(litmus.Harts.Length, translated: true);
        var entries = new ulong[litmus.Harts.Length];
        for (var hart = 0; hart < entries.Length; hart++)
        {
            entries[hart] = SmpGuest.Ram + 0x4000 + (ulong)hart * 0x1000;
            uint[] prologue = [Encode(Opcode.Addi, rd: 8, rs1: 11), .. guest.Meet(), .. ((int[])[AtX, AtY, One, ResultAt, Left]).Select((r, i) => Encode(Opcode.Ld, rd: r, rs1: 8, imm: i * 8))];
            uint[] body = [Encode(Opcode.Addi, rd: First), Encode(Opcode.Addi, rd: Second), .. litmus.Harts[hart],
                Encode(Opcode.Sd, rs1: ResultAt, rs2: First), Encode(Opcode.Sd, rs1: ResultAt, rs2: Second, imm: 8), Encode(Opcode.Addi, rd: AtX, rs1: AtX, imm: Stride),
                Encode(Opcode.Addi, rd: AtY, rs1: AtY, imm: Stride), Encode(Opcode.Addi, rd: ResultAt, rs1: ResultAt, imm: ResultBytes), Encode(Opcode.Addi, rd: Left, rs1: Left, imm: -1)];
            guest.Load(entries[hart], [.. prologue, .. body, Encode(Opcode.Bne, rs1: Left, imm: -4 * body.Length), .. SmpGuest.Finish()]);
            ReadOnlySpan<ulong> parameters = [X, Y, 1, Results + (ulong)(hart * Runs * ResultBytes), Runs];
            for (var i = 0; i < parameters.Length; i++) guest.Write(Parameters + (ulong)(hart * 64 + i * 8), parameters[i]);
        }

        var zeroes = new byte[Runs * Stride];
        var seen = new byte[litmus.Harts.Length * Runs * ResultBytes];
        var results = new (ulong First, ulong Second)[litmus.Harts.Length];
        for (var round = 0; round < Rounds; round++)
        {
            Assert.True(guest.Memory.TryWriteBytes(X, zeroes) && guest.Memory.TryWriteBytes(Y, zeroes));
            guest.Run(hart => (entries[hart], Parameters + (ulong)hart * 64));
            Assert.True(guest.Memory.TryReadBytes(Results, seen));
            for (var run = 0; run < Runs; run++)
            {
                for (var hart = 0; hart < results.Length; hart++)
                {
                    var at = (hart * Runs + run) * ResultBytes;
                    results[hart] = (BitConverter.ToUInt64(seen, at), BitConverter.ToUInt64(seen, at + 8));
                }
                Assert.False(litmus.Forbidden(results), $"{name}, round {round}, run {run}: {string.Join(" | ", results)}");
            }
        }
    }

    /// <summary>Counters that all harts increase, each in another way: nothing gets lost.</summary>
    [Theory]
    [InlineData(2), InlineData(4)]
    public void AtomicIncrementsAddUp(int harts)
    {
        const int counter = 10, increments = 11, one = 12;
        using var guest = new SmpGuest(harts, translated: true);
        uint[][] ways =
        [
            [Encode(Opcode.AmoaddD, rs1: counter, rs2: one)],
            [Encode(Opcode.LrD, rd: 28, rs1: counter), Encode(Opcode.Add, rd: 28, rs1: 28, rs2: one), Encode(Opcode.ScD, rd: 29, rs1: counter, rs2: 28), Encode(Opcode.Bne, rs1: 29, imm: -12)],
            [Encode(Opcode.LrW, rd: 28, rs1: counter, aqrl: 3), Encode(Opcode.Addi, rd: 28, rs1: 28, imm: 1), Encode(Opcode.ScW, rd: 29, rs1: counter, rs2: 28, aqrl: 3), Encode(Opcode.Bne, rs1: 29, imm: -12)],
            [Encode(Opcode.Ld, rd: 28, rs1: counter), Encode(Opcode.Addi, rd: 30, rs1: 28), Encode(Opcode.Add, rd: 29, rs1: 28, rs2: one),
                Encode(Opcode.AmocasD, rd: 28, rs1: counter, rs2: 29), Encode(Opcode.Bne, rs1: 28, rs2: 30, imm: -16)],
        ];
        const int times = 20_000;
        for (var hart = 0; hart < harts; hart++)
        {
            uint[] prologue = [.. guest.Meet(), Encode(Opcode.Lui, rd: counter, imm: unchecked((int)(uint)X)), Encode(Opcode.Slli, rd: counter, rs1: counter, imm: 32),
                Encode(Opcode.Srli, rd: counter, rs1: counter, imm: 32), Encode(Opcode.Lui, rd: increments, imm: times / 4096 * 4096), Encode(Opcode.Addi, rd: one, imm: 1)];
            var body = ways[hart];
            guest.Load(SmpGuest.Ram + 0x4000 + (ulong)hart * 0x1000,
                [.. prologue, .. body, Encode(Opcode.Addi, rd: increments, rs1: increments, imm: -1), Encode(Opcode.Bne, rs1: increments, imm: -4 * (body.Length + 1)), .. SmpGuest.Finish()]);
        }
        for (var round = 1; round <= Rounds; round++)
        {
            guest.Run(hart => (SmpGuest.Ram + 0x4000 + (ulong)hart * 0x1000, 0));
            Assert.Equal((ulong)(round * harts * (times / 4096 * 4096)), guest.Read(X));
        }
    }
}
